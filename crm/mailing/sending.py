"""Draining a send: connections that hold the door open, mails claimed just before they leave, and each answer written down.

The async room of the house: here one waits for servers, for a slot of the pace, for the ledger (in a thread of its own).
The order is the promise: an open, signed-in connection first, then a slot, then the claim (committed), then the content.
"""

import asyncio
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import structlog

from crm import clock
from crm.config import RelayAddress
from crm.database import Database, keys_of
from crm.errors import CrmError
from crm.mailing import deliveries, relays, sends, signing, smtp
from crm.mailing.drain import Drain, Way, in_transaction
from crm.mailing.faults import Judgement, judge
from crm.mailing.flight import Flight
from crm.mailing.models import SendState
from crm.mailing.rounds import Rounds, note_trouble
from crm.mailing.splicing import SenderLine
from crm.people.models import Purpose

log = structlog.get_logger(__name__)


def drain(database: Database, send_id: int, way: Way, should_stop: Callable[[], bool] = lambda: False) -> int:
    """Send what is due of one send; returns the mails accepted. Safe to run twice at once: the ledger decides."""
    return asyncio.run(run(database, send_id, way, should_stop))


async def run(database: Database, send_id: int, way: Way, should_stop: Callable[[], bool] = lambda: False) -> int:
    """`drain` in the loop that one is in."""
    work = _prepared(database, send_id, way, should_stop)
    if work is None:
        return 0
    known = False
    try:
        with ThreadPoolExecutor(1, thread_name_prefix="ledger") as thread:
            rounds = Rounds(work, thread)
            lines = [asyncio.create_task(_line(work)) for _ in range(way.lines)]
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
            claims_alone=send.purpose is Purpose.CONSENT_REQUEST,
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
                noted = partial(note_trouble, work=work, reason=judge(error.reply).reason)
                await asyncio.to_thread(in_transaction, work, noted)
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


async def send_one(address: RelayAddress, sender: SenderLine, to_address: str, content: bytes) -> Judgement:
    """Hand over one mail outside the ledger (a test to an account) and say what became of it."""
    return judge(await smtp.hand_over(address, sender.mailbox, to_address, content))
