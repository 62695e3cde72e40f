"""What happens with no one looking: the only module that knows the job engine (DBOS).

The house writes rows; the tick looks once a second at rows that are due and enqueues a job under the id
kind-row-generation. A finished id never runs twice (the engine returns the old result in silence), so whatever is due
again after its job ended gets a higher generation. Jobs take ids only and tell no errors to the engine's tables.
"""

import fcntl
import hashlib
import os
import secrets
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import sqlalchemy as sa
import structlog
from dbos import DBOS, SetEnqueueOptions, SetWorkflowID
from sqlalchemy.orm import Session

from crm import backup, clock, copies
from crm.backup import Backup
from crm.config import Settings
from crm.database import Database, insert_new, make_job_engine
from crm.errors import Conflict
from crm.mailing import deliveries, flight, import_results, joining, notices, outgoing, relays, sends
from crm.mailing.drain import Way
from crm.mailing.models import Notice, Send, SendState
from crm.mailing.models import Worker as WorkerRow
from crm.mailing.sending import drain
from crm.people import duplicates, imports, uploads
from crm.people.duplicate_models import Comparing
from crm.people.models import Import
from crm.staff import clients

log = structlog.get_logger(__name__)

TICK_SECONDS = 1.0
QUEUE = "sends"
SENDS_AT_ONCE = 4
PARTS_MOST = 16
"""Workers that move one send together."""
NOTICES = "notices"
"""A queue of their own: a notice does not wait for the sends that fill the other."""
BEAT = timedelta(seconds=10)
"""How often a worker says that it lives."""
DEAD_AFTER = timedelta(seconds=45)
"""A worker silent for so long is taken for dead, and its jobs go to the others."""
KEEP_FINISHED = timedelta(days=1)
"""How long the engine remembers a finished job."""
_FINISHED = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]


@dataclass
class Worker:
    """The engine of one process, from `work` to `stop`."""

    database: Database
    settings: Settings
    way: Way
    name: str = field(default_factory=lambda: f"{_machine()}-{os.getpid()}-{secrets.token_hex(4)}")
    """No two that live share it. Who starts under the name of a dead one takes up its jobs at once, else it takes 45 s."""
    stopping: threading.Event = field(default_factory=threading.Event)


_worker: list[Worker] = []
"""The worker of this process: the engine calls plain functions, which find it here."""


def only_name(data_dir: Path) -> str:
    """The name of the one worker that holds the lock file of a folder: the same after each crash."""
    return f"{_machine()}-{hashlib.sha256(str(data_dir.resolve()).encode()).hexdigest()[:12]}"


def _machine() -> str:
    return socket.gethostname()[:60]


@DBOS.workflow(name="move_send")
def move_send(send_id: int) -> None:
    """Start a send that is due and hand over what is due of it. Safe to run again after any crash: the ledger decides."""
    worker = _worker[0]
    try:
        with worker.database.session() as session:
            way = way_now(session, worker)
            sends.start(session, send_id, way.settings)
        accepted = drain(worker.database, send_id, way, worker.stopping.is_set)
        log.info("send_moved", send_id=send_id, accepted=accepted)
    except Exception as error:  # the engine would keep the error's text in its tables
        log.error("job_failed", job="move_send", send_id=send_id, error=type(error).__name__)


def way_now(session: Session, worker: Worker) -> Way:
    """How mails leave by what is told now; without a relay, to the catcher that this process began with."""
    told = outgoing.effective(session, worker.settings)
    return replace(worker.way, settings=told, address=told.relay or worker.way.address)


@DBOS.workflow(name="move_import")
def move_import(import_id: int) -> None:
    """Take in the rows of an import that were not taken in yet. Safe to run again after any crash: whole batches are kept."""
    worker = _worker[0]
    try:
        import_results.carry_out(worker.database, import_id, worker.stopping.is_set)
        log.info("import_moved", import_id=import_id)
    except Exception as error:  # the engine would keep the error's text in its tables
        log.error("job_failed", job="move_import", import_id=import_id, error=type(error).__name__)


@DBOS.workflow(name="compare_people")
def compare_people(_comparing_id: int) -> None:
    """Look for duplicates among everybody. Safe to run again after any crash: it begins anew."""
    worker = _worker[0]
    try:
        duplicates.carry_out(worker.database, worker.stopping.is_set)
        log.info("people_compared")
    except Exception as error:  # the engine would keep the error's text in its tables
        log.error("job_failed", job="compare_people", error=type(error).__name__)


@DBOS.workflow(name="move_notice")
def move_notice(notice_id: int) -> None:
    """Mail a notice to whoever ordered its send. Safe to run again after any crash: what was claimed never leaves twice."""
    worker = _worker[0]
    try:
        with worker.database.session(write=False) as session:
            way = way_now(session, worker)
        notices.deliver(worker.database, notice_id, way, worker.stopping.wait)
    except Exception as error:  # the engine would keep the error's text in its tables
        log.error("job_failed", job="move_notice", notice_id=notice_id, error=type(error).__name__)


@DBOS.workflow(name="move_backup")
def move_backup(backup_id: int) -> None:
    """Write a backup that somebody, or the day, asked for. Safe to run again: a file is whole or not there."""
    worker = _worker[0]
    try:
        backup.carry_out(worker.database, worker.settings, backup_id)
    except Exception as error:  # the engine would keep the error's text in its tables
        log.error("job_failed", job="move_backup", backup_id=backup_id, error=type(error).__name__)


@contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Hold a lock file for as long as the process lives; Conflict(already_running) if another holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict("already_running") from error
        yield


def work(worker: Worker) -> None:
    """Run the engine and the tick until `stopping` is set.

    On SQLite the caller holds the lock file: no other worker lives, so what the last one was handing over when it died is
    in doubt at once, without waiting for its lease.
    """
    copies.look(worker.database, worker.settings)  # before anything may leave, or be settled by what another life recorded
    _recover(worker)
    with worker.database.session() as session:
        if worker.settings.uses_sqlite:
            deliveries.expire(session, everything=True)
            session.execute(sa.delete(WorkerRow))
        beat(session, worker.name)
    _worker[:] = [worker]
    _launch(worker)
    try:
        _tick_until_stopped(worker)
    finally:
        DBOS.destroy(workflow_completion_timeout_sec=30)
        with worker.database.session() as session:
            session.execute(sa.delete(WorkerRow).where(WorkerRow.id == worker.name))


def stop_on_signals(worker: Worker) -> None:
    """SIGTERM and Ctrl+C let what is in flight end and give the rest back."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: worker.stopping.set())


def _launch(worker: Worker) -> None:
    settings = worker.settings
    url = f"sqlite:///{settings.data_dir.resolve() / 'jobs.db'}" if settings.uses_sqlite else settings.sqlalchemy_url
    DBOS(
        config={
            "name": "red-voto-chilango",
            "system_database_url": url,  # tells the kind of database
            "system_database_engine": make_job_engine(url),
            "executor_id": worker.name,
            "application_version": "1",
            "log_level": "CRITICAL",
            "enable_otlp": False,
        }
    )
    DBOS.launch()
    # The parts of one row are a partition, of which a worker runs one: so they spread over the workers.
    DBOS.register_queue(QUEUE, worker_concurrency=SENDS_AT_ONCE, partition_worker_concurrency=1, polling_interval_sec=0.5)
    DBOS.register_queue(NOTICES, worker_concurrency=1, partition_worker_concurrency=1, polling_interval_sec=1.0)


def _recover(worker: Worker) -> None:
    """Settle what the runs that are gone had in the air, by their flight recorders."""
    for token, marks in flight.left_behind(worker.settings.data_dir):
        if marks is not None:
            with worker.database.session() as session:
                deliveries.recover(session, token, marks)


def _tick_until_stopped(worker: Worker) -> None:
    next_tidying, next_beat = clock.now(), clock.now() + BEAT
    while not worker.stopping.is_set():
        try:
            if clock.now() >= next_beat:
                with worker.database.session() as session:
                    beat(session, worker.name)
                copies.look(worker.database, worker.settings)
                next_beat = clock.now() + BEAT
            tick(worker)
            if clock.now() >= next_tidying:
                tidy(worker.database)
                next_tidying = clock.now() + timedelta(hours=1)
        except Exception as error:  # a database that restarts must not end the worker
            log.error("tick_failed", error=type(error).__name__)
        worker.stopping.wait(TICK_SECONDS)


def tick(worker: Worker) -> None:
    """Look at the rows that are due and enqueue their jobs."""
    _recover(worker)
    with worker.database.session() as session:
        if expired := deliveries.expire(session):
            log.warning("leases_ran_out", deliveries=expired)
        rests = relays.resting_until(session, outgoing.effective(session, worker.settings)) is not None
        due = [*due_to_start(session), *([] if rests else deliveries.sends_with_due(session))]
        told = [] if rests else notices.due(session)
        lists = uploads.due(session)
        backups = backup.due(session)
        comparings = duplicates.due(session)
        parts = session.scalar(sa.select(sa.func.count()).select_from(WorkerRow)) or 1
        deliveries.sweep_cancelled(session)
        for send_id in _under_way(session):
            sends.finish_if_done(session, sends.get(session, send_id, lock=True))
    for send_id, generation in due:
        _enqueue(worker, _SENDS, send_id, generation, parts=min(parts, PARTS_MOST))
    for import_id, generation in lists:
        _enqueue(worker, _IMPORTS, import_id, generation)
    for comparing_id, generation in comparings:
        _enqueue(worker, _COMPARINGS, comparing_id, generation)
    for notice_id, generation in told:
        _enqueue(worker, _NOTICES, notice_id, generation)
    for backup_id, generation in backups:
        _enqueue(worker, _BACKUPS, backup_id, generation)


def due_to_start(session: Session) -> list[tuple[int, int]]:
    rows = session.execute(
        sa.select(Send.id, Send.generation).where(Send.state == SendState.SCHEDULED, Send.starts_at <= clock.now())
    )
    return [(row.id, row.generation) for row in rows]


def _under_way(session: Session) -> list[int]:
    return list(session.scalars(sa.select(Send.id).where(Send.state == SendState.SENDING)))


@dataclass(frozen=True)
class _Kind:
    """What a job is called, what it runs, and the table of the rows that it is for."""

    name: str
    run: Callable[[int], None]
    table: type[Send] | type[Import] | type[Notice] | type[Backup] | type[Comparing]
    queue: str = QUEUE


_SENDS = _Kind("send", move_send, Send)
_IMPORTS = _Kind("import", move_import, Import)
_COMPARINGS = _Kind("comparing", compare_people, Comparing)
_NOTICES = _Kind("notice", move_notice, Notice, NOTICES)
_BACKUPS = _Kind("backup", move_backup, Backup)


def _enqueue(worker: Worker, kind: _Kind, row_id: int, generation: int, *, parts: int = 1) -> None:
    """Enqueue the jobs of a row, once per generation and part; when all have ended and the row is still due, raise it.

    A part that has ended is not begun again while another runs, so that there are never more of them than workers."""
    ended = 0
    for part in range(parts):
        job = f"{kind.name}-{row_id}-{generation}-{part}"
        status = DBOS.get_workflow_status(job)
        if status is None:
            with SetWorkflowID(job), SetEnqueueOptions(queue_partition_key=f"{kind.name}-{row_id}"):
                DBOS.enqueue_workflow(kind.queue, kind.run, row_id)
        elif status.status == "PENDING" and _has_died(worker, status.executor_id):
            # If it lives after all, the ledger keeps the two apart.
            log.warning("job_taken_over", kind=kind.name, id=row_id)
            DBOS.cancel_workflow(job)
        ended += status is not None and status.status in _FINISHED
    if ended == parts:
        with worker.database.session() as session:
            table = kind.table
            session.execute(
                sa.update(table).where(table.id == row_id, table.generation == generation).values(generation=generation + 1)
            )


def _has_died(worker: Worker, name: str | None) -> bool:
    """Whether the worker of a name is silent."""
    with worker.database.session(write=False) as session:
        return not is_alive(session, name or "")


def beat(session: Session, name: str) -> None:
    """Say that a worker lives, and forget those that have been silent for a day."""
    insert_new(session, WorkerRow, [{"id": name, "seen_at": clock.now()}], unique=["id"])
    session.execute(sa.update(WorkerRow).where(WorkerRow.id == name).values(seen_at=clock.now()))
    session.execute(sa.delete(WorkerRow).where(WorkerRow.seen_at < clock.now() - KEEP_FINISHED))


def is_alive(session: Session, name: str) -> bool:
    """Whether a worker was heard of lately."""
    seen = session.scalar(sa.select(WorkerRow.seen_at).where(WorkerRow.id == name))
    return seen is not None and seen > clock.now() - DEAD_AFTER


def tidy(database: Database) -> None:
    """Once an hour: ask for the backup of the day, and delete what nobody needs any more: answers kept for API clients, files given
    up, and the memory of ended jobs."""
    with database.session() as session:
        clients.forget_answers(session)
        uploads.forget_old(session)
        imports.forget_rows(session)
        backup.ask_daily(session)
        joining.forget(session)
    _forget_finished()


def _forget_finished() -> None:
    """Delete the engine's memory of jobs that ended more than a day ago."""
    before = (clock.now() - KEEP_FINISHED).isoformat()
    ended = DBOS.list_workflows(status=_FINISHED, end_time=before, limit=1000, load_input=False, load_output=False)
    if ended:
        DBOS.delete_workflows([one.workflow_id for one in ended])
