"""¿A quién y cuándo?: what was sent in a period, people as a file, and all that is held on one, by the pages."""

import csv
import json
from datetime import timedelta
from io import StringIO

import sqlalchemy as sa
from starlette.testclient import TestClient

from crm import clock
from crm.database import Database
from crm.history import Change
from crm.staff.models import Role
from tests.web.conftest import Visitor, csrf_of
from tests.web.network import build_send

HERE = "/campanas/enviado"
WORDS = ("Fecha", "Campaña", "Asunto", "Finalidad", "Personas", "Países")


def rows_of(client: TestClient, query: str = "") -> list[dict[str, str]]:
    answer = client.get(f"{HERE}/archivo?formato=csv{query}")
    assert answer.headers["content-disposition"].startswith('attachment; filename="enviado-')
    return list(csv.DictReader(StringIO(answer.content.decode("utf-8-sig"), newline="")))


def test_the_sends_of_a_quarter_as_a_page_and_a_file(visit: Visitor, network: None, database: Database) -> None:
    with database.session() as session:
        build_send(session, accepted=50)
    coordinator, reader = visit(Role.COORDINATION), visit(Role.READING)
    page = coordinator.get(HERE).text
    assert "/envios/1/personas?estado=sent" in page
    row = rows_of(coordinator)[0]
    assert row["Finalidad"] == "Invitación a un evento"
    figures = [int(value) for name, value in row.items() if name not in WORDS]
    assert sum(figures) == int(row["Personas"])
    assert "@" not in str(row)
    assert coordinator.get(f"{HERE}/archivo?formato=xlsx").content[:2] == b"PK"
    assert any(value == "menos de 5" for value in rows_of(reader)[0].values())
    assert "menos de 5" in reader.get(HERE).text
    people = coordinator.get(f"{HERE}/personas").text
    assert f"{row['Aceptados']} personas distintas" in people
    last_year = (clock.now() - timedelta(days=400)).date().isoformat()
    assert rows_of(coordinator, f"&desde={last_year}&hasta={last_year}") == []
    for query in ("?desde=ayer", "?desde=2026-05-01&hasta=2026-04-01", "?desde=0001-01-01"):
        assert coordinator.get(HERE + query).status_code == 422


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


def test_the_privacy_role_sees_and_takes_all_that_is_held(visit: Visitor, network: None) -> None:
    privacy, editor = visit(Role.PRIVACY), visit(Role.EDITING)
    assert editor.get("/personas/7/todo").status_code == 403
    assert "Direcciones de correo" in privacy.get("/personas/7/todo").text
    assert "Todo lo que guardamos" in privacy.get("/personas/7").text
    held = json.loads(privacy.get("/personas/7/todo.json").content)["held"]
    assert held["contact"][0]["id"] == 7
