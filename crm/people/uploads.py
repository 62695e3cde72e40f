"""Imports that begin on a page: the file kept, described by a person, tried, confirmed, and left to a worker.

A file is stored only until its import ends or is given up. The worker knows an import that is due by its file.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from itertools import islice
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm import clock, files
from crm.database import Database, search_key
from crm.errors import Conflict, CrmError, InvalidInput
from crm.files import StoredFile
from crm.people import delimited, imports
from crm.people.columns import guess, is_document, match, shown_header
from crm.people.encodings import ENCODINGS, as_read_in
from crm.people.imports import Basis, Layout, RowResult
from crm.people.models import Import, ImportState, Purpose
from crm.people.spreadsheets import MEDIA_TYPES, Row, Spreadsheet, open_spreadsheet

EXAMPLES = 3
"""Rows shown under each header."""
WORDS = 4
"""Words with accents that show how the letters of a text are read."""
WORD_LENGTH = 24
ROWS_TOLD = 200
"""Rows of a check that are kept to be shown; of the others, how many there are."""
ROW_LENGTH = 200
"""Letters that are kept of what such a row says: enough to know it again in the list."""
GIVEN_UP = timedelta(days=7)
"""How long a file waits for who uploaded it."""
EARLIER = 100
"""Imports among which one with the same headers is looked for."""
TOLD_BY_HAND = 3
"""Imports with a sheet or a header told by a person that a new file is held against: each is a reading of its beginning."""
BEFORE = (ImportState.UPLOADED, ImportState.CHECKED)


def upload(session: Session, body: bytes, file_name: str) -> Import:
    """Keep a file that a person gives; errors: those of `open_spreadsheet` and `files.store`. A text whose bytes do not tell its
    encoding is kept too: the person who sees its words can say it."""
    accepted, encoding = _accepted(body, file_name)
    files.store(session, body, MEDIA_TYPES[accepted.kind])
    made = Import(
        file_name=imports.shown_name(file_name),
        sha256=accepted.sha256,
        state=ImportState.UPLOADED,
        keeps_file=True,
        counts={},
        encoding=encoding,
    )
    session.add(made)
    session.flush()
    seen = look(session, made, Layout(encoding=encoding))
    if seen.problem is not None and not seen.header[1] and len(seen.sheets) < 2:
        raise seen.problem
    if (earlier := earlier_like(session, made, seen.header[1])) is not None:
        made.chosen, made.encoding, made.source = earlier.chosen, _encoding_like(session, made, seen, earlier), earlier.source
    elif (earlier := _told_by_hand(session, made, seen)) is not None:
        made.chosen, made.sheet, made.header_row = earlier.chosen, earlier.sheet, earlier.header_row
        made.encoding, made.source = _encoding_like(session, made, seen, earlier), earlier.source
    session.flush()
    return made


def _accepted(body: bytes, file_name: str) -> tuple[Spreadsheet, str | None]:
    """A file accepted, and the encoding in which it is looked at where its bytes tell none."""
    try:
        return open_spreadsheet(body, file_name), None
    except InvalidInput as error:
        if error.code != "sheet_encoding_unknown":
            raise
    return open_spreadsheet(body, file_name, encoding=delimited.READS_ANYTHING), delimited.READS_ANYTHING


def _encoding_like(session: Session, made: Import, seen: "Look", earlier: Import) -> str | None:
    """The encoding that a person told of an earlier list, unless the bytes of this one prove theirs or do not read so."""
    if earlier.encoding is None or seen.encoding is None or seen.encoding in delimited.CERTAIN:
        return made.encoding
    try:
        look(session, made, Layout(encoding=earlier.encoding))
    except CrmError:
        return made.encoding
    return earlier.encoding


def _told_by_hand(session: Session, made: Import, seen: "Look") -> Import | None:
    """The newest import of which a person told the sheet, the row of the headers or the encoding, if this file has the same headers
    there: the same office sends its list again, with the same titles above it."""
    before = sa.select(Import).where(Import.id < made.id, Import.state == ImportState.DONE, Import.undone_at.is_(None))
    told = before.where(sa.or_(Import.sheet.is_not(None), Import.header_row.is_not(None), Import.encoding.is_not(None)))
    for earlier in session.scalars(told.order_by(Import.id.desc()).limit(TOLD_BY_HAND)):
        encoding = _encoding_like(session, made, seen, earlier)
        try:
            headers = look(session, made, Layout(earlier.sheet, header=earlier.header_row, encoding=encoding)).header[1]
        except CrmError:
            continue  # this file has no such sheet
        if any(headers) and _same_for_all(headers) == _same_for_all(earlier.headers):
            return earlier
    return None


@dataclass(frozen=True)
class Look:
    """The beginning of a file as it is described."""

    sheets: Sequence[str]
    header: Row = (0, [])
    """The row that names the columns."""
    above: Sequence[Row] = ()
    """Rows that say something above it: titles."""
    guessed: Sequence[str | None] = ()
    """What each column seems to hold."""
    not_read: frozenset[int] = frozenset()
    """Columns, counted from 0, that must not be read: see `columns.forbidden`."""
    examples: Sequence[Sequence[str]] = ()
    """For each column, the first values that say something."""
    hidden: Sequence[int] = ()
    """Rows that nobody sees on opening the file, and that are read all the same."""
    problem: CrmError | None = None
    """Why the file cannot be taken in as it is described."""
    encoding: str | None = None
    """How its letters are read (`delimited.ENCODINGS`); None of a workbook, which tells it."""
    readings: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """For each encoding, how some of its words with accents would read in it, none where they are no letters there. Empty when the
    file has no such words: all encodings say the same."""


def look(session: Session, started: Import, layout: Layout) -> Look:
    """Read the beginning of a kept file as it is described; NotFound(file_not_found) once the file is gone,
    InvalidInput(sheet_encoding_differs) when it is no text in the encoding that is told."""
    accepted = open_spreadsheet(body_of(session, started), started.file_name, layout.sheet, layout.encoding)
    encoding = delimited.called(accepted.encoding) if accepted.kind == "csv" else None
    try:
        start = imports.beginning(accepted.rows(), layout.header)
    except CrmError as error:
        return Look(accepted.sheets, problem=error, encoding=encoding)
    examples = [
        [] if place in start.not_read else list(islice(_shown_values(start.sample, place), EXAMPLES))
        for place in range(len(start.headers))
    ]
    problem = None
    try:
        match(start.headers, layout.chosen, start.not_read)
    except CrmError as error:
        problem = error
    *above, header = ((number, list(map(shown_header, cells))) for number, cells in (*start.above, start.header))
    guessed = guess(start.headers, start.not_read)
    if not any(start.headers):  # a list without titles: its addresses tell themselves
        guessed = ["emails" if told and all("@" in value for value in told) else None for told in examples]
    readings = _readings(start, accepted.encoding) if encoding else {}
    return Look(
        accepted.sheets, header, above, guessed, start.not_read, examples, accepted.hidden_rows, problem, encoding, readings
    )


def _readings(start: imports.Beginning, codec: str) -> dict[str, list[str]]:
    """Words of what may be shown, in every encoding; see `Look.readings`."""
    rows = (start.headers, *(cells for _, cells in start.sample))
    cells = (cell for row in rows for place, cell in enumerate(row) if place not in start.not_read and not is_document(cell))
    every = (word.strip(",;.:()«»")[:WORD_LENGTH] for cell in cells if not cell.isascii() for word in cell.split())
    words = list(islice(dict.fromkeys(word for word in every if not word.isascii()), WORDS))
    told = {name: [as_read_in(word, codec, name) for word in words] for name in ENCODINGS} if words else {}
    return {name: [_seen(word) for word in found if word] if all(found) else [] for name, found in told.items()}


def _seen(word: str) -> str:
    """A word with a mark for each letter that cannot be seen."""
    return "".join(letter if letter.isprintable() else "□" for letter in word)


def _shown_values(rows: Sequence[Row], place: int) -> Iterator[str]:
    """The values of a column that say something and may be shown."""
    cells = (cells[place] for _, cells in rows if place < len(cells))
    return (cell for cell in cells if cell.strip() and not is_document(cell))


def earlier_like(session: Session, started: Import, headers: Sequence[str]) -> Import | None:
    """The newest import before this one that a person confirmed on a page, of a file with the same headers: the same office sends
    its list again. What was read by command, as its headers tell, says nothing of how a person would read it."""
    before = sa.select(Import.id, Import.headers).where(Import.id < started.id, _is_an_example())
    if not any(headers):
        return None  # lists without titles are all alike
    wanted = _same_for_all(headers)
    for row in session.execute(before.order_by(Import.id.desc()).limit(EARLIER)):
        if _same_for_all(row.headers) == wanted:
            return session.get_one(Import, row.id)
    return None


def _is_an_example() -> sa.ColumnElement[bool]:
    """Whether an import says how a person would read the next list: who confirmed it on a page saw its columns."""
    return sa.and_(Import.state == ImportState.DONE, Import.undone_at.is_(None), Import.ordered_by_id.is_not(None))


def sources(session: Session) -> list[str]:
    """The names of the sources of the last imports, the newest first, each once."""
    return [name for name, _ in _newest_of_each(session).values()]


def _newest_of_each(session: Session) -> dict[str, tuple[str, int]]:
    """Of each source, by its name as it is compared: how it is written, and its newest import."""
    named = sa.select(Import.source, Import.id).where(_is_an_example(), Import.source.is_not(None))
    found: dict[str, tuple[str, int]] = {}
    for row in session.execute(named.order_by(Import.id.desc()).limit(EARLIER)):
        found.setdefault(search_key(row.source), (row.source, row.id))
    return found


def last_of_source(session: Session, name: str) -> Import:
    """The newest list of a source; InvalidInput(source_unknown)."""
    _, number = _newest_of_each(session).get(search_key(name), ("", 0))
    earlier = session.get(Import, number)
    if earlier is None:
        raise InvalidInput("source_unknown", field="source")
    return earlier


def read_as_source(session: Session, started: Import, layout: Layout, name: str) -> Layout:
    """A layout as the newest list of a source was read: a column by its header, wherever it stands now; what that list did not have
    is proposed as for any other. InvalidInput(source_unknown)."""
    earlier = last_of_source(session, name)
    seen = look(session, started, replace(layout, chosen=None))
    known = dict(zip(_same_for_all(earlier.headers), earlier.chosen or (), strict=False))
    like = Layout(earlier.sheet, None, earlier.header_row, layout.rules, _encoding_like(session, started, seen, earlier))
    try:
        there = look(session, started, like)
    except CrmError:
        there = seen  # this file has no such sheet
    if there is not seen and set(_same_for_all(there.header[1])) & set(_same_for_all(earlier.headers)) - {""}:
        layout, seen = like, there
    keys = _same_for_all(seen.header[1])
    if keys == _same_for_all(earlier.headers) and earlier.chosen is not None:
        return replace(layout, chosen=earlier.chosen)
    fields = zip(keys, [*seen.guessed, *[None] * len(keys)], strict=False)
    return replace(layout, chosen=[known.get(key, left) if key else left for key, left in fields])


def _same_for_all(headers: Sequence[str]) -> list[str]:
    """Headers as they are compared; one that is missing was given a name by its place (`columns.match`)."""
    keys = [search_key(header) for header in headers]
    return ["" if key == f"columna {place}" else key for place, key in enumerate(keys, start=1)]


def proposed(session: Session, started: Import, seen: Look) -> list[str | None]:
    """The field of each column as long as nobody corrects it: as in the newest list with the same headers, else as it seems."""
    headers = seen.header[1]
    like = earlier_like(session, started, headers)
    told = list(like.chosen if like is not None and like.chosen is not None else seen.guessed)
    return told + [None] * (len(headers) - len(told))


def read_otherwise(session: Session, started: Import, layout: Layout, encoding: str) -> Layout:
    """A layout in another encoding. What a person said of the columns is kept; what they left as it was proposed is proposed anew,
    since other headers may be understood now. InvalidInput(sheet_encoding_differs)."""
    told = replace(layout, encoding=encoding, chosen=None)
    now = look(session, started, told)
    if layout.chosen is None or len(layout.chosen) != len(now.header[1]):
        return told
    before = proposed(session, started, look(session, started, replace(layout, chosen=None)))
    fields = zip(layout.chosen, before, proposed(session, started, now), strict=False)
    return replace(told, chosen=[anew if said == left else said for said, left, anew in fields])


def body_of(session: Session, started: Import) -> bytes:
    return files.read(session, started.sha256).body


def basis_of(started: Import) -> Basis | None:
    """Under what basis; None: nobody of the file is known to have agreed."""
    if not started.purposes:
        return None
    return Basis([Purpose(name) for name in started.purposes], started.evidence or "", started.agreed_on, started.notice_version)


# --- the steps ----------------------------------------------------------------------------------------------------------------


def describe(session: Session, import_id: int, layout: Layout, basis: Basis | None, source: str | None = None) -> Import:
    """Say how the file is read, under what basis, and whose list it is; what was checked otherwise before is forgotten.

    Errors: import_not_found, import_not_checked (it has begun), evidence_required.
    """
    started = _before(session, import_id)
    started.source = source
    stated = imports.stated(basis, layout)
    if any(getattr(started, name) != value for name, value in stated.items()):
        for name, value in stated.items():
            setattr(started, name, value)
        started.state, started.checked = ImportState.UPLOADED, None
    session.flush()
    return started


def try_out(database: Database, import_id: int) -> None:
    """Check the file as it is described, and keep what the check told. No transaction is open while it runs.

    Errors: those of `imports.check`, import_not_checked when somebody described it otherwise meanwhile.
    """
    with database.session(write=False) as session:
        started = _before(session, import_id)
        body, layout, basis = body_of(session, started), Layout.of(started), basis_of(started)
    told = imports.check(database, body, started.file_name, basis=basis, layout=layout)
    with database.session() as session:
        now = _before(session, import_id)
        if (Layout.of(now), basis_of(now)) != (layout, basis):
            raise Conflict("import_not_checked")
        now.state, now.columns, now.headers = ImportState.CHECKED, told.columns.matched, told.columns.headers
        now.checked = {
            "counts": told.counts,
            "coded": told.coded,
            "unmatched": told.columns.unmatched,
            "not_read": told.columns.not_read,
            "rows": [_shown_row(row) for row in told.rows[:ROWS_TOLD]],
        }


def _shown_row(row: RowResult) -> dict[str, Any]:
    """A row of a check as the page shows it, in one text: PostgreSQL keeps no order of the keys of its values."""
    text = " · ".join((row.values or {}).values())[:ROW_LENGTH]
    return {"number": row.number, "status": row.status.value, "text": text, "remarks": [asdict(one) for one in row.remarks]}


def confirm(session: Session, import_id: int, account_id: int) -> Import:
    """Let a worker take the file in, as it was checked; errors: import_not_found, import_not_checked."""
    started = _before(session, import_id)
    if started.state is not ImportState.CHECKED:
        raise Conflict("import_not_checked")
    # From here on its rows are told, and forgotten, as `ImportRow`.
    checked = {**(started.checked or {}), "rows": []}
    moved = session.connection().execute(
        sa.update(Import)
        .where(Import.id == import_id, Import.state == ImportState.CHECKED)
        .values(state=ImportState.RUNNING, started_at=clock.now(), ordered_by_id=account_id, checked=checked)
    )
    if moved.rowcount != 1:
        raise Conflict("import_not_checked")
    session.expire(started)
    return imports.get(session, import_id)


def give_up(session: Session, import_id: int) -> None:
    """Forget a file that was not taken in; errors: import_not_found, import_not_checked (it has begun)."""
    started = _before(session, import_id)
    _drop_file(session, started)
    session.delete(started)
    session.flush()


def _before(session: Session, import_id: int) -> Import:
    """An import that has not begun, read anew and kept from others until this transaction ends."""
    wanted = sa.select(Import).where(Import.id == import_id).with_for_update().execution_options(populate_existing=True)
    started = session.scalars(wanted).first() or imports.get(session, import_id)
    if started.state not in BEFORE:
        raise Conflict("import_not_checked")
    return started


# --- what the worker asks -----------------------------------------------------------------------------------------------------


def due(session: Session) -> list[tuple[int, int]]:
    """Imports that a worker has something to do for, as (id, generation): they were confirmed, and their file is kept."""
    rows = session.execute(sa.select(Import.id, Import.generation).where(Import.keeps_file, Import.state.not_in(BEFORE)))
    return [(row.id, row.generation) for row in rows]


def is_over(started: Import) -> bool:
    """Whether an import that began has ended, its segment made too: the file goes with that."""
    return started.state not in (*BEFORE, ImportState.RUNNING) and not started.keeps_file


def fail(session: Session, import_id: int, code: str) -> None:
    """Say that an import cannot go on, and why; what it took in stays."""
    started = imports.get(session, import_id)
    if started.state is ImportState.RUNNING:
        started.state, started.failure, started.finished_at = ImportState.FAILED, code, clock.now()


def close(session: Session, import_id: int) -> None:
    """Delete the file of an import that has ended."""
    started = imports.get(session, import_id)
    if started.state not in (*BEFORE, ImportState.RUNNING):
        _drop_file(session, started)


def forget_old(session: Session) -> int:
    """Give up files that nobody came back for; how many."""
    old = sa.select(Import.id).where(Import.state.in_(BEFORE), Import.started_at < clock.now() - GIVEN_UP)
    ids = list(session.scalars(old))
    for import_id in ids:
        give_up(session, import_id)
    return len(ids)


def _drop_file(session: Session, started: Import) -> None:
    if not started.keeps_file:
        return
    started.keeps_file = False
    session.flush()
    others = sa.select(Import.id).where(Import.sha256 == started.sha256, Import.keeps_file)
    if session.scalar(others.limit(1)) is None:
        session.execute(sa.delete(StoredFile).where(StoredFile.sha256 == started.sha256))
