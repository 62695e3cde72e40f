"""Notices to whoever ordered a send: one short mail when it ends, pauses or is held, and a line on Inicio until it is seen.

    waiting ──claim──> leaving ──> accepted
       ▲                  └──it surely did not leave──> waiting      └──else──> dropped

The row is written with the change itself (`sends`), so there is one per event whatever crashes. The claim is committed before
the mail leaves: a worker killed in between may cost the mail, never make it two, and Inicio tells it all the same. No recipient
is named. What an API client ordered has nobody to tell.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session, contains_eager

from crm import clock
from crm.database import Database, keys_of
from crm.errors import CrmError, NotFound
from crm.history import ActorKind
from crm.mailing import fields, links, relays, sends, signing, templates
from crm.mailing.drain import Way
from crm.mailing.faults import GIVE_UP_AFTER, Judgement, Verdict, wait_before
from crm.mailing.models import Notice, NoticeMail, Send, SendState
from crm.mailing.sending import send_one
from crm.people.models import Language
from crm.staff.models import Account

log = structlog.get_logger(__name__)

FOLDER = "_notice"
PROBE_LATEST = timedelta(minutes=15)
"""While the relay is in trouble a notice is tried at least so often: it is what finds out that the relay is back."""
LATELY = timedelta(days=7)
"""How long Inicio tells of a send that ended, unless the person said before that they know."""
MOST = 8
_DID_NOT_LEAVE = {Verdict.SYSTEM, Verdict.SOFT, Verdict.BLOCK}

HEADINGS = {
    SendState.DONE: ("Terminó", "El envío terminó: ya no queda ningún correo por salir."),
    SendState.PAUSED: ("En pausa", "El envío se pausó: lo que falta espera a que alguien lo reanude."),
    SendState.HELD: ("Detenido", "El envío está detenido: espera a que alguien lo reanude o lo cancele."),
    SendState.CANCELLED: ("Cancelado", "Alguien del equipo canceló el envío: no saldrá ningún correo más."),
}
"""How the subject of a notice begins, and its first sentence."""
COUNT_WORDS = {
    "sent": "Aceptados por el servidor",
    "pending": "Pendientes",
    "deferred": "En espera de reintento",
    "failed": "No se pudo",
    "in_doubt": "Sin confirmar",
    "skipped": "No se les escribe",
}


# --- the mail ----------------------------------------------------------------------------------------------------------------


def due(session: Session) -> list[tuple[int, int]]:
    """(id, generation) of the notices whose mail may leave now."""
    waiting = sa.select(Notice.id, Notice.generation).where(Notice.mail == NoticeMail.WAITING, Notice.due_at <= clock.now())
    return [(row.id, row.generation) for row in session.execute(waiting.order_by(Notice.id))]


def deliver(database: Database, notice_id: int, way: Way, wait: Callable[[float], object]) -> None:
    """Hand over the mail of a notice if it still tells the truth. Safe to run twice at once: one of them claims it.

    ``wait`` sleeps for some seconds, until the slot of the relay's pace."""
    with database.session() as session:
        seconds = _slot(session, notice_id, way)
    if seconds is None:
        return
    if seconds:
        wait(seconds)
    with database.session() as session:
        mail = _claim(session, notice_id, way)
    if mail is None:
        return
    judged = asyncio.run(send_one(way.address, sends.sender_of(way.settings), mail.to_address, mail.content))
    with database.session() as session:
        _settle(session, notice_id, judged, way)


@dataclass(frozen=True)
class _Mail:
    to_address: str
    content: bytes


def _slot(session: Session, notice_id: int, way: Way) -> float | None:
    """Seconds until the mail may leave by the pace per minute; None: it must not leave, at least not now."""
    if _addressee(session, notice_id, way) is None:
        return None
    relay = relays.row_of(session, way.settings)
    if relay.resting_until is not None and relay.resting_until > clock.now():
        return None
    return relays.take_slot(session, relay.id, relay.per_minute, clock.now().timestamp()) if relay.per_minute else 0.0


def _addressee(session: Session, notice_id: int, way: Way) -> tuple[Notice, Account] | None:
    """A notice that waits and whom it goes to; one that tells the truth no more, or has nobody to go to, is dropped."""
    notice = _get(session, notice_id)
    if notice.mail is not NoticeMail.WAITING:
        return None
    account = _orderer(session, notice.send, is_local=way.address.is_local)
    if account is not None and _is_true(session, notice):
        return notice, account
    notice.mail = NoticeMail.DROPPED
    session.flush()
    return None


def _get(session: Session, notice_id: int) -> Notice:
    found = sa.select(Notice).where(Notice.id == notice_id).join(Notice.send).options(contains_eager(Notice.send))
    return session.scalars(found.execution_options(populate_existing=True)).one()


def _orderer(session: Session, send: Send, *, is_local: bool) -> Account | None:
    """Whose send it is now, if that account is active; one of the demo has no mailbox beyond this machine."""
    if send.ordered_by_kind != ActorKind.ACCOUNT or send.ordered_by_id is None:
        return None
    account = session.get(Account, send.ordered_by_id)
    return account if account and account.disabled_at is None and (is_local or not account.is_demo) else None


def _is_true(session: Session, notice: Notice) -> bool:
    """Whether the send is still where the notice says, and nothing newer is told of it."""
    newer = sa.select(Notice.id).where(Notice.send_id == notice.send_id, Notice.id > notice.id)
    same = (notice.send.state, notice.send.reason) == (notice.state, notice.reason)
    return same and not session.scalar(sa.select(newer.exists()))


def _claim(session: Session, notice_id: int, way: Way) -> _Mail | None:
    """The mail, ready to leave, which nobody else will hand over; the commit of this transaction is the permission."""
    found = _addressee(session, notice_id, way)
    if found is None or not relays.take_allowance(session, relays.row_of(session, way.settings).id, way.address, 1):
        return None
    notice, account = found
    try:
        content = _signed(session, notice, account, way)
    except CrmError as error:  # without its key nothing leaves unsigned; it may be back later
        log.warning("notice_put_off", notice_id=notice_id, reason=error.code)
        _put_off(notice, PROBE_LATEST)
        return None
    claimed = session.execute(
        sa.update(Notice)
        .where(Notice.id == notice_id, Notice.mail == NoticeMail.WAITING)
        .values(mail=NoticeMail.LEAVING, left_at=clock.now(), attempts=Notice.attempts + 1)
        .returning(Notice.id)
    ).first()
    return _Mail(account.email, content) if claimed else None


def _settle(session: Session, notice_id: int, judged: Judgement, way: Way) -> None:
    notice, relay = _get(session, notice_id), relays.row_of(session, way.settings)
    if judged.verdict is Verdict.ACCEPTED:
        notice.mail = NoticeMail.ACCEPTED
        relays.note_success(session, relay.id)
    elif judged.verdict in _DID_NOT_LEAVE and clock.now() - notice.at < GIVE_UP_AFTER:
        wait = wait_before(notice.attempts)
        notice.mail, notice.left_at = NoticeMail.WAITING, None
        _put_off(notice, min(wait, PROBE_LATEST) if judged.verdict is Verdict.SYSTEM else wait)
    else:
        notice.mail = NoticeMail.DROPPED
    if judged.verdict is Verdict.SYSTEM:
        relays.note_trouble(session, relay.id, clock.now(), judged.reason)
    log.info("notice_handed_over", notice_id=notice_id, verdict=judged.verdict.value, reason=judged.reason)


def _put_off(notice: Notice, wait: timedelta) -> None:
    notice.due_at = clock.now() + wait


# --- its words ---------------------------------------------------------------------------------------------------------------


def _signed(session: Session, notice: Notice, account: Account, way: Way) -> bytes:
    sender = sends.sender_of(way.settings)
    return b"".join(signing.signed([_written(session, notice, account, way)], sender.domain, signing.signers(way.settings)))


def _written(session: Session, notice: Notice, account: Account, way: Way) -> bytes:
    """The mail as plain text: to one colleague, of nobody else, without a link to leave (it is no mailing)."""
    sender, values = sends.sender_of(way.settings), _values(session, notice, account, way)
    name, address = parseaddr(way.settings.mail_from)
    mail = EmailMessage(policy=SMTP)
    mail["From"] = Address(name, addr_spec=address)
    mail["To"] = Address(" ".join(account.name.split()), addr_spec=account.email)
    mail["Subject"] = templates.render_own(FOLDER, "subject.txt", **values)
    mail["Date"] = format_datetime(clock.now())
    mail["Message-ID"] = f"<{links.notice_message_id(keys_of(session), notice.id, sender.domain)}>"
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers it
    mail.set_content(templates.render_own(FOLDER, "body.txt", **values) + "\n", cte="quoted-printable")
    return bytes(mail)


def _values(session: Session, notice: Notice, account: Account, way: Way) -> dict[str, object]:
    send = sends.get(session, notice.send_id)
    counted = sends.counts(session, send)
    heading, sentence = HEADINGS[notice.state]
    variants = sorted(send.campaign.variants, key=lambda one: one.language is not Language.SPANISH)
    return {
        "person": account.name,
        "name": " ".join(send.campaign.name.split()),
        "subject": fields.named(variants[0].subject) if variants else "",
        "heading": heading,
        "sentence": sentence,
        "why": sends.REASONS.get(notice.reason or "", ""),
        "counts": [(words, getattr(counted, state)) for state, words in COUNT_WORDS.items()],
        "link": f"{way.settings.public_url}/envios/{send.id}",
        "waits": notice.state in {SendState.PAUSED, SendState.HELD} or counted.in_doubt > 0,
    }


# --- on Inicio ---------------------------------------------------------------------------------------------------------------


def unseen(session: Session, account_id: int) -> Sequence[Notice]:
    """The sends of an account that ended lately and of which the person has not said that they know, the last first. One that
    is paused or held is told to everybody, for as long as it is."""
    own = sa.select(Notice).join(Notice.send).options(contains_eager(Notice.send).joinedload(Send.campaign))
    ended = own.where(
        Send.ordered_by_kind == ActorKind.ACCOUNT,
        Send.ordered_by_id == account_id,
        Send.state == Notice.state,
        Notice.state.in_(sends.OVER),
        Notice.seen_at.is_(None),
        Notice.at > clock.now() - LATELY,
    )
    return session.scalars(ended.order_by(Notice.id.desc()).limit(MOST)).all()


def see(session: Session, account_id: int, notice_id: int) -> None:
    """The person knows: of this and of what came before of the same send. NotFound(send_notice_not_found) for another's."""
    notice = session.scalars(sa.select(Notice).where(Notice.id == notice_id)).first()
    send = session.get(Send, notice.send_id) if notice else None
    if notice is None or send is None or (send.ordered_by_kind, send.ordered_by_id) != (ActorKind.ACCOUNT, account_id):
        raise NotFound("send_notice_not_found")
    before = sa.update(Notice).where(Notice.send_id == send.id, Notice.id <= notice_id, Notice.seen_at.is_(None))
    session.execute(before.values(seen_at=clock.now()))
