"""Keys, pace, bodies that cannot be stored, and the record of each call."""

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
import time_machine
from fastapi import FastAPI
from starlette.testclient import TestClient

from api import guard
from api.errors import BODY_LIMIT
from crm.database import Database
from crm.staff import clients
from crm.staff.models import ApiCall, ApiClient
from tests.api.conftest import Caller, make_key

ANA = {"given_names": "Ana", "first_surname": "Núñez", "emails": ["ana@example.org"]}


def calls(database: Database) -> list[tuple[str, str, int, int | None]]:
    with database.session(write=False) as session:
        rows = session.scalars(sa.select(ApiCall).order_by(ApiCall.id))
        return [(row.method, row.route, row.status, row.rows) for row in rows]


def test_refuses_a_call_without_a_key_and_reads_none_from_the_address(app: FastAPI, database: Database) -> None:
    key = make_key(database, "contacts:read")
    bare = TestClient(app)
    for refused in (
        bare.get("/contacts"),
        bare.get("/contacts", params={"key": key, "access_token": key, "Authorization": f"Bearer {key}"}),
        bare.get("/contacts", headers={"Cookie": f"Authorization={key}; key={key}"}),
        bare.get("/contacts", headers={"Authorization": f"Basic {key}"}),
        bare.get("/contacts", headers={"X-Api-Key": key}),
    ):
        assert (refused.status_code, refused.json()["code"]) == (401, "key_invalid")
        assert refused.headers["WWW-Authenticate"].startswith("Bearer")
    assert bare.get("/contacts", headers={"Authorization": f"bearer  {key}"}).status_code == 200


def test_refuses_a_key_from_the_moment_it_is_revoked_or_expires(app: FastAPI, database: Database) -> None:
    with time_machine.travel(datetime(2026, 11, 22, tzinfo=UTC), tick=False) as traveller:
        with database.session() as session:
            client, key = clients.create(session, "Sitio", "Ana", ["contacts:read"], days=2)
        tool = TestClient(app, headers={"Authorization": f"Bearer {key}"})
        assert tool.get("/contacts").status_code == 200
        traveller.shift(timedelta(days=2))
        assert tool.get("/contacts").status_code == 401
        traveller.shift(timedelta(days=-1))
        assert tool.get("/contacts").status_code == 200
        with database.session() as session:
            clients.revoke(session, client.id)
        assert tool.get("/contacts").status_code == 401


def test_judges_the_key_before_it_reads_the_body(caller: Caller) -> None:
    body = b"{" * 100
    assert caller().post("/contacts", content=body).status_code == 401
    assert caller("contacts:read").post("/contacts", content=body).json()["code"] == "scope_missing"


def test_records_each_call_with_its_route_and_rows_and_nothing_of_its_address(tool: TestClient, database: Database) -> None:
    tool.post("/contacts/batch", json={"items": [ANA, {"given_names": "Luz"}]})
    tool.get("/contacts", params={"q": "ana", "limit": 1})
    tool.get("/contacts/999")
    tool.post("/contacts", json={"given_names": 3})
    tool.get("/openapi.json")
    assert calls(database) == [
        ("POST", "/contacts/batch", 200, 2),
        ("GET", "/contacts", 200, 1),
        ("GET", "/contacts/{contact_id}", 404, None),
        ("POST", "/contacts", 422, None),
    ]
    with database.session(write=False) as session:
        assert session.scalars(sa.select(ApiClient.last_used_at)).one() is not None


def test_gives_the_answer_that_was_committed_though_its_record_fails(
    tool: TestClient, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """A broken table of calls stands for whatever may go wrong while a call is recorded."""
    with database.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE api_call RENAME TO elsewhere")
    made = tool.post("/contacts", json=ANA)
    assert made.status_code == 201
    assert tool.get(f"/contacts/{made.json()['id']}").json() == made.json()
    assert tool.get("/contacts/999").status_code == 404
    logged = [record.getMessage() for record in caplog.records if record.name == "crm.api"]
    assert len(logged) == 3
    assert all(line.startswith("call_not_recorded ") and "ana@" not in line for line in logged)


def test_records_a_refused_scope_too(caller: Caller, database: Database) -> None:
    caller("segments:read").get("/contacts")
    assert calls(database) == [("GET", "/contacts", 403, None)]


def test_tells_the_pace_and_refuses_beyond_it(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "PER_MINUTE", 3)
    with time_machine.travel(datetime(2026, 11, 22, 12, 0, 30, tzinfo=UTC), tick=False) as traveller:
        tool, other = caller("contacts:read"), caller("contacts:read")
        told = [tool.get("/tags") for _ in range(4)]
        assert [answer.status_code for answer in told] == [200, 200, 200, 429]
        assert [answer.headers["RateLimit"] for answer in told][:2] == ['"default";r=2;t=30', '"default";r=1;t=30']
        assert told[-1].headers["Retry-After"]
        assert told[-1].json()["code"] == "too_many_requests"
        assert other.get("/tags").status_code == 200
        traveller.shift(timedelta(seconds=30))
        assert tool.get("/tags").status_code == 200


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"given_names": "A\\u0000na"}', "body_not_storable"),
        (b'{"given_names": "\\ud800"}', "body_not_storable"),
        (b'{"\\u0000": "Ana"}', "body_not_storable"),
        (b'{"given_names": 99999999999999999999}', "body_not_storable"),
        (b'{"given_names": 1e999}', "body_not_storable"),
        (b'{"given_names": NaN}', "body_unreadable"),
        (b'{"a": ' + b"[" * 60 + b"]" * 60 + b"}", "body_not_storable"),
        (b"[" * 200_000, "body_unreadable"),
        (b"\xc3\x28", "body_unreadable"),
        (b"{", "invalid_input"),
        (b"", "invalid_input"),
        (b"7", "invalid_input"),
    ],
)
def test_refuses_a_body_that_no_database_would_take(tool: TestClient, body: bytes, code: str) -> None:
    refused = tool.post("/contacts", content=body, headers={"Content-Type": "application/json"})
    assert (refused.status_code, refused.json()["code"]) == (422, code)


def test_refuses_what_cannot_be_stored_in_an_address(tool: TestClient) -> None:
    for path in ("/contacts?q=%00", "/contacts?%00=1", "/contacts/%00", "/contacts/99999999999999999999", "/tags?cursor=AA%00"):
        assert tool.get(path).status_code in {404, 422}, path
    assert tool.get("/contacts?cursor=WyJhIiwgOTIyMzM3MjAzNjg1NDc3NTgwNl0").status_code in {200, 422}, "an id beyond 32 bits"
    assert tool.get("/tags", params={"cursor": "x"}).json()["code"] == "cursor_invalid"


def test_refuses_a_body_that_is_too_large_whether_or_not_it_says_so(tool: TestClient) -> None:
    chunk = b" " * 2**20
    for answer in (
        tool.post("/contacts", content=b"x" * (BODY_LIMIT + 1)),
        tool.post("/contacts", content=(chunk for _ in range(17)), headers={"Content-Type": "application/json"}),
        tool.post("/materials", content=(chunk for _ in range(17)), headers={"Content-Type": "multipart/form-data; boundary=x"}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
