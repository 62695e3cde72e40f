"""¿A quién y cuándo?: what was sent in a period, people as a file, and all that is held on one, by the pages."""

import csv
import html
import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from io import BytesIO, StringIO
from zipfile import ZipFile

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from crm import clock
from crm.config import Settings
from crm.database import Base, Database
from crm.errors import SENTENCES
from crm.history import Change
from crm.mailing import import_results, segments
from crm.mailing.models import Attempt, Campaign, Delivery, DeliveryState, Send
from crm.mailing.segment_schemas import SegmentIn
from crm.people import bulk_actions, consent, contacts, uploads
from crm.people.imports import Layout
from crm.people.models import BulkKind, Contact, Import, ImportState, Purpose, SuppressionReason
from crm.people.schemas import ContactPatch
from crm.staff.models import Role
from tests.mailing import factories
from tests.web.conftest import Visitor, csrf_of
from tests.web.network import build_send
from web import held_words
from web.held_words import Held

HERE = "/campanas/enviado"
WORDS = ("Fecha", "Campaña", "Asunto", "Finalidad", "Personas", "Países")


def rows_of(client: TestClient, query: str) -> list[dict[str, str]]:
    answer = client.get(f"{HERE}/archivo{query}&formato=csv")
    assert answer.headers["content-disposition"].startswith('attachment; filename="enviado-')
    return list(csv.DictReader(StringIO(answer.content.decode("utf-8-sig"), newline="")))


def day_of(send: Send) -> str:
    """The query of the day on which a send began."""
    day = clock.institute_time(send.started_at or send.starts_at).date().isoformat()
    return f"?desde={day}&hasta={day}"


def test_the_sends_of_a_period_as_a_page_and_a_file(visit: Visitor, network: None, database: Database) -> None:
    with database.session() as session:
        day = day_of(build_send(session, accepted=50))
    coordinator = visit(Role.COORDINATION)
    page = coordinator.get(HERE + day).text
    assert "/envios/1/personas?estado=sent" in page
    row = rows_of(coordinator, day)[0]
    assert row["Finalidad"] == "Invitación a un evento"
    figures = [int(value) for name, value in row.items() if name not in WORDS]
    assert sum(figures) == int(row["Personas"])
    assert "@" not in str(row)
    assert coordinator.get(f"{HERE}/archivo{day}&formato=xlsx").content[:2] == b"PK"
    people = coordinator.get(f"{HERE}/personas{day}").text
    assert f"{row['Aceptados']} personas distintas" in people
    last_year = (clock.now() - timedelta(days=400)).date().isoformat()
    assert rows_of(coordinator, f"?desde={last_year}&hasta={last_year}") == []
    for query, sentence in (
        ("?desde=ayer", "Esa fecha no existe"),
        ("?desde=2026-05-01&hasta=2026-04-01", "El periodo va de una fecha a otra"),
        ("?desde=2026-05-01&hasta=9999-12-31", "El periodo va de una fecha a otra"),
        ("?desde=0001-01-01", "entre los años 2000 y 2100"),
        ("?desde=9999-12-31", "entre los años 2000 y 2100"),
    ):
        for where in (HERE, f"{HERE}/archivo", f"{HERE}/personas"):
            answer = coordinator.get(where + query)
            assert (answer.status_code, sentence in answer.text) == (422, True), where + query


def test_a_figure_and_its_list_say_the_same_people(visit: Visitor, network: None, database: Database) -> None:
    with database.session() as session:
        send = build_send(session, accepted=50)
        day = day_of(send)
        ids = list(session.scalars(sa.select(Delivery.contact_id).where(Delivery.state == DeliveryState.SENT).limit(3)))
        sent = session.scalar(sa.select(sa.func.count()).where(Delivery.state == DeliveryState.SENT)) or 0
        # Who got the mail under a record that was joined since is the person of the other one, who got none.
        other = session.scalars(sa.select(Delivery.contact_id).where(Delivery.state == DeliveryState.SKIPPED).limit(1)).one()
        session.execute(sa.update(Contact).where(Contact.id == ids[0]).values(merged_into_id=other))
    coordinator = visit(Role.COORDINATION)
    told = f"{sent} personas distintas"
    assert told in coordinator.get(f"{HERE}/personas{day}").text
    assert f"Exportar {sent} personas" in coordinator.get("/exportar?envio=1&estado=sent").text
    with database.session() as session:
        session.execute(sa.update(Contact).where(Contact.id == ids[1]).values(blocked_at=clock.now()))
    page = coordinator.get(f"{HERE}/personas{day}").text
    assert told in page
    assert "1 persona ya no se muestra: sus datos están bloqueados." in page


def test_who_may_not_see_people_reads_no_small_group_and_cannot_reckon_it(
    visit: Visitor, network: None, database: Database
) -> None:
    with database.session() as session:
        send = build_send(session, accepted=50)
        day = day_of(send)
        mine = sa.select(Delivery.id).where(Delivery.send_id == send.id).order_by(Delivery.id)
        session.execute(sa.update(Delivery).where(Delivery.send_id == send.id).values(state=DeliveryState.SENT, reason=None))
        failed = sa.update(Delivery).where(Delivery.id == session.scalars(mine.limit(1)).one())
        session.execute(failed.values(state=DeliveryState.FAILED, reason="mailbox_unknown"))
        people = session.scalar(sa.select(sa.func.count()).select_from(mine.subquery())) or 0
    reader = visit(Role.READING)
    row = rows_of(reader, day)[0]
    figures = {"Personas": "no se muestra", "Aceptados": str(people - 1), "No se pudo": "menos de 5", "Pendientes": "0"}
    assert {name: row[name] for name in figures} == figures
    sheet = reader.get(f"{HERE}/archivo{day}&formato=xlsx").content
    with ZipFile(BytesIO(sheet)) as parts:
        text = "".join(parts.read(name).decode() for name in parts.namelist() if name.endswith(".xml"))
    page = reader.get(HERE + day).text.partition("<main")[2].partition("</main>")[0]
    assert f"<td>{people - 1}</td>" in page
    for shown in (page, text):
        assert shown.count("no se muestra") >= 1
        assert shown.count("menos de 5") == 1
        assert f">{people}<" not in shown, "less the accepted it is the hidden one"
    assert page.count(">no se muestra<") == 2, "the people of the row, and the different people of the period"
    assert f'<dt>Correos aceptados</dt>\n      <dd><data value="{people - 1}">' in page, "the sum of what is shown tells nothing"
    assert f"{people - 1} personas distintas" not in reader.get(f"{HERE}/personas{day}").text
    assert "por resta" in page


def test_people_leave_as_a_file_with_a_reason_that_stays(visit: Visitor, network: None, database: Database) -> None:
    coordinator, editor = visit(Role.COORDINATION), visit(Role.EDITING)
    assert editor.get("/exportar?todas=1").status_code == 403
    told = {"vista": "todas=1&pais=US", "formato": "csv"} | csrf_of(coordinator)
    refused = coordinator.post("/exportar", data=told | {"razon": ""})
    assert refused.status_code == 422
    answer = coordinator.post("/exportar", data=told | {"razon": "Lista para el consulado"})
    rows = list(csv.DictReader(StringIO(answer.content.decode("utf-8-sig"), newline="")))
    assert rows
    assert {row["País"] for row in rows} == {"Estados Unidos"}
    with database.session(write=False) as session:
        noted = session.scalars(sa.select(Change).where(Change.entity == "export")).one()
        assert noted.fields["rows"] == [None, len(rows)]
        assert noted.fields["view"] == [None, "Contactos (países: US)"]
    cards = coordinator.post("/exportar", data=told | {"vista": "id=3&id=5", "formato": "vcf", "razon": "Libreta de la unidad"})
    assert cards.text.count("BEGIN:VCARD") == 2


def test_the_people_of_a_send_leave_by_their_state(visit: Visitor, network: None, database: Database) -> None:
    with database.session() as session:
        build_send(session, accepted=50)
    coordinator = visit(Role.COORDINATION)
    page = coordinator.get("/exportar?envio=1&estado=skipped&motivo=no_consent").text
    assert "Envío 1, No se les escribe, Sin consentimiento para esta finalidad" in page
    assert coordinator.get("/exportar?envio=99").status_code == 404


def test_every_list_of_people_leaves_as_a_file_of_exactly_its_people(visit: Visitor, network: None, database: Database) -> None:
    with database.session() as session:
        build_send(session, accepted=40)
        rule = {"field": "country", "op": "in", "value": ["US", "CA"]}
        lists = [segments.create(session, SegmentIn(name="Norteamérica", rule=rule)).id]
        session.execute(sa.update(Campaign).values(include=lists, purpose=Purpose.ELECTORAL_INFORMATION))
        session.execute(sa.update(Contact).where(Contact.id == 5).values(blocked_at=clock.now()))
    coordinator, reader = visit(Role.COORDINATION), visit(Role.READING)
    purpose = "finalidad=electoral_information"
    for page, query in (
        (f"{HERE}/personas", "periodo=1&"),
        (f"/segmentos/1/personas?{purpose}", f"audiencia=1&{purpose}"),
        (f"/segmentos/1/personas?{purpose}&motivo=no_consent", f"audiencia=1&{purpose}&motivo=no_consent"),
        ("/campanas/1/personas", "campana=1"),
        ("/campanas/1/personas?motivo=no_consent", "campana=1&motivo=no_consent"),
        ("/contactos?segmento=1", ""),
    ):
        shown, whole = people_of(coordinator, page)
        offered = re.search(r'href="/exportar\?([^"]+)"', whole)
        asked = html.unescape(offered[1]) if offered else "todas=1&segmento=1"
        assert asked.startswith(query)
        told = {"vista": asked, "formato": "vcf", "razon": "Lista para el consulado"} | csrf_of(coordinator)
        cards = coordinator.post("/exportar", data=told).text
        assert set(re.findall(r"UID:urn:red-voto-chilango:(\d+)", cards)) == shown - {"5"}, page
        assert shown - {"5"}
        assert "/exportar" not in reader.get(page).text
    assert "Exportar 1 persona<" in coordinator.get("/exportar?segmento=1&id=3").text, "marked ones of a segment's tab"
    assert coordinator.get("/exportar?periodo=1&desde=ayer").status_code == 422
    assert coordinator.get("/exportar?audiencia=99").status_code == 404


def people_of(client: TestClient, page: str) -> tuple[set[str], str]:
    """The people of all pages of a list, and its first page."""
    first = text = client.get(page).text
    shown: set[str] = set()
    while True:
        shown |= set(re.findall(r'href="/personas/(\d+)"', text))
        following = re.search(r'id="page-after" href="([^"]+)"', text)
        if not following:
            return shown, first
        text = client.get(html.unescape(following[1])).text


def test_the_privacy_role_sees_and_takes_all_that_is_held(visit: Visitor, network: None, database: Database) -> None:
    privacy, editor = visit(Role.PRIVACY), visit(Role.EDITING)
    assert editor.get("/personas/7/todo").status_code == 403
    with database.session() as session:
        contacts.change(session, 7, ContactPatch(phone="5512-34-56", academic_title="1234-05-06"))
    everything = privacy.get("/personas/7/todo").text
    assert "Direcciones de correo" in everything
    assert "5512-34-56" in everything
    assert "1234-05-06" in everything
    assert "Todo lo que guardamos" in privacy.get("/personas/7").text
    assert privacy.get("/personas/7/todo.json").status_code == 405, "what is taken is asked for by a button"
    held = json.loads(privacy.post("/personas/7/todo.json", data=csrf_of(privacy)).content)["held"]
    assert held["contact"][0]["id"] == 7
    with database.session(write=False) as session:
        noted = session.scalars(sa.select(Change).where(Change.entity == "full_record").order_by(Change.id)).all()
        assert [(one.entity_id, one.fields["form"][1], one.actor_id) for one in noted] == [(7, "page", 1), (7, "json", 1)]
        assert noted[1].fields["rows"] == [None, sum(map(len, held.values()))]
    assert "Todo lo que guardamos, visto o descargado" in privacy.get("/personas/7/todo").text


def test_the_period_that_is_shown_is_marked(visit: Visitor) -> None:
    reader = visit(Role.READING)
    marked = re.compile(r'<a href="([^"]+)" aria-current="page">([^<]+)</a>')
    tabs = dict(re.findall(r'<a href="(/campanas/enviado[?][^"]+)" ?(?:aria-current="page")?>([^<]+)</a>', reader.get(HERE).text))
    assert [words for _, words in marked.findall(reader.get(HERE).text) if words in tabs.values()] == ["Este trimestre"]
    for href, words in tabs.items():
        assert (href, words) in marked.findall(reader.get(html.unescape(href)).text)
    assert not set(tabs.values()) & {words for _, words in marked.findall(reader.get(f"{HERE}?desde=2024-02-03").text)}


def test_all_that_is_held_is_told_in_words(visit: Visitor, database: Database, settings: Settings) -> None:
    privacy, _ = visit(Role.PRIVACY), visit(Role.COORDINATION)
    body = "Nombre;Primer apellido;Correo;Ciudad;Trato\nAna;Núñez;ana@example.org;Chicago;su señoría\n".encode()
    with database.session() as session:
        number = uploads.upload(session, body, "lista.csv").id
        uploads.describe(session, number, Layout(), None)
    uploads.try_out(database, number)
    with database.session() as session:
        uploads.confirm(session, number, 2)
    import_results.carry_out(database, number, lambda: False)
    with database.session() as session:
        person = session.scalars(sa.select(Contact.id)).one()
        chicago = session.get_one(Contact, person).city_id
        contacts.change(session, person, ContactPatch(city="Dallas", country="US"))
        bulk_actions.carry_out(session, BulkKind.LANGUAGE, "en", [person], 2)
        bulk_actions.carry_out(session, BulkKind.NOTE, "page", [person], 2)
        left = SuppressionReason.UNSUBSCRIBED
        consent.suppress(session, "ana@example.org", left, happened_on=clock.today(), proof="Llamada")
    with database.session() as session:
        send = factories.begun(session, settings, 1)
        delivery = session.scalars(sa.select(Delivery.id).where(Delivery.send_id == send.id)).one()
        reached = session.get_one(Delivery, delivery).contact_id
        told = {"delivery_id": delivery, "at": clock.now(), "state": DeliveryState.DEFERRED}
        session.add(Attempt(**told, step="message", reason="try_later"))
        session.add(Attempt(**told, reason="link_used"))
    shown = html.unescape(privacy.get(f"/personas/{person}/todo").text)
    values = dict.fromkeys(re.findall(r"<dd[^>]*>(.*?)</dd>", shown, re.DOTALL))
    assert any("Ciudad: Chicago → Dallas" in value for value in values)
    assert f"Ciudad: {chicago}" not in shown
    assert "Trato en el saludo: " + SENTENCES["treatment_unknown"] in values
    assert any("Trato: su señoría" in value for value in values), "the row as it came, under its own titles"
    assert {"Laura Guzmán", "Se cambió el idioma a Inglés", "Se anotó «page»", "Pidió la baja", "ana@example.org"} <= set(values)
    assert any(value.endswith("Texto: page") or value == "page" for value in values), "what a person wrote is no code"
    mails = html.unescape(privacy.get(f"/personas/{reached}/todo").text)
    for words in ("al terminar de entregarlo", "El servidor pidió intentar más tarde", "Se usó el enlace de su correo"):
        assert words in mails


def test_every_closed_list_that_is_told_has_words(session: Session) -> None:
    held = Held(session, 1, {})
    untold = [
        (table, column.name, value)
        for table in held_words.TABLES
        for column in Base.metadata.tables[table].columns
        if column.name in held_words.COLUMNS and column.name != "actor_kind"
        for value in getattr(column.type, "enums", ())
        if held.told(table, {column.name: value, "address_hash": ""})[-1][1] == value
    ]
    assert untold == []


# --- nobody waits for who reads ------------------------------------------------------------------------------------------------


@contextmanager
def counting_writers(database: Database) -> Iterator[list[bool]]:
    """For each reading of people or of rows of a list, whether another connection may write at that very moment."""
    told: list[bool] = []

    def look(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        if statement.lstrip().startswith("SELECT") and re.search(r"FROM (contact|import_row|email_address)\b", statement):
            told.append(_may_write(database.engine.url.database or ""))

    sa.event.listen(database.engine, "before_cursor_execute", look)
    try:
        yield told
    finally:
        sa.event.remove(database.engine, "before_cursor_execute", look)


def _may_write(path: str) -> bool:
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as other:
        try:
            other.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        other.execute("ROLLBACK")
        return True


WAITED_FOR = {
    "/exportar": {"vista": "todas=1", "formato": "xlsx", "razon": "Lista para el consulado"},
    "/importar/1/rechazadas": {},
    "/lotes/bajas": {"direcciones": "una@example.org", "motivo": "baja", "fecha": "2026-01-05", "prueba": "Llamada"},
    "/segmentos/nuevo": {
        "deed": "side",
        "groups": "1",
        "0.rows": "1",
        "0.0.field": "language",
        "0.0.op": "is",
        "0.0.value": '"es"',
    },
    "/personas/parecidas": {"given_names": "Sofía", "first_surname": "Núñez"},
    "/campanas/1/redactar": {"deed": "autosave", "version": "1"},
}


@pytest.mark.once
def test_who_reads_much_keeps_nobody_from_writing(visit: Visitor, network: None, database: Database) -> None:
    if database.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL has no lock of all writers")
    with database.session() as session:
        build_send(session, accepted=5)
        session.add(Import(file_name="lista.csv", sha256="0" * 64, state=ImportState.DONE))
    coordinator = visit(Role.COORDINATION)
    for path, form in WAITED_FOR.items():
        with counting_writers(database) as told:
            answer = coordinator.post(path, data=form | csrf_of(coordinator))
        assert answer.status_code < 500, path
        assert told, path
        assert all(told), f"{path} keeps others from writing while it reads"
