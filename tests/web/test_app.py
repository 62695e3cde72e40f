"""What holds for every page: headers, static files, errors, and the commit before the answer."""

import re

import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from starlette.testclient import TestClient

from crm.config import Settings
from crm.database import Database
from crm.people.models import Tag
from crm.staff import accounts, rights
from crm.staff.models import Role
from tests.web.conftest import PASSWORD, Visitor
from web.app import build
from web.dependencies import SessionOf
from web.headers import FORM_LIMIT
from web.pages import static_url


def test_every_answer_carries_the_strict_policy(anybody: TestClient, visit: Visitor) -> None:
    for answer in (anybody.get("/entrar"), visit(Role.READING).get("/"), anybody.get("/no-existe")):
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;")
        assert "unsafe" not in policy
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-robots-tag"] == "noindex, nofollow"
        assert "HX-Request" in answer.headers["vary"]
        assert re.search(r"<[^>]+\s(style|on\w+)=|<script(?![^>]*\ssrc=)|<style", answer.text) is None


@pytest.mark.parametrize("path", ["/contactos/", "/p/baja/x/", "/entrar/", "/static"])
def test_leads_nowhere_for_a_slash_too_many(anybody: TestClient, path: str) -> None:
    answer = anybody.get(path, headers={"Host": "mal.example.com"}, follow_redirects=False)
    assert (answer.status_code, answer.headers.get("location")) == (404, None)


def test_static_files_are_kept_for_good_under_their_digest(anybody: TestClient) -> None:
    answer = anybody.get(static_url("app.css"))
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert anybody.get("/static/000000000000/app.css").headers["cache-control"] == "no-cache"
    assert anybody.get(static_url("../pages.py")).status_code == 404


def test_an_unknown_page_is_told_in_words(anybody: TestClient, visit: Visitor) -> None:
    for answer in (anybody.get("/no-existe"), visit(Role.READING).get("/envios/mañana")):
        assert answer.status_code == 404
        assert "No encontramos esa página" in answer.text


def test_a_fragment_that_is_not_signed_in_leads_to_the_sign_in(anybody: TestClient) -> None:
    answer = anybody.get("/contactos", headers={"HX-Request": "true", "HX-Request-Type": "partial"})
    assert (answer.status_code, answer.headers["hx-redirect"]) == (401, "/entrar")


def test_a_fault_of_ours_shows_nothing_of_itself(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(rights.PAGES, "GET /falla", rights.PUBLIC)

    @app.get("/falla")
    def _fail() -> None:
        raise RuntimeError("persona@example.org")

    answer = TestClient(app, raise_server_exceptions=False).get("/falla")
    assert answer.status_code == 500
    assert "persona@example.org" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_commits_before_the_answer_leaves(app: FastAPI, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Measured trap: without scope="function" a `yield` dependency commits after the answer was sent."""
    monkeypatch.setitem(rights.PAGES, "POST /etiqueta", rights.PUBLIC)
    seen: list[int] = []

    class Peek(PlainTextResponse):
        async def __call__(self, scope: object, receive: object, send: object) -> None:
            with database.session(write=False) as session:
                seen.append(session.scalar(sa.select(sa.func.count()).select_from(Tag)) or 0)
            await super().__call__(scope, receive, send)  # type: ignore[arg-type]

    @app.post("/etiqueta", response_class=Peek)
    def _write(session: SessionOf) -> Peek:
        session.add(Tag(name="t", key="t"))
        return Peek("listo")

    assert TestClient(app).post("/etiqueta").status_code == 200
    assert seen == [1]


def test_refuses_a_form_that_is_too_large_whether_or_not_it_says_so(anybody: TestClient, visit: Visitor) -> None:
    large = b"correo=" + b"x" * FORM_LIMIT
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    pieces = (large[place : place + 8192] for place in range(0, len(large), 8192))
    for answer in (
        anybody.post("/entrar", content=large, headers=form),
        anybody.post("/entrar", content=pieces, headers=form),
        visit(Role.COORDINATION).post("/envios/1/pausar", content=large, headers=form),
    ):
        assert answer.status_code == 413
        assert "El formulario pesa más de 64 KB" in answer.text
        assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_every_page_says_that_mails_stay_here_and_that_data_are_a_demo(
    visit: Visitor, database: Database, settings: Settings
) -> None:
    client = visit(Role.COORDINATION)
    pages = ("/", "/contactos", "/campanas", "/envios/9")
    for url in pages:
        page = client.get(url).text
        assert "Sin servidor de correo:</b> los correos se quedan en este equipo" in page, url
        assert "Datos de demostración" not in page, url
    with database.session() as session:
        accounts.create(session, "demo@example.org", "Ana", Role.READING, PASSWORD, is_demo=True)
    assert all("Datos de demostración:</b> personas sintéticas" in client.get(url).text for url in pages)
    relayed = Settings(**settings.model_dump() | {"smtp_url": "smtp://127.0.0.1:2525"})
    with_relay = TestClient(build(database, relayed), cookies=client.cookies)
    assert all("Sin servidor de correo" not in with_relay.get(url).text for url in pages)
