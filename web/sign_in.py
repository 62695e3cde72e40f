"""Sign-in and sign-out."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from crm.errors import CrmError
from crm.staff import sign_in
from web.dependencies import SessionOf, clear_cookie, database_of, network_of, set_cookie, settings_of
from web.errors import status_of
from web.pages import page

router = APIRouter()


@router.get("/entrar")
def show(request: Request, siguiente: str = "/") -> Response:
    """The form; who is already signed in goes on."""
    if getattr(request.state, "viewer", None):
        return RedirectResponse(local_path(siguiente), status_code=303)
    return page(request, "sign_in/form.html", {"email": "", "next_path": local_path(siguiente), "problem": None})


@router.post("/entrar")
def enter(
    request: Request,
    correo: Annotated[str, Form()] = "",
    contrasena: Annotated[str, Form()] = "",
    siguiente: Annotated[str, Form()] = "/",
) -> Response:
    """Open a session, or give back the form with what was typed and why it was refused."""
    try:
        _, token = sign_in.sign_in(database_of(request), correo, contrasena, network_of(request))
    except CrmError as problem:
        status = 422 if problem.kind == "not_signed_in" else status_of(problem)
        context = {"email": correo, "next_path": local_path(siguiente), "problem": problem.sentence}
        return page(request, "sign_in/form.html", context, status=status)
    response = RedirectResponse(local_path(siguiente), status_code=303)
    set_cookie(response, settings_of(request), token)
    return response


@router.post("/salir")
def leave(request: Request, session: SessionOf) -> Response:
    """End the session."""
    sign_in.sign_out(session, request.state.staff_session)
    response = RedirectResponse("/entrar", status_code=303)
    clear_cookie(response, settings_of(request))
    return response


def local_path(path: str) -> str:
    """A path of this site; anything that a browser could read as another site becomes the first page."""
    safe = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable() and "\\" not in path
    return path if safe else "/"
