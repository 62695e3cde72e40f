"""Campañas: what was written, each time that it went out, in words, with a door to each send."""

from collections.abc import Sequence
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from sqlalchemy.orm import Session

from crm.mailing import campaigns
from crm.mailing.models import Campaign, Delivery, DeliveryState, Send
from web.dependencies import SessionOf
from web.pages import page
from web.words import PURPOSES, SEND_STATES

PAGE_ROWS = 20

router = APIRouter()


@router.get("/campanas")
def show(request: Request, session: SessionOf, cursor: Annotated[str | None, Query(max_length=200)] = None) -> Response:
    """Campaigns, newest first."""
    found, following = campaigns.find(session, cursor=cursor, limit=PAGE_ROWS)
    sent = sends_of(session, found)
    context = {
        "campaigns": found,
        "sends": sent,
        "accepted": accepted(session, [send.id for some in sent.values() for send in some]),
        "states": SEND_STATES,
        "purposes": PURPOSES,
        "cursor": cursor,
        "following": following,
    }
    return page(request, "campaigns/list.html", context)


def sends_of(session: Session, found: Sequence[Campaign]) -> dict[int, list[Send]]:
    """The sends of some campaigns, newest first."""
    made: dict[int, list[Send]] = {}
    ids = [campaign.id for campaign in found]
    for send in session.scalars(sa.select(Send).where(Send.campaign_id.in_(ids)).order_by(Send.id.desc())):
        made.setdefault(send.campaign_id, []).append(send)
    return made


def accepted(session: Session, send_ids: Sequence[int]) -> dict[int, int]:
    """How many mails of each send the server accepted."""
    counted = sa.select(Delivery.send_id, sa.func.count()).where(
        Delivery.send_id.in_(send_ids), Delivery.state == DeliveryState.SENT
    )
    return {row[0]: row[1] for row in session.execute(counted.group_by(Delivery.send_id))}
