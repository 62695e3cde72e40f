"""Where a material is used, and who received it: campaigns that name it now, and sends whose frozen content carries it."""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.orm import Session, joinedload, selectinload

from crm.mailing.campaigns import materials_of
from crm.mailing.models import Campaign, Delivery, DeliveryState, Send, SendContent, SendState, content_material
from crm.people.models import Contact, kept_id

MOST = 2_000
"""Newest campaigns that are looked through: years of work, and still a few milliseconds."""


@dataclass(frozen=True)
class Going:
    """One send that carries a material, and the different people of it whose server accepted a mail with it."""

    send: Send
    people: int


@dataclass(frozen=True)
class Usage:
    """What became of a material."""

    drafts: Sequence[Campaign]
    """Campaigns that name it now, the newest first."""
    sends: Sequence[Going]
    """Sends that carry it, the newest first; cancelled ones only when mails with it had left."""
    people: int
    """Different people whose server accepted at least one mail with it."""


def of_material(session: Session, material_id: int) -> Usage:
    newest = sa.select(Campaign).options(selectinload(Campaign.variants)).order_by(Campaign.id.desc()).limit(MOST)
    drafts = [campaign for campaign in session.scalars(newest) if material_id in materials_of(campaign)]
    carrying = sa.select(SendContent.send_id).join(content_material).where(content_material.c.material_id == material_id)
    made = sa.select(Send).options(joinedload(Send.campaign)).where(Send.id.in_(carrying)).order_by(Send.id.desc())
    received = _received(material_id).add_columns(Delivery.send_id).subquery()
    counted = sa.select(received.c.send_id, sa.func.count()).group_by(received.c.send_id)
    people = {row[0]: row[1] for row in session.execute(counted)}
    shown = [Going(send, people.get(send.id, 0)) for send in session.scalars(made)]
    shown = [going for going in shown if going.people or going.send.state is not SendState.CANCELLED]
    everybody = session.scalar(sa.select(sa.func.count()).select_from(reached(material_id).subquery())) or 0
    return Usage(drafts, shown, everybody)


def reached(material_id: int, send_id: int | None = None) -> sa.Select[int]:
    """The ids of the different people whose server accepted a mail that carries a material, of one send or of any; records that
    were joined are one. Each is told by the content that they got: that of their language, with the blocks that are for them."""
    found = _received(material_id)
    return found if send_id is None else found.where(Delivery.send_id == send_id)


def _received(material_id: int) -> sa.Select[int]:
    theirs = sa.and_(
        SendContent.send_id == Delivery.send_id,
        SendContent.language == Delivery.language,
        SendContent.shown == Delivery.shown,
    )
    return (
        sa.select(kept_id().label("person"))
        .select_from(Delivery)
        .join(SendContent, theirs)
        .join(content_material, content_material.c.content_id == SendContent.id)
        .join(Contact, Contact.id == Delivery.contact_id)
        .where(content_material.c.material_id == material_id, Delivery.state == DeliveryState.SENT)
        .distinct()
    )
