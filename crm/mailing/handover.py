"""Sends that wait for a person who leaves: they go on in the name of another, who is told of them."""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session, joinedload

from crm.mailing.models import Send
from crm.mailing.sends import OVER


def waiting_of(session: Session, account_id: int) -> Sequence[Send]:
    """The sends that an account ordered and that are not over, the next one first."""
    own = sa.select(Send).where(Send.ordered_by_kind == "account", Send.ordered_by_id == account_id, Send.state.not_in(OVER))
    return session.scalars(own.options(joinedload(Send.campaign)).order_by(Send.starts_at, Send.id)).all()


def give(session: Session, account_id: int, heir_id: int) -> Sequence[Send]:
    """Hand the waiting sends of an account over to another; they keep their hour. Returns those that were handed over."""
    given = waiting_of(session, account_id)
    for send in given:
        send.ordered_by_id = heir_id
    session.flush()
    return given
