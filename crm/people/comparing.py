"""Comparing people: whom a record is compared with, by keys that an index answers, in pieces of bounded memory."""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm.database import insert_new, is_postgresql, json_values, search_key
from crm.people.duplicate_models import likeness_key
from crm.people.evidence import Match, Record, Scales, record_of
from crm.people.likeness_keys import keys_of, phone_key
from crm.people.models import Contact, EmailAddress, visible
from crm.people.name_words import USUAL, Shares, shares_of

BLOCK_MOST = 60
"""People who share a key and are all compared; of more of them those in one city; of more in one city, none."""
SAMPLE = 3_000
"""The newest people, by whom it is told which names and cities are common here."""
FEW = 20
"""Of so few records the names are weighed as they are among people at large: no sample is read for them."""
ASKED = 5_000
"""Values in one question."""
KEPT_MOST = 150_000
"""Records in memory while everybody is compared: some hundred megabytes."""


def _in_parts(values: Collection[int]) -> Iterator[list[int]]:
    whole = sorted(values)
    for start in range(0, len(whole), ASKED):
        yield whole[start : start + ASKED]


# --- records and their keys ---------------------------------------------------------------------------------------------------


_COLUMNS = (
    Contact.id, Contact.given_names, Contact.first_surname, Contact.second_surname, Contact.preferred_name, Contact.phone,
    Contact.city_id, Contact.city_as_typed, Contact.country,
)  # fmt: skip


def records(session: Session, ids: Collection[int]) -> dict[int, Record]:
    """What is compared of some people, by id; those who are blocked or joined are left out."""
    found: dict[int, Record] = {}
    for part in _in_parts(ids):
        addresses: dict[int, list[str]] = {}
        asked = sa.select(json_values("asked", on_postgresql=is_postgresql(session)))
        values, connection = {"asked": json.dumps(part)}, session.connection()
        held = (
            sa.select(EmailAddress.contact_id, EmailAddress.key).where(EmailAddress.contact_id.in_(asked)).order_by(EmailAddress.id)
        )
        for contact_id, key in connection.execute(held, values).fetchall():
            addresses.setdefault(contact_id, []).append(key)
        for row in connection.execute(sa.select(*_COLUMNS).where(Contact.id.in_(asked), visible()), values).fetchall():
            found[row[0]] = _record(*row, addresses.get(row[0], ()))
    return found


def _record(
    _id: int, given: str, first: str, second: str | None, called: str | None, phone: str | None,
    city_id: int | None, typed: str | None, country: str | None, addresses: Sequence[str],
) -> Record:  # fmt: skip
    place = city_id if city_id is not None else f"typed {search_key(typed)}" if typed else None
    return record_of(given, first, second, preferred_name=called, addresses=addresses, phone=phone, place=place, country=country)


def _place_of(record: Record) -> int:
    return record.place if isinstance(record.place, int) else 0


def write_keys(session: Session, chosen: Mapping[int, Record]) -> None:
    """Let people be found by what their records say now; writes what differs from what is stored."""
    columns = tuple(likeness_key.c)
    wanted = {(key, _place_of(record), contact_id) for contact_id, record in chosen.items() for key in keys_of(record)}
    stored: set[tuple[int, int, int]] = set()
    for part in _in_parts(chosen):
        held = sa.select(*columns).where(likeness_key.c.contact_id.in_(part))
        stored.update((row[0], row[1], row[2]) for row in session.execute(held))
    names = [column.name for column in columns]
    gone = [dict(zip([f"old_{name}" for name in names], row, strict=True)) for row in stored - wanted]
    if gone:
        this = sa.and_(*(column == sa.bindparam(f"old_{column.name}") for column in columns))
        session.connection().execute(sa.delete(likeness_key).where(this), gone)
    fresh = [dict(zip(names, row, strict=True)) for row in wanted - stored]
    insert_new(session, likeness_key, fresh, unique=names)  # another may write them at the same time


def forget_keys(session: Session, contact_id: int) -> None:
    session.execute(sa.delete(likeness_key).where(likeness_key.c.contact_id == contact_id))


def scales(session: Session, few: bool, *, least: float | None = None) -> Scales:
    """What weighs the records of this network."""
    people = session.scalar(sa.select(sa.func.count()).select_from(Contact).where(visible())) or 0
    shares = USUAL if few else _shares(session)
    return Scales(people, shares) if least is None else Scales(people, shares, least=least)


def _shares(session: Session) -> Shares:
    newest = sa.select(*_COLUMNS).where(visible()).order_by(Contact.id.desc()).limit(SAMPLE)
    told = (_record(*row, ()) for row in session.execute(newest))
    return shares_of((record.given, record.surnames, record.place) for record in told)


# --- who shares a key ---------------------------------------------------------------------------------------------------------


@dataclass
class _Blocks:
    """People by the key that they share, none larger than `BLOCK_MOST`, and how many have a key at all."""

    members: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    """(place, contact) of each key."""
    sizes: Counter[int] = field(default_factory=Counter)

    def beside(self, key: int, place: int) -> Iterable[int]:
        """Whom somebody of a place is compared with for a key."""
        within = self.members.get(key, ())
        if self.sizes[key] <= BLOCK_MOST:
            return [contact_id for _, contact_id in within]
        return [contact_id for other, contact_id in within if other == place]


def _blocks(session: Session, keys: Collection[int], *, least: int = 2, after: int = 0) -> _Blocks:
    """``least``: people in a block worth reading; its own record is one of them, when it is stored. ``after``: members with a
    higher id alone, of blocks whose sizes are of all."""
    found, table = _Blocks(), likeness_key.c
    counted = sa.select(table.key, table.place, sa.func.count()).where(_is_asked(session)).group_by(table.key, table.place)
    parts = _ask(session, counted, keys)
    for key, _, count in parts:
        found.sizes[key] += count
    small = [key for key, size in found.sizes.items() if least <= size <= BLOCK_MOST]
    of_city = {
        (key, place) for key, place, count in parts if place and found.sizes[key] > BLOCK_MOST and least <= count <= BLOCK_MOST
    }
    members = sa.select(table.key, table.place, table.contact_id).where(_is_asked(session), table.contact_id > after)
    for key, place, contact_id in _ask(session, members, small):
        found.members.setdefault(key, []).append((place, contact_id))
    for place in {place for _, place in of_city}:
        within = members.where(table.place == place)
        for key, _, contact_id in _ask(session, within, [key for key, other in of_city if other == place]):
            found.members.setdefault(key, []).append((place, contact_id))
    return found


def _is_asked(session: Session) -> sa.ColumnElement[bool]:
    return likeness_key.c.key.in_(sa.select(json_values("asked", on_postgresql=is_postgresql(session), kind=sa.BigInteger)))


def _ask(session: Session, statement: sa.Select[Any], keys: Collection[int]) -> list[Any]:
    """The rows of some keys: thousands of them in one parameter, which costs no compiling."""
    connection = session.connection()
    return [row for part in _in_parts(keys) for row in connection.execute(statement, {"asked": json.dumps(part)}).fetchall()]


# --- the comparing ------------------------------------------------------------------------------------------------------------


Kept = dict[int, Record]


def matches(
    session: Session,
    chosen: Mapping[int, Record],
    weighing: Scales,
    *,
    only_later: bool = False,
    kept: Kept | None = None,
) -> dict[tuple[int, int], Match]:
    """The pairs, lower id first, of some records with anybody whose keys are written; ``only_later``: with higher ids alone.

    ``kept``: records that are read already, and that the caller keeps for the next piece.
    """
    keys = {contact_id: keys_of(record) for contact_id, record in chosen.items()}
    first = min(chosen, default=0) if only_later else 0
    blocks = _blocks(session, {key for some in keys.values() for key in some}, after=first)
    pairs: set[tuple[int, int]] = set()
    for contact_id, record in chosen.items():
        place = _place_of(record)
        beside = {other for key in keys[contact_id] for other in blocks.beside(key, place)}
        pairs.update((min(contact_id, other), max(contact_id, other)) for other in beside if other > contact_id or not only_later)
    pairs -= {(contact_id, contact_id) for contact_id in chosen}
    known = _known(session, chosen, {one for pair in pairs for one in pair}, {} if kept is None else kept)
    found: dict[tuple[int, int], Match] = {}
    for low, high in pairs:
        one, other = known.get(low), known.get(high)
        if one is not None and other is not None:
            sharing = blocks.sizes[phone_key(one.phone)] if one.phone and one.phone == other.phone else 0
            match = weighing.weigh(one, other, sharing=sharing)
            if match is not None:
                found[low, high] = match
    return found


def _known(session: Session, chosen: Mapping[int, Record], ids: Collection[int], kept: Kept) -> Kept:
    if len(kept) > KEPT_MOST:
        kept.clear()
    kept.update(chosen)
    kept.update(records(session, {one for one in ids if one not in kept}))
    return kept


def beside(session: Session, record: Record, weighing: Scales) -> dict[int, Match]:
    """Whom a record that is not stored may be of, by id."""
    keys, place = keys_of(record), _place_of(record)
    blocks = _blocks(session, keys, least=1)
    known = records(session, {other for key in keys for other in blocks.beside(key, place)})
    sizes = blocks.sizes[phone_key(record.phone)] + 1 if record.phone else 0
    weighed = {contact_id: weighing.weigh(record, other, sharing=sizes) for contact_id, other in known.items()}
    return {contact_id: match for contact_id, match in weighed.items() if match is not None}
