"""Suppressions over the API: someone left, complained, or their mailbox does not exist."""

from datetime import date
from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, StringConstraints

from api.dependencies import OnlyOnce, Writing, content
from api.errors import documented
from api.guard import GuardedRoute
from crm import clock
from crm.errors import InvalidInput
from crm.mailing import links
from crm.people import consent
from crm.people.models import SuppressionReason
from crm.people.schemas import AddressText, Evidence

router = APIRouter(tags=["suppressions"], route_class=GuardedRoute)

Reason = Literal[SuppressionReason.UNSUBSCRIBED, SuppressionReason.COMPLAINED, SuppressionReason.BOUNCED]


class SuppressionIn(BaseModel):
    """Who must not be written to again, why, since when, and how it is known."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "address": "ana@example.org",
                "reason": "unsubscribed",
                "happened_on": "2026-11-20",
                "proof": "Lo pidió por teléfono a la unidad.",
            }
        },
    )

    address: AddressText
    reason: Reason
    happened_on: date
    proof: Evidence
    message_id: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=300)] | None = None
    """The Message-ID of the mail that it speaks of, if it is known: it proves that this mail was sent."""


class SuppressionOut(BaseModel):
    """What is recorded, without the address: it is kept only as a keyed hash."""

    reason: Reason
    happened_on: date


@router.post("/suppressions", status_code=201, responses=documented(409, 413))
def suppress_address(data: SuppressionIn, session: Writing, once: OnlyOnce) -> SuppressionOut:
    """Never write to an address again, whether or not it is in the network. Twice is the same as once.

    It takes effect on mails that are already waiting, and nothing that comes in later revives it.
    """

    def make() -> SuppressionOut:
        if data.happened_on > clock.today():
            raise InvalidInput("date_future", field="happened_on")
        if data.message_id is not None:
            links.note_returned(session, data.message_id, data.address, data.reason)
        consent.suppress(session, data.address, data.reason, happened_on=data.happened_on, proof=data.proof)
        return SuppressionOut(reason=data.reason, happened_on=data.happened_on)

    return once(content(data), SuppressionOut, make)
