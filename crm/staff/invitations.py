"""Invitations: how a colleague gets an account without anybody else knowing the password.

The link holds a random token of which only the SHA-256 is stored. It lives `LIFE`, opens once, and looking at it changes
nothing; who holds it sets name and password.
"""

import hashlib
import secrets
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from crm import clock
from crm.errors import Conflict, NotFound
from crm.staff import accounts
from crm.staff.models import Account, Invitation
from crm.staff.rights import ROLES, Right

LIFE = timedelta(days=7)


def invite(session: Session, email: str, role: str, invited_by_id: int) -> tuple[Invitation, str]:
    """A new invitation and the token of its link, which is told this once; an earlier one of the same address ends.

    InvalidInput: address_invalid, role_unknown; Conflict(account_exists).
    """
    key = accounts.email_key(email)
    if accounts.by_email(session, key) is not None:
        raise Conflict("account_exists", field="email")
    wanted = accounts.role_of(role)
    now, token = clock.now(), secrets.token_urlsafe(32)
    for earlier in session.scalars(_open().where(Invitation.email == key).with_for_update()):
        earlier.ended_at = now
    made = Invitation(
        token_hash=_digest(token), email=key, role=wanted, invited_by_id=invited_by_id, created_at=now, expires_at=now + LIFE
    )
    session.add(made)
    session.flush()
    return made, token


def find(session: Session) -> Sequence[Invitation]:
    """The invitations that still open, the newest first."""
    return session.scalars(_open().order_by(Invitation.id.desc())).all()


def of_token(session: Session, token: str) -> Invitation:
    """The invitation of a link; NotFound(invitation_over) when it was used, withdrawn, expired or never made, alike."""
    found = session.scalar(_open().where(Invitation.token_hash == _digest(token)))
    if found is None:
        raise NotFound("invitation_over")
    return found


def accept(session: Session, token: str, name: str, password: str) -> Account:
    """Make the account of an invitation, which ends. NotFound(invitation_over), and the errors of `accounts.create`."""
    found = session.scalar(_open().where(Invitation.token_hash == _digest(token)).with_for_update())
    if found is None:
        raise NotFound("invitation_over")
    inviter = accounts.get(session, found.invited_by_id)
    if inviter.disabled_at is not None or Right.ACCOUNTS not in ROLES[inviter.role]:
        raise NotFound("invitation_over")  # else who lost the right could open itself a door back
    account = accounts.create(session, found.email, name, found.role.value, password)
    found.ended_at = clock.now()
    session.flush()
    return account


def withdraw(session: Session, invitation_id: int) -> None:
    """End an invitation: its link opens nothing any more. Twice is the same as once."""
    found = session.get(Invitation, invitation_id)
    if found is None:
        raise NotFound("invitation_over")
    found.ended_at = found.ended_at or clock.now()
    session.flush()


def withdraw_those_of(session: Session, account_id: int) -> None:
    """End what an account invited to: with the account go the doors that it opened."""
    for one in session.scalars(_open().where(Invitation.invited_by_id == account_id)):
        one.ended_at = clock.now()
    session.flush()


def _open() -> Select[Invitation]:
    return select(Invitation).where(Invitation.ended_at.is_(None), Invitation.expires_at > clock.now())


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
