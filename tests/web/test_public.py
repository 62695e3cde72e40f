"""The way out of every mail: looking changes nothing, one click is enough, and no answer tells a known link from another."""

import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from starlette.testclient import TestClient

from crm.database import Database, keys_of
from crm.mailing import links
from crm.mailing.models import Delivery
from crm.people import consent
from crm.people.models import Contact, Suppression
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
