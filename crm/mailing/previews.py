"""Previews and tests: the real mail of a chosen person, with the links of no one."""

import asyncio
import re
from base64 import b64encode
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage

import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm import clock
from crm.config import Settings
from crm.database import keys_of
from crm.errors import Conflict, InvalidInput
from crm.mailing import audience, campaigns, faults, fields, links, relays, sends, signing, templates
from crm.mailing.compiling import Compiled
from crm.mailing.faults import Judgement, Verdict
from crm.mailing.models import Campaign, Delivery, Send
from crm.mailing.schemas import TrialOut
from crm.mailing.sending import send_one
from crm.mailing.splicing import Envelope, build, subject_of
from crm.people import contacts, names
from crm.people.models import Contact, Language
from crm.staff import accounts

NOBODY = "prueba@example.org"
"""Whom a preview is addressed to."""
_CID = re.compile(r'src="cid:([^"]+)"')


@dataclass(frozen=True)
class Preview:
    """A mail as a person would see it. ``html`` stands alone: its pictures are inside, and it asks for nothing outside."""

    subject: str
    html: str
    text: str
    size: int
    """Bytes of the whole mail."""


@dataclass(frozen=True)
class Trial:
    """A test mail and the account that it goes to."""

    to_address: str
    content: bytes


def of_campaign(
    session: Session, campaign: Campaign, contact_id: int, settings: Settings, language: Language | None = None
) -> Preview:
    """A draft as a contact would get it now."""
    contact = contacts.get(session, contact_id)
    compiled = campaigns.compile_for(session, campaign, contact.id, language or contact.language, settings)
    return _preview(session, compiled, contact, settings, f"c{campaign.id}:p0")


def of_send(session: Session, send: Send, contact_id: int, settings: Settings) -> Preview:
    """The frozen content of a send as a contact gets it."""
    compiled, contact = sends.contents(session, send.id), contacts.get(session, contact_id)
    language = contact.language if (contact.language, 0) in compiled else Language.SPANISH
    made = sa.select(Delivery.language, Delivery.shown).where(Delivery.send_id == send.id, Delivery.contact_id == contact_id)
    told = session.execute(made).first()
    if told is None:  # not begun, or not of its audience
        which = language, audience.shown_to(session, audience.Rules.from_json(send.rule), contact_id)
    else:
        which = Language(told.language), told.shown
    return _preview(session, compiled[which], contact, settings, f"c{send.campaign_id}:s{send.id}")


def trial(
    session: Session,
    campaign: Campaign,
    to_address: str,
    settings: Settings,
    contact_id: int | None = None,
    language: Language | None = None,
) -> Trial:
    """A test mail, ready to be handed over: a person's values, an account's address, the links of no one.

    Without a person it is written as the first one of the audience. InvalidInput(test_address_refused) for an address
    that is not of an enabled account: a test never reaches the people of the Red.
    """
    account = accounts.by_email(session, to_address)
    if account is None or account.disabled_at is not None:
        raise InvalidInput("test_address_refused", field="to")
    contact = contacts.get(session, contact_id or _first_person(session, campaign))
    compiled = campaigns.compile_for(session, campaign, contact.id, language or contact.language, settings)
    return Trial(account.email, _mail(session, compiled, contact, account.email, settings, f"c{campaign.id}:p0"))


def _first_person(session: Session, campaign: Campaign) -> int:
    rules = audience.rules_of(session, campaign.include, campaign.exclude)
    first = session.scalar(
        sa.select(Contact.id).where(audience.condition(session, rules)).order_by(Contact.sort_key, Contact.id).limit(1)
    )
    if first is None:
        raise Conflict("nobody_to_send")
    return first


def hand_over(mail: Trial, settings: Settings) -> Judgement:
    """Give a test mail to the relay and say what became of it. Waits for the server: call it outside a transaction.

    Errors: relay_unreachable, dkim_key_invalid.
    """
    sender = sends.sender_of(settings)
    content = signing.signed([mail.content], sender.domain, signing.signers(settings))
    return asyncio.run(send_one(relays.way_out(settings), sender, mail.to_address, b"".join(content)))


def to_out(judgement: Judgement) -> TrialOut:
    """What became of a test, in words."""
    accepted = judgement.verdict is Verdict.ACCEPTED
    sentence = "El servidor aceptó la prueba." if accepted else faults.SENTENCES[judgement.reason]
    return TrialOut(accepted=accepted, reason=judgement.reason, sentence=sentence)


def _preview(session: Session, variant: Compiled, contact: Contact, settings: Settings, feedback: str) -> Preview:
    raw = _mail(session, variant, contact, NOBODY, settings, feedback)
    values = fields.values_of(session, [(contact.id, Language(variant.language))])[contact.id]
    return read_mail(raw, subject_of(variant, values))


def of_template(session: Session, name: str, settings: Settings, contact_id: int | None = None) -> Preview:
    """What a template begins with as a contact would get it or, without one, with the example of each field."""
    variant = templates.get(name).starter
    compiled = campaigns.compile_variant(session, name, variant, settings)
    if contact_id is not None:
        return _preview(session, compiled, contacts.get(session, contact_id), settings, "c0:p0")
    values = {field.name: field.example for field in fields.catalogue()}
    return read_mail(_written(session, compiled, values, "", NOBODY, settings, "c0:p0"), subject_of(compiled, values))


def _mail(session: Session, variant: Compiled, contact: Contact, to_address: str, settings: Settings, feedback: str) -> bytes:
    values = fields.values_of(session, [(contact.id, Language(variant.language))])[contact.id]
    return _written(session, variant, values, names.display_name(contact), to_address, settings, feedback)


def _written(
    session: Session, variant: Compiled, values: dict[str, str], to_name: str, to_address: str, settings: Settings, feedback: str
) -> bytes:
    """A mail with the links of no one."""
    keys, sender = keys_of(session), sends.sender_of(settings)
    personal = links.personal(settings, keys, links.NO_ONE, variant.sources)
    envelope = Envelope(
        to_name=to_name,
        to_address=to_address,
        message_id=links.message_id(keys, links.NO_ONE, sender.domain),
        unsubscribe=personal["enlace_baja"],
        feedback=feedback,
        date=clock.now(),
    )
    return b"".join(build(variant, {**values, **personal}, envelope, sender))


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
