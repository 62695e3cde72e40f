"""Regularising: people who were in the Red before consents were recorded are asked for theirs, answer on a page, or fall silent.

Nothing of this is stored apart: who was asked is in the ledger, what they said in their consents. See
docs/decisions/legacy-and-consent.md for how often and what becomes of who never answers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased, joinedload

from crm import clock
from crm.mailing import consent_answers, links
from crm.mailing.models import Delivery, DeliveryState, Outcome, Send, SkipReason
from crm.people import consent
from crm.people.contacts import visible
from crm.people.models import Consent, ConsentState, Contact, Purpose, Suppression, SuppressionReason, kept_id

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


def skip_reason(reason: sa.ColumnElement[str | None]) -> sa.ColumnElement[str | None]:
    """The reason of `consent.skip_reason` for a request: who has any consent on record has answered, and nobody is asked too
    often, under no record of theirs. A request that is leaving, or of which nobody knows whether it left, counts as made."""
    delivery, send, joined = aliased(Delivery), aliased(Send), aliased(Contact)
    theirs = delivery.contact_id.in_(sa.select(joined.id).where(joined.merged_into_id == Contact.id).correlate(Contact))
    made = delivery.state.in_((DeliveryState.SENT, DeliveryState.IN_DOUBT, DeliveryState.SENDING))
    requests = (
        sa.select(delivery.id)
        .join(send, send.id == delivery.send_id)
        .where(sa.or_(delivery.contact_id == Contact.id, theirs), made, send.purpose == Purpose.CONSENT_REQUEST)
        .correlate(Contact)
    )
    times = requests.with_only_columns(sa.func.count()).scalar_subquery()
    lately = requests.where(sa.func.coalesce(delivery.settled_at, send.starts_at) > clock.now() - REQUESTS_APART).exists()
    return sa.case(
        (reason == SkipReason.NO_CONSENT.value, SkipReason.ALREADY_ANSWERED.value),
        (sa.and_(reason.is_(None), sa.or_(times >= REQUESTS_MOST, lately)), SkipReason.ASKED_ENOUGH.value),
        else_=reason,
    )


def _asked(times: int) -> sa.Select[int]:
    """The people who were asked so often, of everybody at once: a count per person would be asked of each (measured: 95 ms of
    1,500 people for 54)."""
    holder = aliased(Contact)
    person = kept_id(holder)
    return (
        sa.select(person)
        .select_from(Delivery)
        .join(Send, Send.id == Delivery.send_id)
        .join(holder, holder.id == Delivery.contact_id)
        .where(Delivery.state == DeliveryState.SENT, Send.purpose == Purpose.CONSENT_REQUEST)
        .group_by(person)
        .having(sa.func.count() >= times)
        .correlate(None)
    )


def answer() -> sa.ColumnElement[str | None]:
    """The `Answer` of a `Contact`, as SQL; NULL for who never was to be asked."""
    return _answer(Contact.__table__.c.id, consent.mail_state())


def _answer(person: sa.ColumnElement[int], mail: sa.ColumnElement[str]) -> sa.ColumnElement[str | None]:
    """Of a person whose mail stands so (`consent.mail_state`)."""
    said = {"ok": Answer.GRANTED, "unsubscribed": Answer.LEFT, "complained": Answer.LEFT}
    said |= {"bounced": Answer.UNREACHED, "no_address": Answer.UNREACHED}
    silent = sa.case((person.in_(_asked(REQUESTS_MOST)), Answer.EXHAUSTED.value), else_=Answer.SILENT.value)
    answered = sa.case({state: one.value for state, one in said.items()}, value=mail, else_=silent)
    return sa.case((person.in_(_asked(1)), answered), (mail == "no_consent", Answer.NOT_ASKED.value), else_=None)


def progress(session: Session) -> Mapping[Answer, int]:
    """How many people stand how; who never was to be asked is not counted."""
    # Materialized, else how mail stands is asked wherever it is named (measured: 44 ms of 1,500 people for 31).
    people = sa.select(Contact.id, consent.mail_state().label("mail")).where(visible()).cte().prefix_with("MATERIALIZED")
    told = _answer(people.c.id, people.c.mail).label("answer")
    counted = session.execute(sa.select(told, sa.func.count()).select_from(people).group_by(told))
    found = {Answer(row[0]): row[1] for row in counted if row[0] is not None}
    return {one: found.get(one, 0) for one in Answer}


def sends(session: Session) -> Sequence[Send]:
    """The sends that asked or will ask, the newest first, with their campaigns."""
    asking = sa.select(Send).options(joinedload(Send.campaign)).where(Send.purpose == Purpose.CONSENT_REQUEST)
    return session.scalars(asking.order_by(Send.id.desc()).limit(SENDS_SHOWN)).all()


@dataclass(frozen=True)
class Answers:
    """How many people answered one send, each by their last word."""

    granted: int = 0
    left: int = 0
    """By the link of this mail, by answering it, or by marking it as unwanted."""

    @property
    def total(self) -> int:
        return self.granted + self.left


def answers_of(session: Session, send_ids: Sequence[int]) -> Mapping[int, Answers]:
    """Who answered each send, yes or no; sends without any answer are absent."""
    send = sa.cast(Delivery.send_id, sa.String)
    by_link = sa.literal(links.LEFT_BY) + send
    kept = sa.select(kept_id()).where(Contact.id == Delivery.contact_id).correlate(Delivery).scalar_subquery()
    theirs = Consent.contact_id.in_((Delivery.contact_id, kept))
    of_this_mail = Consent.evidence.like(sa.literal(consent_answers.AGREED_BY) + send + " a %")
    agreed = sa.exists().where(theirs, Consent.state == ConsentState.GRANTED, of_this_mail).correlate(Delivery)
    by_mail = sa.and_(Delivery.outcome.in_((Outcome.ANSWERED, Outcome.COMPLAINED)), ~agreed)
    gone = Suppression.reason.in_((SuppressionReason.UNSUBSCRIBED, SuppressionReason.COMPLAINED))
    mine = sa.and_(Suppression.address_hash == Delivery.address_hash, gone, sa.or_(Suppression.proof == by_link, by_mail))
    left = sa.exists().where(mine).correlate(Delivery)
    rows = session.execute(
        sa.select(
            Delivery.send_id,
            sa.func.count(sa.case((sa.and_(Delivery.outcome == Outcome.ANSWERED, ~left), 1))),
            sa.func.count(sa.case((left, 1))),
        )
        .where(Delivery.send_id.in_(send_ids), Delivery.state == DeliveryState.SENT)
        .group_by(Delivery.send_id)
    )
    return {row[0]: Answers(row[1], row[2]) for row in rows if row[1] or row[2]}
