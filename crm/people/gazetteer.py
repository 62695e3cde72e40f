"""The gazetteer that ships with the product: cities over 15,000 people, read from one compressed file on first use.

The file (`gazetteer.tsv.xz`, built by `scripts/build_gazetteer.py`; data: GeoNames, CC BY 4.0) is three texts one after the
other, parted by an empty line:

    cities    geoname id, name, country, region code, latitude, longitude, zone, population, meant ("1" or ""), largest first
    regions   country, region code, name in Spanish, keys joined by "|"
    names     key, ranks joined by " ": the line number of a city; "=12" a name of its own, "12" another alias

The names stay one sorted text that is searched by halving: 34,000 cities cost some 10 MB, where a dict would cost 100.
"""

import lzma
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from threading import Lock

from crm.database import search_key

FILE = "gazetteer.tsv.xz"

_LETTERS = str.maketrans({"ł": "l", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i", "ə": "a"})
"""Latin letters that no decomposition turns into plain ones."""
_UNHEARD = re.compile("['’‘ʻʼ`´.]")
_BETWEEN = re.compile(r"[\W_]+")
_INITIALS = re.compile(r"\b(\w) (?=\w\b)")
_SHORT = {"cd": "ciudad", "sta": "santa", "sto": "santo", "st": "saint", "ft": "fort", "mt": "mount"}


@dataclass(frozen=True, slots=True)
class Place:
    """A city of the gazetteer. `name` and `region` are in Spanish where a Spanish name is in use."""

    geoname_id: int
    name: str
    country: str
    """ISO 3166-1 alpha-2."""
    region: str
    """Name of the state or province; empty where it is not known."""
    region_code: str
    """GeoNames admin1 code."""
    latitude: float
    longitude: float
    zone: str
    """IANA name."""
    population: int


@dataclass(frozen=True, slots=True, order=True)
class Hit:
    """A city that bears a name: its rank by population (0 is the largest), and whether the name is one of its own."""

    rank: int
    is_own: bool


@dataclass(frozen=True, slots=True)
class Region:
    country: str
    code: str
    name: str


def key(text: str) -> str:
    """How names are compared: no marks, case, points or signs; initials joined. `key("Washington, D. C.") == "washington dc"`."""
    folded = search_key(_UNHEARD.sub("", text)).translate(_LETTERS)
    return _INITIALS.sub(r"\1", _BETWEEN.sub(" ", folded).strip())


def city_key(text: str) -> str:
    """`key` with the usual short words written out: `city_key("Cd. Juárez") == "ciudad juarez"`."""
    words = key(text).split(" ")
    return " ".join([_SHORT.get(word, word) for word in words[:-1]] + words[-1:])


class Gazetteer:
    """The file in memory. Reading it never changes it, so threads share one."""

    def __init__(self, text: bytes) -> None:
        cities, regions, self._names = text.split(b"\n\n")
        self._cities = cities.split(b"\n")
        alike: dict[tuple[str, str], tuple[str, str]] = {}
        self._divisions = [alike.setdefault(division, division) for division in map(_division, self._cities)]
        self._regions: dict[tuple[str, str], str] = {}
        self._region_keys: dict[str, list[Region]] = {}
        for line in regions.decode().split("\n"):
            self._add_region(*line.split("\t"))

    def _add_region(self, country: str, code: str, name: str, keys: str) -> None:
        self._regions[country, code] = name
        for each in keys.split("|"):
            self._region_keys.setdefault(each, []).append(Region(country, code, name))

    def __len__(self) -> int:
        return len(self._cities)

    def find(self, name: str) -> list[Hit]:
        """The cities that bear a name, given as `city_key`; largest first."""
        wanted = name.encode("ascii", "replace") + b"\t"
        start = self._first_line(wanted)
        return _hits(self._line(start)) if wanted != b"\t" and self._names.startswith(wanted, start) else []

    def starting(self, prefix: str) -> Iterator[Hit]:
        """The hits of every name that begins with a prefix, in no useful order."""
        wanted = prefix.encode("ascii", "replace")
        start = self._first_line(wanted)
        while start < len(self._names) and self._names.startswith(wanted, start):
            line = self._line(start)
            yield from _hits(line)
            start += len(line) + 1

    def with_word(self, prefix: str) -> Iterator[Hit]:
        """The hits of every name one of whose later words begins with a prefix."""
        wanted = b" " + prefix.encode("ascii", "replace")
        limit = -1
        while (limit := self._names.find(wanted, limit + 1)) >= 0:
            start = self._names.rfind(b"\n", 0, limit) + 1
            line = self._line(start)
            if b"\t" not in line[: limit - start]:
                yield from _hits(line)
            limit = start + len(line)

    def place(self, rank: int) -> Place:
        """The city of a rank."""
        number, name, country, code, latitude, longitude, zone, population, _ = self._cities[rank].decode().split("\t")
        region = self._regions.get((country, code), "")
        return Place(int(number), name, country, region, code, float(latitude), float(longitude), zone, int(population))

    def division(self, rank: int) -> tuple[str, str]:
        """The country and region code of a rank, without building the place."""
        return self._divisions[rank]

    def is_meant(self, rank: int) -> bool:
        """Whether the name alone means this city in its country, though another there is not ten times smaller."""
        return self._cities[rank].endswith(b"\t1")

    def rank_of(self, geoname_id: int) -> int | None:
        """The rank of a city by its GeoNames id."""
        return self._ranks.get(geoname_id)

    def regions(self, name: str) -> list[Region]:
        """The states and provinces, of any country, that a `key` may mean."""
        return self._region_keys.get(name, [])

    @cached_property
    def _ranks(self) -> dict[int, int]:
        return {int(line.split(b"\t", 1)[0]): rank for rank, line in enumerate(self._cities)}

    def _line(self, start: int) -> bytes:
        end = self._names.find(b"\n", start)
        return self._names[start : end if end >= 0 else len(self._names)]

    def _first_line(self, wanted: bytes) -> int:
        """Where the first line that is not before ``wanted`` begins."""
        low, high = 0, len(self._names)
        while low < high:
            start = self._names.rfind(b"\n", 0, (low + high) // 2) + 1
            start = max(start, low)
            line = self._line(start)
            if line < wanted:
                low = start + len(line) + 1
            else:
                high = start
        return low


def _division(line: bytes) -> tuple[str, str]:
    _, _, country, code, _ = line.split(b"\t", 4)
    return country.decode(), code.decode()


def _hits(line: bytes) -> list[Hit]:
    return [Hit(int(word.lstrip(b"=")), word.startswith(b"=")) for word in line.partition(b"\t")[2].split(b" ")]


_lock = Lock()
_loaded: list[Gazetteer] = []


def gazetteer() -> Gazetteer:
    """The gazetteer of the product; the first call reads the file, all others share what it read."""
    if not _loaded:
        with _lock:
            if not _loaded:
                _loaded.append(Gazetteer(lzma.decompress(resources.files(__package__).joinpath(FILE).read_bytes())))
    return _loaded[0]
