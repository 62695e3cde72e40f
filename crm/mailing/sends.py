"""Sends: one going out of a campaign, from the order to the last mail.

    scheduled ──start──> sending ──> done
        │                  │  ▲
        ├──> held(reason) ─┘  └──resume── paused(reason)
        └──────────── cancelled <── from any of them

After a restore whatever is not over is held, begun or not (`holding`).
Confirming freezes the compiled content and the rules of the audience; to change them one cancels, edits and confirms again.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session, joinedload

from crm import clock, history
from crm.config import Settings
from crm.database import keys_of, keyset_page
from crm.errors import Conflict, InvalidInput, NotFound, Unavailable
from crm.history import Actor, ActorKind
from crm.mailing import campaigns, deliveries, faults, links, relays
from crm.mailing.compiling import Compiled, digest
from crm.mailing.models import Campaign, Delivery, DeliveryState, Notice, Send, SendContent, SendMode, SendState, content_material
from crm.mailing.schemas import Counts, DeliveryOut, SendIn, SendOut
from crm.mailing.splicing import SenderLine
from crm.people import consent
from crm.people.models import Language

LATE_AFTER = timedelta(minutes=60)
"""A send that would start later than this after its hour is held: an invitation for yesterday helps nobody."""
LAST_YEAR = 9000
"""Beyond it the calendar ends in some zone."""
SAME_TIME = timedelta(minutes=10)
"""Orders of one campaign closer than this are taken for the same order twice."""
OVER = (SendState.DONE, SendState.CANCELLED)

REASONS: dict[str, str] = {
    "audience_grew": "Ahora llegaría a más personas que las confirmadas. Revise la audiencia; reanudar acepta el nuevo número.",
    "late": "Su hora pasó hace más de 60 minutos. Reanude si todavía conviene, o cancele.",
    "dkim_key_invalid": "La llave que firma los correos no se pudo leer. Revise CRM_DKIM_KEYS y reanude.",
    "content_changed": "El contenido guardado ya no es el confirmado. Cancele el envío, revise la campaña y confirme de nuevo.",
    "suppression_key_missing": "Falta la clave de la lista de exclusión. Restaure keys.json del respaldo y reanude.",
    "taken_as_sent": "Una persona del equipo lo dio por enviado; el servidor no lo confirmó.",
    "relay_changed": "Comenzó con otro servidor de correo: uno real y el buzón local no se mezclan en un envío. Regrese el "
    "anterior en Ajustes y reanude, o cancele y ordénelo de nuevo.",
    "by_person": "Alguien del equipo puso el envío en pausa.",
    "restored": "La base de datos se restauró de un respaldo o es una copia, y este envío no había comenzado. Si lo reanuda "
    "antes de su hora, saldrá a esa hora; si su hora ya pasó, no sale nada hasta que usted decida. Compruebe que no salga ya de "
    "otro equipo.",
    "restored_may_have_left": "La base de datos se restauró de un respaldo o es una copia, y la hora de este envío ya pasó: pudo "
    "salir completo. Al reanudar no sale ningún correo: cada persona queda sin confirmar, y usted decide si se da por enviado.",
    "restored_begun": "La base de datos se restauró de un respaldo o es una copia, y este envío había comenzado: lo que faltaba "
    "pudo salir después. Decida los correos sin confirmar y reanude.",
    "restored_doubt": "Pudo salir después del respaldo. Compare con el registro del servidor de correo.",
    "hard_bounces": "Más del 5 % de los primeros 200 buzones no existen. Revise de dónde viene la lista antes de reanudar.",
    **faults.SENTENCES,
}
"""Why a send is held or paused, in a sentence that says what to do."""

SKIP_SENTENCES: dict[str, str] = {
    "no_consent": "No consta su consentimiento para esta finalidad. Pídalo con una campaña de consentimiento.",
    "unsubscribed": "Pidió la baja. No se le escribe.",
    "suppressed": "Su dirección está en la lista de exclusión: rebotó, hubo una queja o se borró.",
    "blocked": "Sus datos están bloqueados a petición suya.",
    "no_address": "No tiene correo. Agréguelo en su ficha si lo comparte.",
    "same_address": "Otra persona de este envío tiene la misma dirección.",
    "restricted": "El periodo de veda no permite este contenido.",
    "already_answered": "Ya respondió.",
    "event_started": "El evento ya había comenzado.",
    "no_zone": "No sabemos su zona horaria: falta su ciudad.",
    "synthetic": "Es una persona de demostración: nunca se entrega fuera de este equipo.",
    "cancelled": "El envío se canceló antes de que saliera su correo.",
    "address_changed": "Su dirección cambió después de preparar el envío. No se escribe a la anterior.",
    "asked_enough": "Ya se le pidió su consentimiento: hace menos de 14 días, o tres veces. No se insiste.",
}


def order(session: Session, campaign_id: int, data: SendIn, settings: Settings) -> Send:
    """Confirm a campaign: freeze its content and rules and write the send that the worker will start.

    Errors: campaign_not_ready (what to mend), campaign_changed (since it was reviewed), already_ordered, count_changed,
    nobody_to_send, instant_required, instant_past, suppression_key_missing.
    """
    campaign = campaigns.get(session, campaign_id, lock=True)
    consent.check_suppression_key(session)
    if data.version not in (None, campaign.version):
        raise Conflict("campaign_changed")
    starts_at = _start_of(data)
    if not data.again:
        _check_no_double(session, campaign.id, starts_at)
    review = campaigns.review(session, campaign, settings)
    blocking = [problem.sentence for problem in review.problems if problem.blocking]
    if blocking:
        raise Conflict("campaign_not_ready", problems=" ".join(dict.fromkeys(blocking)))
    if data.confirmed_count is not None and review.recipients > data.confirmed_count:
        raise Conflict("count_changed", now=review.recipients, confirmed=data.confirmed_count)
    actor: Actor | None = session.info.get("actor")
    send = Send(
        campaign_id=campaign.id,
        state=SendState.SCHEDULED,
        mode=data.when.mode,
        starts_at=starts_at,
        confirmed_count=review.recipients if data.confirmed_count is None else data.confirmed_count,
        include=campaign.include,
        exclude=campaign.exclude,
        rule=campaigns.rules_of(session, campaign).to_json(),
        purpose=campaign.purpose,
        ordered_by_kind=actor.kind.value if actor else None,
        ordered_by_id=actor.id if actor else None,
    )
    session.add(send)
    session.flush()
    _freeze(session, send, campaign, settings)
    return send


def _freeze(session: Session, send: Send, campaign: Campaign, settings: Settings) -> None:
    """Keep what a send says with it, and which materials each of its mails carries."""
    carried = campaigns.materials_shown(campaign)
    for (language, shown), compiled in campaigns.compile_variants(session, campaign, settings).items():
        kept = {"compiled": compiled.to_json(), "sha256": compiled.sha256}
        content = SendContent(send_id=send.id, language=language, shown=shown, **kept)
        session.add(content)
        session.flush()
        named = [{"content_id": content.id, "material_id": number} for number in carried[language, shown]]
        if named:
            session.execute(sa.insert(content_material), named)


def _check_no_double(session: Session, campaign_id: int, starts_at: datetime) -> None:
    """Two sends of a campaign on different days are waves; two at about the same time are a slip or a retry. One that was cancelled
    while nobody knew what had left of it may have reached everybody."""
    about = Send.starts_at.between(starts_at - SAME_TIME, starts_at + SAME_TIME)
    live = sa.select(Send.id).where(Send.campaign_id == campaign_id, Send.state != SendState.CANCELLED, about)
    doubtful = sa.exists().where(Delivery.send_id == Send.id, Delivery.state == DeliveryState.IN_DOUBT)
    unknown = sa.select(Send.id).where(
        Send.campaign_id == campaign_id, Send.state == SendState.CANCELLED, sa.or_(Send.may_have_left, doubtful)
    )
    if session.scalar(sa.select(sa.or_(live.exists(), unknown.exists()))):
        raise Conflict("already_ordered")


def _start_of(data: SendIn) -> datetime:
    now = clock.now()
    if data.when.mode is SendMode.NOW:
        return now + timedelta(seconds=data.undo_seconds)
    if data.when.at is None:
        raise InvalidInput("instant_required", field="when.at")
    try:
        told = data.when.at.astimezone(UTC)
    except OverflowError as error:  # the first or last day of the calendar, in another zone
        raise InvalidInput("instant_too_far", field="when.at") from error
    if told < now - timedelta(minutes=1):
        raise InvalidInput("instant_past", field="when.at")
    if told.year > LAST_YEAR:
        raise InvalidInput("instant_too_far", field="when.at")
    return told


def get(session: Session, send_id: int, *, lock: bool = False) -> Send:
    """One send with its campaign; NotFound(send_not_found)."""
    statement = sa.select(Send).where(Send.id == send_id).options(joinedload(Send.campaign).selectinload(Campaign.variants))
    found = session.scalars(statement.with_for_update(of=Send) if lock else statement).first()
    if found is None:
        raise NotFound("send_not_found")
    return found


def find(
    session: Session,
    *,
    campaign_id: int | None = None,
    states: Sequence[SendState] = (),
    cursor: str | None = None,
    limit: int = 50,
) -> tuple[list[Send], str | None]:
    """Sends, newest first."""
    statement = sa.select(Send).options(joinedload(Send.campaign))
    if campaign_id is not None:
        statement = statement.where(Send.campaign_id == campaign_id)
    if states:
        statement = statement.where(Send.state.in_(states))
    rows, following = keyset_page(session, statement, [Send.id], cursor=cursor, limit=limit, descending=True)
    return [row[0] for row in rows], following


def counts(session: Session, send: Send) -> Counts:
    """People by state. Before it starts, whom it was confirmed for are pending."""
    if send.started_at is None:
        return Counts(pending=0 if send.state is SendState.CANCELLED else send.confirmed_count)
    return deliveries.counts(session, send.id)


# --- what moves a send --------------------------------------------------------------------------------------------------


def start(session: Session, send_id: int, settings: Settings) -> Send:
    """Begin a send that is due: write its deliveries, or hold it and say why. Begun already: nothing happens."""
    send = get(session, send_id, lock=True)
    if send.state is not SendState.SCHEDULED or send.starts_at > clock.now():
        return send
    if clock.now() - send.starts_at > LATE_AFTER:
        return _hold(session, send, "late")
    return _begin(session, send, settings, accepted=send.confirmed_count)


def _begin(session: Session, send: Send, settings: Settings, *, accepted: int) -> Send:
    """Write the deliveries, and take them back if they are more than were accepted: what is counted is what would leave."""
    try:
        consent.check_suppression_key(session)
    except Unavailable as error:
        return _hold(session, send, error.code)
    if not is_as_confirmed(session, send.id):
        return _hold(session, send, "content_changed")
    languages = languages_of(session, send.id)
    savepoint = session.begin_nested()
    recipients = deliveries.make(session, send, languages, relay_is_local=relays.is_local(settings))
    if recipients > accepted and not send.may_have_left:
        savepoint.rollback()
        send.would_reach = recipients
        return _hold(session, send, "audience_grew")
    savepoint.commit()
    if send.may_have_left:
        deliveries.doubt_all(session, send.id)
    send.started_at, send.confirmed_count, send.would_reach = clock.now(), max(send.confirmed_count, recipients), None
    send.state, send.reason, send.by_catcher = SendState.SENDING, None, settings.relay is None
    session.flush()
    finish_if_done(session, send)
    return send


def _hold(session: Session, send: Send, reason: str) -> Send:
    send.state, send.reason = SendState.HELD, reason
    _tell(session, send)
    return send


def _tell(session: Session, send: Send) -> None:
    """Whoever ordered a send is told of what it has come to (crm/mailing/notices.py), but for what they did themselves."""
    actor: Actor | None = session.info.get("actor")
    orderer = (send.ordered_by_kind, send.ordered_by_id)
    if send.ordered_by_kind == ActorKind.ACCOUNT and (actor is None or (actor.kind, actor.id) != orderer):
        session.add(Notice(send_id=send.id, state=send.state, reason=send.reason))
    session.flush()


def pause(session: Session, send_id: int, reason: str = "by_person") -> Send:
    """Let no more mails leave. Twice is the same; a send that is over stays so (send_over)."""
    send = get(session, send_id, lock=True)
    if send.state in OVER:
        raise Conflict("send_over")
    if send.state in {SendState.SENDING, SendState.SCHEDULED}:
        send.state = SendState.PAUSED if send.state is SendState.SENDING else SendState.HELD
        send.reason = reason
        _tell(session, send)
    return send


def pause_if_sending(session: Session, send_id: int, reason: str) -> None:
    """The worker pauses a send that is under way; one that a person paused or ended meanwhile is left as it is."""
    paused = session.scalars(
        sa.update(Send)
        .where(Send.id == send_id, Send.state == SendState.SENDING)
        .values(state=SendState.PAUSED, reason=reason)
        .returning(Send)
        .execution_options(synchronize_session="fetch", populate_existing=True)
    ).first()
    if paused is not None:
        history.record(session, [_paused_entry(send_id, reason)])
        _tell(session, paused)


def _paused_entry(send_id: int, reason: str) -> history.Entry:
    plain = {"state": [SendState.SENDING.value, SendState.PAUSED.value], "reason": [None, reason]}
    return history.Entry(history.Action.CHANGE, "send", send_id, "send", send_id, plain=plain)


def resume(session: Session, send_id: int, settings: Settings, accepted_count: int | None = None) -> Send:
    """Go on with a paused or held send. Of one that may have left before the database was restored nothing leaves by this: its
    people are in doubt, for a person to decide.

    Of one whose audience grew, whoever resumes accepts the number that it told (`would_reach`), or ``accepted_count``;
    if it would reach yet more, it stays held and tells the new number.
    """
    relays.forgive(session, relays.row_of(session, settings).id)  # the relay before the send, as the worker locks them
    send = get(session, send_id, lock=True)
    if send.state in OVER:
        raise Conflict("send_over")
    actor: Actor | None = session.info.get("actor")
    if (send.reason or "").startswith("restored") and actor is not None and actor.kind is ActorKind.CLIENT:
        raise Conflict("restored_needs_person")
    if send.started_at is not None and send.state is not SendState.SENDING:
        consent.check_suppression_key(session)
        send.state, send.reason = SendState.SENDING, None
        session.flush()
        deliveries.hurry(session, send.id)
        finish_if_done(session, send)
    elif send.state is SendState.HELD:
        _release(session, send, settings, max(send.confirmed_count, accepted_count or send.would_reach or 0))
    return send


def _release(session: Session, send: Send, settings: Settings, accepted: int) -> None:
    if send.starts_at > clock.now():
        send.state, send.reason = SendState.SCHEDULED, None
        session.flush()
    else:
        # Its hour came while it was held: what it was restored or copied from may have written to everybody by now.
        send.may_have_left = send.may_have_left or send.reason == "restored"
        _begin(session, send, settings, accepted=accepted)


def cancel(session: Session, send_id: int) -> Send:
    """End a send: what had not left will not leave, what is at the server cannot be called back. Twice is the same."""
    send = get(session, send_id, lock=True)
    if send.state is SendState.DONE:
        raise Conflict("send_over")
    if send.state is not SendState.CANCELLED:
        send.state, send.reason, send.finished_at = SendState.CANCELLED, None, clock.now()
        _tell(session, send)
        deliveries.cancel_rest(session, send.id)
    return send


def stop_and_edit(session: Session, send_id: int) -> Send:
    """Take back an order that has not begun, to mend its campaign; Conflict(send_begun) once mails may have left.

    The hour that it had is told again by `hour_kept`.
    """
    send = get(session, send_id, lock=True)
    if send.started_at is not None or send.may_have_left or send.state in OVER:
        raise Conflict("send_begun")
    return cancel(session, send_id)


def hour_kept(session: Session, campaign_id: int) -> datetime | None:
    """The hour of the last order of a campaign, if it was taken back before it began and is still to come."""
    last = session.scalars(sa.select(Send).where(Send.campaign_id == campaign_id).order_by(Send.id.desc()).limit(1)).first()
    if last is None or last.state is not SendState.CANCELLED or last.started_at or last.mode is not SendMode.AT:
        return None
    return last.starts_at if last.starts_at > clock.now() else None


def finish_if_done(session: Session, send: Send) -> bool:
    """A send is done when nothing of it is pending, leaving or deferred."""
    if send.state is not SendState.SENDING:
        return send.state is SendState.DONE
    left = deliveries.counts(session, send.id)
    if left.pending or left.deferred:
        return False
    send.state, send.finished_at = SendState.DONE, clock.now()
    _tell(session, send)
    return True


def languages_of(session: Session, send_id: int) -> list[Language]:
    """Languages that a send has a text for."""
    return list(session.scalars(sa.select(SendContent.language).where(SendContent.send_id == send_id).distinct()))


def is_as_confirmed(session: Session, send_id: int) -> bool:
    """Whether the frozen content is, to the letter, that which was confirmed."""
    rows = session.scalars(sa.select(SendContent).where(SendContent.send_id == send_id))
    return all(digest(row.compiled) == row.sha256 for row in rows)


def contents(session: Session, send_id: int) -> dict[tuple[Language, int], Compiled]:
    """The frozen content of a send, by language and by `Delivery.shown`."""
    rows = session.scalars(sa.select(SendContent).where(SendContent.send_id == send_id))
    return {(Language(row.language), row.shown): Compiled.from_json(row.compiled) for row in rows}


# --- how it is told -------------------------------------------------------------------------------------------------------


def to_out(session: Session, send: Send) -> SendOut:
    return SendOut(
        id=send.id,
        campaign_id=send.campaign_id,
        state=send.state,
        reason=send.reason,
        sentence=REASONS.get(send.reason) if send.reason else None,
        mode=send.mode,
        starts_at=send.starts_at,
        confirmed_count=send.confirmed_count,
        would_reach=send.would_reach,
        counts=counts(session, send),
        created_at=send.created_at,
        started_at=send.started_at,
        finished_at=send.finished_at,
    )


def delivery_out(session: Session, delivery: Delivery, sender: SenderLine) -> DeliveryOut:
    """One person's line of the ledger."""
    state = DeliveryState.PENDING if delivery.state is DeliveryState.SENDING else delivery.state
    told = SKIP_SENTENCES if state is DeliveryState.SKIPPED else faults.SENTENCES
    identifier = links.message_id(keys_of(session), delivery.id, sender.domain)
    return DeliveryOut(
        contact_id=delivery.contact_id,
        address=delivery.address,
        state=state,
        reason=delivery.reason,
        sentence=told.get(delivery.reason) if delivery.reason else None,
        message_id=None if state is DeliveryState.SKIPPED else f"<{identifier}>",
        smtp_reply=f"{delivery.smtp_code or ''} {delivery.smtp_reply or ''}".strip() or None,
        at=delivery.settled_at,
        attempts=delivery.attempts,
        outcome=delivery.outcome,
    )


def sender_of(settings: Settings) -> SenderLine:
    """Whose name stands on the mails of this installation."""
    return SenderLine(settings.mail_from, settings.mail_reply_to)
