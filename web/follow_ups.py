"""Tareas y notas: what is to be done and by when, and what the team remembers of a person."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.orm import Session

from crm import clock
from crm.errors import CrmError, Gone, InvalidInput, NotFound
from crm.people import notes, tasks
from crm.people.models import Contact, Note, Task
from crm.people.names import display_name
from crm.staff import accounts
from crm.staff.models import Account
from crm.staff.rights import Right
from web.asked import address, text_of, whole_number
from web.dependencies import Posted, SessionOf, ViewerOf
from web.errors import status_of
from web.pages import Viewer, page
from web.person_words import masked_text

VIEWS = {"": "Mías y de nadie", "todas": "De todo el equipo", "hechas": "Hechas"}
FIELDS = {"text": "tarea", "due_on": "para", "account_id": "quien"}
"""Fields of a task, as the form names them."""

router = APIRouter()
RowId = Annotated[int, Path(ge=1, lt=2**31)]


@dataclass(frozen=True)
class Line:
    """A task as a list shows it."""

    id: int
    text: str
    due_on: date | None
    is_late: bool
    owner: str | None
    contact_id: int | None
    person: str | None
    is_done: bool


def lines_of(session: Session, found: Sequence[Task], *, masked: bool) -> list[Line]:
    """Tasks in words, with whose they are and whom they are about."""
    if not found:
        return []
    people = {task.contact_id for task in found if task.contact_id}
    named = {one.id: display_name(one) for one in session.scalars(sa.select(Contact).where(Contact.id.in_(people)))}
    owners = {account.id: account.name for account in session.scalars(sa.select(Account))}
    today = clock.today()
    return [
        Line(
            id=task.id,
            text=masked_text(task.text) if masked else task.text,
            due_on=task.due_on,
            is_late=task.due_on is not None and task.due_on < today and task.done_at is None,
            owner=owners.get(task.account_id) if task.account_id else None,
            contact_id=task.contact_id,
            person=(named.get(task.contact_id) or "Sin nombre") if task.contact_id else None,
            is_done=task.done_at is not None,
        )
        for task in found
    ]


def owners(session: Session) -> list[tuple[str, str]]:
    """Whose a task may be, as the options of a form."""
    every = sorted((one for one in accounts.find(session) if one.disabled_at is None), key=lambda one: one.name.casefold())
    return [("", "De quien pueda"), *((str(one.id), one.name) for one in every)]


@router.get("/tareas")
def show(
    request: Request,
    session: SessionOf,
    viewer: ViewerOf,
    ver: str = "",
    hecha: str = "",
    quitada: str = "",
    cursor: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """The tasks that are open, one's own first; `hecha` and `quitada` name the one that was just settled, to undo it."""
    settled = _settled(session, viewer, hecha, quitada)
    return _page(request, session, viewer, ver if ver in VIEWS else "", settled=settled, cursor=cursor)


def _settled(session: Session, viewer: Viewer, done: str, removed: str) -> tuple[Line, str] | None:
    """The task that was just settled, for who may bring it back: the number stands in the address, where anybody may write one."""
    for told, words in ((done, "Quedó hecha"), (removed, "Se quitó")):
        number = whole_number(told)
        if number and viewer.may(Right.EDIT):
            try:
                task = tasks.get(session, number)
            except (NotFound, Gone):
                return None
            if task.done_at or task.removed_at:
                return lines_of(session, [task], masked=not viewer.may(Right.VIEW_ADDRESSES))[0], words
    return None


def _page(
    request: Request,
    session: Session,
    viewer: Viewer,
    view: str,
    *,
    settled: tuple[Line, str] | None = None,
    cursor: str | None = None,
    typed: Mapping[str, str] | None = None,
    wrong: Mapping[str, str] | None = None,
    status: int = 200,
) -> Response:
    masked = not viewer.may(Right.VIEW_ADDRESSES)
    mine = viewer.account_id if view == "" else None
    found, following = tasks.find(session, account_id=mine, done=view == "hechas", cursor=cursor)
    here = {"ver": view} if view else {}
    context = {
        "tasks": lines_of(session, found, masked=masked),
        "total": tasks.count(session, account_id=mine, done=view == "hechas"),
        "before": address("/tareas", **here) if cursor else None,
        "after": address("/tareas", **here, cursor=following) if following else None,
        "views": VIEWS,
        "view": view,
        "settled": settled,
        "owners": owners(session),
        "typed": {"tarea": "", "para": "", "quien": str(viewer.account_id)} | dict(typed or {}),
        "wrong": wrong or {},
        "may_edit": viewer.may(Right.EDIT),
        "most": notes.TEXT_LENGTH,
    }
    return page(request, "follow_ups/page.html", context, status=status)


@router.post("/tareas")
def add(request: Request, session: SessionOf, viewer: ViewerOf, form: Posted) -> Response:
    """Write a task down that is about nobody in particular."""
    typed = {name: text_of(form, name) for name in FIELDS.values()}
    try:
        add_task(session, typed, viewer, None)
    except CrmError as error:
        return _page(request, session, viewer, "", typed=typed, wrong=wrong_of(error), status=status_of(error))
    return RedirectResponse("/tareas", status_code=303)


def add_task(session: Session, typed: Mapping[str, str], viewer: Viewer, contact_id: int | None) -> Task:
    """A task of a form; InvalidInput as `tasks.add`, and date_invalid."""
    try:
        due_on = date.fromisoformat(typed["para"]) if typed["para"] else None
    except ValueError as error:
        raise InvalidInput("date_invalid", field="due_on") from error
    owner = whole_number(typed["quien"])
    return tasks.add(session, typed["tarea"], due_on=due_on, account_id=owner, made_by_id=viewer.account_id, contact_id=contact_id)


def wrong_of(error: CrmError) -> dict[str, str]:
    """What is wrong with a task, by the field of its form."""
    return {FIELDS.get(error.field or "", "tarea"): error.sentence}


@router.post("/tareas/{task_id}/hecha")
def finish(session: SessionOf, viewer: ViewerOf, task_id: RowId, form: Posted) -> Response:
    """It was done."""
    task = tasks.finish(session, task_id, viewer.account_id)
    return _back(form, task, f"/tareas?hecha={task.id}")


@router.post("/tareas/{task_id}/quitar")
def remove(session: SessionOf, task_id: RowId, form: Posted) -> Response:
    """Take it away."""
    task = tasks.remove(session, task_id)
    return _back(form, task, f"/tareas?quitada={task.id}")


@router.post("/tareas/{task_id}/reabrir")
def reopen(session: SessionOf, task_id: RowId, form: Posted) -> Response:
    """Open it again, or put it back."""
    return _back(form, tasks.reopen(session, task_id), "/tareas")


@router.post("/notas/{note_id}/quitar")
def remove_note(session: SessionOf, note_id: RowId) -> Response:
    """Take a note away; the Ficha offers to put it back."""
    note = notes.remove(session, note_id)
    return RedirectResponse(f"/personas/{note.contact_id}?nota={note.id}#seguimiento", status_code=303)


@router.post("/notas/{note_id}/reponer")
def restore_note(session: SessionOf, note_id: RowId) -> Response:
    """Put a note back."""
    return RedirectResponse(f"/personas/{notes.restore(session, note_id).contact_id}#seguimiento", status_code=303)


def _back(form: Mapping[str, object], task: Task, elsewhere: str) -> Response:
    """To the Ficha if the button stood there."""
    to_person = form.get("desde") == "ficha" and task.contact_id is not None
    return RedirectResponse(f"/personas/{task.contact_id}#seguimiento" if to_person else elsewhere, status_code=303)


@dataclass(frozen=True)
class FollowUp:
    """What the Ficha shows of notes and tasks."""

    notes: Sequence[tuple[Note, str, str]]
    """Each with its text as the viewer may see it, and who wrote it."""
    open: list[Line]
    done: list[Line]
    open_total: int
    done_total: int
    """How many there are, of which those that are shown come first."""
    removed: Note | None
    """The note that was just taken away."""


def of_person(session: Session, contact_id: int, removed: str, *, masked: bool) -> FollowUp:
    """The notes and tasks of a person."""
    written = notes.find(session, contact_id)
    names = {account.id: account.name for account in session.scalars(sa.select(Account))} if written else {}
    number = whole_number(removed)
    taken = session.get(Note, number) if number else None
    mine = taken if taken is not None and taken.contact_id == contact_id and taken.removed_at else None
    return FollowUp(
        notes=[
            (note, masked_text(note.text) if masked else note.text, names.get(note.account_id or 0, "otra cuenta"))
            for note in written
        ],
        open=lines_of(session, tasks.find(session, contact_id=contact_id)[0], masked=masked),
        done=lines_of(session, tasks.find(session, contact_id=contact_id, done=True)[0], masked=masked),
        open_total=tasks.count(session, contact_id=contact_id),
        done_total=tasks.count(session, contact_id=contact_id, done=True),
        removed=mine,
    )
