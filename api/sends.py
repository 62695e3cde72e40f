"""Sends over the API: how they go, what moves them, and what happened to each person."""

from typing import Annotated

from fastapi import APIRouter, Query
from sqlalchemy.orm import Session

from api.dependencies import Cursor, Limit, Page, Reading, RowId, TheSettings, ThisCall, Writing, page
from api.errors import documented
from api.guard import GuardedRoute
from crm.mailing import deliveries, sends
from crm.mailing.models import DeliveryState, Send
from crm.mailing.schemas import DeliveryOut, SendOut

router = APIRouter(tags=["sends"], route_class=GuardedRoute)


class MovedOut(SendOut):
    """A send after it was told to pause, resume or cancel."""

    already_sent: int
    """Mails that the server had already accepted: they cannot be called back."""


@router.get("/sends/{send_id}", responses=documented(404))
def get_send(send_id: RowId, session: Reading) -> SendOut:
    """One send: its state, why it waits if it does, and its people by state, which sum to its audience."""
    return sends.to_out(session, sends.get(session, send_id))


@router.post("/sends/{send_id}/pause", responses=documented(404, 409))
def pause_send(send_id: RowId, session: Writing) -> MovedOut:
    """Let no more mails leave until it is resumed. Twice is the same as once."""
    return _moved(session, sends.pause(session, send_id))


@router.post("/sends/{send_id}/resume", responses=documented(404, 409))
def resume_send(send_id: RowId, session: Writing, settings: TheSettings) -> MovedOut:
    """Go on. What it was held for (a larger audience, a late hour) is thereby accepted. Twice is the same as once."""
    return _moved(session, sends.resume(session, send_id, settings))


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
    """What happened to each person of a send."""
    sends.get(session, send_id)
    found, following = deliveries.find(session, send_id, state=state, reason=reason, cursor=cursor, limit=limit)
    sender = sends.sender_of(settings)
    return page(call, [sends.delivery_out(session, delivery, sender) for delivery in found], following)


def _moved(session: Session, send: Send) -> MovedOut:
    told = sends.to_out(session, send)
    return MovedOut(**told.model_dump(), already_sent=told.counts.sent)
