"""Idempotency-Key and If-Match: requests that may be sent twice, and changes that do not undo each other."""

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
import time_machine
from starlette.testclient import TestClient

from crm.database import Database
from crm.people.models import Contact
from crm.staff.models import ApiAnswer
from tests.api.conftest import Caller

ANA = {"given_names": "Ana", "first_surname": "Núñez"}
KEY = {"Idempotency-Key": "f3b1-alta-1"}


def people(database: Database) -> int:
    with database.session(write=False) as session:
        return session.scalar(sa.select(sa.func.count(Contact.id))) or 0


def test_creates_once_and_gives_the_same_answer_again(tool: TestClient, database: Database) -> None:
    first = tool.post("/contacts", json=ANA, headers=KEY)
    again = tool.post("/contacts", json=ANA, headers=KEY)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert people(database) == 1
    tool.post("/contacts", json=ANA)
    assert people(database) == 2


def test_refuses_a_key_that_was_used_with_other_content_or_elsewhere(tool: TestClient) -> None:
    tool.post("/contacts", json=ANA, headers=KEY)
    for refused in (
        tool.post("/contacts", json={**ANA, "language": "en"}, headers=KEY),
        tool.post("/contacts/batch", json={"items": [ANA]}, headers=KEY),
    ):
        assert (refused.status_code, refused.json()["code"]) == (409, "idempotency_key_reused")


def test_keeps_the_keys_of_clients_apart(caller: Caller, database: Database) -> None:
    for tool in (caller("contacts:write"), caller("contacts:write")):
        assert tool.post("/contacts", json=ANA, headers=KEY).status_code == 201
    assert people(database) == 2


def test_forgets_a_key_with_a_refused_request_and_after_a_day(tool: TestClient, database: Database) -> None:
    with time_machine.travel(datetime(2026, 11, 22, tzinfo=UTC), tick=False) as traveller:
        body = {"address": "no es correo", "reason": "bounced", "happened_on": "2026-11-20", "proof": "550"}
        assert tool.post("/suppressions", json=body, headers=KEY).status_code == 422
        assert tool.post("/suppressions", json={**body, "address": "luz@example.org"}, headers=KEY).status_code == 201
        traveller.shift(timedelta(days=1, seconds=1))
        assert tool.post("/contacts", json=ANA, headers=KEY).status_code == 201
    with database.session(write=False) as session:
        assert len(session.scalars(sa.select(ApiAnswer.answer)).all()) == 1


def test_refuses_a_key_of_another_form(tool: TestClient) -> None:
    for key in ("", " ", "con espacio", "x" * 201):
        assert tool.post("/contacts", json=ANA, headers={"Idempotency-Key": key}).status_code == 422, key


def test_changes_only_the_version_that_was_read(tool: TestClient) -> None:
    made = tool.post("/contacts", json=ANA)
    path = f"/contacts/{made.json()['id']}"
    read = tool.get(path)
    assert read.headers["ETag"] == made.headers["ETag"]
    changed = tool.patch(path, json={"language": "en"}, headers={"If-Match": read.headers["ETag"]})
    assert changed.status_code == 200
    late = tool.patch(path, json={"language": "es"}, headers={"If-Match": read.headers["ETag"]})
    assert (late.status_code, late.json()["code"]) == (412, "contact_changed")
    assert tool.patch(path, json={"phone": "+1 555 0100"}, headers={"If-Match": "*"}).status_code == 200
    assert tool.patch(path, json={"phone": None}, headers={"If-Match": "3"}).json()["code"] == "if_match_invalid"
    assert tool.get(path).json()["language"] == "en"
