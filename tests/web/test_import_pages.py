"""Importar: a file given, corrected, tried, taken in by the worker, told row by row, and taken back."""

import csv
import html
import io
import re
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
import time_machine
import xlsxwriter
from starlette.testclient import TestClient

from crm import clock
from crm.config import Settings
from crm.database import Database
from crm.errors import SENTENCES, Conflict
from crm.files import StoredFile
from crm.history import Action, Change
from crm.mailing import import_results, segments
from crm.mailing.segment_rules import parse
from crm.people import contacts, imports, uploads
from crm.people.models import Consent, Contact, Import, ImportRow, ImportState, RowStatus
from crm.people.schemas import ContactPatch
from crm.people.taking_in import take_in
from crm.staff.models import Role
from tests.mailing.factories import begun, campaign
from tests.people.factories import contact_in
from tests.people.test_imports import DIRTY, people, sheet
from tests.web.conftest import Visitor, csrf_of

STATED = {
    "basis": "stated",
    "purposes": ["electoral_information"],
    "evidence": "Hoja de registro del taller",
    "agreed_on": "2026-01-15",
    "notice_version": "2026-1",
}
FRAGMENT = {"HX-Request": "true", "HX-Request-Type": "partial"}


def upload(client: TestClient, body: bytes, name: str = "red.csv") -> Any:
    return client.post("/importar", data=csrf_of(client), files={"archivo": (name, body)})


def fields_of(page: str) -> dict[str, Any]:
    """What the form of a page would post."""
    page = page[page.index('<form class="import-form') :]
    found: dict[str, Any] = {}
    for tag in re.findall(r"<input[^>]+>", page, re.DOTALL):
        name, value = re.search(r'name="([^"]+)"', tag), re.search(r'value="([^"]*)"', tag)
        if name and (not re.search(r'type="(checkbox|radio)"', tag) or "checked" in tag):
            found[name[1]] = html.unescape(value[1] if value else "")
    for name, body in re.findall(r'<textarea[^>]*name="([^"]+)"[^>]*>(.*?)</textarea>', page, re.DOTALL):
        found[name] = html.unescape(body)
    for name, options in re.findall(r'<select[^>]*name="([^"]+)"[^>]*>(.*?)</select>', page, re.DOTALL):
        chosen = re.search(r'value="([^"]*)" selected', options)
        found[name] = html.unescape(chosen[1]) if chosen else ""
    return found


def press(client: TestClient, number: int, deed: str, **changes: Any) -> Any:
    """A button pressed on the page as it stands."""
    fields = fields_of(client.get(f"/importar/{number}").text)
    return client.post(f"/importar/{number}", data={**fields, **changes, "deed": deed})


def carried_out(database: Database, number: int) -> Import:
    """What the worker does."""
    import_results.carry_out(database, number, lambda: False)
    with database.session(write=False) as session:
        return imports.get(session, number)


def taken(client: TestClient, database: Database, body: bytes, **changes: Any) -> Import:
    upload(client, body)
    number = newest(database)
    press(client, number, "check", **changes)
    press(client, number, "import")
    return carried_out(database, number)


def newest(database: Database) -> int:
    """The number of the last import: a check that is rolled back uses numbers up on PostgreSQL."""
    with database.session(write=False) as session:
        return session.scalar(sa.select(sa.func.max(Import.id))) or 0


def count(database: Database, model: Any) -> int:
    with database.session(write=False) as session:
        return session.scalar(sa.select(sa.func.count()).select_from(model)) or 0


# --- the straight path -------------------------------------------------------------------------------------------------------


def test_takes_a_list_in_from_the_file_to_its_segment(visit: Visitor, database: Database) -> None:
    client = visit(Role.COORDINATION)
    page = upload(client, DIRTY)
    assert str(page.url).endswith("/importar/1")
    assert "Ana 0" in page.text
    assert fields_of(page.text)["column.3"] == "emails"
    checked = press(client, 1, "check", **STATED)
    assert "2 nuevas" in checked.text
    assert "4 no entran" in checked.text
    assert "La fila no tiene nombre ni correo" in checked.text
    assert count(database, Contact) == 0
    running = press(client, 1, "import")
    assert "de 8 filas" in running.text
    with database.session(write=False) as session:
        assert uploads.due(session) == [(1, 0)]
    done = carried_out(database, 1)
    assert (done.state, done.counts, done.ordered_by_id) == (
        ImportState.DONE,
        {"created": 2, "updated": 1, "unchanged": 1, "refused": 4},
        1,
    )
    assert count(database, StoredFile) == 0
    result = client.get("/importar/1").text
    assert "Importación 1: red.csv" in result
    with database.session(write=False) as session:
        assert uploads.due(session) == []
        segment = segments.by_name(session, "Importación 1: red.csv")
        assert segments.count(session, parse(segment.rule)) == 2
        consent = session.scalars(sa.select(Consent)).first()
        assert consent
        assert (consent.evidence, consent.notice_version) == ("Hoja de registro del taller", "2026-1")


def test_corrects_the_columns(visit: Visitor, database: Database) -> None:
    body = sheet([["Ana", "Núñez", "ana@example.org", "x"]], ["Quién", "Casa", "Dónde escribirle", "Notas"])
    client = visit(Role.COORDINATION)
    page = upload(client, body)
    assert "no_header" not in page.text
    assert "La primera fila debe tener los títulos" in page.text
    changes = {"column.0": "given_names", "column.1": "first_surname", "column.2": "emails", "column.3": ""}
    checked = press(client, 1, "check", **changes)
    assert "1 nueva<" in checked.text
    assert "No se importan estas columnas: Notas" in checked.text
    press(client, 1, "import")
    assert carried_out(database, 1).columns == {"given_names": "Quién", "first_surname": "Casa", "emails": "Dónde escribirle"}
    with database.session(write=False) as session:
        assert session.scalars(sa.select(Contact.first_surname)).all() == ["Núñez"]


def test_chooses_the_sheet(visit: Visitor, database: Database) -> None:
    written = io.BytesIO()
    with xlsxwriter.Workbook(written, {"in_memory": True}) as book:
        book.add_worksheet("Notas").write_row(0, 0, ["Nada"])
        listed = book.add_worksheet("Lista")
        listed.write_row(0, 0, ["Nombre completo", "Correo"])
        listed.write_row(1, 0, ["Ana Núñez", "ana@example.org"])
    client = visit(Role.COORDINATION)
    page = upload(client, written.getvalue(), "red.xlsx")
    assert re.findall(r'<option value="([^"]+)"[^>]*>(?:Notas|Lista)', page.text) == ["Notas", "Lista"]
    other = press(client, 1, "sheet", sheet="Lista")
    fields = fields_of(other.text)
    assert (fields["sheet"], fields["column.0"], fields["column.1"]) == ("Lista", "full_name", "emails")
    assert "1 nueva<" in client.post("/importar/1", data={**fields, "deed": "check"}).text
    press(client, 1, "import")
    assert carried_out(database, 1).counts["created"] == 1


# --- what is refused ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "body", "says"),
    [("", b"", "Elija el archivo"), ("red.pdf", b"%PDF-", "Solo leemos hojas"), ("red.csv", b"", "vacío")],
)
def test_refuses_a_file_that_is_no_list(visit: Visitor, name: str, body: bytes, says: str) -> None:
    answer = upload(visit(Role.COORDINATION), body, name)
    assert answer.status_code == 422
    assert says in answer.text


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"basis": "stated", "evidence": "Taller"}, "Elija para qué se dio el consentimiento"),
        ({"basis": "stated", "purposes": ["newsletter"], "evidence": " "}, "Escriba cómo consta"),
        ({**STATED, "agreed_on": "2126-01-01"}, "Esa fecha aún no llega"),
        ({**STATED, "agreed_on": "ayer"}, "Esa fecha no existe"),
    ],
)
def test_asks_for_the_whole_basis_and_keeps_what_was_typed(visit: Visitor, changes: dict[str, Any], says: str) -> None:
    client = visit(Role.COORDINATION)
    upload(client, DIRTY)
    answer = press(client, 1, "check", **changes)
    assert answer.status_code == 422
    assert says in answer.text
    assert fields_of(answer.text)["basis"] == "stated"
    assert fields_of(answer.text)["evidence"].strip() == changes["evidence"].strip()


def test_imports_only_what_was_checked(visit: Visitor, database: Database) -> None:
    client = visit(Role.COORDINATION)
    upload(client, DIRTY)
    press(client, 1, "check", **STATED)
    again = press(client, 1, "import", evidence="Otra cosa")
    assert again.status_code == 409
    assert "Cambió algo desde la revisión" in again.text
    with database.session(write=False) as session:
        assert imports.get(session, 1).state is ImportState.CHECKED
    press(client, 1, "import")
    with database.session(write=False) as session:
        assert imports.get(session, 1).state is ImportState.RUNNING
    assert press_is_late(client)


def press_is_late(client: TestClient) -> bool:
    """A button of an old page changes nothing of an import that has begun."""
    answer = client.post("/importar/1", data={**csrf_of(client), "deed": "discard"})
    return "Importándose" in answer.text


def test_a_review_tells_what_each_row_says_and_forgets_it_once_it_begins(visit: Visitor, database: Database) -> None:
    client = visit(Role.COORDINATION)
    secret, long = "NULA900101MDFXXX09", "muy larga " * 90
    upload(client, f"Nombre completo;Correo;Notas\nAna Paz;ana arroba;Vino\nEva Sol;eva arroba;{secret}\n;x;{long}\n".encode())
    checked = press(client, 1, "check").text
    assert "<small>Ana Paz · ana arroba · Vino</small>" in checked
    assert "<small>Eva Sol · eva arroba</small>" in checked
    assert secret not in checked
    with database.session() as session:
        started = imports.get(session, 1)
        assert started.checked is not None
        texts = [row.pop("text") for row in started.checked["rows"]]
        assert max(map(len, texts)) == uploads.ROW_LENGTH
        session.execute(sa.update(Import).values(checked=started.checked))
    assert "Ana Paz · ana arroba" not in client.get("/importar/1").text, "a check that was kept before rows had their text"
    press(client, 1, "check", source="Dallas", evidence="x", **{"column.2": "tags"})
    assert "Ana Paz · ana arroba" in client.get("/importar/1").text
    press(client, 1, "import")
    with database.session(write=False) as session:
        begun_one = imports.get(session, 1)
        assert begun_one.checked is not None
        assert (begun_one.checked["rows"], begun_one.checked["counts"]["refused"]) == ([], 3)


def test_forgets_a_file_that_is_given_up(visit: Visitor, database: Database) -> None:
    client = visit(Role.COORDINATION)
    upload(client, DIRTY)
    upload(client, DIRTY)
    press(client, 1, "discard")
    assert count(database, StoredFile) == 1
    with database.session() as session:
        session.execute(sa.update(Import).values(started_at=clock.now() - 2 * uploads.GIVEN_UP))
        assert uploads.forget_old(session) == 1
    assert (count(database, StoredFile), count(database, Import)) == (0, 0)


# --- the worker --------------------------------------------------------------------------------------------------------------


def test_goes_on_where_a_worker_stopped(visit: Visitor, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "BATCH", 3)
    client = visit(Role.COORDINATION)
    upload(client, sheet(people(8)))
    press(client, 1, "check")
    press(client, 1, "import")
    import_results.carry_out(database, 1, lambda: True)
    moving = client.get("/importar/1/avance", headers=FRAGMENT).text
    assert "<strong>3</strong> de 8 filas" in moving
    done = carried_out(database, 1)
    assert (done.state, done.rows_done, done.counts["created"]) == (ImportState.DONE, 8, 8)
    assert client.get("/importar/1/avance", headers=FRAGMENT).headers["hx-redirect"] == "/importar/1"
    import_results.carry_out(database, 1, lambda: False)
    with database.session(write=False) as session:
        assert len(segments.find(session)[0]) == 1


def test_fails_once_and_says_so_when_its_file_is_gone(visit: Visitor, database: Database) -> None:
    client = visit(Role.COORDINATION)
    upload(client, sheet(people(8)))
    press(client, 1, "check")
    press(client, 1, "import")
    with database.session() as session:
        session.execute(sa.delete(StoredFile))
    done = carried_out(database, 1)
    assert (done.state, done.failure) == (ImportState.FAILED, "file_not_found")
    assert SENTENCES["file_not_found"] in html.unescape(client.get("/importar/1").text)
    with database.session(write=False) as session:
        assert uploads.due(session) == []


def test_tells_the_refused_rows_and_gives_them_back_without_formulas(visit: Visitor, database: Database) -> None:
    rows = [["=HYPERLINK(1)", "Núñez", "", "mal", "", "", "", ""], ["@Ana", "+52", "", "", "", "", "", "magia"]]
    client = visit(Role.COORDINATION)
    taken(client, database, sheet(rows))
    page = client.get("/importar/1/filas?estado=refused").text
    assert "La dirección de correo no es válida" in page
    answer = client.post("/importar/1/rechazadas", data=csrf_of(client))
    assert answer.headers["content-disposition"] == 'attachment; filename="importacion-1-rechazadas.csv"'
    told = list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert told[0][:2] == ["Nombre", "Primer apellido"]
    assert [row[0] for row in told[1:]] == ["'=HYPERLINK(1)", "'@Ana"]
    assert told[2][1] == "'+52"
    with database.session(write=False) as session:
        noted = session.scalars(sa.select(Change).where(Change.action == Action.NOTE, Change.entity == "import")).one()
        assert (noted.entity, noted.fields) == ("import", {"exported_rows": 2})


# --- the way back ------------------------------------------------------------------------------------------------------------


def test_takes_back_only_whom_it_created_and_nobody_touched(visit: Visitor, database: Database, settings: Settings) -> None:
    with database.session() as session:
        before = take_in(session, contact_in(1, emails=["ana9@example.org"], given_names="Ana 9", first_surname="Núñez")).contact_id
    client = visit(Role.COORDINATION)
    taken(client, database, sheet(people(10)), **STATED)
    with database.session() as session:
        ids = list(session.scalars(sa.select(Contact.id).where(Contact.import_id == 1).order_by(Contact.id)))
        assert len(ids) == 9
        contacts.change(session, ids[0], ContactPatch(phone="+1 555 0100"))
        campaign(session)
        written = [number for number in ids if number not in ids[:2]]
    page = client.get("/importar/1").text
    assert "Se quitarían 8 personas" in page
    refused = client.post("/importar/1/deshacer", data={"numero": "10", **csrf_of(client)})
    assert refused.status_code == 422
    assert "Escriba 8" in refused.text
    undone = client.post("/importar/1/deshacer", data={"numero": "8", **csrf_of(client)})
    assert "Personas quitadas: 8" in undone.text
    with database.session(write=False) as session:
        assert set(session.scalars(sa.select(Contact.id))) == {before, ids[0]}
        removed = session.scalars(sa.select(Change).where(Change.action == Action.REMOVE, Change.root == "contact"))
        assert {change.root_id for change in removed} == {ids[1], *written}
        assert imports.get(session, 1).undone == {"removed": 8, "written": 0, "changed": 1, "updated": 1}
    with database.session() as session, pytest.raises(Conflict, match="import_undone"):
        import_results.undo(session, 1)
    again = taken(client, database, sheet(people(10)))
    assert again.counts["created"] == 8


def test_keeps_whom_somebody_wrote_to(visit: Visitor, database: Database, settings: Settings) -> None:
    client = visit(Role.COORDINATION)
    taken(client, database, sheet(people(3)), **STATED)
    with database.session() as session:
        begun(session, settings)
    page = client.get("/importar/1").text
    assert "Se quitarían 0 personas" in page
    assert "Se quedarían 3 a quienes ya se les escribió o están en un envío" in page
    assert "No hay a quién quitar" in page
    assert 'action="/importar/1/deshacer"' not in page


def test_the_segment_of_an_undone_import_goes_with_its_people(visit: Visitor, database: Database) -> None:
    client = visit(Role.COORDINATION)
    taken(client, database, sheet(people(3)))
    assert "solo se les puede pedir su consentimiento" in client.get("/importar/1").text
    undone = client.post("/importar/1/deshacer", data={"numero": "3", **csrf_of(client)}).text
    assert "Personas quitadas: 3" in undone
    assert "solo se les puede pedir" not in undone, "there is nobody left to ask"
    assert "no tiene segmento" in undone
    assert "Importación 1: red.csv" not in client.get("/segmentos").text


def test_the_segment_of_an_undone_import_stays_while_somebody_is_in_it_or_a_campaign_names_it(
    visit: Visitor, database: Database
) -> None:
    client = visit(Role.COORDINATION)
    one, other = (taken(client, database, sheet(people(2, start=start))).id for start in (0, 5))
    with database.session() as session:
        kept = segments.by_name(session, f"Importación {other}: red.csv")
        number, first = kept.id, session.scalars(sa.select(Contact.id).where(Contact.import_id == one)).first()
        contacts.change(session, first or 0, ContactPatch(phone="+1 555 0100"))
        made = campaign(session)
        made.include = [number]
    left = client.post(f"/importar/{one}/deshacer", data={"numero": "1", **csrf_of(client)}).text
    assert "queda 1 persona" in left
    named = client.post(f"/importar/{other}/deshacer", data={"numero": "2", **csrf_of(client)}).text
    assert f'<a href="/segmentos/{number}">Importación {other}: red.csv</a>, ya no hay nadie' in named
    with database.session(write=False) as session:
        assert segments.by_name(session, f"Importación {one}: red.csv")
        assert segments.get(session, number)


def test_one_is_told_as_one(visit: Visitor, database: Database) -> None:
    client = visit(Role.COORDINATION)
    body = b"Nombre completo;Correo;Idioma\nAna Paz;ana@example.org;\nEva Sol;eva@example.org;klingon\n"
    upload(client, body)
    checked = press(client, 1, "check").text
    for words in ("1 nueva<", "0 actualizadas<", "0 sin cambios<", "1 no entra<"):
        assert words in checked
    press(client, 1, "import")
    carried_out(database, 1)
    assert "1 nueva, 0 actualizadas, 1 no entra<" in client.get("/importar").text
    assert "<b>Se quitaría 1 persona</b>" in client.get("/importar/1").text
    wrong = client.post("/importar/1/deshacer", data={"numero": "2", **csrf_of(client)}).text
    assert "Escriba 1: la persona que se quitaría ahora." in wrong
    with database.session() as session:
        contacts.change(session, session.scalars(sa.select(Contact.id)).one(), ContactPatch(phone="+1 555 0100"))
    assert "Se quedaría 1 que alguien cambió después" in client.get("/importar/1").text


def test_does_not_undo_after_thirty_days(visit: Visitor, database: Database) -> None:
    client = visit(Role.COORDINATION)
    taken(client, database, sheet(people(1)))
    with database.session() as session:
        imports.get(session, 1).finished_at = clock.now() - 2 * (import_results.until(imports.get(session, 1)) - clock.now())
    assert "Deshacer la importación" not in client.get("/importar/1").text
    answer = client.post("/importar/1/deshacer", data={"numero": "1", **csrf_of(client)})
    assert answer.status_code == 409
    assert "ya no se puede deshacer" in answer.text


def test_rows_may_be_pasted(visit: Visitor, database: Database) -> None:
    client = visit(Role.COORDINATION)
    rows = "Lista del taller\t\nNombre\tCorreo\nAna Núñez\tana@example.org\n"
    answer = client.post("/importar", data={**csrf_of(client), "filas": rows}, files={"archivo": ("", b"")})
    assert answer.status_code == 200
    assert "«Lista del taller»" in answer.text, "the title above the header is told"
    assert 'name="header" type="number" inputmode="numeric" min="0" max="9999" value="2"' in answer.text
    number = int(str(answer.url).rpartition("/")[2])
    press(client, number, "check")
    press(client, number, "import")
    assert carried_out(database, number).counts["created"] == 1


def test_as_many_rows_may_be_pasted_as_a_file_may_hold(visit: Visitor) -> None:
    client = visit(Role.COORDINATION)
    rows = "Nombre\tCorreo\n" + "".join(f"Ana Núñez {number}\tana{number}@example.org\n" for number in range(40_000))
    assert len(rows) > 1_200_000
    answer = client.post("/importar", data={**csrf_of(client), "filas": rows}, files={"archivo": ("", b"")})
    assert answer.status_code == 200
    assert "ana0@example.org" in answer.text


def test_pasted_rows_that_cannot_be_read_stay_in_the_form(visit: Visitor) -> None:
    client = visit(Role.COORDINATION)
    answer = client.post("/importar", data={**csrf_of(client), "filas": 'Nombre\n"Ana\n'}, files={"archivo": ("", b"")})
    assert answer.status_code == 422
    assert "&#34;Ana" in answer.text
    assert "comillas que no cierran" in answer.text
    answer = client.post("/importar", data={**csrf_of(client), "filas": " "}, files={"archivo": ("", b"")})
    assert answer.status_code == 422
    assert "o pegue sus filas" in answer.text


def test_the_row_of_the_header_is_corrected_on_the_page(visit: Visitor, database: Database) -> None:
    client = visit(Role.COORDINATION)
    upload(client, b"Contacto;Correo\nNombre;Correo\nAna;ana@example.org\n")
    shown = press(client, 1, "sheet", header="2").text
    assert "«Contacto Correo»" in shown
    press(client, 1, "check", header="2")
    press(client, 1, "check")
    with database.session(write=False) as session:
        started = imports.get(session, 1)
        assert started.header_row == 2
        assert started.checked is not None
        assert sum(started.checked["counts"].values()) == 1


def test_the_row_of_the_header_and_the_columns_are_remembered_for_the_next_list(visit: Visitor, database: Database) -> None:
    client = visit(Role.COORDINATION)
    upload(client, b"Contacto;Correo\nQuien;Correo\nAna;ana@example.org\n")
    press(client, 1, "sheet", header="2")
    press(client, 1, "check", header="2")
    press(client, 1, "check", **{"column.0": "given_names"})
    press(client, 1, "import")
    carried_out(database, 1)
    upload(client, b"Contacto del mes;Correo\nQuien;Correo\nEva;eva@example.org\n", "diciembre.csv")
    with database.session(write=False) as session:
        again = imports.get(session, newest(database))
        assert (again.header_row, again.chosen) == (2, ["given_names", "emails"])
    upload(client, b"Nombre;Correo\nEva;eva@example.org\n", "otra.csv")
    with database.session(write=False) as session:
        assert imports.get(session, newest(database)).header_row is None


def test_a_page_says_what_is_not_read(visit: Visitor, database: Database) -> None:
    client = visit(Role.COORDINATION)
    secret = "NULA900101MDFXXX09"
    shown = upload(client, f"Nombre;Correo;CURP\nAna;ana@example.org;{secret}\n".encode()).text
    assert "No se lee." in shown
    assert secret not in shown
    checked = press(client, 1, "check").text
    assert "No se leen ni se guardan: <b>CURP</b>" in checked
    press(client, 1, "import")
    carried_out(database, 1)
    assert secret not in client.get("/importar/1").text


def test_a_list_of_the_same_columns_is_read_as_the_last_one(visit: Visitor, database: Database) -> None:
    client = visit(Role.COORDINATION)
    body = b"Quien;Donde;Correo\nAna;Chicago;ana@example.org\n"
    taken(client, database, body, **{"column.0": "full_name", "column.1": "city", "rule.1": "replace"})
    by_command = body.replace(b"ana@", b"zoe@")
    with database.session() as session:
        begun_one = imports.begin(session, by_command, "por-comando.csv")
    imports.run(database, begun_one.id, by_command)
    assert "No tienen un segmento propio" in client.get(f"/importar/{begun_one.id}").text
    again = upload(client, body.replace(b"ana@", b"eva@").replace(b"Ana", b"Eva"), "otra.csv").text
    assert "se leen como entonces" in again
    assert fields_of(again)["column.1"] == "city"
    assert fields_of(again)["rule.1"] == "", "what is replaced is said anew for each list"
    other = upload(client, b"Quien;Lugar;Correo\nLuz;Dallas;luz@example.org\n", "tercera.csv").text
    assert "se leen como entonces" not in other


def test_a_list_is_read_as_the_last_one_of_the_source_that_a_person_names(visit: Visitor, database: Database) -> None:
    client = visit(Role.COORDINATION)
    dallas, paris = "Consulado en Dallas, lista mensual", "Consulado en París"
    told = {"column.0": "full_name", "column.1": "city"}
    taken(client, database, b"Quien;Donde;Correo\nAna;Chicago;ana@example.org\n", source=f"  {dallas} ", **told)
    other = {"column.0": "organization", "column.1": "full_name"}
    taken(client, database, b"Quien;Quien es;Correo\nCasa;Eva;eva@example.org\n", source=paris, **other)
    assert dallas in client.get("/importar").text
    assert dallas in client.get("/importar/1").text
    again = fields_of(upload(client, b"Quien;Donde;Correo\nLuz;Chicago;luz@example.org\n", "2.csv").text)
    assert (again["source"], again["column.1"]) == (dallas, "city"), "proposed, since its headers are those of that source"
    shown = upload(client, b"Correo;Folio;Quien\nzoe@example.org;3;Zoe\n", "3.csv").text
    assert fields_of(shown)["source"] == ""
    assert f'<option value="{paris}">' in shown
    number = newest(database)
    as_dallas = press(client, number, "source", source="consulado en dallas, LISTA mensual").text
    assert re.search(r"Se leyó como «red\.csv», del \d+ \w+ \d{4}\.", as_dallas)
    assert "Se leyó como" not in client.get(f"/importar/{number}").text
    read = fields_of(as_dallas)
    assert [read[f"column.{place}"] for place in range(3)] == ["emails", "", "full_name"], "by header, wherever it stands"
    read = fields_of(press(client, number, "source", source=paris).text)
    assert read["column.2"] == "organization"
    unknown = press(client, number, "source", source="Nadie")
    assert unknown.status_code == 422
    assert "Ninguna lista anterior tiene ese nombre" in unknown.text
    assert fields_of(unknown.text)["source"] == "Nadie"


def test_the_name_of_a_source_does_not_undo_a_check_and_is_told_on_the_record(visit: Visitor, database: Database) -> None:
    client = visit(Role.COORDINATION)
    upload(client, b"Nombre completo;Correo\nAna Paz;ana@example.org\n")
    press(client, 1, "check")
    press(client, 1, "import", source="Consulado en Dallas")
    carried_out(database, 1)
    with database.session(write=False) as session:
        person = session.scalars(sa.select(Contact.id)).one()
    assert "Lista «red.csv» de Consulado en Dallas, fila 2" in client.get(f"/personas/{person}").text


def test_the_titles_and_letters_of_a_source_are_read_as_in_its_last_list(visit: Visitor, database: Database) -> None:
    client = visit(Role.COORDINATION)
    rows = "Contacto;Correo;\nQuién;Correo;Año\nÁNGEL;angel@example.org;1\n"
    upload(client, rows.encode("mac-roman"))
    press(client, 1, "sheet", header="2")
    press(client, 1, "check", header="2")
    press(client, 1, "check", encoding="mac-roman", source="Dallas", **{"column.0": "given_names"})
    press(client, 1, "import")
    carried_out(database, 1)
    upload(client, rows.replace("Año", "Mes").replace("Contacto", "Contactos").encode("mac-roman"), "2.csv")
    read = fields_of(press(client, newest(database), "source", source="Dallas").text)
    assert (read["encoding"], read["header"], read["column.0"], read["column.2"]) == ("mac-roman", "2", "given_names", "")


CROOKED = (
    b"Nombre completo;Correo;Ciudad;Notas\n"
    b"Ana N\xc3\xba\xc3\xb1ez;ana arroba example.org;Chicago;vino\nEva R\xc3\xados;eva@example.org;Dallas;\n"
)


def test_a_refused_row_is_mended_on_the_page(visit: Visitor, database: Database) -> None:
    client = visit(Role.COORDINATION)
    started = taken(client, database, CROOKED, **STATED)
    assert started.counts["refused"] == 1
    listed = client.get("/importar/1/filas?estado=refused").text
    assert 'href="/importar/1/filas/2"' in listed
    shown = client.get("/importar/1/filas/2").text
    assert 'value="ana arroba example.org"' in shown
    assert "Esta columna no se importa." in shown, "what is not taken in is shown, and cannot be changed"
    still = client.post(
        "/importar/1/filas/2", data={**csrf_of(client), "cell.0": "Ana Núñez", "cell.1": "otra cosa", "cell.2": "Austin"}
    )
    assert still.status_code == 422
    assert "Todavía no entra." in still.text
    assert 'value="otra cosa"' in still.text
    entered = client.post(
        "/importar/1/filas/2", data={**csrf_of(client), "cell.0": "Ana Núñez", "cell.1": "ana@example.org", "cell.2": "Austin"}
    )
    assert "La fila 2 entró." in entered.text
    with database.session(write=False) as session:
        now = imports.get(session, 1)
        assert (now.counts["created"], now.counts["refused"]) == (2, 0)
        ana = contacts.get(session, session.scalars(sa.select(Contact.id).where(Contact.given_names == "Ana")).one())
        out = contacts.to_out(ana)
        assert out.city is not None
        assert out.city.name == "Austin"
        assert session.scalars(sa.select(Consent.evidence).where(Consent.contact_id == ana.id)).one() == STATED["evidence"]
        assert session.scalars(sa.select(ImportRow.values).where(ImportRow.number == 2)).one() is None
        in_segment = import_results.segment_of(session, 1)
        assert in_segment is not None
        assert segments.count(session, parse(in_segment.rule)) == 2
    again = client.post("/importar/1/filas/2", data={**csrf_of(client), "cell.1": "ana@example.org"})
    assert again.status_code == 409
    assert client.get("/importar/1/filas/99").status_code == 404


def test_a_row_with_several_faults_tells_them_all_at_once(visit: Visitor, database: Database) -> None:
    client = visit(Role.COORDINATION)
    body = "Nombre completo;Correo;Idioma;Teléfono\nEva Sol;eva@example.org;klingon;5.5E+09\n".encode()
    upload(client, body)
    checked = press(client, 1, "check").text
    language, phone = SENTENCES["language_unknown"], SENTENCES["phone_in_exponent"]
    assert language in checked
    assert phone in checked
    press(client, 1, "import")
    carried_out(database, 1)
    for url in ("/importar/1/filas?estado=refused", "/importar/1/filas/2"):
        shown = html.unescape(client.get(url).text)
        assert language in shown, url
        assert phone in shown, url
    fields = {**csrf_of(client), "cell.0": "Eva Sol", "cell.1": "eva@example.org", "cell.2": "inglés", "cell.3": "5.5E+09"}
    mended = html.unescape(client.post("/importar/1/filas/2", data=fields).text)
    assert language not in mended
    assert phone in mended
    again = client.get("/importar/1/filas?estado=refused").text
    assert language not in html.unescape(again), "what was mended is not told any more"


def test_a_cell_beyond_the_titles_is_told_and_never_lost(visit: Visitor, database: Database) -> None:
    client = visit(Role.COORDINATION)
    secret = "NULA900101MDFXXX09"
    rows = f"Ana,Paz, Dallas,ana@example.org,{secret}\nEva,eva arroba,Austin,una,dos,tres,cuatro\nLuz,luz arroba,Austin"
    taken(client, database, f"Nombre completo,Correo,Ciudad\n{rows}\n".encode())
    listed = client.get("/importar/1/filas?estado=refused").text
    assert "La fila tiene una celda de más: «ana@example.org». Quizá una coma sin comillas" in listed
    assert "La fila tiene 4 celdas de más: «una», «dos», «tres»… Quizá" in listed
    assert listed.count("de más:") == 2
    assert secret not in listed
    shown = client.get("/importar/1/filas/2").text
    assert "La fila tiene una celda de más: «ana@example.org»." in shown
    assert re.search(r'<textarea id="cell.3"[^>]* readonly[^>]*>ana@example.org</textarea>', shown)
    assert "Está de más y no se importa." in shown
    still = {**csrf_of(client), "cell.0": "Ana Paz", "cell.1": "sin arroba", "cell.2": "Dallas", "cell.3": "otra"}
    assert "«ana@example.org»" in client.post("/importar/1/filas/2", data=still).text
    assert "de más" not in client.get("/importar/1/filas/4").text
    entered = client.post("/importar/1/filas/2", data=still | {"cell.1": "ana@example.org"})
    assert "La fila 2 entró." in entered.text


def test_a_mended_row_goes_when_the_import_is_undone(visit: Visitor, database: Database) -> None:
    client = visit(Role.COORDINATION)
    taken(client, database, CROOKED)
    client.post("/importar/1/filas/2", data={**csrf_of(client), "cell.0": "Ana", "cell.1": "ana@example.org", "cell.2": ""})
    client.post("/importar/1/deshacer", data={**csrf_of(client), "numero": "2"})
    with database.session(write=False) as session:
        now = imports.get(session, 1)
        assert now.undone is not None
        assert now.undone["removed"] == 2
    assert client.get("/importar/1/filas/3").status_code == 409


def test_an_undone_import_offers_no_mending(visit: Visitor, database: Database) -> None:
    client = visit(Role.COORDINATION)
    taken(client, database, CROOKED)
    assert "Ver por qué y corregir" in client.get("/importar/1").text
    client.post("/importar/1/deshacer", data={**csrf_of(client), "numero": "1"})
    shown = client.get("/importar/1").text
    assert "Deshecha" in shown
    assert "Ver por qué" in shown
    assert "corregir" not in shown
    assert "Corregir" not in client.get("/importar/1/filas?estado=refused").text


def test_rows_are_forgotten_after_thirty_days(visit: Visitor, database: Database) -> None:
    client = visit(Role.COORDINATION)
    taken(client, database, CROOKED)
    for days, kept in ((29, 1), (31, 0)):
        with time_machine.travel(clock.now() + timedelta(days=days)), database.session() as session:
            imports.forget_rows(session)
            rows = session.scalars(sa.select(ImportRow.values).where(ImportRow.status == RowStatus.REFUSED)).all()
            assert sum(values is not None for values in rows) == kept
    assert client.get("/importar/1/filas/2").status_code == 409
    assert "Corregir" not in client.get("/importar/1/filas?estado=refused").text


def test_the_letters_are_read_as_a_person_chooses_and_nothing_said_is_lost(visit: Visitor, database: Database) -> None:
    """Two words of a DOS list look like Windows to who only counts letters: the person sees it, and says so."""
    client = visit(Role.COORDINATION)
    body = "Nombre completo;Quién;Teléfono;Correo\nÁNGEL IBÁÑEZ;Ópera;55 5;angel@example.org\n"
    shown = upload(client, body.encode("mac-roman")).text
    fields = fields_of(shown)
    assert fields["encoding"] == fields["shown_encoding"] != "mac-roman"
    assert "Mac antigua (Mac Roman)</b><small>Quién, Teléfono, ÁNGEL, IBÁÑEZ" in shown
    assert fields["column.2"] == "", "its header was not understood"
    told = {"column.1": "organization", "basis": "stated", "evidence": "Taller"}
    again = fields_of(press(client, 1, "sheet", encoding="mac-roman", **told).text)
    assert (again["encoding"], again["told_encoding"]) == ("mac-roman", "mac-roman")
    assert [again[f"column.{place}"] for place in range(4)] == ["full_name", "organization", "phone", "emails"]
    assert (again["basis"], again["evidence"].strip()) == ("stated", "Taller")
    assert "1 nueva<" in client.post("/importar/1", data={**again, **STATED, "deed": "check"}).text
    press(client, 1, "import")
    carried_out(database, 1)
    with database.session(write=False) as session:
        person = session.scalars(sa.select(Contact)).one()
        assert (person.given_names, person.first_surname, person.phone) == ("ÁNGEL", "IBÁÑEZ", "55 5")
    later = fields_of(upload(client, body.replace("ÁNGEL", "ÉLIDA").encode("mac-roman"), "otra.csv").text)
    assert (later["encoding"], later["column.1"]) == ("mac-roman", "organization"), "as the last list of the same columns"
    now = fields_of(upload(client, body.replace("ÁNGEL", "ZOÉ").encode(), "tercera.csv").text)
    assert now["encoding"] == "utf-8", "its bytes prove it"


def test_what_is_no_text_as_chosen_is_said_and_stays_as_it_was(visit: Visitor) -> None:
    client = visit(Role.COORDINATION)
    upload(client, "Nombre;Correo\nNúñez;a@example.org\n".encode("cp1252"))
    answer = press(client, 1, "check", encoding="utf-8", **{"column.0": "full_name"})
    assert answer.status_code == 422
    assert "Así no se pueden leer las letras" in answer.text
    assert (fields_of(answer.text)["encoding"], fields_of(answer.text)["column.0"]) == ("cp1252", "full_name")


def test_a_text_whose_letters_nothing_tells_is_kept_for_a_person_to_say(visit: Visitor) -> None:
    client = visit(Role.COORDINATION)
    shown = upload(client, b"Nombre;Correo\nN\xf1\x81ez;a@example.org\n").text
    assert fields_of(shown)["encoding"] == "latin-1"
    assert "UTF-8</b><small>No se puede leer así" in shown


def test_a_list_without_accents_asks_nothing_of_its_letters(visit: Visitor) -> None:
    shown = upload(visit(Role.COORDINATION), b"Nombre;Correo;CURP\nAna;a@example.org;\n").text
    assert "¿Se ven bien los acentos?" not in shown
    assert "encoding" not in fields_of(shown)


def test_what_is_not_read_is_no_example_of_letters(visit: Visitor) -> None:
    body = "Nombre;Partido;Correo\nÁngel;Revolución;a@example.org\n".encode("cp1252")
    shown = upload(visit(Role.COORDINATION), body).text
    assert "Ángel" in shown
    assert "Revoluci" not in shown


def test_another_sheet_has_its_own_header(visit: Visitor, database: Database) -> None:
    client = visit(Role.COORDINATION)
    written = io.BytesIO()
    with xlsxwriter.Workbook(written, {"in_memory": True}) as book:
        for name, rows in (
            ("Con título", [["Lista del consulado"], [], [], ["Nombre", "Correo"], ["Ana", "ana@example.org"]]),
            ("Sin título", [["Correo", "Nombre"], *([f"p{n}@example.org", f"P{n}"] for n in range(9))]),
            ("Vacía", []),
        ):
            sheet_of = book.add_worksheet(name)
            for number, cells in enumerate(rows):
                sheet_of.write_row(number, 0, cells)
    upload(client, written.getvalue(), "libro.xlsx")
    shown = press(client, 1, "sheet", sheet="Sin título").text
    assert 'max="9999" value="1"' in shown
    fields = {**fields_of(shown), "deed": "check"}
    checked = client.post("/importar/1", data=fields).text
    assert "<b>9 filas</b>" in checked
    back = press(client, 1, "sheet", sheet="Con título").text
    assert 'max="9999" value="4"' in back


def test_a_book_whose_first_sheet_is_empty_is_kept(visit: Visitor) -> None:
    client = visit(Role.COORDINATION)
    written = io.BytesIO()
    with xlsxwriter.Workbook(written, {"in_memory": True}) as book:
        book.add_worksheet("Portada")
        book.add_worksheet("Lista").write_row(0, 0, ["Nombre", "Correo"])
    assert "Ver esta hoja" in upload(client, written.getvalue(), "libro.xlsx").text
    assert 'max="9999" value="1"' in press(client, 1, "sheet", sheet="Lista").text


def test_a_header_far_below_may_be_told(visit: Visitor) -> None:
    client = visit(Role.COORDINATION)
    upload(client, "\n".join([*(f"renglón {n};x" for n in range(30)), "Nombre;Correo", "Ana;ana@example.org"]).encode())
    assert 'max="9999" value="31"' in press(client, 1, "sheet", header="31").text
    assert "Esta hoja no tiene columnas." in press(client, 1, "sheet", header="500").text


def test_a_mended_row_keeps_each_cell_in_its_column(visit: Visitor, database: Database) -> None:
    client = visit(Role.COORDINATION)
    body = b'Nombre;Correo;Notas;Notas\nAna;"ana arroba\nana2@example.org";;Taller\n'
    started = taken(client, database, body, **{"column.3": "source"})
    assert started.counts["refused"] == 1
    shown = client.get("/importar/1/filas/2").text
    assert ">ana arroba\nana2@example.org</textarea>" in shown, "lines stay lines"
    client.post(
        "/importar/1/filas/2",
        data={**csrf_of(client), "cell.0": "Ana", "cell.1": "ana@example.org\r\nana2@example.org", "cell.3": "Taller"},
    )
    with database.session(write=False) as session:
        out = contacts.to_out(contacts.get(session, 1))
    assert (out.source, [email.address for email in out.emails]) == ("Taller", ["ana@example.org", "ana2@example.org"])


def test_what_was_undone_is_no_example_for_the_next_list(visit: Visitor, database: Database) -> None:
    client = visit(Role.COORDINATION)
    body = b"Quien;Correo\nAna;ana@example.org\n"
    taken(client, database, body, **{"column.0": "full_name"})
    client.post("/importar/1/deshacer", data={**csrf_of(client), "numero": "1"})
    assert "se leen como entonces" not in upload(client, body, "otra.csv").text


def test_after_thirty_days_nobody_is_asked_to_mend(visit: Visitor, database: Database) -> None:
    client = visit(Role.COORDINATION)
    taken(client, database, CROOKED)
    assert "Ver por qué y corregir" in client.get("/importar/1").text
    with database.session() as session:
        session.execute(sa.update(Import).values(started_at=clock.now() - timedelta(days=31)))
    shown = client.get("/importar/1").text
    assert "Ver por qué y corregir" not in shown
    assert "se borró a los 30 días" in shown


def test_a_list_without_titles_loses_nobody_and_keeps_nobody_as_a_title(visit: Visitor, database: Database) -> None:
    client = visit(Role.COORDINATION)
    shown = upload(client, b"Ana;ana@example.org;Chicago\nEva;eva@example.org;Dallas\n").text
    assert "La lista no tiene títulos" in shown
    assert "La primera fila debe tener los títulos" not in shown
    checked = press(client, 1, "check", **{"column.0": "given_names", "column.2": "city"})
    assert "Revisar" in checked.text
    press(client, 1, "import")
    done = carried_out(database, 1)
    assert done.counts["created"] == 2
    assert "ana@example.org" not in str(done.columns) + str(done.checked)
    upload(client, b"Alta;Baja;x\nLuz;luz@example.org;Dallas\n", "sin.csv")
    number = newest(database)
    press(client, number, "sheet", header="0")
    press(client, number, "check", header="0")
    again = press(client, number, "check", **{"column.0": "given_names", "column.1": "emails"})
    assert again.status_code == 200


def test_warns_that_a_column_of_consents_is_not_read(visit: Visitor, database: Database) -> None:
    client = visit(Role.COORDINATION)
    upload(client, sheet([["Ana", "ana@example.org", "No"]], ["Nombre", "Correo", "¿Acepta recibir correos?"]))
    assert "La columna «¿Acepta recibir correos?» no se lee" in client.get(f"/importar/{newest(database)}").text
    upload(client, sheet([["Luis", "luis@example.org"]], ["Nombre", "Correo"]))
    assert "quite del archivo a quien no aceptó" not in client.get(f"/importar/{newest(database)}").text


def test_tells_of_a_refused_row_also_what_was_left_out_of_it(visit: Visitor, database: Database) -> None:
    client = visit(Role.COORDINATION)
    rows = [["ROXA800101MDFSXL04 Olga", "", "Lima"], ["Ana", "ana@example.org", "Lima"], ["Eva", "eva@example.org", "Lima"]]
    done = taken(client, database, sheet(rows, ["Nombre", "Correo", "Ciudad"]))
    page = client.get(f"/importar/{done.id}/filas?estado=refused").text
    assert "La fila no tiene nombre ni correo" in page
    assert SENTENCES["document_not_kept"] in html.unescape(page)
    assert "ROXA800101" not in page


def test_a_forged_encoding_does_not_lock_the_page_of_an_import(visit: Visitor, database: Database) -> None:
    client = visit(Role.COORDINATION)
    upload(client, sheet(people(2)))
    number = newest(database)
    assert press(client, number, "check", told_encoding="utf-16").status_code == 422
    assert client.get(f"/importar/{number}").status_code == 200
    assert press(client, number, "check").status_code == 200
