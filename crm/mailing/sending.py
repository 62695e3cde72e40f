"""Draining a send: connections that hold the door open, claim what is due, hand it over and write down each answer.

The async room of the house: here one waits for servers, for a slot of the pace, for the ledger (in a thread of its own).
The order is the promise: an open, signed-in connection first, then a slot, then the claim (committed), then the content.
"""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import TypeVar

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session

from crm import clock
from crm.config import RelayAddress, Settings
from crm.database import Database, keys_of
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
"""Longer than two mails may take at every time-out: a living worker never loses what it holds."""
AHEAD = 2
"""Mails claimed per connection: one in flight, one behind it."""
READ_AHEAD = 200
"""People whose values are read at once."""
LOCAL_CONNECTIONS = 4
FAR_CONNECTIONS = 2
HARD_LIMIT, HARD_SAMPLE = 10, 200
"""More than 5 % of the first 200 mails at mailboxes that do not exist: the list is wrong, the send pauses itself."""

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
    token: str = field(default_factory=lambda: secrets.token_hex(16))
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
        relay = relays.row_of(session, way.settings)
        if relay.resting_until is not None and relay.resting_until > clock.now():
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
    await asyncio.gather(*(_keep_handing_over(work) for _ in range(way.connections)))
    with database.session() as session:
        sends.finish_if_done(session, sends.get(session, send_id, lock=True))
    return work.accepted


async def _keep_handing_over(work: Drain) -> None:
    """One connection's life, opened again while there is work and the relay is well."""
    while not work.over:
        if not await work.write(lambda session: _has_work(session, work.send_id)):
            return
        try:
            connection = await Connection.open(work.way.address, timeouts=work.way.timeouts)
        except ConnectionFailed as error:
            await _trouble(work, judge(error.reply))
            return
        try:
            if not await _hand_over_all(work, connection):
                return
        finally:
            await connection.leave()


def _has_work(session: Session, send_id: int) -> bool:
    send = session.get(Send, send_id)
    return send is not None and send.state is SendState.SENDING and deliveries.due(session, send_id)


async def _hand_over_all(work: Drain, connection: Connection) -> bool:
    """Hand over until nothing is due (False) or the connection closed (True: open another).

    Answers are written down in the transaction that claims the next mails: one commit for both.
    """
    answers: list[Answer] = []
    while connection.is_open and not work.over:
        await _wait_for_slot(work)
        mails = await work.write(partial(_write_down_and_claim, work=work, answers=answers))
        answers = []
        if not mails:
            return False
        answers = await _hand_over_each(work, connection, mails)
        if work.per_minute is not None or not all(answer.is_accepted for answer in answers):
            await work.write(partial(_write_down, work=work, answers=answers))
            answers = []
    if answers:
        await work.write(partial(_write_down, work=work, answers=answers))
    return not work.over


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


@dataclass(frozen=True)
class Answer:
    """What the server said of a mail; None: it was not begun, nothing of it left."""

    claimed: Claimed
    reply: Reply | None

    @property
    def is_accepted(self) -> bool:
        return self.reply is not None and judge(self.reply).verdict is Verdict.ACCEPTED


def _write_down_and_claim(session: Session, work: Drain, answers: list[Answer]) -> list[Mail]:
    """Write down the last answers, then claim and build the next mails: what is claimed can leave at once."""
    _write_down(session, work, answers)
    statement = sa.select(Send.state).where(Send.id == work.send_id)
    state = session.scalar(statement.with_for_update(read=True))
    if state is not SendState.SENDING or work.over:
        return []
    limit = 1 if work.per_minute else AHEAD
    claimed = deliveries.claim(session, work.due, work.token, limit, work.way.lease)
    if any(one.contact_id not in work.values for one in claimed):
        ahead = deliveries.next_people(session, work.send_id, READ_AHEAD)
        work.values.update(fields.values_of(session, [*((one.contact_id, one.language) for one in claimed), *ahead]))
    keys = keys_of(session)
    return [Mail(one, _build(work, one, keys)) for one in claimed]


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
    """Each mail in turn; what was not begun when the connection closed or the run ended has no answer."""
    answers = []
    for mail in mails:
        if not connection.is_open or work.over:
            answers.append(Answer(mail.claimed, None))
            continue
        try:
            reply = await connection.hand_over(work.sender.mailbox, mail.claimed.address, mail.content)
        except ConnectionFailed as error:
            reply = error.reply
        answers.append(Answer(mail.claimed, reply))
    return answers


def _write_down(session: Session, work: Drain, answers: list[Answer]) -> None:
    for answer in answers:
        if answer.reply is not None and not _settle(session, work, answer.claimed, _settled(answer.claimed, answer.reply)):
            log.warning("delivery_fenced", delivery_id=answer.claimed.id)
    deliveries.release(session, [answer.claimed.id for answer in answers if answer.reply is None], work.token)
    if any(answer.is_accepted for answer in answers):
        relays.note_success(session, work.relay_id)
        work.accepted += sum(answer.is_accepted for answer in answers)


def _settled(claimed: Claimed, reply: Reply) -> Settled:
    return Settled(claimed.id, reply, judge(reply))


def _settle(session: Session, work: Drain, claimed: Claimed, settled: Settled) -> bool:
    held = deliveries.settle(session, claimed, settled, work.token)
    verdict = settled.judgement.verdict
    if verdict is Verdict.SYSTEM or (verdict is Verdict.BLOCK and claimed.attempts == 1):
        # Another try of a mail that was refused by policy tells nothing new of the relay.
        _note_trouble(session, work, settled.judgement)
    elif verdict is Verdict.HARD:
        _watch_hard_bounces(session, work)
    return held


def _watch_hard_bounces(session: Session, work: Drain) -> None:
    ended, hard = deliveries.hard_bounces(session, work.send_id)
    if ended <= HARD_SAMPLE and hard > HARD_LIMIT:
        sends.pause(session, work.send_id, "hard_bounces")


def _note_trouble(session: Session, work: Drain, judgement: Judgement) -> None:
    """The relay rests and this run ends; after five troubles in a row the send pauses and says why.

    What four connections meet at once is one trouble, not four.
    """
    if work.resting:
        return
    work.resting = True
    troubles = relays.note_trouble(session, work.relay_id, clock.now())
    log.warning("relay_trouble", send_id=work.send_id, reason=judgement.reason, in_a_row=troubles)
    if troubles >= relays.TROUBLES_THAT_PAUSE:
        sends.pause(session, work.send_id, judgement.reason)


async def _trouble(work: Drain, judgement: Judgement) -> None:
    if not work.resting:
        await work.write(lambda session: _note_trouble(session, work, judgement))


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
