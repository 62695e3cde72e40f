"""Plantillas: what a campaign may begin with, each seen as a person would get it."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, Response

from crm.mailing import audience, previews, templates
from web import samples
from web.dependencies import SessionOf, settings_of
from web.headers import PREVIEW_POLICY
from web.pages import page
from web.words import PURPOSES

HERE = "/materiales/plantillas"
NOBODY = audience.Rules([], [])

router = APIRouter()


@router.get(HERE)
def gallery(request: Request, session: SessionOf, persona: Annotated[int | None, Query(ge=1, lt=2**31)] = None) -> Response:
    """Every template, with its real mail beside it."""
    people = samples.in_order(session, persona, samples.of_rules(session, NOBODY))
    context = {
        "templates": list(templates.all_templates().values()),
        "purposes": PURPOSES,
        "samples": people,
        "shown": people[0] if people else None,
    }
    return page(request, "materials/templates.html", context)


@router.get(HERE + "/{name}/vista")
def preview(
    request: Request, session: SessionOf, name: str, contacto: Annotated[int | None, Query(ge=1, lt=2**31)] = None
) -> Response:
    """The mail that a template begins with, as a person would get it, under a policy that lets it do nothing."""
    made = previews.of_template(session, name, settings_of(request), contacto)
    return HTMLResponse(made.html, headers={"Content-Security-Policy": f"{PREVIEW_POLICY}; frame-ancestors 'self'"})
