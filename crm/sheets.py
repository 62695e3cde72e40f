"""Tables as files that a spreadsheet opens: CSV and XLSX, in which no cell is ever a formula."""

import csv
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from io import BytesIO, StringIO

import xlsxwriter

FORMULA_SIGNS = "=+-@\t\r"
"""A cell of text that begins with one of these would be run by a spreadsheet (CWE-1236)."""
GUARD = "'"
"""Put before such a cell in a CSV; a list that comes in again loses it: see `unguarded`."""
_UNSEEN = " \u00a0\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff\n"
CSV_TYPE = "text/csv; charset=utf-8"
XLSX_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"

Cell = str | int | date | None


def csv_file(headers: Sequence[str], rows: Iterable[Sequence[Cell]]) -> bytes:
    """A CSV (RFC 4180) in UTF-8 with the mark by which Excel knows it; numbers stay numbers, dates are ISO."""
    text = StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow([_safe(header) for header in headers])
    writer.writerows([_safe(cell) for cell in row] for row in rows)
    return text.getvalue().encode("utf-8-sig")


def _safe(cell: Cell) -> str | int:
    if isinstance(cell, int):
        return cell
    text = "" if cell is None else cell.isoformat() if isinstance(cell, date) else cell
    return GUARD + text if _is_formula(text) else text


def _is_formula(text: str) -> bool:
    """Whether a spreadsheet might run it: by its first sign that is seen, a full-width one too."""
    seen = unicodedata.normalize("NFKC", text[:40]).lstrip(_UNSEEN)
    return (seen[:1] in FORMULA_SIGNS and seen != "") or (text[:1] in FORMULA_SIGNS and text != "")


def unguarded(cell: str) -> str:
    """A cell as it was before `csv_file` made it safe."""
    return cell[1:] if cell[:1] == GUARD and _is_formula(cell[1:]) else cell


def xlsx_file(title: str, headers: Sequence[str], rows: Iterable[Sequence[Cell]]) -> bytes:
    """A workbook of one sheet, its header frozen and with filters. Texts are texts, whatever they begin with."""
    body = BytesIO()
    options = {"strings_to_urls": False, "strings_to_formulas": False, "strings_to_numbers": False, "constant_memory": True}
    with xlsxwriter.Workbook(body, options) as book:
        book.set_properties({"title": title})
        day = book.add_format({"num_format": "yyyy-mm-dd"})
        sheet = book.add_worksheet("Datos")
        sheet.write_row(0, 0, headers, book.add_format({"bold": True, "text_wrap": True}))
        sheet.freeze_panes(1, 0)
        last = 0
        for last, row in enumerate(rows, start=1):
            for column, cell in enumerate(row):
                if isinstance(cell, date):
                    sheet.write_datetime(last, column, datetime(cell.year, cell.month, cell.day), day)  # noqa: DTZ001  # a day
                elif isinstance(cell, int):
                    sheet.write_number(last, column, cell)
                elif cell:
                    sheet.write_string(last, column, cell[:32_767])
        sheet.autofilter(0, 0, max(last, 1), max(len(headers) - 1, 0))
        sheet.set_column(0, max(len(headers) - 1, 0), 20)
    return body.getvalue()
