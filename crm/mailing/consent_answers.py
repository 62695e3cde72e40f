"""The page where who was asked for consent says yes: looking changes nothing, one button records it with its proof."""

from dataclasses import dataclass
from datetime import date

import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm import clock
from crm.database import keys_of
from crm.errors import Unavailable
from crm.history import Actor, ActorKind
from crm.mailing import deliveries, links
from crm.mailing.models import Delivery, Outcome
from crm.people import consent, privacy_notices
from crm.people.addresses import mask_address
from crm.people.models import Channel, Consent, ConsentState, Contact, EmailAddress, Language, PrivacyNotice, Purpose
from crm.people.schemas import ConsentIn

ASKED_FOR = (Purpose.ELECTORAL_INFORMATION, Purpose.CIVIC_EDUCATION, Purpose.EVENT_INVITATION, Purpose.NEWSLETTER)
"""What a yes on the page is for, by mail: all that the page names. Liaison between institutions is agreed on with each one."""
AGENT_LENGTH = 200
AGREED_BY = "Botón «Sí» de la página de consentimiento, del correo del envío "
"""How the proof of a yes begins; its send follows."""


@dataclass(frozen=True)
class Asked:
    """What the page of a link shows. A link that is not known shows what a known one does, without an address."""

    language: Language
    masked_address: str | None
    is_test: bool
    has_left: bool
    """They unsubscribed, or were blocked: a yes here does not bring them back."""
    notice: PrivacyNotice | None
    is_stale: bool = False
    """The address is no longer the person's: whoever reads it now is perhaps somebody else, and speaks for nobody."""
    agreed_on: date | None = None
    """Since when they have agreed to all that is asked for; None: to some of it at most."""
    way_out: str | None = None
    """The page that unsubscribes the same person."""


def peek(session: Session, token: str) -> Asked:
    """What the page shows; changes nothing."""
    number = links.delivery_of_consent(session, token)
    delivery = session.get(Delivery, number) if number else None
    notice = privacy_notices.newest(session)
    if delivery is None or delivery.address is None:
        return Asked(Language.SPANISH, None, number == links.NO_ONE, False, notice)
    return Asked(
        Language(delivery.language),
        mask_address(delivery.address),
        False,
        _has_left(session, _person(session, delivery)),
        notice,
        not _is_theirs(session, delivery),
        _agreed_on(session, _person(session, delivery)),
        links.unsubscribe_path(keys_of(session), delivery.id),
    )


def _agreed_on(session: Session, contact_id: int) -> date | None:
    said = sa.select(Consent).where(Consent.contact_id == contact_id, Consent.channel == Channel.EMAIL).order_by(Consent.id)
    last = {one.purpose: one for one in session.scalars(said)}
    words = [last.get(purpose) for purpose in ASKED_FOR]
    dates = [
        one.given_on or clock.institute_time(one.recorded_at).date() for one in words if one and one.state is ConsentState.GRANTED
    ]
    return max(dates) if len(dates) == len(ASKED_FOR) else None


def _has_left(session: Session, contact_id: int) -> bool:
    reason = sa.select(consent.skip_reason(session, Purpose.CONSENT_REQUEST)).where(Contact.id == contact_id)
    blocked_or_left = session.scalar(reason) in ("blocked", "unsubscribed")
    return blocked_or_left or consent.has_left(session, contact_id)


def accept(session: Session, token: str, version: str, *, network: str, agent: str) -> Asked:
    """Record that the person of a link said yes, with its proof: which mail, which notice was shown, from where.

    ``version`` is that of the notice that the page showed; Unavailable(notice_needed) when no such one is kept. Once or many
    times is the same. Who left stays out: the page says so.
    """
    asked = peek(session, token)
    number = links.delivery_of_consent(session, token)
    delivery = session.get(Delivery, number) if number else None
    if delivery is None or delivery.address is None or asked.has_left or asked.is_stale:
        return asked
    shown = session.scalar(sa.select(PrivacyNotice).where(PrivacyNotice.version == version)) if version.isprintable() else None
    if shown is None or privacy_notices.is_to_come(shown):
        raise Unavailable("notice_needed")
    person_id = _person(session, delivery)
    session.info["actor"] = Actor(ActorKind.CONTACT, person_id)
    deliveries.note_outcome(session, delivery.id, Outcome.ANSWERED)
    _record(session, person_id, delivery, shown.version, network, agent)
    return asked


def _person(session: Session, delivery: Delivery) -> int:
    """Whose delivery it is now: that of the record which theirs was joined into, if it was."""
    merged = session.scalar(sa.select(Contact.merged_into_id).where(Contact.id == delivery.contact_id))
    return merged or delivery.contact_id


def _is_theirs(session: Session, delivery: Delivery) -> bool:
    mine = sa.select(EmailAddress.id).where(
        EmailAddress.contact_id == _person(session, delivery),
        EmailAddress.suppression_hash == delivery.address_hash,
        EmailAddress.retired_at.is_(None),
    )
    return session.scalar(sa.select(mine.exists())) or False


def _record(session: Session, person_id: int, delivery: Delivery, version: str, network: str, agent: str) -> None:
    told = "".join(letter for letter in agent if letter.isprintable())[:AGENT_LENGTH]
    proof = (
        f"{AGREED_BY}{delivery.send_id} a "
        f"{mask_address(delivery.address or '')}. Se le mostró el aviso de privacidad {version}. "
        f"Desde la dirección de red {network}, con el navegador: {told or 'sin dato'}."
    )
    for purpose in ASKED_FOR:
        said = ConsentIn(
            purpose=purpose,
            channel=Channel.EMAIL,
            state=ConsentState.GRANTED,
            evidence=proof,
            notice_version=version,
            given_on=clock.today(),
        )
        consent.record(session, person_id, said, source=consent.OWN_ACT)
