"""Places: which city a text means, its row made once, people and cities counted once."""

import csv
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from crm import clock
from crm.database import Database
from crm.errors import SENTENCES
from crm.people import gazetteer as file
from crm.people import places
from crm.people.models import City, Contact
from tests.people.factories import contact

LOS_ANGELES, NEW_YORK, LONDON, MUNICH = 5368361, 5128581, 2643743, 2867714
MEXICO_CITY, WASHINGTON, SAN_JOSE, SAN_JOSE_CALIFORNIA, VALENCIA = 3530597, 4140963, 3621849, 5392171, 2509954
PORTLAND_OREGON, PORTLAND_MAINE = 5746545, 4975802

HERE = Path(__file__).parent
DEMO = HERE.parents[1] / "crm" / "people" / "demo_cities.csv"


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened))


def _resolved(text: str, country: str | None = None) -> int | None:
    place = places.resolve(text, country).place
    return place.geoname_id if place else None


@pytest.mark.parametrize(
    ("text", "geoname_id"),
    [
        ("Los Ángeles", LOS_ANGELES),
        ("LA", LOS_ANGELES),
        ("L. A.", LOS_ANGELES),
        ("Los Angeles, Cal.", LOS_ANGELES),
        ("Los Angeles, CA", LOS_ANGELES),
        ("Los Angeles, California", LOS_ANGELES),
        ("LOS ANGELES, CA 90012, USA", LOS_ANGELES),
        ("Los Angeles CA", LOS_ANGELES),
        ("Los Angeles, USA", LOS_ANGELES),
        ("Los Ángeles, Estados Unidos", LOS_ANGELES),
        ("Los Ángeles, EE. UU.", LOS_ANGELES),
        ("los ángeles (EUA)", LOS_ANGELES),
        ("Londres", LONDON),
        ("London", LONDON),
        ("Londres, Inglaterra", LONDON),
        ("Múnich", MUNICH),
        ("München", MUNICH),
        ("Nueva York", NEW_YORK),
        ("New York, NY", NEW_YORK),
        ("NYC", NEW_YORK),
        ("CDMX", MEXICO_CITY),
        ("Ciudad de México", MEXICO_CITY),
        ("Cd. de México", MEXICO_CITY),
        ("México DF", MEXICO_CITY),
        ("México, D.F.", MEXICO_CITY),
        ("Washington D.C.", WASHINGTON),
        ("Washington, D. C.", WASHINGTON),
        ("Washington DC, USA", WASHINGTON),
        ("San José, Costa Rica", SAN_JOSE),
        ("San José Costa Rica", SAN_JOSE),
        ("San José (California)", SAN_JOSE_CALIFORNIA),
        ("Portland, Maine", PORTLAND_MAINE),
        ("Portland, ME", PORTLAND_MAINE),
        ("Cd. Juárez", 4013708),
        ("Toluca, Estado de México", 3515302),
        ("Monterrey, N. L.", 3995465),
        ("London, Ont.", 6058560),
        ("Łódź", 3093133),
        ("Lodz", 3093133),
    ],
)
def test_resolves_what_people_write(text: str, geoname_id: int) -> None:
    assert _resolved(text) == geoname_id


@pytest.mark.parametrize(
    ("text", "country", "geoname_id"),
    [
        ("San José", "CR", SAN_JOSE),
        ("San José", "US", SAN_JOSE_CALIFORNIA),
        ("Valencia", "ES", VALENCIA),
        ("Valencia", "España", VALENCIA),
        ("Portland", "US", PORTLAND_OREGON),
        ("Portland, ME", "EUA", PORTLAND_MAINE),
        ("London", "CA", 6058560),
        ("Paris", "Texas", 4717560),
    ],
)
def test_resolves_with_a_country_told(text: str, country: str, geoname_id: int) -> None:
    assert _resolved(text, country) == geoname_id


@pytest.mark.parametrize("text", ["San José", "Valencia", "Portland", "Springfield", "Springfield, EE. UU.", "Paris, Narnia"])
def test_asks_when_no_city_is_ten_times_larger(text: str) -> None:
    found = places.resolve(text)
    assert found.place is None
    assert found.ambiguous
    assert len(found.candidates) > 1
    assert found.candidates[0].population >= found.candidates[1].population


@pytest.mark.parametrize(("text", "country"), [("Narnia", None), ("", None), (" ¿? ", None), ("Londres", "MX"), ("北京", None)])
def test_finds_nothing_for_a_name_unknown(text: str, country: str | None) -> None:
    assert places.resolve(text, country) == places.Resolution(country=country)


def test_tells_the_country_of_a_city_unknown() -> None:
    assert places.resolve("Pueblito, España").country == "ES"
    assert places.resolve("Springfield").country == "US"
    assert places.resolve("Estados Unidos").country == "US"
    assert places.resolve("San José").country is None


def test_names_region_and_zone_of_a_place() -> None:
    place = places.resolve("Nueva York").place
    assert place == places.place_of(NEW_YORK)
    assert place is not None
    assert (place.name, place.region, place.region_code, place.country) == ("Nueva York", "Nueva York", "NY", "US")
    assert place.zone == "America/New_York"
    assert (round(place.latitude), round(place.longitude)) == (41, -74)
    assert places.place_of(1) is None


@pytest.mark.parametrize("row", _rows(HERE / "cities77.csv"), ids=lambda row: row["city"])
def test_resolves_every_city_of_the_network(row: dict[str, str]) -> None:
    for text, country in ((row["city"], row["country"]), (row["city_es"], row["country_es"])):
        place = places.resolve(text, country).place
        assert place is not None
        assert (place.geoname_id, place.zone, place.country) == (int(row["geoname_id"]), row["zone"], row["country"])
        assert place.name == row["city_es"].split(" (")[0]


def test_demo_network_resolves_by_its_own_recipe() -> None:
    rows = _rows(DEMO)
    assert list(rows[0]) == ["country", "city", "contacts", "geoname_id"]
    assert (len(rows), len({row["country"] for row in rows})) == (77, 25)
    assert sum(int(row["contacts"]) for row in rows) == 1500
    assert [_resolved(row["city"], row["country"]) for row in rows] == [int(row["geoname_id"]) for row in rows]


@settings(deadline=None)  # the machine may be busy; how long the gazetteer takes is measured elsewhere
@given(st.text(), st.none() | st.text())
def test_resolve_never_raises(text: str, country: str | None) -> None:
    found = places.resolve(text, country)
    assert found.ambiguous == (found.place is None and bool(found.candidates))
    places.search(text[:3], country, limit=2)
    places.locate(text, country)


RANKS = st.integers(0, 30_000)


@settings(deadline=None)  # the machine may be busy; how long the gazetteer takes is measured elsewhere
@given(RANKS, st.sampled_from(["{name}", "{name}, {region}", "{name} {country}", "{name}, {country}"]))
def test_adding_the_country_never_moves_a_place(rank: int, form: str) -> None:
    asked = file.gazetteer().place(rank)
    text = form.format(name=asked.name, region=asked.region, country=places.country_name(asked.country))
    found = places.resolve(text).place
    if found:
        for country in (found.country, places.country_name(found.country), places.country_name(found.country, "en")):
            again = places.resolve(text, country).place
            assert again is None or again.country == found.country


@settings(deadline=None)  # the machine may be busy; how long the gazetteer takes is measured elsewhere
@given(RANKS)
def test_a_name_with_its_country_means_that_city_or_asks(rank: int) -> None:
    asked = file.gazetteer().place(rank)
    found = places.resolve(asked.name, asked.country)
    assert found.candidates
    assert all(place.country == asked.country for place in found.candidates)
    assert found.place is None or found.place == asked or found.place.population >= asked.population


def test_gazetteer_is_sound() -> None:
    book = file.gazetteer()
    cities = [book.place(rank) for rank in range(len(book))]
    assert len(cities) > 30_000
    assert len({place.geoname_id for place in cities}) == len(cities)
    assert [place.population for place in cities] == sorted((place.population for place in cities), reverse=True)
    assert {place.country for place in cities} <= set(places.country_codes())
    assert max(len(place.name) for place in cities) <= 200
    assert max(len(place.region) for place in cities) <= 120
    assert all(place.region for place in cities if place.country in {"US", "CA", "MX", "ES", "DE", "FR"})


def test_gazetteer_finds_the_first_and_the_last_name() -> None:
    book = file.Gazetteer(b"1\tAba\tMX\t09\t1.0\t2.0\tUTC\t9\t\n\nMX\t09\tX\tx\n\naba\t=0\nabc\t0\nzz\t=0 0")
    assert [len(book.find(name)) for name in ("aba", "abc", "zz", "a", "zzz", "", "ab")] == [1, 1, 2, 0, 0, 0, 0]
    assert [len(list(book.starting(prefix))) for prefix in ("ab", "z", "", "x")] == [2, 2, 4, 0]


def test_gazetteer_loads_once_for_all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file, "_loaded", [])
    barrier = Barrier(4)

    def load(_: int) -> file.Gazetteer:
        barrier.wait()
        return file.gazetteer()

    began = time.perf_counter()
    with ThreadPoolExecutor(4) as pool:
        books = list(pool.map(load, range(4)))
    assert len({id(book) for book in books}) == 1
    assert time.perf_counter() - began < 5


# --- countries --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("us", "US"), ("USA", "US"), ("EUA", "US"), ("EE.UU.", "US"), ("EE. UU.", "US"), ("Estados Unidos de América", "US"),
        ("United States", "US"), ("U.S.A.", "US"), ("Reino Unido", "GB"), ("Inglaterra", "GB"), ("UK", "GB"), ("Holanda", "NL"),
        ("Paises Bajos", "NL"), ("países bajos", "NL"), ("MEX", "MX"), ("México", "MX"), ("DEU", "DE"), ("Germany", "DE"),
        ("Corea del Sur", "KR"), ("Costa Rica", "CR"), ("República Checa", "CZ"), ("Sudáfrica", "ZA"), ("Japon", "JP"),
        ("E. U.", "US"),
    ],
)  # fmt: skip
def test_reads_a_country(text: str, code: str) -> None:
    assert places.country_code(text) == code


@pytest.mark.parametrize("text", [None, "", "  ", "Narnia", "XX", "ZZ", "UN", "\ud800", "08"])
def test_reads_no_country(text: str | None) -> None:
    assert places.country_code(text) is None


def test_names_countries_in_both_languages() -> None:
    assert places.country_name("NL") == "Países Bajos"
    assert places.country_name("NL", "en") == "Netherlands"
    assert places.country_name("??") == "??"
    for code in places.country_codes():
        assert places.country_code(code) == code
        assert places.country_code(places.country_name(code)) == code


# --- the picker -------------------------------------------------------------------------------------------------------


def test_searches_by_prefix_largest_first() -> None:
    assert [place.geoname_id for place in places.search("lond", limit=1)] == [LONDON]
    assert places.search("Los Án")[0].geoname_id == LOS_ANGELES
    assert LOS_ANGELES in [place.geoname_id for place in places.search("angeles", "US")]
    assert [place.country for place in places.search("san j", "Costa Rica", limit=2)] == ["CR", "CR"]
    assert places.search("san jose, california")[0].geoname_id == SAN_JOSE_CALIFORNIA
    assert places.search("", "CR", limit=1)[0].geoname_id == SAN_JOSE
    assert len(places.search("san", limit=7)) == 7
    assert places.search("zzzzzz") == []


# --- rows -------------------------------------------------------------------------------------------------------------


def _contact(session: Session, text: str | None, country: str | None, **columns: object) -> Contact:
    located = places.place_contact(session, text, country)
    contact = Contact(
        given_names="Ana",
        city_id=located.city.id if located.city else None,
        city_as_typed=located.city_as_typed,
        country=located.country,
        sort_key="ana",
        search_key="ana",
        **columns,
    )
    session.add(contact)
    session.flush()
    return contact


def test_makes_a_city_once(session: Session) -> None:
    first, again = places.resolve("LA").place, places.resolve("Los Angeles, Cal.").place
    assert first is not None
    assert again is not None
    city = places.city_for(session, first)
    assert places.city_for(session, again) is city
    assert (city.name, city.search_key, city.country, city.zone) == ("Los Ángeles", "los angeles", "US", "America/Los_Angeles")
    assert (city.region, city.region_code) == ("California", "CA")
    assert session.scalar(sa.select(sa.func.count()).select_from(City)) == 1


def test_makes_the_cities_of_a_batch_in_few_queries(session: Session) -> None:
    found = [places.resolve(row["city"], row["country"]).place for row in _rows(DEMO)] * 3
    known = [place for place in found if place]
    places.city_for(session, known[5])
    statements: list[str] = []
    sa.event.listen(session.get_bind(), "before_cursor_execute", lambda *told: statements.append(told[2]))
    made = places.cities_for(session, known)
    assert len(statements) == 3
    assert made.keys() == {place.geoname_id for place in known}
    assert session.scalar(sa.select(sa.func.count()).select_from(City)) == len(made) == 77
    assert places.cities_for(session, []) == {}


def test_two_workers_make_the_same_city_at_once(database: Database) -> None:
    chosen = [places.resolve(text).place for text in ("Londres", "Múnich", "CDMX", "NYC")]
    known = [place for place in chosen if place]
    barrier = Barrier(4)

    def work(number: int) -> dict[int, int]:
        barrier.wait()
        with database.session() as session:
            return places.cities_for(session, known if number % 2 else known[::-1])

    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(work, range(4)))
    assert all(each == made[0] for each in made)
    with database.session(write=False) as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(City)) == len(known) == 4


def test_places_a_contact(session: Session) -> None:
    located = places.place_contact(session, "Londres", None)
    assert located.city is not None
    assert (located.city.geoname_id, located.city_as_typed, located.country, located.warnings) == (LONDON, None, "GB", [])


@pytest.mark.parametrize(
    ("text", "country", "expected"),
    [
        ("Narnia", "Francia", ("Narnia", "FR", ["city_unknown"])),
        ("  Narnia \n ", None, ("Narnia", None, ["city_unknown"])),
        ("Pueblito, España", None, ("Pueblito, España", "ES", ["city_unknown"])),
        ("San José", None, ("San José", None, ["city_ambiguous"])),
        ("Springfield", "US", ("Springfield", "US", ["city_ambiguous"])),
        ("Narnia", "Nowhere", ("Narnia", None, ["country_unknown", "city_unknown"])),
        (None, "Texas", (None, "US", [])),
        ("", "Holanda", (None, "NL", [])),
        (None, None, (None, None, [])),
    ],
)
def test_keeps_an_unknown_city_as_typed(session: Session, text: str | None, country: str | None, expected: object) -> None:
    located = places.place_contact(session, text, country)
    assert located.city is None
    assert (located.city_as_typed, located.country, located.warnings) == expected
    assert set(located.warnings) <= SENTENCES.keys()


def test_counts_nothing_twice(session: Session) -> None:
    _contact(session, "LA", None)
    _contact(session, "Los Angeles, Cal.", "US")
    _contact(session, "Nueva York", None)
    _contact(session, "Londres", None)
    _contact(session, "Pueblito", "Reino Unido")
    _contact(session, "Narnia", None)
    _contact(session, None, "Francia")
    _contact(session, "Múnich", None, blocked_at=clock.now())
    assert places.count_places(session) == places.PlaceCounts(people=7, cities=3, countries=3)
    assert places.count_places(session, Contact.country == "US") == places.PlaceCounts(people=3, cities=2, countries=1)
    of_london = sa.exists().where(City.id == Contact.city_id, City.geoname_id == LONDON)
    assert places.count_places(session, of_london) == places.PlaceCounts(people=1, cities=1, countries=1)
    assert places.count_places(session, sa.false()) == places.PlaceCounts(people=0, cities=0, countries=0)


# --- what waits for review ----------------------------------------------------------------------------------------------------


def test_lists_whose_city_waits_with_the_cities_it_may_mean(session: Session) -> None:
    typed = [("Springfield", "US"), ("Villa Inventada", None), ("Chicago", "US"), (None, "US")]
    for number, (city, country) in enumerate(typed):
        contact(session, number, city=city, country=country)
    contact(session, 9, city="Villa Bloqueada", country=None).blocked_at = clock.now()
    session.flush()
    found, following = places.waiting_places(session)
    assert [(one.city_as_typed, one.country) for one in found] == [("Springfield", "US"), ("Villa Inventada", None)]
    assert {place.country for place in found[0].candidates} == {"US"}
    assert len(found[0].candidates) > 1
    assert (found[1].candidates, following) == ([], None)
    first, more = places.waiting_places(session, limit=1)
    rest, end = places.waiting_places(session, limit=1, cursor=more)
    assert (first + rest, end) == (found, None)
