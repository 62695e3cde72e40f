"""What routes share: the transaction, paths, pages, conditional and repeatable requests, and the shape of a list."""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Generic, TypeVar

from fastapi import Depends, Header, Path, Query, Request, Response
from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.guard import Call, call_of
from crm import clock
from crm.config import Settings
from crm.database import PAGE_LIMIT, Database, insert_new
from crm.errors import Conflict, InvalidInput
from crm.history import Actor, ActorKind
from crm.staff import clients
from crm.staff.models import ApiAnswer

Item = TypeVar("Item")
Out = TypeVar("Out", bound=BaseModel)

RowId = Annotated[int, Path(ge=1, lt=2**31, description="Number of the record.")]
LIMIT = Query(ge=1, le=PAGE_LIMIT, description=f"Most records of a page, up to {PAGE_LIMIT}.")
CURSOR = Query(max_length=2000, description="`next` of the page before.")
Limit = Annotated[int, LIMIT]
Cursor = Annotated[str | None, CURSOR]


class Page(BaseModel, Generic[Item]):
    """A page of a list; ``next`` is the cursor of the page after it, null on the last one."""

    items: list[Item]
    next: str | None


# --- one request, one transaction -------------------------------------------------------------------------------------------


def _call(request: Request) -> Call:
    call = call_of(request.scope)
    if call is None:
        raise RuntimeError("a public route asks for what only a client has")
    return call


ThisCall = Annotated[Call, Depends(_call)]


def _reading(request: Request, call: ThisCall) -> Iterator[Session]:
    yield from _transaction(request, call, write=False)


def _writing(request: Request, call: ThisCall) -> Iterator[Session]:
    yield from _transaction(request, call, write=True)


def _transaction(request: Request, call: Call, *, write: bool) -> Iterator[Session]:
    database: Database = request.app.state.database
    with database.session(write=write, actor=Actor(ActorKind.CLIENT, call.client_id)) as session:
        yield session


# Only with this scope is the transaction committed before the answer leaves; see tests/api/test_transaction.py.
Reading = Annotated[Session, Depends(_reading, scope="function")]
Writing = Annotated[Session, Depends(_writing, scope="function")]


def _settings(request: Request) -> Settings:
    """As they hold now: how mails leave may be told on a page (see `crm.mailing.outgoing`)."""
    settings: Settings = getattr(request.state, "settings", None) or request.app.state.settings
    return settings


TheSettings = Annotated[Settings, Depends(_settings)]


def _database(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


TheDatabase = Annotated[Database, Depends(_database)]
"""For a route that waits for something else between two transactions; the others take `Reading` or `Writing`."""


def page(call: Call, items: Sequence[Item], cursor: str | None) -> Page[Item]:
    """A page, whose rows are counted in the record of the call."""
    call.rows = len(items)
    return Page(items=list(items), next=cursor)


# --- If-Match ---------------------------------------------------------------------------------------------------------------


def _if_match(
    if_match: Annotated[str | None, Header(max_length=40, description='The version that was read, as ETag tells it: "3".')] = None,
) -> int | None:
    if if_match is None or if_match.strip() == "*":
        return None
    found = re.fullmatch(r'(?:W/)?"(\d{1,15})"', if_match.strip(), re.ASCII)
    if found is None:
        raise InvalidInput("if_match_invalid", field="If-Match")
    return int(found[1])


IfMatch = Annotated[int | None, Depends(_if_match)]


def tag(response: Response, version: int) -> None:
    """Tell the version of a record, for the If-Match of a later change."""
    response.headers["ETag"] = f'"{version}"'


# --- Idempotency-Key --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Once:
    """Makes a creation under an Idempotency-Key happen once: asked again, it gives the answer that was given."""

    session: Session
    call: Call
    method_and_path: str
    key: str | None

    def __call__(self, asked: str, shape: type[Out], create: Callable[[], Out]) -> Out:
        """The answer of ``create``, or the kept one. ``asked`` is the content of the request, of which only a hash is kept.

        Conflict(idempotency_key_reused) for a key that was used with other content within a day.
        """
        if self.key is None:
            return create()
        digest = hashlib.sha256(f"{self.method_and_path}\n{asked}".encode()).hexdigest()
        clients.forget_answers(self.session)
        row = {"client_id": self.call.client_id, "key": self.key, "request_hash": digest, "answer": None, "at": clock.now()}
        insert_new(self.session, ApiAnswer, [row], unique=["client_id", "key"])
        kept = self.session.scalars(
            select(ApiAnswer).where(ApiAnswer.client_id == self.call.client_id, ApiAnswer.key == self.key)
        ).one()
        if kept.request_hash != digest:
            raise Conflict("idempotency_key_reused", field="Idempotency-Key")
        if kept.answer is not None:
            return shape.model_validate(kept.answer)
        made = create()
        kept.answer = made.model_dump(mode="json")
        self.session.flush()
        return made


def _once(
    request: Request,
    session: Writing,
    call: ThisCall,
    idempotency_key: Annotated[
        str | None,
        Header(
            max_length=200, description="A text of your own for this request: sent again within a day, it creates nothing twice."
        ),
    ] = None,
) -> Once:
    if idempotency_key is not None and not re.fullmatch(r"[\x21-\x7e]{1,200}", idempotency_key):
        raise InvalidInput("idempotency_key_invalid", field="Idempotency-Key")
    return Once(session, call, f"{request.method} {request.url.path}", idempotency_key)


OnlyOnce = Annotated[Once, Depends(_once)]


def content(data: BaseModel) -> str:
    """The content of a request as `Once` compares it."""
    return data.model_dump_json()
