"""Who may be written to, for what, and why not. What a person said is append-only; the last word on it stands."""

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased

from crm import clock, history
from crm.errors import Conflict, InvalidInput
from crm.people import withdrawals
from crm.people.models import (
    Channel,
    Consent,
    ConsentState,
    Contact,
    EmailAddress,
    Purpose,
    PurposeRule,
    Suppression,
    SuppressionReason,
)
from crm.people.schemas import ConsentIn
from crm.people.suppression import LEFT
from crm.people.suppression import check_suppression_key as check_suppression_key
from crm.people.suppression import is_suppressed as is_suppressed
from crm.people.suppression import lift_bounce as lift_bounce
from crm.people.suppression import suppress as suppress
from crm.people.withdrawals import COPIED as COPIED

OWN_ACT = "page"
"""Source of what the person did on a page of ours: the only one that may give again what was revoked."""

SHIPPED_RULE = frozenset({Purpose.CONSENT_REQUEST})
"""Purposes for which people of whom no consent is recorded may be written to, until the privacy role decides otherwise."""


def record(session: Session, contact_id: int, data: ConsentIn, *, source: str, import_id: int | None = None) -> Consent | None:
    """Add what a person said. None when it says nothing new, or would give again what the person revoked.

    Conflict(suppressed) when it would give mail back to who left.
    """
    said = sa.select(Consent.state, Consent.source).where(
        Consent.contact_id == contact_id, Consent.purpose == data.purpose, Consent.channel == data.channel
    )
    last = session.execute(said.order_by(Consent.id.desc()).limit(1)).first()
    if last is not None and last.state is data.state and last.source != COPIED:
        return None
    if last is not None and last.state is ConsentState.REVOKED and data.state is ConsentState.GRANTED and source != OWN_ACT:
        return None
    if data.state is ConsentState.GRANTED and data.channel is Channel.EMAIL and has_left(session, contact_id):
        raise Conflict("suppressed", field="consents")
    actor: history.Actor = session.info.get("actor", history.SYSTEM)
    row = Consent(
        contact_id=contact_id,
        source=source,
        import_id=import_id,
        recorded_at=clock.now(),
        actor_kind=actor.kind.value,
        actor_id=actor.id,
        **data.model_dump(),
    )
    session.add(row)
    session.flush()
    if row.state is ConsentState.REVOKED:
        withdrawals.note_revocation(session, row)
    return row


def has_left(session: Session, contact_id: int) -> bool:
    """Whether a person unsubscribed, complained or was erased, by any address that they have or had."""
    return bool(session.scalar(sa.select(Contact.id).where(Contact.id == contact_id, _has_left(*LEFT))))


def source_of(session: Session) -> str:
    """How something that is recorded now came in, by who acts: `api`, `page` or `staff`."""
    actor: history.Actor = session.info.get("actor", history.SYSTEM)
    return {history.ActorKind.CLIENT: "api", history.ActorKind.CONTACT: OWN_ACT}.get(actor.kind, "staff")


# --- conditions over Contact --------------------------------------------------------------------------------------------------


def standing(purpose: Purpose, channel: Channel = Channel.EMAIL) -> sa.ScalarSelect[ConsentState]:
    """The last word of a `Contact` on a purpose and channel, or NULL, for a statement that reads Contact."""
    person = Contact.__table__.c.id
    return (
        sa.select(Consent.state)
        .where(Consent.contact_id == person, Consent.purpose == purpose, Consent.channel == channel)
        .order_by(Consent.id.desc())
        .limit(1)
        .correlate_except(Consent)
        .scalar_subquery()
    )


def preferred_address() -> sa.ScalarSelect[int]:
    """The id of the address that a `Contact` is written to: join EmailAddress on it. NULL when none is active."""
    return (
        sa.select(EmailAddress.id)
        .where(EmailAddress.contact_id == Contact.id, EmailAddress.retired_at.is_(None))
        .order_by(EmailAddress.is_preferred.desc(), EmailAddress.id)
        .limit(1)
        .correlate(Contact)
        .scalar_subquery()
    )


def _has_address() -> sa.ColumnElement[bool]:
    return (
        sa.select(EmailAddress.id)
        .where(EmailAddress.contact_id == Contact.id, EmailAddress.retired_at.is_(None))
        .correlate(Contact)
        .exists()
    )


def _has_left(*reasons: SuppressionReason) -> sa.ColumnElement[bool]:
    """Whether any address that the person has or had is suppressed for one of the reasons."""
    return (
        sa.select(EmailAddress.id)
        .where(EmailAddress.contact_id == Contact.id, is_suppressed(EmailAddress.suppression_hash, reasons))
        .correlate(Contact)
        .exists()
    )


def _preferred_bounced() -> sa.ColumnElement[bool]:
    preferred = EmailAddress.__table__.alias("preferred")
    return (
        sa.select(preferred.c.id)
        .where(preferred.c.id == preferred_address(), is_suppressed(preferred.c.suppression_hash))
        .correlate(Contact)
        .exists()
    )


def _has_consent(channel: Channel | None = None, state: ConsentState | None = None) -> sa.ColumnElement[bool]:
    found = sa.select(Consent.id).where(Consent.contact_id == Contact.id)
    if channel is not None:
        found = found.where(Consent.channel == channel)
    if state is not None:
        later = aliased(Consent)
        newer = sa.select(later.id).where(
            later.contact_id == Consent.contact_id,
            later.purpose == Consent.purpose,
            later.channel == Consent.channel,
            later.id > Consent.id,
        )
        found = found.where(Consent.state == state, ~newer.exists())
    return found.correlate(Contact).exists()


def skip_reason(session: Session, purpose: Purpose, channel: Channel = Channel.EMAIL) -> sa.ColumnElement[str | None]:
    """Why a `Contact` may not be written to: blocked, no_address, suppressed, unsubscribed, no_consent; NULL: it may be.

    Unsubscribed: the person said so, for this purpose or for all. Suppressed: complained, erased, or the address bounced.
    """
    said = standing(purpose, channel)
    legacy = sa.and_(sa.literal(legacy_may_receive(session, purpose)), ~_has_consent())
    unreachable: list[tuple[sa.ColumnElement[bool], str]] = [
        (~_has_address(), "no_address"),
        (_has_left(SuppressionReason.UNSUBSCRIBED), "unsubscribed"),
        (sa.or_(_has_left(*LEFT), _preferred_bounced()), "suppressed"),
    ]
    if channel is not Channel.EMAIL:
        unreachable = [(Contact.phone.is_(None), "no_address"), (_has_left(SuppressionReason.ERASED), "suppressed")]
    return sa.case(
        (Contact.blocked_at.is_not(None), "blocked"),
        *unreachable,
        (said == ConsentState.REVOKED, "unsubscribed"),
        (sa.or_(said == ConsentState.GRANTED, legacy), sa.null()),
        else_="no_consent",
    )


def _in_those_who_left(*reasons: SuppressionReason) -> sa.ColumnElement[bool]:
    """As `_has_left`, asked of everybody at once: one small set, not a look-up per person (measured: a third of the time)."""
    left = sa.select(EmailAddress.contact_id).join(Suppression, Suppression.address_hash == EmailAddress.suppression_hash)
    return Contact.id.in_(left.where(Suppression.reason.in_(reasons)).correlate(None))


def _in_those_whose_preferred_bounced() -> sa.ColumnElement[bool]:
    """As `_preferred_bounced`, asked of everybody at once."""
    better = aliased(EmailAddress)
    before = sa.or_(
        sa.and_(better.is_preferred, sa.not_(EmailAddress.is_preferred)),
        sa.and_(better.is_preferred == EmailAddress.is_preferred, better.id < EmailAddress.id),
    )
    other = sa.exists().where(better.contact_id == EmailAddress.contact_id, better.retired_at.is_(None), before)
    bounced = sa.select(EmailAddress.contact_id).join(Suppression, Suppression.address_hash == EmailAddress.suppression_hash)
    return Contact.id.in_(bounced.where(EmailAddress.retired_at.is_(None), ~other).correlate(None))


MAIL_STATES = ("ok", "no_consent", "unsubscribed", "bounced", "complained", "no_address")


def mail_state() -> sa.ColumnElement[str]:
    """How a `Contact` stands for lists, whatever the purpose: one of `MAIL_STATES`. `mail_state_of` says the same of a row."""
    return sa.case(
        (Contact.id.is_(None), "no_address"),  # never so; it names the table, without which the conditions would not correlate
        (_in_those_who_left(SuppressionReason.COMPLAINED), "complained"),
        (_in_those_who_left(*LEFT), "unsubscribed"),
        (~_has_address(), "no_address"),
        (_in_those_whose_preferred_bounced(), "bounced"),
        (_has_consent(Channel.EMAIL, ConsentState.GRANTED), "ok"),
        (_has_consent(Channel.EMAIL), "unsubscribed"),
        else_="no_consent",
    )


def last_words(contact: Contact) -> list[Consent]:
    """What stands of a loaded contact, one row for each purpose and channel."""
    last: dict[tuple[Purpose, Channel], Consent] = {}
    for row in sorted(contact.consents, key=lambda row: row.id):
        last[row.purpose, row.channel] = row
    return list(last.values())


def active_addresses(contact: Contact) -> list[EmailAddress]:
    """The addresses of a loaded contact that are not retired, the preferred one first."""
    return sorted((row for row in contact.addresses if row.retired_at is None), key=lambda row: (not row.is_preferred, row.id))


def address_state(address: EmailAddress) -> str:
    """`ok`, or why a loaded address is never written to; the gravest reason when there are several."""
    reasons = {row.reason for row in address.suppressions}
    order = (SuppressionReason.ERASED, SuppressionReason.COMPLAINED, SuppressionReason.UNSUBSCRIBED, SuppressionReason.BOUNCED)
    return next((reason.value for reason in order if reason in reasons), "ok")


def mail_state_of(contact: Contact) -> str:
    """`mail_state` of a loaded contact, without asking the database."""
    reasons = {row.reason for address in contact.addresses for row in address.suppressions}
    if SuppressionReason.COMPLAINED in reasons:
        return "complained"
    if reasons & set(LEFT):
        return "unsubscribed"
    active = active_addresses(contact)
    if not active:
        return "no_address"
    if active[0].suppressions:
        return "bounced"
    said = {row.state for row in last_words(contact) if row.channel is Channel.EMAIL}
    return "ok" if ConsentState.GRANTED in said else "unsubscribed" if said else "no_consent"


def reached_by(session: Session, contact: Contact) -> list[Purpose]:
    """The purposes that reach a loaded contact by mail now: those for which `skip_reason` tells none."""
    reasons = {row.reason for address in contact.addresses for row in address.suppressions}
    active = active_addresses(contact)
    if contact.blocked_at is not None or reasons & set(LEFT) or not active or active[0].suppressions:
        return []
    said = {row.purpose: row.state for row in last_words(contact) if row.channel is Channel.EMAIL}
    decided = dict(session.execute(sa.select(PurposeRule.purpose, PurposeRule.legacy_may_receive)).all())
    legacy = {one for one in Purpose if decided.get(one, one in SHIPPED_RULE)} if not contact.consents else set()
    return [one for one in Purpose if said.get(one) is ConsentState.GRANTED or one in legacy]


# --- people of whom no consent is recorded -----------------------------------------------------------------------------------


def legacy_may_receive(session: Session, purpose: Purpose) -> bool:
    """Whether a purpose reaches people of whom no consent at all is recorded."""
    decided = session.scalar(sa.select(PurposeRule.legacy_may_receive).where(PurposeRule.purpose == purpose))
    return purpose in SHIPPED_RULE if decided is None else decided


def set_purpose_rule(session: Session, purpose: Purpose, legacy_may_receive: bool, ground: str) -> PurposeRule:
    """Decide whether a purpose reaches them, with its written ground, which stays in the history; ground_required."""
    if not ground.strip():
        raise InvalidInput("ground_required", field="ground")
    rule = session.scalar(sa.select(PurposeRule).where(PurposeRule.purpose == purpose))
    if rule is None:
        rule = PurposeRule(purpose=purpose)
        session.add(rule)
    rule.legacy_may_receive, rule.ground = legacy_may_receive, ground.strip()
    session.flush()
    return rule
