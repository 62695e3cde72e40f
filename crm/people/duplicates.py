"""Duplicates: pairs of people who may be one, found whenever somebody comes in or changes, and by comparing everybody.

A pair that a person set aside stays so until what is known of the two says clearly more than it did then.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased, selectinload

from crm import clock, history
from crm.database import Database, insert_new, keyset_page
from crm.errors import Conflict, NotFound
from crm.history import Action, Entry
from crm.people import comparing
from crm.people.duplicate_models import Comparing, DuplicatePair, PairState
from crm.people.evidence import Grade, Match, Scales
from crm.people.models import Contact, visible

CLEARLY_MORE = 3.0
"""Bits more than when it was set aside: a pair is shown again."""
PIECE = 1_000
"""People of one transaction of the comparing of everybody."""
EVERY = timedelta(days=1)


# --- finding them -------------------------------------------------------------------------------------------------------------


def compare(session: Session, ids: Collection[int]) -> set[int]:
    """Compare people who came in or changed with everybody; returns those of them who may be somebody else, too."""
    if not ids:
        return set()
    session.flush()
    chosen = comparing.records(session, ids)
    comparing.write_keys(session, chosen)
    found = comparing.matches(session, chosen, comparing.scales(session, few=len(chosen) <= comparing.FEW))
    _keep(session, found, chosen.keys(), both=True)
    return {one for pair in found for one in pair} & chosen.keys()


def _keep(session: Session, found: Mapping[tuple[int, int], Match], ids: Collection[int], *, both: bool) -> None:
    """Write what was found of people; open pairs of theirs that were not found again are no longer pairs."""
    known = {(pair.low_id, pair.high_id): pair for pair in _stored(session, ids, both=both)}
    now = clock.now()
    fresh = [
        {"low_id": low, "high_id": high, "score": match.score, "grade": match.grade, "reasons": list(match.reasons)}
        | {"state": PairState.OPEN, "found_at": now}
        for (low, high), match in found.items()
        if (low, high) not in known
    ]
    insert_new(session, DuplicatePair.__table__, fresh, unique=["low_id", "high_id"])  # another may find it at the same time
    for mark, pair in known.items():
        match = found.get(mark)
        if match is not None:
            _renew(pair, match)
        elif pair.state is PairState.OPEN:
            session.delete(pair)
    session.flush()


def _stored(session: Session, ids: Collection[int], *, both: bool) -> Iterable[DuplicatePair]:
    whole = sorted(ids)
    for start in range(0, len(whole), comparing.ASKED):
        part = whole[start : start + comparing.ASKED]
        mine = DuplicatePair.low_id.in_(part)
        yield from session.scalars(sa.select(DuplicatePair).where(sa.or_(mine, DuplicatePair.high_id.in_(part)) if both else mine))


def _renew(pair: DuplicatePair, match: Match) -> None:
    if pair.state is PairState.SET_ASIDE and match.score < pair.score + CLEARLY_MORE:
        return
    if pair.state is PairState.SET_ASIDE:
        pair.state, pair.found_at, pair.decided_at, pair.decided_by_id = PairState.OPEN, clock.now(), None, None
    if pair.score != match.score or pair.reasons != list(match.reasons):
        pair.score, pair.grade, pair.reasons = match.score, match.grade, list(match.reasons)


def compare_everybody(
    database: Database, stopped: Callable[[], bool] = lambda: False, *, progress: Callable[[int], None] = lambda _: None
) -> bool:
    """Compare everybody with everybody, in pieces of one transaction each; False when it was stopped before the end.

    Keys are written first: they are what a rule of this module that has changed looks up by.
    """
    if not _write_all_keys(database, stopped):
        return False
    with database.session(write=False) as session:
        weighing = comparing.scales(session, few=False)
    last, done = 0, 0
    kept: comparing.Kept = {}
    while not stopped():
        with database.session() as session:
            ids = _next(session, last)
            if not ids:
                return True
            _compare_piece(session, ids, weighing, kept)
        last, done = ids[-1], done + len(ids)
        progress(done)
    return False


def _next(session: Session, last: int) -> list[int]:
    return list(session.scalars(sa.select(Contact.id).where(Contact.id > last, visible()).order_by(Contact.id).limit(PIECE)))


def _write_all_keys(database: Database, stopped: Callable[[], bool]) -> bool:
    last = 0
    while not stopped():
        with database.session() as session:
            ids = _next(session, last)
            if not ids:
                return True
            comparing.write_keys(session, comparing.records(session, ids))
        last = ids[-1]
    return False


def _compare_piece(session: Session, ids: Sequence[int], weighing: Scales, kept: comparing.Kept) -> None:
    chosen = comparing.records(session, ids)
    _keep(session, comparing.matches(session, chosen, weighing, only_later=True, kept=kept), chosen.keys(), both=False)


# --- when everybody is compared -----------------------------------------------------------------------------------------------


def last_comparing(session: Session) -> Comparing:
    """The row that says when everybody was compared last."""
    row = session.get(Comparing, 1)
    if row is None:
        row = Comparing(id=1, done=0, generation=0)
        session.add(row)
        session.flush()
    return row


def ask_for_all(session: Session) -> None:
    """A person asks that everybody be compared again; while it runs, asking changes nothing."""
    row = last_comparing(session)
    if row.began_at is None:
        row.asked_at = clock.now()
        session.flush()


def due(session: Session) -> list[tuple[int, int]]:
    """(id, generation) of the comparing, when it was asked for, was cut, or is a day old and there is anybody to compare."""
    row = last_comparing(session)
    is_old = row.finished_at is None or row.finished_at < clock.now() - EVERY
    if row.asked_at is None and row.began_at is None and not (is_old and session.scalar(sa.select(sa.exists().where(visible())))):
        return []
    return [(row.id, row.generation)]


def carry_out(database: Database, stopped: Callable[[], bool]) -> None:
    """Compare everybody for the row that is due. Safe to run again after any crash: it begins anew."""
    with database.session() as session:
        row = last_comparing(session)
        row.began_at, row.done = clock.now(), 0
    try:
        if not compare_everybody(database, stopped, progress=lambda done: _note_progress(database, done)):
            return
    except Exception:
        _finish(database)  # what fails for good is tried again tomorrow, not every second
        raise
    _finish(database)


def _finish(database: Database) -> None:
    with database.session() as session:
        row = last_comparing(session)
        row.finished_at, row.began_at, row.asked_at = clock.now(), None, None


@dataclass(frozen=True)
class ComparingTold:
    """How the comparing of everybody stands."""

    is_due: bool
    """Asked for, or under way."""
    done: int
    finished_at: datetime | None


def told(session: Session) -> ComparingTold:
    """What a page says of the comparing; writes nothing."""
    row = session.get(Comparing, 1)
    if row is None:
        return ComparingTold(False, 0, None)
    return ComparingTold(row.asked_at is not None or row.began_at is not None, row.done if row.began_at else 0, row.finished_at)


def _note_progress(database: Database, done: int) -> None:
    with database.session() as session:
        last_comparing(session).done = done


# --- reviewing them -----------------------------------------------------------------------------------------------------------


def _of_visible(state: PairState) -> list[sa.ColumnElement[bool]]:
    """Pairs of two people who are there."""
    there = sa.select(Contact.id).where(visible())
    return [DuplicatePair.state == state, DuplicatePair.low_id.in_(there), DuplicatePair.high_id.in_(there)]


def counts(session: Session) -> dict[Grade, int]:
    """How many open pairs there are of each grade, the surest first."""
    counted = sa.select(DuplicatePair.grade, sa.func.count()).where(*_of_visible(PairState.OPEN)).group_by(DuplicatePair.grade)
    found = {Grade(row[0]): row[1] for row in session.execute(counted)}
    return {grade: found.get(grade, 0) for grade in Grade}


def count_set_aside(session: Session) -> int:
    return session.scalar(sa.select(sa.func.count()).select_from(DuplicatePair).where(*_of_visible(PairState.SET_ASIDE))) or 0


def find(
    session: Session,
    *,
    state: PairState = PairState.OPEN,
    grade: Grade | None = None,
    import_id: int | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> tuple[list[DuplicatePair], str | None]:
    """Pairs, the surest first, with both people loaded, and the cursor of the next page.

    ``import_id``: those of which one came in with that import.
    """
    statement = sa.select(DuplicatePair).where(*_of_visible(state)).options(*_whole())
    if grade is not None:
        statement = statement.where(DuplicatePair.grade == grade)
    if import_id is not None:
        mine = sa.select(Contact.id).where(Contact.import_id == import_id)
        statement = statement.where(sa.or_(DuplicatePair.low_id.in_(mine), DuplicatePair.high_id.in_(mine)))
    keys = [DuplicatePair.score, DuplicatePair.id]
    rows, following = keyset_page(session, statement, keys, cursor=cursor, limit=limit, descending=True)
    return [row[0] for row in rows], following


def _whole() -> list[sa.orm.interfaces.ORMOption]:
    people = (DuplicatePair.low, DuplicatePair.high)
    return [selectinload(one).selectinload(part) for one in people for part in (Contact.city, Contact.addresses)]


def get(session: Session, pair_id: int) -> DuplicatePair:
    """One pair with both people loaded; NotFound(pair_not_found), also when one of them is blocked."""
    statement = sa.select(DuplicatePair).where(DuplicatePair.id == pair_id).options(*_whole())
    pair = session.scalar(statement.execution_options(populate_existing=True))
    if pair is None or pair.low.blocked_at is not None or pair.high.blocked_at is not None:
        raise NotFound("pair_not_found")
    return pair


def of_contact(session: Session, contact_id: int) -> list[DuplicatePair]:
    """The open pairs of a person, the surest first."""
    mine = sa.or_(DuplicatePair.low_id == contact_id, DuplicatePair.high_id == contact_id)
    statement = sa.select(DuplicatePair).where(*_of_visible(PairState.OPEN), mine).options(*_whole())
    return list(session.scalars(statement.order_by(DuplicatePair.score.desc(), DuplicatePair.id)))


def first_pairs(session: Session, ids: Sequence[int]) -> dict[int, DuplicatePair]:
    """The surest open pair of each of some people who has any."""
    mine = sa.or_(DuplicatePair.low_id.in_(ids), DuplicatePair.high_id.in_(ids))
    statement = sa.select(DuplicatePair).where(*_of_visible(PairState.OPEN), mine).options(*_whole())
    found: dict[int, DuplicatePair] = {}
    for pair in session.scalars(statement.order_by(DuplicatePair.score.desc(), DuplicatePair.id)) if ids else ():
        for contact_id in {pair.low_id, pair.high_id} & set(ids):
            found.setdefault(contact_id, pair)
    return found


def pair_of(session: Session, one: int, other: int) -> DuplicatePair | None:
    """The stored pair of two people, whatever was decided of it."""
    low, high = sorted((one, other))
    return session.scalar(sa.select(DuplicatePair).where(DuplicatePair.low_id == low, DuplicatePair.high_id == high))


def count_of_import(session: Session, import_id: int) -> int:
    """People of an import who may be somebody else, too."""
    one = aliased(DuplicatePair)
    beside = sa.select(one.id).where(sa.or_(one.low_id == Contact.id, one.high_id == Contact.id), one.state == PairState.OPEN)
    counted = sa.select(sa.func.count()).select_from(Contact).where(Contact.import_id == import_id, visible(), beside.exists())
    return session.scalar(counted) or 0


def set_aside(session: Session, pair_id: int) -> DuplicatePair:
    """They are two people: the pair is not shown again. Conflict(pair_settled) when it is open no longer."""
    return _decide(session, pair_id, PairState.OPEN, PairState.SET_ASIDE)


def part(session: Session, contact_id: int, others: Sequence[int]) -> None:
    """Whoever wrote a person down was shown these others and said that it is none of them."""
    for other in others:
        pair = pair_of(session, contact_id, other)
        if pair is not None and pair.state is PairState.OPEN:
            settle(session, pair, PairState.SET_ASIDE)


def bring_back(session: Session, pair_id: int) -> DuplicatePair:
    """A pair that was set aside is to be reviewed again. Conflict(pair_settled)."""
    return _decide(session, pair_id, PairState.SET_ASIDE, PairState.OPEN)


def _decide(session: Session, pair_id: int, before: PairState, after: PairState) -> DuplicatePair:
    locked = sa.select(DuplicatePair.id).where(DuplicatePair.id == pair_id).with_for_update()
    if session.scalar(locked) is None:
        raise NotFound("pair_not_found")
    pair = get(session, pair_id)
    if pair.state is not before:
        raise Conflict("pair_settled")
    settle(session, pair, after)
    return pair


def settle(session: Session, pair: DuplicatePair, state: PairState) -> None:
    """Write what was decided of a pair, in the history of both."""
    actor: history.Actor = session.info.get("actor", history.SYSTEM)
    before = pair.state
    pair.state, pair.decided_at = state, clock.now() if state is not PairState.OPEN else None
    pair.decided_by_id = actor.id if state is not PairState.OPEN else None
    session.flush()
    plain = {"state": [before.value, state.value], "low_id": [None, pair.low_id], "high_id": [None, pair.high_id]}
    roots = (pair.low_id, pair.high_id)
    history.record(session, [Entry(Action.CHANGE, "duplicate_pair", pair.id, "contact", one, plain=plain) for one in roots])
