"""Ajustes, Personas y permisos: who may come in and with which role; and the page that an invitation opens."""

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Form, Path, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.orm import Session

from crm.errors import CrmError, InvalidInput
from crm.mailing import handover
from crm.staff import accounts, invitations, sign_in
from crm.staff.models import Account, Role
from crm.staff.rights import ROLE_WORDS
from web.dependencies import SessionOf, ViewerOf, set_cookie, settings_of
from web.errors import status_of
from web.pages import counted, page

HERE = "/ajustes/personas"
ROLE_SENTENCES = {
    Role.READING: "Ve personas, campañas y resultados; las direcciones, con una parte oculta.",
    Role.EDITING: "Ve todo, también las direcciones, y edita personas, segmentos, materiales y borradores.",
    Role.COORDINATION: "Todo lo de edición, y además importa y exporta listas y ordena envíos.",
    Role.PRIVACY: "Ve todo, publica avisos de privacidad, decide sobre consentimientos y bloqueos y exporta; no edita ni envía.",
    Role.ADMINISTRATION: "Todo lo de coordinación, y además cuentas, claves de API y correo saliente.",
}
DONE = {
    "perfil": "El perfil cambió; vale desde la siguiente página que esa persona abra.",
    "activada": "La cuenta se activó de nuevo, con el mismo perfil y la misma contraseña.",
    "retirada": "La invitación se retiró; su enlace ya no abre nada.",
}

router = APIRouter()
AccountId = Annotated[int, Path(ge=1, lt=2**31)]


@router.get(HERE)
def show(request: Request, session: SessionOf, hecho: str = "", pasaron: int | None = None) -> Response:
    """The accounts and the invitations that still open."""
    done = DONE.get(hecho, "")
    if hecho == "desactivada":
        done = "La cuenta se desactivó y sus sesiones se cerraron."
        if pasaron:
            done += f" {counted(pasaron, 'envío pasó', 'envíos pasaron')} a su nombre."
    return _page(request, session, done=done)


def _page(
    request: Request,
    session: Session,
    *,
    typed: Mapping[str, str] | None = None,
    wrong: Mapping[str, str] | None = None,
    done: str = "",
    link: str = "",
    invited: str = "",
    status: int = 200,
) -> Response:
    every = sorted(accounts.find(session), key=lambda account: (account.disabled_at is not None, account.name.casefold()))
    context = {
        "accounts": every,
        "waiting": {account.id: handover.waiting_of(session, account.id) for account in every},
        "invitations": invitations.find(session),
        "names": {account.id: account.name for account in every},
        "roles": [(role.value, words) for role, words in ROLE_WORDS.items()],
        "role_words": ROLE_WORDS,
        "role_sentences": ROLE_SENTENCES,
        "typed": typed or {},
        "wrong": wrong or {},
        "done": done,
        "link": link,
        "invited": invited,
        "days": invitations.LIFE.days,
    }
    return page(request, "settings/people.html", context, status=status)


@router.post(HERE + "/invitar")
def invite(
    request: Request,
    session: SessionOf,
    viewer: ViewerOf,
    correo: Annotated[str, Form(max_length=1000)] = "",
    perfil: Annotated[str, Form(max_length=60)] = "",
) -> Response:
    """Make an invitation and show its link, this once."""
    try:
        made, token = invitations.invite(session, correo, perfil, viewer.account_id)
    except CrmError as error:
        field = "perfil" if error.field == "role" else "correo"
        typed = {"correo": correo, "perfil": perfil}
        return _page(request, session, typed=typed, wrong={field: error.sentence}, status=status_of(error))
    link = f"{settings_of(request).public_url}/entrar/invitacion/{token}"
    return _page(request, session, link=link, invited=made.email)


@router.post(HERE + "/invitaciones/{invitation_id}/retirar")
def withdraw(session: SessionOf, invitation_id: AccountId) -> Response:
    """End an invitation."""
    invitations.withdraw(session, invitation_id)
    return _done("retirada")


@router.post(HERE + "/{account_id}/perfil")
def change_role(session: SessionOf, account_id: AccountId, perfil: Annotated[str, Form(max_length=60)] = "") -> Response:
    """Another role."""
    accounts.change_role(session, account_id, perfil)
    return _done("perfil")


@router.post(HERE + "/{account_id}/desactivar")
def disable(session: SessionOf, viewer: ViewerOf, account_id: AccountId) -> Response:
    """Shut an account: its sessions end, its invitations too, and its waiting sends go on in the name of who shuts it."""
    accounts.disable(session, account_id)
    invitations.withdraw_those_of(session, account_id)
    given = handover.give(session, account_id, viewer.account_id)
    return RedirectResponse(f"{HERE}?hecho=desactivada&pasaron={len(given)}", status_code=303)


@router.post(HERE + "/{account_id}/activar")
def enable(session: SessionOf, account_id: AccountId) -> Response:
    """Open an account again."""
    accounts.enable(session, account_id)
    return _done("activada")


def _done(what: str) -> Response:
    return RedirectResponse(f"{HERE}?hecho={what}", status_code=303)


# --- the page of the link ----------------------------------------------------------------------------------------------------

UNTOLD = {"Referrer-Policy": "no-referrer"}
"""The address holds the token: no other page hears of it."""


@router.get("/entrar/invitacion/{token}")
def look(request: Request, session: SessionOf, token: str) -> Response:
    """The form of who was invited. Looking changes nothing."""
    return _invitation_page(request, session, token)


@router.post("/entrar/invitacion/{token}")
def accept(
    request: Request,
    session: SessionOf,
    token: str,
    nombre: Annotated[str, Form(max_length=1000)] = "",
    contrasena: Annotated[str, Form(max_length=2000)] = "",
    repetida: Annotated[str, Form(max_length=2000)] = "",
) -> Response:
    """Make the account and come in."""
    try:
        if contrasena != repetida:
            raise InvalidInput("password_differs", field="repeated")
        account: Account = invitations.accept(session, token, nombre, contrasena)
    except CrmError as error:
        field = {"name": "nombre", "password": "contrasena", "repeated": "repetida"}.get(error.field or "", "contrasena")
        return _invitation_page(request, session, token, nombre, {field: error.sentence}, status_of(error))
    _, cookie = sign_in.open_session(session, account)
    response = RedirectResponse("/", status_code=303)
    set_cookie(response, settings_of(request), cookie)
    return response


def _invitation_page(
    request: Request, session: Session, token: str, name: str = "", wrong: Mapping[str, str] | None = None, status: int = 200
) -> Response:
    try:
        found = invitations.of_token(session, token)
    except CrmError as error:
        told = {"found": None, "problem": error.sentence}
        return page(request, "settings/invitation.html", told, status=status_of(error), headers=UNTOLD)
    context = {
        "found": found,
        "token": token,
        "role": ROLE_WORDS[found.role],
        "sentence": ROLE_SENTENCES[found.role],
        "name": name,
        "wrong": wrong or {},
        "least": accounts.PASSWORD_LEAST,
    }
    return page(request, "settings/invitation.html", context, status=status, headers=UNTOLD)
