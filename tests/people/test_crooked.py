"""Lists as offices send them: old workbooks, other alphabets, titles above the header, hidden rows, what the Red must not hold."""

import io
import resource
import struct
import time
import zipfile
from contextlib import suppress
from typing import Any
from xml.sax.saxutils import escape

import pytest
import sqlalchemy as sa
import xlsxwriter
import xlwt  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st
from xlwt import CompoundDoc

from crm.database import Database
from crm.errors import CrmError
from crm.people import columns, contacts, imports, old_workbooks
from crm.people.full_names import split_surnames_first
from crm.people.imports import Layout
from crm.people.merging import Rule, Rules
from crm.people.models import Contact, RowStatus
from crm.people.schemas import ContactIn
from crm.people.spreadsheets import open_spreadsheet


def people(database: Database) -> list[Contact]:
    with database.session(write=False) as session:
        return list(session.scalars(sa.select(Contact)))


ROWS = [["Nombre", "Primer apellido", "Correo"], ["Ana", "Núñez", "ana@example.org"], ["José", "Peña", "jose@example.org"]]
TITLES = [["Consulado en Dallas: asistentes al taller"], ["Actualizado el 3 de noviembre"], []]
CURP = "NULA900101MDFXXX09"


def text(rows: list[list[str]], delimiter: str, encoding: str) -> bytes:
    return "\r\n".join(delimiter.join(cells) for cells in rows).encode(encoding)


def old_workbook(rows: list[list[Any]], hidden: tuple[int, ...] = (), unseen: bool = False) -> bytes:
    book = xlwt.Workbook()
    if unseen:
        first = book.add_sheet("Listas")
        first.visibility = 1
        first.write(0, 0, "No se ve")
    sheet = book.add_sheet("Asistentes")
    for number, cells in enumerate(rows):
        for place, cell in enumerate(cells):
            sheet.write(number, place, cell)
    for number in hidden:
        sheet.row(number - 1).hidden = True
    if unseen:
        book.set_active_sheet(1)
    written = io.BytesIO()
    book.save(written)
    return written.getvalue()


def new_workbook(rows: list[list[Any]], hidden: tuple[int, ...] = ()) -> bytes:
    written = io.BytesIO()
    with xlsxwriter.Workbook(written, {"in_memory": True}) as book:
        book.add_worksheet("Portada").write(0, 0, "Red")
        sheet = book.add_worksheet("Asistentes")
        for number, cells in enumerate(rows):
            sheet.write_row(number, 0, cells)
        for number in hidden:
            sheet.set_row(number - 1, None, None, {"hidden": True})
    return written.getvalue()


def open_document(rows: list[list[str]], hidden: tuple[int, ...] = (), tail: str = "") -> bytes:
    """An .ods as LibreOffice writes it, with the empty rest of the sheet at its end."""
    spaces = " ".join(
        f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"' for name in ("office", "table", "text", "style")
    )
    written = []
    for number, cells in enumerate(rows, start=1):
        inside = "".join(
            f'<table:table-cell office:value-type="string"><text:p>{escape(cell)}</text:p></table:table-cell>' for cell in cells
        )
        seen = ' table:visibility="filter"' if number in hidden else ""
        written.append(
            f'<table:table-row{seen}>{inside}<table:table-cell table:number-columns-repeated="16370"/></table:table-row>'
        )
    rest = (
        '<table:table-row table:number-rows-repeated="1048000"><table:table-cell table:number-columns-repeated="16384"/>'
        "</table:table-row>"
    )
    content = (
        f'<?xml version="1.0" encoding="UTF-8"?><office:document-content {spaces}><office:body><office:spreadsheet>'
        f'<table:table table:name="Asistentes">{"".join(written)}{tail}{rest}</table:table>'
        "</office:spreadsheet></office:body></office:document-content>"
    )
    kind = "application/vnd.oasis.opendocument.spreadsheet"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", kind)
        archive.writestr("content.xml", content)
        archive.writestr(
            "META-INF/manifest.xml",
            '<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0">'
            f'<manifest:file-entry manifest:full-path="/" manifest:media-type="{kind}"/></manifest:manifest>',
        )
    return packed.getvalue()


FILES = {
    "UTF-16 with tabs": (text(ROWS, "\t", "utf-16"), "lista.txt"),
    "UTF-16 of the other order": (b"\xfe\xff" + text(ROWS, ";", "utf-16-be"), "lista.csv"),
    "a console of DOS": (text(ROWS, ";", "cp850"), "lista.csv"),
    "capitals of DOS": (text([ROWS[0], ["JOSÉ", "NÚÑEZ", "jose@example.org"]], ";", "cp850"), "lista.csv"),
    "Windows": (text(ROWS, ";", "cp1252"), "lista.csv"),
    "pipes": (text(ROWS, "|", "utf-8"), "lista.txt"),
    "titles above": (text(TITLES + ROWS, ";", "utf-8"), "lista.csv"),
    "a line for Excel": (text([["sep=;"], *ROWS], ";", "utf-8"), "lista.csv"),
    "an old workbook": (old_workbook(TITLES + ROWS), "lista.xls"),
    "an old workbook whose first sheet is hidden": (old_workbook(ROWS, unseen=True), "lista.xls"),
    "text under the name of an old workbook": (text(ROWS, "\t", "utf-16"), "lista.xls"),
    "a new workbook under the name of an old one": (new_workbook(ROWS), "lista.xls"),
    "an open document": (open_document(TITLES + ROWS), "lista.ods"),
}


@pytest.mark.parametrize("kind", FILES)
def test_takes_in_what_an_office_sends(database: Database, kind: str) -> None:
    body, name = FILES[kind]
    layout = Layout("Asistentes") if kind.startswith("a new") else Layout()
    checked = imports.check(database, body, name, layout=layout)
    assert checked.columns.headers == ROWS[0]
    assert checked.counts["refused"] == 0
    with database.session() as session:
        number = imports.begin(session, body, name, layout=layout).id
    imports.run(database, number, body)
    names = {(one.given_names, one.first_surname) for one in people(database)}
    assert names == ({("JOSÉ", "NÚÑEZ")} if kind.startswith("capitals") else {("Ana", "Núñez"), ("José", "Peña")})


@pytest.mark.parametrize("make", [old_workbook, new_workbook, open_document])
def test_tells_the_rows_that_are_hidden(make: Any) -> None:
    name = {old_workbook: "l.xls", new_workbook: "l.xlsx", open_document: "l.ods"}[make]
    accepted = open_spreadsheet(make(ROWS, hidden=(3,)), name, "Asistentes")
    assert accepted.hidden_rows == (3,)
    assert [number for number, _ in accepted.rows()] == [1, 2, 3], "they are read all the same"
    assert open_spreadsheet(make(ROWS), name, "Asistentes").hidden_rows == ()
    assert accepted.sheets[-1] == "Asistentes"


@pytest.mark.parametrize(
    ("tail", "code"),
    [
        ('<table:table-row><table:table-cell office:value-type="float" table:number-columns-repeated="9999999"/></table:table-row>',
         "sheet_too_wide"),
        ('<table:table-row table:number-rows-repeated="1000000"><table:table-cell office:value-type="string"/></table:table-row>',
         "sheet_too_large"),
        ("<table:table-row>", "sheet_not_what_it_says"),
    ],
)  # fmt: skip
def test_an_open_document_that_asks_for_too_much_is_refused(tail: str, code: str) -> None:
    with pytest.raises(CrmError) as raised:
        list(open_spreadsheet(open_document(ROWS, tail=tail), "l.ods").rows())
    assert raised.value.code == code


@given(st.binary(max_size=400), st.integers(0, 5000))
def test_a_broken_old_workbook_is_refused_in_a_sentence(rubbish: bytes, place: int) -> None:
    whole = old_workbook(ROWS)
    place %= len(whole)
    body = whole[:place] + rubbish + whole[place + len(rubbish) :]
    rows = []
    with suppress(CrmError):  # and nothing else
        old_workbooks.look(body)
        rows = list(old_workbooks.rows(body, None))
    assert [number for number, _ in rows] == list(range(1, len(rows) + 1))


def test_the_row_of_the_header_may_be_told() -> None:
    """Two rows could be it; a person says which."""
    body = text([["Contacto", "Correo"], ["Nombre", "Correo"], ["Ana", "ana@example.org"]], ";", "utf-8")
    told = imports._open(body, "l.csv", Layout())
    assert [cells for _, cells in told.rows] == [["Nombre", "Correo"], ["Ana", "ana@example.org"]]
    told = imports._open(body, "l.csv", Layout(header=2))
    assert [number for number, _ in told.rows] == [3]


def check(database: Database, rows: list[list[str]]) -> imports.Checked:
    return imports.check(database, text(rows, ";", "utf-8"), "l.csv")


def test_does_not_read_what_the_red_must_not_hold(database: Database) -> None:
    headers = [
        "Nombre completo",
        "Correo",
        "CURP",
        "Clave de elector",
        "Partido",
        "Intención de voto",
        "Estatus migratorio",
        "Folio",
    ]
    row = ["Ana Núñez", "no es un correo", CURP, "NZLPAN90010109M100", "Uno", "Sí", "Visa", CURP]
    checked = check(database, [headers, row, ["José Peña", "jose@example.org", *[""] * 6]])
    assert checked.columns.not_read == headers[2:], "the last one by what it holds"
    assert checked.columns.unmatched == []
    (refused,) = checked.rows
    assert refused.status is RowStatus.REFUSED
    assert refused.values == {"Nombre completo": "Ana Núñez", "Correo": "no es un correo"}
    with pytest.raises(CrmError, match="no_person_column"):
        columns.match(["CURP"], ["full_name"], columns.forbidden(["CURP"], []))


def test_does_not_keep_a_document_in_a_column_of_something_else(database: Database) -> None:
    rows = [["Nombre", "Correo", "Notas"], *([f"Ana {letter}", f"{letter}@example.org", "va"] for letter in "abc")]
    rows.append(["Eva", "no", CURP.lower()])
    (refused,) = check(database, rows).rows
    assert refused.values == {"Nombre": "Eva", "Correo": "no"}


def test_refuses_a_phone_of_which_only_the_beginning_is_left(database: Database) -> None:
    checked = check(database, [["Nombre", "Teléfono"], ["Ana", "5.55E+09"], ["Eva", "5,55e+9"], ["Luz", "55 5555 0100"]])
    assert [(row.number, row.code) for row in checked.rows if row.status is RowStatus.REFUSED] == [
        (2, "phone_in_exponent"),
        (3, "phone_in_exponent"),
    ]


def test_understands_one_cell_that_holds_several_things(database: Database) -> None:
    rows = [
        ["Apellidos y nombre", "Correos", "Ciudad"],
        ["Núñez López Ana María", "ana@example.org; ana2@example.org", "Los Ángeles, California, Estados Unidos"],
        ["de la Cruz, Eva", "Eva <eva@example.org>", "Chicago, Illinois, EE. UU."],
    ]
    body = text(rows, "\t", "utf-8")
    with database.session() as session:
        number = imports.begin(session, body, "l.tsv").id
    imports.run(database, number, body)
    ana, eva = sorted(people(database), key=lambda one: one.given_names)
    assert (ana.given_names, ana.first_surname, ana.second_surname) == ("Ana María", "Núñez", "López")
    assert (eva.given_names, eva.first_surname, eva.second_surname) == ("Eva", "de la Cruz", None)
    assert ana.country == eva.country == "US"
    assert ana.city_id is not None


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Núñez López Ana", ("Ana", "Núñez", "López")),
        ("Núñez Ana María", ("Ana María", "Núñez", None)),
        ("Núñez Ana", ("Ana", "Núñez", None)),
        ("de la Cruz del Río María del Carmen", ("María del Carmen", "de la Cruz", "del Río")),
        ("Núñez López, Ana", ("Ana", "Núñez", "López")),
        ("", ("", "", None)),
    ],
)
def test_tells_surnames_before_names(text: str, parts: tuple[str, str, str | None]) -> None:
    assert split_surnames_first(text) == parts


@pytest.mark.parametrize(
    ("rules", "phone", "city", "tags", "given_names"),
    [
        ({}, "+1 555 0100", "Chicago", {"uno", "dos"}, "Ana"),
        ({"phone": "replace", "city": "replace", "full_name": "replace"}, "+1 555 0199", "Dallas", {"uno", "dos"}, "Ana María"),
        ({"tags": "keep", "phone": "keep", "region": "keep", "city": "replace"}, "+1 555 0100", "Chicago", {"uno"}, "Ana"),
    ],
)
def test_a_column_fills_replaces_or_does_not_touch(
    database: Database, rules: dict[str, str], phone: str, city: str, tags: set[str], given_names: str
) -> None:
    known = ContactIn(
        given_names="Ana", first_surname="Núñez", emails=["ana@example.org"], phone="+1 555 0100", city="Chicago", tags=["uno"]
    )
    with database.session() as session:
        contacts.take_in(session, known)
    headers = ["Nombre completo", "Correo", "Teléfono", "Ciudad", "Etiquetas", "Título"]
    body = text([headers, ["Ana María Núñez", "ana@example.org", "+1 555 0199", "Dallas", "dos", "Mtra."]], ";", "utf-8")
    layout = Layout(rules=rules)
    with database.session() as session:
        number = imports.begin(session, body, "l.csv", layout=layout).id
    imports.run(database, number, body)
    with database.session(write=False) as session:
        out = contacts.to_out(contacts.get(session, 1))
    assert (out.phone, out.city and out.city.name, set(out.tags), out.given_names) == (phone, city, tags, given_names)
    assert out.academic_title == "Mtra.", "what was empty is filled"
    again = imports.check(database, body, "l.csv", layout=layout)
    assert again.counts["unchanged"] == 1


def test_people_alike_are_told_and_not_joined(database: Database) -> None:
    with database.session() as session:
        contacts.take_in(session, ContactIn(given_names="Ana", first_surname="Núñez", emails=["ana@example.org"], city="Chicago"))
    rows = [
        ["Nombre", "Primer apellido", "Correo", "Ciudad"],
        ["Ana", "Nuñez", "otra@example.org", "Chicago"],
        ["Ana", "Núñez", "tercera@example.org", "Dallas"],
        ["Luz", "Vega", "luz@example.org", "Austin"],
        ["Luz", "Vega", "luz2@example.org", "Austin"],
    ]
    checked = check(database, rows)
    assert checked.counts["created"] == 4
    assert [(row.number, row.code) for row in checked.rows] == [(number, "possible_duplicate") for number in (2, 4, 5)]


@pytest.mark.parametrize("encoding", ["cp1252", "cp850"])
@pytest.mark.parametrize(
    "names",
    [
        ["Ana Núñez", "José Peña", "Lucía Ibáñez"],
        ["MARÍA LÓPEZ", "JOSÉ NÚÑEZ", "RAÚL PÉREZ", "ÓSCAR GARCÍA"],
        ["Álvaro Ríos", "Íñigo Güemes", "Óscar Muñoz", "Úrsula Peña"],
        ["Sofía"],
        ["¿Quién? ¡Él! Beatriz Zúñiga"],
    ],
)
def test_tells_windows_from_dos(names: list[str], encoding: str) -> None:
    body = text([["Nombre"], *([name] for name in names)], ";", encoding)
    assert [cells[0] for _, cells in open_spreadsheet(body, "l.csv").rows()][1:] == names


@pytest.mark.parametrize("names", [["JOSé NúñEZ", "ANDRéS PéREZ"], ["Ana\xa0Lopez", "Eva\xa0de\xa0la\xa0Cruz", "Peña"]])
def test_is_not_misled_by_capitals_and_spaces_of_windows(names: list[str]) -> None:
    body = text([["Nombre"], *([name] for name in names)], ";", "cp1252")
    assert [cells[0] for _, cells in open_spreadsheet(body, "l.csv").rows()][1:] == names


@pytest.mark.parametrize(
    "header",
    [
        "Cve. de elector", "Clave elec.", "Clave Única de Registro de Población", "INE vigente", "Voter ID", "Simpatía partidista",
        "Estatus inmigrante", "Undocumented",
        "CURP", "Clave de elector", "CLAVE_ELECTOR", "Credencial de elector", "Credencial para votar",
        "Número de INE", "No. INE", "Folio INE", "IFE/INE", "INE", "Sección electoral", "Partido",
        "Partido al que pertenece", "Militancia", "Afiliación política", "Intención de voto", "Modalidad de voto",
        "¿Votó en 2024?", "Voto 2024", "Por quién votó", "Preferencia electoral", "Estatus migratorio",
        "Situación migratoria", "Estatus legal", "Estatus de visa", "Tipo de visa", "Immigration status",
    ],
)  # fmt: skip
def test_knows_what_the_red_must_not_hold(header: str) -> None:
    assert columns.forbidden([header], []) == {0}


@pytest.mark.parametrize(
    "header",
    [
        "Nombre", "Correo", "Estado", "Estatus", "Afiliación institucional", "Organización migratoria",
        "Registro en la Red Voto Chilango", "Correo de Voto Chilango", "Número de teléfono", "Partida",
        "Vino al taller", "Folio de registro", "Sección del periódico", "Situación laboral", "Cinemas",
        "Clave de país",
    ],
)  # fmt: skip
def test_reads_what_only_looks_like_it(header: str) -> None:
    assert columns.forbidden([header], []) == frozenset()


def test_of_several_columns_of_one_kind_the_most_careful_rule_holds() -> None:
    told = Rules.told({"given_names": "replace", "first_surname": "fill", "country": "keep", "city": "replace", "phone": "replace"})
    assert told.others == {"names": Rule.FILL, "place": Rule.KEEP, "phone": Rule.REPLACE}


def test_a_known_city_fills_the_place_of_words_that_were_not_understood(database: Database) -> None:
    headers, places = ["Nombre", "Correo", "Ciudad"], ["Springfild de los Montes", "Springfield, Illinois"]
    for place in places:
        body = text([headers, ["Ana", "ana@example.org", place]], ";", "utf-8")
        with database.session() as session:
            number = imports.begin(session, body, "l.csv").id
        imports.run(database, number, body)
    with database.session(write=False) as session:
        out = contacts.to_out(contacts.get(session, 1))
    assert out.city is not None
    assert out.city.name == "Springfield"


@pytest.mark.parametrize(("one", "other"), [("Núñez", "Nunez"), ("Nuñez Peña", "NÚNEZ PENA"), ("Ñ", "N"), ("López", "LOPEZ")])
def test_a_namesake_is_told_whatever_the_accents(database: Database, one: str, other: str) -> None:
    rows = [["Nombre", "Apellidos", "Correo", "Ciudad"], ["Ana", one, "ana@example.org", "Chicago"]]
    checked = check(database, [*rows, ["Ana", other, "ana.n@example.org", "Chicago"]])
    assert [row.code for row in checked.rows] == ["possible_duplicate"] * 2


@pytest.mark.parametrize(
    ("header", "field"),
    [("Ciudad, estado, país", "city"), ("Ciudad/Estado/País", "city"), ("Nombre completo (apellidos primero)", "surnames_first")],
)
def test_understands_the_header_of_one_cell_that_holds_several_things(header: str, field: str) -> None:
    assert columns.field_of(header) == field


def repeated(cell: str, inside: str = "", row: str = "") -> str:
    return f"<table:table-row {row}><table:table-cell {cell}>{inside}</table:table-cell></table:table-row>"


def widened(body: bytes, name: str, content: bytes) -> bytes:
    """An archive with another part."""
    packed = io.BytesIO(body)
    with zipfile.ZipFile(packed, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return packed.getvalue()


FAR = 'office:value="1" table:number-columns-repeated="9999999"'
"""A cell that the check beforehand takes for empty and its reader does not."""
MANY = 'table:number-rows-repeated="5000"'
LONG = f"<text:p>{'x' * 2000}</text:p>"
BOMBS = {
    "text said ten million times": open_document(
        ROWS,
        tail=repeated('office:value-type="string" table:number-columns-repeated="100"', LONG, 'table:number-rows-repeated="99990"'),
    ),
    "cells that only look empty": open_document(ROWS, tail=repeated(FAR, row=MANY)),
    "one kind in the clothes of another": widened(
        open_document(ROWS, tail=repeated(f'office:value-type="float" {FAR}', row=MANY)),
        "xl/workbook.xml",
        b"<workbook/>",
    ),
    "an archive within the comment of another": (lambda bomb, good: bomb[:-2] + len(good).to_bytes(2, "little") + good)(
        open_document(ROWS, tail=repeated(FAR, row=MANY)), open_document(ROWS)[:-2] + (5).to_bytes(2, "little") + b"x"
    ),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_workbook_that_asks_for_gigabytes_is_refused_and_nobody_else_suffers(kind: str) -> None:
    began = time.monotonic()
    with pytest.raises(CrmError) as raised:
        list(open_spreadsheet(BOMBS[kind], "l.xlsx" if kind.startswith("one kind") else "l.ods").rows())
    assert raised.value.code in {"sheet_unpacks_too_large", "sheet_too_wide", "sheet_too_large"}
    assert raised.value.sentence
    assert time.monotonic() - began < 60
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 2**20, "in kilobytes: its own process took it, not this one"


def old_book_of_many_names(sheets: int) -> bytes:
    """An .xls in which many names stand for one sheet, with one number far out."""
    sheet = _record(0x809, struct.pack("<HHHHII", 0x600, 0x10, 0, 0, 0, 0)) + _record(
        0x203, struct.pack("<HHHd", 65535, 255, 0, 1.0)
    )
    sheet += _record(0x0A)
    names = [f"H{number:03}".encode() for number in range(sheets)]
    head = _record(0x809, struct.pack("<HHHHII", 0x600, 5, 0, 0, 0, 0)) + _record(0x42, struct.pack("<H", 1200))
    place = len(head) + sum(len(name) + 12 for name in names) + 4
    for name in names:
        head += _record(0x85, struct.pack("<IBBBB", place, 0, 0, len(name), 0) + name)
    written = io.BytesIO()
    CompoundDoc.XlsDoc().save(written, head + _record(0x0A) + sheet)
    return written.getvalue()


def _record(kind: int, data: bytes = b"") -> bytes:
    return struct.pack("<HH", kind, len(data)) + data


def test_an_old_workbook_of_a_thousand_sheets_is_refused() -> None:
    with pytest.raises(CrmError, match="sheet_unpacks_too_large"):
        open_spreadsheet(old_book_of_many_names(200), "l.xls")


@pytest.mark.parametrize(
    "cell",
    [
        f"CURP: {CURP}", f"\u200b{CURP}", "NULA 900101 MDFXXX 09", "NULA-900101-MDFXXX-09", f"{CURP}.", f"'{CURP}",
        "ＮＵＬＡ９００１０１ＭＤＦＸＸＸ０９", f"{CURP}/{CURP}", "ÑULA900101MDFXXX09", "NZLPAN 90010109 M 100",
    ],
)  # fmt: skip
def test_knows_a_document_in_any_wrapping(cell: str) -> None:
    assert columns.is_document(cell)


def test_keeps_no_document_of_a_list_without_header(database: Database) -> None:
    body = f"Ana Ruiz;ana@example.org;{CURP}\nEva Paz;mala;{CURP}\n".encode()
    checked = imports.check(database, body, "l.csv", layout=Layout(chosen=["full_name", "emails", None]))
    assert checked.columns.not_read == ["Columna 3"]
    assert CURP not in f"{checked}"


def test_refuses_what_no_database_can_keep() -> None:
    for body in ("Nombre\tCorreo\nA\0na\ta\n".encode("utf-16"), "Nombre\n".encode("utf-32")):
        with pytest.raises(CrmError, match="sheet_not_what_it_says"):
            open_spreadsheet(body, "l.txt")
    with pytest.raises(CrmError, match="sheet_too_wide"):
        list(open_spreadsheet(b"Nombre,Correo" + b",x" * 200 + b"\nAna,a\n", "l.csv").rows())
