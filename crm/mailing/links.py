"""Personal links of mails: signed, good for ever, and of no one in previews and tests."""

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm import clock
from crm.config import Settings
from crm.database import keys_of
from crm.errors import InvalidInput
from crm.history import Actor, ActorKind
from crm.keys import Keys
from crm.mailing import deliveries, fields
from crm.mailing.models import Delivery, Outcome
from crm.people import consent, privacy_notices
from crm.people.addresses import address_key
from crm.people.contacts import mask_address
from crm.people.models import Language, SuppressionReason

NO_ONE = 0
"""The delivery of no one: its links say that they are a test and change nothing."""
_PURPOSE = "delivery"
_CONSENT = "consent"
_MESSAGE = "message"
_NOTICE = "notice"


def unsubscribe_url(settings: Settings, keys: Keys, delivery_id: int) -> str:
    """The address of one click (RFC 8058) of a delivery."""
    return settings.public_url + unsubscribe_path(keys, delivery_id)


def unsubscribe_path(keys: Keys, delivery_id: int) -> str:
    """The same without the host, for a page of ours."""
    return f"/p/baja/{keys.sign_link(_PURPOSE, delivery_id)}"


def consent_url(settings: Settings, keys: Keys, delivery_id: int) -> str:
    """The address of the page where the person of a delivery may say yes."""
    return f"{settings.public_url}/p/consentimiento/{keys.sign_link(_CONSENT, delivery_id)}"


def personal(settings: Settings, keys: Keys, delivery_id: int, wanted: Iterable[str]) -> dict[str, str]:
    """The personal links of a delivery by the name of their merge field: the way out, and whichever else is wanted."""
    urls = {"enlace_baja": unsubscribe_url(settings, keys, delivery_id)}
    if fields.CONSENT_LINK in wanted:
        urls[fields.CONSENT_LINK] = consent_url(settings, keys, delivery_id)
    return urls


def delivery_of_consent(session: Session, token: str) -> int | None:
    """The delivery that the link of `consent_url` is of, `NO_ONE` for that of a preview; None for anything else."""
    return keys_of(session).read_link(_CONSENT, token)


def notice_url(session: Session, settings: Settings) -> str | None:
    """The address of the privacy notice in force, for the foot of every mail; None when none is kept."""
    notice = privacy_notices.newest(session)
    return f"{settings.public_url}/p/aviso/{quote(notice.version, safe='')}" if notice else None


def message_id(keys: Keys, delivery_id: int, domain: str) -> str:
    """The Message-ID of a delivery without its angle brackets: derived, so that it is the same in every try."""
    return f"{keys.sign_link(_MESSAGE, delivery_id)}@{domain}"


def notice_message_id(keys: Keys, notice_id: int, domain: str) -> str:
    """As `message_id`, of the mail of a notice to staff."""
    return f"{keys.sign_link(_NOTICE, notice_id)}@{domain}"


@dataclass(frozen=True)
class Leaving:
    """What the page of a link may show. Known and unknown links answer with the same words."""

    language: Language
    masked_address: str | None
    is_test: bool


def peek(session: Session, token: str) -> Leaving:
    """What the page shows; changes nothing."""
    number = keys_of(session).read_link(_PURPOSE, token)
    delivery = session.get(Delivery, number) if number else None
    if delivery is None or delivery.address is None:
        return Leaving(Language.SPANISH, None, number == NO_ONE)
    return Leaving(Language(delivery.language), mask_address(delivery.address), False)


LEFT_BY = "Enlace de baja del envío "
"""How the proof of who left by the link of a mail begins; its send follows."""


def leave(session: Session, token: str) -> Leaving:
    """Take the person of a link out of every mail; once or many times is the same. Who has the link was sent its mail."""
    leaving = peek(session, token)
    number = keys_of(session).read_link(_PURPOSE, token)
    delivery = session.get(Delivery, number) if number else None
    if delivery is not None and delivery.address is not None:
        session.info["actor"] = Actor(ActorKind.CONTACT, delivery.contact_id)
        deliveries.prove_sent(session, [delivery.id], deliveries.LINK_USED)
        today = clock.today()
        proof = f"{LEFT_BY}{delivery.send_id}"
        consent.suppress(session, delivery.address, SuppressionReason.UNSUBSCRIBED, happened_on=today, proof=proof)
    return leaving


def delivery_of_message(session: Session, identifier: str) -> Delivery | None:
    """The delivery whose Message-ID this is."""
    number = keys_of(session).read_link(_MESSAGE, identifier.strip("<> ").partition("@")[0])
    return session.scalars(sa.select(Delivery).where(Delivery.id == number)).first() if number else None


_CAME_BACK = {SuppressionReason.BOUNCED: Outcome.BOUNCED_HARD, SuppressionReason.COMPLAINED: Outcome.COMPLAINED}


def note_returned(session: Session, identifier: str, address: str, reason: SuppressionReason) -> None:
    """The mail of a Message-ID came back, or was answered: it was sent, and this became of it.

    InvalidInput(message_unknown) when it is none of ours, or was for another address.
    """
    delivery = delivery_of_message(session, identifier)
    if delivery is None or delivery.address_hash != keys_of(session).suppression_hash(address_key(address)):
        raise InvalidInput("message_unknown", field="message_id")
    deliveries.note_outcome(session, delivery.id, _CAME_BACK.get(reason, Outcome.ANSWERED))
