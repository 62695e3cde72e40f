"""The synthetic network: who is in it, and the planned dirt that a real list would have. The same people every time.

What the pages say after the import: 1,500 people in 77 cities of 25 countries, 121 of them leaders. How that comes out exactly:

    1,455 people and 45 of them once more under another address (a duplicate is a contact until somebody merges it)
     + 15 people who asked to be blocked: rows of the file that no list, count or send shows
     + 30 rows that repeat a person by the same address in capitals: one contact, who gains a second organization
     +  2 rows that the import refuses: an address without @, and the address of somebody else

Of the 1,500: 120 come in a second file without a basis (`legacy`), 75 without a city, 5 with a town that nobody knows and 45
with the city in another language; 60 have a mailbox that does not exist and 90 a full one, which the local catcher plays; 30 asked
to leave and 2 complained.
"""

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import resources
from random import Random

from crm.catcher import FULL, GONE
from crm.database import search_key
from crm.demo.names import Name, Namer
from crm.people.models import LeaderSector
from crm.people.places import country_name

SEED = 20_210_212
CITIES_FILE = "demo_cities.csv"
TAG = "sintetico"
"""Of every row: whoever carries it is never handed to a relay beyond this machine."""

LEADERS = {
    LeaderSector.COMMUNITY_DEVELOPMENT: 54,
    LeaderSector.ACADEMIA: 26,
    LeaderSector.BUSINESS: 24,
    LeaderSector.CULTURE: 17,
}
LEADERS_IN_US = 85
LARGE_COUNTRY = 8
"""A country with more contacts than this has a leader at least."""
ONE_SURNAME, FOREIGN_SURNAME = 30, 75
DUPLICATES, REPEATED, BLOCKED = 45, 30, 15
LEGACY, LEFT, COMPLAINED, HARD, SOFT, LETTERS = 120, 30, 2, 60, 90, 2
WITHOUT_CITY, WITHOUT_PLACE, UNKNOWN_TOWN, OTHER_SPELLING = 50, 25, 5, 45
ENGLISH, MEMBERS, SECOND_ADDRESS = 150, 160, 60

HARD_BOUNCES_AFTER = 300
"""Rows before the first mailbox that does not exist: by chance alone 4 % could pass the 5 % of the first 200 that pause a send."""
ENGLISH_SPEAKING = frozenset(["US", "CA", "GB", "IE", "AU", "ZA"])

_SPELLINGS = {
    "Nueva York": "New York|New York, NY", "Los Ángeles": "Los Angeles, CA|Los Angeles", "Filadelfia": "Philadelphia",
    "Londres": "London", "Edimburgo": "Edinburgh", "Múnich": "München|Munich", "Fráncfort": "Frankfurt am Main",
    "París": "Paris", "Ámsterdam": "Amsterdam", "La Haya": "Den Haag|The Hague", "Zúrich": "Zürich", "Ginebra": "Genève",
    "Roma": "Rome", "Milán": "Milano", "Bruselas": "Brussels|Bruxelles", "Estocolmo": "Stockholm", "Copenhague": "Copenhagen",
    "Lisboa": "Lisbon", "Tokio": "Tokyo", "Pekín": "Beijing", "Seúl": "Seoul", "Sídney": "Sydney", "Montreal": "Montréal",
}  # fmt: skip
_TOWNS = ("Villa Jacaranda", "Nuevo Ajolote", "Puerto Cempasúchil", "San Papalote", "Tianguis Falls")
_BOROUGHS = """
    Álvaro Obregón|Azcapotzalco|Benito Juárez|Coyoacán|Cuajimalpa de Morelos|Cuauhtémoc|Gustavo A. Madero|Iztacalco|Iztapalapa
    |La Magdalena Contreras|Miguel Hidalgo|Milpa Alta|Tláhuac|Tlalpan|Venustiano Carranza|Xochimilco
"""
_ORGANIZATIONS = {
    LeaderSector.COMMUNITY_DEVELOPMENT: ("Club Chilango Jacaranda de {}", "Casa Ajolote de {}"),
    LeaderSector.ACADEMIA: ("Seminario Chinampa de {}", "Red Académica Cempasúchil de {}"),
    LeaderSector.BUSINESS: ("Cámara Tianguis de {}", "Red de Negocios Nopalera de {}"),
    LeaderSector.CULTURE: ("Colectivo Papalote de {}", "Ballet Xoloitzcuintle de {}"),
}
"""Invented, all of them."""
_POSTS = {
    LeaderSector.COMMUNITY_DEVELOPMENT: ("Presidencia", "Coordinación comunitaria", "Tesorería", "Secretaría"),
    LeaderSector.ACADEMIA: ("Coordinación académica", "Investigación", "Cátedra de estudios migrantes"),
    LeaderSector.BUSINESS: ("Dirección general", "Presidencia", "Vicepresidencia"),
    LeaderSector.CULTURE: ("Dirección artística", "Gestión cultural", "Coordinación de talleres"),
}
_TOPICS = ("Taller", "Credencialización", "Ruta Chilanga", "Consulado", "Presupuesto participativo")


@dataclass(frozen=True)
class Home:
    """A city and how many people of the network live there."""

    country: str
    city: str
    contacts: int


@dataclass(eq=False)
class Person:
    """One row of the spreadsheet, as it would be typed."""

    number: int
    name: Name
    home: Home
    address: str
    city: str
    country: str
    second_address: str = ""
    phone: str = ""
    language: str = "español"
    treatment: str = ""
    borough: str = ""
    sector: LeaderSector | None = None
    organization: str = ""
    post: str = ""
    tags: list[str] = field(default_factory=lambda: [TAG])
    is_twice: bool = False
    """One of the two of a duplicate, so its address tells the other's."""
    is_legacy: bool = False
    has_left: bool = False
    has_complained: bool = False


@dataclass(frozen=True)
class Network:
    """The rows by what becomes of them."""

    people: list[Person]
    """Those whom the pages count: 1,500."""
    blocked: list[Person]
    repeated: list[Person]
    refused: list[Person]

    @cached_property
    def with_basis(self) -> list[Person]:
        """Rows of the main file, in its order."""
        return [*(one for one in self.people if not one.is_legacy), *self.blocked, *self.repeated, *self.refused]

    @cached_property
    def legacy(self) -> list[Person]:
        """Rows of the file that states no basis."""
        return [one for one in self.people if one.is_legacy]


class _Lots:
    """Draws people at random; whoever was drawn once is not drawn again."""

    def __init__(self, chance: Random, people: list[Person]) -> None:
        self._left = chance.sample(people, len(people))

    def draw(self, count: int, fits: Callable[[Person], bool] = lambda _: True) -> list[Person]:
        drawn = [one for one in self._left if fits(one)][:count]
        taken = {one.number for one in drawn}
        self._left = [one for one in self._left if one.number not in taken]
        return drawn


def invent() -> Network:
    """The whole network; two calls give equal rows."""
    chance = Random(SEED)  # noqa: S311  # the same people every time, nothing secret
    namer, homes = Namer(chance), read_homes()
    people = _people(chance, namer, homes)
    copies = _duplicate(chance, people)
    originals = [one for one in people if one not in copies]
    _live(chance, people)
    _belong(chance, originals)
    _misplace(chance, originals)
    _decide_mail(chance, originals)
    largest = sorted(homes, key=lambda home: -home.contacts)[:BLOCKED]
    blocked = [_person(len(people) + place, namer.two_surnames(), home) for place, home in enumerate(largest)]
    return Network(people, blocked, _repeat(chance, people), _to_refuse(namer, people, largest[0]))


def read_homes() -> list[Home]:
    """The 77 cities and their people, 1,500 in all."""
    text = resources.files("crm.people").joinpath(CITIES_FILE).read_text(encoding="utf-8")
    return [Home(row["country"], row["city"], int(row["contacts"])) for row in csv.DictReader(text.splitlines())]


# --- who they are -----------------------------------------------------------------------------------------------------------


def _people(chance: Random, namer: Namer, homes: list[Home]) -> list[Person]:
    places = [home for home in homes for _ in range(home.contacts)]
    chance.shuffle(places)
    two = len(places) - ONE_SURNAME - FOREIGN_SURNAME
    makers = [namer.two_surnames] * two + [namer.one_surname] * ONE_SURNAME + [namer.foreign_surname] * FOREIGN_SURNAME
    chance.shuffle(makers)
    return [_person(number, make(), home) for number, (home, make) in enumerate(zip(places, makers, strict=True))]


def _person(number: int, name: Name, home: Home) -> Person:
    address = f"{_local(name)}{number:04}@{_domain(number)}"
    return Person(number, name, home, address, home.city, country_name(home.country))


def _local(name: Name) -> str:
    """The part of an address before its number: `ana.nunez`."""
    given, first = search_key(name.given).split()[0], search_key(name.first)
    return f"{given}.{''.join(letter for letter in first if letter.isalnum())}"


def _domain(number: int) -> str:
    """Domains that nobody owns (RFC 2606)."""
    return ("example.org", "example.com", "example.net")[number % 3]


def _duplicate(chance: Random, people: list[Person]) -> set[Person]:
    """Make some people a second contact of a neighbour: a plus, a dot or another domain in the address; no accents, capitals."""
    lots = _Lots(chance, [one for one in people if one.name.second])
    copies: set[Person] = set()
    for copy in lots.draw(DUPLICATES, lambda one: one.home.contacts > LARGE_COUNTRY):
        original = lots.draw(1, lambda one, home=copy.home: one.home is home)[0]  # type: ignore[misc]
        style, name = len(copies) % 3, original.name
        local, _, domain = original.address.partition("@")
        plain = Name(search_key(name.given).title(), search_key(name.first).title(), search_key(name.second).title(), "")
        copy.name = (plain, Name(name.given.upper(), name.first.upper(), "", ""), name)[style]
        copy.address = (f"{local}+taller@{domain}", f"{local[:-4]}.{local[-4:]}@{domain}", f"{local}@{_other(domain)}")[style]
        copy.is_twice = original.is_twice = True
        copies.add(copy)
    return copies


def _other(domain: str) -> str:
    return "example.net" if domain == "example.com" else "example.com"


def _live(chance: Random, people: list[Person]) -> None:
    """What is told of many and of nobody in particular."""
    boroughs = [name.strip(" \n") for name in _BOROUGHS.split("|")]
    for one in people:
        one.phone = f"+1 555 01{chance.randrange(100):02}" if chance.random() < 0.6 else ""
        one.borough = chance.choice(boroughs) if chance.random() < 0.5 else ""
        one.treatment = one.name.treatment if chance.random() < 0.06 else ""
        one.tags = [TAG, *chance.sample(_TOPICS, chance.choices((0, 1, 2), (6, 3, 1))[0])]
    lots = _Lots(chance, people)
    for one in lots.draw(ENGLISH, lambda one: one.home.country in ENGLISH_SPEAKING):
        one.language = "inglés"


# --- what they belong to ----------------------------------------------------------------------------------------------------


def _belong(chance: Random, people: list[Person]) -> None:
    """Leaders, each with an organization and a post, and members of the same organizations."""
    lots = _Lots(chance, people)
    leaders = lots.draw(LEADERS_IN_US, lambda one: one.home.country == "US")
    for country in _large_countries(people):
        leaders += lots.draw(1, lambda one, code=country: one.home.country == code)  # type: ignore[misc]
    leaders += lots.draw(sum(LEADERS.values()) - len(leaders), lambda one: one.home.country != "US")
    sectors = [sector for sector, count in LEADERS.items() for _ in range(count)]
    chance.shuffle(sectors)
    for one, sector in zip(leaders, sectors, strict=True):
        one.sector, one.organization, one.post = sector, _organization(chance, one, sector), chance.choice(_POSTS[sector])
    for one in lots.draw(MEMBERS):
        one.organization, one.post = _organization(chance, one, chance.choice(list(LeaderSector))), "Membresía"


def _large_countries(people: list[Person]) -> Iterator[str]:
    """Countries beyond the United States with more than `LARGE_COUNTRY` contacts."""
    codes = [one.home.country for one in people]
    yield from (code for code in dict.fromkeys(codes) if code != "US" and codes.count(code) > LARGE_COUNTRY)


def _organization(chance: Random, one: Person, sector: LeaderSector) -> str:
    return chance.choice(_ORGANIZATIONS[sector]).format(one.home.city)


def _repeat(chance: Random, people: list[Person]) -> list[Person]:
    """Rows that speak again of somebody, by the same address typed in capitals, with a second organization."""
    lots = _Lots(chance, [one for one in people if one.organization and not one.is_legacy and one.address.isascii()])
    rows = []
    for one in lots.draw(REPEATED):
        name = Name(search_key(one.name.given).upper(), search_key(one.name.first).upper(), "", "")
        other = f"Mesa Quetzal de {one.home.city}"
        rows.append(replace(one, name=name, address=one.address.upper(), sector=None, organization=other, post="Voluntariado"))
    return rows


def _to_refuse(namer: Namer, people: list[Person], home: Home) -> list[Person]:
    """An address without @, and the address of somebody whose name is clearly another."""
    broken, other = (_person(9_000 + place, namer.foreign_surname(), home) for place in range(2))
    broken.address = broken.address.replace("@", ".")
    other.name = Name("Prueba", "Rechazada", "", "")
    other.address = next(one.address for one in people if not one.is_legacy)
    return [broken, other]


# --- where they are said to live --------------------------------------------------------------------------------------------


def _misplace(chance: Random, people: list[Person]) -> None:
    """Rows without a city, with a town that nobody knows, or with the city in another language. Every city keeps its people."""
    lots = _Lots(chance, [one for one in people if one.home.contacts > LARGE_COUNTRY])
    for one in lots.draw(OTHER_SPELLING, lambda one: one.home.city in _SPELLINGS):
        one.city = chance.choice(_SPELLINGS[one.home.city].split("|"))
    for one in lots.draw(WITHOUT_CITY):
        one.city = ""
    for one in lots.draw(WITHOUT_PLACE):
        one.city = one.country = ""
    for one, town in zip(lots.draw(UNKNOWN_TOWN), _TOWNS, strict=True):
        one.city = town


# --- what becomes of their mail ---------------------------------------------------------------------------------------------


def _decide_mail(chance: Random, people: list[Person]) -> None:
    """Who may be written to and whose mailbox answers what; one fate each."""
    lots = _Lots(chance, people)
    for one in lots.draw(LEGACY):
        one.is_legacy = True
    for one in lots.draw(LEFT):
        one.has_left = True
    for one in lots.draw(COMPLAINED):
        one.has_complained = True
    for one in lots.draw(LETTERS, lambda one: not one.is_twice and not _with_marks(one.name).isascii()):
        one.address = f"{_with_marks(one.name)}{one.number:04}@{_domain(one.number)}"
    for place, one in enumerate(lots.draw(SOFT, lambda one: not one.is_twice), start=1):
        one.address = f"{FULL}.{place:03}@{_domain(one.number)}"
    free = lots.draw(len(people), lambda one: not one.is_twice and one.number >= HARD_BOUNCES_AFTER)
    late = sorted(free, key=lambda one: one.number)
    for place in range(HARD):
        one = late[place * len(late) // HARD]
        one.address = f"{GONE}.{place + 1:03}@{_domain(one.number)}"
    for one in _Lots(chance, people).draw(SECOND_ADDRESS, lambda one: not one.address.startswith((f"{GONE}.", f"{FULL}."))):
        one.second_address = f"{_local(one.name)}{one.number:04}.trabajo@{_domain(one.number)}"


def _with_marks(name: Name) -> str:
    """The part of an address before its number, written with accents (SMTPUTF8, RFC 6531)."""
    return f"{name.given.split()[0].lower()}.{name.first.split()[-1].lower()}"
