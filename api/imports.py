"""Spreadsheets over the API: a check that saves nothing, the import itself, and what became of each row."""

from datetime import date
from typing import Annotated

from fastapi import APIRouter, File, Form, Query, Request, UploadFile
from pydantic import BaseModel

from api.dependencies import Cursor, Limit, Page, Reading, RowId, ThisCall, page
from api.errors import documented
from api.guard import GuardedRoute
from crm.database import Database
from crm.errors import InvalidInput
from crm.history import Actor, ActorKind
from crm.people import imports
from crm.people.imports import Basis, RowResult
from crm.people.models import Import, Purpose, RowStatus

router = APIRouter(tags=["imports"], route_class=GuardedRoute)

ROWS_SHOWN = 200
EXAMPLE = {
    "multipart/form-data": {
        "example": {
            "file": "@red.xlsx",
            "dry_run": True,
            "purposes": ["electoral_information"],
            "evidence": "Hoja de registro del taller del 7 de enero",
            "agreed_on": "2027-01-07",
            "notice_version": "2026-1",
        }
    }
}
Evidence = Annotated[str, Form(max_length=2000, pattern=r"^[^\x00]*$")]
Version = Annotated[str | None, Form(max_length=40, pattern=r"^[^\x00-\x1f\x7f]*$")]


class ImportRowOut(BaseModel):
    """What becomes of one row, numbered as the spreadsheet numbers it."""

    row: int
    status: RowStatus
    code: str | None
    sentence: str | None
    """All that there is to say of it in Spanish."""
    column: str | None
    contact_id: int | None
    more: list[str] = []
    """Codes of what else there is to say of it, beside ``code``."""


class ImportOut(BaseModel):
    """An import, or with ``id`` null what it would do.

    ``rows`` are the first 200 rows that were refused; of a dry run, also those that need a look. ``rows_left_out`` says how
    many more there are.
    """

    id: int | None
    file_name: str
    counts: dict[str, int]
    columns: dict[str, str]
    rows: list[ImportRowOut]
    rows_left_out: int


@router.post("/imports", status_code=200, responses=documented(409, 413), openapi_extra={"requestBody": {"content": EXAMPLE}})
def import_contacts(
    request: Request,
    call: ThisCall,
    file: Annotated[UploadFile, File(description="A spreadsheet .xlsx or .csv of at most 15 MB.")],
    dry_run: Annotated[bool, Form()] = False,
    purposes: Annotated[
        list[Purpose] | None, Form(description="What these people agreed to receive; none: they are legacy.")
    ] = None,
    evidence: Evidence = "",
    agreed_on: Annotated[date | None, Form()] = None,
    notice_version: Version = None,
) -> ImportOut:
    """Take in a spreadsheet, or with ``dry_run`` only say row by row what it would do.

    A file that was cut goes on where it stopped; the same file again changes nothing.
    """
    database: Database = request.app.state.database
    if purposes and not evidence.strip():
        raise InvalidInput("evidence_required", field="evidence")
    basis = Basis(purposes, evidence, agreed_on, notice_version) if purposes else None
    body, name, actor = file.file.read(), file.filename or "lista", Actor(ActorKind.CLIENT, call.client_id)
    if dry_run:
        return _check(database, body, name, basis)
    with database.session(actor=actor) as session:
        number = imports.begin(session, body, name, basis=basis).id
    imports.run(database, number, body, actor=actor)
    with database.session(write=False) as session:
        done = imports.get(session, number)
        call.rows = sum(done.counts.values())
        refused, _ = imports.results(session, number, status=RowStatus.REFUSED, limit=ROWS_SHOWN)
        return _out(done, refused)


def _check(database: Database, body: bytes, name: str, basis: Basis | None) -> ImportOut:
    checked = imports.check(database, body, name, basis=basis)
    shown = [_row(row) for row in checked.rows[:ROWS_SHOWN]]
    return ImportOut(
        id=None,
        file_name=name[-255:],
        counts=checked.counts,
        columns=checked.columns.matched,
        rows=shown,
        rows_left_out=checked.coded - len(shown),
    )


@router.get("/imports/{import_id}", responses=documented(404))
def get_import(import_id: RowId, session: Reading) -> ImportOut:
    """An import and the first rows that it refused."""
    found = imports.get(session, import_id)
    refused, _ = imports.results(session, import_id, status=RowStatus.REFUSED, limit=ROWS_SHOWN)
    return _out(found, refused)


@router.get("/imports/{import_id}/rows", responses=documented(404))
def list_rows(
    import_id: RowId,
    session: Reading,
    call: ThisCall,
    status: Annotated[RowStatus | None, Query()] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[ImportRowOut]:
    """What became of each row, in the order of the file."""
    rows, following = imports.results(session, import_id, status=status, cursor=cursor, limit=limit)
    return page(call, [_row(row) for row in rows], following)


def _out(done: Import, refused: list[RowResult]) -> ImportOut:
    shown = [_row(row) for row in refused]
    return ImportOut(
        id=done.id,
        file_name=done.file_name,
        counts=done.counts,
        columns=done.columns,
        rows=shown,
        rows_left_out=max(0, done.counts.get(RowStatus.REFUSED, 0) - len(shown)),
    )


def _row(row: RowResult) -> ImportRowOut:
    return ImportRowOut(
        row=row.number,
        status=row.status,
        code=row.code,
        sentence=row.sentence,
        column=row.column,
        contact_id=row.contact_id,
        more=[one.code for one in row.more],
    )
