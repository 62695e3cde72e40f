"""What every page asks before it runs: a session, who is signed in, the right to be there, and that a form is ours."""

import hmac
import ipaddress
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager
from typing import Annotated, cast

import sqlalchemy as sa
from fastapi import Depends, Request, Response
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData

from crm import clock
from crm.config import Settings
from crm.database import Database
from crm.errors import Forbidden, NotSignedIn
from crm.files import FILE_LIMIT
from crm.history import Actor, ActorKind
from crm.kept import kept
from crm.mailing import outgoing, relays
from crm.mailing.models import Send, SendState
from crm.people.models import Contact, visible
from crm.staff import sign_in
from crm.staff.models import Account, StaffSession
from crm.staff.rights import PAGES, access_of, check_role
from web.headers import PUBLIC_PREFIX
from web.pages import Frame, RelayTrouble, Viewer, is_fragment

SAFE_METHODS = {"GET", "HEAD"}


def settings_of(request: Request) -> Settings:
    """The settings as they hold now: those of the environment and, for who is signed in, how mails leave by what was told."""
    return cast("Settings", getattr(request.state, "settings", None) or base_settings_of(request))


def base_settings_of(request: Request) -> Settings:
    """The settings of the environment alone."""
    return cast("Settings", request.app.state.settings)


def database_of(request: Request) -> Database:
    return cast("Database", request.app.state.database)


def get_session(request: Request) -> Iterator[Session]:
    """One request, one transaction: committed before the answer leaves (that is what scope="function" promises)."""
    with writing(request) if request.method not in SAFE_METHODS else database_of(request).session(write=False) as session:
        yield session


def writing(request: Request) -> AbstractContextManager[Session]:
    """A transaction that may write, in the name of who is signed in."""
    viewer: Viewer | None = getattr(request.state, "viewer", None)
    database = database_of(request)
    return database.session(actor=Actor(ActorKind.ACCOUNT, viewer.account_id)) if viewer else database.session()


SessionOf = Annotated[Session, Depends(get_session, scope="function")]


def get_reading(request: Request) -> Iterator[Session]:
    """A transaction that only reads, for a form that asks and changes nothing: it keeps nobody from writing."""
    with database_of(request).session(write=False) as session:
        yield session


ReadingOf = Annotated[Session, Depends(get_reading, scope="function")]


async def posted(request: Request) -> AsyncIterator[FormData]:
    """The form of a POST of staff, its files closed at the end. Of a public page nothing is read: its link says it all, whatever
    a mail program posts; and of nobody's forms none but those by which one signs in."""
    unread = request.method in SAFE_METHODS or request.url.path.startswith(PUBLIC_PREFIX)
    if not unread and not access_of(PAGES, request.method, request.scope["route"].path).public:
        unread = not await run_in_threadpool(_is_signed_in, request)
    # How much a form may say is the limit of its whole body (`headers`); the library's own limit for a field is a bare refusal.
    form = FormData() if unread else await request.form(max_part_size=FILE_LIMIT)
    try:
        yield form
    finally:
        await form.close()


Posted = Annotated[FormData, Depends(posted)]


def _is_signed_in(request: Request) -> bool:
    with database_of(request).session(write=False) as session:
        return _signed_in(request, session) is not None


def guard(request: Request, form: Posted) -> None:
    """Let a request through by the row of its route in `PAGES`; deny by default. It looks in a transaction of its own, closed
    before the route begins: a route that waits for a mail server holds none meanwhile.

    Forbidden(forbidden | request_forged) or NotSignedIn(not_signed_in).
    """
    path = request.scope["route"].path
    access = access_of(PAGES, request.method, path)
    if path.startswith(PUBLIC_PREFIX):
        return
    if request.method not in SAFE_METHODS:
        _check_origin(request)
    with database_of(request).session(write=False) as session:
        found = _signed_in(request, session)
        if found is not None:
            _recognise(request, session, *found)
    if access.public:
        return
    check_role(access, found[1].role if found else None)
    if found and request.method not in SAFE_METHODS:
        _check_token(form, found[0])
    if found and sign_in.needs_touch(found[0]):
        with database_of(request).session() as session:
            sign_in.touch(session, found[0])


def viewer_of(request: Request) -> Viewer:
    """Who is signed in; NotSignedIn(not_signed_in)."""
    viewer: Viewer | None = getattr(request.state, "viewer", None)
    if viewer is None:
        raise NotSignedIn("not_signed_in")
    return viewer


ViewerOf = Annotated[Viewer, Depends(viewer_of)]


def _signed_in(request: Request, session: Session) -> tuple[StaffSession, Account] | None:
    token = request.cookies.get(cookie_name(settings_of(request)))
    return sign_in.session_of(session, token) if token else None


def _recognise(request: Request, session: Session, staff_session: StaffSession, account: Account) -> None:
    request.state.staff_session = staff_session
    request.state.settings = outgoing.effective(session, base_settings_of(request))
    request.state.viewer = Viewer(account.id, account.name, account.role, staff_session.csrf_token)
    if not is_fragment(request):
        request.state.frame = _frame(session, settings_of(request))


def _frame(session: Session, settings: Settings) -> Frame:
    (contacts, sending, demo), trouble = kept(
        session, "frame", lambda: (_frame_counts(session), relays.trouble_of(session, settings))
    )
    shown = RelayTrouble(trouble, clock.now()) if trouble else None
    return Frame(contacts=contacts, sending=sending, is_demo=bool(demo), has_relay=settings.relay is not None, trouble=shown)


def _frame_counts(session: Session) -> tuple[int, int, int]:
    contacts = sa.select(sa.func.count(Contact.id)).where(visible()).scalar_subquery()
    sending = sa.select(sa.func.count(Send.id)).where(Send.state == SendState.SENDING).scalar_subquery()
    demo = sa.select(sa.func.count(Account.id)).where(Account.is_demo).scalar_subquery()
    return tuple(session.execute(sa.select(contacts, sending, demo)).one())


# --- a form that is ours ---------------------------------------------------------------------------------------------------


def _check_origin(request: Request) -> None:
    """A browser says where a request comes from; an old one that does not say it still sends the Origin of a POST."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        if site != "same-origin":
            raise Forbidden("request_forged")
        return
    origin = request.headers.get("origin")
    if origin is not None and origin.partition("://")[2] != request.headers.get("host"):
        raise Forbidden("request_forged")


def _check_token(form: FormData, staff_session: StaffSession) -> None:
    token = form.get("csrf")
    if not isinstance(token, str) or not hmac.compare_digest(token.encode(), staff_session.csrf_token.encode()):
        raise Forbidden("request_forged")


# --- the cookie --------------------------------------------------------------------------------------------------------------


def cookie_name(settings: Settings) -> str:
    """Under https the prefix binds the cookie to this host and to secure connections."""
    return "__Host-crm" if settings.is_https else "crm"


def set_cookie(response: Response, settings: Settings, token: str) -> None:
    response.set_cookie(cookie_name(settings), token, httponly=True, samesite="lax", secure=settings.is_https, path="/")


def clear_cookie(response: Response, settings: Settings) -> None:
    response.delete_cookie(cookie_name(settings), httponly=True, samesite="lax", secure=settings.is_https, path="/")


def network_of(request: Request) -> str:
    """The address that the request came from; `::` when the server does not tell it."""
    host = request.client.host if request.client else ""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return "::"
