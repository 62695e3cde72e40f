"""Errors of the API: problem+json (RFC 9457). The only map from a kind of `crm.errors` to a status of HTTP."""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy.exc import DataError, IntegrityError, OperationalError
from sqlalchemy.orm.exc import StaleDataError
from starlette.exceptions import HTTPException

from crm.errors import SENTENCES, CrmError, InvalidInput

log = logging.getLogger("crm.api")

BODY_LIMIT = 16 * 1024 * 1024
"""Most bytes of a request: a file of 15 MB and its form."""
FIELDS_TOLD = 100
"""Most fields that one answer speaks of: who sent a body that is wrong from end to end need not read it back."""
MEDIA_TYPE = "application/problem+json"
STATUS_OF_KIND = {
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
STATUS_OF_CODE = {"contact_changed": 412, "campaign_changed": 412, "segment_changed": 412}
"""What RFC 9110 asks when If-Match names a version that is no longer the present one."""
RETRY_SECONDS = {429: "60", 503: "5"}

CODE_OF_STATUS = {400: "body_unreadable", 404: "route_not_found", 405: "method_not_allowed", 413: "body_too_large"}
CODE_OF_TYPE = {
    "missing": "field_required",
    "string_too_long": "field_too_long",
    "string_too_short": "field_required",
    "extra_forbidden": "field_unknown",
    "json_invalid": "body_unreadable",
}
"""Types of pydantic's errors that have a sentence of their own; the rest are `value_invalid`."""
NOT_OFFERED = "local_hour"
"""A mode of sending that the design tells of and that there is not yet: whoever asks for it is told so."""

DESCRIPTIONS = {
    401: "The key is missing, expired or revoked.",
    403: "The key lacks the scope of this route.",
    404: "There is no such record.",
    409: "The record does not allow it now, another request changed it, or the Idempotency-Key was used with other content.",
    410: "The record was joined into another: `kept_id` is the one to ask for.",
    412: "If-Match names a version that is no longer the present one.",
    413: "The request or its file is too large.",
    422: "Something has to be corrected; `errors` says what.",
    429: "Too many requests in this minute.",
    503: "The product cannot do it right now; `Retry-After` says when to try again.",
}
EXAMPLES = {
    401: "key_invalid",
    403: "forbidden",
    404: "contact_not_found",
    409: "idempotency_key_reused",
    410: "contact_joined",
    412: "contact_changed",
    413: "body_too_large",
    422: "invalid_input",
    429: "too_many_requests",
    503: "database_busy",
}


class FieldError(BaseModel):
    """What is wrong with one field: its path (``items.0.emails``), a stable code and a sentence."""

    field: str
    code: str
    detail: str


class ProblemDetails(BaseModel):
    """An error as RFC 9457 tells it, with a stable ``code``; title and detail are in Spanish and hold no personal data."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    errors: list[FieldError]
    kept_id: int | None = None
    """Of a record that was joined into another (410): the id of the one that is kept."""


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """``responses=`` of a route: the errors that it may answer besides those of every route."""
    return {
        status: {
            "description": DESCRIPTIONS[status],
            "content": {
                MEDIA_TYPE: {
                    "schema": {"$ref": "#/components/schemas/ProblemDetails"},
                    "example": problem(status, EXAMPLES[status]).model_dump(exclude_none=True),
                }
            },
        }
        for status in statuses
    }


def problem(status: int, code: str, errors: Sequence[FieldError] = (), **details: Any) -> ProblemDetails:
    """The body of an answer that says no."""
    sentence = _sentence(code, {"limit": BODY_LIMIT // 2**20} | details)
    title = sentence.partition(". ")[0].rstrip(".") + "."
    return ProblemDetails(
        type=f"/api/v1/docs#{code}",
        title=title,
        status=status,
        code=code,
        detail=sentence,
        errors=list(errors),
        kept_id=details.get("kept_id"),
    )


def answer(status: int, body: ProblemDetails, headers: dict[str, str] | None = None) -> JSONResponse:
    """A problem as a response, with the headers that its status asks for."""
    extra = {"Retry-After": RETRY_SECONDS[status]} if status in RETRY_SECONDS else {}
    if status == 401:
        extra["WWW-Authenticate"] = 'Bearer realm="api"'
    return JSONResponse(body.model_dump(exclude_none=True), status, {**extra, **(headers or {})}, MEDIA_TYPE)


def of_error(error: CrmError) -> tuple[int, ProblemDetails]:
    """The status and the problem of an error of the house."""
    status = STATUS_OF_CODE.get(error.code, STATUS_OF_KIND[error.kind])
    parts: Sequence[CrmError] = error.parts if isinstance(error, InvalidInput) else [error]
    errors = [FieldError(field=part.field, code=part.code, detail=part.sentence) for part in parts if part.field]
    return status, problem(status, error.code, errors, **error.details)


def field_errors(errors: Sequence[Any]) -> list[FieldError]:
    """The first `FIELDS_TOLD` errors of pydantic as ours. What was written is never repeated."""
    return [_field_error(error) for error in errors[:FIELDS_TOLD]]


def install(app: FastAPI) -> None:
    """Teach an app to tell every error as a problem."""
    app.exception_handler(CrmError)(_crm_error)
    app.exception_handler(RequestValidationError)(_validation_error)
    app.exception_handler(HTTPException)(_http_error)
    app.exception_handler(StaleDataError)(_overtaken)
    app.exception_handler(IntegrityError)(_overtaken)
    app.exception_handler(OperationalError)(_busy)
    app.exception_handler(DataError)(_not_storable)
    app.exception_handler(Exception)(_unforeseen)


def _field_error(error: Any) -> FieldError:
    kind, context = error["type"], error.get("ctx", {})
    code = kind if kind in SENTENCES else CODE_OF_TYPE.get(kind, "value_invalid")
    path = [str(part) for part in error["loc"] if part not in {"body", "query", "path", "header"}]
    if path[-2:] == ["when", "mode"] and error.get("input") == NOT_OFFERED:
        code = "mode_not_offered"
    return FieldError(field=".".join(path), code=code, detail=_sentence(code, {"limit": context.get("max_length", ""), **context}))


def _sentence(code: str, details: Mapping[str, Any]) -> str:
    """The sentence of a code; what it names and nobody told is left out."""
    return SENTENCES[code].format_map(defaultdict(str, details))


async def _crm_error(_request: Request, error: CrmError) -> JSONResponse:
    status, body = of_error(error)
    return answer(status, body)


async def _validation_error(_request: Request, error: RequestValidationError) -> JSONResponse:
    errors = field_errors(error.errors())
    code = "mode_not_offered" if any(part.code == "mode_not_offered" for part in errors) else "invalid_input"
    return answer(422, problem(422, code, errors))


async def _http_error(_request: Request, error: HTTPException) -> JSONResponse:
    """Errors that the framework raises: no such route, a body that cannot be read."""
    status = 422 if error.status_code == 400 else error.status_code
    code = error.detail if error.detail in SENTENCES else CODE_OF_STATUS.get(error.status_code, "invalid_input")
    return answer(status, problem(status, code), dict(error.headers or {}))


async def _overtaken(_request: Request, _error: Exception) -> JSONResponse:
    """Two requests at once: this one lost."""
    return answer(409, problem(409, "record_changed"))


async def _busy(_request: Request, error: OperationalError) -> JSONResponse:
    """A lock that was not had in time or a lost connection: it passes."""
    log.warning("the database was busy: %s", type(error.orig).__name__)
    return answer(503, problem(503, "database_busy"))


async def _not_storable(_request: Request, _error: Exception) -> JSONResponse:
    """A value that this database cannot hold, such as a number of a forged cursor."""
    return answer(422, problem(422, "body_not_storable"))


async def _unforeseen(_request: Request, _error: Exception) -> JSONResponse:
    """A fault of ours, which goes on to `crm.server` to be written down."""
    return answer(500, problem(500, "internal_error"))
