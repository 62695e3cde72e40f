"""Inicio: the network in figures, what is leaving and what waits."""

import sqlalchemy as sa
from fastapi import APIRouter, Request
from fastapi.responses import Response
from sqlalchemy.orm import Session, joinedload

from crm.mailing.models import Campaign, Send, SendState
from crm.people.models import LeaderSector
from web.campaigns import accepted
from web.contact_list import Filter, figures_of
from web.dependencies import SessionOf
from web.pages import page
from web.words import PURPOSES, SEND_STATES

LIVE = (SendState.SENDING, SendState.PAUSED, SendState.HELD, SendState.SCHEDULED)
MOST = 8

router = APIRouter()


@router.get("/")
def show(request: Request, session: SessionOf) -> Response:
    """The first page after signing in."""
    live = _sends(session, LIVE)
    finished = _sends(session, (SendState.DONE,))
    context = {
        "figures": figures_of(session, Filter()),
        "everyone": Filter(),
        "sectors": tuple(LeaderSector),
        "live": live,
        "finished": finished[:3],
        "drafts": _drafts(session),
        "accepted": accepted(session, [send.id for send in (*live, *finished)]),
        "states": SEND_STATES,
        "purposes": PURPOSES,
    }
    return page(request, "home/page.html", context)


def _sends(session: Session, states: tuple[SendState, ...]) -> list[Send]:
    statement = sa.select(Send).options(joinedload(Send.campaign)).where(Send.state.in_(states))
    return list(session.scalars(statement.order_by(Send.id.desc()).limit(MOST)))


def _drafts(session: Session) -> list[Campaign]:
    """Campaigns that never went out, the last changed first."""
    never = ~sa.exists().where(Send.campaign_id == Campaign.id)
    return list(session.scalars(sa.select(Campaign).where(never).order_by(Campaign.changed_at.desc()).limit(MOST)))
