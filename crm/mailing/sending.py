"""Draining a send: connections that hold the door open, claim what is due, hand it over and write down each answer.

The async room of the house: here one waits for servers, for a slot of the pace, for the ledger (in a thread of its own).
The order is the promise: an open, signed-in connection first, then a slot, then the claim (committed), then the content.
"""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session

from crm import clock
from crm.config import RelayAddress, Settings
from crm.database import Database, keys_of
from crm.errors import CrmError
from crm.keys import Keys
from crm.mailing import deliveries, fields, links, relays, sends
from crm.mailing.compiling import Compiled
from crm.mailing.deliveries import Claimed, Settled
from crm.mailing.faults import Judgement, Reply, Verdict, judge
from crm.mailing.models import Send, SendState
from crm.mailing.smtp import Connection, ConnectionFailed, Timeouts
from crm.mailing.splicing import Envelope, SenderLine, build
from crm.people.models import Language

log = structlog.get_logger(__name__)

LEASE = timedelta(minutes=8)
"""Longer than a mail may take at every time-out, begun in the first minute: a living worker never loses what it holds."""
SETTLE_PAUSES = (0.5, 1, 2, 5, 10, 20, 30)
"""Seconds between tries to write down what the server said, while the database is away."""
AHEAD = 1
"""Mails claimed per connection. In lockstep a second one would only wait, and be in doubt if we died meanwhile."""
READ_AHEAD = 200
"""People whose values are read at once."""
LOCAL_CONNECTIONS = 4
FAR_CONNECTIONS = 2
HARD_LIMIT, HARD_SAMPLE = 10, 200
"""More than 5 % of the first 200 mails at mailboxes that do not exist: the list is wrong, the send pauses itself."""

_TROUBLES_OF_THE_RELAY = {Verdict.SYSTEM, Verdict.BLOCK, Verdict.IN_DOUBT}

T = TypeVar("T")


@dataclass(frozen=True)
class Way:
    """How mails leave: the relay, who signs, and for how long a claim holds."""

    settings: Settings
    address: RelayAddress
    timeouts: Timeouts = field(default_factory=Timeouts)
    lease: timedelta = LEASE

    @property
    def connections(self) -> int:
        return LOCAL_CONNECTIONS if self.address.is_local else FAR_CONNECTIONS


@dataclass
class Drain:
    """One run over one send. Ends when nothing is due, the send is not `sending` any more, or the relay must rest."""

    database: Database
    way: Way
    send_id: int
    relay_id: int
    per_minute: int | None
    feedback: str
    compiled: dict[Language, Compiled]
    sender: SenderLine
    due: sa.Select[int, str | None]
    should_stop: Callable[[], bool]
    values: dict[int, dict[str, str]] = field(default_factory=dict)
    """Values of people whose mails are next, read ahead in one go."""
    resting: bool = False
    accepted: int = 0

    async def write(self, deed: Callable[[Session], T]) -> T:
        """Run a deed of the ledger in a thread, as one transaction, committed when it returns."""
        return await asyncio.to_thread(self._in_transaction, deed)

    def _in_transaction(self, deed: Callable[[Session], T]) -> T:
        with self.database.session() as session:
            return deed(session)

    @property
    def over(self) -> bool:
        return self.resting or self.should_stop()


def drain(database: Database, send_id: int, way: Way, should_stop: Callable[[], bool] = lambda: False) -> int:
    """Send what is due of one send; returns the mails accepted. Safe to run twice at once: the ledger decides."""
    return asyncio.run(run(database, send_id, way, should_stop))


async def run(database: Database, send_id: int, way: Way, should_stop: Callable[[], bool] = lambda: False) -> int:
    with database.session() as session:
        send = sends.get(session, send_id)
        if send.state is not SendState.SENDING:
            return 0
        if send.by_catcher is not None and send.by_catcher != (way.settings.relay is None):
            # What the catcher keeps reaches nobody: it must never count as sent in a send that reaches people.
            sends.pause_if_sending(session, send_id, "relay_changed")
            return 0
        relay = relays.row_of(session, way.settings)
        if relay.resting_until is not None and relay.resting_until > clock.now():
            return 0
        if not sends.is_as_confirmed(session, send_id):
            sends.pause_if_sending(session, send_id, "content_changed")
            return 0
        work = Drain(
            database=database,
            way=way,
            send_id=send_id,
            relay_id=relay.id,
            per_minute=relay.per_minute,
            feedback=f"c{send.campaign_id}:s{send_id}",
            compiled=sends.contents(session, send_id),
            sender=sends.sender_of(way.settings),
            due=deliveries.candidates(session, send, relay_is_local=way.address.is_local),
            should_stop=should_stop,
        )
    # One connection's fault never cancels another's mail in mid-air.
    ended = await asyncio.gather(*(_Line(work).live() for _ in range(way.connections)), return_exceptions=True)
    for fault in ended:
        if isinstance(fault, BaseException):
            log.error("connection_failed", send_id=send_id, error=type(fault).__name__)
    with database.session() as session:
        sends.finish_if_done(session, sends.get(session, send_id, lock=True))
    return work.accepted


@dataclass
class _Line:
    """One connection's life in a run. Its token tells its claims from those of the other connections."""

    work: Drain
    token: str = field(default_factory=lambda: secrets.token_hex(16))
    answers: list["Answer"] = field(default_factory=list)
    """What the server said and the ledger does not know yet."""

    async def live(self) -> None:
        """Open, hand over, and open again while there is work and the relay is well."""
        work = self.work
        while not work.over and await work.write(lambda session: _has_work(session, work.send_id)):
            try:
                connection = await Connection.open(work.way.address, timeouts=work.way.timeouts)
            except ConnectionFailed as error:
                await _trouble(work, judge(error.reply))
                return
            try:
                await self._hand_over_all(connection)
            finally:
                await connection.leave()

    async def _hand_over_all(self, connection: Connection) -> None:
        """Hand over until nothing is due or the connection closed.

        Answers are written down in the transaction that claims the next mails: one commit for both.
        """
        while connection.is_open and not self.work.over:
            await _wait_for_slot(self.work)
            mails = await self._claim()
            self.answers = await _hand_over_each(self.work, connection, mails)
            if not mails:
                break
            if self.work.per_minute is not None or not all(answer.is_accepted for answer in self.answers):
                await self._settle()
        await self._settle()

    async def _claim(self) -> list["Mail"]:
        try:
            mails = await self.work.write(partial(_write_down_and_claim, work=self.work, token=self.token, answers=self.answers))
        except (sa.exc.OperationalError, sa.exc.InterfaceError):
            await self._settle()
            return []
        self.answers = []
        return mails

    async def _settle(self) -> None:
        """Write the answers down, whatever the database does meanwhile: each is a mail that a person already has.

        After a failed commit nobody knows what was kept: the fence makes it safe to say it again, and what is still
        claimed by this connection was not begun, so it goes back.
        """
        for pause in (*SETTLE_PAUSES, None):
            try:
                await self.work.write(partial(_write_down, work=self.work, token=self.token, answers=self.answers))
            except (sa.exc.OperationalError, sa.exc.InterfaceError):
                if pause is None:
                    raise
                log.warning("answers_wait_for_the_database", send_id=self.work.send_id, answers=len(self.answers))
                await asyncio.sleep(pause)
            else:
                self.answers = []
                return


def _has_work(session: Session, send_id: int) -> bool:
    send = session.get(Send, send_id)
    return send is not None and send.state is SendState.SENDING and deliveries.due(session, send_id)


async def _wait_for_slot(work: Drain) -> None:
    limit = work.per_minute
    if limit is None:
        return
    now = clock.now().timestamp()
    wait = await work.write(lambda session: relays.take_slot(session, work.relay_id, limit, now))
    while wait > 0 and not work.over:
        await asyncio.sleep(min(wait, 0.5))
        wait -= 0.5


@dataclass(frozen=True)
class Mail:
    """A claimed delivery and its bytes."""

    claimed: Claimed
    content: bytes
    claimed_at: datetime


@dataclass(frozen=True)
class Answer:
    """What the server said of a mail; None: it was not begun, nothing of it left."""

    claimed: Claimed
    reply: Reply | None

    @property
    def is_accepted(self) -> bool:
        return self.reply is not None and judge(self.reply).verdict is Verdict.ACCEPTED


def _write_down_and_claim(session: Session, work: Drain, token: str, answers: list[Answer]) -> list[Mail]:
    """Write down the last answers, then claim and build the next mails: what is claimed can leave at once."""
    _write_down(session, work, token, answers)
    statement = sa.select(Send.state).where(Send.id == work.send_id)
    state = session.scalar(statement.with_for_update(read=True))
    if state is not SendState.SENDING or work.over:
        return []
    limit = 1 if work.per_minute else AHEAD
    claimed = deliveries.claim(session, work.due, token, limit, work.way.lease)
    if any(one.contact_id not in work.values for one in claimed):
        ahead = deliveries.next_people(session, work.send_id, READ_AHEAD)
        work.values.update(fields.values_of(session, [*((one.contact_id, one.language) for one in claimed), *ahead]))
    return [mail for one in claimed if (mail := _built_or_failed(session, work, token, one)) is not None]


def _built_or_failed(session: Session, work: Drain, token: str, claimed: Claimed) -> Mail | None:
    """A mail that cannot be built fails alone: it must not keep the others from leaving."""
    try:
        return Mail(claimed, _build(work, claimed, keys_of(session)), clock.now())
    except (CrmError, LookupError, ValueError) as error:
        log.error("mail_not_buildable", delivery_id=claimed.id, error=type(error).__name__)
        deliveries.fail(session, claimed.id, token, "not_buildable")
        return None


def _build(work: Drain, claimed: Claimed, keys: Keys) -> bytes:
    values = work.values.pop(claimed.contact_id)
    unsubscribe = links.unsubscribe_url(work.way.settings, keys, claimed.id)
    envelope = Envelope(
        to_name=values.get("nombre_completo", ""),
        to_address=claimed.address,
        message_id=links.message_id(keys, claimed.id, work.sender.domain),
        unsubscribe=unsubscribe,
        feedback=work.feedback,
        date=clock.now(),
    )
    return build(work.compiled[claimed.language], {**values, "enlace_baja": unsubscribe}, envelope, work.sender)


async def _hand_over_each(work: Drain, connection: Connection, mails: list[Mail]) -> list[Answer]:
    """Each mail in turn; what was not begun when the connection closed, the run ended or time grew short has no answer."""
    answers = []
    for mail in mails:
        late = clock.now() - mail.claimed_at > work.way.lease / 8
        if not connection.is_open or work.over or late:
            answers.append(Answer(mail.claimed, None))
            continue
        try:
            reply = await connection.hand_over(work.sender.mailbox, mail.claimed.address, mail.content)
        except ConnectionFailed as error:
            reply = error.reply
        answers.append(Answer(mail.claimed, reply))
    return answers


def _write_down(session: Session, work: Drain, token: str, answers: list[Answer]) -> None:
    """Settle what was answered and give back whatever else this connection holds: nothing of it left."""
    for answer in answers:
        if answer.reply is not None and not _settle(session, work, token, answer.claimed, _settled(answer.claimed, answer.reply)):
            log.warning("delivery_fenced", delivery_id=answer.claimed.id)
    deliveries.release(session, token)
    if any(answer.is_accepted for answer in answers):
        relays.note_success(session, work.relay_id)
        work.accepted += sum(answer.is_accepted for answer in answers)


def _settled(claimed: Claimed, reply: Reply) -> Settled:
    return Settled(claimed.id, reply, judge(reply))


def _settle(session: Session, work: Drain, token: str, claimed: Claimed, settled: Settled) -> bool:
    held = deliveries.settle(session, claimed, settled, token)
    verdict = settled.judgement.verdict
    same_again = verdict is Verdict.BLOCK and claimed.reason == settled.judgement.reason
    if verdict in _TROUBLES_OF_THE_RELAY and not same_again:  # one mail refused again tells nothing new of the relay
        _note_trouble(session, work, "relay_unclear" if verdict is Verdict.IN_DOUBT else settled.judgement.reason)
    elif verdict is Verdict.HARD:
        _watch_hard_bounces(session, work)
    return held


def _watch_hard_bounces(session: Session, work: Drain) -> None:
    ended, hard = deliveries.hard_bounces(session, work.send_id)
    if ended <= HARD_SAMPLE and hard > HARD_LIMIT:
        sends.pause_if_sending(session, work.send_id, "hard_bounces")


def _note_trouble(session: Session, work: Drain, reason: str) -> None:
    """The relay rests and this run ends; after five troubles in a row the send pauses and says why.

    What four connections meet at once is one trouble, not four.
    """
    if work.resting:
        return
    work.resting = True
    troubles = relays.note_trouble(session, work.relay_id, clock.now())
    log.warning("relay_trouble", send_id=work.send_id, reason=reason, in_a_row=troubles)
    if troubles >= relays.TROUBLES_THAT_PAUSE:
        sends.pause_if_sending(session, work.send_id, reason)


async def _trouble(work: Drain, judgement: Judgement) -> None:
    if not work.resting:
        await work.write(lambda session: _note_trouble(session, work, judgement.reason))


async def send_one(address: RelayAddress, sender: SenderLine, to_address: str, content: bytes) -> Judgement:
    """Hand over one mail outside the ledger (a test to an account) and say what became of it."""
    try:
        connection = await Connection.open(address)
        try:
            reply = await connection.hand_over(sender.mailbox, to_address, content)
        finally:
            await connection.leave()
    except ConnectionFailed as error:
        reply = error.reply
    return judge(reply)
