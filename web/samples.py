"""People by name and place: a few to see a mail as, and those behind a number of an audience."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm.database import keyset_page
from crm.mailing import audience, sends
from crm.mailing.audience import Rules
from crm.mailing.models import SkipReason
from crm.people import consent
from crm.people.addresses import mask_address
from crm.people.contacts import visible
from crm.people.countries import country_name
from crm.people.models import City, Contact, EmailAddress, Language, unblocked
from crm.people.names import display_name
from web.words import LANGUAGES, reason_words

SAMPLES = 4
"""People of each language whom a preview offers."""
BEHIND_ROWS = 25


@dataclass(frozen=True)
class Sample:
    """A person by name and place."""

    id: int
    name: str
    place: str
    language: Language

    @property
    def words(self) -> str:
        return " · ".join(part for part in (self.name, self.place, LANGUAGES[self.language].lower()) if part)


def of_rules(session: Session, rules: Rules, skipped: sa.ColumnElement[Any] | None = None) -> list[int]:
    """Some people of an audience, a few of each language, but those of whom ``skipped`` tells why they get nothing; of the whole
    network when it reaches nobody yet."""
    reached = sa.true() if skipped is None else skipped.is_(None)
    return _some(session, sa.and_(audience.condition(session, rules), reached)) or _some(session, sa.true())


def _some(session: Session, meant: sa.ColumnElement[bool]) -> list[int]:
    ids: list[int] = []
    for language in Language:
        chosen = sa.select(Contact.id).where(meant, Contact.language == language, visible())
        ids += session.scalars(chosen.order_by(Contact.id).limit(SAMPLES))
    return ids


def named(session: Session, ids: Sequence[int]) -> dict[int, Sample]:
    """People by their id, with their names; those that are blocked or gone are left out."""
    names = (Contact.given_names, Contact.first_surname, Contact.second_surname)
    statement = sa.select(Contact.id, *names, Contact.language, Contact.country, City.name.label("city")).outerjoin(City)
    rows = session.execute(statement.where(Contact.id.in_(ids), unblocked()))
    return {row.id: Sample(row.id, display_name(row) or "Sin nombre", _place(row), Language(row.language)) for row in rows}


def in_order(session: Session, wanted: int | None, ids: Sequence[int]) -> list[Sample]:
    """The person asked for first, then the others; who is not there is left out."""
    first = [wanted] if wanted is not None and 0 < wanted < 2**31 else []
    found = named(session, [*first, *ids])
    return [found[number] for number in dict.fromkeys([*first, *ids]) if number in found]


def behind(
    session: Session, chosen: sa.Select[Any], reason: SkipReason | None, cursor: str | None, *, masked: bool
) -> dict[str, Any]:
    """What `people/reached.html` shows: those of `audience.people` who get a mail, or who do not for one reason."""
    rows = chosen.subquery()
    wanted = rows.c.reason.is_(None) if reason is None else rows.c.reason == reason.value
    statement = sa.select(Contact.id, rows.c.address).join(rows, rows.c.contact_id == Contact.id).where(wanted)
    found, following = keyset_page(session, statement, [Contact.id], cursor=cursor, limit=BEHIND_ROWS)
    return listed(session, found, masked=masked) | {
        "reason": reason,
        "reason_words": reason_words(reason.value) if reason else None,
        "sentence": sends.SKIP_SENTENCES.get(reason.value) if reason else None,
        "cursor": cursor,
        "following": following,
    }


def reached(session: Session, people: sa.Select[int], cursor: str | None, *, masked: bool) -> dict[str, Any]:
    """What `people/reached.html` shows of the people of a figure, by their ids: how many they are, and how many of them are not
    shown any more, so that the list adds up to its figure."""
    statement = sa.select(Contact.id, EmailAddress.address).outerjoin(EmailAddress, EmailAddress.id == consent.preferred_address())
    seen = sa.and_(Contact.id.in_(people), visible())
    wanted: Any = statement.where(seen)
    found, following = keyset_page(session, wanted, [Contact.id], cursor=cursor, limit=BEHIND_ROWS)
    total = session.scalar(sa.select(sa.func.count()).select_from(people.subquery())) or 0
    shown = session.scalar(sa.select(sa.func.count(Contact.id)).where(seen)) or 0
    counted = {"total": total, "not_shown": total - shown}
    return listed(session, found, masked=masked) | counted | {"cursor": cursor, "following": following}


def listed(session: Session, found: Sequence[Any], *, masked: bool) -> dict[str, Any]:
    """Rows of (id, address) as the people that `people/reached.html` lists."""
    persons = named(session, [row.id for row in found])
    return {
        "people": [
            (row.id, persons.get(row.id), mask_address(row.address) if masked and row.address else row.address) for row in found
        ]
    }


def _place(row: Any) -> str:
    return ", ".join(part for part in (row.city, country_name(row.country) if row.country else None) if part)
