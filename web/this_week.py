"""What changed in the last seven days: the figures of Inicio, each with the condition of the very people behind it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm import clock
from crm.mailing.models import Delivery, DeliveryState, Send
from crm.mailing.sent_in_period import Period
from crm.people.contacts import visible
from crm.people.models import Contact, EmailAddress, Suppression, SuppressionReason


class Lately(StrEnum):
    """What befell a person."""

    ENTERED = "entered"
    LEFT = "left"
    BOUNCED = "bounced"


WORDS = {Lately.ENTERED: "entraron a la Red", Lately.LEFT: "baja o queja", Lately.BOUNCED: "su buzón rebotó"}

_REASONS = {
    Lately.LEFT: (SuppressionReason.UNSUBSCRIBED, SuppressionReason.COMPLAINED),
    Lately.BOUNCED: (SuppressionReason.BOUNCED,),
}


@dataclass(frozen=True)
class Week:
    """People by what befell them, and the mails that the server accepted of the sends that began in these days."""

    people: Mapping[Lately, int]
    accepted: int
    days: Period


def days() -> Period:
    """Today and the six days before it, by the calendar of Mexico City."""
    return Period(clock.today() - timedelta(days=6), clock.today())


def befell(what: Lately) -> sa.ColumnElement[bool]:
    """Whether something befell a `Contact` in these days."""
    since = days().begins
    if what is Lately.ENTERED:
        return Contact.created_at >= since
    told = sa.select(EmailAddress.contact_id).join(Suppression, Suppression.address_hash == EmailAddress.suppression_hash)
    return Contact.id.in_(told.where(Suppression.reason.in_(_REASONS[what]), Suppression.recorded_at >= since))


def week(session: Session) -> Week:
    """The last seven days in figures."""
    counted = sa.select(sa.func.count(Contact.id))
    sent = sa.select(sa.func.count()).select_from(Delivery).join(Send, Send.id == Delivery.send_id)
    accepted = sent.where(Delivery.state == DeliveryState.SENT, Send.started_at >= days().begins)
    return Week(
        people={what: session.scalar(counted.where(visible(), befell(what))) or 0 for what in Lately},
        accepted=session.scalar(accepted) or 0,
        days=days(),
    )
