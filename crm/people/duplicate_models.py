"""Tables of duplicates: what records are looked up by, the pairs that may be one person, and the records that were joined."""

from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

from crm import clock
from crm.database import PLAIN, Base, Json, Personal, UtcDateTime, choice, personal
from crm.people.evidence import Grade, Match, Reason
from crm.people.models import Contact
from crm.people.names import display_name

likeness_key = sa.Table(
    "likeness_key",
    Base.metadata,
    sa.Column("key", sa.BigInteger, primary_key=True),
    sa.Column("place", sa.Integer, primary_key=True),
    sa.Column("contact_id", sa.ForeignKey("contact.id", ondelete="CASCADE"), primary_key=True, index=True),
    sqlite_with_rowid=False,
)
"""What a person may be found by though written otherwise (`likeness_keys.keys_of`), with their city (0: none)."""


class PairState(StrEnum):
    OPEN = "open"
    SET_ASIDE = "set_aside"
    """A person said that they are two people."""
    JOINED = "joined"


class DuplicatePair(Base):
    """Two people who may be one, why, and what a person decided. What was decided stays in the history of both."""

    __tablename__ = "duplicate_pair"

    id: Mapped[int] = mapped_column(primary_key=True)
    low_id: Mapped[int] = mapped_column(sa.ForeignKey("contact.id", ondelete="CASCADE"))
    high_id: Mapped[int] = mapped_column(sa.ForeignKey("contact.id", ondelete="CASCADE"), index=True)
    score: Mapped[float] = mapped_column(sa.Double)
    """Bits of evidence: see `evidence`."""
    grade: Mapped[Grade] = mapped_column(choice(Grade), info=PLAIN)
    reasons: Mapped[list[str]] = mapped_column(Json, info=PLAIN)
    """Codes of `evidence.Reason`."""
    state: Mapped[PairState] = mapped_column(choice(PairState), default=PairState.OPEN, info=PLAIN)
    found_at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock.now)
    decided_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    decided_by_id: Mapped[int | None]
    """The account of who decided."""

    low: Mapped[Contact] = relationship(lazy="raise_on_sql", foreign_keys=low_id)
    high: Mapped[Contact] = relationship(lazy="raise_on_sql", foreign_keys=high_id)

    __table_args__ = (
        sa.UniqueConstraint("low_id", "high_id"),
        sa.Index("ix_duplicate_pair_state_score_id", "state", "score", "id"),
    )

    def name_beside(self, contact_id: int) -> str:
        """The name of the other one; both are loaded."""
        return display_name(self.high if self.low_id == contact_id else self.low) or "Sin nombre"

    @property
    def match(self) -> Match:
        return Match(self.score, tuple(Reason(one) for one in self.reasons))


class Joining(Base):
    """A record that was joined into another, with all that is needed to part them again."""

    __tablename__ = "joining"

    id: Mapped[int] = mapped_column(primary_key=True)
    kept_id: Mapped[int] = mapped_column(sa.ForeignKey("contact.id", ondelete="CASCADE"), index=True)
    joined_id: Mapped[int] = mapped_column(sa.ForeignKey("contact.id", ondelete="CASCADE"), index=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock.now)
    by_id: Mapped[int | None]
    """The account of who joined them."""
    reason: Mapped[str | None] = mapped_column(sa.Text, info=PLAIN)
    snapshot: Mapped[dict[str, Any] | None] = mapped_column(Json, info=personal(Personal.IDENTITY))
    """What moved and what was there before: see `crm.mailing.joining`. Deleted after the days in which it can be undone."""
    undone_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    undone_by_id: Mapped[int | None]


class Comparing(Base):
    """The comparing of everybody with everybody: one row. Due when it is asked for, or when the last one is a day old."""

    __tablename__ = "comparing"

    id: Mapped[int] = mapped_column(primary_key=True)
    """Always 1."""
    asked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When a person last asked for it."""
    began_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    done: Mapped[int] = mapped_column(default=0)
    """People compared so far."""
    generation: Mapped[int] = mapped_column(default=0)
    """Raised whenever it is due again after its job ended: see `crm.jobs`."""
