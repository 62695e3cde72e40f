"""Tables of the staff: accounts, sessions, sign-in attempts, API clients and their calls."""

from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from crm import clock
from crm.database import PLAIN, Base, Json, Personal, UtcDateTime, choice, personal
from crm.history import Tracked


class Role(StrEnum):
    READING = "reading"
    EDITING = "editing"
    COORDINATION = "coordination"
    PRIVACY = "privacy"
    ADMINISTRATION = "administration"


class Account(Tracked, Base):
    """A member of staff who signs in."""

    __tablename__ = "account"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(sa.String(254), unique=True, info=personal(Personal.STAFF))
    """Casefolded."""
    name: Mapped[str] = mapped_column(sa.String(200), info=personal(Personal.STAFF))
    role: Mapped[Role] = mapped_column(choice(Role), info=PLAIN)
    password_hash: Mapped[str] = mapped_column(sa.String(200), info=PLAIN | {"derived": True})
    is_demo: Mapped[bool] = mapped_column(default=False)
    """Made by the demo: while one exists the server refuses to listen beyond this machine."""
    disabled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock.now)
    last_seen_at: Mapped[datetime | None] = mapped_column(UtcDateTime, info={"derived": True})
    """When the person last opened a page, to the minute."""


class Invitation(Tracked, Base):
    """A door for one new account: whoever holds its link sets name and password, once. Only the link's SHA-256 is stored."""

    __tablename__ = "invitation"

    id: Mapped[int] = mapped_column(primary_key=True)
    token_hash: Mapped[str] = mapped_column(sa.String(64), unique=True, info=PLAIN | {"derived": True})
    email: Mapped[str] = mapped_column(sa.String(254), info=personal(Personal.STAFF))
    """Casefolded; the account will have it."""
    role: Mapped[Role] = mapped_column(choice(Role), info=PLAIN)
    invited_by_id: Mapped[int] = mapped_column(sa.ForeignKey("account.id"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock.now)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When it was used or withdrawn."""


class StaffSession(Base):
    """A signed-in browser. The cookie holds a random token; only its SHA-256 is stored."""

    __tablename__ = "staff_session"

    id: Mapped[int] = mapped_column(primary_key=True)
    token_hash: Mapped[str] = mapped_column(sa.String(64), unique=True, info=PLAIN)
    csrf_token: Mapped[str] = mapped_column(sa.String(64), info=PLAIN)
    account_id: Mapped[int] = mapped_column(sa.ForeignKey("account.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock.now)
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock.now)


class SignInAttempt(Base):
    """A failed sign-in, by keyed hash of the address tried or of the network it came from."""

    __tablename__ = "sign_in_attempt"

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(sa.String(64), index=True, info=PLAIN)
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock.now)


class ApiClient(Tracked, Base):
    """A system of the Institute that calls the API, and the person who answers for it."""

    __tablename__ = "api_client"
    history_root: ClassVar[tuple[str, str] | None] = None

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(200), info=PLAIN)
    responsible: Mapped[str] = mapped_column(sa.String(200), info=personal(Personal.STAFF))
    scopes: Mapped[list[str]] = mapped_column(Json, info=PLAIN)
    key_prefix: Mapped[str] = mapped_column(sa.String(16), unique=True, info=PLAIN)
    key_hash: Mapped[str] = mapped_column(sa.String(64), info=PLAIN | {"derived": True})
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock.now)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime, info={"derived": True})


class ApiCall(Base):
    """One call of the API: which client, which route, how many rows it took out or put in."""

    __tablename__ = "api_call"

    id: Mapped[int] = mapped_column(primary_key=True)
    client_id: Mapped[int] = mapped_column(sa.ForeignKey("api_client.id"), index=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock.now)
    method: Mapped[str] = mapped_column(sa.String(10), info=PLAIN)
    route: Mapped[str] = mapped_column(sa.String(200), info=PLAIN)
    """The template of the route (`/contacts/{contact_id}`), never the address with its values."""
    status: Mapped[int]
    rows: Mapped[int | None]


class ApiAnswer(Base):
    """What a creation under an Idempotency-Key answered, so that asking again neither repeats it nor tells otherwise."""

    __tablename__ = "api_answer"

    id: Mapped[int] = mapped_column(primary_key=True)
    client_id: Mapped[int] = mapped_column(sa.ForeignKey("api_client.id"))
    key: Mapped[str] = mapped_column(sa.String(200), info=PLAIN)
    request_hash: Mapped[str] = mapped_column(sa.String(64), info=PLAIN)
    """SHA-256 of method, path and content."""
    answer: Mapped[Any] = mapped_column(Json, info=personal(Personal.IDENTITY))
    """The body of the answer; kept for a day."""
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock.now, index=True)

    __table_args__ = (sa.UniqueConstraint("client_id", "key"),)
