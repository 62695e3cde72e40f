"""Tables of mailing: segments, campaigns, sends and the ledger of deliveries."""

from datetime import date, datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import Mapped, mapped_column, relationship

from crm import clock
from crm.database import PLAIN, Base, Json, Personal, UtcDateTime, choice, personal
from crm.history import Tracked
from crm.people.models import Language, Purpose


class ContentClass(StrEnum):
    """What a mail is for the electoral law: some classes may not leave in a restriction period."""

    ELECTORAL_INFORMATION = "electoral_information"
    CIVIC_EDUCATION = "civic_education"
    SERVICE = "service"
    INSTITUTIONAL_PROMOTION = "institutional_promotion"
    EVENT_INVITATION = "event_invitation"


class SendMode(StrEnum):
    NOW = "now"
    AT = "at"


class SendState(StrEnum):
    SCHEDULED = "scheduled"
    HELD = "held"
    SENDING = "sending"
    PAUSED = "paused"
    DONE = "done"
    CANCELLED = "cancelled"


class DeliveryState(StrEnum):
    PENDING = "pending"
    SENDING = "sending"
    SENT = "sent"
    DEFERRED = "deferred"
    FAILED = "failed"
    IN_DOUBT = "in_doubt"
    SKIPPED = "skipped"


class SkipReason(StrEnum):
    """Why a person of the audience gets no mail: a closed list."""

    NO_CONSENT = "no_consent"
    UNSUBSCRIBED = "unsubscribed"
    SUPPRESSED = "suppressed"
    BLOCKED = "blocked"
    NO_ADDRESS = "no_address"
    SAME_ADDRESS = "same_address"
    RESTRICTED = "restricted"
    ALREADY_ANSWERED = "already_answered"
    EVENT_STARTED = "event_started"
    NO_ZONE = "no_zone"
    SYNTHETIC = "synthetic"
    """A person of the demo, never handed to a relay beyond this machine."""
    CANCELLED = "cancelled"
    """The send was cancelled before this mail left."""
    ADDRESS_CHANGED = "address_changed"
    """The address was replaced after the audience was made: the old one may be a stranger's by now."""
    ASKED_ENOUGH = "asked_enough"
    """Asked for consent lately, or as often as one may: see `consent_requests`."""


class NoticeMail(StrEnum):
    """Where the mail of a notice is. What is `leaving` never leaves again: a worker that dies there may have handed it over."""

    WAITING = "waiting"
    LEAVING = "leaving"
    ACCEPTED = "accepted"
    DROPPED = "dropped"
    """It will not leave: the send moved on, nobody is there to read it, or the server would not have it."""


class Outcome(StrEnum):
    """What came back after the server accepted a mail."""

    BOUNCED_HARD = "bounced_hard"
    BOUNCED_SOFT = "bounced_soft"
    COMPLAINED = "complained"
    ANSWERED = "answered"


class Segment(Tracked, Base):
    """A rule that says who is meant; evaluated when it is used, never a list."""

    __tablename__ = "segment"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(200), info=PLAIN)
    key: Mapped[str] = mapped_column(sa.String(200), unique=True, info=PLAIN | {"derived": True})
    rule: Mapped[dict[str, Any]] = mapped_column(Json, info=PLAIN)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock.now)
    version: Mapped[int] = mapped_column(default=1, info={"derived": True})

    __mapper_args__ = {"version_id_col": version}


class Relay(Base):
    """The server that mails are handed to: its pace and its rests. How to reach it is in `Settings.relay`."""

    __tablename__ = "relay"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(200), unique=True, info=PLAIN)
    """``host:port``; `catcher` for the local catcher."""
    per_minute: Mapped[int | None]
    next_slot: Mapped[float] = mapped_column(default=0.0)
    """Seconds since the epoch when the next mail may leave: one row moved forward by one UPDATE, exact over all workers."""
    resting_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    troubles: Mapped[int] = mapped_column(default=0)
    """Troubles in a row that were the relay's; five pause the send."""
    trouble: Mapped[str | None] = mapped_column(sa.String(60), info=PLAIN)
    """The last of them: a code of `faults.SENTENCES`."""


class MailSettings(Tracked, Base):
    """How mails leave, as told on the page Correo saliente: one row. What the environment tells wins over it."""

    __tablename__ = "mail_settings"

    id: Mapped[int] = mapped_column(primary_key=True)
    """Always 1."""
    mail_from: Mapped[str] = mapped_column(sa.String(500), info=PLAIN)
    """As `Settings.mail_from`."""
    reply_to: Mapped[str | None] = mapped_column(sa.String(254), info=PLAIN)
    host: Mapped[str | None] = mapped_column(sa.String(253), info=PLAIN)
    """None: the local catcher."""
    port: Mapped[int | None]
    tls: Mapped[str | None] = mapped_column(sa.String(20), info=PLAIN)
    username: Mapped[str | None] = mapped_column(sa.String(254), info=PLAIN)
    sealed_password: Mapped[str | None] = mapped_column(sa.Text, info=PLAIN | {"derived": True})
    """As `crm.sealing.seal` writes it."""
    per_minute: Mapped[int | None]
    """None: no limit, on this machine only."""
    per_hour: Mapped[int | None]
    per_day: Mapped[int | None]
    warm_up_since: Mapped[date | None]
    """The first day of a warm-up by week, by the calendar of Mexico City; None: there is none."""
    version: Mapped[int] = mapped_column(default=1, info={"derived": True})

    __mapper_args__ = {"version_id_col": version}


class Worker(Base):
    """A process that hands over mails: it says that it lives, so that the others know whose work to take over."""

    __tablename__ = "worker"

    id: Mapped[str] = mapped_column(sa.String(100), primary_key=True, info=PLAIN)
    """Machine, process and a random part: never the same twice."""
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Campaign(Tracked, Base):
    """What is said, to whom and for what purpose; each time that it goes out is a Send."""

    __tablename__ = "campaign"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(200), info=PLAIN)
    template: Mapped[str] = mapped_column(sa.String(60), info=PLAIN)
    purpose: Mapped[Purpose] = mapped_column(choice(Purpose), info=PLAIN)
    content_class: Mapped[ContentClass] = mapped_column(choice(ContentClass), info=PLAIN)
    include: Mapped[list[int]] = mapped_column(Json, default=list, info=PLAIN)
    exclude: Mapped[list[int]] = mapped_column(Json, default=list, info=PLAIN)
    """Ids of segments: the audience is whoever is in any of the first and in none of the second."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock.now)
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock.now, onupdate=clock.now, info={"derived": True})
    version: Mapped[int] = mapped_column(default=1, info={"derived": True})

    variants: Mapped[list["CampaignVariant"]] = relationship(
        lazy="raise_on_sql", order_by="CampaignVariant.language.desc()", cascade="all, delete-orphan"
    )

    __mapper_args__ = {"version_id_col": version}


class CampaignVariant(Tracked, Base):
    """The text of a campaign in one language."""

    __tablename__ = "campaign_variant"
    history_root = ("campaign", "campaign_id")

    id: Mapped[int] = mapped_column(primary_key=True)
    campaign_id: Mapped[int] = mapped_column(sa.ForeignKey("campaign.id", ondelete="CASCADE"))
    language: Mapped[Language] = mapped_column(choice(Language), info=PLAIN)
    subject: Mapped[str] = mapped_column(sa.String(300), info=PLAIN)
    preheader: Mapped[str] = mapped_column(sa.String(300), default="", info=PLAIN)
    blocks: Mapped[list[dict[str, Any]]] = mapped_column(Json, info=PLAIN)

    __table_args__ = (sa.UniqueConstraint("campaign_id", "language"),)


class CampaignRevision(Base):
    """What a campaign said when it was saved: an undo goes back to it, and a conflict is told by it."""

    __tablename__ = "campaign_revision"

    id: Mapped[int] = mapped_column(primary_key=True)
    campaign_id: Mapped[int] = mapped_column(sa.ForeignKey("campaign.id", ondelete="CASCADE"))
    version: Mapped[int]
    content: Mapped[dict[str, Any]] = mapped_column(Json, info=PLAIN)
    """A `schemas.CampaignIn`."""
    restores: Mapped[int | None]
    """The version that an undo brought back."""
    account_id: Mapped[int | None]
    """Who saved it; None for the API."""
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock.now)

    __table_args__ = (sa.UniqueConstraint("campaign_id", "version"),)


class Trial(Base):
    """A test mail of a campaign that was handed over, and what the server said."""

    __tablename__ = "trial"

    id: Mapped[int] = mapped_column(primary_key=True)
    campaign_id: Mapped[int] = mapped_column(sa.ForeignKey("campaign.id", ondelete="CASCADE"), index=True)
    version: Mapped[int]
    """Of the campaign that was tested."""
    account_id: Mapped[int]
    """Whose mailbox it went to: tests only go to accounts."""
    accepted: Mapped[bool]
    reason: Mapped[str] = mapped_column(sa.String(60), info=PLAIN)
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock.now)


class Send(Tracked, Base):
    """One going out of a campaign: its hour, its frozen content, its state in the ledger."""

    __tablename__ = "send"

    id: Mapped[int] = mapped_column(primary_key=True)
    campaign_id: Mapped[int] = mapped_column(sa.ForeignKey("campaign.id"), index=True)
    state: Mapped[SendState] = mapped_column(choice(SendState), default=SendState.SCHEDULED, info=PLAIN)
    reason: Mapped[str | None] = mapped_column(sa.String(60), info=PLAIN)
    """Why it is held or paused: a code of `REASONS` in sends.py."""
    mode: Mapped[SendMode] = mapped_column(choice(SendMode), info=PLAIN)
    starts_at: Mapped[datetime] = mapped_column(UtcDateTime)
    """When the first mail may leave: the hour told, or the order plus the seconds to undo."""
    confirmed_count: Mapped[int]
    """How many people it would reach when it was confirmed; more than that hold it."""
    by_catcher: Mapped[bool | None]
    """Whether it began without a relay, so that its mails stay on this machine; None before it begins."""
    would_reach: Mapped[int | None]
    """Held because the audience grew: the number that it would reach, which whoever resumes it accepts."""
    may_have_left: Mapped[bool] = mapped_column(default=False, server_default=sa.false())
    """It may have left before the database was restored: when it is released its people are in doubt, not written to."""
    include: Mapped[list[int]] = mapped_column(Json, info=PLAIN)
    exclude: Mapped[list[int]] = mapped_column(Json, info=PLAIN)
    rule: Mapped[dict[str, Any]] = mapped_column(Json, info=PLAIN)
    """The rules of those segments as they stood when it was confirmed, and of those that single blocks are for."""
    purpose: Mapped[Purpose] = mapped_column(choice(Purpose), info=PLAIN)
    generation: Mapped[int] = mapped_column(default=0, info={"derived": True})
    """Raised when the send is due again after its job ended: a finished job id of the engine never runs twice."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock.now)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ordered_by_kind: Mapped[str | None] = mapped_column(sa.String(20), info=PLAIN)
    ordered_by_id: Mapped[int | None]

    campaign: Mapped[Campaign] = relationship(lazy="raise_on_sql")

    __table_args__ = (sa.Index("ix_send_state_starts_at", "state", "starts_at"),)

    @hybrid_property
    def was_taken_back(self) -> bool:
        """Cancelled before anything of it left: its campaign is a draft again."""
        return self.state is SendState.CANCELLED and self.started_at is None and not self.may_have_left

    @was_taken_back.inplace.expression
    @classmethod
    def _was_taken_back(cls) -> sa.ColumnElement[bool]:
        return sa.and_(cls.state == SendState.CANCELLED, cls.started_at.is_(None), ~cls.may_have_left)


class Notice(Base):
    """That a send ended, paused or was held, for whoever ordered it: written with the change itself, then mailed by a worker."""

    __tablename__ = "notice"

    id: Mapped[int] = mapped_column(primary_key=True)
    send_id: Mapped[int] = mapped_column(sa.ForeignKey("send.id", ondelete="CASCADE"), index=True)
    state: Mapped[SendState] = mapped_column(choice(SendState), info=PLAIN)
    reason: Mapped[str | None] = mapped_column(sa.String(60), info=PLAIN)
    """Both as the send had them at that moment."""
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock.now)
    mail: Mapped[NoticeMail] = mapped_column(choice(NoticeMail), default=NoticeMail.WAITING, info=PLAIN)
    due_at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock.now)
    """Its mail does not leave before this instant."""
    attempts: Mapped[int] = mapped_column(default=0)
    left_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When it was last handed over: it counts towards the limits per hour and day like any mail."""
    generation: Mapped[int] = mapped_column(default=0)
    """As `Send.generation`."""
    seen_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When the person said on Inicio that they know."""

    send: Mapped[Send] = relationship(lazy="raise_on_sql")

    __table_args__ = (sa.Index("ix_notice_mail_due_at", "mail", "due_at"), sa.Index("ix_notice_left_at", "left_at"))


class SendContent(Base):
    """The mail of a send in one language for those who see some of its blocks, compiled and frozen: workers splice it, none
    compiles."""

    __tablename__ = "send_content"

    id: Mapped[int] = mapped_column(primary_key=True)
    send_id: Mapped[int] = mapped_column(sa.ForeignKey("send.id", ondelete="CASCADE"))
    language: Mapped[Language] = mapped_column(choice(Language), info=PLAIN)
    shown: Mapped[int] = mapped_column(default=0)
    """For whom, as `Delivery.shown`."""
    compiled: Mapped[dict[str, Any]] = mapped_column(Json, info=PLAIN)
    """As `compiling.Compiled.to_json` writes it; ASCII, since every part is already encoded for SMTP."""
    sha256: Mapped[str] = mapped_column(sa.String(64), info=PLAIN)

    __table_args__ = (sa.UniqueConstraint("send_id", "language", "shown"),)


content_material = sa.Table(
    "content_material",
    Base.metadata,
    sa.Column("content_id", sa.ForeignKey("send_content.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("material_id", sa.ForeignKey("material.id"), primary_key=True, index=True),
)
"""The materials that a frozen content carries."""


_OPEN = "state IN ('pending', 'deferred')"
_HELD = "token IS NOT NULL"


class Delivery(Base):
    """What happened to one person of a send: the ledger. Each move is one UPDATE fenced by the lease's token."""

    __tablename__ = "delivery"

    id: Mapped[int] = mapped_column(primary_key=True)
    send_id: Mapped[int] = mapped_column(sa.ForeignKey("send.id"))
    contact_id: Mapped[int] = mapped_column(sa.ForeignKey("contact.id"))
    address: Mapped[str | None] = mapped_column(sa.String(254), info=personal(Personal.CONTACT))
    """None only when the person has no address (skipped)."""
    address_hash: Mapped[str | None] = mapped_column(sa.String(64), info=PLAIN)
    language: Mapped[Language] = mapped_column(choice(Language), info=PLAIN)
    shown: Mapped[int] = mapped_column(default=0)
    """Which blocks for a part of the audience it holds: a bit for each rule of ``only_for`` in `Send.rule`, by its place."""
    state: Mapped[DeliveryState] = mapped_column(choice(DeliveryState), default=DeliveryState.PENDING, info=PLAIN)
    reason: Mapped[str | None] = mapped_column(sa.String(60), info=PLAIN)
    """A `SkipReason` when skipped; the verdict of `faults.py` when failed or deferred."""
    token: Mapped[str | None] = mapped_column(sa.String(36), info=PLAIN)
    """Who holds it while it is `sending`."""
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    """Not before this instant; moved forward when the server asks to come back later."""
    attempts: Mapped[int] = mapped_column(default=0)
    smtp_code: Mapped[int | None]
    smtp_reply: Mapped[str | None] = mapped_column(sa.Text, info=personal(Personal.CONTACT))
    """The server's own words; they may hold the address."""
    settled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When it reached the state that it is in now."""
    outcome: Mapped[Outcome | None] = mapped_column(choice(Outcome), info=PLAIN)
    outcome_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (
        # The send last, so that each also finds what somebody got: PostgreSQL writes every index anew whenever a row moves.
        sa.UniqueConstraint("contact_id", "send_id"),
        sa.UniqueConstraint("address_hash", "send_id"),
        sa.Index("ix_delivery_send_id_state", "send_id", "state"),
        sa.Index("ix_delivery_open", "send_id", "due_at", "id", sqlite_where=sa.text(_OPEN), postgresql_where=sa.text(_OPEN)),
        sa.Index("ix_delivery_held", "token", sqlite_where=sa.text(_HELD), postgresql_where=sa.text(_HELD)),
    )


IS_OPEN: sa.ColumnElement[bool] = sa.literal_column("delivery." + _OPEN)
"""Whether a delivery may still leave; in the very words of its index, without which a claim would sort all that is open."""


class Attempt(Base):
    """One try of one mail and what the server said; append-only."""

    __tablename__ = "attempt"

    id: Mapped[int] = mapped_column(primary_key=True)
    delivery_id: Mapped[int] = mapped_column(sa.ForeignKey("delivery.id"), index=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    state: Mapped[DeliveryState] = mapped_column(choice(DeliveryState), info=PLAIN)
    step: Mapped[str | None] = mapped_column(sa.String(20), info=PLAIN)
    """The SMTP step that was answered: connect, mail, rcpt, data, message."""
    smtp_code: Mapped[int | None]
    smtp_reply: Mapped[str | None] = mapped_column(sa.Text, info=personal(Personal.CONTACT))
    reason: Mapped[str | None] = mapped_column(sa.String(60), info=PLAIN)
