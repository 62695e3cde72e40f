"""Places: which city a person means, its row in our database, and people, cities and countries counted once each."""

import heapq
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import islice
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm.database import insert_new, keyset_page, search_key
from crm.people.countries import country_code, country_codes, country_name
from crm.people.gazetteer import Hit, Place, city_key, gazetteer, key
from crm.people.models import City, Contact, visible

__all__ = [
    "Located",
    "Place",
    "PlaceCounts",
    "Resolution",
    "Waiting",
    "Whereabouts",
    "cities_for",
    "city_for",
    "count_places",
    "country_code",
    "country_codes",
    "country_name",
    "locate",
    "place_contact",
    "place_of",
    "resolve",
    "search",
    "waiting_places",
]

TIMES_LARGER = 10
"""Of several cities of one name, the one at least so many times larger is meant; a name of its own weighs so many aliases."""
MOST_CANDIDATES = 10
LONGEST_TEXT = 200
"""As the column of a city typed."""

_SEPARATORS = re.compile(r"[,;/|()\[\]\n]+|\s[-–—]\s")
_DIVISION = re.compile(r"^(?:estado|edo|provincia|prov|departamento|region|canton|state|province|department) (?:de |of )?")
_LONGEST_TAIL = 4
"""Words of the longest state or country that is looked for at the end of a text without commas."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a text may mean: one place; or none, with the cities to ask about, largest first."""

    place: Place | None = None
    candidates: list[Place] = field(default_factory=list)
    ambiguous: bool = False
    country: str | None = None
    """The country that the place, or the text beside the city, tells."""


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where a person lives as far as the words tell, before any row is made."""

    place: Place | None
    city_as_typed: str | None
    country: str | None
    warnings: list[str]
    """Codes of `errors.SENTENCES`: city_unknown, city_ambiguous, country_unknown."""


@dataclass(frozen=True, slots=True)
class Located:
    """What to write in a contact: the city's row, or the words as typed; and the country where it is known."""

    city: City | None
    city_as_typed: str | None
    country: str | None
    warnings: list[str]


@dataclass(frozen=True, slots=True)
class PlaceCounts:
    people: int
    cities: int
    countries: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """A person whose city could not be told: what was typed, and the cities that it may mean, largest first."""

    contact_id: int
    city_as_typed: str
    country: str | None
    candidates: list[Place]
    """Empty when no city of that name is known."""


# --- which city is meant ---------------------------------------------------------------------------------------------------

Meaning = tuple[str, str | None]
"""A country, or one of its regions by GeoNames code."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """One way to take a text apart: a city, and what was said around it."""

    name: str
    around: Sequence[frozenset[Meaning]]
    """For each thing said around the city, what it may mean."""
    strange: int = 0
    """How many things said around the city mean nothing to us."""
    is_guess: bool = False
    """Words without a comma narrow a city that we know; of one that we do not know they tell nothing."""

    def accepts(self, rank: int) -> bool:
        country, region = gazetteer().division(rank)
        return all((country, None) in meanings or (country, region) in meanings for meanings in self.around)

    def country(self) -> str | None:
        """The one country that all that was said agrees on."""
        told = [] if self.is_guess else [{country for country, _ in meanings} for meanings in self.around]
        agreed = set.intersection(*told) if told else set()
        return agreed.pop() if len(agreed) == 1 else None


def resolve(text: str, country: str | None = None) -> Resolution:
    """The city that a text means: `Los Ángeles`, `LA`, `Los Angeles, Cal.`, `San José (Costa Rica)`, `Austin TX`.

    ``country`` (code or name) narrows it and is never overruled. Of several cities the one at least ten times larger is
    meant; else the resolution is ambiguous and holds the candidates. Never raises, whatever the text.
    """
    found = _resolve(text[:LONGEST_TEXT], (country or "")[:LONGEST_TEXT])
    return replace(found, candidates=list(found.candidates))


@lru_cache(maxsize=20_000)
def _resolve(text: str, country: str) -> Resolution:
    told = None
    for reading in _readings(text, country):
        if hits := [hit for hit in gazetteer().find(reading.name) if reading.accepts(hit.rank)]:
            return _choose(hits, reading)
        told = told or reading.country()
    return Resolution(country=told or (country_code(text) if len(key(text)) > 3 else None))


def _readings(text: str, country: str) -> Iterator[_Reading]:
    """The whole text as a name; what stands before the first comma; without commas, all but the last words."""
    yield _read(text, [], country)
    head, *rest = [part for part in _SEPARATORS.split(text) if key(part)] or [""]
    if rest:
        yield _read(head, rest, country)
        return
    words = key(head).split(" ")
    for cut in range(len(words) - 1, max(0, len(words) - 1 - _LONGEST_TAIL), -1):
        tail = " ".join(words[cut:])
        if _meanings(tail):
            yield replace(_read(" ".join(words[:cut]), [tail], country), is_guess=True)


def _read(name: str, beside: Sequence[str], country: str) -> _Reading:
    said = [_meanings(part) for part in beside if _without_numbers(part)]
    said += [_told(country)] if key(country) else []
    return _Reading(city_key(name), [frozenset(meanings) for meanings in said if meanings], said.count([]))


def _told(country: str) -> list[Meaning]:
    """What was told as the country: a country if it can be one, else the state that somebody wrote there."""
    code = country_code(country)
    return [(code, None)] if code else _meanings(country)


def _meanings(text: str) -> list[Meaning]:
    """What a text beside a city may mean. `CA` is Canada and California: both are kept, and the city decides."""
    words = _without_numbers(text)
    for name in (words, _DIVISION.sub("", words)):
        code = country_code(name)
        regions: list[Meaning] = [(region.country, region.code) for region in gazetteer().regions(name)]
        if code or regions:
            return [(code, None), *regions] if code else regions
    return []


def _without_numbers(text: str) -> str:
    """The words of a text but for postal codes."""
    return " ".join(word for word in key(text).split(" ") if not any(letter.isdigit() for letter in word))


def _choose(hits: list[Hit], reading: _Reading) -> Resolution:
    weighed = sorted(((_weight(hit), -hit.rank) for hit in hits), reverse=True)
    places = [gazetteer().place(-rank) for _, rank in weighed[:MOST_CANDIDATES]]
    first = weighed[0][0]
    is_alone = len(weighed) == 1
    stands_out = is_alone or first >= TIMES_LARGER * weighed[1][0]
    if not stands_out and reading.around:
        stands_out = gazetteer().is_meant(-weighed[0][1])
    if is_alone or (stands_out and not reading.strange):
        return Resolution(places[0], places, country=places[0].country)
    countries = {place.country for place in places}
    told = countries.pop() if len(countries) == 1 and len(hits) <= MOST_CANDIDATES else reading.country()
    return Resolution(None, places, ambiguous=True, country=told)


def _weight(hit: Hit) -> int:
    return max(1, gazetteer().place(hit.rank).population) * (TIMES_LARGER if hit.is_own else 1)


def place_of(geoname_id: int) -> Place | None:
    """The city of the gazetteer with a GeoNames id."""
    rank = gazetteer().rank_of(geoname_id)
    return None if rank is None else gazetteer().place(rank)


def search(text: str, country: str | None = None, limit: int = 20) -> list[Place]:
    """Cities for a picker, largest first: whose own name begins with the text, then with an alias or a later word that does.

    What follows a comma narrows, as ``country`` does, as far as it is understood. No text: the largest cities.
    """
    book = gazetteer()
    head, *rest = _SEPARATORS.split(text[:LONGEST_TEXT])
    reading = _read(head, rest, country or "")
    if not reading.name:
        ranks = filter(reading.accepts, range(len(book)))
        return [book.place(rank) for rank in islice(ranks, limit)]
    hits = [hit for hit in book.starting(reading.name) if reading.accepts(hit.rank)]
    first = {hit.rank for hit in hits if hit.is_own}
    later = {hit.rank for hit in hits} - first
    if len(first) < limit and len(reading.name) > 2:
        later |= {hit.rank for hit in book.with_word(reading.name) if reading.accepts(hit.rank)} - first
    return [book.place(rank) for rank in [*heapq.nsmallest(limit, first), *heapq.nsmallest(limit, later)][:limit]]


# --- places in our records -----------------------------------------------------------------------------------------------------


def locate(text: str | None, country: str | None) -> Whereabouts:
    """Where a person lives by the words of a form, a row or a call. Makes no row; the bulk path calls `cities_for` after it."""
    found = _locate((text or "")[:LONGEST_TEXT], (country or "")[:LONGEST_TEXT])
    return replace(found, warnings=list(found.warnings))


@lru_cache(maxsize=20_000)
def _locate(text: str, country: str) -> Whereabouts:
    typed = " ".join(text.split())
    found = resolve(typed, country)
    warnings = ["country_unknown"] if key(country) and not _told(country) else []
    if found.place:
        return Whereabouts(found.place, None, found.place.country, warnings)
    if typed:
        warnings.append("city_ambiguous" if found.ambiguous else "city_unknown")
    return Whereabouts(None, typed or None, country_code(country) or found.country, warnings)


def place_contact(session: Session, text: str | None, country: str | None) -> Located:
    """What to write in a contact for the city and country that were typed; the city's row is made if need be."""
    found = locate(text, country)
    city = city_for(session, found.place) if found.place else None
    return Located(city, found.city_as_typed, found.country, found.warnings)


def city_for(session: Session, place: Place) -> City:
    """The row of a place, made on first use; safe when two workers make the same one at once."""
    city_id = cities_for(session, [place])[place.geoname_id]
    return session.get_one(City, city_id)


def cities_for(session: Session, places: Iterable[Place]) -> dict[int, int]:
    """``{geoname id: City.id}`` of many places, made where missing, in few queries.

    Rows are inserted in order of their GeoNames id, so that two batches at once wait for each other instead of locking.
    """
    wanted = {place.geoname_id: place for place in places}
    known = _city_ids(session, wanted)
    missing = sorted(wanted.keys() - known.keys())
    if missing:
        insert_new(session, City.__table__, [_columns(wanted[number]) for number in missing], unique=["geoname_id"])
        known |= _city_ids(session, missing)
    return known


def _city_ids(session: Session, geoname_ids: Iterable[int]) -> dict[int, int]:
    numbers = list(geoname_ids)
    known: dict[int, int] = {}
    for start in range(0, len(numbers), 1000):
        found = sa.select(City.geoname_id, City.id).where(City.geoname_id.in_(numbers[start : start + 1000]))
        known |= {geoname_id: city_id for geoname_id, city_id in session.execute(found) if geoname_id is not None}
    return known


def _columns(place: Place) -> dict[str, object]:
    return {
        "geoname_id": place.geoname_id,
        "name": place.name,
        "search_key": search_key(place.name),
        "country": place.country,
        "region": place.region,
        "region_code": place.region_code,
        "latitude": place.latitude,
        "longitude": place.longitude,
        "zone": place.zone,
    }


def count_places(session: Session, condition: sa.ColumnElement[bool] | None = None) -> PlaceCounts:
    """People who are not blocked and meet a condition over Contact, and their cities and countries, each counted once.

    A city typed in two ways is one row and so one city; who lives in an unknown city of a known country counts for the country.
    """
    statement = sa.select(
        sa.func.count(Contact.id), sa.func.count(Contact.city_id.distinct()), sa.func.count(Contact.country.distinct())
    ).where(visible())
    if condition is not None:
        statement = statement.where(condition)
    people, cities, countries = session.execute(statement).one()
    return PlaceCounts(people, cities, countries)


def waiting_places(session: Session, *, cursor: str | None = None, limit: int = 50) -> tuple[list[Waiting], str | None]:
    """People who are not blocked and whose city waits for review, by id, and the cursor of the next page."""
    columns: list[Any] = [Contact.id, Contact.city_as_typed, Contact.country]
    waits = [visible(), Contact.city_id.is_(None), Contact.city_as_typed.is_not(None)]
    statement = sa.select(*columns).where(*waits)
    rows, following = keyset_page(session, statement, [Contact.id], cursor=cursor, limit=limit)
    return [
        Waiting(row.id, row.city_as_typed, row.country, resolve(row.city_as_typed, row.country).candidates) for row in rows
    ], following
