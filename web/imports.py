"""Importar: a file given, its columns matched, its basis stated, tried row by row, taken in by a worker, and taken back."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.orm import Session
from starlette.datastructures import FormData, UploadFile

from crm import clock, history, sheets
from crm.database import keyset_page
from crm.errors import CrmError, InvalidInput
from crm.mailing import import_results
from crm.people import duplicates, imports, mending, uploads
from crm.people.columns import MANY, tells_consent
from crm.people.encodings import ENCODINGS
from crm.people.imports import Basis, Layout, Remark
from crm.people.models import Import, PrivacyNotice, Purpose, RowStatus
from crm.people.workbooks import SHEET_COLUMNS
from crm.staff.models import Account
from web.asked import number_of, single_spaced, text_of, whole_number
from web.dependencies import Posted, SessionOf, ViewerOf, database_of, writing
from web.errors import status_of
from web.pages import attached, is_fragment, page
from web.words import CONSENTED, ENCODING_WORDS, IMPORT_FIELDS, IMPORT_STATES, PURPOSES, ROW_STATUSES, RULES

IMPORTS_MOST = 20
ROWS_MOST = 100
TWINS_NAMED = 5
"""Possible duplicates that the page of an import names."""
SOURCE_LENGTH = 120
NUMBERED = re.compile(r"\((\d{1,4})\)$")
"""How a column without a header of its own is called: by its place."""

router = APIRouter()
ImportId = Annotated[int, Path(ge=1, lt=2**31)]
RowNumber = Annotated[int, Path(ge=1, lt=2**31)]
Cursor = Annotated[str | None, Query(max_length=200)]


# --- the list, and a new one --------------------------------------------------------------------------------------------------


@router.get("/importar")
def show_all(request: Request, session: SessionOf, cursor: Cursor = None) -> Response:
    """Past imports, newest first, and the field for a new file."""
    return _list(request, session, cursor)


def _list(
    request: Request, session: Session, cursor: str | None = None, wrong: str = "", pasted: str = "", status: int = 200
) -> Response:
    rows, following = keyset_page(session, sa.select(Import), [Import.id], cursor=cursor, limit=IMPORTS_MOST, descending=True)
    context = {"imports": [row[0] for row in rows], "states": IMPORT_STATES, "cursor": cursor, "following": following}
    return page(request, "imports/list.html", {**context, "wrong": wrong, "pasted": pasted}, status=status)


@router.post("/importar")
def upload(request: Request, session: SessionOf, form: Posted) -> Response:
    """Keep a file, or rows pasted from a spreadsheet; what cannot be read as one is refused at once, with the reason."""
    given, pasted = form.get("archivo"), str(form.get("filas", ""))
    name, body = (given.filename, given.file.read()) if isinstance(given, UploadFile) and given.filename else (None, b"")
    if name is None and pasted.strip():
        name, body = f"Filas pegadas {clock.institute_time(clock.now()):%Y-%m-%d %H.%M}.tsv", pasted.encode()
    if name is None:
        return _list(request, session, wrong="Elija el archivo de la lista, o pegue sus filas.", pasted=pasted, status=422)
    try:
        with session.begin_nested():
            made = uploads.upload(session, body, name)
    except CrmError as error:
        return _list(request, session, wrong=error.sentence, pasted=pasted, status=status_of(error))
    return RedirectResponse(f"/importar/{made.id}", status_code=303)


# --- before it begins ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Typed:
    """What the form says: how the file is read and where its people come from."""

    layout: Layout
    is_stated: bool = False
    """Whether it is said under what basis; else its people are of the list that was there before."""
    purposes: tuple[str, ...] = ()
    evidence: str = ""
    agreed_on: str = ""
    notice_version: str = ""
    source: str = ""
    """Whose list it is."""
    problems: dict[str, str] = field(default_factory=dict)

    def basis(self) -> Basis | None:
        """The basis, or InvalidInput(evidence_required, purpose_required, date_invalid)."""
        if not self.is_stated:
            return None
        if not self.purposes:
            raise InvalidInput("purpose_required", field="purposes")
        if not self.evidence.strip():
            raise InvalidInput("evidence_required", field="evidence")
        known = [Purpose(name) for name in self.purposes]
        return Basis(known, self.evidence.strip(), self._day(), self.notice_version.strip() or None)

    def _day(self) -> date | None:
        if not self.agreed_on:
            return None
        try:
            told = date.fromisoformat(self.agreed_on)
        except ValueError as error:
            raise InvalidInput("date_invalid", field="agreed_on") from error
        if told > clock.today():
            raise InvalidInput("date_future", field="agreed_on")
        return told


def _typed_of(started: Import) -> Typed:
    basis = uploads.basis_of(started)
    return Typed(
        Layout.of(started),
        is_stated=basis is not None,
        purposes=tuple(started.purposes),
        evidence=started.evidence or "",
        agreed_on=started.agreed_on.isoformat() if started.agreed_on else "",
        notice_version=started.notice_version or "",
        source=started.source or "",
    )


def _read(form: FormData, started: Import) -> Typed:
    sheet = text_of(form, "sheet") or None
    shown = min(number_of(form, "columns") or 0, SHEET_COLUMNS)
    chosen = [text_of(form, f"column.{number}") or None for number in range(shown)]
    told = ((name, text_of(form, f"rule.{number}")) for number, name in enumerate(chosen) if name)
    rules = {name: word if word in RULES else "fill" for name, word in told}
    is_sheet_shown = text_of(form, "shown_sheet") == (sheet or "")
    is_header_shown = number_of(form, "header") == number_of(form, "shown_header")
    # Another sheet, or another row of titles, has other columns: what was chosen for the last ones says nothing of it.
    is_as_shown = is_sheet_shown and is_header_shown
    header = number_of(form, "told_header" if is_header_shown else "header") if is_sheet_shown else None
    kept = chosen if chosen and is_as_shown else None
    return Typed(
        Layout(
            sheet,
            kept if kept is not None or not is_as_shown else started.chosen,
            header,
            rules if set(rules.values()) != {"fill"} else {},
            _encoding(form, "told_encoding"),
        ),
        is_stated=text_of(form, "basis") == "stated",
        purposes=tuple(name for name in form.getlist("purposes") if isinstance(name, str) and name in set(Purpose)),
        evidence=text_of(form, "evidence")[:2000],
        agreed_on=text_of(form, "agreed_on"),
        notice_version=text_of(form, "notice_version")[:40],
        source="".join(letter for letter in single_spaced(text_of(form, "source")) if letter.isprintable())[:SOURCE_LENGTH],
    )


def _as_asked(session: Session, started: Import, form: FormData, typed: Typed, deed: str) -> Typed:
    """What was typed, in another encoding or as the list of a source where that is asked for; its ``problems`` say why not."""
    told = _encoding(form, "encoding")
    if typed.layout.encoding != started.encoding:  # a forged one would lock the page; others were looked at before
        try:
            uploads.look(session, started, typed.layout)
        except InvalidInput as error:
            return replace(typed, layout=replace(typed.layout, encoding=started.encoding), problems={"encoding": error.sentence})
    try:
        if told is not None and told != text_of(form, "shown_encoding"):
            typed = replace(typed, layout=uploads.read_otherwise(session, started, typed.layout, told))
        if deed == "source":
            typed = replace(typed, layout=uploads.read_as_source(session, started, typed.layout, typed.source))
    except InvalidInput as error:
        return replace(typed, problems={error.field or "": error.sentence})
    return typed


def _encoding(form: FormData, name: str) -> str | None:
    told = text_of(form, name)
    return told if told in ENCODINGS else None


@router.get("/importar/{import_id}")
def show(request: Request, session: SessionOf, import_id: ImportId) -> Response:
    """Before it begins: columns, basis and check. Then: how far it got and what became of it."""
    started = imports.get(session, import_id)
    if started.state in uploads.BEFORE:
        return _form(request, session, started, _typed_of(started))
    return page(request, "imports/result.html", _result(session, started))


@router.post("/importar/{import_id}")
def write(request: Request, viewer: ViewerOf, import_id: ImportId, form: Posted) -> Response:
    """Look at another sheet or as the list of a source, check, begin or give up, as the button says. The check runs with no
    transaction open."""
    deed = str(form.get("deed", "check"))
    with writing(request) as session:
        started = imports.get(session, import_id)
        if started.state not in uploads.BEFORE:
            return RedirectResponse(f"/importar/{import_id}", status_code=303)
        if deed == "discard":
            uploads.give_up(session, import_id)
            return RedirectResponse("/importar", status_code=303)
        typed = _read(form, started)
        typed = _as_asked(session, started, form, typed, deed)
        if typed.problems:
            return _form(request, session, started, typed, status=422)
        if deed in ("sheet", "source"):
            read_as = uploads.last_of_source(session, typed.source) if deed == "source" else None
            return _form(request, session, started, typed, read_as=read_as)
        try:
            was_checked = started.checked is not None
            started = uploads.describe(session, import_id, typed.layout, typed.basis(), typed.source or None)
        except InvalidInput as error:
            wrong = replace(typed, problems={error.field or "": error.sentence})
            return _form(request, session, started, wrong, status=422)
        if deed == "import" and was_checked and started.checked is not None:
            uploads.confirm(session, import_id, viewer.account_id)
            return RedirectResponse(f"/importar/{import_id}", status_code=303)
    return _checked(request, import_id, typed, again=deed == "import")


def _checked(request: Request, import_id: int, typed: Typed, *, again: bool) -> Response:
    """The page after a check; ``again``: the import was asked for, but what it says was not what had been checked."""
    database = database_of(request)
    try:
        uploads.try_out(database, import_id)
    except CrmError as error:
        with database.session(write=False) as session:
            told = replace(typed, problems={"file": error.sentence})
            return _form(request, session, imports.get(session, import_id), told, status=status_of(error))
    if not again:
        return RedirectResponse(f"/importar/{import_id}#revision", status_code=303)
    with database.session(write=False) as session:
        told = replace(typed, problems={"revision": "Cambió algo desde la revisión. Vea el resultado de nuevo y confirme."})
        return _form(request, session, imports.get(session, import_id), told, status=409)


def _form(
    request: Request, session: Session, started: Import, typed: Typed, status: int = 200, read_as: Import | None = None
) -> Response:
    """``read_as``: the list that a person asked to read this one like."""
    look = uploads.look(session, started, typed.layout)
    headers = look.header[1]
    like = uploads.earlier_like(session, started, headers)
    chosen = typed.layout.chosen
    fields = list(chosen) if chosen is not None else uploads.proposed(session, started, look)
    fields += [None] * (len(headers) - len(fields))
    problems = dict(typed.problems)
    has_no_titles = bool(look.header[1]) and not any(look.header[1])  # which the row of the titles says beside its own field
    if look.problem is not None and "file" not in problems and not (has_no_titles and look.problem.code == "no_header"):
        others = (
            " Si la lista está en otra hoja, elíjala abajo." if look.problem.code == "no_header" and len(look.sheets) > 1 else ""
        )
        problems["file"] = look.problem.sentence + others
    context = {
        "started": started,
        "typed": typed,
        "problems": problems,
        "of_consent": [header for header in look.header[1] if tells_consent(header)],
        "look": look,
        "sheet": typed.layout.sheet or (look.sheets[0] if look.sheets else ""),
        "columns": list(zip(headers, fields, look.examples, strict=False)),
        "like": like,
        "read_as": read_as,
        "fields": IMPORT_FIELDS,
        "rules": RULES,
        "encodings": ENCODING_WORDS,
        "sources": uploads.sources(session),
        "source_most": SOURCE_LENGTH,
        "many": MANY,
        "purposes": [(purpose.value, words) for purpose, words in CONSENTED.items()],
        "notices": list(session.scalars(sa.select(PrivacyNotice.version).order_by(PrivacyNotice.id.desc()))),
        "checked": _told(started),
        "statuses": ROW_STATUSES,
    }
    return page(request, "imports/form.html", context, status=status)


def _told(started: Import) -> dict[str, Any] | None:
    """What the last check told, its rows in words."""
    if started.checked is None:
        return None
    rows = [{"text": "", **row, "remarks": _remarks(row)} for row in started.checked["rows"]]  # older checks kept no text
    coming = sum(started.checked["counts"].get(status, 0) for status in (RowStatus.CREATED, RowStatus.UPDATED))
    return {**started.checked, "rows": rows, "total": sum(started.checked["counts"].values()), "coming": coming}


def _remarks(row: Mapping[str, Any]) -> list[Remark]:
    """What a check told of a row; one that was kept before rows had several holds it in itself."""
    return [Remark(one["code"], one["field"], one["column"]) for one in row.get("remarks", [row])]


# --- while it runs, and what became of it -------------------------------------------------------------------------------------


@router.get("/importar/{import_id}/avance")
def progress(request: Request, session: SessionOf, import_id: ImportId) -> Response:
    """What moves of an import that runs; once it has ended, the whole page."""
    started = imports.get(session, import_id)
    if is_fragment(request) and uploads.is_over(started):
        return Response(headers={"HX-Redirect": f"/importar/{import_id}"})
    template = "imports/progress.html" if is_fragment(request) else "imports/result.html"
    return page(request, template, _result(session, started))


def _result(session: Session, started: Import) -> dict[str, Any]:
    who = session.get(Account, started.ordered_by_id) if started.ordered_by_id else None
    checked = started.checked["counts"] if started.checked else started.counts
    is_over = uploads.is_over(started)
    may_undo = import_results.may_undo(started)
    segment = import_results.segment_of(session, started.id) if is_over else None
    return {
        "started": started,
        "who": who.name if who else None,
        "total": sum(checked.values()),
        "is_over": is_over,
        "states": IMPORT_STATES,
        "statuses": ROW_STATUSES,
        "purposes": {purpose.value: words for purpose, words in PURPOSES.items()},
        "failure": CrmError(started.failure, row="", limit="").sentence if started.failure else None,
        "segment": segment,
        "left_in_segment": import_results.people_in(session, segment) if segment is not None and started.undone_at else 0,
        "foreseen": import_results.foresee(session, started.id) if may_undo else None,
        "written": import_results.count_written(session, started.id) if is_over else 0,
        "until": import_results.until(started),
        "twins": duplicates.find(session, import_id=started.id, limit=TWINS_NAMED)[0] if is_over else [],
        "twins_count": duplicates.count_of_import(session, started.id) if is_over else 0,
        "forgotten": started.started_at + imports.ROWS_KEPT_FOR,
        "may_mend": mending.may_mend(started),
        "are_kept": clock.now() < started.started_at + imports.ROWS_KEPT_FOR,
        "wrong": "",
    }


@router.get("/importar/{import_id}/filas")
def rows(
    request: Request,
    session: SessionOf,
    import_id: ImportId,
    estado: RowStatus | None = None,
    cursor: Cursor = None,
    entro: Annotated[int | None, Query(ge=1, lt=2**31)] = None,
) -> Response:
    """What became of each row, in the order of the file, of one status or of all."""
    started = imports.get(session, import_id)
    found, following = imports.results(session, import_id, status=estado, cursor=cursor, limit=ROWS_MOST)
    entered = imports.result_of(session, import_id, entro) if entro is not None else None
    context = {"started": started, "rows": found, "status": estado, "cursor": cursor, "following": following, "entered": entered}
    context["may_mend"] = mending.may_mend(started)
    context["beyond"] = {one.number: mending.beyond_titles(started, one.values or {}) for one in found}
    alike = [one.contact_id for one in found if one.code == "possible_duplicate" and one.contact_id is not None]
    context["twins"] = {
        number: (pair.id, pair.name_beside(number)) for number, pair in duplicates.first_pairs(session, alike).items()
    }
    return page(request, "imports/rows.html", {**context, "statuses": ROW_STATUSES})


@router.get("/importar/{import_id}/filas/{number}")
def row(request: Request, session: SessionOf, import_id: ImportId, number: RowNumber) -> Response:
    """A row that did not enter, to be mended."""
    started = imports.get(session, import_id)
    return _row(request, session, started, number, {}, None)


@router.post("/importar/{import_id}/filas/{number}")
def mend_row(request: Request, session: SessionOf, import_id: ImportId, number: RowNumber, form: Posted) -> Response:
    """Try it again as it was mended; what it says is kept, whether or not it enters."""
    cells = mending.cells_of(session, import_id, number)
    texts = {cell.index: text_of(form, f"cell.{cell.index}") for cell in cells if cell.is_read}
    told = mending.mend(session, import_id, number, texts)
    if told.status is RowStatus.REFUSED:
        return _row(request, session, imports.get(session, import_id), number, texts, told)
    return RedirectResponse(f"/importar/{import_id}/filas?estado=refused&entro={number}", status_code=303)


def _row(
    request: Request, session: Session, started: Import, number: int, texts: dict[int, str], told: imports.RowResult | None
) -> Response:
    if told is not None and told.values is None:  # what we were asked to forget is not shown again
        return RedirectResponse(f"/importar/{started.id}/filas?estado=refused", status_code=303)
    cells = mending.cells_of(session, started.id, number)
    told = told or imports.result_of(session, started.id, number)
    context = {"started": started, "number": number, "cells": cells, "told": told, "texts": texts}
    return page(request, "imports/row.html", context, status=422 if texts else 200)


@router.post("/importar/{import_id}/rechazadas")
def refused(request: Request, import_id: ImportId) -> Response:
    """The rows that were refused, as they came and with the reason, to be corrected and given again. The export is noted: before
    it is given, and after the reading, which keeps nobody from writing."""
    with database_of(request).session(write=False) as session:
        started = imports.get(session, import_id)
        found = list(_refused_rows(session, import_id))
        body = _as_csv(found, started.headers)
    with writing(request) as session:
        history.note(session, "import", import_id, exported_rows=len(found))
    return attached(body, sheets.CSV_TYPE, f"importacion-{import_id}-rechazadas.csv")


def _refused_rows(session: Session, import_id: int) -> Iterator[imports.RowResult]:
    cursor: str | None = None
    while True:
        found, cursor = imports.results(session, import_id, status=RowStatus.REFUSED, cursor=cursor, limit=200)
        yield from found
        if cursor is None:
            return


def _as_csv(found: list[imports.RowResult], columns: Sequence[str]) -> bytes:
    """``columns`` are the headers of the file."""
    names = _in_order({name for row in found for name in row.values or {}}, columns)
    rows = [[*(str((row.values or {}).get(name, "")) for name in names), str(row.number), row.sentence or ""] for row in found]
    return sheets.csv_file([*names, "Fila del archivo", "Por qué no entró"], rows)


def _in_order(names: set[str], columns: Sequence[str]) -> list[str]:
    """The names of `Columns.values` as the file has them: PostgreSQL keeps no order of the keys of a row."""
    places = {header: number for number, header in reversed(list(enumerate(columns)))}

    def place(name: str) -> tuple[int, str]:
        numbered = NUMBERED.search(name)
        return places.get(name, int(numbered[1]) - 1 if numbered else len(columns)), name

    return sorted(names, key=place)


@router.post("/importar/{import_id}/deshacer")
def undo(request: Request, session: SessionOf, import_id: ImportId, form: Posted) -> Response:
    """Take the whole import back, as far as it can be; who undoes it types how many people that takes away."""
    started = imports.get(session, import_id)
    typed = whole_number(text_of(form, "numero").replace(",", "").replace(" ", ""))
    if import_results.may_undo(started):
        expected = import_results.foresee(session, import_id).removed
        if typed != expected:
            whom = "la persona que se quitaría" if expected == 1 else "las personas que se quitarían"
            context = _result(session, started) | {"wrong": f"Escriba {expected:,}: {whom} ahora."}
            return page(request, "imports/result.html", context, status=422)
    import_results.undo(session, import_id)
    return RedirectResponse(f"/importar/{import_id}", status_code=303)
