"""How fast 100,000 rows of a CSV come in, against an executemany of exactly the rows that they become in every table.

Both sides run on fresh SQLite databases with the product's pragmas, turn by turn; ours includes parsing and every check.
"""

import csv
import shutil
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from crm.config import Settings
from crm.database import Base, Database
from crm.keys import load_keys
from crm.people import imports
from crm.people.imports import Basis
from crm.people.models import Purpose
from tests.conftest import migrate

COUNT = 100_000
ROUNDS = 3
HEADER = ["Nombre(s)", "Primer apellido", "Segundo apellido", "Correo", "Teléfono", "Ciudad", "País", "Idioma", "Etiquetas"]
HEADER += ["Sector", "Organización", "Cargo"]
GIVEN = ["Ana", "Luis", "María", "José", "Lucía", "Jorge", "Rosa", "Iván", "Sofía", "Raúl"]
SURNAMES = ["Núñez", "López", "García", "Hernández", "Martínez", "Ortega", "Salinas", "Peña", "Ibáñez", "Quiñones", "Zúñiga"]
CITIES = [("Los Ángeles", "US"), ("Chicago", "US"), ("Nueva York", "Estados Unidos"), ("Londres", "GB"), ("Madrid", "España")]
BASIS = Basis([Purpose.ELECTORAL_INFORMATION], "Hoja de registro del taller", date(2027, 1, 15), "2026-1")


def rows() -> list[dict[str, Any]]:
    """Rows of build/bench.json: rows per second of the import, and its ratio to the bare executemany."""
    case = f"{COUNT:,} CSV rows"
    with tempfile.TemporaryDirectory() as directory:
        ours, bare = zip(*_rounds(Path(directory)), strict=True)
    speed = {"ours sqlite import": [COUNT / seconds for seconds in ours], "executemany": [COUNT / seconds for seconds in bare]}
    compared = statistics.median(speed["executemany"])
    return [
        {"case": case, "subject": subject, "unit": "rows/s", "median": round(statistics.median(values)), "min": round(min(values))}
        | {"max": round(max(values)), "ratio_to": "executemany", "ratio": round(statistics.median(values) / compared, 3)}
        for subject, values in speed.items()
    ]


def _rounds(directory: Path) -> Iterator[tuple[float, float]]:
    """Seconds of the import and of the bare insertion, three times in turn."""
    sheet, template = directory / "red.csv", directory / "template.db"
    write_sheet(sheet, COUNT)
    migrate(f"sqlite:///{template}")
    for number in range(ROUNDS):
        ours, bare = directory / f"ours{number}.db", directory / f"bare{number}.db"
        shutil.copy(template, ours)
        shutil.copy(template, bare)
        taken = _import(directory, ours, sheet)
        yield taken, _insert(ours, bare)
        ours.unlink()
        bare.unlink()


def write_sheet(path: Path, count: int) -> None:
    """A synthetic network: everyone with an address, two surnames, a city and a tag; one in twelve leads."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        writer.writerows(_person(number) for number in range(count))


def _person(number: int) -> list[str]:
    leads = number % 12 == 0
    return [
        f"{GIVEN[number % 10]} {GIVEN[number // 10 % 10]}",
        SURNAMES[number % 11],
        SURNAMES[number // 11 % 11],
        f"persona{number}@example.org",
        f"+1 555 01{number % 100:02}",
        *CITIES[number % 5],
        "en" if number % 10 == 0 else "es",
        "sintetico; taller" if number % 3 == 0 else "sintetico",
        "Academia" if leads else "",
        f"Casa {number % 200}" if leads else "",
        "Coordinación" if leads else "",
    ]


def _import(directory: Path, path: Path, sheet: Path) -> float:
    database = Database(Settings(database_url=f"sqlite:///{path}", data_dir=directory), load_keys(directory))
    started = time.perf_counter()
    with database.session() as session:
        begun = imports.begin(session, sheet, sheet.name, basis=BASIS)
    done = imports.run(database, begun.id, sheet)
    taken = time.perf_counter() - started
    database.dispose()
    if done.counts["created"] != COUNT:
        raise RuntimeError(f"not everyone came in: {done.counts}")
    return taken


def _insert(written: Path, path: Path) -> float:
    """Seconds to insert every row of one database into another by one executemany per table, in one transaction."""
    tables = _rows_of(written)
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")
    started = time.perf_counter()
    connection.execute("BEGIN IMMEDIATE")
    for statement, values in tables:
        connection.executemany(statement, values)
    connection.execute("COMMIT")
    taken = time.perf_counter() - started
    connection.close()
    return taken


def _rows_of(path: Path) -> list[tuple[str, list[tuple[Any, ...]]]]:
    """An INSERT and its rows for each table that holds any, parents before children."""
    found = []
    connection = sqlite3.connect(path)
    for table in Base.metadata.sorted_tables:
        values = connection.execute(str(sa.select(table).compile(dialect=sqlite.dialect()))).fetchall()
        if values:
            names = ", ".join(f'"{column.name}"' for column in table.columns)
            marks = ", ".join("?" for _ in table.columns)
            found.append((f'INSERT INTO "{table.name}" ({names}) VALUES ({marks})', values))  # noqa: S608  # names of our own models
    connection.close()
    return found


if __name__ == "__main__":
    for row in rows():
        print(row)
