"""Who was told what, and when: the sends of a period in one row each, without a name, and the different people behind them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm import clock
from crm.mailing.compiling import in_words
from crm.mailing.models import Campaign, Delivery, DeliveryState, Send, SendContent, SkipReason
from crm.people.models import Contact, Language, Purpose, kept_id

LEAST = 5
"""Fewer people than this are not told to who may not see people: a cell of three names them nearly (k-anonymity, k = 5)."""


class Hidden(StrEnum):
    """Why a figure is not told to who may not see people; each in its own words, since one is small and the other may be any."""

    SMALL = "small"
    """It is from 1 to 4."""
    WOULD_TELL = "would_tell"
    """Less what is shown beside it, it would tell a small one."""


Figure = int | Hidden


@dataclass(frozen=True)
class Period:
    """Days by the calendar of Mexico City, both included."""

    first: date
    last: date

    @property
    def begins(self) -> datetime:
        return datetime.combine(self.first, time(), clock.INSTITUTE_ZONE)

    @property
    def ends(self) -> datetime:
        """The instant after it."""
        return datetime.combine(self.last + timedelta(days=1), time(), clock.INSTITUTE_ZONE)


def quarter_of(day: date) -> Period:
    """The quarter of a year that a day is in."""
    first = day.replace(month=3 * ((day.month - 1) // 3) + 1, day=1)
    following = (first + timedelta(days=95)).replace(day=1)
    return Period(first, following - timedelta(days=1))


@dataclass(frozen=True)
class SentRow:
    """One send: when it began, what it said and for what, how many people it was for and what became of them."""

    send_id: int
    on: date
    campaign: str
    """As it is called now."""
    subject: str
    """What it left with, in Spanish where it had a Spanish text; merge fields by their names."""
    purpose: Purpose
    people: int
    countries: int
    """Of those whose mail the server accepted."""
    counts: Mapping[DeliveryState, int]
    skipped: Mapping[str, int] = field(default_factory=dict)
    """Reason to people."""

    @property
    def accepted(self) -> int:
        return self.counts.get(DeliveryState.SENT, 0)


def rows(session: Session, period: Period) -> list[SentRow]:
    """The sends that began in a period, the oldest first. What waits in them still is told as pending."""
    content = (
        sa.select(SendContent.id)
        .where(SendContent.send_id == Send.id)
        .order_by(SendContent.language != Language.SPANISH, SendContent.shown)
        .limit(1)
        .correlate(Send)
        .scalar_subquery()
    )
    # The subject as it left: the campaign may say another by now. Only that much of a content is read, which has megabytes.
    found = session.execute(
        sa.select(Send, Campaign.name, SendContent.compiled["subject"])
        .join(Campaign, Campaign.id == Send.campaign_id)
        .outerjoin(SendContent, SendContent.id == content)
        .where(Send.started_at >= period.begins, Send.started_at < period.ends)
        .order_by(Send.started_at, Send.id)
    ).all()
    ids = [row[0].id for row in found]
    counts, skipped, countries = _counts(session, ids), _skipped(session, ids), _countries(session, ids)
    return [
        SentRow(
            send_id=send.id,
            on=clock.institute_time(send.started_at or send.starts_at).date(),
            campaign=name,
            subject=in_words(subject or []),
            purpose=send.purpose,
            people=sum(counts.get(send.id, {}).values()),
            countries=countries.get(send.id, 0),
            counts=counts.get(send.id, {}),
            skipped=skipped.get(send.id, {}),
        )
        for send, name, subject in found
    ]


def _counts(session: Session, ids: Sequence[int]) -> dict[int, dict[DeliveryState, int]]:
    told: dict[int, dict[DeliveryState, int]] = {}
    statement = sa.select(Delivery.send_id, Delivery.state, sa.func.count()).where(Delivery.send_id.in_(ids))
    for send_id, state, people in session.execute(statement.group_by(Delivery.send_id, Delivery.state)):
        one = DeliveryState.PENDING if state == DeliveryState.SENDING else DeliveryState(state)
        of_send = told.setdefault(send_id, {})
        of_send[one] = of_send.get(one, 0) + people
    return told


def _skipped(session: Session, ids: Sequence[int]) -> dict[int, dict[str, int]]:
    told: dict[int, dict[str, int]] = {}
    statement = sa.select(Delivery.send_id, Delivery.reason, sa.func.count()).where(
        Delivery.send_id.in_(ids), Delivery.state == DeliveryState.SKIPPED
    )
    for send_id, reason, people in session.execute(statement.group_by(Delivery.send_id, Delivery.reason)):
        told.setdefault(send_id, {})[reason or ""] = people
    return told


def _countries(session: Session, ids: Sequence[int]) -> dict[int, int]:
    statement = sa.select(Delivery.send_id, sa.func.count(sa.distinct(Contact.country))).join(
        Contact, Contact.id == Delivery.contact_id
    )
    accepted = statement.where(Delivery.send_id.in_(ids), Delivery.state == DeliveryState.SENT)
    return {row[0]: row[1] for row in session.execute(accepted.group_by(Delivery.send_id))}


def reached(period: Period) -> sa.Select[int]:
    """The ids of the different people whose mail of a send of the period the server accepted; records that were joined are one."""
    return (
        sa.select(kept_id())
        .select_from(Delivery)
        .join(Contact, Contact.id == Delivery.contact_id)
        .join(Send, Send.id == Delivery.send_id)
        .where(Delivery.state == DeliveryState.SENT, Send.started_at >= period.begins, Send.started_at < period.ends)
        .distinct()
    )


def different_people(session: Session, period: Period) -> int:
    """How many people got at least one mail of the period; who got five counts once."""
    return session.scalar(sa.select(sa.func.count()).select_from(reached(period).subquery())) or 0


# --- small cells -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Told:
    """The figures of one send as somebody is told them."""

    people: Figure
    countries: Figure
    counts: Mapping[DeliveryState, Figure]
    """Every state but the people left out."""
    skipped: Mapping[str, Figure]

    @property
    def hides(self) -> bool:
        return any(isinstance(figure, Hidden) for figure in (*self.counts.values(), *self.skipped.values()))


def told(row: SentRow, *, hides_small: bool) -> Told:
    """A send in figures: all of them, or without small groups for who may not see people."""
    counts: dict[DeliveryState, Figure] = {
        state: row.counts.get(state, 0) for state in DeliveryState if state is not DeliveryState.SKIPPED
    }
    whole = Told(row.people, row.countries, counts, dict(row.skipped))
    return without_small(whole) if hides_small else whole


def without_small(whole: Told) -> Told:
    """Figures without those from 1 to 4; where there is one, without the people of the row either.

    The parts of a row sum to its people, so the total would tell a hidden part, or several: 1 and 1 of 2, 4 and 4 of 8. Without
    the total nothing that is shown bounds a hidden part, and which figures are hidden says no more of it than that it is small.
    """
    kept = Told(
        whole.people,
        hide_small(whole.countries),
        {state: hide_small(figure) for state, figure in whole.counts.items()},
        {reason: hide_small(figure) for reason, figure in whole.skipped.items()},
    )
    return replace(kept, people=Hidden.WOULD_TELL) if kept.hides else kept


def hide_small(figure: Figure) -> Figure:
    return Hidden.SMALL if not isinstance(figure, Hidden) and 0 < figure < LEAST else figure


def total(figure: int, parts: Iterable[Figure]) -> Figure:
    """A figure over several sends: where one of its parts is hidden, it would tell it, less the others."""
    return Hidden.WOULD_TELL if any(isinstance(part, Hidden) for part in parts) else figure


def different_people_told(people: int, sends: Sequence[Told], *, hides_small: bool) -> Figure:
    """How many different people a period reached: not told beside any small group, from which they could be subtracted."""
    shown = total(people, [row.people for row in sends])
    return hide_small(shown) if hides_small else shown


def reasons_of(found: Iterable[SentRow]) -> list[str]:
    """The reasons that any of some sends left people out for, in the order of the closed list."""
    told = {reason for row in found for reason in row.skipped}
    known = [reason.value for reason in SkipReason if reason.value in told]
    return [*known, *sorted(told - set(known))]
