"""Campaigns over the API, and the orders to send them."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Response

from api.dependencies import (
    Cursor,
    IfMatch,
    Limit,
    OnlyOnce,
    Page,
    Reading,
    RowId,
    TheDatabase,
    TheSettings,
    ThisCall,
    Writing,
    content,
    page,
    tag,
)
from api.errors import documented
from api.guard import GuardedRoute
from crm.mailing import campaigns, previews, sends
from crm.mailing.schemas import CampaignIn, CampaignOut, PreviewIn, PreviewOut, Review, SendIn, SendOut, TrialIn, TrialOut

router = APIRouter(tags=["campaigns"], route_class=GuardedRoute)

CAMPAIGN: dict[str, Any] = {
    "name": "Invitación al taller",
    "template": "infographic",
    "purpose": "electoral_information",
    "audience": {"include": [1], "exclude": []},
    "variants": [
        {
            "language": "es",
            "subject": "Tu credencial, {{ nombre }}",
            "blocks": [{"type": "text", "body": "Hola, {{ nombre }}:"}, {"type": "image", "material": 1}],
        }
    ],
}
CampaignBody = Annotated[CampaignIn, Body(examples=[CAMPAIGN])]
PreviewBody = Annotated[PreviewIn, Body(examples=[{"contact_id": 1, "language": "es"}])]
TrialBody = Annotated[TrialIn, Body(examples=[{"to": "coordinacion@example.org"}])]
SendBody = Annotated[
    SendIn, Body(examples=[{"when": {"mode": "now"}}, {"when": {"mode": "at", "at": "2027-01-07T10:00:00-06:00"}}])
]


@router.get("/campaigns")
def list_campaigns(session: Reading, call: ThisCall, cursor: Cursor = None, limit: Limit = 50) -> Page[CampaignOut]:
    """Campaigns, the newest first."""
    found, following = campaigns.find(session, cursor=cursor, limit=limit)
    return page(call, [campaigns.to_out(campaign) for campaign in found], following)


@router.post("/campaigns", status_code=201, responses=documented(404, 409, 413))
def create_campaign(data: CampaignBody, session: Writing, once: OnlyOnce) -> CampaignOut:
    """Write a draft: its texts by language, and the segments that it is for."""
    return once(content(data), CampaignOut, lambda: campaigns.to_out(campaigns.create(session, data)))


@router.get("/campaigns/{campaign_id}", responses=documented(404))
def get_campaign(campaign_id: RowId, session: Reading, response: Response) -> CampaignOut:
    """One campaign."""
    campaign = campaigns.get(session, campaign_id)
    tag(response, campaign.version)
    return campaigns.to_out(campaign)


@router.put("/campaigns/{campaign_id}", responses=documented(404, 409, 412, 413))
def change_campaign(campaign_id: RowId, data: CampaignBody, session: Writing, response: Response, version: IfMatch) -> CampaignOut:
    """Write a draft anew. A send that was confirmed keeps what it was confirmed with."""
    campaign = campaigns.change(session, campaign_id, data, version=version)
    tag(response, campaign.version)
    return campaigns.to_out(campaign)


@router.get("/campaigns/{campaign_id}/review", responses=documented(404))
def review_campaign(campaign_id: RowId, session: Reading, settings: TheSettings) -> Review:
    """What it would do if it were sent now: how many get it, how many do not and why, and what to mend first."""
    return campaigns.review(session, campaigns.get(session, campaign_id), settings)


@router.post("/campaigns/{campaign_id}/preview", responses=documented(404, 413))
def preview_campaign(campaign_id: RowId, data: PreviewBody, session: Reading, settings: TheSettings) -> PreviewOut:
    """The mail as one person would get it, with the links of no one; nothing is sent. It asks for `contacts:read` too."""
    campaign = campaigns.get(session, campaign_id)
    seen = previews.of_campaign(session, campaign, data.contact_id, settings, data.language)
    return PreviewOut.model_validate(seen)


@router.post("/campaigns/{campaign_id}/tests", responses=documented(404, 409, 413))
def test_campaign(campaign_id: RowId, data: TrialBody, database: TheDatabase, settings: TheSettings) -> TrialOut:
    """A test mail to an account of the staff, with the links of no one. It asks for `contacts:read` too."""
    with database.session(write=False) as session:
        campaign = campaigns.get(session, campaign_id)
        mail = previews.trial(session, campaign, data.to, settings, data.contact_id, data.language)
    return previews.to_out(previews.hand_over(mail, settings))  # no transaction waits for the mail server


@router.get("/campaigns/{campaign_id}/sends", responses=documented(404))
def list_sends(campaign_id: RowId, session: Reading, call: ThisCall, cursor: Cursor = None, limit: Limit = 50) -> Page[SendOut]:
    """The sends of a campaign, the newest first."""
    campaigns.get(session, campaign_id)
    found, following = sends.find(session, campaign_id=campaign_id, cursor=cursor, limit=limit)
    return page(call, [sends.to_out(session, send) for send in found], following)


@router.post("/campaigns/{campaign_id}/sends", status_code=201, responses=documented(404, 409, 412, 413))
def order_send(campaign_id: RowId, data: SendBody, session: Writing, once: OnlyOnce, settings: TheSettings) -> SendOut:
    """Confirm a campaign: its content and audience are frozen and it leaves now, or at the hour told.

    It starts without the 60 seconds to undo unless `undo_seconds` asks for them. With `confirmed_count` it is refused
    (`count_changed`) if it would reach more people than that, with `version` (`campaign_changed`) if the campaign was changed
    since it was reviewed. A second send of it at about the same time is refused (`already_ordered`) without `again`.
    The mode `local_hour` (the hour of each person) is not offered yet: `mode_not_offered`.
    """

    def make() -> SendOut:
        return sends.to_out(session, sends.order(session, campaign_id, data, settings))

    return once(content(data), SendOut, make)
