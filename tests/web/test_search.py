"""Ctrl+K, the test mailbox and the manual inside the product."""

import re
from pathlib import Path

import pytest
import sqlalchemy as sa
from fastapi import FastAPI

from crm.catcher import MAILS
from crm.database import Database
from crm.people.models import EmailAddress
from crm.staff.models import Role
from tests.web.conftest import Visitor
from tests.web.network import build_send
from web.manual import MANUAL, manual_page, pages
from web.pages import HELP_PAGES

FRAGMENT = {"HX-Request": "true", "HX-Request-Type": "partial"}


def test_finds_things_of_every_kind_and_leads_to_them(visit: Visitor, network: None, database: Database) -> None:
    with database.session() as session:
        build_send(session, accepted=1)
    client = visit(Role.EDITING)
    page = client.get("/buscar?q=club chil", headers=FRAGMENT).text
    assert page.lstrip().startswith('<div id="found"')
    assert "<h2>Organizaciones</h2>" in page
    people = client.get("/buscar", params={"q": "NÚÑEZ"}).text
    doors = re.findall(r'href="(/personas/\d+)"', people)
    assert 1 <= len(doors) <= 5
    assert client.get(doors[0]).status_code == 200
    assert "Nada contiene «zzyzx»" in client.get("/buscar?q=zzyzx").text
    assert client.get("/buscar").status_code == 200


def test_finds_no_addresses_for_who_may_not_see_them(visit: Visitor, network: None, database: Database) -> None:
    with database.session(write=False) as session:
        address = session.scalars(sa.select(EmailAddress.address).limit(1)).one()
    assert "/personas/" in visit(Role.EDITING).get("/buscar", params={"q": address}).text
    assert 'href="/personas/' not in visit(Role.READING).get("/buscar", params={"q": address}).text


@pytest.mark.parametrize("text", ["%", "_", "\\", "'", "\0", "a" * 5000, "<script>"])
def test_takes_whatever_is_typed(visit: Visitor, text: str) -> None:
    answer = visit(Role.READING).get("/buscar", params={"q": text})
    assert answer.status_code == 200
    assert "<script>" not in answer.text.partition("<main")[2]


def test_reads_the_test_mailbox_while_there_is_no_relay(visit: Visitor, app: FastAPI) -> None:
    folder: Path = app.state.settings.data_dir / MAILS
    folder.mkdir(parents=True)
    for number in range(1, 31):
        head = f"X-Envelope-To: p{number}@example.org\r\nFrom: red@example.org\r\nSubject: =?utf-8?q?Aviso_{number}_=C3=B1?=\r\n"
        body = "Content-Type: text/html; charset=utf-8\r\n\r\n<p>Hola <script>alert(1)</script></p>\r\n"
        (folder / f"{number:07}.eml").write_bytes((head + body).encode())
    client = visit(Role.EDITING)
    page = client.get("/buzon").text
    assert "Aviso 30 ñ" in page
    assert "/buzon?antes=6" in page
    assert "Aviso 1 ñ" in client.get("/buzon?antes=6").text
    assert "p7@example.org" in client.get("/buzon/7").text
    shown = client.get("/buzon/7/vista")
    assert "sandbox" in shown.headers["content-security-policy"]
    assert client.get("/buzon/99").status_code == 404
    assert visit(Role.READING).get("/buzon").status_code == 403
    app.state.settings = app.state.settings.model_copy(update={"smtp_url": "smtp://127.0.0.1:25?tls=none"})
    assert client.get("/buzon").status_code == 404


def test_shows_every_page_of_the_manual_with_links_that_lead_somewhere(visit: Visitor) -> None:
    client = visit(Role.READING)
    assert set(HELP_PAGES.values()) <= {name for name, _ in pages()}
    for name, title in [*pages(), ("", "")]:
        answer = client.get(f"/ayuda/{name}".rstrip("/"))
        assert answer.status_code == 200, name
        assert title in answer.text
        for href in re.findall(r'href="(/ayuda/[^"#]+)', answer.text):
            assert client.get(href).status_code == 200, href
    assert client.get("/ayuda/inventada").status_code == 404


def test_the_manual_speaks_of_no_pages_that_are_not_there() -> None:
    for path in MANUAL.glob("*.md"):
        assert manual_page(path.stem)[0], path.name


def test_the_help_of_a_page_speaks_of_that_page(visit: Visitor) -> None:
    client = visit(Role.COORDINATION)
    for path, name in (
        ("/campanas/enviado", "respuestas"),
        ("/exportar?todas=1", "respuestas"),
        ("/regularizar", "bajas"),
        ("/lotes", "tareas"),
        ("/contactos", "personas"),
    ):
        assert f'id="open-help" href="/ayuda/{name}"' in client.get(path).text, path
