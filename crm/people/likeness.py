"""Who of the Red may already be the person that is being written down: the question before a second record is made."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations, pairwise

import sqlalchemy as sa
from sqlalchemy.orm import Session, selectinload

from crm.database import contains, search_key, sort_key
from crm.errors import InvalidInput
from crm.people.addresses import address_key
from crm.people.models import Contact, EmailAddress

MOST = 5
"""People that one question names."""


class Likeness(StrEnum):
    """Why two records may be of one person, the strongest first."""

    SAME_ADDRESS = "same_address"
    PAST_ADDRESS = "past_address"
    """An address that the person no longer uses."""
    SAME_NAMES = "same_names"
    LIKE_NAMES = "like_names"
    """Every word that was told is in the names: a part may be missing, or stand in another order."""


@dataclass(frozen=True)
class Alike:
    """A person that may be the same one, and why. The city of the contact is loaded."""

    contact: Contact
    why: Likeness


def find_alike(
    session: Session, *, given_names: str, first_surname: str, second_surname: str | None, emails: Sequence[str]
) -> list[Alike]:
    """People who are not blocked and may be the one told, at most `MOST`, the most alike first.

    Names are looked for once there is a given name and a surname; what is no address yet is passed over.
    """
    found: dict[int, Likeness] = {}
    for contact_id, is_past in _of_addresses(session, emails):
        found.setdefault(contact_id, Likeness.PAST_ADDRESS if is_past else Likeness.SAME_ADDRESS)
    if search_key(given_names) and search_key(first_surname):
        for contact_id, is_same in _of_names(session, given_names, f"{first_surname} {second_surname or ''}"):
            found.setdefault(contact_id, Likeness.SAME_NAMES if is_same else Likeness.LIKE_NAMES)
    order = list(Likeness)
    first = sorted(found, key=lambda contact_id: (order.index(found[contact_id]), contact_id))[:MOST]
    statement = sa.select(Contact).where(Contact.id.in_(first)).options(selectinload(Contact.city))
    loaded = {contact.id: contact for contact in session.scalars(statement)}
    return [Alike(loaded[contact_id], found[contact_id]) for contact_id in first]


def _of_addresses(session: Session, emails: Sequence[str]) -> list[tuple[int, bool]]:
    """(contact, whether the address is retired), active addresses first."""
    keys = {key for text in emails if (key := _key_of(text))}
    is_past = EmailAddress.retired_at.is_not(None)
    found = sa.select(EmailAddress.contact_id, is_past.label("is_past")).join(Contact, Contact.id == EmailAddress.contact_id)
    found = found.where(EmailAddress.key.in_(keys), Contact.blocked_at.is_(None)).order_by(is_past, EmailAddress.contact_id)
    return [(row.contact_id, bool(row.is_past)) for row in session.execute(found)] if keys else []


def _key_of(text: str) -> str | None:
    try:
        return address_key(text)
    except InvalidInput:
        return None


_AFTER_N = sort_key("ñ")[1:]
folded_names = sa.func.replace(Contact.sort_key, _AFTER_N, "")
"""The names of a person, surnames first, as `search_key` folds them: the sort key without what orders ñ after n."""


def spellings(folded: str) -> Iterator[str]:
    """The sort keys of names that fold to these: as they are, and with ñ in place of one n or of two (Núñez Peña, Nunez Pena)."""
    yield folded
    places = [place + 1 for place, letter in enumerate(folded) if letter == "n"]
    for count in (1, 2):
        for chosen in combinations(places, count):
            cuts = [0, *chosen, len(folded)]
            yield _AFTER_N.join(folded[start:end] for start, end in pairwise(cuts))


def _of_names(session: Session, given_names: str, surnames: str) -> list[tuple[int, bool]]:
    """(contact, whether the names are the same), the same ones first."""
    is_same = folded_names == search_key(f"{surnames} {given_names}")
    found = sa.select(Contact.id, is_same.label("is_same")).where(
        contains(folded_names, f"{surnames} {given_names}"), Contact.blocked_at.is_(None)
    )
    rows = session.execute(found.order_by(sa.case((is_same, 0), else_=1), Contact.id).limit(MOST))
    return [(row.id, bool(row.is_same)) for row in rows]
