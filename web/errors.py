"""From the kind of an error to a page. Nobody else says 404 to a person."""

import logging
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm.exc import StaleDataError
from starlette.exceptions import HTTPException

from crm.errors import SENTENCES, CrmError
from web.dependencies import settings_of
from web.headers import add_security_headers
from web.pages import is_fragment, page

STATUS = {
    "invalid": 422,
    "not_signed_in": 401,
    "forbidden": 403,
    "not_found": 404,
    "conflict": 409,
    "gone": 410,
    "too_large": 413,
    "too_many": 429,
    "unavailable": 503,
    "internal": 500,
}
TITLES = {
    403: "No tiene permiso",
    404: "No encontramos esa página",
    405: "No encontramos esa página",
    409: "No se pudo hacer",
    410: "Esa ficha se juntó con otra",
    413: "Demasiado grande",
    422: "Hay datos que corregir",
    429: "Demasiados intentos",
    500: "Algo falló",
    503: "No disponible por ahora",
}
PAGE_NOT_FOUND = "Revise la dirección o vuelva al inicio."

log = logging.getLogger(__name__)


def add_handlers(app: FastAPI) -> None:
    """Tell the application how each kind of error is shown."""
    app.add_exception_handler(CrmError, _known)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(OperationalError, _busy)
    app.add_exception_handler(StaleDataError, _overtaken)
    app.add_exception_handler(IntegrityError, _overtaken)
    app.add_exception_handler(Exception, _unknown)


def status_of(error: CrmError) -> int:
    return STATUS[error.kind]


def _known(request: Request, error: Exception) -> Response:
    assert isinstance(error, CrmError)  # noqa: S101  # the signature of a handler is wider than what it is given
    if error.kind == "not_signed_in":
        return _to_sign_in(request)
    return _shown(request, status_of(error), error.sentence)


def _to_sign_in(request: Request) -> Response:
    """To the sign-in page, and back afterwards when a page was asked for."""
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    back = f"?siguiente={quote(here)}" if request.method == "GET" and here != "/" and not is_fragment(request) else ""
    if is_fragment(request):
        return Response(status_code=401, headers={"HX-Redirect": "/entrar"})
    return RedirectResponse("/entrar" + back, status_code=303)


def _http(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    told = error.detail if isinstance(error, HTTPException) and error.detail in SENTENCES else "invalid_input"
    return _shown(request, status, PAGE_NOT_FOUND if status in {404, 405} else SENTENCES[told])


def _malformed(request: Request, error: Exception) -> Response:
    """A value of the address or of a hidden field that no page of ours writes; in the path it names no page."""
    in_path = isinstance(error, RequestValidationError) and any(part["loc"][0] == "path" for part in error.errors())
    if in_path:
        return _shown(request, 404, PAGE_NOT_FOUND)
    return _shown(request, 422, SENTENCES["invalid_input"])


def _busy(request: Request, _error: Exception) -> Response:
    log.warning("database_busy")
    return _shown(request, 503, SENTENCES["database_busy"])


def _overtaken(request: Request, _error: Exception) -> Response:
    """Two people at once: this one lost."""
    return _shown(request, 409, SENTENCES["record_changed"])


def _unknown(request: Request, error: Exception) -> Response:
    log.error("internal_error %s", type(error).__name__)
    response = _shown(request, 500, SENTENCES["internal_error"])
    # This handler runs outside every middleware, so the headers are added here.
    add_security_headers(response.headers, request.url.path, https=settings_of(request).is_https)
    return response


def _shown(request: Request, status: int, sentence: str) -> Response:
    title = TITLES.get(status, TITLES[500])
    template = "errors/fragment.html" if is_fragment(request) else "errors/page.html"
    return page(request, template, {"title": title, "sentence": sentence}, status=status)
