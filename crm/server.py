"""The server: both doors as one ASGI app, with what stands before them.

    LastResort -> AccessLog -> Headers -> /healthz, /readyz
                                          /api/v1  the API (api/app.py)
                                          /        pages of staff, and under /p/ the public ones (web/app.py)

No line of the log holds an address, a query, a token or a body: a request is told by its route's template, an error by
its kind and the places in our code that it went through.
"""

import logging
import time
from traceback import extract_tb

import sqlalchemy as sa
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import app as api
from api.errors import MEDIA_TYPE, problem
from crm.config import Settings
from crm.database import Database
from crm.errors import SENTENCES
from web import app as web

access_log = logging.getLogger("crm.access")
error_log = logging.getLogger("crm.errors")

API_PREFIX = "/api/v1"
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}
"""Of every answer, unless the door that made it says otherwise."""
HSTS = "max-age=31536000"


def build(database: Database, settings: Settings) -> ASGIApp:
    """The whole product as one ASGI app over a migrated database."""
    app = Starlette(
        routes=[
            Route("/healthz", _is_alive),
            Route("/readyz", _is_ready),
            Mount(API_PREFIX, GZipMiddleware(api.build(database, settings), minimum_size=1000, compresslevel=6)),
            Mount("", web.build(database, settings)),
        ],
        exception_handlers={404: _nowhere},
    )
    app.state.database = database
    return LastResort(AccessLog(Headers(app, https=settings.is_https)))


async def _nowhere(request: Request, _error: Exception) -> JSONResponse | PlainTextResponse:
    """An address that fits neither door, such as one with a line break in it."""
    return _told(request.scope, 404, "route_not_found")


async def _is_alive(_request: Request) -> PlainTextResponse:
    """The process answers."""
    return PlainTextResponse("ok")


async def _is_ready(request: Request) -> PlainTextResponse:
    """The database answers and was migrated; 503 otherwise."""
    try:
        await run_in_threadpool(_read_version, request.app.state.database)
    except sa.exc.SQLAlchemyError:
        return PlainTextResponse("the database is not ready", 503)
    return PlainTextResponse("ok")


def _read_version(database: Database) -> None:
    with database.session(write=False) as session:
        session.execute(sa.text("SELECT version_num FROM alembic_version")).one()


class Headers:
    """Middleware that gives every answer the headers that it lacks."""

    def __init__(self, app: ASGIApp, *, https: bool) -> None:
        self.app = app
        self.headers = HEADERS | ({"Strict-Transport-Security": HSTS} if https else {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self.headers.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, send_with_headers)


class AccessLog:
    """Middleware that writes a line for each request: method, template of the route, status, milliseconds."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun, status = time.perf_counter(), 500

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, send_and_note)
        finally:
            took = (time.perf_counter() - begun) * 1000
            access_log.info("%s %s %d %.0f ms", _method(scope), template_of(scope), status, took)


class LastResort:
    """Middleware that answers what nothing else answered, and keeps the words of an error out of the log."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def send_and_note(message: Message) -> None:
            nonlocal begun
            begun = begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, send_and_note)
        except Exception as error:
            if scope["type"] != "http":
                raise
            error_log.error("%s in %s: %s", type(error).__name__, template_of(scope), _places(error))
            if not begun:
                await _told(scope, 500, "internal_error")(scope, receive, send)


def template_of(scope: Scope) -> str:
    """The route of a request as it is written in the code, such as `/contactos/{contact_id}`; never the address itself."""
    path = getattr(scope.get("route"), "path", None)
    if not path:
        return "/static" if scope.get("root_path") == "/static" else "-"
    prefix = API_PREFIX if scope.get("root_path") == API_PREFIX else ""
    return prefix + str(path)


def _method(scope: Scope) -> str:
    """A method that someone made up is not written down."""
    method = str(scope["method"])
    return method if method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} else "?"


def _places(error: Exception) -> str:
    """Where an error went through, innermost last: files, lines and functions, without what they held."""
    frames = extract_tb(error.__traceback__)[-12:]
    return " > ".join(f"{'/'.join(frame.filename.split('/')[-2:])}:{frame.lineno} {frame.name}" for frame in frames)


def _told(scope: Scope, status: int, code: str) -> JSONResponse | PlainTextResponse:
    """An error that no door told: as the API tells it, or in a sentence."""
    if scope["path"].startswith(API_PREFIX):
        return JSONResponse(problem(status, code).model_dump(), status, media_type=MEDIA_TYPE)
    return PlainTextResponse(SENTENCES[code], status)
