"""The talk of a run with the ledger: rounds that write down every answer and claim the next mails, in one commit each."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session

from crm import clock
from crm.mailing import deliveries, relays, sends
from crm.mailing.deliveries import Claimed, Settled
from crm.mailing.drain import Answer, Drain, in_transaction
from crm.mailing.faults import Reply, Step, Verdict, judge
from crm.mailing.models import Delivery, Send, SendState

log = structlog.get_logger(__name__)

SETTLE_PAUSES = (0.5, 1, 2, 5, 10, 20, 30)
"""Seconds between tries to write down what the server said, while the database is away."""
WINDOW_SECONDS = 0.1
"""What leaves in so long is claimed at once, and never less than `PER_CONNECTION`: that many are in doubt if we die."""
PER_CONNECTION = 2
"""One mail in flight and one envelope ahead."""
LOOK_SECONDS = 0.25
"""How long mails may wait for a connection before it is asked whether they may still leave."""
DOUBT_LIMIT, DOUBT_SHARE = 10, 0.05
"""More than so many mails in doubt, and more than such a share of those that ended: somebody must look before more leave."""
HARD_LIMIT, HARD_SAMPLE = 10, 200
"""More than 5 % of the first 200 mails at mailboxes that do not exist: the list is wrong, the send pauses itself."""

_TROUBLES_OF_THE_RELAY = {Verdict.SYSTEM, Verdict.BLOCK, Verdict.IN_DOUBT}
_AWAY = (sa.exc.OperationalError, sa.exc.InterfaceError)

_SENDS: sa.Table = Send.__table__  # type: ignore[assignment]  # a mapped class's table is one
_STATE = sa.select(_SENDS.c.state).where(_SENDS.c.id == sa.bindparam("number")).with_for_update(read=True)
"""Whoever pauses or cancels the send waits until the claim is committed, or the claim waits for them."""

T = TypeVar("T")


@dataclass
class Rounds:
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
        since, told = loop.time(), 0  # on a clock that stands still while the connections wait for the ledger
        while True:
            room = await self._room()
            if not work.answers and not room:
                gone = all(line.done() for line in lines)
                if gone or (not work.flying and (work.over or (self.drained and not work.permitted))):
                    break
                await self._doze(LOOK_SECONDS)
                if not work.permitted:
                    continue  # else somebody may have paused the send, and what waits must not leave
            await self._round(room)
            now = loop.time() - work.idle_for(loop.time())
            if not work.accepted:
                since = now  # how long the first answer takes tells nothing of the rate
            if (passed := now - since) > WINDOW_SECONDS / 4:
                rate = (work.accepted - told) / passed
                self.rate = min((self.rate + rate) / 2, 2 * self.rate) if self.rate else rate
                since, told = now, work.accepted
            work.enough = self._window // 2
            if not work.idle and self._can_wait:  # let many mails share the next commit
                await self._doze(WINDOW_SECONDS / 2)

    async def end(self) -> None:
        """Once no connection is left: write down what is known, and give back what was claimed and will not begin."""
        self.work.give_back()
        if self.work.answers:
            await self._round(0)

    @property
    def _can_wait(self) -> bool:
        """Whether enough may still be begun or, where the connections hold most of what may be claimed, little was answered: a slow
        server with many connections would else have a round for every few mails."""
        most_held = self._window <= 2 * PER_CONNECTION * self.work.connected
        return len(self.work.permitted) > self.work.enough or (most_held and len(self.work.answers) < self.work.enough)

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
        room = min(room, max(PER_CONNECTION * work.connected, self._window // 2))  # one half leaves while the other is claimed
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
                got = await self._in_thread(partial(write_down_and_claim, work=work, answers=answers, limit=room, held=held))
                break
            except _AWAY:
                # After a failed commit nobody knows what was kept: the fence makes it safe to say it again, and what was
                # claimed by it and is not in our hands goes back. New claims wait.
                told_since = (answer.claimed for answer in work.answers)
                in_hand = (*(mail.claimed for mail in work.permitted), *work.flying.values(), *told_since)
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
        if not got.goes_on:
            work.give_back()
        if room:
            self.slot_at, self.drained = None, not got.claimed
        elif any(answer.is_given_back for answer in answers if not answer.is_accepted):
            self.drained = False
        work.permit(got.claimed, since)
        if work.permitted:
            idle, work.idle = work.idle, []
            for exchange in idle:
                exchange.go_on()  # or it rests again

    async def _in_thread(self, deed: Callable[[Session], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self.thread, partial(in_transaction, self.work, deed))


@dataclass(frozen=True)
class Told:
    """What a round brought: mails that may leave, and whether the relay must rest. Believed once it is committed."""

    claimed: list[Claimed]
    rests: bool
    goes_on: bool = True
    """False: somebody paused or cancelled the send; nothing more may be begun."""


def write_down_and_claim(
    session: Session, *, work: Drain, answers: Sequence[Answer], limit: int, held: Sequence[int] | None
) -> Told:
    """Write down what was answered, give back what did not begin, and claim. ``held``: all that this run still has in its hands,
    where the ledger may believe that it has more."""
    others = [answer for answer in answers if not answer.is_accepted]
    accepted = [(answer.claimed.id, answer.reply) for answer in answers if answer.is_accepted and answer.reply]
    rests = _write_down(session, work, accepted, others) or work.resting
    unbegun = [answer.claimed.id for answer in others if answer.is_given_back]
    if held is not None:
        deliveries.release(session, work.token, Delivery.id.not_in(held))
    elif unbegun:
        deliveries.release(session, work.token, Delivery.id.in_(unbegun))
    if session.connection().scalar(_STATE, {"number": work.send_id}) != SendState.SENDING:
        return Told([], rests, goes_on=False)
    if not limit or rests or work.over:
        return Told([], rests)
    limit = relays.take_allowance(session, work.relay_id, work.way.address, limit)
    if not limit:
        return Told([], True)
    claimed = deliveries.claim(session, work.due, work.token, limit, work.way.lease, alone=work.claims_alone)
    return Told(claimed, False)


def _write_down(session: Session, work: Drain, accepted: Sequence[tuple[int, Reply]], others: Sequence[Answer]) -> bool:
    """Settle what was answered; whether the relay must rest for it."""
    if accepted and not deliveries.settle_accepted(session, accepted, work.token):
        log.warning("deliveries_fenced", send_id=work.send_id)
    troubles = [trouble for answer in others if (trouble := _settled(session, work, answer)) is not None]
    if troubles:
        if not work.resting:  # what four connections meet at once is one trouble, not four
            note_trouble(session, work, troubles[0])
        return True
    if accepted and (now := clock.now().timestamp()) - work.praised_at > 1:
        relays.note_success(session, work.relay_id)
        work.praised_at = now
    return False


def _settled(session: Session, work: Drain, answer: Answer) -> str | None:
    """Settle an answer other than yes; returns what trouble of the relay it tells, if any. One that cannot be written must not
    take the others with it: what left is in doubt, the rest goes back."""
    if answer.is_given_back:
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


def note_trouble(session: Session, work: Drain, reason: str) -> None:
    """The relay rests and this run ends; after five troubles in a row the send pauses and says why."""
    troubles = relays.note_trouble(session, work.relay_id, clock.now(), reason)
    log.warning("relay_trouble", send_id=work.send_id, reason=reason, in_a_row=troubles)
    if troubles >= relays.TROUBLES_THAT_PAUSE:
        sends.pause_if_sending(session, work.send_id, reason)
