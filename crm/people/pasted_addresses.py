"""Addresses pasted from a mail or a sheet, to be taken out of every mail at once."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm.database import keys_of
from crm.errors import CrmError, InvalidInput
from crm.people import suppression
from crm.people.addresses import read_address
from crm.people.contacts import visible
from crm.people.models import Contact, EmailAddress, SuppressionReason

MOST = 2_000
_PARTS = re.compile('[\\s,;<>"()\\[\\]|«»“”„‘’…=:\u200b-\u200f\u2028-\u202e\u2060\ufeff]+')
"""What parts addresses; an apostrophe is a letter of some."""
_AROUND = ".:*·•–—-_'`/\\#>"
"""Signs at the edges of a word that are of the text around it: bullets, dashes, quotes."""
_NUMBERED = re.compile(r"\d{1,4}[.)]-?(?=[^@]*[A-Za-z])")
"""«1.ana@…», the first in a numbered list."""


@dataclass(frozen=True)
class Pasted:
    """One address of those that were pasted."""

    text: str
    is_valid: bool
    contact_id: int | None = None
    """Whose it is or was, if anybody's in the Red who is not blocked."""
    has_left: bool = False
    """Nothing is sent to it already, for the reason that is asked for."""


def words(text: str) -> list[str]:
    """What may be an address in a text, in order."""
    text = re.sub(r"\s?[(\[{]\s?(?:arroba|at)\s?[)\]}]\s?", "@", text, flags=re.IGNORECASE)
    found = [word.partition("?")[0].strip(_AROUND) for word in _PARTS.split(text) if "@" in word]
    return [_NUMBERED.sub("", word, count=1) if _NUMBERED.match(word) else word for word in found]


def look(session: Session, text: str, reason: SuppressionReason) -> list[Pasted]:
    """The addresses of a text, each once and in order, and what is known of each; words without @ are names and passed over.

    InvalidInput(too_many_addresses).
    """
    found: dict[str, tuple[str, str]] = {}
    broken: dict[str, Pasted] = {}
    for told in words(text):
        try:
            address = read_address(told)
        except CrmError:
            broken.setdefault(told, Pasted(told, False))
        else:
            found.setdefault(address.key, (address.text, keys_of(session).suppression_hash(address.key)))
    owners = _owners(session, [address_hash for _, address_hash in found.values()])
    reasons = suppression.reasons_of(session, [address_hash for _, address_hash in found.values()])
    valid = [
        Pasted(shown, True, owners.get(address_hash), reason in reasons.get(address_hash, ()))
        for shown, address_hash in found.values()
    ]
    if len(valid) + len(broken) > MOST:
        raise InvalidInput("too_many_addresses", field="direcciones", limit=f"{MOST:,}")
    return [*valid, *broken.values()]


def _owners(session: Session, hashes: Sequence[str]) -> dict[str, int]:
    owners: dict[str, int] = {}
    for start in range(0, len(hashes), 500):
        rows = sa.select(EmailAddress.suppression_hash, EmailAddress.contact_id).join(Contact).where(visible())
        rows = rows.where(EmailAddress.suppression_hash.in_(hashes[start : start + 500])).order_by(
            EmailAddress.retired_at.is_(None), EmailAddress.id
        )
        owners |= {row[0]: row[1] for row in session.execute(rows)}
    return owners


def take_out(session: Session, told: Sequence[Pasted], reason: SuppressionReason, *, happened_on: date, proof: str) -> int:
    """Never write to these addresses again, with one day and proof; how many were not out already."""
    fresh = [one for one in told if one.is_valid and not one.has_left]
    for one in fresh:
        suppression.suppress(session, one.text, reason, happened_on=happened_on, proof=proof)
    return len(fresh)
