"""The server before both doors: health, headers, compression, and a log that tells nothing of anybody."""

import logging
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from crm.config import Settings
from crm.database import Database
from crm.keys import load_keys
from crm.server import AccessLog, Headers, LastResort, build
from crm.staff.rights import SCOPES
from tests.api.conftest import make_key

MARKERS = ("marcador-de-persona", "ana@example.org", "token-secreto", "rvc_")


@pytest.fixture
def key(database: Database) -> str:
    return make_key(database, *SCOPES)


@pytest.fixture
def browser(database: Database, settings: Settings) -> TestClient:
    return TestClient(build(database, settings), follow_redirects=False)


def test_tells_that_it_lives_and_that_it_is_ready(browser: TestClient) -> None:
    assert browser.get("/healthz").text == "ok"
    assert browser.get("/readyz").text == "ok"


def test_is_not_ready_without_a_migrated_database(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    database = Database(settings, load_keys(tmp_path))
    browser = TestClient(build(database, settings))
    assert browser.get("/healthz").status_code == 200
    assert browser.get("/readyz").status_code == 503
    database.dispose()


def test_opens_each_door_at_its_address(browser: TestClient, key: str) -> None:
    assert browser.get("/api/v1/contacts").status_code == 401
    assert browser.get("/api/v1/contacts", headers={"Authorization": f"Bearer {key}"}).json() == {"items": [], "next": None}
    assert browser.get("/api/v1/docs").status_code == 200
    assert browser.get("/api/v1/openapi.json").json()["servers"] == [{"url": "/api/v1"}]
    assert browser.get("/entrar").status_code == 200
    assert browser.get("/").headers["location"].startswith("/entrar")
    assert browser.get("/api/v1/nada").headers["content-type"] == "application/problem+json"
    assert browser.get("/api/v1/%0a").json()["code"] == "route_not_found"


@pytest.mark.parametrize("path", ["/healthz", "/api/v1/contacts", "/api/v1/docs", "/entrar", "/", "/nada", "/p/baja/x"])
def test_gives_every_answer_its_headers(browser: TestClient, path: str) -> None:
    headers = browser.get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] in {"no-referrer", "same-origin"}
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert "Strict-Transport-Security" not in headers


def test_asks_for_https_where_it_is_used(database: Database, settings: Settings) -> None:
    behind = settings.model_copy(update={"base_url": "https://red.example.org"})
    assert "max-age" in TestClient(build(database, behind)).get("/healthz").headers["Strict-Transport-Security"]


def test_compresses_what_is_long(browser: TestClient) -> None:
    assert browser.get("/api/v1/openapi.json").headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in browser.get("/api/v1/openapi.json", headers={"Accept-Encoding": "identity"}).headers


def test_writes_the_template_of_a_route_and_never_its_address(
    browser: TestClient, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    browser.headers["Authorization"] = f"Bearer {key}"
    browser.get("/api/v1/contacts", params={"q": MARKERS[0]})
    browser.post("/api/v1/contacts", json={"given_names": MARKERS[0], "emails": [MARKERS[1]]})
    browser.post("/api/v1/contacts", json={"given_names": MARKERS[0], "emails": [MARKERS[1]]})
    browser.get("/api/v1/contacts/1")
    browser.get(f"/p/baja/{MARKERS[2]}")
    browser.post(f"/p/baja/{MARKERS[2]}")
    browser.get(f"/{MARKERS[2]}")
    browser.request(MARKERS[2].upper(), "/")
    told = [record.getMessage() for record in caplog.records if record.name == "crm.access"]
    assert [line.rpartition(" ")[0].rpartition(" ")[0] for line in told] == [
        "GET /api/v1/contacts 200",
        "POST /api/v1/contacts 201",
        "POST /api/v1/contacts 409",
        "GET /api/v1/contacts/{contact_id} 200",
        "GET /p/baja/{token} 200",
        "POST /p/baja/{token} 200",
        "GET - 404",
        "? / 405",
    ]
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith("httpx")]
    assert not [line for line in ours for marker in MARKERS if marker.lower() in line.lower()]


def test_answers_for_a_fault_without_its_words(caplog: pytest.LogCaptureFixture) -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        raise KeyError(MARKERS[1])

    app = LastResort(AccessLog(Headers(failing, https=False)))
    with caplog.at_level(logging.INFO):
        page = TestClient(app).get(f"/contactos?q={MARKERS[0]}")
        data = TestClient(app).get("/api/v1/contacts")
    assert (page.status_code, data.status_code) == (500, 500)
    assert page.text.startswith("Algo falló")
    assert data.json()["code"] == "internal_error"
    written = [record.getMessage() for record in caplog.records if record.name.startswith("crm")]
    assert written[0].startswith("GET - 500 ")
    assert written[1].startswith("KeyError in -: ")
    assert written[1].endswith(" failing")
    assert not [line for line in written for marker in MARKERS if marker in line]
    assert all(record.exc_info is None for record in caplog.records if record.name.startswith("crm"))
