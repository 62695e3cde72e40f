"""Campaigns and sends for tests, made by the same verbs that the doors use."""

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm.config import Settings
from crm.database import Database
from crm.mailing import campaigns, segments, sending, sends
from crm.mailing.drain import Way
from crm.mailing.exchange import Timeouts
from crm.mailing.models import Campaign, Delivery, DeliveryState, Segment, Send, SendMode
from crm.mailing.schemas import CampaignIn, SendIn, When
from crm.mailing.segment_schemas import SegmentIn
from crm.people.models import Purpose
from crm.people.taking_in import take_in_many
from tests.mailing.mail_server import MailServer
from tests.people.factories import consent_in, contact_in

TAG = "taller"
RULE = {"all": [{"field": "tag", "op": "in", "value": [TAG]}]}
PURPOSE = Purpose.ELECTORAL_INFORMATION
TEXT = {"type": "text", "body": "{{ saludo }}\n\nMarca: {{ nombre }}, {{ nombre_completo }}."}
NOW = When(mode=SendMode.NOW)


def marker(number: int) -> str:
    """A word that only one person has."""
    return f"Marca{number:05}x"


def network(session: Session, count: int, *, first: int = 0, **changes: Any) -> list[int]:
    """People with a marker as their name, tagged and with consent; returns their ids."""
    people = [
        contact_in(number, given_names=marker(number), tags=[TAG], consents=[consent_in(PURPOSE)], **changes)
        for number in range(first, first + count)
    ]
    taken = take_in_many(session, people)
    assert all(one.contact_id for one in taken), [one.code for one in taken if not one.contact_id][:3]
    return [one.contact_id for one in taken if one.contact_id]


def campaign(session: Session, *blocks: dict[str, Any], **changes: Any) -> Campaign:
    """A campaign to everyone with the tag, in Spanish."""
    segment_id = _segment(session)
    variant = {"language": "es", "subject": "Tu credencial, {{ nombre }}", "blocks": list(blocks) or [TEXT]}
    told = {
        "name": "Prueba",
        "template": "infographic",
        "purpose": PURPOSE,
        "audience": {"include": [segment_id], "exclude": []},
        "variants": [variant],
    }
    return campaigns.create(session, CampaignIn.model_validate(told | changes))


def _segment(session: Session) -> int:
    found = session.scalars(sa.select(Segment).where(Segment.name == "Taller")).first()
    return found.id if found else segments.create(session, SegmentIn(name="Taller", rule=RULE)).id


def begun(session: Session, settings: Settings, count: int = 0, **changes: Any) -> Send:
    """A send to a network of so many people, under way and with its deliveries written."""
    if count:
        network(session, count)
    send = sends.order(session, campaign(session, **changes).id, SendIn(when=NOW), settings)
    return sends.start(session, send.id, settings)


def way(settings: Settings, server: MailServer, **changes: Any) -> Way:
    """The way to a test's server, with little patience."""
    return Way(settings, server.relay, timeouts=Timeouts(step=3, message=3), **changes)


def move(database: Database, send_id: int, moving: Way, stop: Callable[[], bool] = lambda: False) -> int:
    """One run of the worker over a send."""
    return sending.drain(database, send_id, moving, stop)


def states(session: Session, send_id: int) -> dict[DeliveryState, int]:
    """Deliveries by the state that is really stored."""
    rows = session.execute(sa.select(Delivery.state, sa.func.count()).where(Delivery.send_id == send_id).group_by(Delivery.state))
    return {DeliveryState(state): count for state, count in rows}
