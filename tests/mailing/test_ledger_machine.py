"""The promises of the ledger under any order of events (hypothesis, stateful): two workers that claim, begin, hear answers clear
and strange, die with their flight recorder or without it; leases that run out, late answers, commits of which nobody hears, people
who leave, staff who pause, cancel and decide, a clock that jumps.

Everything here is the product's own but the mail server, which is a list of what it took and what may still reach it.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
import time_machine
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy.orm import Session

from crm import clock
from crm.config import Settings
from crm.database import Database, keys_of
from crm.errors import CrmError
from crm.keys import load_keys
from crm.mailing import decisions, deliveries, flight, links, rounds, sending, sends
from crm.mailing.decisions import Decision
from crm.mailing.drain import Drain, Mail
from crm.mailing.faults import Reply, Step, Verdict, judge
from crm.mailing.models import Delivery, DeliveryState, Send, SendState
from crm.mailing.rounds import Rounds
from crm.people import consent, contacts
from crm.people.models import Contact, SuppressionReason
from crm.people.schemas import ContactPatch
from tests.conftest import ENGINE, Server
from tests.mailing.factories import begun, way
from tests.mailing.mail_server import MailServer
from tests.people.factories import address_of

EXAMPLES = int(os.environ.get("CRM_TEST_LEDGER_EXAMPLES", "16" if ENGINE == "sqlite" else "5"))
"""How many histories are tried, each of at most `STEPS` events."""
STEPS = 25
PEOPLE = 5
S = DeliveryState
ENDS = {S.SENT, S.SKIPPED, S.IN_DOUBT}
"""Ways in which mails have ended in the histories of a run."""
OPEN = (S.PENDING, S.DEFERRED)
BEGINNING = datetime(2026, 11, 22, 18, tzinfo=UTC)

TAKEN = Reply(Step.MESSAGE, 250, "2.0.0 queued")
STRANGE = st.sampled_from([Reply(Step.MESSAGE, 0), Reply(Step.MESSAGE, 299, "perhaps"), Reply(Step.MESSAGE, 354, "go on")])
"""After which nobody knows whether the server took it."""
REFUSED = st.sampled_from(
    [
        Reply(Step.MESSAGE, 451, "4.2.1 try later"),
        Reply(Step.MESSAGE, 452, "4.3.1 disk full"),
        Reply(Step.MESSAGE, 550, "5.7.1 by policy"),
        Reply(Step.MESSAGE, 552, "5.3.4 too large"),
    ]
)
"""After the content, which the server then does not keep."""
REFUSED_BEFORE = st.sampled_from(
    [
        Reply(Step.MAIL, 451, "4.3.0 not now"),
        Reply(Step.RCPT, 450, "4.2.1 come back"),
        Reply(Step.RCPT, 550, "5.1.1 no such user"),
        Reply(Step.RCPT, 0),
        Reply(Step.DATA, 421, "4.7.0 closing"),
        None,
    ]
)
"""Before a byte of the content left; None: the connection was closed with nobody to blame."""
JUMPS = st.sampled_from(
    [timedelta(seconds=5), timedelta(seconds=61), timedelta(minutes=16), timedelta(hours=5), timedelta(hours=80)]
)
WHICH = st.integers(0, 7)
MISHAPS = st.sampled_from(["", "", "", "before", "after"])
UNWRITTEN = ("hand over", "server keeps", "server answers", "kill", "time")
"""Events that the ledger does not know of yet."""


@dataclass(eq=False)
class Copy:
    """A content that left a worker under a claim, and may be kept by the server: what could reach the person."""

    mail: Mail
    token: str
    kept: bool = False

    @property
    def id(self) -> int:
        return self.mail.claimed.id


@dataclass(eq=False)
class Worker:
    """A process that hands over mails."""

    work: Drain
    in_air: list[Copy] = field(default_factory=list)

    @property
    def token(self) -> str:
        return self.work.token


def event(weight: int, when: Callable[[Any], bool], **drawn: Any) -> Callable[[Any], Any]:
    """Something that may happen, how often beside the others, and when it can."""

    def mark(deed: Any) -> Any:
        deed.told = (weight, when, drawn)
        return deed

    return mark


class Ledger(RuleBasedStateMachine):
    """One send to a few people, and all that may happen to it."""

    def __init__(self, made: Callable[[], Any], tried: Counter[str]) -> None:
        super().__init__()
        self.tried = tried
        self.stack = ExitStack()
        self.database, self.settings, self.send_id = self.stack.enter_context(made())
        self.clock = self.stack.enter_context(time_machine.travel(BEGINNING + timedelta(minutes=1), tick=False))
        self.pool = self.stack.enter_context(ThreadPoolExecutor(1))
        self.loop = self.stack.enter_context(asyncio.Runner())
        self.living: list[Worker] = []
        self.adrift: list[Copy] = []
        """Contents whose sender is gone or was refused an answer: the server may have them, now or later."""
        self.accepted: Counter[int] = Counter()
        self.again: Counter[int] = Counter()
        """How often a person asked for a mail to leave again."""
        self.gone: set[int] = set()
        """People who left."""
        self.rows: dict[int, sa.Row[Any]] = {}
        self.deed, self.by = "", ""
        self.is_sound = False

    def teardown(self) -> None:
        try:
            if self.is_sound:
                self._come_to_an_end()
        finally:
            for worker in self.living:
                worker.work.flight.close(keep=False)
            self.stack.close()

    @initialize()
    def begin_two_workers(self) -> None:
        for _ in range(2):
            self._begin_worker()
        self.rows = self._read()

    @rule(data=st.data())
    def happens(self, data: st.DataObject) -> None:
        """One rule for all: of many, hypothesis leaves most out of each history, and these promises are about the chains."""
        deeds = [deed for deed in vars(Ledger).values() if hasattr(deed, "told") and deed.told[1](self)]
        deed = data.draw(st.sampled_from([deed for deed in deeds for _ in range(deed.told[0])]))
        deed(self, **{name: data.draw(drawn) for name, drawn in deed.told[2].items()})

    # --- workers ------------------------------------------------------------------------------------------------------------

    def _begin_worker(self) -> None:
        work = sending._prepared(self.database, self.send_id, way(self.settings, MailServer()), lambda: False)
        if work is not None:
            work.connected = 1
            self.living.append(Worker(work))

    @event(
        5,
        lambda self: self._somewhere(*OPEN, S.SENDING, S.IN_DOUBT),
        deeds=st.lists(
            st.tuples(WHICH, st.integers(0, 3), REFUSED_BEFORE, MISHAPS, REFUSED, st.none() | STRANGE), min_size=1, max_size=8
        ),
    )
    def work_for_a_while(self, deeds: list[tuple[int, int, Reply | None, str, Reply, Reply | None]]) -> None:
        """One after the other: mails are claimed, leave and are answered."""
        self._begin_anew()
        for which, many, refused, mishap, refusal, strange in deeds:
            if not self.living:
                return
            worker = self.living[which % len(self.living)]
            if worker.in_air and many:
                self._hear(worker, which, None if many > 1 else strange or refusal)
            elif worker.work.permitted:
                self._hand_over(worker, refused, leaves=many > 0)
            else:
                self._round(worker, many, mishap)
            self.keeps_its_promises()

    def _begin_anew(self) -> None:
        """A run that the relay made rest has ended; when its rest is over others begin."""
        for worker in [one for one in self.living if one.work.over and not one.in_air]:
            self._stop(worker)
            self.keeps_its_promises()
        if len(self.living) < 2:
            self.clock.shift(timedelta(seconds=61))
        for _ in range(2 - len(self.living)):
            self._begin_worker()

    def _round(self, worker: Worker, many: int, mishap: str) -> None:
        """The answers are written down and mails are claimed; a commit may fail, or be kept though it seemed to fail."""
        self._tells("round", worker.token)
        with _mishap(mishap):
            self.loop.run(Rounds(worker.work, self.pool)._round(0 if worker.work.over else many))

    def _hand_over(self, worker: Worker, refused: Reply | None, *, leaves: bool) -> None:
        """A mail leaves, or is refused before its content does."""
        self._tells("hand over")
        mail = worker.work.take()
        if mail is None:
            return
        if leaves and worker.work.begun(mail):
            worker.in_air.append(Copy(mail, worker.token))
        else:
            worker.work.ended(mail, None if leaves else refused)

    def _hear(self, worker: Worker, which: int, answer: Reply | None) -> None:
        """What the server says of a content that left; None: it took it. What it took it does not refuse."""
        copy = worker.in_air.pop(which % len(worker.in_air))
        self._tells("server answers")
        if answer is None or (copy.kept and judge(answer).verdict is not Verdict.IN_DOUBT):
            answer = TAKEN
            if not copy.kept:
                self._keep(copy)
        elif judge(answer).verdict is Verdict.IN_DOUBT:
            self.adrift.append(copy)
        worker.work.ended(copy.mail, answer)

    @event(2, lambda self: self._copies, which=WHICH)
    def server_keeps(self, which: int) -> None:
        """The server takes a content, whether or not anybody is left to hear it."""
        copies = [copy for copy in self._copies if not copy.kept]
        if copies:
            self._tells("server keeps")
            self._keep(copies[which % len(copies)])

    def _keep(self, copy: Copy) -> None:
        copy.kept = True
        self.accepted[copy.id] += 1

    @event(2, lambda self: self._busy, which=WHICH, recorder=st.sampled_from(["kept", "kept", "lost", "of another boot"]))
    def kill(self, which: int, recorder: str) -> None:
        worker = self._busy[which % len(self._busy)]
        self.living.remove(worker)
        self._tells("kill")
        self.adrift += worker.in_air
        worker.work.flight.close(keep=True)
        if recorder == "lost":
            worker.work.flight.path.unlink()
        elif recorder == "of another boot":
            recorded = worker.work.flight.path.read_bytes()
            worker.work.flight.path.write_bytes(b"0" * 36 + recorded[36:])

    @event(1, lambda self: self._busy, which=WHICH)
    def stop(self, which: int) -> None:
        """SIGTERM, or the end of a run: what is in the air is cut off, the rest goes back."""
        self._stop(self._busy[which % len(self._busy)])

    def _stop(self, worker: Worker) -> None:
        self.living.remove(worker)
        self._tells("round", worker.token)
        self.adrift += worker.in_air
        for copy in worker.in_air:
            worker.work.ended(copy.mail, Reply(Step.MESSAGE, 0))
        worker.work.closing = True
        self.loop.run(Rounds(worker.work, self.pool).end())
        worker.work.flight.close(keep=bool(worker.work.answers))
        with self.database.session() as session:
            sends.finish_if_done(session, sends.get(session, self.send_id, lock=True))

    # --- the house ----------------------------------------------------------------------------------------------------------

    @event(2, lambda self: self._somewhere(*OPEN, S.SENDING, S.IN_DOUBT) or not self.rows)
    def tick(self) -> None:
        """What the worker's tick does, once a second (crm/jobs.py)."""
        self._tells("tick")
        self._recover()
        with self.database.session() as session:
            deliveries.expire(session)
            deliveries.sweep_cancelled(session)
            sends.finish_if_done(session, sends.get(session, self.send_id, lock=True))

    def _recover(self) -> None:
        for token, marks in flight.left_behind(self.settings.data_dir):
            if marks is not None:
                with self.database.session() as session:
                    deliveries.recover(session, token, marks)

    @event(1, lambda self: not self.living and self._somewhere(S.SENDING))
    def restart_alone(self) -> None:
        """A worker that knows that no other lives."""
        self._tells("tick")
        self._recover()
        with self.database.session() as session:
            deliveries.expire(session, everything=True)

    @event(2, lambda self: self._somewhere(S.SENDING))
    def leases_run_out(self) -> None:
        """While their holders live and may yet tell."""
        self.clock.shift(timedelta(minutes=16))
        self.tick()

    @event(1, lambda self: bool(self.rows), jump=JUMPS)
    def time_passes(self, jump: timedelta) -> None:
        self._tells("time")
        self.clock.shift(jump)

    # --- people -------------------------------------------------------------------------------------------------------------

    @event(
        1,
        lambda self: len(self.gone) < 2 and self._somewhere(S.SENDING, S.DEFERRED, S.IN_DOUBT),
        which=WHICH,
        how=st.sampled_from(["leaves", "is blocked", "has another address"]),
    )
    def person(self, which: int, how: str) -> None:
        row = list(self.rows.values())[which % PEOPLE]
        if row.contact_id in self.gone:
            return
        self._tells(how)
        self.gone.add(row.contact_id)
        with self.database.session() as session:
            if how == "leaves":
                today = clock.now().date()
                consent.suppress(session, row.address, SuppressionReason.UNSUBSCRIBED, happened_on=today, proof="Llamó")
            elif how == "is blocked":
                session.execute(sa.update(Contact).where(Contact.id == row.contact_id).values(blocked_at=clock.now()))
            else:
                patch = ContactPatch.model_validate({"emails": [address_of(900 + row.contact_id)]})
                contacts.change(session, row.contact_id, patch)

    @event(
        1,
        lambda self: self._somewhere(S.IN_DOUBT, S.SENT, S.SENDING, S.DEFERRED),
        deed=st.sampled_from(["pause", *["resume"] * 4, "cancel"]),
    )
    def staff(self, deed: str) -> None:
        self._tells(deed)
        with self.database.session() as session:
            try:
                if deed == "pause":
                    sends.pause(session, self.send_id)
                elif deed == "resume":
                    sends.resume(session, self.send_id, self.settings)
                else:
                    sends.cancel(session, self.send_id)
            except CrmError as refused:
                assert refused.code == "send_over"  # noqa: PT017

    @event(2, lambda self: self._somewhere(S.IN_DOUBT), which=WHICH, whole=st.booleans(), decision=st.sampled_from(Decision))
    def decide(self, which: int, whole: bool, decision: Decision) -> None:
        """A person settles what is in doubt, one mail or all."""
        ids = None if whole else [list(self.rows)[which % PEOPLE]]
        with self.database.session() as session:
            try:
                decisions.decide_doubt(session, self.send_id, decision, "Lo confirmó por teléfono", ids)
            except CrmError as refused:
                assert refused.code == "send_over"  # noqa: PT017
                return
        self._tells("decide")
        if decision is Decision.SEND_AGAIN:
            self.again.update(row.id for row in self.rows.values() if row.state is S.IN_DOUBT and (whole or row.id in (ids or ())))

    @event(1, lambda self: any(self.accepted[row.id] for row in self.rows.values() if row.state in (S.SENDING, S.IN_DOUBT)))
    def link_is_used(self) -> None:
        """Who has the personal link was sent the mail."""
        row = next(row for row in self.rows.values() if self.accepted[row.id] and row.state in (S.SENDING, S.IN_DOUBT))
        self._tells("link used")
        self.gone.add(row.contact_id)
        with self.database.session() as session:
            link = links.unsubscribe_url(self.settings, keys_of(session), row.id)
            links.leave(session, link.rpartition("/")[2])
            assert session.scalar(sa.select(Delivery.state).where(Delivery.id == row.id)) is S.SENT

    @event(1, lambda self: self._somewhere(S.FAILED))
    def try_again(self) -> None:
        self._tells("try again")
        with self.database.session() as session:
            if sends.get(session, self.send_id).state is not SendState.CANCELLED:
                decisions.try_again(session, self.send_id, "Ya hay lugar")

    # --- what is promised ---------------------------------------------------------------------------------------------------

    @invariant()
    def keeps_its_promises(self) -> None:
        if not self.rows:
            return
        self.is_sound = False
        if self.deed not in UNWRITTEN:
            self._check_what_is_written()
        for row in self.rows.values():
            self._is_true(row)
        self.deed, self.by, self.is_sound = "", "", True

    def _check_what_is_written(self) -> None:
        before, self.rows = self.rows, self._read()
        with self.database.session(write=False) as session:
            counted = deliveries.counts(session, self.send_id)
            state = session.scalar(sa.select(Send.state).where(Send.id == self.send_id))
        assert counted.total == len(self.rows) == PEOPLE
        for row in self.rows.values():
            _is_whole(row)
            self._moved_as_it_may(before[row.id], row)
        if state is SendState.CANCELLED:
            assert not any(row.state in OPEN for row in self.rows.values()), "open, though the send was cancelled"
        if state is SendState.DONE:
            assert not any(row.state in (*OPEN, S.SENDING) for row in self.rows.values()), "open in a send that ended: lost"

    def _is_true(self, row: sa.Row[Any]) -> None:
        could_arrive = self.accepted[row.id] + sum(copy.id == row.id and not copy.kept for copy in self._copies)
        assert could_arrive <= 1 + self.again[row.id], "twice, and nobody asked for it"
        if row.state is S.SENT:
            assert self.accepted[row.id] or row.reason == decisions.TAKEN_AS_SENT, "called sent, and no server has it"

    def _moved_as_it_may(self, old: sa.Row[Any], new: sa.Row[Any]) -> None:
        if old == new:
            return
        if self.deed == "round":
            came_back = old.state in OPEN and new.state is S.PENDING  # claimed by a commit that was lost, and given back
            assert self.by in (old.token, new.token) or new.state is S.SKIPPED or came_back, "moved by who did not hold it"
            assert old.token in (None, self.by), "a fence was passed"
        if new.state is S.SENDING and old.state is not S.SENDING:
            assert old.state in OPEN or old.token == self.by, "claimed though it was not open"
            assert new.contact_id not in self.gone, "claimed for who had left"
        if old.state is S.SENT:
            raise AssertionError("what the server accepted stays sent")
        if old.state is S.IN_DOUBT and new.state is not S.IN_DOUBT:
            assert self.deed in ("decide", "round", "tick", "link used"), f"left its doubt by: {self.deed}"
            if self.deed != "decide" and new.state is not S.SENT:
                copies = [copy for copy in self._copies if (copy.id, copy.token) == (old.id, old.token)]
                assert not copies, "open again, though it may have arrived"

    @property
    def _copies(self) -> list[Copy]:
        return [*self.adrift, *(copy for worker in self.living for copy in worker.in_air)]

    def _come_to_an_end(self) -> None:
        """With a server that is well again each one comes to an end: nobody is lost in silence."""
        self.keeps_its_promises()
        while self.living:
            self._stop(self.living[0])
        self.clock.shift(timedelta(minutes=16))  # the leases of the dead run out
        for _ in range(12):
            self.tick()
            self.keeps_its_promises()
            if self._send().state in sends.OVER:
                break
            if self._send().state is SendState.PAUSED:
                self.staff_resumes()
            self.clock.shift(timedelta(hours=25))
            self._begin_worker()
            for worker in list(self.living):
                self._tells("round", worker.token)
                self.loop.run(Rounds(worker.work, self.pool)._round(PEOPLE))
                self.keeps_its_promises()
                while (mail := worker.work.take()) is not None:
                    assert worker.work.begun(mail)
                    worker.in_air.append(Copy(mail, worker.token))
                    self._hear(worker, 0, None)
                self._stop(worker)
                self.keeps_its_promises()
        assert self._send().state in sends.OVER, "a send that never ends"
        for row in self.rows.values():
            self.tried[row.state.value] += 1
            assert row.state in (S.SENT, S.FAILED, S.SKIPPED, S.IN_DOUBT)

    def staff_resumes(self) -> None:
        with self.database.session() as session:
            sends.resume(session, self.send_id, self.settings)

    # --- looking ------------------------------------------------------------------------------------------------------------

    def _tells(self, deed: str, by: str = "") -> None:
        self.deed, self.by = deed, by
        self.tried[deed] += 1

    @property
    def _busy(self) -> list[Worker]:
        return [one for one in self.living if one.in_air or one.work.permitted or one.work.answers]

    def _somewhere(self, *states: DeliveryState) -> bool:
        return any(row.state in states for row in self.rows.values())

    def _send(self) -> Send:
        with self.database.session(write=False) as session:
            return sends.get(session, self.send_id)

    def _read(self) -> dict[int, sa.Row[Any]]:
        with self.database.session(write=False) as session:
            rows = session.execute(sa.select(*Delivery.__table__.c).where(Delivery.send_id == self.send_id).order_by(Delivery.id))
            return {row.id: row for row in rows}


def _is_whole(row: sa.Row[Any]) -> None:
    """A state and the columns that belong to it."""
    assert (row.lease_until is not None) == (row.state is S.SENDING)
    assert row.token is None or row.state in (S.SENDING, S.IN_DOUBT)
    assert row.token is not None or row.state is not S.SENDING
    assert row.attempts >= 0
    assert row.reason or row.state in (*OPEN, S.SENDING, S.SENT)
    assert row.settled_at is not None or row.state in (*OPEN, S.SENDING)


@contextmanager
def _mishap(when: str) -> Iterator[None]:
    """The next commit fails, or is kept and nobody hears of it; the product tries again at once."""
    if not when:
        yield
        return
    left = [1]

    def fail(_session: Session) -> None:
        if left:
            left.pop()
            raise sa.exc.OperationalError("COMMIT", None, Exception("the database went away"))

    name = f"{when}_commit"
    sa.event.listen(Session, name, fail)
    try:
        yield
    finally:
        sa.event.remove(Session, name, fail)


@pytest.fixture
def made(server: Server, template: str, worker: str, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Makes a send that has just begun, in a database of its own."""
    monkeypatch.setattr(rounds, "SETTLE_PAUSES", (0, 0))
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    keys, whole, name = load_keys(settings.data_dir), f"crm_ledger_begun_{worker}", f"crm_ledger_{worker}"
    database = Database(settings.model_copy(update={"database_url": server.create(whole, template)}), keys)
    with time_machine.travel(BEGINNING, tick=False), database.session() as session:
        send_id = begun(session, settings, PEOPLE).id
    database.dispose()
    copied = Database(settings.model_copy(update={"database_url": server.create(name, whole)}), keys)

    @contextmanager
    def make() -> Iterator[tuple[Database, Settings, int]]:
        server.drop(name)
        server.create(name, whole)  # under the same engine, which remembers its statements
        try:
            yield copied, settings, send_id
        finally:
            copied.dispose()

    yield make
    server.drop(name)
    server.drop(whole)


def test_keeps_its_promises_in_any_order_of_events(made: Any) -> None:
    tried: Counter[str] = Counter()
    phases = (Phase.explicit, Phase.generate)  # a history is told as it was met: to shorten it takes minutes
    tuned = {"deadline": None, "suppress_health_check": list(HealthCheck), "phases": phases}
    known = settings(max_examples=EXAMPLES, stateful_step_count=STEPS, **tuned)  # type: ignore[arg-type]  # each has its own
    for _ in range(10):  # what a few histories meet is chance: others follow until mails have ended in each of these ways
        run_state_machine_as_test(lambda: Ledger(made, tried), settings=known)  # type: ignore[arg-type]  # whatever makes one will do
        if set(tried) >= ENDS:
            break
    assert set(tried) >= ENDS, tried
