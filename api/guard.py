"""What every request passes before its route runs: rights, pace, and a body that can be stored.

`GuardedRoute` asks `crm.staff.rights.API` for the access of its route before a byte of the body is read; a route without
a row is refused. `Recorder` notes each call of a client before its answer leaves.
"""

import json
import logging
import math
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import BODY_LIMIT
from crm import clock
from crm.database import Database
from crm.errors import TooLarge, TooMany
from crm.mailing import outgoing
from crm.staff import clients, rights

log = logging.getLogger("crm.api")

DEPTH_LIMIT = 40
"""Most levels of lists and objects in a body."""
WIDTH_LIMIT = 20_000
"""Most entries of one list or object of a body, as `body_too_wide` says: checking each would keep all other callers waiting."""
PER_MINUTE = 600
"""Requests that a client may make in a minute, counted by each process."""
WINDOW_SECONDS = 60


@dataclass
class Call:
    """A call in the making: who calls, by which route, and how many rows go out or come in."""

    client_id: int
    route: str
    scopes: frozenset[str] = frozenset()
    """What the client holds, with what that includes."""
    rows: int | None = None
    """None means the one record that the route is about."""
    remaining: int = PER_MINUTE
    resets_in: int = WINDOW_SECONDS


@dataclass
class Pace:
    """Requests of each client in the present minute."""

    window: int = 0
    counts: dict[int, int] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)

    def count(self, call: Call) -> None:
        """Count a request; TooMany(too_many_requests) when the minute is full."""
        second = int(clock.now().timestamp())
        with self.lock:
            if second // WINDOW_SECONDS != self.window:
                self.window, self.counts = second // WINDOW_SECONDS, {}
            used = self.counts[call.client_id] = self.counts.get(call.client_id, 0) + 1
        call.remaining = max(0, PER_MINUTE - used)
        call.resets_in = WINDOW_SECONDS - second % WINDOW_SECONDS
        if used > PER_MINUTE:
            raise TooMany("too_many_requests")


class GuardedRoute(APIRoute):
    """A route that only runs for a client with its scope."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            await run_in_threadpool(_admit, request, self.path_format)
            _refuse_large(request)
            _check_texts([*request.path_params.values(), *request.query_params.keys(), *request.query_params.values()])
            return await handle(StorableRequest(request.scope, request.receive))

        return guarded


class StorableRequest(Request):
    """A request whose body is bounded and holds nothing that a database cannot store."""

    async def stream(self) -> AsyncIterator[bytes]:  # type: ignore[override]  # starlette says AsyncGenerator
        size = 0
        async for chunk in super().stream():
            size += len(chunk)
            if size > BODY_LIMIT:
                raise HTTPException(413, "body_too_large")
            yield chunk

    async def json(self) -> Any:
        try:
            value = json.loads(await self.body(), parse_constant=_no_constant)
        except (UnicodeDecodeError, RecursionError) as error:
            raise HTTPException(422, "body_unreadable") from error
        _check_depth(value)
        return value


class Recorder:
    """Middleware that notes each call of a client before its answer leaves, and tells the client its pace."""

    def __init__(self, app: ASGIApp, database: Database) -> None:
        self.app = app
        self.database = database

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def record_and_send(message: Message) -> None:
            if message["type"] == "http.response.start" and call_of(scope):
                _tell_pace(message, scope)
                await run_in_threadpool(self._record, scope, message["status"])
            await send(message)

        try:
            await self.app(scope, receive, record_and_send)
        except Exception:
            if call_of(scope):
                await run_in_threadpool(self._record, scope, 500)
            raise

    def _record(self, scope: Scope, status: int) -> None:
        """Note a call. What the route committed stands, so a record that cannot be written never changes its answer."""
        call = call_of(scope)
        if call is not None:
            rows = None if status >= 400 else 1 if call.rows is None else call.rows
            try:
                with self.database.session() as session:
                    clients.log_call(session, call.client_id, scope["method"], call.route, status, rows)
            except Exception as error:
                log.error("call_not_recorded %s", type(error).__name__)


def call_of(scope: Scope) -> Call | None:
    """The call of a request, once its client is known."""
    found: Call | None = scope.get("crm.call")
    return found


def _admit(request: Request, path: str) -> None:
    """Find the client of the key and check its right to the route; NotSignedIn, Forbidden, TooMany."""
    access = rights.access_of(rights.API, request.method, path)
    if access.public:
        return
    database: Database = request.app.state.database
    with database.session(write=False) as session:
        client = clients.authenticate(session, _bearer(request))
        request.state.settings = outgoing.effective(session, request.app.state.settings)
    call = request.scope["crm.call"] = Call(client.id, path, rights.widened(frozenset(client.scopes)))
    request.app.state.pace.count(call)
    rights.check_scopes(access, call.scopes)


def _bearer(request: Request) -> str:
    """The key, from the Authorization header and from nowhere else."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.casefold() == "bearer" else ""


def _refuse_large(request: Request) -> None:
    declared = request.headers.get("content-length", "0")
    if not declared.isascii() or not declared.isdigit() or int(declared) > BODY_LIMIT:
        raise TooLarge("body_too_large", limit=BODY_LIMIT // 2**20)


def _tell_pace(message: Message, scope: Scope) -> None:
    call = call_of(scope)
    if call is not None:
        headers = MutableHeaders(scope=message)
        headers["RateLimit-Policy"] = f'"default";q={PER_MINUTE};w={WINDOW_SECONDS}'
        headers["RateLimit"] = f'"default";r={call.remaining};t={call.resets_in}'


# --- what can be stored -----------------------------------------------------------------------------------------------------


def _no_constant(_name: str) -> float:
    raise HTTPException(422, "body_unreadable")


def _check_depth(value: Any) -> None:
    """Walk a JSON value level by level; 422 (body_not_storable, body_too_wide) for what cannot be taken."""
    level = [value]
    for _ in range(DEPTH_LIMIT):
        _check_texts(level)
        level = [child for each in level for child in _children(each)]
        if not level:
            return
    raise HTTPException(422, "body_not_storable")


def _children(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list) and len(value) > WIDTH_LIMIT:
        raise HTTPException(422, "body_too_wide")
    if isinstance(value, dict):
        yield from value.keys()
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _check_texts(values: Any) -> None:
    """Refuse NUL (PostgreSQL), lone surrogates (no UTF-8) and numbers beyond 64 bits or not finite."""
    for value in values:
        if isinstance(value, str) and ("\0" in value or not _is_utf8(value)):
            raise HTTPException(422, "body_not_storable")
        if isinstance(value, int) and abs(value) >= 2**63:
            raise HTTPException(422, "body_not_storable")
        if isinstance(value, float) and not math.isfinite(value):
            raise HTTPException(422, "body_not_storable")


def _is_utf8(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)
