"""The API as another tool meets it: over HTTP, with a key."""

from collections.abc import Callable

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from api.app import build
from crm.config import Settings
from crm.database import Database
from crm.staff import clients
from crm.staff.rights import SCOPES

Caller = Callable[..., TestClient]


def make_key(database: Database, *scopes: str) -> str:
    """The key of a new client with some scopes."""
    with database.session() as session:
        return clients.create(session, "Sitio votochilango", "Ana Núñez", scopes)[1]


@pytest.fixture
def app(database: Database, settings: Settings) -> FastAPI:
    return build(database, settings)


@pytest.fixture
def caller(app: FastAPI, database: Database) -> Caller:
    """Makes a tool whose key has the scopes named; without any, one that has no key."""

    def make(*scopes: str) -> TestClient:
        headers = {"Authorization": f"Bearer {make_key(database, *scopes)}"} if scopes else {}
        return TestClient(app, headers=headers, raise_server_exceptions=False)

    return make


@pytest.fixture
def tool(caller: Caller) -> TestClient:
    """A tool that may do everything that the API offers."""
    return caller(*SCOPES)
