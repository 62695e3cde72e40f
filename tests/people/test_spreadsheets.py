"""Spreadsheets read as rows of text, and files that are not what they say refused."""

import csv
import io
import struct
import subprocess
import sys
import zipfile
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter
from hypothesis import assume, given
from hypothesis import strategies as st

from crm.errors import CrmError
from crm.people import spreadsheets
from crm.people.apart import text_of
from crm.people.spreadsheets import Row, open_spreadsheet
from crm.people.workbooks import SHEET_ROWS

HEADER = ["Nombre", "Primer apellido", "Correo"]


def workbook(rows: list[list[Any]]) -> bytes:
    """An .xlsx; a cell that is a (formula, value) pair is a formula with its stored value, a str is always text."""
    written = io.BytesIO()
    with xlsxwriter.Workbook(written, {"in_memory": True}) as book:
        sheet = book.add_worksheet()
        day = book.add_format({"num_format": "yyyy-mm-dd"})
        for number, cells in enumerate(rows):
            for index, cell in enumerate(cells):
                if isinstance(cell, tuple):
                    sheet.write_formula(number, index, cell[0], None, cell[1])
                elif isinstance(cell, str):
                    sheet.write_string(number, index, cell)
                elif isinstance(cell, datetime | date):
                    sheet.write_datetime(number, index, cell, day)
                else:
                    sheet.write(number, index, cell)
    return written.getvalue()


def rows_of(body: bytes, file_name: str) -> list[Row]:
    return list(open_spreadsheet(body, file_name).rows())


def refusal(body: bytes, file_name: str) -> str:
    with pytest.raises(CrmError) as raised:
        rows_of(body, file_name)
    assert raised.value.sentence
    return raised.value.code


# --- text ------------------------------------------------------------------------------------------------------------------


@given(
    rows=st.lists(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=3, max_size=3)),
    delimiter=st.sampled_from([",", ";", "\t"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "cp1252"]),
)
def test_reads_back_any_csv_that_python_writes(rows: list[list[str]], delimiter: str, encoding: str) -> None:
    written = io.StringIO(newline="")
    csv.writer(written, delimiter=delimiter).writerows([HEADER, *rows])
    try:
        body = written.getvalue().encode(encoding)
    except UnicodeEncodeError:
        assume(False)
    assume(encoding != "cp1252" or not is_utf8(body) or body.isascii())
    kept = [(number, cells) for number, cells in enumerate(rows, start=2) if any(cell.strip() for cell in cells)]
    assert rows_of(body, "red.csv") == [(1, HEADER), *kept]


def is_utf8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


@given(st.binary(), st.sampled_from(["red.csv", "red.xlsx"]))
def test_refuses_or_reads_any_bytes(body: bytes, file_name: str) -> None:
    rows: list[Row] = []
    told = "read"
    try:
        rows = rows_of(body, file_name)
    except CrmError as error:
        told = error.sentence
    assert told, "who is refused is told what to do"
    assert all(isinstance(cell, str) for _, cells in rows for cell in cells)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_tells_the_encoding_and_the_delimiter(encoding: str, delimiter: str) -> None:
    lines = [delimiter.join(HEADER), delimiter.join(["José «Pepe»", "Núñez, López; y otros\tmás".join('""'), "pepe@example.org"])]
    sheet = open_spreadsheet("\r\n".join(lines).encode(encoding), "red.csv")
    assert (sheet.encoding, sheet.delimiter) == (encoding, delimiter)
    assert list(sheet.rows()) == [(1, HEADER), (2, ["José «Pepe»", "Núñez, López; y otros\tmás", "pepe@example.org"])]


def test_believes_utf_8_only_when_every_byte_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spreadsheets, "_CHUNK", 7)  # so that letters are cut between two readings
    late = "Correo\n" + "a\n" * 200 + "Núñez"
    assert open_spreadsheet(late.encode(), "red.csv").encoding == "utf-8"
    assert open_spreadsheet(late.encode("cp1252"), "red.csv").encoding == "cp1252"
    assert open_spreadsheet(late.encode()[:-1] + "ñ".encode()[:1], "red.csv").encoding == "cp1252"


@pytest.mark.parametrize(("told", "codec"), [("latin-1", "latin-1"), ("mac-roman", "mac-roman"), ("cp850", "cp850")])
def test_reads_a_text_as_a_person_says(told: str, codec: str) -> None:
    body = "Nombre;Correo\nÁngel Núñez;a@example.org\n".encode(codec)
    sheet = open_spreadsheet(body, "red.csv", encoding=told)
    assert list(sheet.rows())[1] == (2, ["Ángel Núñez", "a@example.org"])


def test_knows_the_letters_of_an_old_mac_and_leaves_those_of_windows_alone() -> None:
    body = "Teléfono;Ciudad\n55;México\n56;Cancún\n57;Peñón\n"
    assert open_spreadsheet(body.encode("mac-roman"), "red.csv").encoding == "mac-roman"
    assert open_spreadsheet(body.encode("cp1252"), "red.csv").encoding == "cp1252"
    signs = "Nombre;Nota\nŽižek;uno — dos – tres—cuatro\nD’Angelo;œuvre\n"
    assert open_spreadsheet(signs.encode("cp1252"), "red.csv").encoding == "cp1252"


@pytest.mark.parametrize("told", ["utf-8", "utf-16", "cp1252"])
def test_refuses_to_read_a_text_as_what_it_is_not(told: str) -> None:
    with pytest.raises(CrmError) as raised:
        open_spreadsheet(b"Nombre;Correo\nN\xf1\x81;a@example.org\n", "red.csv", encoding=told)
    assert (raised.value.code, raised.value.field) == ("sheet_encoding_differs", "encoding")


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("told", [None, "utf-16"])
def test_knows_utf_16_without_its_mark(codec: str, told: str | None) -> None:
    sheet = open_spreadsheet("Teléfono\tCorreo\n5\ta@example.org\n".encode(codec), "red.txt", encoding=told)
    assert (sheet.encoding, next(sheet.rows())) == (codec, (1, ["Teléfono", "Correo"]))


def test_keeps_the_numbers_of_rows_when_some_are_empty() -> None:
    assert [number for number, _ in rows_of(b"Nombre,Correo\n\nAna,a@example.org\n , \n\nLuz,\n", "red.csv")] == [1, 3, 6]


def test_sniffs_one_column_by_the_rows_that_agree() -> None:
    assert rows_of(b"Correo\na;b\nc;d\n", "red.csv") == [(1, ["Correo"]), (2, ["a;b"]), (3, ["c;d"])]


def test_reads_the_same_rows_twice_and_from_a_path(tmp_path: Path) -> None:
    path = tmp_path / "red.csv"
    path.write_bytes(b"Correo\na@example.org\n")
    sheet = open_spreadsheet(path, path.name)
    assert list(sheet.rows()) == list(sheet.rows()) == rows_of(path.read_bytes(), "RED.CSV")
    assert sheet.sha256 == open_spreadsheet(path.read_bytes(), "otro.csv").sha256


@pytest.mark.parametrize(
    ("body", "file_name", "code"),
    [
        (b"", "red.csv", "file_empty"),
        (b"Correo\n", "red.xls", "sheet_not_what_it_says"),
        (b"<html><table>\t</table>", "red.xls", "sheet_not_what_it_says"),
        (b"Correo\n", "red.pdf", "sheet_format_unknown"),
        (b"Correo\n", "red", "sheet_format_unknown"),
        (b"%PDF-1.7\n", "red.csv", "sheet_not_what_it_says"),
        (b"%PDF-1.7\n", "red.xlsx", "sheet_not_what_it_says"),
        (b"PK\x03\x04 and then nothing", "red.xlsx", "sheet_not_what_it_says"),
        (workbook([HEADER]), "red.csv", "sheet_not_what_it_says"),
        ("Correo\n".encode("utf-16") + b"\n", "red.csv", "sheet_encoding_unknown"),
        (b"Correo\nN\0\n", "red.csv", "sheet_not_what_it_says"),
        (b"Correo\nN\xf1\x81\n", "red.csv", "sheet_encoding_unknown"),
        (b'Correo\na\n"b\nc\n', "red.csv", "sheet_malformed"),
        (b"Correo\na\n" + b"b" * 2**17 + b"c\n", "red.csv", "sheet_cell_too_long"),
    ],
)
def test_refuses_a_file_that_is_not_a_sheet(body: bytes, file_name: str, code: str) -> None:
    assert refusal(body, file_name) == code


def test_names_the_row_whose_quotes_never_close() -> None:
    with pytest.raises(CrmError) as raised:
        rows_of(b'Correo\na\n"b\nc\n', "red.csv")
    assert "La fila 3 " in raised.value.sentence


# --- workbooks -------------------------------------------------------------------------------------------------------------


def test_reads_stored_values_as_text() -> None:
    body = workbook(
        [
            ["Nombre", "Teléfono", "Fecha", "Fórmula", "Verdad", "Fracción"],
            ["=Ana", 5555550100.0, datetime(2027, 1, 7), ("=1+1", "dos"), True, 1.5],  # noqa: DTZ001  # cells have no zone
            [],
            ["Núñez", ("=5555550100+1", 5555550101), None, ("=A1", "Nombre"), False],
        ]
    )
    assert rows_of(body, "red.xlsx")[1:] == [
        (2, ["=Ana", "5555550100", "2027-01-07", "dos", "sí", "1.5"]),
        (4, ["Núñez", "5555550101", "", "Nombre", "no", ""]),
    ]


def test_tells_each_kind_of_value_as_text() -> None:
    values: list[Any] = [1e22, -0.0, 3, 0.1, time(9, 30), datetime(2027, 1, 7, 10, 5), "a\0b"]  # noqa: DTZ001  # cells have no zone
    assert [text_of(value) for value in values] == ["1" + "0" * 22, "-0", "3", "0.1", "09:30:00", "2027-01-07 10:05:00", "ab"]


def test_reads_the_first_sheet_that_is_seen() -> None:
    written = io.BytesIO()
    with xlsxwriter.Workbook(written, {"in_memory": True}) as book:
        hidden = book.add_worksheet("notas")
        hidden.write_string(0, 0, "oculta")
        book.add_worksheet("red").write_string(0, 0, "Correo")
        book.get_worksheet_by_name("red").activate()
        hidden.hide()
    assert rows_of(written.getvalue(), "red.xlsx") == [(1, ["Correo"])]


def test_refuses_a_sheet_of_more_rows_than_it_may_hold() -> None:
    assert refusal(with_cell("A", SHEET_ROWS + 2), "red.xlsx") == "sheet_too_large"


def test_takes_a_sheet_of_just_as_many_rows() -> None:
    assert rows_of(with_cell("A", SHEET_ROWS + 1), "red.xlsx")[-1][0] == SHEET_ROWS + 1


def test_refuses_a_lone_cell_far_to_the_right() -> None:
    assert refusal(with_cell("XFD", 1), "red.xlsx") == "sheet_too_wide"
    assert refusal(with_cell("CW", 1), "red.xlsx") == "sheet_too_wide"
    assert rows_of(with_cell("CV", 1), "red.xlsx")


def test_takes_far_cells_that_are_only_coloured() -> None:
    assert rows_of(with_cell("XFD", 1, empty=True), "red.xlsx") == [(1, HEADER)]


def with_cell(column: str, row: int, *, empty: bool = False) -> bytes:
    """A workbook with one more cell, written into its XML by hand."""
    cell = f'<c r="{column}{row}" s="0"/>' if empty else f'<c r="{column}{row}"><v>1</v></c>'
    more = f"{cell}</row>" if row == 1 else f'</row><row r="{row}">{cell}</row>'
    return rewritten(workbook([HEADER]), "xl/worksheets/sheet1.xml", lambda text: text.replace("</row>", more))


@pytest.mark.parametrize(
    ("cells", "code"),
    [
        ('<c r="xfd90000"><v>1</v></c>', "sheet_too_wide"),
        ("<c><v>1</v></c>" * 150, "sheet_too_wide"),
        ('<c r="A1x"><v>1</v></c>', "sheet_not_what_it_says"),
        (f'<c r="{"r=ZZZ1 " * 50_000}"/>', "sheet_not_what_it_says"),
        ("<c>", "sheet_not_what_it_says"),
    ],
)
def test_refuses_cells_that_would_fill_the_memory_or_the_time(cells: str, code: str) -> None:
    body = rewritten(workbook([HEADER]), "xl/worksheets/sheet1.xml", lambda text: text.replace("</row>", cells + "</row>"))
    assert refusal(body, "red.xlsx") == code


def rewritten(body: bytes, name: str, change: Any) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(body)) as old, zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.namelist():
            text = old.read(member).decode()
            new.writestr(member, change(text) if member == name else text)
    return written.getvalue()


def test_refuses_a_bomb_by_its_declared_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spreadsheets, "UNPACKED_LIMIT", 2**20)
    body = rewritten(workbook([HEADER]), "docProps/app.xml", lambda text: text + " " * 2**20)
    assert refusal(body, "red.xlsx") == "sheet_unpacks_too_large"


def test_refuses_a_bomb_that_lies_about_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spreadsheets, "UNPACKED_LIMIT", 2**20)
    body = rewritten(workbook([HEADER]), "docProps/app.xml", lambda _: " " * 2**21)
    lying = bytearray(body)
    entry = body.rindex(b"docProps/app.xml") - 46  # in the central directory
    assert struct.unpack_from("<L", body, entry + 24) == (2**21,)
    struct.pack_into("<L", lying, entry + 24, 9)
    assert refusal(bytes(lying), "red.xlsx") == "sheet_unpacks_too_large"


def test_refuses_a_zip_without_a_workbook() -> None:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        archive.writestr("nota.txt", "Correo")
    assert refusal(written.getvalue(), "red.xlsx") == "sheet_not_what_it_says"


def test_refuses_a_workbook_of_broken_xml() -> None:
    body = rewritten(workbook([HEADER]), "xl/workbook.xml", lambda text: text[: len(text) // 2])
    assert refusal(body, "red.xlsx") == "sheet_not_what_it_says"


# --- memory ----------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_reads_a_long_csv_in_constant_memory(tmp_path: Path) -> None:
    path = tmp_path / "red.csv"
    with path.open("w", encoding="utf-8") as file:
        file.write("Nombre,Correo\n")
        file.writelines(f"Ana,persona{number}@example.org\n" for number in range(300_000))
    told = subprocess.run([sys.executable, "-c", WALK, str(path)], capture_output=True, text=True, check=True).stdout.split()
    assert int(told[0]) == 300_001
    assert int(told[1]) < 20_000, "kB more than before the file was opened"


WALK = """
import re, sys
from pathlib import Path
from crm.people.spreadsheets import open_spreadsheet
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
before = peak()
print(sum(1 for _ in open_spreadsheet(Path(sys.argv[1]), "red.csv").rows()), peak() - before)
"""
