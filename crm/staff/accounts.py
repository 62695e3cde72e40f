"""Accounts of the staff: made, given another role or password, and disabled."""

from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError
from email_validator import EmailNotValidError, validate_email
from sqlalchemy import delete, select, true
from sqlalchemy.orm import Session

from crm import clock
from crm.database import one_at_a_time
from crm.errors import Conflict, InvalidInput, NotFound
from crm.history import Actor, ActorKind
from crm.staff.models import Account, Role, StaffSession

PASSWORD_LEAST = 12
PASSWORD_MOST = 1000
"""Characters of a password; the upper limit only keeps the work of hashing bounded."""
NAME_MOST = 200

_hasher = PasswordHasher()
"""argon2id with the parameters of RFC 9106 for memory-constrained machines: 64 MiB, three passes."""


@cache
def _hash_of_nobody() -> str:
    return _hasher.hash("the password of an account that does not exist")


def create(session: Session, email: str, name: str, role: str, password: str, *, is_demo: bool = False) -> Account:
    """A new account. InvalidInput: address_invalid, field_required, role_unknown, password_too_short; Conflict: account_exists."""
    key = email_key(email)
    if session.scalar(select(Account.id).where(Account.email == key)) is not None:
        raise Conflict("account_exists", field="email")
    account = Account(
        email=key, name=_name(name), role=role_of(role), password_hash=_hasher.hash(_checked(password)), is_demo=is_demo
    )
    session.add(account)
    session.flush()
    return account


def get(session: Session, account_id: int) -> Account:
    """The account, disabled or not; NotFound(account_not_found)."""
    account = session.get(Account, account_id)
    if account is None:
        raise NotFound("account_not_found")
    return account


def find(session: Session) -> list[Account]:
    """Every account, by address."""
    return list(session.scalars(select(Account).order_by(Account.email)))


def by_email(session: Session, email: str) -> Account | None:
    """The account of an address, however it was typed; None when there is none."""
    return session.scalar(select(Account).where(Account.email == typed_key(email)))


def rename(session: Session, account_id: int, name: str) -> Account:
    """Another name. InvalidInput: field_required, field_too_long."""
    account = get(session, account_id)
    account.name = _name(name)
    session.flush()
    return account


def change_role(session: Session, account_id: int, role: str) -> Account:
    """Another role, in force from the next page that the person opens. Conflict: own_account, last_administration."""
    account, wanted = get(session, account_id), role_of(role)
    if wanted is not account.role:
        _check_may_lose(session, account)
    account.role = wanted
    session.flush()
    return account


def change_password(session: Session, account_id: int, password: str, *, keep: StaffSession | None = None) -> Account:
    """Another password; whoever was signed in with the old one is signed out, but for the session ``keep``."""
    account = get(session, account_id)
    account.password_hash = _hasher.hash(_checked(password))
    _end_sessions(session, account, keep)
    return account


def disable(session: Session, account_id: int) -> Account:
    """Shut an account and end its sessions at once. Twice is the same as once. Conflict: own_account, last_administration."""
    account = get(session, account_id)
    if account.disabled_at is None:
        _check_may_lose(session, account)
        account.disabled_at = clock.now()
    _end_sessions(session, account)
    return account


def enable(session: Session, account_id: int) -> Account:
    """Open a disabled account again, with the role and the password that it had."""
    account = get(session, account_id)
    account.disabled_at = None
    session.flush()
    return account


def _check_may_lose(session: Session, account: Account) -> None:
    """Nobody takes rights from oneself, and somebody always administers: of two who take it from each other, one does not."""
    actor: Actor | None = session.info.get("actor")
    if actor is not None and (actor.kind, actor.id) == (ActorKind.ACCOUNT, account.id):
        raise Conflict("own_account")
    if account.role is Role.ADMINISTRATION and account.disabled_at is None:
        one_at_a_time(session, "administration")
        others = select(Account.id).where(
            Account.id != account.id, Account.role == Role.ADMINISTRATION, Account.disabled_at.is_(None)
        )
        if session.scalar(others.limit(1)) is None:
            raise Conflict("last_administration")


def password_is_right(account: Account | None, password: str) -> bool:
    """Whether the password opens the account. It takes as long for an account that does not exist or is disabled."""
    try:
        _hasher.verify(account.password_hash if account else _hash_of_nobody(), password[:PASSWORD_MOST])
    except VerifyMismatchError:
        return False
    return account is not None and account.disabled_at is None


def email_key(email: str) -> str:
    """The address of an account, casefolded; InvalidInput(address_invalid)."""
    try:
        return validate_email(email.strip(), check_deliverability=False).normalized.casefold()
    except EmailNotValidError as error:
        raise InvalidInput("address_invalid", field="email") from error


def typed_key(email: str) -> str:
    """What was typed as an address, folded like `email_key`; "" when it is no address."""
    try:
        return email_key(email)
    except InvalidInput:
        return ""


def _end_sessions(session: Session, account: Account, keep: StaffSession | None = None) -> None:
    session.flush()
    kept = StaffSession.id != keep.id if keep is not None else true()
    session.execute(delete(StaffSession).where(StaffSession.account_id == account.id, kept))


def _name(name: str) -> str:
    name = " ".join(name.split())
    if not name or len(name) > NAME_MOST:
        raise InvalidInput("field_too_long" if name else "field_required", field="name", limit=NAME_MOST)
    return name


def role_of(role: str) -> Role:
    """A role by its name; InvalidInput(role_unknown)."""
    try:
        return Role(role)
    except ValueError as error:
        raise InvalidInput("role_unknown", field="role") from error


def _checked(password: str) -> str:
    if len(password) < PASSWORD_LEAST:
        raise InvalidInput("password_too_short", field="password")
    if len(password) > PASSWORD_MOST:
        raise InvalidInput("field_too_long", field="password", limit=PASSWORD_MOST)
    return password
