"""Workbooks of Excel 97-2003 (.xls), which some offices still send: their stored values, as `spreadsheets` wants them."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import xlrd

from crm.errors import InvalidInput
from crm.people.workbooks import Hidden, unpacks_too_large

SHEETS = 50
"""Most sheets of a workbook: each is laid out to be looked at, and many may be the same one under other names."""


@contextmanager
def _opened(body: bytes) -> Iterator[Any]:
    """The workbook; sheet_not_what_it_says for whatever the reader stumbles over in a broken file."""
    try:
        book = xlrd.open_workbook(file_contents=body, on_demand=True, formatting_info=True, ragged_rows=True, logfile=io.StringIO())
    except MemoryError:
        raise
    except Exception as error:  # the library tells a broken file by many kinds of errors, of its own and of the language
        raise InvalidInput("sheet_not_what_it_says", field="file") from error
    with book:
        if book.nsheets > SHEETS:
            raise unpacks_too_large()
        yield book


def look(body: bytes) -> Hidden:
    """The sheets that a person sees and that hold cells, in order, each with its hidden rows that say something."""
    with _opened(body) as book:
        seen = [sheet for sheet in _read(book) if sheet.visibility == 0]
        return {sheet.name: tuple(_hidden(sheet)) for sheet in seen}


def _read(book: Any) -> list[Any]:
    try:
        return list(book.sheets())
    except MemoryError:
        raise
    except Exception as error:  # as above
        raise InvalidInput("sheet_not_what_it_says", field="file") from error


def _hidden(sheet: Any) -> Iterator[int]:
    for index in sorted(sheet.rowinfo_map):
        if sheet.rowinfo_map[index].hidden and index < sheet.nrows and any(str(value).strip() for value in sheet.row_values(index)):
            yield index + 1


def rows(body: bytes, name: str | None) -> Iterator[tuple[int, list[Any]]]:
    """Rows of the sheet of a name, or of the first one that is seen; sheet_not_found."""
    with _opened(body) as book:
        seen = [sheet for sheet in _read(book) if sheet.visibility == 0 and name in (None, sheet.name)]
        if not seen:
            raise InvalidInput("sheet_not_found", field="sheet") if name else InvalidInput("sheet_not_what_it_says", field="file")
        sheet = seen[0]
        for index in range(sheet.nrows):
            yield index + 1, [_value(book, cell) for cell in sheet.row(index)]


def _value(book: Any, cell: Any) -> Any:
    if cell.ctype == xlrd.XL_CELL_DATE:
        try:
            return xlrd.xldate_as_datetime(cell.value, book.datemode)
        except (ValueError, OverflowError, xlrd.xldate.XLDateError):
            return cell.value
    if cell.ctype == xlrd.XL_CELL_BOOLEAN:
        return bool(cell.value)
    if cell.ctype == xlrd.XL_CELL_ERROR:
        return xlrd.error_text_from_code.get(cell.value, "")
    return cell.value
