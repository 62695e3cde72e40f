"""Addresses pasted from a mail or a sheet, to be taken out of every mail at once."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm.database import keys_of, search_key
from crm.errors import CrmError, InvalidInput
from crm.people import suppression
from crm.people.addresses import Address, read_address
from crm.people.columns import field_of
from crm.people.contacts import visible
from crm.people.models import Contact, EmailAddress, SuppressionReason

MOST = 2_000
LONGEST = 320
"""Letters of an address (RFC 5321, 4.5.3.1); a longer word is none, and costs seconds to find it out."""
_PARTS = re.compile('[\\s,;<>"()\\[\\]|«»“”„‘’…:\u200b-\u200f\u2028-\u202e\u2060\ufeff]+')
"""What parts addresses; an apostrophe is a letter of some, and so is the sign of equality."""
_END = re.compile(r"(@[\w.-]+)[?&]")
"""Where the address of a link ends, and what the link says besides begins."""
_BEHIND = re.compile(r"(@[^@=]*)=.*")
"""No domain holds a sign of equality: what follows is of the text around it, as the «=20» of a mail's source."""
_LABELS = frozenset({"to", "cc", "bcc", "para", "from", "de", "direccion", "address"})
"""What stands before an address and a sign of equality, beside the titles of a column of addresses: «correo=ana@…», «?cc=ana@…»."""
_OF_A_LINK = re.compile(r"\w\.\w+/[^?]*\?")
"""The address of a page and what is asked of it: what follows is no part of an address, whatever it is called there."""
_AROUND = ".:*·•–—‐-_'`/\\#>¿¡☐="
"""Signs at the edges of a word that are of the text around it: bullets, dashes, quotes."""
_MAY_BEGIN = "-_'="
"""Those of them that some addresses do begin with."""
_CURLY = re.compile(r"(?<=\w)[’ʼ](?=\w)")
"""The apostrophe of word processors, within a name."""
_NUMBERED = re.compile(r"\d{1,4}[.)]-?(?=[^@]*[A-Za-z])")
"""«1.ana@…», the first in a numbered list."""


@dataclass(frozen=True)
class Pasted:
    """One address of those that were pasted."""

    text: str
    is_valid: bool
    written: str = ""
    """How it stands in the text, where it was read without the signs before it."""
    contact_id: int | None = None
    """Whose it is or was, if anybody's in the Red who is not blocked."""
    has_left: bool = False
    """Nothing is sent to it already, for the reason that is asked for."""


def readings(text: str) -> list[tuple[str, ...]]:
    """What may be an address in a text, in order: as it is written, and without what may be of the text around it."""
    text = _CURLY.sub("'", text)
    text = re.sub(r"\s?[(\[{]\s?(?:arroba|at)\s?[)\]}]\s?", "@", text, flags=re.IGNORECASE)
    return [_readings(_BEHIND.sub(r"\1", word).rstrip(_AROUND)) for word in _PARTS.split(_END.sub(r"\1 ", text)) if "@" in word]


def _readings(word: str) -> tuple[str, ...]:
    bare = word.lstrip(_AROUND)
    signs = word[: len(word) - len(bare)]
    whole = signs[len(signs.rstrip(_MAY_BEGIN)) :] + bare
    ways = [whole, bare]
    while found := _NUMBERED.match(ways[-1]):
        ways.append(ways[-1][found.end() :].lstrip(_AROUND))
    label, _, rest = ways[-1].partition("@")[0].rpartition("=")
    if rest and _is_label(label):
        ways += _readings(ways[-1][len(label) + 1 :])
    return tuple(dict.fromkeys(ways))


def _is_label(text: str) -> bool:
    """Whether a text says that an address follows. Anything else before a sign of equality is of the address itself: without it, it
    would be another person's."""
    word = re.split(r"[?&/]", text)[-1]
    return search_key(word) in _LABELS or field_of(word) == "emails" or _OF_A_LINK.search(text) is not None


def look(session: Session, text: str, reason: SuppressionReason) -> list[Pasted]:
    """The addresses of a text, each once and in order, and what is known of each; words without @ are names and passed over.

    InvalidInput(too_many_addresses).
    """
    told = [(one, [(word, address) for word in one if (address := _address(word)) is not None]) for one in readings(text)]
    hashes = {address.key: keys_of(session).suppression_hash(address.key) for _, ways in told for _, address in ways}
    known = _known(session, list(hashes.values()))
    found: dict[str, Pasted] = {}
    broken: dict[str, Pasted] = {}
    for words, ways in told:
        if not ways:
            broken.setdefault(words[-1], Pasted(words[-1], False))
            continue
        # As it is written when that is somebody's: else «_maria@…» would take out «maria@…», who is another person.
        word, address = next((way for way in ways if hashes[way[1].key] in known), ways[-1])
        found.setdefault(address.key, Pasted(address.text, True, words[0] if word != words[0] else ""))
    owners = _owners(session, [hashes[key] for key in found])
    reasons = suppression.reasons_of(session, [hashes[key] for key in found])
    valid = [
        replace(one, contact_id=owners.get(hashes[key]), has_left=reason in reasons.get(hashes[key], ()))
        for key, one in found.items()
    ]
    if len(valid) + len(broken) > MOST:
        raise InvalidInput("too_many_addresses", field="direcciones", limit=f"{MOST:,}")
    return [*valid, *broken.values()]


def _address(word: str) -> Address | None:
    if len(word) > LONGEST:
        return None
    try:
        return read_address(word)
    except CrmError:
        return None


def _known(session: Session, hashes: Sequence[str]) -> set[str]:
    """Which addresses are or were somebody's in the Red, or left it, whoever may see them."""
    known = set(suppression.reasons_of(session, hashes))
    for start in range(0, len(hashes), 500):
        some = EmailAddress.suppression_hash.in_(hashes[start : start + 500])
        known |= set(session.scalars(sa.select(EmailAddress.suppression_hash).where(some)))
    return known


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
