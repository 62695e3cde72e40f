"""Who gets a mail: the people of the segments, the address of each, and why some get none."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm.database import search_key
from crm.mailing import consent_requests, segments
from crm.mailing.models import Delivery, DeliveryState, Segment, Send, SkipReason
from crm.people import consent
from crm.people.models import City, Contact, EmailAddress, Language, Purpose, Tag, contact_tag, kept_id

SYNTHETIC_TAG = "sintetico"
"""People of the demo: never handed to a relay beyond this machine."""


NIGHT_BEGINS, NIGHT_ENDS = 21, 8
"""Hours of the reader's wall clock."""


@dataclass(frozen=True)
class Rules:
    """The rules of an audience as they stood at one moment."""

    include: list[dict[str, Any]]
    exclude: list[dict[str, Any]]
    only_for: list[dict[str, Any]] = field(default_factory=list)
    """Of blocks that only a part of the audience sees; the place of a rule is its bit in `shown`."""

    def to_json(self) -> dict[str, Any]:
        return {"include": self.include, "exclude": self.exclude, "only_for": self.only_for}

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "Rules":
        return cls(stored["include"], stored["exclude"], stored.get("only_for", []))


def rules_of(session: Session, include: Iterable[int], exclude: Iterable[int], only_for: Iterable[int] = ()) -> Rules:
    """The rules of some segments; NotFound(segment_not_found) for one that does not exist."""
    return Rules(*([_rule(session, number) for number in some] for some in (include, exclude, only_for)))


def _rule(session: Session, segment_id: int) -> dict[str, Any]:
    segment: Segment = segments.get(session, segment_id)
    return segment.rule


def condition(session: Session, rules: Rules) -> sa.ColumnElement[bool]:
    """Whoever is in any of the included and in none of the excluded; nobody when nothing is included."""
    inside = sa.or_(sa.false(), *(_meets(session, rule) for rule in rules.include))
    outside = [sa.not_(_meets(session, rule)) for rule in rules.exclude]
    return sa.and_(inside, *outside)


def shown(session: Session, rules: Rules) -> sa.ColumnElement[int]:
    """Which blocks for a part of the audience a `Contact` sees: a bit for each rule of ``only_for``."""
    bits = [sa.case((_meets(session, rule), 1 << place), else_=0) for place, rule in enumerate(rules.only_for)]
    return sum(bits, sa.literal(0))


def shown_to(session: Session, rules: Rules, contact_id: int) -> int:
    """`shown` of one person, now."""
    return session.scalar(sa.select(shown(session, rules)).select_from(Contact).where(Contact.id == contact_id)) or 0


def _meets(session: Session, rule: dict[str, Any]) -> sa.ColumnElement[bool]:
    return segments.condition(session, segments.parse(rule))


def skip_reason(session: Session, purpose: Purpose, *, relay_is_local: bool) -> sa.ColumnElement[str | None]:
    """Why a contact gets no mail of this purpose now, as SQL; NULL means that it may be written to."""
    reason = consent.skip_reason(session, purpose)
    if purpose is Purpose.CONSENT_REQUEST:
        reason = consent_requests.skip_reason(reason)
    if relay_is_local:
        return reason
    tagged = sa.exists().where(
        contact_tag.c.contact_id == Contact.id, Tag.id == contact_tag.c.tag_id, Tag.key == search_key(SYNTHETIC_TAG)
    )
    return sa.func.coalesce(reason, sa.case((tagged, SkipReason.SYNTHETIC.value), else_=None))


def people(
    session: Session, rules: Rules, purpose: Purpose, languages: Sequence[Language], *, relay_is_local: bool
) -> sa.Select[Any]:
    """One row per person: contact_id, address, address_hash, language of the variant, shown, reason (NULL: gets it)."""
    spoken = sa.case((Contact.language.in_(list(languages)), Contact.language), else_=Language.SPANISH.value)
    return (
        sa.select(
            Contact.id.label("contact_id"),
            EmailAddress.address.label("address"),
            EmailAddress.suppression_hash.label("address_hash"),
            spoken.label("language"),
            shown(session, rules).label("shown"),
            skip_reason(session, purpose, relay_is_local=relay_is_local).label("reason"),
        )
        .select_from(Contact)
        .outerjoin(EmailAddress, EmailAddress.id == consent.preferred_address())
        .where(condition(session, rules))
    )


def by_country(session: Session, chosen: sa.Select[Any]) -> list[tuple[str | None, int]]:
    """(country code, people who get it), most people first; None stands for those of whom no country is known."""
    rows = chosen.subquery()
    counted = (
        sa.select(Contact.country, sa.func.count().label("people"))
        .join(rows, rows.c.contact_id == Contact.id)
        .where(rows.c.reason.is_(None))
        .group_by(Contact.country)
    )
    return [(row[0], row[1]) for row in session.execute(counted.order_by(sa.desc("people"), Contact.country))]


def seen_by(session: Session, chosen: sa.Select[Any], bits: int) -> list[int]:
    """Of those who get it, how many see the blocks of each of so many bits."""
    rows = chosen.subquery()
    each = [sa.func.count(sa.case((rows.c.shown.bitwise_and(1 << place) > 0, 1))) for place in range(bits)]
    return list(session.execute(sa.select(*each).where(rows.c.reason.is_(None))).one()) if each else []


@dataclass(frozen=True)
class ZoneHour:
    """The hour on the wall clocks of a zone, and how many people of the audience live by it."""

    zone: str
    local: datetime
    people: int

    @property
    def is_night(self) -> bool:
        """Between 21:00 and 08:00, when an institution does not knock."""
        return not NIGHT_ENDS <= self.local.hour < NIGHT_BEGINS


def received_before(session: Session, chosen: sa.Select[Any], campaign_id: int) -> int:
    """Of those who get it, how many were sent the same campaign already; records that were joined are one person."""
    rows = chosen.subquery()
    had = (
        sa.select(kept_id())
        .select_from(Delivery)
        .join(Send, Send.id == Delivery.send_id)
        .join(Contact, Contact.id == Delivery.contact_id)
        .where(Send.campaign_id == campaign_id, Delivery.state == DeliveryState.SENT)
    )
    counted = sa.select(sa.func.count()).select_from(rows).where(rows.c.reason.is_(None), rows.c.contact_id.in_(had))
    return session.scalar(counted) or 0


def hours(session: Session, chosen: sa.Select[Any], instant: datetime) -> tuple[list[ZoneHour], int]:
    """What hour it will be for those who get it, earliest wall clock first, and how many have no known zone."""
    rows = chosen.subquery()
    counted = (
        sa.select(City.zone, sa.func.count())
        .select_from(Contact)
        .join(rows, rows.c.contact_id == Contact.id)
        .outerjoin(City, City.id == Contact.city_id)
        .where(rows.c.reason.is_(None))
        .group_by(City.zone)
    )
    found: dict[str | None, int] = {row[0]: row[1] for row in session.execute(counted)}
    unknown = found.pop(None, 0)
    told = [ZoneHour(zone, instant.astimezone(ZoneInfo(zone)), people) for zone, people in found.items() if zone]
    return sorted(told, key=lambda one: (one.local.replace(tzinfo=None), one.zone)), unknown


@dataclass(frozen=True)
class Tally:
    """An audience in numbers."""

    recipients: int
    skipped: dict[str, int]
    cities: int
    countries: int


def tally(session: Session, chosen: sa.Select[Any]) -> Tally:
    """How many would get it, why the others would not, and in how many places those who would live."""
    rows = chosen.subquery()
    reasons = session.execute(sa.select(rows.c.reason, sa.func.count()).group_by(rows.c.reason)).all()
    by_reason = {row[0]: row[1] for row in reasons}
    places = session.execute(
        sa.select(sa.func.count(sa.distinct(Contact.city_id)), sa.func.count(sa.distinct(Contact.country)))
        .join(rows, rows.c.contact_id == Contact.id)
        .where(rows.c.reason.is_(None))
    ).one()
    skipped = {reason: count for reason, count in sorted(by_reason.items(), key=lambda item: str(item[0])) if reason}
    return Tally(by_reason.get(None, 0), skipped, places[0], places[1])
