"""Where a material is used, and who received it: campaigns that name it now, and sends whose frozen content carries it."""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.orm import Session, joinedload, selectinload

from crm.mailing.campaigns import materials_of
from crm.mailing.models import Campaign, Delivery, DeliveryState, Send, SendState
from crm.people.models import Contact

MOST = 2_000
"""Newest campaigns and sends that are looked through: years of work, and still a few milliseconds."""


@dataclass(frozen=True)
class Going:
    """One send that carries a material, and the mails of it that servers accepted."""

    send: Send
    accepted: int


@dataclass(frozen=True)
class Usage:
    """What became of a material."""

    drafts: Sequence[Campaign]
    """Campaigns that name it now, the newest first."""
    sends: Sequence[Going]
    """Sends that carry it, the newest first; cancelled ones only when mails of them had left."""
    people: int
    """People whose server accepted at least one mail with it."""


def of_material(session: Session, material_id: int) -> Usage:
    newest = sa.select(Campaign).options(selectinload(Campaign.variants)).order_by(Campaign.id.desc()).limit(MOST)
    drafts = [campaign for campaign in session.scalars(newest) if material_id in materials_of(campaign)]
    made = sa.select(Send).options(joinedload(Send.campaign)).order_by(Send.id.desc()).limit(MOST)
    carrying = [send for send in session.scalars(made) if material_id in send.materials]
    accepted = _accepted(session, [send.id for send in carrying])
    shown = [Going(send, accepted.get(send.id, 0)) for send in carrying]
    shown = [going for going in shown if going.accepted or going.send.state is not SendState.CANCELLED]
    return Usage(drafts, shown, _people(session, [going.send.id for going in shown]))


def _accepted(session: Session, send_ids: Sequence[int]) -> dict[int, int]:
    counted = sa.select(Delivery.send_id, sa.func.count()).where(Delivery.send_id.in_(send_ids), _IS_SENT)
    return {row[0]: row[1] for row in session.execute(counted.group_by(Delivery.send_id))}


def _people(session: Session, send_ids: Sequence[int]) -> int:
    person = sa.func.coalesce(Contact.merged_into_id, Contact.id)
    counted = sa.select(sa.func.count(person.distinct())).join_from(Delivery, Contact, Contact.id == Delivery.contact_id)
    return session.scalar(counted.where(Delivery.send_id.in_(send_ids), _IS_SENT)) or 0


_IS_SENT = Delivery.state == DeliveryState.SENT
