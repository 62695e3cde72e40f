"""Ajustes, Mi perfil: one's own name, password and sessions."""

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Form, Path, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.orm import Session

from crm.errors import Conflict, CrmError, InvalidInput
from crm.staff import accounts, sign_in
from crm.staff.models import StaffSession
from web.dependencies import SessionOf, ViewerOf, database_of, network_of, writing
from web.errors import status_of
from web.pages import Viewer, page

DONE = {
    "nombre": "Su nombre quedó guardado.",
    "contrasena": "Su contraseña cambió y sus otras sesiones se cerraron.",
    "sesion": "Esa sesión se cerró.",
    "sesiones": "Sus otras sesiones se cerraron.",
}
"""What a deed that went well says on the page that follows it."""

router = APIRouter()


@router.get("/ajustes")
def show(request: Request, session: SessionOf, viewer: ViewerOf, hecho: str = "") -> Response:
    """The page, for everybody who is signed in."""
    return _page(request, session, viewer, done=DONE.get(hecho, ""))


def _page(
    request: Request,
    session: Session,
    viewer: Viewer,
    *,
    name: str | None = None,
    wrong: Mapping[str, str] | None = None,
    done: str = "",
    status: int = 200,
) -> Response:
    account = accounts.get(session, viewer.account_id)
    context = {
        "account": account,
        "name": account.name if name is None else name,
        "sessions": sign_in.sessions_of(session, account.id),
        "present": _present(request).id,
        "wrong": wrong or {},
        "done": done,
        "least": accounts.PASSWORD_LEAST,
    }
    return page(request, "settings/profile.html", context, status=status)


def _present(request: Request) -> StaffSession:
    """The session of this very browser."""
    found: StaffSession = request.state.staff_session
    return found


@router.post("/ajustes/nombre")
def rename(request: Request, session: SessionOf, viewer: ViewerOf, nombre: Annotated[str, Form(max_length=1000)] = "") -> Response:
    """Another name."""
    try:
        accounts.rename(session, viewer.account_id, nombre)
    except CrmError as error:
        return _page(request, session, viewer, name=nombre, wrong={"nombre": error.sentence}, status=status_of(error))
    return _done("nombre")


@router.post("/ajustes/contrasena")
def change_password(
    request: Request,
    viewer: ViewerOf,
    actual: Annotated[str, Form(max_length=2000)] = "",
    nueva: Annotated[str, Form(max_length=2000)] = "",
    repetida: Annotated[str, Form(max_length=2000)] = "",
) -> Response:
    """Another password, for who knows the present one. No transaction is open while that one is being read."""
    database = database_of(request)
    with database.session(write=False) as session:
        email = accounts.get(session, viewer.account_id).email
    try:
        sign_in.confirm_password(database, email, actual, network_of(request))
        if nueva != repetida:
            raise InvalidInput("password_differs", field="repeated")
        with writing(request) as session:
            accounts.change_password(session, viewer.account_id, nueva, keep=_present(request))
    except CrmError as error:
        field = {"present": "actual", "repeated": "repetida", "password": "nueva"}.get(error.field or "", "actual")
        with database.session(write=False) as session:
            return _page(request, session, viewer, wrong={field: error.sentence}, status=status_of(error))
    return _done("contrasena")


@router.post("/ajustes/sesiones/cerrar-otras")
def end_others(request: Request, session: SessionOf) -> Response:
    """End every session but this one."""
    sign_in.end_other_sessions(session, _present(request))
    return _done("sesiones")


@router.post("/ajustes/sesiones/{session_id}/cerrar")
def end_one(request: Request, session: SessionOf, viewer: ViewerOf, session_id: Annotated[int, Path(ge=1, lt=2**31)]) -> Response:
    """End one of one's own sessions; this very one has its own button."""
    if session_id == _present(request).id:
        raise Conflict("present_session")
    sign_in.end_session(session, viewer.account_id, session_id)
    return _done("sesion")


def _done(what: str) -> Response:
    return RedirectResponse(f"/ajustes?hecho={what}", status_code=303)
