"""Ajustes, Claves de API: which systems call, who answers for each, and a new key, shown once."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.orm import Session

from crm.errors import CrmError
from crm.staff import clients
from crm.staff.rights import SCOPES
from web.asked import whole_number
from web.dependencies import Posted, SessionOf
from web.errors import status_of
from web.pages import page

HERE = "/ajustes/claves"
SCOPE_WORDS = {
    "contacts:read": "Ver personas",
    "contacts:write": "Agregar y cambiar personas",
    "segments:read": "Ver segmentos",
    "segments:write": "Crear y cambiar segmentos",
    "materials:read": "Ver materiales",
    "materials:write": "Subir materiales",
    "campaigns:read": "Ver campañas y resultados",
    "campaigns:write": "Redactar campañas",
    "campaigns:send": "Ordenar y detener envíos",
}
"""Scopes in words, in the order of the form."""
STATES = {"active": ("Vigente", "good"), "expired": ("Vencida", "warn"), "revoked": ("Revocada", "off")}
FIELDS = {"name": "nombre", "responsible": "responsable", "scopes": "alcances", "days": "dias"}

router = APIRouter()


@router.get(HERE)
def show(request: Request, session: SessionOf, hecho: str = "") -> Response:
    """The keys, by the name of their system."""
    done = "La clave se revocó: la siguiente llamada con ella se rechaza." if hecho == "revocada" else ""
    return _page(request, session, done=done)


def _page(
    request: Request,
    session: Session,
    *,
    typed: Mapping[str, Any] | None = None,
    wrong: Mapping[str, str] | None = None,
    done: str = "",
    key: str = "",
    status: int = 200,
) -> Response:
    order = {"active": 0, "expired": 1, "revoked": 2}
    every = sorted(clients.find(session), key=lambda client: order[clients.state(client)])
    context = {
        "clients": [(client, STATES[clients.state(client)], _words(client.scopes)) for client in every],
        "scopes": [(name, words) for name, words in SCOPE_WORDS.items() if name in SCOPES],
        "typed": typed or {"nombre": "", "responsable": "", "alcances": [], "dias": str(clients.KEY_DAYS)},
        "wrong": wrong or {},
        "done": done,
        "key": key,
        "most_days": clients.KEY_DAYS,
    }
    return page(request, "settings/keys.html", context, status=status)


def _words(scopes: list[str]) -> list[str]:
    """What a key may do, in words; a scope that is only included in another is not said."""
    return [SCOPE_WORDS.get(name, name) for name in sorted(scopes, key=list(SCOPE_WORDS).index)]


@router.post(HERE)
def create(request: Request, session: SessionOf, form: Posted) -> Response:
    """Make a key and show it, this once."""
    name, responsible, days = (str(form.get(field, ""))[:1000] for field in ("nombre", "responsable", "dias"))
    scopes = [str(value) for value in form.getlist("alcances")]
    try:
        _, key = clients.create(session, name, responsible, scopes, whole_number(days) or 0)
    except CrmError as error:
        typed = {"nombre": name, "responsable": responsible, "alcances": scopes, "dias": days}
        wrong = {FIELDS.get(error.field or "", "nombre"): error.sentence}
        return _page(request, session, typed=typed, wrong=wrong, status=status_of(error))
    return _page(request, session, key=key)


@router.post(HERE + "/{client_id}/revocar")
def revoke(session: SessionOf, client_id: Annotated[int, Path(ge=1, lt=2**31)]) -> Response:
    """Shut a key for good."""
    clients.revoke(session, client_id)
    return RedirectResponse(f"{HERE}?hecho=revocada", status_code=303)
