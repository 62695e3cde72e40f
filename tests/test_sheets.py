"""Tables as files: no cell is a formula, and what was written is read back."""

import csv
from io import BytesIO, StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from python_calamine import CalamineWorkbook

from crm import sheets

pytestmark = pytest.mark.once

TEXTS = st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=40)


@given(st.lists(st.lists(TEXTS, min_size=2, max_size=2), max_size=6))
def test_a_csv_holds_no_formula_and_loses_nothing(rows: list[list[str]]) -> None:
    text = sheets.csv_file(["a", "b"], rows).decode("utf-8-sig")
    read = list(csv.reader(StringIO(text, newline="")))[1:]
    assert not any(cell.startswith(tuple(sheets.FORMULA_SIGNS)) for row in read for cell in row)
    guarded = [cell for row in rows for cell in row if cell.startswith(sheets.GUARD)]
    if not guarded:
        assert [[sheets.unguarded(cell) for cell in row] for row in read] == rows


def test_a_workbook_holds_texts_as_texts_and_numbers_as_numbers() -> None:
    body = sheets.xlsx_file("Prueba", ["a", "b"], [["=1+1", 7], ["+52 55 0000 0000", 0], ["@x", -3], ["https://x.example", None]])
    rows = CalamineWorkbook.from_filelike(BytesIO(body)).get_sheet_by_index(0).to_python()
    assert [row[0] for row in rows] == ["a", "=1+1", "+52 55 0000 0000", "@x", "https://x.example"]
    assert [row[1] for row in rows[1:4]] == [7, 0, -3]
