"""The description of the API: OpenAPI, and a page of our own that asks nothing of the outside and runs no script."""

import base64
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from pydantic.json_schema import models_json_schema

from api.errors import ProblemDetails
from api.guard import GuardedRoute
from crm.errors import SENTENCES
from crm.staff.rights import API

TEMPLATES = Path(__file__).parent.parent / "templates"
METHODS = ("get", "post", "put", "patch", "delete")
SECURITY = {"key": {"type": "http", "scheme": "bearer", "description": "A key made with `crm clients add`."}}
DESCRIPTION = """\
Lists answer `{"items": [...], "next": cursor | null}`; ask the next page with `?cursor=`. Times are ISO 8601 with their zone.
Creations take `Idempotency-Key`; changes take `If-Match` with the `ETag` that was read. A client may make 600 requests a
minute and send up to 16 MB in each. Errors are problem+json (RFC 9457) with a stable `code` and a sentence in Spanish."""


def describe(app: FastAPI) -> dict[str, Any]:
    """OpenAPI of the app: that of the framework, with our keys, the scope of each route and our only shape of errors."""
    schema: dict[str, Any] = FastAPI.openapi(app)
    schema["components"]["securitySchemes"] = SECURITY
    for path, operations in schema["paths"].items():
        for method in METHODS:
            if method in operations:
                access = API[f"{method.upper()} {path}"]
                operations[method]["security"] = [{"key": []}] if access.scope else []
                operations[method]["x-scope"] = " ".join(name for name in (access.scope, access.also) if name) or None
    shapes = schema["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        shapes.pop(unused, None)
    shapes |= models_json_schema([(ProblemDetails, "serialization")], ref_template="#/components/schemas/{model}")[1]["$defs"]
    return schema


def install(app: FastAPI) -> None:
    """Add the two public routes of the documentation to an app whose other routes are in place."""
    app.openapi = cache(lambda: describe(app))  # type: ignore[method-assign]  # FastAPI's own way to change the schema
    app.router.add_api_route("/openapi.json", _schema, include_in_schema=False, route_class_override=GuardedRoute)
    app.router.add_api_route(
        "/docs", _page, include_in_schema=False, response_class=HTMLResponse, route_class_override=GuardedRoute
    )


def _schema(request: Request) -> JSONResponse:
    return JSONResponse(request.app.openapi())


def _page(request: Request) -> HTMLResponse:
    html, style_hash = _rendered(request.app)
    policy = f"default-src 'none'; style-src 'sha256-{style_hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    return HTMLResponse(html, headers={"Content-Security-Policy": policy})


@cache
def _rendered(app: FastAPI) -> tuple[str, str]:
    """The page, and the hash by which its policy allows its style."""
    style = (TEMPLATES / "api_docs.css").read_text(encoding="utf-8")
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined)
    schema = app.openapi()
    html = environment.get_template("api_docs.html").render(
        info=schema["info"],
        style=Markup(style),  # noqa: S704  # our own file
        groups=_groups(schema),
        errors=[(code, _told(sentence)) for code, sentence in sorted(SENTENCES.items())],
    )
    return html, base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()


def _told(sentence: str) -> str:
    return sentence.replace("{{{{", "{{").replace("}}}}", "}}")


def _groups(schema: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The operations by their tag, each with what a page tells of it."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for path, operations in schema["paths"].items():
        for method in METHODS:
            if method in operations:
                operation = operations[method]
                groups.setdefault(operation["tags"][0], []).append(_told_operation(schema, path, method, operation))
    return groups


def _told_operation(schema: dict[str, Any], path: str, method: str, operation: dict[str, Any]) -> dict[str, Any]:
    return {
        "method": method.upper(),
        "path": path,
        "anchor": operation["operationId"],
        "scope": operation["x-scope"],
        "description": operation["description"],
        "parameters": operation.get("parameters", []),
        "example": _example(schema, operation),
        "responses": operation["responses"],
    }


def _example(schema: dict[str, Any], operation: dict[str, Any]) -> str | None:
    """The example of a body, as JSON, wherever it is told: with the operation, or with its model."""
    for told in operation.get("requestBody", {}).get("content", {}).values():
        shape = told.get("schema", {})
        model = schema["components"]["schemas"].get(shape.get("$ref", "").rpartition("/")[2], {})
        for place in (told, shape, model):
            if examples := [place["example"]] if "example" in place else place.get("examples"):
                return json.dumps(examples[0], ensure_ascii=False, indent=2)
    return None
