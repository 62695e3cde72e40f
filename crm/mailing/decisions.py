"""What a person decides about mails of a send: those of which nobody knows whether they arrived, and those that failed.

The product never sends again by itself what may have arrived. A person may, with a reason that stays in the history.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased

from crm import clock, history
from crm.errors import Conflict, InvalidInput
from crm.mailing import campaigns, deliveries, segments, sends
from crm.mailing.deliveries import DECIDED
from crm.mailing.models import Attempt, Campaign, Delivery, DeliveryState, SendState
from crm.mailing.schemas import Audience, CampaignIn, TextBlock, VariantIn
from crm.people import consent
from crm.people.models import Contact, Language, kept_id

TAKEN_AS_SENT = "taken_as_sent"
"""Reason of a mail that is called sent because a person said so, not the server."""


class Decision(StrEnum):
    """What to do with a mail of which nobody knows whether it arrived."""

    TAKE_AS_SENT = "take_as_sent"
    SEND_AGAIN = "send_again"


def decide_doubt(session: Session, send_id: int, decision: Decision, why: str, ids: Sequence[int] | None = None) -> int:
    """Settle mails in doubt, all of a send or some; returns how many. What was settled meanwhile is left alone.

    InvalidInput(decision_reason_required), Conflict(send_over) for a mail of a cancelled send.
    """
    _lock(session, send_id, why, again=decision is Decision.SEND_AGAIN)
    chosen = _some(send_id, DeliveryState.IN_DOUBT, ids)
    if decision is Decision.TAKE_AS_SENT:
        moved = _move(session, chosen, DeliveryState.SENT, TAKEN_AS_SENT)
    else:
        moved = _put_back(session, send_id, chosen)
    _note(session, send_id, decision.value, why, len(moved))
    return len(moved)


@dataclass(frozen=True)
class Retried:
    """How many mails wait to leave again, and how many stay failed because their address must not be written to."""

    again: int
    left: int


def try_again(session: Session, send_id: int, why: str, *, reason: str | None = None, ids: Sequence[int] | None = None) -> Retried:
    """Put failed mails back in the queue, all of a send, those of one reason, or some.

    An address that bounced stays failed until its bounce is lifted on the page of the person. Errors: as `decide_doubt`.
    """
    _lock(session, send_id, why, again=True)
    chosen = _some(send_id, DeliveryState.FAILED, ids)
    if reason is not None:
        chosen = sa.and_(chosen, Delivery.reason == reason)
    whole = session.scalar(sa.select(sa.func.count()).select_from(Delivery).where(chosen)) or 0
    moved = _put_back(session, send_id, sa.and_(chosen, ~consent.is_suppressed(Delivery.address_hash)))
    _note(session, send_id, "try_again", why, len(moved))
    return Retried(len(moved), whole - len(moved))


def _lock(session: Session, send_id: int, why: str, *, again: bool) -> None:
    if not why.strip():
        raise InvalidInput("decision_reason_required", field="why")
    send = sends.get(session, send_id, lock=True)
    if again and send.state is SendState.CANCELLED:
        raise Conflict("send_over")


def _some(send_id: int, state: DeliveryState, ids: Sequence[int] | None) -> sa.ColumnElement[bool]:
    whole = sa.and_(Delivery.send_id == send_id, Delivery.state == state)
    return whole if ids is None else sa.and_(whole, Delivery.id.in_(ids))


def _move(session: Session, chosen: sa.ColumnElement[bool], state: DeliveryState, reason: str | None) -> list[int]:
    """Move mails and keep each as an attempt; their old token no longer settles anything."""
    now = clock.now()
    values: dict[str, Any] = {"state": state, "reason": reason, "token": None, "lease_until": None, "settled_at": now}
    if state is DeliveryState.PENDING:
        values |= {"due_at": now, "attempts": 0}
    moved = list(
        session.scalars(
            sa.update(Delivery).where(chosen).values(**values).returning(Delivery.id).execution_options(synchronize_session=False)
        )
    )
    if moved:
        rows = [{"delivery_id": number, "at": now, "state": state, "reason": DECIDED} for number in moved]
        session.execute(sa.insert(Attempt), rows)
    return moved


def _put_back(session: Session, send_id: int, chosen: sa.ColumnElement[bool]) -> list[int]:
    """Whoever got the mail, or may have got it, under a record that was joined with this one does not get it again."""
    moved = _move(session, sa.and_(chosen, ~_got_otherwise(send_id)), DeliveryState.PENDING, None)
    if moved:
        deliveries.reopen(session, [send_id])
    return moved


def _note(session: Session, send_id: int, event: str, why: str, people: int) -> None:
    session.info["why"] = why.strip()[:500]
    history.note(session, "send", send_id, event=event, people=people)


def _got_otherwise(send_id: int) -> sa.ColumnElement[bool]:
    """Whether the person of a delivery has another record, joined with this one, that was sent the same, or is still to be."""
    mine, theirs, other = aliased(Contact), aliased(Contact), aliased(Delivery)
    of_person = kept_id(mine) == kept_id(theirs)
    joined = sa.or_(mine.merged_into_id.is_not(None), theirs.merged_into_id.is_not(None))
    states = (DeliveryState.SENT, DeliveryState.IN_DOUBT, DeliveryState.PENDING, DeliveryState.DEFERRED, DeliveryState.SENDING)
    found = (
        sa.select(Delivery.id)
        .join(mine, mine.id == Delivery.contact_id)
        .join(theirs, sa.and_(of_person, joined, theirs.id != mine.id))
        .join(other, sa.and_(other.contact_id == theirs.id, other.send_id == send_id, other.state.in_(states)))
        .where(Delivery.send_id == send_id)
    )
    return Delivery.id.in_(found.correlate(None))


# --- fe de erratas --------------------------------------------------------------------------------------------------------------

ERRATA = {
    Language.SPANISH: (
        "Fe de erratas",
        "En el correo «{subject}» había un error. Escriba aquí qué decía mal y cuál es el dato correcto.",
    ),
    Language.ENGLISH: (
        "Correction",
        "There was a mistake in the mail “{subject}”. Write here what was wrong and what is right.",
    ),
}
"""Subject and text that a correction begins with; `review` lets none leave that still says «escriba aquí»."""


def write_erratum(session: Session, send_id: int) -> Campaign:
    """A draft to exactly those who were sent a mail of this send, or may have been; nothing leaves by this."""
    send = sends.get(session, send_id)
    rule: dict[str, object] = {"all": [{"field": "sent_in", "op": "is", "value": send_id}]}
    segment = segments.ensure(session, f"Envío {send_id}: recibieron «{send.campaign.name}»", rule).id
    variants = [_erratum(variant.language, variant.subject) for variant in send.campaign.variants]
    named = f"Fe de erratas: {send.campaign.name}"[:200]
    return campaigns.create(
        session,
        CampaignIn(name=named, template="notice", purpose=send.purpose, audience=Audience(include=[segment]), variants=variants),
    )


def _erratum(language: Language, subject: str) -> VariantIn:
    """What a correction of a mail begins with, in the language that the mail was in."""
    own, text = ERRATA[language]
    body = "{{ saludo }}\n\n" + text.replace("{subject}", subject.strip())
    return VariantIn(language=language, subject=own, blocks=[TextBlock(type="text", body=body)])
