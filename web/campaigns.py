"""Campañas: what was written, each time that it went out, in words, with a door to each send."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from sqlalchemy.orm import Session

from crm import clock
from crm.database import titled
from crm.mailing import campaigns
from crm.mailing.models import Campaign, Delivery, DeliveryState, Send, SendState
from web.asked import address, search_of
from web.dependencies import SessionOf
from web.pages import counted, page
from web.words import PURPOSES, SEND_STATES

PAGE_ROWS = 20

router = APIRouter()


STATES = (("", "Todas"), ("draft", "Borradores"), ("waiting", "Programadas o en curso"), ("done", "Enviadas"))
PERIODS = (("", "Siempre"), ("month", "Este mes"), ("quarter", "Este trimestre"), ("year", "Este año"))
WAITING = (SendState.SCHEDULED, SendState.HELD, SendState.SENDING, SendState.PAUSED)


@router.get("/campanas")
def show(request: Request, session: SessionOf, cursor: Annotated[str | None, Query(max_length=200)] = None) -> Response:
    """Campaigns, newest first; by name, state and period."""
    told = Told.read(request.query_params)
    found, following = campaigns.find(session, told.condition(session), cursor=cursor, limit=PAGE_ROWS)
    sent = sends_of(session, found)
    context = {
        "campaigns": found,
        "sends": sent,
        "accepted": accepted(session, [send.id for some in sent.values() for send in some]),
        "states": SEND_STATES,
        "purposes": PURPOSES,
        "cursor": cursor,
        "following": following,
        "told": not told.is_empty,
        "text": told.text,
        "state": told.state,
        "period": told.period,
        "state_options": STATES,
        "period_options": PERIODS,
        "sentence": told.sentence(session),
        "here": told.url(),
    }
    return page(request, "campaigns/list.html", context)


@dataclass(frozen=True)
class Told:
    """What the list is asked for."""

    text: str
    state: str
    period: str

    @classmethod
    def read(cls, query: Mapping[str, str]) -> "Told":
        """From an address; a value that the page does not offer is passed over."""
        state, period = query.get("estado", ""), query.get("periodo", "")
        text = search_of(query)
        return cls(text, state if state in dict(STATES) else "", period if period in dict(PERIODS) else "")

    @property
    def is_empty(self) -> bool:
        return not (self.text or self.state or self.period)

    def condition(self, session: Session) -> sa.ColumnElement[bool]:
        parts: list[sa.ColumnElement[bool]] = []
        if self.text:
            parts = [Campaign.id.in_([number for number, _ in titled(session, Campaign.id, Campaign.name, self.text)])]
        parts += [_in_state(self.state)] if self.state else []
        since = self.since()
        parts += [_out_since(since) if self.state != "draft" else Campaign.changed_at >= since] if since else []
        return sa.and_(sa.true(), *parts)

    def since(self) -> datetime | None:
        """When the period began, by the calendar of Mexico City."""
        today = clock.institute_time(clock.now())
        months = {"month": today.month, "quarter": 3 * ((today.month - 1) // 3) + 1, "year": 1}
        if self.period not in months:
            return None
        return today.replace(month=months[self.period], day=1, hour=0, minute=0, second=0, microsecond=0)

    def sentence(self, session: Session) -> str:
        """How many campaigns and how many mails accepted, in words."""
        ids = sa.select(Campaign.id).where(self.condition(session))
        many = session.scalar(sa.select(sa.func.count()).select_from(ids.subquery())) or 0
        of_sends = Delivery.send_id.in_(_sends_of(ids, self.since()))
        mails = session.scalar(sa.select(sa.func.count()).where(Delivery.state == DeliveryState.SENT, of_sends)) or 0
        return f"{counted(many, 'campaña', 'campañas')} · {counted(mails, 'correo aceptado', 'correos aceptados')}"

    def url(self) -> str:
        return address("/campanas", q=self.text, estado=self.state, periodo=self.period)


def _in_state(state: str) -> sa.ColumnElement[bool]:
    of_it = sa.exists().where(Send.campaign_id == Campaign.id)
    if state == "draft":
        return ~of_it.where(~Send.was_taken_back)
    return of_it.where(Send.state.in_(WAITING) if state == "waiting" else Send.state == SendState.DONE)


def _out_since(since: datetime) -> sa.ColumnElement[bool]:
    return sa.exists().where(Send.campaign_id == Campaign.id, sa.func.coalesce(Send.started_at, Send.starts_at) >= since)


def _sends_of(campaign_ids: sa.Select[int], since: datetime | None) -> sa.Select[int]:
    chosen = sa.select(Send.id).where(Send.campaign_id.in_(campaign_ids))
    return chosen.where(Send.started_at >= since) if since else chosen


def sends_of(session: Session, found: Sequence[Campaign]) -> dict[int, list[Send]]:
    """The sends of some campaigns, newest first, but orders that were taken back before anything left."""
    made: dict[int, list[Send]] = {}
    ids = [campaign.id for campaign in found]
    for send in session.scalars(sa.select(Send).where(Send.campaign_id.in_(ids), ~Send.was_taken_back).order_by(Send.id.desc())):
        made.setdefault(send.campaign_id, []).append(send)
    return made


def accepted(session: Session, send_ids: Sequence[int]) -> dict[int, int]:
    """How many mails of each send the server accepted."""
    counted = sa.select(Delivery.send_id, sa.func.count()).where(
        Delivery.send_id.in_(send_ids), Delivery.state == DeliveryState.SENT
    )
    return {row[0]: row[1] for row in session.execute(counted.group_by(Delivery.send_id))}
