"""Ajustes, Avisos de privacidad: every version as it was shown, and the next one."""

from collections.abc import Mapping
from datetime import date

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.orm import Session

from crm import clock
from crm.errors import CrmError, InvalidInput
from crm.people import privacy_notices
from crm.people.privacy_notices import Told
from crm.staff.rights import Right
from web.asked import text_of
from web.dependencies import Posted, SessionOf, ViewerOf
from web.errors import status_of
from web.pages import Viewer, page
from web.public import as_read

HERE = "/ajustes/avisos"
FIELDS = {
    "version": "version",
    "valid_from": "desde",
    "text": "simplificado",
    "text_en": "ingles",
    "full_text": "integral",
    "url": "enlace",
}
"""Fields of a notice, as the form names them."""
DONE = {
    "publicado": "El aviso quedó publicado. Lo que ya se mostró sigue en su sitio, con su versión.",
    "retirado": "La versión se retiró antes de regir; nadie llegó a leerla.",
}

router = APIRouter()


@router.get(HERE)
def show(request: Request, session: SessionOf, viewer: ViewerOf, hecho: str = "") -> Response:
    """The versions, and a form that begins with what the one in force says."""
    newest = privacy_notices.newest(session)
    begun = {
        "version": "",
        "desde": clock.today().isoformat(),
        "simplificado": newest.text if newest else "",
        "ingles": newest.text_en if newest else "",
        "integral": (newest.full_text if newest else "") or privacy_notices.FULL_TEXT,
        "enlace": (newest.url if newest else "") or "",
    }
    return _page(request, session, viewer, begun, done=DONE.get(hecho, ""))


def _page(
    request: Request,
    session: Session,
    viewer: Viewer,
    typed: Mapping[str, str],
    *,
    wrong: Mapping[str, str] | None = None,
    done: str = "",
    only_looked: bool = False,
    status: int = 200,
) -> Response:
    newest = privacy_notices.newest(session)
    context = {
        "notices": [(notice, privacy_notices.is_to_come(notice)) for notice in privacy_notices.find(session)],
        "in_force": newest.version if newest else None,
        "typed": typed,
        "wrong": wrong or {},
        "done": done,
        "only_looked": only_looked,
        "may_publish": viewer.may(Right.PRIVACY),
        "most": privacy_notices.TEXT_LENGTH,
    }
    return page(request, "settings/notices.html", context, status=status)


@router.post(HERE)
def publish(request: Request, session: SessionOf, viewer: ViewerOf, form: Posted) -> Response:
    """Keep a new version, or show how it will be read; what is wrong comes back with all that was typed."""
    typed = {name: text_of(form, name) for name in FIELDS.values()}
    try:
        told = Told(
            version=typed["version"],
            valid_from=_date(typed["desde"]),
            text=typed["simplificado"],
            text_en=typed["ingles"],
            full_text=typed["integral"],
            url=typed["enlace"],
        )
        if form.get("deed") == "preview":
            return page(request, "public/notice.html", as_read(privacy_notices.draft(session, told), is_preview=True))
        privacy_notices.publish(session, **told)
    except CrmError as error:
        parts = error.parts if isinstance(error, InvalidInput) else [error]
        wrong = {FIELDS.get(part.field or "", "version"): part.sentence for part in parts}
        looked = form.get("deed") == "preview"
        return _page(request, session, viewer, typed, wrong=wrong, only_looked=looked, status=status_of(error))
    return RedirectResponse(f"{HERE}?hecho=publicado", status_code=303)


@router.post(HERE + "/retirar")
def withdraw(session: SessionOf, form: Posted) -> Response:
    """Take back a version whose day has not come."""
    privacy_notices.withdraw(session, text_of(form, "version"))
    return RedirectResponse(f"{HERE}?hecho=retirado", status_code=303)


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput("date_invalid", field="valid_from") from error
