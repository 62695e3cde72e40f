"""What happened in the demo, done by the verbs that a person's clicks would call."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm import clock
from crm.config import Settings
from crm.demo import drawings, texts
from crm.demo.network import Network
from crm.mailing import campaigns, relays, segments, sends
from crm.mailing.models import Segment, SendMode
from crm.mailing.schemas import Audience, CampaignIn, SendIn, When
from crm.mailing.segment_schemas import SegmentIn
from crm.outreach import materials
from crm.outreach.models import MaterialKind
from crm.outreach.schemas import MaterialIn
from crm.people import consent, privacy_notices
from crm.people.addresses import address_key
from crm.people.models import Contact, EmailAddress, Language, Purpose, SuppressionReason

EUROPE = ["ES", "DE", "GB", "FR", "NL", "CH", "IT", "BE", "SE", "NO", "DK", "IE", "PT"]
SEGMENTS: dict[str, dict[str, Any]] = {
    "Liderazgos": {"all": [{"field": "leader", "op": "is", "value": True}]},
    "Estados Unidos y Canadá": {"all": [{"field": "country", "op": "in", "value": ["US", "CA"]}]},
    "Europa en español": {
        "all": [{"field": "country", "op": "in", "value": EUROPE}, {"field": "language", "op": "is", "value": "es"}]
    },
}


def leave(session: Session, network: Network) -> None:
    """Some asked not to be written to, some complained, some had their data blocked."""
    today = clock.today()
    for one in network.people:
        if one.has_left:
            consent.suppress(
                session, one.address, SuppressionReason.UNSUBSCRIBED, happened_on=today, proof="Lo pidió por correo (sintético)"
            )
        if one.has_complained:
            consent.suppress(
                session,
                one.address,
                SuppressionReason.COMPLAINED,
                happened_on=today,
                proof="Queja por correo no deseado (sintética)",
            )
    keys = [address_key(one.address) for one in network.blocked]
    owners = sa.select(EmailAddress.contact_id).where(EmailAddress.key.in_(keys))
    for contact in session.scalars(sa.select(Contact).where(Contact.id.in_(owners))):
        contact.blocked_at = clock.now()
    session.flush()


def tell(session: Session, settings: Settings) -> None:
    """A privacy notice, segments, materials, an invitation on its way and a newsletter half written.

    The invitation stays a draft when the relay is beyond this machine: nobody of the demo may be written to through it.
    """
    privacy_notices.publish(session, valid_from=clock.today(), **texts.NOTICE)
    chosen = {name: _segment(session, name) for name in SEGMENTS}
    drawn = {language: _material(session, language) for language in Language}
    invitation = campaigns.create(
        session,
        CampaignIn(
            name="Taller de credencialización y registro",
            template="invitation",
            purpose=Purpose.EVENT_INVITATION,
            audience=Audience(include=[segment.id for segment in chosen.values()]),
            variants=texts.workshop(drawn, clock.today()),
        ),
    )
    campaigns.create(
        session,
        CampaignIn(
            name="Boletín para liderazgos",
            template="newsletter",
            purpose=Purpose.NEWSLETTER,
            audience=Audience(include=[chosen["Liderazgos"].id]),
            variants=texts.newsletter(),
        ),
    )
    if relays.is_local(settings):
        sends.order(session, invitation.id, SendIn(when=When(mode=SendMode.NOW)), settings)


def _segment(session: Session, name: str) -> Segment:
    return segments.create(session, SegmentIn(name=name, rule=SEGMENTS[name]))


def _material(session: Session, language: Language) -> int:
    told = MaterialIn(
        kind=MaterialKind.INFOGRAPHIC,
        title=texts.TITLES[language],
        edition="Demostración",
        language=language,
        alt_text=texts.ALT_TEXTS[language],
        full_text=texts.full_text(language),
    )
    body = drawings.draw(texts.DRAWN[language])
    return materials.create(session, told, body=body, file_name=f"tres-pasos-{language.value}.png").id
