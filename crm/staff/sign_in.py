"""Signing in and out: throttled by rows of the database, with sessions kept on the server.

A cookie holds a random token of which only the SHA-256 is stored. A session ends after `IDLE` without use, after `LIFE`
in any case, and at once when its account is disabled.
"""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv6Address, ip_address, ip_network

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from crm import clock, history
from crm.database import Database, keys_of, one_at_a_time
from crm.errors import InvalidInput, NotSignedIn, TooMany
from crm.history import Actor, ActorKind
from crm.staff import accounts
from crm.staff.models import Account, SignInAttempt, StaffSession

IDLE = timedelta(hours=8)
LIFE = timedelta(days=7)
TOUCH = timedelta(minutes=1)
"""How old `seen_at` may grow before a request writes it again."""
WINDOW = timedelta(minutes=15)
FAILURES_OF_ADDRESS = 5
FAILURES_OF_NETWORK = 20
"""Failures in a `WINDOW` after which the next tries are refused unread."""


def sign_in(database: Database, email: str, password: str, network: str) -> tuple[StaffSession, str]:
    """Open a session for an account; return it and the token for the cookie.

    ``network`` is the address that the request came from. NotSignedIn(sign_in_failed) whatever was wrong, after the same
    work; TooMany(too_many_sign_ins). The caller holds no transaction: a try is counted as a failure, and committed, before
    its password is read, so that of many tries at once no more are read than of one after another; and while the password
    is being read, which takes long on purpose, no transaction is open.
    """
    with database.session() as session:
        attempt = _attempt(session, email, network)
        account = session.scalar(select(Account).where(Account.email == accounts.typed_key(email)))
    is_right = accounts.password_is_right(account, password)
    if is_right and account is not None:
        with database.session() as session:
            if opened := _enter(session, account, attempt):
                return opened
    with database.session() as session:
        history.note(session, "account", account.id if account else None, event="sign_in_refused")
    raise NotSignedIn("sign_in_failed")


def confirm_password(database: Database, email: str, password: str, network: str) -> None:
    """Make sure that who is signed in knows the password of the account; InvalidInput(password_wrong), TooMany.

    Counted as `sign_in` counts, and as there the caller holds no transaction.
    """
    with database.session() as session:
        attempt = _attempt(session, email, network)
        account = accounts.by_email(session, email)
    if not accounts.password_is_right(account, password):
        raise InvalidInput("password_wrong", field="present")
    with database.session() as session:
        _forget(session, attempt)


def session_of(session: Session, token: str) -> tuple[StaffSession, Account] | None:
    """The living session of a token and its account, or None. It only reads: see `needs_touch`."""
    now = clock.now()
    found = session.execute(
        select(StaffSession, Account)
        .join(Account, Account.id == StaffSession.account_id)
        .where(StaffSession.token_hash == _digest(token), Account.disabled_at.is_(None))
        .where(StaffSession.seen_at > now - IDLE, StaffSession.created_at > now - LIFE)
    ).one_or_none()
    return (found[0], found[1]) if found else None


def needs_touch(staff_session: StaffSession) -> bool:
    """Whether `touch` is due, so that a page costs a write at most once a minute."""
    return staff_session.seen_at < clock.now() - TOUCH


def touch(session: Session, staff_session: StaffSession) -> None:
    """Note that a session is in use. It writes: call it in a write transaction, never in that of a page that only reads."""
    stored = session.get(StaffSession, staff_session.id)
    if stored is not None:
        stored.seen_at = clock.now()
        _note_use(session, stored)


def _note_use(session: Session, staff_session: StaffSession) -> None:
    used = update(Account).where(Account.id == staff_session.account_id).values(last_seen_at=staff_session.seen_at)
    session.execute(used.execution_options(synchronize_session=False))  # it is no change of the account
    session.flush()


def sessions_of(session: Session, account_id: int) -> Sequence[StaffSession]:
    """The living sessions of an account, the last used first."""
    now = clock.now()
    living = select(StaffSession).where(StaffSession.seen_at > now - IDLE, StaffSession.created_at > now - LIFE)
    own = living.where(StaffSession.account_id == account_id)
    return session.scalars(own.order_by(StaffSession.seen_at.desc(), StaffSession.id.desc())).all()


def end_session(session: Session, account_id: int, session_id: int) -> None:
    """End a session of an account; one that is over, or of another account, is left as it is."""
    session.execute(delete(StaffSession).where(StaffSession.id == session_id, StaffSession.account_id == account_id))


def end_other_sessions(session: Session, kept: StaffSession) -> None:
    """End every session of an account but one."""
    session.execute(delete(StaffSession).where(StaffSession.account_id == kept.account_id, StaffSession.id != kept.id))


def sign_out(session: Session, staff_session: StaffSession) -> None:
    """End a session. Twice is the same as once."""
    session.execute(delete(StaffSession).where(StaffSession.id == staff_session.id))


def _enter(session: Session, checked: Account, attempt: "_Attempt") -> tuple[StaffSession, str] | None:
    """Forget the failures of the address and open a session; None if the account was changed while its password was read."""
    account = session.scalar(select(Account).where(Account.id == checked.id).with_for_update())
    if account is None or account.disabled_at is not None or account.password_hash != checked.password_hash:
        return None
    _forget(session, attempt)
    return open_session(session, account)


def _forget(session: Session, attempt: "_Attempt") -> None:
    of_network = SignInAttempt.id == attempt.network_row
    session.execute(delete(SignInAttempt).where((SignInAttempt.key == attempt.address_mark) | of_network))


def open_session(session: Session, account: Account) -> tuple[StaffSession, str]:
    """A new session of an account whose holder was made sure of; it and the token for the cookie."""
    now, token = clock.now(), secrets.token_urlsafe(32)
    session.execute(delete(StaffSession).where((StaffSession.seen_at <= now - IDLE) | (StaffSession.created_at <= now - LIFE)))
    opened = StaffSession(
        token_hash=_digest(token), csrf_token=secrets.token_urlsafe(32), account_id=account.id, created_at=now, seen_at=now
    )
    session.add(opened)
    session.flush()
    _note_use(session, opened)
    session.info["actor"] = Actor(ActorKind.ACCOUNT, account.id)
    history.note(session, "account", account.id, event="signed_in")
    return opened, token


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


# --- throttle --------------------------------------------------------------------------------------------------------------


def _mark(session: Session, kind: str, value: str) -> str:
    """A keyed hash: the rows of failures tell nobody's address and no network."""
    message = f"sign_in:{kind}:{value.casefold()}".encode("utf-8", "replace")
    return hmac.new(keys_of(session).links[0], message, hashlib.sha256).hexdigest()


def _network(address: str) -> str:
    """An IPv4 address itself; of an IPv6 address the /64 that one household holds."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    return str(ip_network((parsed, 64), strict=False)) if isinstance(parsed, IPv6Address) else str(parsed)


@dataclass(frozen=True)
class _Attempt:
    """A try that was written as a failure before anybody knows how it ends."""

    address_mark: str
    network_row: int


def _attempt(session: Session, email: str, network: str) -> _Attempt:
    """Count a try as a failure; TooMany(too_many_sign_ins), uncounted, when there were too many already."""
    of_address = _mark(session, "address", accounts.typed_key(email) or email)
    of_network = _mark(session, "network", _network(network))
    one_at_a_time(session, of_address, of_network)
    _refuse_many(session, (of_address, of_network))
    session.execute(delete(SignInAttempt).where(SignInAttempt.at < clock.now() - WINDOW))
    network_row = SignInAttempt(key=of_network)
    session.add_all([SignInAttempt(key=of_address), network_row])
    session.flush()
    return _Attempt(of_address, network_row.id)


def _refuse_many(session: Session, marks: tuple[str, str]) -> None:
    counted = select(SignInAttempt.key, func.count(SignInAttempt.id)).where(
        SignInAttempt.key.in_(marks), SignInAttempt.at > clock.now() - WINDOW
    )
    failures = {row[0]: row[1] for row in session.execute(counted.group_by(SignInAttempt.key))}
    if failures.get(marks[0], 0) >= FAILURES_OF_ADDRESS or failures.get(marks[1], 0) >= FAILURES_OF_NETWORK:
        raise TooMany("too_many_sign_ins", minutes=int(WINDOW.total_seconds() // 60))
