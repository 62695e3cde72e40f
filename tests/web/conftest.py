"""The real web door over a real database, as each role sees it."""

from collections.abc import Callable

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from crm.config import Settings
from crm.database import Database
from crm.staff import accounts, sign_in
from crm.staff.models import Role
from tests.web.network import build_network
from web.app import build
from web.dependencies import cookie_name

PASSWORD = "una frase larga de prueba"
ADDRESS = "laura@example.org"

Visitor = Callable[[Role], TestClient]


@pytest.fixture
def app(database: Database, settings: Settings) -> FastAPI:
    return build(database, settings)


@pytest.fixture
def network(database: Database) -> None:
    """Three hundred people in the database."""
    with database.session() as session:
        build_network(session, 300)


@pytest.fixture
def anybody(app: FastAPI) -> TestClient:
    """A browser that is not signed in."""
    return TestClient(app, headers={"Sec-Fetch-Site": "same-origin"})


@pytest.fixture
def visit(app: FastAPI, database: Database, settings: Settings) -> Visitor:
    """Makes a browser that is signed in with a role; its forms carry the token in `csrf`."""

    def signed_in(role: Role) -> TestClient:
        with database.session() as session:
            accounts.create(session, f"{role}@example.org", "Laura Guzmán", role, PASSWORD)
        opened, token = sign_in.sign_in(database, f"{role}@example.org", PASSWORD, "203.0.113.7")
        client = TestClient(app, headers={"Sec-Fetch-Site": "same-origin"})
        client.cookies.set(cookie_name(settings), token)
        client.csrf = opened.csrf_token  # type: ignore[attr-defined]  # what a form would carry
        return client

    return signed_in


def csrf_of(client: TestClient) -> dict[str, str]:
    """The hidden field of the forms of a signed-in browser."""
    return {"csrf": client.csrf}  # type: ignore[attr-defined]  # set by `visit`
