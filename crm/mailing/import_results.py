"""What an import leaves behind: a segment of its own, and the way back."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session

from crm import clock, history
from crm.database import Database
from crm.errors import Conflict, CrmError
from crm.history import Action, Actor, ActorKind, Change, Entry
from crm.mailing import segments
from crm.mailing.models import Delivery, DeliveryState, Segment
from crm.mailing.segment_rules import parse
from crm.people import imports, uploads
from crm.people.models import Consent, Contact, EmailAddress, Import, ImportRow, ImportState, RowStatus, Suppression, visible

log = structlog.get_logger(__name__)

UNDO_DAYS = 30
BATCH = 1_000


# --- its segment --------------------------------------------------------------------------------------------------------------


def segment_of(session: Session, import_id: int) -> Segment | None:
    """The segment of whom an import created or completed, if it is still as it was made."""
    return segments.of_rule(session, _rule(import_id))


def make_segment(session: Session, done: Import) -> Segment | None:
    """Save the people of an import as a segment, once; None when it changed nobody."""
    if not (done.counts.get(RowStatus.CREATED, 0) + done.counts.get(RowStatus.UPDATED, 0)):
        return None
    return segments.ensure(session, f"Importación {done.id}: {done.file_name}", _rule(done.id))


def people_in(session: Session, segment: Segment) -> int:
    """How many people are in the segment of an import now."""
    return segments.count(session, parse(segment.rule))


def _rule(import_id: int) -> dict[str, object]:
    return {"all": [{"field": "imported", "op": "in", "value": [import_id]}]}


# --- taking it in -------------------------------------------------------------------------------------------------------------


class _Stopped(Exception):
    """The worker was asked to stop between two batches."""


def carry_out(database: Database, import_id: int, stopped: Callable[[], bool]) -> None:
    """Take in the file of an import that was confirmed on a page, from where it stands; at the end make its segment and delete
    the file. Safe to run again after any crash: whole batches are kept.

    What forbids it for good is told on its page; when another worker has it, or the database is away, it is left as it is.
    """

    def go_on(_done: int) -> None:
        if stopped():
            raise _Stopped

    try:
        with database.session(write=False) as session:
            started = imports.get(session, import_id)
            body = uploads.body_of(session, started) if started.state is ImportState.RUNNING else b""
        if body:
            imports.run(database, import_id, body, actor=Actor(ActorKind.ACCOUNT, started.ordered_by_id), progress=go_on)
    except (_Stopped, sa.exc.OperationalError, sa.exc.InterfaceError):
        return  # it goes on when the worker, or the database, is back
    except Exception as error:  # whatever else it is, trying again every second would not mend it
        code = error.code if isinstance(error, CrmError) else "internal_error"
        if code == "import_running":
            return
        log.error("import_failed", import_id=import_id, code=code, error=type(error).__name__)
        with database.session() as session:
            uploads.fail(session, import_id, code)
    with database.session() as session:
        make_segment(session, imports.get(session, import_id))
        uploads.close(session, import_id)


# --- the way back -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Undoing:
    """What taking an import back does, in people."""

    removed: int
    """Created by it, and since then neither written to nor changed."""
    written: int
    """Created by it and written to since, or in a send: they stay."""
    changed: int
    """Created by it and changed since by somebody else, or left: they stay."""
    updated: int
    """Already there before it: what it added to them stays."""

    def to_json(self) -> dict[str, int]:
        return asdict(self)


def until(done: Import) -> datetime:
    """Up to when an import may be undone."""
    return (done.finished_at or done.started_at) + timedelta(days=UNDO_DAYS)


def may_undo(done: Import) -> bool:
    ended = done.state in (ImportState.DONE, ImportState.FAILED)
    return ended and done.undone_at is None and clock.now() < until(done) and bool(sum(done.counts.values()))


def foresee(session: Session, import_id: int) -> Undoing:
    """What undoing would do now."""
    written, changed = _is_in_a_send(), _is_changed(import_id)
    created = sa.select(
        sa.func.count(sa.case((sa.not_(sa.or_(written, changed)), 1))),
        sa.func.count(sa.case((written, 1))),
        sa.func.count(sa.case((sa.and_(changed, sa.not_(written)), 1))),
    ).where(Contact.import_id == import_id, visible())
    row = session.execute(created).one()
    return Undoing(*row, updated=_count_updated(session, import_id))


def count_written(session: Session, import_id: int) -> int:
    """Of the people whom an import created, how many a server has taken a mail for."""
    sent = sa.exists().where(Delivery.contact_id == Contact.id, Delivery.state.in_((DeliveryState.SENT, DeliveryState.IN_DOUBT)))
    return session.scalar(sa.select(sa.func.count()).select_from(Contact).where(Contact.import_id == import_id, sent)) or 0


def undo(session: Session, import_id: int) -> Undoing:
    """Take back the people whom an import created and nobody wrote to or changed since; their history stays. The segment of the
    import goes too, unless somebody is left in it or a campaign names it.

    Errors: import_not_found, import_not_done, import_undone, import_too_old.
    """
    done = imports.get(session, import_id)
    _check(done)
    told = foresee(session, import_id)
    mine = sa.select(Contact.id).where(Contact.import_id == import_id, visible(), ~_is_in_a_send(), ~_is_changed(import_id))
    ids = list(session.scalars(mine))
    for start in range(0, len(ids), BATCH):
        _remove(session, ids[start : start + BATCH], import_id)
    done.undone_at, done.undone = clock.now(), told.to_json()
    session.flush()
    segment = segment_of(session, import_id)
    if segment is not None and not people_in(session, segment):
        with suppress(Conflict):  # a campaign names it: what it was sent to must stay readable
            segments.remove(session, segment.id)
    return told


def _check(done: Import) -> None:
    if done.state not in (ImportState.DONE, ImportState.FAILED):
        raise Conflict("import_not_done")
    if done.undone_at is not None:
        raise Conflict("import_undone")
    if clock.now() >= until(done):
        raise Conflict("import_too_old", days=UNDO_DAYS)


def _remove(session: Session, ids: Sequence[int], import_id: int) -> None:
    """Delete people with all that is theirs; the log keeps what they were when they came in."""
    plain = {"import_id": [import_id, None]}
    history.record(session, [Entry(Action.REMOVE, "contact", number, "contact", number, plain=plain) for number in ids])
    session.execute(sa.delete(Contact).where(Contact.id.in_(ids)), execution_options={"synchronize_session": False})


def _is_in_a_send() -> sa.ColumnElement[bool]:
    return sa.exists().where(Delivery.contact_id == Contact.id).correlate(Contact)


def _is_changed(import_id: int) -> sa.ColumnElement[bool]:
    """Whether anything but the import itself touched a person: a change, a consent, an exclusion, another import."""
    why = imports.why(import_id)
    return sa.or_(
        sa.exists().where(Change.root == "contact", Change.root_id == Contact.id, sa.func.coalesce(Change.why, "") != why),
        sa.exists().where(Consent.contact_id == Contact.id, sa.func.coalesce(Consent.import_id, 0) != import_id),
        sa.exists().where(EmailAddress.contact_id == Contact.id, EmailAddress.suppression_hash == Suppression.address_hash),
        sa.exists().where(ImportRow.contact_id == Contact.id, ImportRow.import_id != import_id),
    )


def _count_updated(session: Session, import_id: int) -> int:
    """People who were there before the import and whom it completed."""
    rows = (
        sa.select(sa.func.count(sa.distinct(ImportRow.contact_id)))
        .join(Contact, Contact.id == ImportRow.contact_id)
        .where(ImportRow.import_id == import_id, ImportRow.status == RowStatus.UPDATED)
        .where(sa.func.coalesce(Contact.import_id, 0) != import_id)
    )
    return session.scalar(rows) or 0
