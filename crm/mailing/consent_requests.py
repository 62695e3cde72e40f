"""Regularising: people who were in the Red before consents were recorded are asked for theirs, answer on a page, or fall silent.

Nothing of this is stored apart: who was asked is in the ledger, what they said in their consents. See
docs/decisions/legacy-and-consent.md for how often and what becomes of who never answers.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased, joinedload

from crm import clock
from crm.mailing.models import Delivery, DeliveryState, Outcome, Send, SkipReason
from crm.people import consent
from crm.people.contacts import visible
from crm.people.models import Contact, Purpose

REQUESTS_MOST = 3
"""Times that a person is asked; who does not answer is not asked again."""
REQUESTS_APART = timedelta(days=14)
"""Between two requests to one person."""
SENDS_SHOWN = 20


class Answer(StrEnum):
    """How someone stands who had no consent on record."""

    NOT_ASKED = "not_asked"
    SILENT = "silent"
    """Asked, without an answer yet; may be asked again."""
    EXHAUSTED = "exhausted"
    """Asked as often as one may, without an answer: nobody writes to them any more."""
    GRANTED = "granted"
    LEFT = "left"
    UNREACHED = "unreached"
    """Asked, and the mail came back or there is no address any more."""


def _requests(*states: DeliveryState) -> tuple[sa.Select[Any], sa.ColumnElement[Any]]:
    """Ids of the requests to a `Contact`, or to a record that was joined into theirs, that are in some state, and when each was
    settled."""
    delivery, send, joined = aliased(Delivery), aliased(Send), aliased(Contact)
    theirs = delivery.contact_id.in_(sa.select(joined.id).where(joined.merged_into_id == Contact.id).correlate(Contact))
    found = (
        sa.select(delivery.id)
        .join(send, send.id == delivery.send_id)
        .where(
            sa.or_(delivery.contact_id == Contact.id, theirs), delivery.state.in_(states), send.purpose == Purpose.CONSENT_REQUEST
        )
        .correlate(Contact)
    )
    return found, sa.func.coalesce(delivery.settled_at, send.starts_at)


def _times(requests: sa.Select[Any]) -> sa.ScalarSelect[int]:
    return requests.with_only_columns(sa.func.count()).scalar_subquery()


def skip_reason(reason: sa.ColumnElement[str | None]) -> sa.ColumnElement[str | None]:
    """The reason of `consent.skip_reason` for a request: who has any consent on record has answered, and nobody is asked too
    often. A request that is leaving, or of which nobody knows whether it left, counts as made."""
    requests, at = _requests(DeliveryState.SENT, DeliveryState.IN_DOUBT, DeliveryState.SENDING)
    enough = sa.or_(_times(requests) >= REQUESTS_MOST, requests.where(at > clock.now() - REQUESTS_APART).exists())
    return sa.case(
        (reason == SkipReason.NO_CONSENT.value, SkipReason.ALREADY_ANSWERED.value),
        (sa.and_(reason.is_(None), enough), SkipReason.ASKED_ENOUGH.value),
        else_=reason,
    )


def answer() -> sa.ColumnElement[str | None]:
    """The `Answer` of a `Contact`, as SQL; NULL for who never was to be asked."""
    asked = _times(_requests(DeliveryState.SENT)[0])
    mail = consent.mail_state()
    return sa.case(
        (sa.and_(asked == 0, mail == "no_consent"), Answer.NOT_ASKED.value),
        (asked == 0, sa.null()),
        (mail == "ok", Answer.GRANTED.value),
        (mail.in_(("unsubscribed", "complained")), Answer.LEFT.value),
        (mail.in_(("bounced", "no_address")), Answer.UNREACHED.value),
        (asked >= REQUESTS_MOST, Answer.EXHAUSTED.value),
        else_=Answer.SILENT.value,
    )


def progress(session: Session) -> Mapping[Answer, int]:
    """How many people stand how; who never was to be asked is not counted."""
    rows = sa.select(answer().label("answer")).select_from(Contact).where(visible()).subquery()
    counted = session.execute(sa.select(rows.c.answer, sa.func.count()).where(rows.c.answer.is_not(None)).group_by(rows.c.answer))
    found = {Answer(row[0]): row[1] for row in counted}
    return {one: found.get(one, 0) for one in Answer}


def sends(session: Session) -> Sequence[Send]:
    """The sends that asked or will ask, the newest first, with their campaigns."""
    asking = sa.select(Send).options(joinedload(Send.campaign)).where(Send.purpose == Purpose.CONSENT_REQUEST)
    return session.scalars(asking.order_by(Send.id.desc()).limit(SENDS_SHOWN)).all()


def answers_of(session: Session, send_ids: Sequence[int]) -> Mapping[int, int]:
    """How many people answered each send, by its page or by mail."""
    rows = session.execute(
        sa.select(Delivery.send_id, sa.func.count())
        .where(Delivery.send_id.in_(send_ids), Delivery.outcome == Outcome.ANSWERED)
        .group_by(Delivery.send_id)
    )
    return {row[0]: row[1] for row in rows}
