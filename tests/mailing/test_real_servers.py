"""Whole sends into Postfix and Exim as Debian ships them: each person finds exactly their own mail in their box."""

import asyncio
import re

import pytest
import sqlalchemy as sa

from crm.config import Settings
from crm.database import Database
from crm.mailing import sending, smtp
from crm.mailing.drain import Way
from crm.mailing.exchange import Offers, Timeouts
from crm.mailing.models import Delivery, DeliveryState
from tests.mailing.factories import begun, marker, states
from tests.mailing.real_servers import SERVERS, RealServer, why_not
from tests.mailing.test_smtp import Given
from tests.people.factories import address_of

PEOPLE, UNKNOWN = 60, 17
USUAL = Timeouts(step=10, message=20)


def offers_of(server: RealServer) -> Offers:
    async def conversation() -> Offers:
        exchange = await smtp.connect(server.relay, Given([]), timeouts=USUAL)
        await exchange.leave()
        return exchange.offers

    return asyncio.run(conversation())


@pytest.mark.parametrize("program", SERVERS)
def test_each_person_gets_their_own_mail_from_a_real_server(database: Database, settings: Settings, program: str) -> None:
    if reason := why_not(program):
        pytest.skip(reason)
    addresses = {number: address_of(number) for number in range(PEOPLE)}
    known = [address for number, address in addresses.items() if number != UNKNOWN]
    with database.session() as session:
        send_id = begun(session, settings, PEOPLE).id
    with SERVERS[program](known) as server:
        assert offers_of(server).pipelining
        assert sending.drain(database, send_id, Way(settings, server.relay, timeouts=USUAL)) == len(known)
        delivered = server.delivered(len(known))
        assert sorted(delivered) == sorted(known), server.log[-2000:]
    for number, address in addresses.items():
        if number != UNKNOWN:
            [mail] = delivered[address]
            body = mail.get_body(("plain",))
            assert body is not None
            shown = [mail["subject"], mail["to"], body.get_content()]
            assert all(set(re.findall(r"Marca\d{5}x", str(text))) == {marker(number)} for text in shown)
            assert address in mail["to"]
    with database.session(write=False) as session:
        assert states(session, send_id) == {DeliveryState.SENT: PEOPLE - 1, DeliveryState.FAILED: 1}
        failed = session.scalars(sa.select(Delivery).where(Delivery.state == DeliveryState.FAILED)).one()
        assert (failed.address, failed.reason) == (addresses[UNKNOWN], "mailbox_unknown")
