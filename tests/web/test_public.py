"""The way out of every mail: looking changes nothing, one click is enough, and no answer tells a known link from another."""

from base64 import b64decode
from datetime import date
from io import BytesIO

import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from pypdf import PdfWriter
from starlette.testclient import TestClient

from crm.database import Database, keys_of
from crm.mailing import links
from crm.mailing.models import Delivery
from crm.outreach import materials
from crm.outreach.models import MaterialKind
from crm.outreach.schemas import MaterialIn
from crm.people import consent
from crm.people.models import Contact, PrivacyNotice, Suppression
from tests.web.network import build_send


@pytest.fixture
def token(database: Database, network: None) -> str:
    """The link of a person who reads Spanish."""
    with database.session() as session:
        build_send(session, accepted=50)
        person = sa.select(Delivery.id).where(Delivery.language == "es", Delivery.state == "sent").order_by(Delivery.id)
        return keys_of(session).sign_link("delivery", session.scalars(person).first() or 0)


def suppressed(database: Database) -> int:
    with database.session(write=False) as session:
        return session.scalar(sa.select(sa.func.count(Suppression.id))) or 0


def test_looking_changes_nothing(anybody: TestClient, database: Database, token: str) -> None:
    before = suppressed(database)
    answer = anybody.get(f"/p/baja/{token}")
    assert anybody.head(f"/p/baja/{token}").status_code in {200, 405}
    assert suppressed(database) == before
    assert "p***@example.org" in answer.text
    assert "<script" not in answer.text
    assert "set-cookie" not in answer.headers
    expected = {"cache-control": "no-store", "x-robots-tag": "noindex, nofollow", "referrer-policy": "no-referrer"}
    assert {name: answer.headers[name] for name in expected} == expected
    assert "script-src" not in answer.headers["content-security-policy"]


def test_one_click_takes_the_person_out_once_and_for_all(app: object, database: Database, token: str) -> None:
    """As a mail program posts it (RFC 8058): from nowhere, without a cookie, twice."""
    program, before = TestClient(app), suppressed(database)  # type: ignore[arg-type]  # any ASGI app
    for _ in range(2):
        answer = program.post(f"/p/baja/{token}", data={"List-Unsubscribe": "One-Click"}, headers={"Sec-Fetch-Site": "cross-site"})
        assert answer.status_code == 200
        assert "Listo: baja registrada" in answer.text
    assert suppressed(database) == before + 1
    with database.session(write=False) as session:
        number = keys_of(session).read_link("delivery", token)
        left = sa.select(consent.mail_state()).select_from(Contact).join(Delivery, Delivery.contact_id == Contact.id)
        assert session.scalar(left.where(Delivery.id == number)) == "unsubscribed"


def test_answers_a_known_and_an_unknown_link_alike(anybody: TestClient, database: Database, token: str) -> None:
    with database.session(write=False) as session:
        missing = keys_of(session).sign_link("delivery", 10**6)
    answers = {anybody.post(f"/p/baja/{one}").text for one in (token, missing, "x", "a" * 24)}
    assert len(answers) == 1


def test_the_link_of_no_one_says_that_it_is_a_test(anybody: TestClient, database: Database) -> None:
    with database.session(write=False) as session:
        nobody = keys_of(session).sign_link("delivery", links.NO_ONE)
    for answer in (anybody.get(f"/p/baja/{nobody}"), anybody.post(f"/p/baja/{nobody}")):
        assert "Esto es una prueba" in answer.text
        assert "baja registrada" not in answer.text
    assert "Era una prueba: nada cambió" in answer.text
    assert suppressed(database) == 0


def test_reads_nothing_of_what_a_mail_program_posts(app: FastAPI, database: Database, token: str) -> None:
    before = suppressed(database)
    answer = TestClient(app).post(f"/p/baja/{token}", content=b"x" * 2**20, headers={"Content-Type": "multipart/form-data"})
    assert answer.status_code == 200
    assert suppressed(database) == before + 1


def test_speaks_the_language_of_the_person(anybody: TestClient, database: Database, token: str) -> None:
    with database.session(write=False) as session:
        english = session.scalars(sa.select(Delivery.id).where(Delivery.language == "en", Delivery.address.is_not(None))).first()
        signed = keys_of(session).sign_link("delivery", english or 0)
    answer = anybody.get(f"/p/baja/{signed}")
    assert '<html lang="en">' in answer.text
    assert "Do you want to stop receiving mails" in answer.text


PNG = b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAsTj2LAAAAABJRU5ErkJggg==")


def kept(database: Database, *, is_public: bool, file_name: str = "folleto ñ.png", body: bytes = PNG) -> str:
    """The public name of a new material."""
    told = MaterialIn(kind=MaterialKind.LEAFLET, title="Folleto", is_public=is_public)
    with database.session() as session:
        return materials.create(session, told, body=body, file_name=file_name).public_name


def test_gives_the_file_of_a_public_material_to_anybody(anybody: TestClient, database: Database) -> None:
    answer = anybody.get(f"/p/materiales/{kept(database, is_public=True)}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    assert answer.content.startswith(b"\x89PNG")
    expected = {
        "content-disposition": "inline; filename*=UTF-8''folleto%20%C3%B1.png",
        "content-security-policy": "sandbox; default-src 'none'",
        "cache-control": "private, max-age=3600",
        "x-content-type-options": "nosniff",
    }
    assert {name: answer.headers[name] for name in expected} == expected
    assert "set-cookie" not in answer.headers


def test_has_a_pdf_saved(anybody: TestClient, database: Database) -> None:
    written = BytesIO()
    with PdfWriter() as writer:
        writer.add_blank_page(200, 300)
        writer.write(written)
    answer = anybody.get(f"/p/materiales/{kept(database, is_public=True, file_name='a.pdf', body=written.getvalue())}")
    assert answer.headers["content-type"] == "application/pdf"
    assert answer.headers["content-disposition"].startswith("attachment;")


def test_tells_a_material_that_is_not_public_like_one_that_is_not_there(anybody: TestClient, database: Database) -> None:
    names = (kept(database, is_public=False), "a" * 32, "1", "%00", "..%2Fpublico")
    answers = {(answer.status_code, answer.text) for name in names[:3] for answer in [anybody.get(f"/p/materiales/{name}")]}
    assert {status for status, _ in answers} == {404}
    assert len(answers) == 1
    assert {anybody.get(f"/p/materiales/{name}").status_code for name in names[3:]} == {404}


def test_shows_a_version_of_the_privacy_notice_as_it_is_kept(anybody: TestClient, database: Database) -> None:
    with database.session() as session:
        text = "El Instituto trata sus datos.\n\nUsted puede <b>oponerse</b>."
        session.add(PrivacyNotice(version="2027-1", text=text, url="javascript:alert(1)", valid_from=date(2027, 1, 1)))
    answer = anybody.get("/p/aviso/2027-1")
    assert answer.status_code == 200
    assert ">El Instituto trata sus datos.</p>" in answer.text
    assert ">Usted puede &lt;b&gt;oponerse&lt;/b&gt;.</p>" in answer.text
    assert "vigente desde el 1 ene 2027" in answer.text
    assert "javascript:" not in answer.text
    assert answer.headers["x-robots-tag"] == "noindex, nofollow"
    for version in ("2020-9", "%00", "x" * 5000):
        assert anybody.get(f"/p/aviso/{version}").status_code == 404
