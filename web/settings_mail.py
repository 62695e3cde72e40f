"""Ajustes, Correo saliente: who signs, through which server, at what pace, and a test whose result is in words."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from email.utils import parseaddr
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.orm import Session
from starlette.datastructures import FormData

from crm import clock
from crm.config import Settings
from crm.errors import CrmError, InvalidInput
from crm.mailing import outgoing, previews, relays
from crm.mailing.models import MailSettings
from crm.mailing.outgoing import Told
from crm.staff import accounts
from web.asked import number_of
from web.dependencies import Posted, SessionOf, ViewerOf, base_settings_of, database_of
from web.errors import status_of
from web.pages import page
from web.send_progress import limit_words

HERE = "/ajustes/correo"
OWN, NEW, CATCHER = "own", "new", "catcher"


@dataclass(frozen=True)
class Service:
    """A way out that most offices have, with what its makers ask for."""

    words: str
    hint: str
    host: str = ""
    per_minute: int = 30
    per_day: int | None = None


SERVICES = {
    "microsoft365": Service(
        "Microsoft 365",
        "El usuario es el buzón que firma. Pida a quien lo administra que permita «SMTP AUTH» en ese buzón y, en lugar de "
        "contraseña, registre la Red con OAuth2. "
        "Admite 30 correos por minuto y 10,000 al día.",
        "smtp.office365.com",
        per_day=10_000,
    ),
    "google": Service(
        "Google Workspace",
        "Use la retransmisión SMTP de su dominio y una contraseña de aplicación. Admite unos 2,000 correos al día por buzón.",
        "smtp-relay.gmail.com",
        60,
        2_000,
    ),
    OWN: Service("Servidor propio", "El del Instituto. Pida su nombre y su puerto a quien lo administra.", "", 120),
    NEW: Service(
        "Servidor o dominio nuevo",
        "Con calentamiento por semana, para que los buzones aprendan a confiar: hasta 50 correos al día la primera semana y el "
        "doble cada semana, durante 8 semanas.",
    ),
    CATCHER: Service("Buzón local de prueba", "Ningún correo sale: se quedan en la carpeta de datos de este equipo."),
}
TLS_WORDS = [
    ("starttls", "STARTTLS (puerto 587)"),
    ("implicit", "TLS directo (puerto 465)"),
    ("none", "Sin cifrar, solo este equipo"),
]
FIELDS = {"sender_name": "nombre", "from_address": "correo", "reply_to": "responder", "host": "servidor", "port": "puerto"}
FIELDS |= {"tls": "cifrado", "username": "usuario", "password": "contrasena", "per_minute": "ritmo"}
FIELDS |= {"per_hour": "por_hora", "per_day": "por_dia", "warm_up_since": "calentamiento"}
"""Fields of `outgoing.Told` as the form calls them."""
FIELD_WORDS = {"nombre": "Nombre", "correo": "Dirección", "responder": "Las respuestas llegan a", "servidor": "Servidor"}
FIELD_WORDS |= {"puerto": "Puerto", "cifrado": "Cifrado", "usuario": "Usuario", "contrasena": "Contraseña", "ritmo": "Por minuto"}
FIELD_WORDS |= {"por_hora": "Por hora", "por_dia": "Por día", "calentamiento": "Calentamiento desde"}

SAVED = "Guardado. Vale para lo que salga desde ahora. Un envío que ya está saliendo sigue con lo anterior: páuselo y reanúdelo."

router = APIRouter()


@router.get(HERE)
def show(request: Request, session: SessionOf, viewer: ViewerOf, hecho: str = "") -> Response:
    """What holds now, and the form to change it."""
    done = SAVED if hecho == "guardado" else ""
    return _page(request, session, viewer.account_id, done=done)


def _page(request: Request, session: Session, account_id: int, *, status: int = 200, **shown: Any) -> Response:
    settings, row = base_settings_of(request), outgoing.stored(session)
    now = outgoing.effective(session, settings)
    typed = shown.pop("typed", None) or _typed(now, row)
    context = {
        "fixed": outgoing.fixed(settings),
        "now": now,
        "relay": now.relay,
        "pace": limit_words(now.relay, clock.now()),
        "row": row,
        "version": row.version if row else 0,
        "typed": typed,
        "by_token": outgoing.is_by_token(settings, outgoing.EXCHANGE_HOST),
        "has_password": bool(row and row.sealed_password),
        "password_lost": bool(row and outgoing.password_is_lost(settings, row)),
        "services": SERVICES,
        "tls_words": TLS_WORDS,
        "own_address": accounts.get(session, account_id).email,
        "field_words": FIELD_WORDS,
        "wrong": {},
        "done": "",
        "result": None,
    }
    return page(request, "settings/mail.html", context | shown, status=status)


def _typed(now: Settings, row: MailSettings | None) -> dict[str, str]:
    """The form as it begins: what holds now."""
    name, address = parseaddr(now.mail_from)
    host = row.host if row and row.host else ""
    own = NEW if row and row.warm_up_since else OWN
    service = next((key for key, one in SERVICES.items() if host and one.host == host), own if host else CATCHER)
    return {
        "nombre": name,
        "correo": address,
        "responder": now.mail_reply_to or "",
        "servicio": service,
        "servidor": host,
        "puerto": str(row.port) if row and row.port else "587",
        "cifrado": (row.tls if row else None) or "starttls",
        "usuario": (row.username if row else None) or "",
        "ritmo": str(row.per_minute) if row and row.per_minute else "",
        "por_hora": str(row.per_hour) if row and row.per_hour else "",
        "por_dia": str(row.per_day) if row and row.per_day else "",
        "calentamiento": row.warm_up_since.isoformat() if row and row.warm_up_since else "",
    }


@router.post(HERE)
def save(request: Request, session: SessionOf, viewer: ViewerOf, form: Posted) -> Response:
    """Keep it; what is wrong comes back with the text that was typed, but for the password."""
    typed = {name: str(form.get(name, ""))[:1000] for name in (*FIELDS.values(), "servicio") if name != "contrasena"}
    version = number_of(form, "version") or 0
    try:
        outgoing.save(session, base_settings_of(request), _told(typed, form), version)
    except CrmError as error:
        wrong = _wrong(error)
        return _page(request, session, viewer.account_id, typed=typed, wrong=wrong, status=status_of(error))
    return RedirectResponse(f"{HERE}?hecho=guardado", status_code=303)


def _told(typed: Mapping[str, str], form: FormData) -> Told:
    """What was told; of a known service only what is one's own is asked."""
    service = SERVICES.get(typed["servicio"])
    told = Told(
        sender_name=typed["nombre"],
        from_address=typed["correo"],
        reply_to=typed["responder"],
        has_relay=typed["servicio"] != CATCHER,
        host=typed["servidor"],
        port=typed["puerto"],
        tls=typed["cifrado"],
        username=typed["usuario"],
        password=str(form.get("contrasena", "")) or None,
        per_minute=typed["ritmo"],
        per_hour=typed["por_hora"],
        per_day=typed["por_dia"],
        warm_up_since=typed["calentamiento"],
    )
    if typed["servicio"] == NEW:
        today = clock.today().isoformat()
        return replace(told, per_minute=told.per_minute or str(SERVICES[NEW].per_minute), warm_up_since=told.warm_up_since or today)
    if service is None or not service.host:
        return told
    pace, day = typed["ritmo"] or str(service.per_minute), typed["por_dia"] or str(service.per_day or "")
    return replace(told, host=service.host, port="587", tls="starttls", per_minute=pace, per_day=day)


def _wrong(error: CrmError) -> dict[str, str]:
    parts = error.parts if isinstance(error, InvalidInput) else []
    told = {FIELDS.get(part.field or "", "nombre"): part.sentence for part in parts}
    return told or {"": error.sentence}


@router.post(HERE + "/prueba")
def try_out(request: Request, viewer: ViewerOf) -> Response:
    """Send a test to one's own address, with what is saved. No transaction waits for the mail server."""
    database = database_of(request)
    try:
        with database.session(write=False) as session:
            settings = outgoing.effective(session, base_settings_of(request))
            own = accounts.get(session, viewer.account_id).email
            mail = outgoing.trial(session, own, settings)
        judged = previews.to_out(previews.hand_over(mail, settings))
        if judged.accepted:
            _say_that_it_is_well(request, settings)
        result = (judged.accepted, _words(settings, own) if judged.accepted else judged.sentence)
    except CrmError as error:
        result = (False, error.sentence)
    with database.session(write=False) as session:
        return _page(request, session, viewer.account_id, result=result)


def _say_that_it_is_well(request: Request, settings: Settings) -> None:
    """The relay took a mail: nothing says any more that it is in trouble, this very page neither."""
    with database_of(request).session() as session:
        relays.note_success(session, relays.row_of(session, settings).id)
    request.state.frame = replace(request.state.frame, trouble=None)


def _words(settings: Settings, address: str) -> str:
    if settings.relay is None:
        return "El buzón local de este equipo la recibió. No salió a ningún lado."
    return f"El servidor la aceptó. Busque «Prueba del correo saliente» en {address}; si no llega, revise el correo no deseado."
