"""Imports: a spreadsheet taken in, row by row accounted for.

A check is the same walk as the import, in a rehearsal that is undone. An import goes in batches, each a transaction of
its own that also says how far it got: a run that was cut goes on after the last whole batch, and nobody comes in twice.
"""

import gc
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import cached_property
from itertools import chain, islice
from pathlib import PurePath
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm import clock
from crm.database import Database, insert_many, keyset_page, refresh_statistics
from crm.errors import Conflict, CrmError, InvalidInput, NotFound
from crm.history import SYSTEM, Actor
from crm.people import consent, duplicates
from crm.people.columns import HEADER_WITHIN, Built, Columns, build, fed_by, forbidden, header_at, is_somebody, limit_of, match
from crm.people.merging import Rules
from crm.people.models import Import, ImportRow, ImportState, Purpose, RowStatus
from crm.people.schemas import ConsentIn, Taken
from crm.people.spreadsheets import Row, Source, open_spreadsheet
from crm.people.taking_in import take_in_many

COMPARED_AT_ONCE = 2_000
"""Rows of a list that are compared with everybody as they come in, which is told beside each: an office's list. Those of a longer
one are compared afterwards, by a job, since comparing takes three times what taking in does."""
BATCH = 1_000
"""Rows of one transaction: short enough that nobody waits for it, long enough that its commit costs little."""

ROWS_KEPT_FOR = timedelta(days=30)
ROWS_KEPT = 10_000
"""Most rows that a check tells one by one; of the others it tells how many there are."""

SAMPLE = 50
"""Rows of a file by which it is told what a column holds."""

_FIELDS = {
    "address_invalid": "emails",
    "address_of_other_person": "emails",
    "suppressed": "emails",
    "city_ambiguous": "city",
    "city_unknown": "city",
    "country_unknown": "country",
    "country_differs_from_city": "country",
    "possible_duplicate": "given_names",
    "post_without_organization": "post",
}
"""The field that a code of `taking_in.take_in_many` speaks of."""


@dataclass(frozen=True)
class Basis:
    """Under what basis the people of a file may be written to, stated once for all of them."""

    purposes: Sequence[Purpose]
    evidence: str
    """How it is known that they agreed, in words: where, when, how."""
    agreed_on: date | None = None
    notice_version: str | None = None

    def consents(self) -> list[ConsentIn]:
        """The consent of each person of the file; InvalidInput(evidence_required)."""
        if self.purposes and not self.evidence.strip():
            raise InvalidInput("evidence_required", field="evidence")
        return [
            ConsentIn(purpose=purpose, evidence=self.evidence, given_on=self.agreed_on, notice_version=self.notice_version)
            for purpose in dict.fromkeys(self.purposes)
        ]


@dataclass(frozen=True)
class Layout:
    """How a file is read: which sheet of it, in what encoding, the number of the row that names its columns, and the field of each
    column; each where a person corrected what the file tells."""

    sheet: str | None = None
    chosen: Sequence[str | None] | None = None
    header: int | None = None
    rules: Mapping[str, str] = field(default_factory=dict)
    """What a column does to people who are known, by its field, where it is not to fill what is empty: see `merging.Rules`."""
    encoding: str | None = None

    def stated(self) -> dict[str, Any]:
        """The columns of `Import` that keep it."""
        chosen = None if self.chosen is None else list(self.chosen)
        told = {"sheet": self.sheet, "encoding": self.encoding, "header_row": self.header}
        return {**told, "chosen": chosen, "rules": dict(self.rules)}

    @classmethod
    def of(cls, started: Import) -> "Layout":
        """How a started import reads its file."""
        return cls(started.sheet, started.chosen, started.header_row, started.rules, started.encoding)


AS_IT_IS = Layout()


@dataclass(frozen=True, slots=True)
class Remark:
    """One thing to say of a row, and of which of its columns."""

    code: str
    field: str | None = None
    column: str | None = None

    @property
    def sentence(self) -> str:
        """Why it was refused, or what to review, in Spanish."""
        return CrmError(self.code, limit=limit_of(self.field or "") or "").sentence


@dataclass(frozen=True, slots=True)
class RowResult:
    """What becomes of one row: its number in the spreadsheet, the column and values at fault, if any, and what more there is to say
    of it."""

    number: int
    status: RowStatus
    code: str | None = None
    field: str | None = None
    column: str | None = None
    contact_id: int | None = None
    values: dict[str, str] | None = None
    more: Sequence[Remark] = ()

    @property
    def remarks(self) -> list[Remark]:
        """All that there is to say of it, what weighs most first."""
        return [Remark(self.code, self.field, self.column), *self.more] if self.code is not None else []

    @property
    def sentence(self) -> str | None:
        """All of it in Spanish, one sentence after the other."""
        return " ".join(dict.fromkeys(one.sentence for one in self.remarks)) or None


@dataclass(frozen=True)
class Checked:
    """What an import of the file would do. Nothing was written; ids of people who do not exist yet are None."""

    rows: list[RowResult]
    """The first `ROWS_KEPT` of the rows that have a code: those refused or to be reviewed."""
    coded: int
    """How many have one."""
    counts: dict[str, int]
    columns: Columns


# --- check -----------------------------------------------------------------------------------------------------------------


def check(database: Database, source: Source, file_name: str, *, basis: Basis | None = None, layout: Layout = AS_IT_IS) -> Checked:
    """Tell what an import would create, change or refuse, and of which rows and why; nothing stays written, nobody waits.

    The rows are taken in as an import would, in a rehearsal. Errors: those of `begin`.
    """
    _read_through(source, file_name, layout)
    consents = basis.consents() if basis else []
    told = _Told()
    with database.rehearsal() as session:
        accepted = _accept(session, source, file_name, layout)
        tried = _new_import(session, accepted, file_name, stated(basis, layout))
        for batch in _batches(accepted.rows):
            with _collector_at_rest():
                compares = told.counts.total() < COMPARED_AT_ONCE
                taken = _take(session, accepted.columns, batch, consents, tried, compares=compares)
                _write(session, tried.id, taken)
            told.add(taken)
    return Checked(told.rows, told.coded, {status.value: told.counts[status] for status in RowStatus}, accepted.columns)


@dataclass
class _Told:
    """What is kept of the rows of a check: little, however many there are."""

    rows: list[RowResult] = field(default_factory=list)
    coded: int = 0
    counts: Counter[RowStatus] = field(default_factory=Counter)
    made: set[int | None] = field(default_factory=set)
    """Ids of people who exist only in the rehearsal."""

    def add(self, results: Sequence[RowResult]) -> None:
        self.counts.update(result.status for result in results)
        self.made.update(result.contact_id for result in results if result.status is RowStatus.CREATED)
        coded = [result for result in results if result.code]
        self.coded += len(coded)
        for result in coded[: ROWS_KEPT - len(self.rows)]:
            self.rows.append(replace(result, contact_id=None) if result.contact_id in self.made else result)


# --- import ----------------------------------------------------------------------------------------------------------------


def begin(session: Session, source: Source, file_name: str, *, basis: Basis | None = None, layout: Layout = AS_IT_IS) -> Import:
    """Accept a file whole and make its `Import`, or find the one of the same file and basis that was cut.

    Errors: those of `open_spreadsheet` and `columns.match`, sheet_malformed for any row, evidence_required,
    suppression_key_missing.
    """
    _read_through(source, file_name, layout)
    told = stated(basis, layout)
    accepted = _accept(session, source, file_name, layout)
    for cut in session.scalars(sa.select(Import).where(Import.sha256 == accepted.sha256, Import.state == ImportState.RUNNING)):
        if all(getattr(cut, name) == value for name, value in told.items()):
            return cut
    return _new_import(session, accepted, file_name, told)


def shown_name(file_name: str) -> str:
    """The name of a file as it is kept: without folders or what cannot be seen, its end if it is long."""
    return "".join(letter for letter in PurePath(file_name).name if letter.isprintable())[-255:]


def _new_import(session: Session, accepted: "_Accepted", file_name: str, stated: dict[str, Any]) -> Import:
    made = Import(
        file_name=shown_name(file_name),
        sha256=accepted.sha256,
        columns=accepted.columns.matched,
        headers=accepted.columns.headers,
        counts=_count([]),
        rows_done=0,
        **stated,
    )
    session.add(made)
    session.flush()
    return made


def stated(basis: Basis | None, layout: Layout) -> dict[str, Any]:
    """The columns of `Import` that keep a basis and a layout."""
    consents = basis.consents() if basis else []
    return {
        **layout.stated(),
        "purposes": [given.purpose.value for given in consents],
        "evidence": consents[0].evidence if consents else None,
        "agreed_on": consents[0].given_on if consents else None,
        "notice_version": consents[0].notice_version if consents else None,
    }


def _basis_of(started: Import) -> Basis:
    return Basis([Purpose(name) for name in started.purposes], started.evidence or "", started.agreed_on, started.notice_version)


def run(
    database: Database,
    import_id: int,
    source: Source,
    *,
    actor: Actor = SYSTEM,
    progress: Callable[[int], None] | None = None,
) -> Import:
    """Take in the rows that an import has not taken in yet; ``progress`` hears the rows done after each batch.

    Running a finished import changes nothing. Errors: import_not_found, import_file_changed (other bytes than `begin` saw),
    import_running (another run took the next batch), suppression_key_missing.
    """
    with database.session(write=False) as session:
        started = get(session, import_id)
        if started.state is ImportState.DONE:
            return started
        accepted = _accept(session, source, started.file_name, Layout.of(started))
    if accepted.sha256 != started.sha256:
        raise Conflict("import_file_changed", field="file")
    consents, done = _basis_of(started).consents(), started.rows_done
    reason = why(import_id)
    for batch in _batches(islice(accepted.rows, done, None)):
        with _collector_at_rest(), database.session(actor=actor, why=reason) as session:
            _claim(session, import_id, done, len(batch))
            compares = done < COMPARED_AT_ONCE
            _write(session, import_id, _take(session, accepted.columns, batch, consents, started, compares=compares))
        done += len(batch)
        if progress:
            progress(done)
    with database.session(actor=actor, why=reason) as session:
        if done > COMPARED_AT_ONCE:
            duplicates.ask_for_all(session)
        return _finish(session, import_id, done)


def why(import_id: int) -> str:
    """The reason that the history tells of what an import changes."""
    return f"Importación {import_id}"


def _claim(session: Session, import_id: int, done: int, count: int) -> None:
    """Move the import forward before its rows, so that of two runs only one takes a batch; Conflict(import_running)."""
    moved = session.connection().execute(
        sa.update(Import)
        .where(Import.id == import_id, Import.rows_done == done, Import.state == ImportState.RUNNING)
        .values(rows_done=done + count)
    )
    if moved.rowcount != 1:
        raise Conflict("import_running")


def _write(session: Session, import_id: int, results: Sequence[RowResult]) -> None:
    """Keep what became of each row, and add it to the counts of the import."""
    insert_many(
        session,
        ImportRow,
        [
            {"import_id": import_id, "number": result.number, "status": result.status, "contact_id": result.contact_id}
            | {"code": result.code, "field": result.field, "values": result.values, "more": stored_remarks(result.more)}
            for result in results
        ],
    )
    before = session.scalar(sa.select(Import.counts).where(Import.id == import_id)) or {}
    counts = {status: before.get(status, 0) + number for status, number in _count(results).items()}
    session.connection().execute(sa.update(Import).where(Import.id == import_id).values(counts=counts))


def _finish(session: Session, import_id: int, done: int) -> Import:
    _claim(session, import_id, done, 0)
    finished = get(session, import_id)
    finished.state, finished.finished_at = ImportState.DONE, clock.now()
    session.flush()
    refresh_statistics(session)
    return finished


# --- rows ------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Accepted:
    sha256: str
    columns: Columns
    rows: Iterator[Row]
    """Those after the header."""


def _accept(session: Session, source: Source, file_name: str, layout: Layout) -> _Accepted:
    accepted = _open(source, file_name, layout)
    consent.check_suppression_key(session)  # without it nobody who left would be known
    return accepted


def _open(source: Source, file_name: str, layout: Layout) -> _Accepted:
    sheet = open_spreadsheet(source, file_name, layout.sheet, layout.encoding)
    start = beginning(sheet.rows(), layout.header)
    return _Accepted(sheet.sha256, match(start.headers, layout.chosen, start.not_read), chain(start.sample, start.rest))


WITHOUT_HEADER = 0
"""In place of the number of the header's row: the list has none."""


@dataclass(frozen=True)
class Beginning:
    """The first rows of a file, told apart."""

    above: Sequence[Row]
    """Titles: the first rows above the header."""
    header: Row
    """The row that names the columns, as a person told by its number or as its words do. Number 0: there is none, and every row is
    somebody; the names of its columns are then empty, and of an empty file there are none at all."""
    sample: Sequence[Row]
    """The first rows below it, by which it is told what a column holds."""
    rest: Iterator[Row]

    @property
    def headers(self) -> list[str]:
        return self.header[1]

    @cached_property
    def not_read(self) -> frozenset[int]:
        """Columns that must not be read: see `columns.forbidden`."""
        return forbidden(self.headers, [cells for _, cells in self.sample])


def beginning(rows: Iterator[Row], told: int | None) -> Beginning:
    """Read as far as the sample; ``told`` is the number of the header's row where a person corrected it, 0 for none."""
    first = list(islice(rows, HEADER_WITHIN))
    place = header_at([cells for _, cells in first])
    if first and (told == WITHOUT_HEADER or (told is None and is_somebody(first[place][1]))):
        rows = chain(first, rows)
        return Beginning([], (WITHOUT_HEADER, [""] * max(len(cells) for _, cells in first)), list(islice(rows, SAMPLE)), rows)
    if told is not None:
        place = next((place for place, (number, _) in enumerate(first) if number >= told), len(first))
    if place < len(first):
        header, rows = first[place], chain(first[place + 1 :], rows)
    else:
        header = next((row for row in rows if told is not None and row[0] >= told), (0, []))
    return Beginning(first[:place], header, list(islice(rows, SAMPLE)), rows)


def _read_through(source: Source, file_name: str, layout: Layout) -> None:
    """Read the file to its end before the first question to the database, which on SQLite shuts out every other writer: a row
    that breaks is told before anything is written, and nobody waits while a large file is read."""
    for _ in _open(source, file_name, layout).rows:
        pass


@contextmanager
def _collector_at_rest() -> Iterator[None]:
    """Spare a batch the search for reference cycles: its rows have none, and each search walks the whole process (a fifth of the
    time, measured)."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _batches(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while batch := list(islice(rows, BATCH)):
        yield batch


def _take(
    session: Session,
    columns: Columns,
    batch: Sequence[Row],
    consents: Sequence[ConsentIn],
    started: Import,
    *,
    compares: bool = True,
) -> list[RowResult]:
    built = [build(columns, cells, consents) for _, cells in batch]
    rows = [row.data for row in built if row.data]
    taken = iter(take_in_many(session, rows, import_id=started.id, rules=Rules.told(started.rules), compares=compares))
    return [
        _result(columns, number, cells, row, next(taken) if row.data else None)
        for (number, cells), row in zip(batch, built, strict=True)
    ]


def take_row(session: Session, started: Import, columns: Columns, row: Row) -> RowResult:
    """Take in one row of an import under its basis and rules."""
    return _take(session, columns, [row], _basis_of(started).consents(), started)[0]


def _result(columns: Columns, number: int, cells: list[str], built: Built, taken: Taken | None) -> RowResult:
    """What to tell of a row: why it was refused, else what to review."""
    if taken is None:
        faults: list[tuple[str, str | None]] = [(built.code or "", built.field), *built.more, *built.warnings]
        return _remarked(columns, number, RowStatus.REFUSED, faults, None, columns.values(cells))
    codes: list[tuple[str, str | None]] = [*built.warnings, *((code, None) for code in taken.warnings)]
    codes.sort(key=lambda told: told[0] != "possible_duplicate")  # of several things to review this is the one to be told first
    if taken.code:
        codes.insert(0, (taken.code, None))
    if taken.status is RowStatus.CREATED and built.data and not built.data.emails:
        codes.append(("email_missing", "emails"))
    if not codes:
        return RowResult(number, taken.status, contact_id=taken.contact_id)
    # What we were asked to forget is not kept by the back door.
    values = None if any(code == "suppressed" for code, _ in codes) else columns.values(cells)
    return _remarked(columns, number, taken.status, codes, taken.contact_id, values)


def _remarked(
    columns: Columns,
    number: int,
    status: RowStatus,
    codes: Sequence[tuple[str, str | None]],
    contact_id: int | None,
    values: dict[str, str] | None,
) -> RowResult:
    told = dict.fromkeys((code, field or _FIELDS.get(code)) for code, field in codes)
    first, *more = (Remark(code, field, columns.header_of(field)) for code, field in told)
    return RowResult(number, status, first.code, first.field, first.column, contact_id, values, more)


def stored_remarks(more: Sequence[Remark]) -> Sequence[list[str | None]]:
    """What `ImportRow.more` keeps of them; of none the one value that all such rows share."""
    return [[one.code, one.field] for one in more] or _NONE


_NONE: Sequence[list[str | None]] = ()


def _count(results: Sequence[RowResult]) -> dict[str, int]:
    counted = Counter(result.status for result in results)
    return {status.value: counted[status] for status in RowStatus}


def forget_rows(session: Session) -> None:
    """Rows that did not enter, or were to be reviewed, are kept as they came for `ROWS_KEPT_FOR`: to be mended, no longer."""
    old = sa.select(Import.id).where(Import.started_at < clock.now() - ROWS_KEPT_FOR)
    session.execute(
        sa.update(ImportRow)
        .where(ImportRow.import_id.in_(old), sa.cast(ImportRow.values, sa.String) != "null")
        .values(values=None)
        .execution_options(synchronize_session=False)
    )


# --- what became of it -----------------------------------------------------------------------------------------------------


def get(session: Session, import_id: int) -> Import:
    """An import; NotFound(import_not_found)."""
    found = session.get(Import, import_id)
    if found is None:
        raise NotFound("import_not_found")
    return found


def results(
    session: Session, import_id: int, *, status: RowStatus | None = None, cursor: str | None = None, limit: int = 50
) -> tuple[list[RowResult], str | None]:
    """What became of each row, in the order of the file, of one status or of all; errors: import_not_found, cursor_invalid."""
    headers = get(session, import_id).columns
    wanted = sa.select(ImportRow).where(ImportRow.import_id == import_id)
    if status is not None:
        wanted = wanted.where(ImportRow.status == status)
    rows, following = keyset_page(session, wanted, [ImportRow.number], cursor=cursor, limit=limit)
    return [_stored(row[0], headers) for row in rows], following


def result_of(session: Session, import_id: int, number: int) -> RowResult | None:
    """What became of one row of a finished or cut import; None when it has no such row."""
    wanted = sa.select(ImportRow).where(ImportRow.import_id == import_id, ImportRow.number == number)
    row = session.scalars(wanted).first()
    return _stored(row, get(session, import_id).columns) if row is not None else None


def _stored(row: ImportRow, headers: dict[str, str]) -> RowResult:
    more = [Remark(code or "", field, _header(headers, field)) for code, field in row.more]
    return RowResult(row.number, row.status, row.code, row.field, _header(headers, row.field), row.contact_id, row.values, more)


def _header(headers: dict[str, str], field: str | None) -> str | None:
    """The header of the column that fed a field."""
    return next((headers[name] for name in fed_by(field) if name in headers), None)
