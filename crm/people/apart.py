"""Workbooks read apart: in a process of its own with bounded memory and time, since a file of some KB can ask its reader for
gigabytes in more ways than one can check beforehand, and an out-of-memory of the reader ends the process that it is in.

    python -m crm.people.apart look KIND            its sheets that are seen: a line of JSON
    python -m crm.people.apart rows KIND [SHEET]    its rows: a line of JSON for each, numbers from 1

The file comes by standard input. An error of the house is a last line {"error": code, ...}.
"""

import io
import json
import resource
import sys
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from typing import Any

from python_calamine import CalamineError, CalamineSheet, CalamineWorkbook, SheetTypeEnum, SheetVisibleEnum

from crm.errors import CrmError, InvalidInput, TooLarge
from crm.people import old_workbooks
from crm.people.workbooks import SHEET_COLUMNS, SHEET_ROWS

Value = int | float | str | bool | time | date | datetime | timedelta
MEMORY = 1536 * 2**20
"""Most bytes of addresses of the process: ten times what the largest list that is taken needs."""
SECONDS = 60
"""Most of its time on a processor."""
CELL = 128 * 2**10
"""Longest cell, in characters; as `csv.field_size_limit` has it for texts."""


def main(deed: str, kind: str, sheet: str | None = None) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    body = sys.stdin.buffer.read()
    try:
        if deed == "look":
            _say(old_workbooks.look(body) if kind == "xls" else dict.fromkeys(_names(body), ()))
            return
        rows = old_workbooks.rows(body, sheet) if kind == "xls" else _rows(body, sheet)
        for number, cells in rows:
            _say([number, _texts(number, cells)])
    except CrmError as error:
        _say({"error": error.code, "field": error.field, "too_large": isinstance(error, TooLarge), "details": error.details})


def _say(told: Any) -> None:
    sys.stdout.write(json.dumps(told) + "\n")


def _texts(number: int, cells: list[Value]) -> list[str]:
    if number > SHEET_ROWS + 1:
        raise TooLarge("sheet_too_large", field="file", limit=f"{SHEET_ROWS:,}")
    texts = [text_of(cell) for cell in cells]
    if any(len(text) > CELL for text in texts):
        raise InvalidInput("sheet_cell_too_long", field="file", row=f"{number:,}", limit=CELL // 2**10)
    if any(map(str.strip, texts[SHEET_COLUMNS:])):
        raise TooLarge("sheet_too_wide", field="file", limit=SHEET_COLUMNS)
    return texts[:SHEET_COLUMNS]


def _names(body: bytes) -> list[str]:
    try:
        with CalamineWorkbook.from_filelike(io.BytesIO(body)) as book:
            return [sheet.name for sheet in book.sheets_metadata if _is_seen(sheet)]
    except CalamineError as error:
        raise InvalidInput("sheet_not_what_it_says", field="file") from error


def _is_seen(sheet: Any) -> bool:
    return sheet.visible is SheetVisibleEnum.Visible and sheet.typ is SheetTypeEnum.WorkSheet


def _rows(body: bytes, name: str | None) -> Iterator[tuple[int, list[Value]]]:
    try:
        with CalamineWorkbook.from_filelike(io.BytesIO(body)) as book:
            rows = _sheet_of(book, name).iter_rows()
    except (CalamineError, StopIteration) as error:
        raise InvalidInput("sheet_not_what_it_says", field="file") from error
    return enumerate(rows, start=1)


def _sheet_of(book: CalamineWorkbook, name: str | None) -> CalamineSheet:
    """The sheet of a name, or the first one that a person sees on opening the file; InvalidInput(sheet_not_found)."""
    seen = [index for index, sheet in enumerate(book.sheets_metadata) if _is_seen(sheet) and name in (None, sheet.name)]
    if name is not None and not seen:
        raise InvalidInput("sheet_not_found", field="sheet")
    return book.get_sheet_by_index(next(iter(seen)))


def text_of(value: Value) -> str:
    """A stored value as text: whole numbers without a fraction, days and instants in ISO 8601, truth as sí or no."""
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, bool):
        return "sí" if value else "no"
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() else repr(value)
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == time() else value.isoformat(" ", "seconds")
    if isinstance(value, date | time):
        return value.isoformat()
    return str(value)


if __name__ == "__main__":
    main(*sys.argv[1:])
