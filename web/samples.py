"""People to see a mail as: a few of each language, by name and place."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm.mailing import audience
from crm.mailing.audience import Rules
from crm.people.contacts import visible
from crm.people.countries import country_name
from crm.people.models import City, Contact, Language
from crm.people.names import display_name

SAMPLES = 4
"""People of each language whom a preview offers."""
LANGUAGE_WORDS = {Language.SPANISH: "español", Language.ENGLISH: "inglés"}


@dataclass(frozen=True)
class Sample:
    """A person by name and place."""

    id: int
    name: str
    place: str
    language: Language

    @property
    def words(self) -> str:
        return " · ".join(part for part in (self.name, self.place, LANGUAGE_WORDS[self.language]) if part)


def of_rules(session: Session, rules: Rules) -> list[int]:
    """Some people of an audience, a few of each language; of the whole network when no segment is chosen yet."""
    meant = audience.condition(session, rules) if rules.include else sa.true()
    ids: list[int] = []
    for language in Language:
        chosen = sa.select(Contact.id).where(meant, Contact.language == language, visible())
        ids += session.scalars(chosen.order_by(Contact.id).limit(SAMPLES))
    return ids


def named(session: Session, ids: Sequence[int]) -> dict[int, Sample]:
    """People by their id, with their names; those that are blocked or gone are left out."""
    names = (Contact.given_names, Contact.first_surname, Contact.second_surname)
    statement = sa.select(Contact.id, *names, Contact.language, Contact.country, City.name.label("city")).outerjoin(City)
    rows = session.execute(statement.where(Contact.id.in_(ids), visible()))
    return {row.id: Sample(row.id, display_name(row) or "Sin nombre", _place(row), Language(row.language)) for row in rows}


def in_order(session: Session, wanted: int | None, ids: Sequence[int]) -> list[Sample]:
    """The person asked for first, then the others; who is not there is left out."""
    first = [wanted] if wanted is not None and 0 < wanted < 2**31 else []
    found = named(session, [*first, *ids])
    return [found[number] for number in dict.fromkeys([*first, *ids]) if number in found]


def _place(row: Any) -> str:
    return ", ".join(part for part in (row.city, country_name(row.country) if row.country else None) if part)
