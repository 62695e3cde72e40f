"""Draining a send: connections that hold the door open, mails claimed just before they leave, and each answer written down.

The async room of the house: here one waits for servers, for a slot of the pace, for the ledger (in a thread of its own).
The order is the promise: an open, signed-in connection first, then a slot, then the claim (committed), then the content.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
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
from crm.mailing import deliveries, fields, links, relays, sends, signing, smtp
from crm.mailing.compiling import Compiled
from crm.mailing.deliveries import Claimed, Settled
from crm.mailing.exchange import Exchange, Outgoing, Timeouts
from crm.mailing.faults import Judgement, Reply, Step, Verdict, judge
from crm.mailing.flight import Flight
from crm.mailing.models import Delivery, Send, SendState
from crm.mailing.signing import Signer
from crm.mailing.splicing import Envelope, SenderLine, build
from crm.people.models import Language

log = structlog.get_logger(__name__)

LEASE = timedelta(minutes=15)
"""Longer than a mail and the one before it may take at every time-out: a living worker never loses what it holds. Content whose
answer could come after the end of the lease does not leave."""
BEGUN_WITHIN = timedelta(seconds=60)
"""A claim that nothing came of for so long goes back: the server has become slow, or this process was asleep."""
SETTLE_PAUSES = (0.5, 1, 2, 5, 10, 20, 30)
"""Seconds between tries to write down what the server said, while the database is away."""
WINDOW_SECONDS = 0.05
"""What leaves in so long is claimed at once, and never less than `PER_CONNECTION`: that many are in doubt if we die."""
PER_CONNECTION = 2
"""One mail in flight and one envelope ahead."""
READ_AHEAD = 200
"""People whose values are read at once."""
LOCAL_CONNECTIONS = 4
FAR_CONNECTIONS = 2
DOUBT_LIMIT, DOUBT_SHARE = 10, 0.05
"""More than so many mails in doubt, and more than such a share of those that ended: somebody must look before more leave."""
HARD_LIMIT, HARD_SAMPLE = 10, 200
"""More than 5 % of the first 200 mails at mailboxes that do not exist: the list is wrong, the send pauses itself."""

_TROUBLES_OF_THE_RELAY = {Verdict.SYSTEM, Verdict.BLOCK, Verdict.IN_DOUBT}
_AWAY = (sa.exc.OperationalError, sa.exc.InterfaceError)

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


@dataclass(eq=False)
class Mail(Outgoing):
    """A claimed delivery on its way."""

    claimed: Claimed | None = None
    claimed_at: datetime | None = None


@dataclass(frozen=True)
class Answer:
    """What the server said of a mail; None: nothing of it left. ``fault`` is why we could not even build it."""

    claimed: Claimed
    reply: Reply | None
    fault: str | None = None

    @property
    def is_accepted(self) -> bool:
        return self.reply is not None and self.reply.step is Step.MESSAGE and self.reply.code == 250  # as `judge` has it


@dataclass(eq=False)
class Drain:
    """One run over one send; the source of its connections' mails. Ends when nothing is due, the send is not `sending` any
    more, or the relay must rest. The loop's thread alone changes it, but for `resting`, which only ever becomes true."""

    database: Database
    way: Way
    send_id: int
    relay_id: int
    per_minute: int | None
    feedback: str
    compiled: dict[Language, Compiled]
    sender: SenderLine
    signers: Sequence[Signer]
    keys: Keys
    due: sa.Select[int, str | None]
    should_stop: Callable[[], bool]
    token: str
    flight: Flight
    values: dict[int, dict[str, str]] = field(default_factory=dict)
    """Values of people whose mails are next, read ahead in one go."""
    permitted: deque[tuple[Claimed, datetime]] = field(default_factory=deque)
    """Claimed, and not begun; since when."""
    flying: dict[int, Claimed] = field(default_factory=dict)
    """Given to a connection that has not told yet what became of them."""
    answers: list[Answer] = field(default_factory=list)
    """What the server said and the ledger does not know yet."""
    idle: list[Exchange] = field(default_factory=list)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    enough: int = 0
    """While so many are permitted the ledger is left alone, so that many share a commit."""
    praised_at: float = 0.0
    """When the relay was last told that it is well."""
    connected: int = 0
    closing: bool = False
    """The run has ended; a line that did not hear of its end, because its own work ended at that moment, sees it here."""
    resting: bool = False
    accepted: int = 0

    @property
    def over(self) -> bool:
        return self.closing or self.resting or self.should_stop()

    # --- the source of the connections; see `exchange.Source` ---------------------------------------------------------------

    def take(self) -> Mail | None:
        while self.permitted and not self.over:
            claimed, since = self.permitted.popleft()
            if clock.now() - since > BEGUN_WITHIN:
                self.answers.append(Answer(claimed, None))
                continue
            try:
                content = _build(self, claimed)
            except Exception as error:  # whatever it is, it fails alone: it must not keep the others from leaving
                log.error("mail_not_buildable", delivery_id=claimed.id, error=type(error).__name__)
                self.answers.append(Answer(claimed, None, "not_buildable"))
                continue
            self.flying[claimed.id] = claimed
            if len(self.permitted) == self.enough:
                self.wake.set()
            return Mail(self.sender.mailbox, claimed.address, content, claimed=claimed, claimed_at=since)
        self.wake.set()
        return None

    def begun(self, mail: Outgoing) -> bool:
        patience = timedelta(seconds=self.way.timeouts.message)
        since = mail.claimed_at if isinstance(mail, Mail) else None
        if since is None or clock.now() - since > self.way.lease - patience:
            return False
        self.flight.begun(_claimed(mail).id)
        return True

    def ended(self, mail: Outgoing, reply: Reply | None) -> None:
        claimed = _claimed(mail)
        answer = Answer(claimed, reply)
        del self.flying[claimed.id]
        if reply is not None and judge(reply).verdict is not Verdict.IN_DOUBT:
            self.flight.ended(claimed.id, accepted=answer.is_accepted)
        self.answers.append(answer)
        if not answer.is_accepted or self.idle or self.per_minute is not None:
            self.wake.set()

    def rests(self, exchange: Exchange) -> None:
        self.idle.append(exchange)
        self.wake.set()


def _claimed(mail: Outgoing) -> Claimed:
    if not isinstance(mail, Mail) or mail.claimed is None:
        raise TypeError("a mail that was not taken from this run")
    return mail.claimed


def drain(database: Database, send_id: int, way: Way, should_stop: Callable[[], bool] = lambda: False) -> int:
    """Send what is due of one send; returns the mails accepted. Safe to run twice at once: the ledger decides."""
    return asyncio.run(run(database, send_id, way, should_stop))


async def run(database: Database, send_id: int, way: Way, should_stop: Callable[[], bool] = lambda: False) -> int:
    work = _prepared(database, send_id, way, should_stop)
    if work is None:
        return 0
    known = False
    try:
        with ThreadPoolExecutor(1, thread_name_prefix="ledger") as thread:
            rounds = _Rounds(work, thread)
            lines = [asyncio.create_task(_line(work)) for _ in range(way.connections)]
            try:
                await rounds.go(lines)
            finally:
                work.closing = True
                for line in lines:
                    line.cancel()
                ended = await asyncio.gather(*lines, return_exceptions=True)
                await rounds.end()
        for fault in ended:
            if isinstance(fault, Exception):
                log.error("connection_failed", send_id=send_id, error=type(fault).__name__)
        known = not work.flying and not work.answers
    finally:
        work.flight.close(keep=not known)
    with database.session() as session:
        sends.finish_if_done(session, sends.get(session, send_id, lock=True))
    return work.accepted


def _prepared(database: Database, send_id: int, way: Way, should_stop: Callable[[], bool]) -> Drain | None:
    """All that a run needs to know; None when there is nothing to do now."""
    with database.session() as session:
        send = sends.get(session, send_id)
        if send.state is not SendState.SENDING:
            return None
        if send.by_catcher is not None and send.by_catcher != (way.settings.relay is None):
            # What the catcher keeps reaches nobody: it must never count as sent in a send that reaches people.
            sends.pause_if_sending(session, send_id, "relay_changed")
            return None
        relay = relays.row_of(session, way.settings)
        if relay.resting_until is not None and relay.resting_until > clock.now():
            return None
        if not sends.is_as_confirmed(session, send_id):
            sends.pause_if_sending(session, send_id, "content_changed")
            return None
        try:
            signers = signing.signers(way.settings)
        except CrmError as error:
            sends.pause_if_sending(session, send_id, error.code)
            return None
        token = secrets.token_hex(16)
        return Drain(
            database=database,
            way=way,
            send_id=send_id,
            relay_id=relay.id,
            per_minute=relay.per_minute,
            feedback=f"c{send.campaign_id}:s{send_id}",
            compiled=sends.contents(session, send_id),
            sender=sends.sender_of(way.settings),
            signers=signers,
            keys=keys_of(session),
            due=deliveries.candidates(session, send, relay_is_local=way.address.is_local),
            should_stop=should_stop,
            token=token,
            flight=Flight(way.settings.data_dir, token),
        )


async def _line(work: Drain) -> None:
    """One connection at a time, opened again while there is work and the relay is well; cancelled when the run ends."""
    while not work.over:
        try:
            exchange = await smtp.connect(work.way.address, work, timeouts=work.way.timeouts)
        except smtp.ConnectionFailed as error:
            if not work.resting:  # what four connections meet at once is one trouble, not four
                work.resting = True
                noted = partial(_note_trouble, work=work, reason=judge(error.reply).reason)
                await asyncio.to_thread(_in_transaction, work, noted)
            work.wake.set()
            return
        if work.closing:
            await exchange.leave()
            return
        work.connected += 1
        exchange.go_on()
        try:
            await asyncio.shield(exchange.closed)
        finally:
            work.connected -= 1
            work.idle = [other for other in work.idle if other is not exchange]
            await exchange.leave()
        if not exchange.accepted:
            await asyncio.sleep(1)  # a server that opens its door only to close it is not knocked at without end


def _in_transaction(work: Drain, deed: Callable[[Session], T]) -> T:
    with work.database.session() as session:
        return deed(session)


@dataclass
class _Rounds:
    """The talk with the ledger, in a thread of its own: each round writes the answers down and claims the next mails in one
    commit, so that many mails share one."""

    work: Drain
    thread: ThreadPoolExecutor
    drained: bool = False
    """Nothing was due when it was last asked."""
    rate: float = 0.0
    """Mails accepted in a second, of late."""
    slot_at: float | None = None
    """When the slot that was taken begins, on the loop's clock; only where the relay has a pace."""

    async def go(self, lines: Sequence[asyncio.Task[None]]) -> None:
        """Until all is told and nothing is due."""
        work, loop = self.work, asyncio.get_running_loop()
        since, told = loop.time(), 0
        while True:
            room = await self._room()
            if not work.answers and not room:
                gone = all(line.done() for line in lines)
                if gone or (not work.flying and (work.over or (self.drained and not work.permitted))):
                    break
                await self._doze(0.25)
                continue
            await self._round(room)
            if (passed := loop.time() - since) > WINDOW_SECONDS:
                rate = (work.accepted - told) / passed
                self.rate = (self.rate + rate) / 2 if self.rate else rate
                since, told = loop.time(), work.accepted
            work.enough = self._window // 2
            if not work.idle and len(work.permitted) > work.enough:  # let many mails share the next commit
                await self._doze(WINDOW_SECONDS / 2)

    async def end(self) -> None:
        """Once no connection is left: write down what is known, and give back what was claimed and will not begin."""
        self.work.answers += [Answer(claimed, None) for claimed, _ in self.work.permitted]
        self.work.permitted.clear()
        if self.work.answers:
            await self._round(0)

    @property
    def _window(self) -> int:
        each = PER_CONNECTION if self.work.accepted else 1  # a relay that takes nothing is tried with as few as can be
        return max(each * self.work.connected, int(self.rate * WINDOW_SECONDS))

    async def _room(self) -> int:
        """How many mails may be claimed now: by connections that are open, and by the pace of the relay."""
        work = self.work
        if work.over or self.drained or not work.connected:
            return 0
        room = max(0, self._window - len(work.permitted) - len(work.flying))
        if work.per_minute is None or not room:
            return room
        if not work.idle or work.permitted:  # a slot is for a mail that leaves in it: none is claimed to wait for a connection
            return 0
        if self.slot_at is None:
            taken = partial(relays.take_slot, relay_id=work.relay_id, per_minute=work.per_minute, now=clock.now().timestamp())
            try:
                self.slot_at = asyncio.get_running_loop().time() + await self._in_thread(taken)
            except _AWAY:
                await asyncio.sleep(SETTLE_PAUSES[0])
                return 0
        return int(asyncio.get_running_loop().time() >= self.slot_at)

    async def _doze(self, seconds: float) -> None:
        """Until somebody has something to say, or so long."""
        if self.slot_at is not None and (left := self.slot_at - asyncio.get_running_loop().time()) > 0:
            seconds = min(seconds, left)
        try:
            await asyncio.wait_for(self.work.wake.wait(), seconds)
        except TimeoutError:
            return
        self.work.wake.clear()

    async def _round(self, room: int) -> None:
        work, (answers, self.work.answers) = self.work, (self.work.answers, [])
        held: list[int] | None = None
        for pause in (*SETTLE_PAUSES, None):
            try:
                since = clock.now()
                got = await self._in_thread(partial(_write_down_and_claim, work=work, answers=answers, limit=room, held=held))
                break
            except _AWAY:
                # After a failed commit nobody knows what was kept: the fence makes it safe to say it again, and what was
                # claimed by it and is not in our hands goes back. New claims wait.
                told_since = (answer.claimed for answer in work.answers)
                in_hand = (*(claimed for claimed, _ in work.permitted), *work.flying.values(), *told_since)
                room, held = 0, [claimed.id for claimed in in_hand]
                if pause is None:
                    work.answers = answers + work.answers
                    raise
                log.warning("answers_wait_for_the_database", send_id=work.send_id, answers=len(answers))
                await asyncio.sleep(pause)
        for answer in answers:
            work.flight.forget(answer.claimed.id)
            work.accepted += answer.is_accepted
        work.resting = work.resting or got.rests
        if room:
            self.slot_at, self.drained = None, not got.claimed
        work.permitted.extend((claimed, since) for claimed in got.claimed)
        if work.permitted:
            idle, work.idle = work.idle, []
            for exchange in idle:
                exchange.go_on()  # or it rests again

    async def _in_thread(self, deed: Callable[[Session], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self.thread, partial(_in_transaction, self.work, deed))


@dataclass(frozen=True)
class _Told:
    """What a round brought: mails that may leave, and whether the relay must rest. Believed once it is committed."""

    claimed: list[Claimed]
    rests: bool


def _write_down_and_claim(
    session: Session, *, work: Drain, answers: Sequence[Answer], limit: int, held: Sequence[int] | None
) -> _Told:
    """Write down what was answered, give back what did not begin, and claim. ``held``: all that this run still has in its hands,
    where the ledger may believe that it has more."""
    rests = _write_down(session, work, answers) or work.resting
    unbegun = [answer.claimed.id for answer in answers if answer.reply is None and answer.fault is None]
    if held is not None:
        deliveries.release(session, work.token, Delivery.id.not_in(held))
    elif unbegun:
        deliveries.release(session, work.token, Delivery.id.in_(unbegun))
    if not limit or rests:
        return _Told([], rests)
    statement = sa.select(Send.state).where(Send.id == work.send_id)
    if session.scalar(statement.with_for_update(read=True)) is not SendState.SENDING or work.over:
        return _Told([], rests)
    limit = relays.take_allowance(session, work.relay_id, work.way.address, limit)
    if not limit:
        return _Told([], True)
    claimed = deliveries.claim(session, work.due, work.token, limit, work.way.lease)
    if any(one.contact_id not in work.values for one in claimed):
        ahead = deliveries.next_people(session, work.send_id, READ_AHEAD)
        people = [*((one.contact_id, one.language) for one in claimed), *ahead]
        work.values.update(fields.values_of(session, people))
    return _Told(claimed, False)


def _build(work: Drain, claimed: Claimed) -> bytes:
    values = work.values.pop(claimed.contact_id)
    unsubscribe = links.unsubscribe_url(work.way.settings, work.keys, claimed.id)
    envelope = Envelope(
        to_name=values.get("nombre_completo", ""),
        to_address=claimed.address,
        message_id=links.message_id(work.keys, claimed.id, work.sender.domain),
        unsubscribe=unsubscribe,
        feedback=work.feedback,
        date=clock.now(),
    )
    mail = build(work.compiled[claimed.language], {**values, "enlace_baja": unsubscribe}, envelope, work.sender)
    return signing.signed(mail, work.sender.domain, work.signers)


def _write_down(session: Session, work: Drain, answers: Sequence[Answer]) -> bool:
    """Settle what was answered; whether the relay must rest for it."""
    accepted = [(answer.claimed.id, answer.reply) for answer in answers if answer.is_accepted and answer.reply]
    if accepted and not deliveries.settle_accepted(session, accepted, work.token):
        log.warning("deliveries_fenced", send_id=work.send_id)
    troubles = [trouble for answer in answers if (trouble := _settled(session, work, answer)) is not None]
    if troubles:
        if not work.resting:  # what four connections meet at once is one trouble, not four
            _note_trouble(session, work, troubles[0])
        return True
    if accepted and (now := clock.now().timestamp()) - work.praised_at > 1:
        relays.note_success(session, work.relay_id)
        work.praised_at = now
    return False


def _settled(session: Session, work: Drain, answer: Answer) -> str | None:
    """Settle an answer other than yes; returns what trouble of the relay it tells, if any. One that cannot be written must not
    take the others with it: what left is in doubt, the rest goes back."""
    if answer.is_accepted or (answer.reply is None and answer.fault is None):
        return None
    try:
        with session.begin_nested():
            return _settle(session, work, answer)
    except _AWAY:
        raise
    except Exception as error:
        log.error("answer_not_written", delivery_id=answer.claimed.id, error=type(error).__name__)
        has_left = answer.reply is not None and answer.reply.step is Step.MESSAGE
        deliveries.leave_open(session, answer.claimed.id, work.token, in_doubt=has_left)
        return None


def _settle(session: Session, work: Drain, answer: Answer) -> str | None:
    if answer.fault is not None or answer.reply is None:
        deliveries.fail(session, answer.claimed.id, work.token, answer.fault or "not_buildable")
        return None
    judged = judge(answer.reply)
    if not deliveries.settle(session, answer.claimed, Settled(answer.claimed.id, answer.reply, judged), work.token):
        log.warning("delivery_fenced", delivery_id=answer.claimed.id)
    if judged.verdict is Verdict.HARD:
        _watch_hard_bounces(session, work)
    if judged.verdict is Verdict.IN_DOUBT:
        _watch_doubts(session, work)
        return "relay_unclear"
    same_again = judged.verdict is Verdict.BLOCK and answer.claimed.reason == judged.reason
    # One mail that is refused again tells nothing new of the relay.
    return judged.reason if judged.verdict in _TROUBLES_OF_THE_RELAY and not same_again else None


def _watch_doubts(session: Session, work: Drain) -> None:
    """A relay that swallows its answers now and then never fails five times in a row, and puts a whole list in doubt."""
    counted = deliveries.counts(session, work.send_id)
    ended = counted.sent + counted.failed + counted.in_doubt
    if counted.in_doubt > DOUBT_LIMIT and counted.in_doubt > ended * DOUBT_SHARE:
        sends.pause_if_sending(session, work.send_id, "relay_unclear")


def _watch_hard_bounces(session: Session, work: Drain) -> None:
    ended, hard = deliveries.hard_bounces(session, work.send_id)
    if ended <= HARD_SAMPLE and hard > HARD_LIMIT:
        sends.pause_if_sending(session, work.send_id, "hard_bounces")


def _note_trouble(session: Session, work: Drain, reason: str) -> None:
    """The relay rests and this run ends; after five troubles in a row the send pauses and says why."""
    troubles = relays.note_trouble(session, work.relay_id, clock.now())
    log.warning("relay_trouble", send_id=work.send_id, reason=reason, in_a_row=troubles)
    if troubles >= relays.TROUBLES_THAT_PAUSE:
        sends.pause_if_sending(session, work.send_id, reason)


async def send_one(address: RelayAddress, sender: SenderLine, to_address: str, content: bytes) -> Judgement:
    """Hand over one mail outside the ledger (a test to an account) and say what became of it."""
    return judge(await smtp.hand_over(address, sender.mailbox, to_address, content))
