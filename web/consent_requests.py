"""Regularizar: the people of whom no consent is on record, how far asking them has come, and the campaign that asks."""

import sqlalchemy as sa
from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.orm import Session

from crm.mailing import campaigns, consent_requests, segments, templates
from crm.mailing.consent_requests import Answer
from crm.mailing.models import Campaign, Send
from crm.mailing.schemas import Audience
from crm.people import privacy_notices
from crm.people.models import Purpose
from web.campaigns import accepted
from web.dependencies import SessionOf
from web.pages import page
from web.words import SEND_STATES

TEMPLATE = "consent"
SEGMENT = "Por regularizar"
CAMPAIGN = "Solicitud de consentimiento"
RULE: dict[str, object] = {
    "all": [{"field": "consent_request", "op": "in", "value": [Answer.NOT_ASKED.value, Answer.SILENT.value]}]
}
"""Whom a request is for; who was asked lately is left out when it leaves."""

router = APIRouter()


@router.get("/regularizar")
def show(request: Request, session: SessionOf) -> Response:
    """How many stand how, what was sent, and what comes next."""
    sends = consent_requests.sends(session)
    ids = [send.id for send in sends]
    context = {
        "progress": consent_requests.progress(session),
        "sends": sends,
        "accepted": accepted(session, ids),
        "answers": consent_requests.answers_of(session, ids),
        "states": SEND_STATES,
        "draft": _draft(session),
        "notice": privacy_notices.newest(session),
        "most": consent_requests.REQUESTS_MOST,
        "apart": consent_requests.REQUESTS_APART.days,
    }
    return page(request, "consent_requests/page.html", context)


@router.post("/regularizar")
def prepare(session: SessionOf) -> Response:
    """The draft that asks whoever may be asked, in both languages; the one that waits already, if there is one."""
    draft = _draft(session)
    if draft is None:
        segment = segments.ensure(session, SEGMENT, RULE)
        begun = templates.starter(TEMPLATE, CAMPAIGN)
        draft = campaigns.create(session, begun.model_copy(update={"audience": Audience(include=[segment.id])}))
    return RedirectResponse(f"/campanas/{draft.id}/redactar", status_code=303)


def _draft(session: Session) -> Campaign | None:
    """The newest campaign that asks and never went out."""
    went = sa.exists().where(Send.campaign_id == Campaign.id, ~Send.was_taken_back)
    asking = sa.select(Campaign).where(Campaign.purpose == Purpose.CONSENT_REQUEST, ~went)
    return session.scalars(asking.order_by(Campaign.id.desc()).limit(1)).first()
