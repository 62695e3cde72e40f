"""Every route of both doors, walked as everybody: the tables of `crm.staff.rights` hold, and nothing is outside of them."""

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta

import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.testclient import TestClient

from api import app as api
from api.guard import GuardedRoute
from crm import clock
from crm.config import Settings
from crm.database import Database
from crm.staff import accounts, clients, rights, sign_in
from crm.staff.models import ApiClient, Role, StaffSession
from crm.staff.rights import API, PAGES, SCOPES, Access
from web import app as web
from web.dependencies import cookie_name

PASSWORD = "una frase larga de prueba"


def routes_of(app: FastAPI) -> set[str]:
    """Every route of an app, as the tables write it; mounted static files are no routes."""
    return {
        f"{method} {route.path}"
        for route in iter_route_contexts(app.routes)
        for method in (route.methods or set()) - {"HEAD", "OPTIONS"}
    }


def walk(table: Mapping[str, Access]) -> Iterator[tuple[str, str, str, Access]]:
    """Each row as its name, its method, an address that fits its template, and what it asks."""
    for name, access in table.items():
        method, path = name.split(" ")
        yield name, method, re.sub(r"\{[^}]*\}", "1", path), access


# --- the API ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def api_app(database: Database, settings: Settings) -> FastAPI:
    return api.build(database, settings)


def key_of(database: Database, *scopes: str) -> str:
    with database.session() as session:
        return clients.create(session, "Sitio", "Ana", scopes)[1]


def statuses(app: FastAPI, key: str | None, table: Mapping[str, Access]) -> dict[str, int]:
    """What each row of a table answers to a key."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    tool = TestClient(app, headers=headers, raise_server_exceptions=False)
    return {name: tool.request(method, path).status_code for name, method, path, _ in walk(table)}


def test_every_api_route_has_a_row_and_every_row_a_route(api_app: FastAPI) -> None:
    assert routes_of(api_app) == set(API)


def test_a_route_without_a_row_is_refused_to_everyone(api_app: FastAPI, database: Database) -> None:
    api_app.router.routes.clear()
    api_app.router.add_api_route("/forgotten", lambda: "secret", route_class_override=GuardedRoute)
    tool = TestClient(api_app, headers={"Authorization": f"Bearer {key_of(database, *SCOPES)}"})
    assert tool.get("/forgotten").status_code == 403


def test_no_api_route_opens_without_a_living_key(api_app: FastAPI, database: Database) -> None:
    revoked, expired = key_of(database, *SCOPES), key_of(database, *SCOPES)
    with database.session() as session:
        clients.revoke(session, 1)
        session.execute(sa.update(ApiClient).where(ApiClient.id == 2).values(expires_at=clock.now() - timedelta(seconds=1)))
    for key in (None, revoked, expired, "rvc_abc_def"):
        for name, status in statuses(api_app, key, API).items():
            assert (status == 200) if API[name].public else (status == 401), (name, key)


@pytest.mark.parametrize("scope", sorted(SCOPES))
def test_an_api_route_opens_to_its_scope_alone(api_app: FastAPI, database: Database, scope: str) -> None:
    held = rights.widened(frozenset({scope}))
    for name, status in statuses(api_app, key_of(database, scope), API).items():
        allowed = API[name].public or {API[name].scope, API[name].also or API[name].scope} <= held
        assert (status not in {401, 403, 500}) if allowed else (status == 403), (name, status)


def test_scopes_widen_to_reading_the_same_resource_and_nothing_else() -> None:
    assert rights.widened(frozenset({"campaigns:send"})) == {"campaigns:send", "campaigns:read"}
    assert all(access.public or access.scope in SCOPES for access in API.values())


@pytest.mark.parametrize("route", ["preview", "tests"])
def test_a_route_that_shows_people_asks_for_contacts_too(api_app: FastAPI, database: Database, route: str) -> None:
    """A scope of campaigns alone must not lead to the values of every person."""
    path = f"/campaigns/1/{route}"
    for scopes, status in (({"campaigns:write"}, 403), ({"contacts:write"}, 403), ({"campaigns:write", "contacts:read"}, 422)):
        tool = TestClient(api_app, headers={"Authorization": f"Bearer {key_of(database, *scopes)}"})
        refused = tool.post(path)
        assert refused.status_code == status, (scopes, refused.text)
        assert status == 422 or refused.json()["code"] == "scope_missing"


# --- the pages --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def web_app(database: Database, settings: Settings) -> FastAPI:
    return web.build(database, settings)


class Browser:
    """A browser, signed in as a role or not, that posts forms as our pages do."""

    def __init__(self, app: FastAPI, database: Database, settings: Settings, role: Role | None) -> None:
        self.csrf = ""
        self.client = TestClient(
            app, follow_redirects=False, raise_server_exceptions=False, headers={"Sec-Fetch-Site": "same-origin"}
        )
        if role is not None:
            self._sign_in(database, settings, role)

    def _sign_in(self, database: Database, settings: Settings, role: Role) -> None:
        with database.session() as session:
            accounts.create(session, f"{role}@example.org", "Ana", role, PASSWORD)
        opened, token = sign_in.sign_in(database, f"{role}@example.org", PASSWORD, "203.0.113.7")
        self.csrf = opened.csrf_token
        self.client.cookies.set(cookie_name(settings), token)

    def refuses(self, method: str, path: str) -> bool:
        """Whether a page turns who asks away: to the sign-in, or with 401 or 403."""
        form = {"csrf": self.csrf} if method == "POST" else None
        answer = self.client.request(method, path, data=form)
        assert answer.status_code != 500, path
        to_sign_in = answer.status_code == 303 and answer.headers["location"].startswith("/entrar")
        return answer.status_code in {401, 403} or (to_sign_in and path != "/salir")


def test_every_page_has_a_row_and_every_row_a_page(web_app: FastAPI) -> None:
    assert routes_of(web_app) == set(PAGES)


def test_pages_open_to_nobody_who_is_not_signed_in(web_app: FastAPI, database: Database, settings: Settings) -> None:
    browser = Browser(web_app, database, settings, None)
    for name, method, path, access in walk(PAGES):
        if name == "POST /salir":
            continue  # whoever is not signed in is sent to the sign-in, as whoever just left is
        assert browser.refuses(method, path) == (not access.public), name


@pytest.mark.parametrize("role", list(Role))
def test_pages_open_to_the_roles_that_hold_their_right(
    web_app: FastAPI, database: Database, settings: Settings, role: Role
) -> None:
    browser = Browser(web_app, database, settings, role)
    for name, method, path, access in sorted(walk(PAGES), key=lambda row: row[0] == "POST /salir"):
        allowed = access.public or access.right is None or access.right in rights.ROLES[role]
        assert browser.refuses(method, path) == (not allowed), name


@pytest.mark.parametrize("forged", ["token", "site", "origin"])
def test_a_form_from_elsewhere_changes_nothing(web_app: FastAPI, database: Database, settings: Settings, forged: str) -> None:
    browser = Browser(web_app, database, settings, Role.ADMINISTRATION)
    if forged == "token":
        browser.csrf = "otra"
    elif forged == "site":
        browser.client.headers["Sec-Fetch-Site"] = "cross-site"
    else:
        del browser.client.headers["Sec-Fetch-Site"]
        browser.client.headers["Origin"] = "https://example.com"
    for name, method, path, access in walk(PAGES):
        if method == "POST" and not access.public:
            assert browser.refuses(method, path), name
    with database.session(write=False) as session:
        assert session.scalar(sa.select(sa.func.count(StaffSession.id))) == 1
