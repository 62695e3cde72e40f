"""Whole sends against a rude server that takes pipelined commands: what it kept and what the ledger says must agree."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Event
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm import clock
from crm.config import Settings
from crm.database import Database
from crm.mailing import deliveries, flight, sending, sends, smtp
from crm.mailing import drain as drain_module
from crm.mailing.drain import Way
from crm.mailing.exchange import Timeouts
from crm.mailing.faults import Reply, Step
from crm.mailing.models import Delivery, DeliveryState, Relay, SendState
from crm.mailing.rounds import PER_CONNECTION, write_down_and_claim
from crm.people import consent
from tests.mailing.factories import begun, states
from tests.mailing.rude_server import RudeServer, Talk, drop, in_pieces, keep_and_drop, reset, serving, silent

S = DeliveryState
QUICK, USUAL = Timeouts(step=1, message=1), Timeouts(step=20, message=20)
PEOPLE = 40


def order(database: Database, settings: Settings, count: int = PEOPLE) -> int:
    with database.session() as session:
        return begun(session, settings, count).id


def drain(database: Database, settings: Settings, send_id: int, server: RudeServer, timeouts: Timeouts = USUAL) -> None:
    """One run, which must end by itself."""
    until = time.monotonic() + 60
    sending.drain(database, send_id, Way(settings, server.relay, timeouts=timeouts), lambda: time.monotonic() > until)
    assert time.monotonic() < until, "the run did not end by itself"


def drain_until_quiet(database: Database, settings: Settings, send_id: int, server: RudeServer) -> dict[DeliveryState, int]:
    """Runs, the relay forgiven before each, until nothing moves; the states at the end."""
    before: Any = None
    for _ in range(12):
        with database.session() as session:
            session.execute(sa.update(Relay).values(resting_until=None, troubles=0))
            session.execute(sa.update(Delivery).values(due_at=clock.now()).where(Delivery.state == S.PENDING))
        drain(database, settings, send_id, server, QUICK)
        with database.session(write=False) as session:
            now = states(session, send_id)
        if now == before or set(now) <= {S.SENT, S.IN_DOUBT, S.FAILED}:
            break
        before = now
    return now


def sometimes(step: str, answer: Any) -> Callable[[str, Talk], Any]:
    """An answer at every fifth mail of a server, at one step."""
    count = [0]

    def at(now: str, _talk: Talk) -> Any:
        if now != step:
            return None
        count[0] += 1
        return answer if count[0] % 5 == 3 else None

    return at


RUDE = {
    "421 at MAIL": sometimes("mail", b"421 4.3.2 closing\r\n"),
    "421 at RCPT": sometimes("rcpt", b"421 4.3.2 closing\r\n"),
    "421 at DATA": sometimes("data", b"421 4.3.2 closing\r\n"),
    "421 after the dot": sometimes("dot", b"421 4.3.2 closing\r\n"),
    "421 glued to a yes": sometimes("rcpt", b"250 ok\r\n421 4.3.2 closing\r\n"),
    "421 glued to a 354": sometimes("data", b"354 go\r\n421 4.3.2 closing\r\n"),
    "drops at MAIL": sometimes("mail", drop),
    "drops at DATA": sometimes("data", drop),
    "resets at RCPT": sometimes("rcpt", reset),
    "drops after the dot": sometimes("dot", drop),
    "keeps and drops": sometimes("dot", keep_and_drop),
    "silent at RCPT": sometimes("rcpt", silent),
    "silent after the dot": sometimes("dot", silent),
    "garbage at MAIL": sometimes("mail", b"hello\r\n"),
    "a reply in pieces": sometimes("rcpt", in_pieces(b"250-one\r\n250 two\r\n")),
    "a reply too many": sometimes("rcpt", b"250 ok\r\n250 ok\r\n"),
    "299 after the dot": sometimes("dot", b"299 perhaps\r\n"),
    "refused, and DATA is taken": lambda step, _: (
        b"450 4.2.1 later\r\n" if step == "rcpt" else b"354 go\r\n" if step == "data" else None
    ),
    "one mail per connection": lambda step, talk: b"421 4.7.0 enough\r\n" if step == "mail" and talk.mails else None,
}


@pytest.mark.parametrize("pipelining", [True, pytest.param(False, marks=pytest.mark.once)])
@pytest.mark.parametrize("kind", RUDE)
def test_says_what_a_rude_server_really_did(database: Database, settings: Settings, kind: str, pipelining: bool) -> None:
    send_id = order(database, settings)
    with serving(RudeServer(RUDE[kind], pipelining=pipelining)) as server:
        now = drain_until_quiet(database, settings, send_id, server)
    assert sum(now.values()) == PEOPLE
    assert set(server.kept.values()) <= {1}, "nobody twice"
    assert 0 not in server.contents, "no empty mail"
    assert set(now) <= {S.SENT, S.IN_DOUBT, S.PENDING, S.DEFERRED}, "nobody is blamed"
    with database.session(write=False) as session:
        rows = session.execute(sa.select(Delivery.address, Delivery.state)).all()
    assert {row.address for row in rows if row.state is S.SENT} <= set(server.kept)
    told = {row.address for row in rows if row.state in (S.SENT, S.IN_DOUBT)}
    assert set(server.kept) <= told, "what was kept is sent or in doubt"
    assert list((settings.data_dir / flight.FOLDER).glob("*")) == []


def test_gives_up_at_once_when_the_door_closes_after_the_greeting(database: Database, settings: Settings) -> None:
    def greet_and_go(talk: Talk) -> None:
        talk.request.sendall(b"250 hello\r\n")
        raise EOFError

    with serving(RudeServer(lambda step, _: greet_and_go if step == "ehlo" else None)) as server:
        for _ in range(5):
            told = smtp.hand_over(server.relay, "red@example.org", "ana@example.org", b"x", timeouts=QUICK)
            assert asyncio.run(asyncio.wait_for(told, 5)).code == 0
        drain(database, settings, order(database, settings, 3), server)


@pytest.mark.parametrize("answers", [{"mail": b"451 4.3.0 no\r\n", "data": b"354 go\r\n"}, {"rcpt": b"252 perhaps\r\n"}])
def test_sends_no_lone_dot_that_would_reach_somebody(database: Database, settings: Settings, answers: dict[str, bytes]) -> None:
    send_id = order(database, settings, 5)
    with serving(RudeServer(lambda step, _: answers.get(step))) as server:
        drain(database, settings, send_id, server)
    assert server.contents == []
    assert not server.kept


def test_hangs_up_on_a_reply_that_never_ends() -> None:
    """Lines that each say that there are more, of sixteen bytes, so that what is read at once ends with one."""
    said, lines = [0], b"250-and a word\r\n" * 1024

    def go_on(talk: Talk) -> None:
        while said[0] < 2**26:
            talk.request.sendall(lines)
            said[0] += len(lines)

    with serving(RudeServer(lambda step, _: go_on if step == "mail" else None)) as server:
        reply = asyncio.run(smtp.hand_over(server.relay, "red@example.org", "ana@example.org", b"x", timeouts=USUAL))
    assert (reply.step, reply.code) == (Step.MAIL, 0)
    assert said[0] < 2**24, "what the system holds, and no more"


def test_waits_for_a_command_no_longer_than_for_a_command(database: Database, settings: Settings) -> None:
    """Silence at MAIL, just after the long wait for a content."""
    with serving(RudeServer(lambda step, talk: silent if step == "mail" and talk.mails else None)) as server:
        begun_at = time.monotonic()
        drain(database, settings, order(database, settings, 8), server, Timeouts(step=1, message=30))
    assert time.monotonic() - begun_at < 15
    assert set(server.kept.values()) == {1}


@pytest.mark.parametrize("spoilt", [{0}, {6}, {2, 3, PEOPLE - 1}, set(range(PEOPLE))], ids=str)
def test_mails_that_cannot_be_built_fail_alone(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch, spoilt: set[int]
) -> None:
    send_id, build, met = order(database, settings), drain_module._built, list[int]()

    def build_but_some(work: Any, mail: Any) -> list[bytes]:
        if mail.claimed.id not in met:
            met.append(mail.claimed.id)
        if met.index(mail.claimed.id) in spoilt:
            raise TypeError("a fault of ours")
        return build(work, mail)

    monkeypatch.setattr(drain_module, "_built", build_but_some)
    with serving(RudeServer()) as server:
        drain(database, settings, send_id, server)
    with database.session(write=False) as session:
        told = {S.SENT: PEOPLE - len(spoilt), S.FAILED: len(spoilt)}
        assert states(session, send_id) == {state: count for state, count in told.items() if count}


def test_what_waits_stays_when_a_send_is_paused(database: Database, settings: Settings) -> None:
    """A server that was quick has mails waiting for it; it becomes slow, and somebody pauses the send."""
    send_id, is_slow = order(database, settings, 600), Event()

    def at(step: str, talk: Talk) -> None:
        if step == "dot" and (is_slow.is_set() or sum(talk.server.kept.values()) >= 300):
            is_slow.set()
            time.sleep(0.5)

    with serving(RudeServer(at)) as server, ThreadPoolExecutor(1) as pool:
        running = pool.submit(drain, database, settings, send_id, server)
        assert is_slow.wait(30)
        with database.session() as session:
            sends.pause(session, send_id)
        paused_at, left = time.monotonic(), sum(server.kept.values())
        running.result()
        assert sum(server.kept.values()) - left <= 4 * PER_CONNECTION + 4  # what connections hold, and one answer more of each
        assert time.monotonic() - paused_at < 5
    with database.session(write=False) as session:
        assert states(session, send_id) == {S.SENT: sum(server.kept.values()), S.PENDING: 600 - sum(server.kept.values())}
    assert set(server.kept.values()) == {1}


def test_an_answer_that_cannot_be_written_takes_no_other_with_it(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    send_id = order(database, settings)

    def broken(*_told: Any, **_named: Any) -> None:
        raise ValueError("a fault of ours")

    monkeypatch.setattr(consent, "suppress", broken)
    with serving(RudeServer(sometimes("rcpt", b"550 5.1.1 no such user\r\n"))) as server:
        drain(database, settings, send_id, server)
    with database.session(write=False) as session:
        now = states(session, send_id)
        assert now[S.SENT] == len(server.kept)
        assert S.SENDING not in now


def test_what_is_in_doubt_stays_in_doubt_when_the_process_is_killed(database: Database, settings: Settings) -> None:
    """A strange answer after the dot, and the process gone before it is written down."""
    send_id = order(database, settings, 1)
    with serving(RudeServer()) as server:
        work = sending._prepared(database, send_id, Way(settings, server.relay), lambda: False)
        assert work is not None
        with database.session() as session:
            told = write_down_and_claim(session, work=work, answers=[], limit=1, held=None)
        work.permit(told.claimed, clock.now())
        mail = work.take()
        assert mail is not None
        assert work.begun(mail)
        mail.is_begun = True
        work.ended(mail, Reply(Step.MESSAGE, 299, "perhaps"))
        work.flight.close(keep=True)
    for token, marks in flight.left_behind(settings.data_dir):
        with database.session() as session:
            deliveries.recover(session, token, marks or {})
    with database.session(write=False) as session:
        assert states(session, send_id) == {S.IN_DOUBT: 1}


def test_a_trouble_is_noted_though_its_commit_failed(database: Database, settings: Settings) -> None:
    send_id, failures = order(database, settings, 5), [1]

    def fail_once(_session: Session) -> None:
        if failures and noted:
            failures.pop()
            raise sa.exc.OperationalError("COMMIT", None, Exception("database is locked"))

    noted: list[int] = []

    @sa.event.listens_for(database.engine, "before_cursor_execute")
    def see(_connection: Any, _cursor: Any, statement: str, *_told: Any) -> None:
        if statement.startswith("UPDATE relay SET troubles="):
            noted.append(1)

    sa.event.listen(database.engine, "commit", fail_once)
    with serving(RudeServer(lambda step, _: b"451 4.3.0 disk full\r\n" if step == "mail" else None)) as server:
        drain(database, settings, send_id, server)
    assert failures == []
    with database.session(write=False) as session:
        assert session.scalars(sa.select(Relay.troubles)).one() == 1


def test_pauses_a_send_of_which_much_is_in_doubt(database: Database, settings: Settings) -> None:
    send_id = order(database, settings, 80)
    with serving(RudeServer(lambda step, talk: keep_and_drop if step == "dot" and talk.mails % 2 else None)) as server:
        drain_until_quiet(database, settings, send_id, server)
    with database.session(write=False) as session:
        send = sends.get(session, send_id)
        assert (send.state, send.reason) == (SendState.PAUSED, "relay_unclear")
        assert deliveries.counts(session, send_id).in_doubt < 25
    assert set(server.kept.values()) == {1}


def test_a_mail_that_goes_back_when_nothing_else_was_due_leaves_in_the_same_run(database: Database, settings: Settings) -> None:
    """The server hangs up before the last mail, a while after the ledger said that it has no more."""
    said: list[Talk] = []

    def at(step: str, talk: Talk) -> bytes | None:
        if step != "mail" or talk.mails < 2 or said:
            return None
        said.append(talk)
        time.sleep(0.5)
        return b"421 4.3.2 enough\r\n"

    send_id = order(database, settings, 3)
    with serving(RudeServer(at)) as server:
        assert sending.drain(database, send_id, Way(settings, server.relay, timeouts=QUICK, connections=1)) == 3
    with database.session(write=False) as session:
        assert sends.get(session, send_id).state is SendState.DONE


def test_begins_nothing_whose_lease_would_end_first(database: Database, settings: Settings) -> None:
    send_id = order(database, settings, 3)
    with serving(RudeServer()) as server:
        too_short = Way(settings, server.relay, timeouts=Timeouts(step=1, message=5), lease=timedelta(seconds=3))
        until = time.monotonic() + 3
        sending.drain(database, send_id, too_short, lambda: time.monotonic() > until)
    assert not server.kept
    with database.session(write=False) as session:
        assert states(session, send_id) == {S.PENDING: 3}
