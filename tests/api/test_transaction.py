"""One request, one transaction, committed before the answer leaves."""

from typing import Any

import anyio
import httpx2
import sqlalchemy as sa
from fastapi import FastAPI
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

from crm.database import Database
from crm.history import ActorKind, Change
from crm.people.models import Contact
from crm.staff.models import ApiCall
from tests.api.conftest import make_key

ANA = {"given_names": "Ana", "first_surname": "Núñez"}


def count(database: Database, table: Any) -> int:
    with database.session(write=False) as session:
        return session.scalar(sa.select(sa.func.count()).select_from(table)) or 0


def test_commits_before_the_answer_begins_to_leave(app: FastAPI, database: Database) -> None:
    seen: list[tuple[int, int]] = []

    async def watched(scope: Scope, receive: Receive, send: Send) -> None:
        async def look_and_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen.append((count(database, Contact), count(database, ApiCall)))
            await send(message)

        await app(scope, receive, look_and_send)

    async def call() -> None:
        headers = {"Authorization": f"Bearer {make_key(database, 'contacts:write')}"}
        transport = httpx2.ASGITransport(app=watched)
        async with httpx2.AsyncClient(transport=transport, base_url="http://test", headers=headers) as tool:
            assert (await tool.post("/contacts", json=ANA)).status_code == 201
            assert (await tool.get("/contacts")).status_code == 200

    anyio.run(call)
    assert seen == [(1, 1), (1, 2)]


def test_rolls_back_what_a_refused_request_had_begun(tool: TestClient, database: Database) -> None:
    made = tool.post("/contacts", json={**ANA, "emails": ["ana@example.org"], "tags": ["taller"]})
    assert made.status_code == 201
    before = count(database, Change)
    refused = tool.post("/contacts", json={**ANA, "emails": ["ana@example.org"], "tags": ["otra"], "city": "Londres"})
    assert refused.status_code == 409
    assert count(database, Change) == before


def test_signs_what_it_changes_with_the_client(tool: TestClient, database: Database) -> None:
    tool.post("/contacts", json=ANA)
    with database.session(write=False) as session:
        change = session.scalars(sa.select(Change).where(Change.entity == "contact")).one()
        assert (change.actor_kind, change.actor_id) == (ActorKind.CLIENT, 1)


def test_reads_while_another_transaction_writes(tool: TestClient, database: Database) -> None:
    tool.post("/contacts", json=ANA)
    with database.session() as session:
        session.execute(sa.update(Contact).values(source="otra"))
        with database.session(write=False) as reader:
            assert reader.scalar(sa.select(Contact.source)) is None
