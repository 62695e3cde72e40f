"""The spreadsheets of the demo, written as somebody of the unit would keep them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import xlsxwriter

from crm.demo.network import Person
from crm.people.words import SECTOR_WORDS

SOURCE = "Red sintética de demostración"
_HEADERS = (
    "Nombre(s)", "Primer apellido", "Segundo apellido", "Correo electrónico", "Correo 2", "Teléfono", "Ciudad", "País", "Idioma",
    "Trato", "Alcaldía de origen", "Sector de liderazgo", "Organización", "Cargo", "Etiquetas", "Fuente",
)  # fmt: skip
_WIDTHS = (22, 18, 18, 38, 38, 16, 20, 18, 10, 10, 22, 24, 38, 26, 34, 30)
_MADE_ON = datetime(2026, 11, 22, tzinfo=UTC)
"""Kept in the file, so that the same people make the same bytes."""


def write(path: Path, people: Sequence[Person]) -> None:
    """Write an .xlsx file with one row per person under a frozen header, in place of any file that is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with xlsxwriter.Workbook(str(path), {"strings_to_urls": False, "strings_to_formulas": False}) as book:
        book.set_properties({"title": SOURCE, "comments": "Personas inventadas; ninguna existe.", "created": _MADE_ON})
        sheet = book.add_worksheet("Red")
        sheet.write_row(0, 0, _HEADERS, book.add_format({"bold": True}))
        sheet.freeze_panes(1, 0)
        for column, width in enumerate(_WIDTHS):
            sheet.set_column(column, column, width)
        for row, person in enumerate(people, start=1):
            sheet.write_row(row, 0, _cells(person))


def _cells(person: Person) -> tuple[str, ...]:
    name = person.name
    who = (name.given, name.first, name.second, person.address, person.second_address, person.phone)
    where = (person.city, person.country, person.language, person.treatment, person.borough)
    what = (SECTOR_WORDS[person.sector] if person.sector else "", person.organization, person.post)
    return (*who, *where, *what, "; ".join(person.tags), SOURCE)
