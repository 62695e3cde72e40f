"""Sends over the API: how they go, what moves them, and what happened to each person."""

from collections.abc import Sequence
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Body, Query
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from api.dependencies import Cursor, Limit, Page, Reading, RowId, TheSettings, ThisCall, Writing, page
from api.errors import documented
from api.guard import GuardedRoute
from crm.config import Settings
from crm.mailing import deliveries, sends
from crm.mailing.models import Delivery, DeliveryState, Send
from crm.mailing.schemas import DeliveryOut, SendOut
from crm.people.contacts import mask_address
from crm.people.models import Contact, unblocked

router = APIRouter(tags=["sends"], route_class=GuardedRoute)


class MovedOut(SendOut):
    """A send after it was told to pause, resume or cancel."""

    already_sent: int
    """Mails that the server had already accepted: they cannot be called back."""


class ResumeIn(BaseModel):
    """How many people whoever resumes a held send saw that it would reach, and accepts."""

    model_config = ConfigDict(extra="forbid")

    accepted_count: Annotated[int, Field(ge=0, lt=2**31)] | None = None


ResumeBody = Annotated[ResumeIn | None, Body(examples=[{"accepted_count": 203}])]


@router.get("/sends/{send_id}", responses=documented(404))
def get_send(send_id: RowId, session: Reading) -> SendOut:
    """One send: its state, why it waits if it does, and its people by state, which sum to its audience."""
    return sends.to_out(session, sends.get(session, send_id))


@router.post("/sends/{send_id}/pause", responses=documented(404, 409))
def pause_send(send_id: RowId, session: Writing) -> MovedOut:
    """Let no more mails leave until it is resumed. Twice is the same as once."""
    return _moved(session, sends.pause(session, send_id))


@router.post("/sends/{send_id}/resume", responses=documented(404, 409, 413))
def resume_send(send_id: RowId, session: Writing, settings: TheSettings, data: ResumeBody = None) -> MovedOut:
    """Go on; a late hour is thereby accepted. Twice is the same as once.

    What was held because its audience grew goes on for as many people as its `would_reach` tells, or as `accepted_count`
    says; if by now it would reach yet more, it stays held and `would_reach` tells the new number.
    """
    return _moved(session, sends.resume(session, send_id, settings, data.accepted_count if data else None))


@router.post("/sends/{send_id}/cancel", responses=documented(404, 409))
def cancel_send(send_id: RowId, session: Writing) -> MovedOut:
    """End it: what had not left will not leave. Twice is the same as once."""
    return _moved(session, sends.cancel(session, send_id))


@router.get("/sends/{send_id}/deliveries", responses=documented(404))
def list_deliveries(
    send_id: RowId,
    session: Reading,
    call: ThisCall,
    settings: TheSettings,
    state: DeliveryState | None = None,
    reason: Annotated[str | None, Query(max_length=60, description="Why it was skipped, deferred or failed.")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[DeliveryOut]:
    """What happened to each person of a send.

    Addresses and answers of the mail server are whole for a client that holds `contacts:read`; for others the address is
    masked and `smtp_reply` is null. Of a person whose data are blocked or erased neither is told.
    """
    sends.get(session, send_id)
    found, following = deliveries.find(session, send_id, state=state, reason=reason, cursor=cursor, limit=limit)
    return page(call, _lines(session, found, settings, whole="contacts:read" in call.scopes), following)


def _lines(session: Session, found: Sequence[Delivery], settings: Settings, *, whole: bool) -> list[DeliveryOut]:
    """Lines of the ledger with no more of each person than the client may see."""
    ids = [delivery.contact_id for delivery in found]
    shown = set(session.scalars(sa.select(Contact.id).where(Contact.id.in_(ids), unblocked())))
    sender = sends.sender_of(settings)
    told = [sends.delivery_out(session, delivery, sender) for delivery in found]
    return [line if whole and line.contact_id in shown else _veiled(line, line.contact_id in shown) for line in told]


def _veiled(line: DeliveryOut, is_shown: bool) -> DeliveryOut:
    """A line without what identifies: the mail server's answer often repeats the address."""
    address = mask_address(line.address) if is_shown and line.address else None
    return line.model_copy(update={"address": address, "smtp_reply": None})


def _moved(session: Session, send: Send) -> MovedOut:
    told = sends.to_out(session, send)
    return MovedOut(**told.model_dump(), already_sent=told.counts.sent)
