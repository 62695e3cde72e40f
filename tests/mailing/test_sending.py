"""Sending through the ledger, against a real mail server: nobody twice, nobody lost, nobody blamed for the relay."""

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
import time_machine
from sqlalchemy.orm import Session

from crm import clock
from crm.config import Settings
from crm.database import Database
from crm.errors import Conflict, InvalidInput
from crm.mailing import campaigns, deliveries, relays, rounds, sends
from crm.mailing.deliveries import Settled
from crm.mailing.faults import Reply, Step, judge
from crm.mailing.models import Attempt, Delivery, DeliveryState, Relay, SendContent, SendMode, SendState
from crm.mailing.schemas import CampaignIn, SendIn, When
from crm.people import consent, contacts
from crm.people.models import Contact, EmailAddress, SuppressionReason
from crm.people.schemas import ContactPatch
from crm.people.suppression import reasons_of
from tests.bench import crowd
from tests.mailing.factories import NOW, begun, campaign, marker, move, network, states, way
from tests.mailing.mail_server import DROP, MailServer, running
from tests.people.factories import address_of

S = DeliveryState


def order(database: Database, settings: Settings, count: int) -> int:
    with database.session() as session:
        return begun(session, settings, count).id


def forgive(database: Database, settings: Settings) -> None:
    """As if the relay's rest were over."""
    with database.session() as session:
        session.execute(sa.update(Relay).values(resting_until=None))


def test_sends_to_each_person_their_own_mail_and_nobody_elses(database: Database, settings: Settings) -> None:
    """1,500 mails with a marker each, over connections that break, mails refused for a while and a run cut short."""
    count, dropped = 1500, set[str]()
    server = MailServer()

    def rude(address: str) -> str | None:
        number = int(re.findall(r"\d+", address)[0])
        if number % 200 == 7 and address not in dropped:
            dropped.add(address)
            return DROP if number % 400 == 7 else "421 4.7.0 too many mails on this connection"
        return None

    server.on_rcpt = rude
    send_id = order(database, settings, count)
    with running(server):
        move(database, send_id, way(settings, server), stop=lambda: len(server.accepted) > 400)
        for _ in range(30):
            forgive(database, settings)
            move(database, send_id, way(settings, server))
    with database.session(write=False) as session:
        assert states(session, send_id) == {S.SENT: count}
        assert sends.get(session, send_id).state is SendState.DONE
    assert len(dropped) == 8
    assert server.recipients == {address_of(number): 1 for number in range(count)}
    for accepted in server.accepted:
        own = marker(int(re.findall(r"\d+", accepted.recipient)[0]))
        mail = accepted.mail
        seen = [mail["subject"], mail["to"], accepted.text("plain"), accepted.text("html")]
        for text in seen:
            assert set(re.findall(r"Marca\d{5}x", str(text))) == {own}
    links = {str(accepted.mail["list-unsubscribe"]) for accepted in server.accepted}
    assert len(links) == len({accepted.mail["message-id"] for accepted in server.accepted}) == count


def test_sends_nobody_twice_with_two_workers_at_once(database: Database, settings: Settings) -> None:
    send_id = order(database, settings, 120)
    with running() as server, ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(move, database, send_id, way(settings, server)) for _ in range(2)]
        accepted = sum(run.result() for run in runs)
    assert accepted == 120
    assert set(server.recipients.values()) == {1}
    assert len(server.recipients) == 120


def test_judges_each_refusal_and_accounts_for_everyone(database: Database, settings: Settings) -> None:
    answers = {
        address_of(1): "550 5.1.1 no such user",
        address_of(2): "452 4.2.2 mailbox full",
        address_of(3): "550 5.7.1 not by our rules",
        address_of(4): "552 5.2.3 too large for this mailbox",
    }
    send_id = order(database, settings, 10)
    with running(MailServer(on_rcpt=answers.get, on_data=lambda address: DROP if address == address_of(5) else None)) as server:
        for hours in (0, 0.01, 0.1, 0.4, 2, 7, 32):
            with time_machine.travel(clock.now() + timedelta(hours=hours)):
                forgive(database, settings)
                move(database, send_id, way(settings, server))
    with database.session(write=False) as session:
        rows = session.scalars(sa.select(Delivery).where(Delivery.send_id == send_id)).all()
        by_address = {row.address: (row.state, row.reason) for row in rows}
        assert by_address[address_of(1)] == (S.FAILED, "mailbox_unknown")
        assert by_address[address_of(2)] == (S.DEFERRED, "mailbox_full")
        assert by_address[address_of(3)] == (S.FAILED, "policy")
        assert by_address[address_of(4)] == (S.FAILED, "too_large")
        assert by_address[address_of(5)] == (S.IN_DOUBT, "no_clear_answer")
        counts = deliveries.counts(session, send_id)
        assert (counts.sent, counts.failed, counts.deferred, counts.in_doubt, counts.total) == (5, 3, 1, 1, 10)
        assert sends.get(session, send_id).state is SendState.SENDING
        judged = {row.address for row in rows if row.address_hash and reasons_of(session, [row.address_hash])}
        assert judged == {address_of(1)}
    assert set(server.recipients.values()) == {1}


def test_counts_no_trouble_of_the_relay_towards_the_72_hours_of_a_mailbox(database: Database, settings: Settings) -> None:
    send_id = order(database, settings, 1)
    with running(MailServer(on_mail=lambda _: "451 4.3.0 disk full")) as server:
        move(database, send_id, way(settings, server))
        with time_machine.travel(clock.now() + timedelta(hours=80)):
            forgive(database, settings)
            server.on_mail = lambda _: None
            server.on_rcpt = lambda _: "450 4.7.1 greylisted"
            move(database, send_id, way(settings, server))
            with database.session(write=False) as session:
                assert states(session, send_id) == {S.DEFERRED: 1}


def test_never_mixes_the_catcher_and_a_relay_in_one_send(database: Database, settings: Settings) -> None:
    real = settings.model_copy(update={"smtp_url": "smtp://127.0.0.1:2525?tls=none"})
    send_id = order(database, real, 3)
    with running() as server:
        assert move(database, send_id, way(settings, server)) == 0
        with database.session(write=False) as session:
            told = sends.to_out(session, sends.get(session, send_id))
            assert (told.state, told.reason, told.counts.sent) == (SendState.PAUSED, "relay_changed", 0)
        with database.session() as session:
            sends.resume(session, send_id, real)
        assert move(database, send_id, way(real, server)) == 3


def test_closes_what_an_answer_left_open_in_a_cancelled_send(database: Database, settings: Settings) -> None:
    send_id = order(database, settings, 2)
    with database.session() as session:
        sends.cancel(session, send_id)
        session.execute(sa.update(Delivery).values(state=S.DEFERRED))
        deliveries.sweep_cancelled(session)
        assert states(session, send_id) == {S.SKIPPED: 2}


def test_tries_a_full_mailbox_again_and_gives_up_after_72_hours(database: Database, settings: Settings) -> None:
    send_id = order(database, settings, 1)
    tries = 0
    with running(MailServer(on_rcpt=lambda _: "452 4.2.2 full")) as server:
        start = clock.now()
        for hours in (0, 0.1, 0.4, 2, 7, 32, 58, 84, 120):
            with time_machine.travel(start + timedelta(hours=hours)):
                forgive(database, settings)
                move(database, send_id, way(settings, server))
                tries += 1
    with database.session(write=False) as session:
        delivery = session.scalars(sa.select(Delivery)).one()
        assert (delivery.state, delivery.reason) == (S.FAILED, "gave_up")
        assert 6 <= delivery.attempts < tries
        assert sends.get(session, send_id).state is SendState.DONE


def test_pauses_and_says_why_when_the_relay_is_not_there(database: Database, settings: Settings) -> None:
    send_id = order(database, settings, 3)
    with running() as server:
        gone = way(settings, server)
    for _ in range(relays.TROUBLES_THAT_PAUSE):
        forgive(database, settings)
        assert move(database, send_id, gone) == 0
    with database.session(write=False) as session:
        told = sends.to_out(session, sends.get(session, send_id))
        assert (told.state, told.reason) == (SendState.PAUSED, "relay_unreachable")
        assert told.sentence
        assert "servidor de correo" in told.sentence
        assert told.counts.pending == 3
    with running(server), database.session() as session:
        sends.resume(session, send_id, settings)
    with running(server):
        assert move(database, send_id, gone) == 3


def test_rests_after_a_trouble_of_the_relay(database: Database, settings: Settings) -> None:
    send_id = order(database, settings, 3)
    with running(MailServer(on_mail=lambda _: "451 4.3.0 disk full")) as server:
        assert move(database, send_id, way(settings, server)) == 0
        server.on_mail = lambda _: None
        assert move(database, send_id, way(settings, server)) == 0, "it rests"
        forgive(database, settings)
        assert move(database, send_id, way(settings, server)) == 3


def test_pauses_when_the_relay_takes_mails_and_never_answers(database: Database, settings: Settings) -> None:
    send_id = order(database, settings, 60)
    with running(MailServer(on_data=lambda _: DROP)) as server:
        for _ in range(2 * relays.TROUBLES_THAT_PAUSE):
            forgive(database, settings)
            move(database, send_id, way(settings, server))
    with database.session(write=False) as session:
        told = sends.to_out(session, sends.get(session, send_id))
        assert (told.state, told.reason) == (SendState.PAUSED, "relay_unclear")
        most = relays.TROUBLES_THAT_PAUSE * way(settings, server).lines
        assert relays.TROUBLES_THAT_PAUSE <= told.counts.in_doubt <= most, "at most one of each connection before a rest"
    assert set(server.recipients.values()) == {1}


def test_pauses_when_the_relay_blocks_what_it_had_put_off(database: Database, settings: Settings) -> None:
    send_id = order(database, settings, 30)
    with running(MailServer(on_rcpt=lambda _: "450 4.7.1 greylisted")) as server:
        move(database, send_id, way(settings, server))
        server.on_rcpt = lambda _: "550 5.7.1 your server is not welcome"
        with time_machine.travel(clock.now() + timedelta(minutes=6)):
            for _ in range(relays.TROUBLES_THAT_PAUSE):
                forgive(database, settings)
                move(database, send_id, way(settings, server))
            with database.session(write=False) as session:
                told = sends.to_out(session, sends.get(session, send_id))
                assert (told.state, told.reason) == (SendState.PAUSED, "policy")
                assert (told.counts.failed, told.counts.sent) == (0, 0), "nobody is blamed"


def test_pauses_a_send_to_a_list_of_mailboxes_that_do_not_exist(database: Database, settings: Settings) -> None:
    send_id = order(database, settings, 60)
    with running(MailServer(on_rcpt=lambda _: "550 5.1.1 unknown")) as server:
        move(database, send_id, way(settings, server))
    with database.session(write=False) as session:
        send = sends.get(session, send_id)
        assert (send.state, send.reason) == (SendState.PAUSED, "hard_bounces")
        assert deliveries.counts(session, send_id).failed < 25


def test_skips_at_the_claim_whoever_left_since(database: Database, settings: Settings) -> None:
    send_id = order(database, settings, 4)
    today = date(2026, 11, 22)
    with database.session() as session:
        consent.suppress(session, address_of(0), SuppressionReason.UNSUBSCRIBED, happened_on=today, proof="llamada")
        consent.suppress(session, address_of(1), SuppressionReason.COMPLAINED, happened_on=today, proof="oficio")
        session.execute(sa.update(Contact).where(Contact.given_names == marker(2)).values(blocked_at=clock.now()))
    with running() as server:
        assert move(database, send_id, way(settings, server)) == 1
    with database.session(write=False) as session:
        assert deliveries.skipped_by_reason(session, send_id) == {"unsubscribed": 1, "suppressed": 1, "blocked": 1}
        assert sends.get(session, send_id).state is SendState.DONE
    assert list(server.recipients) == [address_of(3)]


def test_pauses_resumes_and_cancels_each_twice(database: Database, settings: Settings) -> None:
    send_id = order(database, settings, 40)
    with running() as server:
        move(database, send_id, way(settings, server), stop=lambda: len(server.accepted) >= 10)
        with database.session() as session:
            assert [sends.pause(session, send_id).state for _ in range(2)] == [SendState.PAUSED] * 2
        gone = len(server.accepted)
        assert 10 <= gone < 40
        assert move(database, send_id, way(settings, server)) == 0
        with database.session() as session:
            assert [sends.resume(session, send_id, settings).state for _ in range(2)] == [SendState.SENDING] * 2
        move(database, send_id, way(settings, server), stop=lambda: len(server.accepted) >= gone + 5)
        with database.session() as session:
            assert [sends.cancel(session, send_id).state for _ in range(2)] == [SendState.CANCELLED] * 2
        assert move(database, send_id, way(settings, server)) == 0
    with database.session(write=False) as session:
        counts = deliveries.counts(session, send_id)
        assert counts.sent == len(server.accepted)
        assert counts.total == 40
        assert deliveries.skipped_by_reason(session, send_id) == {"cancelled": 40 - counts.sent}


def test_holds_a_send_that_grew_until_a_person_accepts(database: Database, settings: Settings) -> None:
    with database.session() as session:
        network(session, 3)
        send_id = sends.order(session, campaign(session).id, SendIn(when=NOW), settings).id
        network(session, 2, first=10)
    with database.session() as session:
        send = sends.start(session, send_id, settings)
        assert (send.state, send.reason, send.would_reach) == (SendState.HELD, "audience_grew", 5)
        assert sends.counts(session, send).total == 3
        assert states(session, send_id) == {}
        network(session, 1, first=20)
        send = sends.resume(session, send_id, settings)
        assert (send.state, send.would_reach) == (SendState.HELD, 6), "nobody saw the sixth"
        assert sends.resume(session, send_id, settings).state is SendState.SENDING
        assert deliveries.counts(session, send_id).pending == 6


def test_accepts_no_growth_unseen_when_a_held_send_is_resumed(database: Database, settings: Settings) -> None:
    with database.session() as session:
        network(session, 3)
        send_id = sends.order(session, campaign(session).id, SendIn(when=NOW), settings).id
        sends.pause(session, send_id)
        network(session, 4, first=10)
        send = sends.resume(session, send_id, settings)
        assert (send.state, send.reason, send.would_reach) == (SendState.HELD, "audience_grew", 7)
        assert sends.resume(session, send_id, settings, accepted_count=7).state is SendState.SENDING


def test_takes_a_second_order_at_the_same_time_for_a_slip(database: Database, settings: Settings) -> None:
    with database.session() as session:
        network(session, 2)
        written = campaign(session)
        first = sends.order(session, written.id, SendIn(when=NOW), settings)
        with pytest.raises(Conflict, match="already_ordered"):
            sends.order(session, written.id, SendIn(when=NOW), settings)
        tomorrow = When(mode=SendMode.AT, at=clock.now() + timedelta(days=1))
        sends.order(session, written.id, SendIn(when=tomorrow), settings)
        sends.cancel(session, first.id)
        sends.order(session, written.id, SendIn(when=NOW), settings)
        sends.order(session, written.id, SendIn(when=NOW, again=True), settings)


def test_takes_an_order_just_after_the_last_mail_for_a_slip(database: Database, settings: Settings) -> None:
    send_id = order(database, settings, 2)
    with running() as server:
        assert move(database, send_id, way(settings, server)) == 2
    with database.session() as session:
        sent = sends.get(session, send_id)
        assert sent.state is SendState.DONE
        with pytest.raises(Conflict, match="already_ordered"):
            sends.order(session, sent.campaign_id, SendIn(when=NOW), settings)


def test_refuses_to_send_what_was_changed_since_the_review(database: Database, settings: Settings) -> None:
    with database.session() as session:
        network(session, 1)
        written = campaign(session)
        seen = campaigns.review(session, written, settings).version
        told = campaigns.to_out(written).model_dump(include={"name", "template", "purpose", "audience", "variants"})
        told["variants"][0]["subject"] = "Otro asunto"
        campaigns.change(session, written.id, CampaignIn.model_validate(told), version=seen)
        with pytest.raises(Conflict, match="campaign_changed"):
            sends.order(session, written.id, SendIn(when=NOW, version=seen), settings)
        sends.order(session, written.id, SendIn(when=NOW, version=seen + 1), settings)


def test_leaves_nothing_open_when_a_send_is_cancelled_in_the_middle(database: Database, settings: Settings) -> None:
    send_id = order(database, settings, 8)

    def cancel_and_refuse(_address: str) -> str:
        with database.session() as session:
            sends.cancel(session, send_id)
        return "451 4.3.0 out of order"

    with running(MailServer(on_rcpt=cancel_and_refuse)) as server:
        move(database, send_id, way(settings, server))
    with database.session(write=False) as session:
        assert sends.get(session, send_id).state is SendState.CANCELLED
        assert states(session, send_id) == {S.SKIPPED: 8}
        assert deliveries.skipped_by_reason(session, send_id) == {"cancelled": 8}


def test_writes_down_every_answer_though_the_database_goes_away(database: Database, settings: Settings) -> None:
    """The database refuses four times to keep an answer, as one that is locked or restarts does, then works again."""
    send_id, failures = order(database, settings, 20), [1, 2, 3, 4]

    @sa.event.listens_for(database.engine, "before_cursor_execute")
    def go_away(_connection: Any, _cursor: Any, statement: str, *_told: Any) -> None:
        if failures and statement.startswith("INSERT INTO attempt"):
            failures.pop()
            raise sa.exc.OperationalError(statement, None, Exception("database is locked"))

    with running() as server:
        move(database, send_id, way(settings, server))
        move(database, send_id, way(settings, server))
    assert failures == []
    assert set(server.recipients.values()) == {1}
    with database.session(write=False) as session:
        assert states(session, send_id) == {S.SENT: 20}


def test_does_not_write_to_an_address_that_was_replaced(database: Database, settings: Settings) -> None:
    send_id = order(database, settings, 2)
    with database.session() as session:
        session.execute(sa.update(EmailAddress).where(EmailAddress.address == address_of(0)).values(retired_at=clock.now()))
        contact_id = session.scalars(sa.select(EmailAddress.contact_id).where(EmailAddress.address == address_of(0))).one()
        contacts.change(session, contact_id, ContactPatch(emails=["nueva@example.org"]), version=None)
    with running() as server:
        assert move(database, send_id, way(settings, server)) == 1
    with database.session(write=False) as session:
        assert deliveries.skipped_by_reason(session, send_id) == {"address_changed": 1}


def test_refuses_a_real_relay_with_links_that_nobody_could_open(session: Session, settings: Settings) -> None:
    network(session, 1)
    far = {"smtp_url": "smtp://relay.example.org:587", "mail_from": "Red <red@example.org>"}
    codes = [problem.code for problem in campaigns.review(session, campaign(session), settings.model_copy(update=far)).problems]
    assert codes[:2] == ["base_url_not_public", "sender_not_set"]
    good = far | {"base_url": "https://red.instituto.mx", "mail_from": "Red <red@instituto.mx>"}
    assert campaigns.review(session, campaign(session), settings.model_copy(update=good)).problems == []


def test_holds_a_send_that_is_an_hour_late(database: Database, settings: Settings) -> None:
    with database.session() as session:
        network(session, 1)
        send_id = sends.order(session, campaign(session).id, SendIn(when=NOW), settings).id
    for minutes, state in ((59, SendState.SENDING), (61, SendState.HELD)):
        with database.session() as session, time_machine.travel(clock.now() + timedelta(minutes=minutes)):
            send = sends.start(session, send_id, settings)
            assert send.state is state
            session.rollback()


def test_keeps_the_content_that_was_confirmed(database: Database, settings: Settings) -> None:
    with database.session() as session:
        send = begun(session, settings, 2)
        written = send.campaign.variants[0]
        written.blocks = [{"type": "text", "body": "Otro texto"}]
        send_id = send.id
    with running() as server:
        move(database, send_id, way(settings, server))
    assert all("Otro texto" not in accepted.text() for accepted in server.accepted)


def alter(session: Session, send_id: int) -> None:
    """Change a letter of what was confirmed, past every verb."""
    content = session.scalars(sa.select(SendContent).where(SendContent.send_id == send_id)).one()
    content.compiled = {**content.compiled, "subject": ["Otro asunto"]}


def test_holds_a_send_whose_content_is_not_what_was_confirmed(database: Database, settings: Settings) -> None:
    with database.session() as session:
        network(session, 2)
        held = sends.order(session, campaign(session).id, SendIn(when=NOW), settings)
        alter(session, held.id)
    with database.session() as session:
        held = sends.start(session, held.id, settings)
        assert (held.state, held.reason) == (SendState.HELD, "content_changed")
        assert "ya no es el confirmado" in (sends.to_out(session, held).sentence or "")
        assert deliveries.counts(session, held.id).pending == 0
    with database.session() as session:
        assert sends.resume(session, held.id, settings).state is SendState.HELD


def test_pauses_a_send_whose_content_changes_on_its_way(database: Database, settings: Settings) -> None:
    with database.session() as session:
        send = begun(session, settings, 2)
        alter(session, send.id)
    with running() as server:
        assert move(database, send.id, way(settings, server)) == 0
    assert server.accepted == []
    with database.session(write=False) as session:
        paused = sends.get(session, send.id)
        assert (paused.state, paused.reason) == (SendState.PAUSED, "content_changed")


def test_puts_in_doubt_what_nobody_finished_and_settles_it_by_proof(database: Database, settings: Settings) -> None:
    with database.session() as session:
        send = begun(session, settings, 3)
        lease = timedelta(seconds=60)
        due = deliveries.candidates(session, send, relay_is_local=True)
        claimed = deliveries.claim(session, due, "worker-1", 2, lease)
        send_id = send.id
    assert len(claimed) == 2
    with database.session() as session, time_machine.travel(clock.now() + lease * 2):
        assert deliveries.expire(session) == 2
        assert states(session, send_id) == {S.IN_DOUBT: 2, S.PENDING: 1}
    with database.session() as session:
        again = deliveries.claim(session, due, "worker-2", 5, lease)
        assert {one.id for one in again}.isdisjoint(one.id for one in claimed), "never sent again by itself"
        reply = Reply(Step.MESSAGE, 250, "2.0.0 ok")
        settled = Settled(claimed[0].id, reply, judge(reply))
        assert not deliveries.settle(session, claimed[0], settled, "worker-2"), "fenced"
        assert deliveries.settle(session, claimed[0], settled, "worker-1")
        assert states(session, send_id) == {S.SENT: 1, S.IN_DOUBT: 1, S.SENDING: 1}


def test_refuses_to_send_without_the_key_of_the_suppressions(database: Database, settings: Settings) -> None:
    with database.session() as session:
        consent.suppress(session, "x@example.org", SuppressionReason.UNSUBSCRIBED, happened_on=date(2026, 1, 1), proof="carta")
        network(session, 1)
        send_id = sends.order(session, campaign(session).id, SendIn(when=NOW), settings).id
        session.execute(sa.text("UPDATE suppression SET key_fingerprint = 'another'"))
    with database.session() as session:
        assert sends.start(session, send_id, settings).reason == "suppression_key_missing"


@pytest.mark.parametrize("limit", [2, 30, 120])
def test_never_lets_more_mails_leave_in_a_minute_than_told(database: Database, settings: Settings, limit: int) -> None:
    with database.session() as session:
        relay_id = relays.row_of(session, settings).id
        now, leaving = 1000.0, []
        for step in range(limit * 3):
            wait = relays.take_slot(session, relay_id, limit, now)
            leaving.append(now + wait)
            now += wait * 0.7 if step % 3 else wait
    for moment in leaving:
        assert sum(moment <= other < moment + 60 for other in leaving) <= limit
    whole = leaving[-1] - leaving[0]
    assert len(leaving) / whole * 60 >= limit - 1.5


def test_hands_over_no_more_in_a_day_and_an_hour_than_told_whoever_asks(database: Database, settings: Settings) -> None:
    far = settings.model_copy(update={"smtp_url": "smtp://127.0.0.1:25?tls=none&per_hour=3&per_day=8"})
    send_id, start = order(database, far, 12), clock.now()
    with running(MailServer(on_rcpt=lambda address: "550 5.1.1 unknown" if address == address_of(1) else None)) as server:
        limits = {"per_hour": 3, "per_day": 8}
        limited = replace(way(far, server), address=server.relay.model_copy(update=limits))
        handed = []
        for minutes in (0, 30, 61, 90, 125, 300, 24 * 60 + 5):
            with time_machine.travel(start + timedelta(minutes=minutes)), ThreadPoolExecutor(2) as pool:
                list(pool.map(lambda _: move(database, send_id, limited), range(2)))
                move(database, send_id, limited)  # the next tick: now nothing is in the air
                with database.session(write=False) as session:
                    until = relays.resting_until(session, far)
                    handed.append(session.scalar(sa.select(sa.func.count(Attempt.id))) or 0)
                    assert until is not None
                    assert until > clock.now()
    assert handed == [3, 3, 6, 6, 8, 8, 11]
    assert set(server.recipients.values()) == {1}


@pytest.mark.parametrize("told", ["0001-01-01T00:00:00+23:00", "9999-12-31T23:59:59-23:00", "2020-01-01T00:00:00Z"])
def test_refuses_an_hour_that_cannot_be_meant(session: Session, settings: Settings, told: str) -> None:
    network(session, 1)
    when = When.model_validate({"mode": "at", "at": told})
    with pytest.raises(InvalidInput, match="instant_"):
        sends.order(session, campaign(session).id, SendIn(when=when), settings)


def test_settles_hundreds_of_mails_without_comparing_each_with_all(database: Database, settings: Settings) -> None:
    """PostgreSQL once went through all of them for each row: 170 us a mail for 40. It guesses so only of a table of some size."""
    is_postgresql = settings.sqlalchemy_url.startswith("postgresql")
    with database.session() as session:
        send = crowd.begun(session, settings, 15_000 if is_postgresql else 600, 4096)
        due = deliveries.candidates(session, send, relay_is_local=True)
    plans: list[str] = []

    def explain(connection: Any, cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        if statement.startswith("UPDATE delivery"):
            cursor.execute(("EXPLAIN " if is_postgresql else "EXPLAIN QUERY PLAN ") + statement, parameters)
            plans.append("\n".join(str(line[-1]) for line in cursor.fetchall()))

    with database.session() as session:
        sa.event.listen(session.connection(), "before_cursor_execute", explain)
        claimed = deliveries.claim(session, due, "holder", 500, timedelta(minutes=15))
        told = [(one.id, Reply(Step.MESSAGE, 250, "2.0.0 ok")) for one in claimed]
        assert deliveries.settle_accepted(session, told, "holder")
    assert len(plans) == 2
    assert [plan for plan in plans if "Join Filter" in plan or "SCAN delivery" in plan] == []
    assert is_postgresql or all("SEARCH delivery USING INTEGER PRIMARY KEY" in plan for plan in plans)


@pytest.mark.once
def test_claims_no_more_at_once_after_the_database_was_away(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mails of the time in which the connections waited were once divided by a moment: a pause no longer held for a whole list."""
    before = 15
    with database.session() as session:
        send = begun(session, settings, 1200)
    asked: list[int] = []
    away = [True] * 2
    claim, write = deliveries.claim, rounds.write_down_and_claim

    def counting(session: Session, due: sa.TextClause, token: str, limit: int, lease: timedelta, *, alone: bool) -> Any:
        asked.append(limit)
        return claim(session, due, token, limit, lease, alone=alone)

    def failing(session: Session, **told: Any) -> Any:
        if len(asked) >= before and away:
            away.pop()
            raise sa.exc.OperationalError("", {}, Exception())
        return write(session, **told)

    monkeypatch.setattr(deliveries, "claim", counting)
    monkeypatch.setattr(rounds, "write_down_and_claim", failing)
    with running() as server:
        move(database, send.id, way(settings, server, connections=2))
    assert len(server.accepted) == 1200
    assert not away
    assert max(asked[before:]) <= 4 * max(asked[:before])
