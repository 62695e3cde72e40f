"""Código: a campaign as the API writes it (JSON), for who knows it; what cannot be saved keeps its text and its place of error."""

from typing import Annotated

from fastapi import APIRouter, Form, Path, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import ValidationError

from crm.errors import CrmError, InvalidInput
from crm.mailing import campaigns
from crm.mailing.models import Campaign
from crm.mailing.schemas import CampaignIn
from web.dependencies import SessionOf
from web.errors import status_of
from web.pages import page

router = APIRouter()
CampaignId = Annotated[int, Path(ge=1, lt=2**31)]


@router.get("/campanas/{campaign_id}/codigo")
def show(request: Request, session: SessionOf, campaign_id: CampaignId) -> Response:
    """The campaign as text."""
    campaign = campaigns.get(session, campaign_id)
    return _page(request, campaign, campaigns.content_of(campaign).model_dump_json(indent=2))


@router.post("/campanas/{campaign_id}/codigo")
def save(
    request: Request,
    session: SessionOf,
    campaign_id: CampaignId,
    codigo: Annotated[str, Form()] = "",
    version: Annotated[int, Form(ge=1, lt=2**31)] = 1,
) -> Response:
    """Save what the text says, all or nothing; refused when someone saved meanwhile."""
    try:
        with session.begin_nested():
            campaigns.change(session, campaign_id, CampaignIn.model_validate_json(codigo), version=version)
    except (ValidationError, CrmError) as error:
        status = status_of(error) if isinstance(error, CrmError) else 422
        return _page(request, campaigns.get(session, campaign_id), codigo, version, _told(error), status)
    return RedirectResponse(f"/campanas/{campaign_id}/redactar", status_code=303)


def _told(error: ValidationError | CrmError) -> list[str]:
    """What is wrong and where, without repeating what was written."""
    if isinstance(error, ValidationError):
        faults = error.errors(include_url=False, include_input=False, include_context=False)
        return [f"{'.'.join(str(part) for part in fault['loc']) or 'JSON'}: {fault['msg']}" for fault in faults[:20]]
    parts = error.parts if isinstance(error, InvalidInput) else [error]
    return [f"{part.field}: {part.sentence}" if part.field else part.sentence for part in parts]


def _page(
    request: Request, campaign: Campaign, text: str, version: int | None = None, wrong: list[str] | None = None, status: int = 200
) -> Response:
    context = {"campaign": campaign, "text": text, "version": version or campaign.version, "wrong": wrong or []}
    return page(request, "drafting/code.html", context, status=status)
