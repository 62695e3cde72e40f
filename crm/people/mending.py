"""Rows of an import that did not enter, mended by a person and tried again under the basis of their file."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm.errors import Conflict, NotFound
from crm.people import imports
from crm.people.columns import Columns, forbidden, match
from crm.people.imports import RowResult
from crm.people.models import Import, ImportRow, ImportState, RowStatus

_NUMBERED = re.compile(r"\((\d{1,5})\)")
"""How a column without a title is called: by its place."""


@dataclass(frozen=True)
class Cell:
    """A cell of a row: where it stands (from 0), what its column is called, and what it says."""

    index: int
    label: str
    text: str
    is_read: bool
    """Whether its column is taken in."""
    is_beyond: bool = False
    """Whether it stands beyond the last title: perhaps a comma without quotes parted another cell in two."""


def may_mend(started: Import) -> bool:
    """Whether refused rows of an import may still be tried again."""
    return started.state is ImportState.DONE and started.undone_at is None and bool(started.headers)


def cells_of(session: Session, import_id: int, number: int) -> list[Cell]:
    """The cells of a refused row that count or say something; errors: those of `mend`."""
    started, row = _refused(session, import_id, number)
    columns, values = _columns(started), row.values or {}
    read = {index for places in columns.indexes.values() for index in places}
    told = (Cell(index, label, str(values.get(label, "")), index in read) for index, label in columns.labels.items())
    return [*(cell for cell in told if cell.is_read or cell.text), *beyond_titles(started, values)]


def beyond_titles(started: Import, values: Mapping[str, object]) -> list[Cell]:
    """The cells of a row that stand beyond the last title of its file, as `Columns.values` names them, in their order."""
    numbered = ((_NUMBERED.fullmatch(name), str(text)) for name, text in values.items() if name not in started.headers)
    told = sorted((int(found[1]) - 1, text) for found, text in numbered if found)
    cells = [Cell(index, f"Celda {index + 1}", text, is_read=False, is_beyond=True) for index, text in told]
    return [cell for cell in cells if started.headers and cell.index >= len(started.headers)]


def mend(session: Session, import_id: int, number: int, texts: Mapping[int, str]) -> RowResult:
    """Try a refused row again with other cells, by their places; it enters, or is refused for what it now says.

    Errors: import_not_found, import_row_not_found, import_row_settled (it entered meanwhile, the import was undone or still runs,
    or its values are not kept).
    """
    started, row = _refused(session, import_id, number)
    session.info["why"] = imports.why(import_id)  # so that it goes with the others when the import is undone
    columns = _columns(started)
    kept = {label: text for label, text in (row.values or {}).items() if label not in columns.labels.values()}
    cells = [""] * len(columns.headers)
    for index, label in columns.labels.items():
        cells[index] = texts.get(index, str((row.values or {}).get(label, ""))).strip()
    result = imports.take_row(session, started, columns, (number, cells))
    before = row.status
    row.status, row.contact_id, row.code, row.field = result.status, result.contact_id, result.code, result.field
    row.more = list(imports.stored_remarks(result.more))
    row.values = {**kept, **result.values} if result.values is not None else None
    if result.status is not before:
        counts = started.counts
        started.counts = counts | {before.value: counts[before] - 1, result.status.value: counts.get(result.status, 0) + 1}
    session.flush()
    return result


def _refused(session: Session, import_id: int, number: int) -> tuple[Import, ImportRow]:
    """A refused row and its import, kept from others until this transaction ends."""
    started = imports.get(session, import_id)
    session.refresh(started, with_for_update=True)
    wanted = sa.select(ImportRow).where(ImportRow.import_id == import_id, ImportRow.number == number)
    row = session.scalars(wanted.with_for_update().execution_options(populate_existing=True)).first()
    if row is None:
        raise NotFound("import_row_not_found")
    if not may_mend(started) or row.status is not RowStatus.REFUSED or row.values is None:
        raise Conflict("import_row_settled")
    return started, row


def _columns(started: Import) -> Columns:
    """The columns of its file, as they were read."""
    headers = started.headers
    return match(headers, started.chosen, forbidden(headers, []))
