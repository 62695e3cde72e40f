"""Previews and tests: the real mail of a chosen person, with the links of no one."""

import re
from base64 import b64encode
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage

from sqlalchemy.orm import Session

from crm import clock
from crm.config import Settings
from crm.database import keys_of
from crm.mailing import campaigns, fields, links, sends
from crm.mailing.compiling import Compiled
from crm.mailing.models import Campaign, Send
from crm.mailing.splicing import Envelope, build, subject_of
from crm.people import contacts, names
from crm.people.models import Contact, Language

_CID = re.compile(r'src="cid:([^"]+)"')


@dataclass(frozen=True)
class Preview:
    """A mail as a person would see it. ``html`` stands alone: its pictures are inside, and it asks for nothing outside."""

    subject: str
    html: str
    text: str
    size: int
    """Bytes of the whole mail."""


def of_campaign(
    session: Session, campaign: Campaign, contact_id: int, settings: Settings, language: Language | None = None
) -> Preview:
    """A draft as a contact would get it now."""
    compiled = campaigns.compile_variants(session, campaign)
    return _preview(session, compiled, contacts.get(session, contact_id), settings, language, f"c{campaign.id}:p0")


def of_send(session: Session, send: Send, contact_id: int, settings: Settings) -> Preview:
    """The frozen content of a send as a contact gets it."""
    compiled = sends.contents(session, send.id)
    contact = contacts.get(session, contact_id)
    return _preview(session, compiled, contact, settings, None, f"c{send.campaign_id}:s{send.id}")


def test_mail(
    session: Session, campaign: Campaign, contact_id: int, to_address: str, settings: Settings, language: Language
) -> bytes:
    """The bytes of a test: a contact's values, an account's address, the links of no one."""
    compiled = campaigns.compile_variants(session, campaign)
    contact = contacts.get(session, contact_id)
    return _mail(session, _variant(compiled, contact, language), contact, to_address, settings, f"c{campaign.id}:p0")


def _variant(compiled: dict[Language, Compiled], contact: Contact, language: Language | None) -> Compiled:
    return compiled.get(language or contact.language) or compiled[Language.SPANISH]


def _preview(
    session: Session,
    compiled: dict[Language, Compiled],
    contact: Contact,
    settings: Settings,
    language: Language | None,
    feedback: str,
) -> Preview:
    variant = _variant(compiled, contact, language)
    raw = _mail(session, variant, contact, "prueba@example.org", settings, feedback)
    values = fields.values_of(session, [(contact.id, Language(variant.language))])[contact.id]
    return read_mail(raw, subject_of(variant, values))


def _mail(session: Session, variant: Compiled, contact: Contact, to_address: str, settings: Settings, feedback: str) -> bytes:
    keys, sender = keys_of(session), sends.sender_of(settings)
    unsubscribe = links.unsubscribe_url(settings, keys, links.NO_ONE)
    values = fields.values_of(session, [(contact.id, Language(variant.language))])[contact.id]
    envelope = Envelope(
        to_name=names.display_name(contact),
        to_address=to_address,
        message_id=links.message_id(keys, links.NO_ONE, sender.domain),
        unsubscribe=unsubscribe,
        feedback=feedback,
        date=clock.now(),
    )
    return build(variant, {**values, "enlace_baja": unsubscribe}, envelope, sender)


def read_mail(raw: bytes, subject: str) -> Preview:
    """A mail's bytes read back as a mail program would, pictures put inside the HTML."""
    mail = message_from_bytes(raw, policy=policy.default)
    pictures = {
        str(part["Content-ID"]).strip(
            "<>"
        ): f"data:{part.get_content_type()};base64,{b64encode(part.get_payload(decode=True)).decode()}"  # type: ignore[arg-type]  # a leaf part decodes to bytes
        for part in mail.walk()
        if part["Content-ID"]
    }
    page = _CID.sub(lambda match: f'src="{pictures.get(match[1], "")}"', _text(mail, "html"))
    return Preview(subject, page, _text(mail, "plain"), len(raw))


def _text(mail: EmailMessage, kind: str) -> str:
    part = mail.get_body((kind,))
    return str(part.get_content()) if part is not None else ""
