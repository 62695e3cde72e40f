"""Who of the Red may already be the person that is being written down: the question before a second record is made."""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.orm import Session, selectinload

from crm.database import sort_key
from crm.errors import InvalidInput
from crm.people import comparing
from crm.people.addresses import address_key
from crm.people.evidence import Match, Reason, record_of
from crm.people.models import Contact, EmailAddress, visible

MOST = 5
"""People that one question names."""
LEAST = -5.0
"""Bits: whoever is still being written down has told only a part, and is asked about more readily than a pair that is stored."""
SURE = 99.0
"""Bits of an address that is active at somebody: it is of one person only."""


@dataclass(frozen=True)
class Alike:
    """A person that may be the same one, how sure that is, and why. The city of the contact is loaded."""

    contact: Contact
    match: Match


def find_alike(
    session: Session,
    *,
    given_names: str,
    first_surname: str,
    second_surname: str | None,
    emails: Sequence[str],
    phone: str | None = None,
) -> list[Alike]:
    """People who are there and may be the one told, at most `MOST`, the most alike first; what is no address yet is passed over."""
    keys = [key for text in emails if (key := _key_of(text))]
    record = record_of(given_names, first_surname, second_surname, addresses=keys, phone=phone)
    found = comparing.beside(session, record, comparing.scales(session, few=True, least=LEAST))
    for contact_id in _owners(session, keys):
        found[contact_id] = Match(SURE, (Reason.SAME_ADDRESS,))
    first = sorted(found, key=lambda contact_id: (-found[contact_id].score, contact_id))[:MOST]
    statement = sa.select(Contact).where(Contact.id.in_(first)).options(selectinload(Contact.city))
    loaded = {contact.id: contact for contact in session.scalars(statement)}
    return [Alike(loaded[contact_id], found[contact_id]) for contact_id in first]


def _owners(session: Session, keys: Sequence[str]) -> Sequence[int]:
    """Whose active addresses these are."""
    held = sa.select(EmailAddress.contact_id).join(Contact, Contact.id == EmailAddress.contact_id)
    held = held.where(EmailAddress.key.in_(keys), EmailAddress.retired_at.is_(None), visible()).distinct()
    return session.scalars(held).all() if keys else []


def _key_of(text: str) -> str | None:
    try:
        return address_key(text)
    except InvalidInput:
        return None


_AFTER_N = sort_key("ñ")[1:]
folded_names = sa.func.replace(Contact.sort_key, _AFTER_N, "")
"""The names of a person, surnames first, as `search_key` folds them: the sort key without what orders ñ after n."""
