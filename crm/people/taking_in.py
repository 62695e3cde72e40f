"""People come in by batches: the one path of spreadsheets, the API and the demo.

A person is found by an active address. Nothing that comes in this way revives who left.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm.database import keys_of
from crm.errors import InvalidInput
from crm.people import duplicates
from crm.people.addresses import Address, read_address
from crm.people.merging import REPLACING, Person, Row, Rules, Spot, grants_mail, merge
from crm.people.models import City, RowStatus, SuppressionReason
from crm.people.names import names_agree, same_names
from crm.people.places import Whereabouts, cities_for, locate
from crm.people.schemas import ContactIn, Taken
from crm.people.stored import Known, judge, look_up, name_key
from crm.people.suppression import LEFT, check_suppression_key
from crm.people.writing import write_people

NOBODY_LEFT: frozenset[SuppressionReason] = frozenset()
BATCH = 1000
"""Rows that are looked up and written together."""


def take_in(session: Session, data: ContactIn) -> Taken:
    """Add or complete one person; never raises for what a row may hold (see `Taken`)."""
    return take_in_many(session, [data])[0]


def take_in_many(
    session: Session,
    rows: Sequence[ContactIn],
    *,
    import_id: int | None = None,
    rules: Rules = REPLACING,
    compares: bool = True,
) -> list[Taken]:
    """Add or complete people, in the order of the rows; a second identical call writes nothing.

    Rows that share an address are one person: the first replaces what differs, if ``rules`` say so; those after it fill what is
    empty.
    Refused rows say why: address_invalid, address_of_other_person (its name is clearly another, or its addresses are of
    several people), suppressed (the person left, or is blocked). Raises Unavailable(suppression_key_missing): without that key
    nobody who left would be known. With ``compares`` whoever may be somebody else is told (possible_duplicate).
    """
    check_suppression_key(session)
    session.flush()
    places = _Places(session)
    told: set[int] = set()
    taken: list[Taken] = []
    for start in range(0, len(rows), BATCH):
        places.look_up(rows[start : start + BATCH])
        batch = [_read_row(session, data) for data in rows[start : start + BATCH]]
        known = look_up(session, [row for row in batch if isinstance(row, Row)], import_id=import_id)
        for person in known.people:
            person.is_told = person.is_told or person.id in told
        taken += _take_batch(session, batch, known, places, import_id, rules, compares=compares)
        told |= {person.id for person in known.people if person.is_told and person.id is not None}
    return taken


def take_in_as_new(session: Session, data: ContactIn) -> Taken:
    """Add one person, whoever has the same name; whether the addresses are free is for the caller to see."""
    check_suppression_key(session)
    session.flush()
    places = _Places(session)
    places.look_up([data])
    row = _read_row(session, data)
    known = Known()
    if isinstance(row, Row):
        judge(session, known, row.hashes)
    return _take_batch(session, [row], known, places, None, REPLACING, compares=True)[0]


class _Places:
    """Resolves each place once, and asks for the rows of a batch's cities in one query; makes a city when it is given."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._located: dict[tuple[str | None, str | None], Whereabouts] = {}
        self._ids: dict[int, int] = {}

    def look_up(self, rows: Iterable[ContactIn]) -> None:
        pairs = {(data.city, data.country) for data in rows if data.city or data.country} - self._located.keys()
        self._located |= {pair: locate(*pair) for pair in pairs}
        wanted = {found.place.geoname_id for found in self._located.values() if found.place} - self._ids.keys()
        if wanted:
            known = sa.select(City.geoname_id, City.id).where(City.geoname_id.in_(wanted))
            self._ids |= {geoname_id: city_id for geoname_id, city_id in self._session.execute(known) if geoname_id is not None}

    def __call__(self, city: str | None, country: str | None) -> Spot:
        found = self._located[city, country]
        if found.place is None:
            return Spot(None, found.city_as_typed, found.country, found.warnings)
        if found.place.geoname_id not in self._ids:
            self._ids |= cities_for(self._session, [found.place])
        return Spot(self._ids[found.place.geoname_id], None, found.country, found.warnings)


@dataclass
class _Result:
    """What became of a row; the id of a new person is known only when the batch is written."""

    status: RowStatus
    person: Person | None = None
    code: str | None = None
    warnings: list[str] = field(default_factory=list)

    def taken(self) -> Taken:
        return Taken(self.status, self.person.id if self.person else None, self.code, self.warnings)


def _refused(code: str, person: Person | None = None) -> _Result:
    return _Result(RowStatus.REFUSED, person, code)


def _read_row(session: Session, data: ContactIn) -> Row | str:
    """The row with its addresses, or the code that refuses it."""
    addresses: dict[str, Address] = {}
    try:
        for text in data.emails:
            address = read_address(text)
            addresses.setdefault(address.key, address)
    except InvalidInput as error:
        return error.code
    keys = keys_of(session)
    return Row(data, list(addresses.values()), [keys.suppression_hash(key) for key in addresses])


def _take_batch(
    session: Session,
    batch: list[Row | str],
    known: Known,
    places: _Places,
    import_id: int | None,
    rules: Rules,
    *,
    compares: bool,
) -> list[Taken]:
    results = [_refused(row) if isinstance(row, str) else _take(known, row, places, rules) for row in batch]
    write_people(session, known.people, import_id=import_id, suppressed=known.reasons.keys())
    if not compares:
        return [result.taken() for result in results]
    alike = duplicates.compare(session, {one.id for one in known.people if one.id is not None and _tells_more(one)})
    for result in results:
        if result.status is RowStatus.CREATED and result.person is not None and result.person.id in alike:
            result.warnings.append("possible_duplicate")
    return [result.taken() for result in results]


_COMPARED = frozenset({"given_names", "first_surname", "second_surname", "preferred_name", "phone", "city_id", "city_as_typed"})


def _tells_more(person: Person) -> bool:
    """Whether a person is new, or what duplicates are told by has changed."""
    return not person.before or bool(person.new_addresses) or not _COMPARED.isdisjoint(person.changed_columns)


def _take(known: Known, row: Row, places: _Places, rules: Rules) -> _Result:
    person = _find(known, row, places)
    if isinstance(person, _Result):
        return person
    if _may_not_return(known, row, person):
        if person is not None:
            person.is_told = True
        return _refused("suppressed", person)
    is_new = person is None
    if person is None:
        person = Person()
        known.people.append(person)
        if not row.addresses:
            known.by_name.setdefault(name_key(row.data), []).append(person)
    changed, warnings = merge(person, row, places, rules)
    known.by_key.update((address.key, person) for address in row.addresses if address.key in person.addresses)
    person.has_left = person.has_left or _leaving(known, row)
    if any(address_hash in known.reasons for address_hash in row.hashes):
        warnings.append("suppressed")
    status = RowStatus.CREATED if is_new else RowStatus.UPDATED if changed else RowStatus.UNCHANGED
    return _Result(status, person, None, list(dict.fromkeys(warnings)))


def _find(known: Known, row: Row, places: _Places) -> Person | _Result | None:
    """The person that the row speaks of, None for someone new, or why it is refused."""
    found = {id(person): person for address in row.addresses if (person := known.by_key.get(address.key))}
    if len(found) > 1:
        return _refused("address_of_other_person")
    person = next(iter(found.values()), None)
    if person is None:
        person = _found_otherwise(known, row, places)
    elif not names_agree(person, row.data):
        return _refused("suppressed" if person.is_blocked else "address_of_other_person")
    if person is not None and person.is_blocked:
        return _refused("suppressed")
    return person


def _found_otherwise(known: Known, row: Row, places: _Places) -> Person | None:
    """Someone who had the address under the same name, or, without any address, the same name in no other place."""
    for address_hash in row.hashes:
        person = known.by_retired.get(address_hash)
        if person is not None and names_agree(person, row.data):
            return person
    if row.addresses:
        return None
    return next((one for one in known.by_name.get(name_key(row.data), ()) if not _contradicts(one, row.data, places)), None)


def _contradicts(person: Person, data: ContactIn, places: _Places) -> bool:
    if not same_names(person, data):
        return True
    if data.phone and person.phone and data.phone != person.phone:
        return True
    if not (data.city or data.country):
        return False
    told = places(data.city, data.country)
    told_city = told.city_id if told.city_id is not None else told.city_as_typed
    known_city = person.city_id if person.city_id is not None else person.city_as_typed
    differs = told_city is not None and known_city is not None and told_city != known_city
    return differs or bool(told.country and person.country and told.country != person.country)


def _may_not_return(known: Known, row: Row, person: Person | None) -> bool:
    """Whether the row would bring back who left: an erased person in any way, anyone else by a new consent to mail."""
    reasons: Iterable[SuppressionReason] = {one for address_hash in row.hashes for one in known.reasons.get(address_hash, ())}
    if SuppressionReason.ERASED in reasons:
        return True
    has_left = (person is not None and person.has_left) or _leaving(known, row)
    return has_left and grants_mail(row.data.consents)


def _leaving(known: Known, row: Row) -> bool:
    """Whether somebody left by one of the row's addresses."""
    return any(not known.reasons.get(address_hash, NOBODY_LEFT).isdisjoint(LEFT) for address_hash in row.hashes)
