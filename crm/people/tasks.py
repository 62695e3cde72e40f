"""What is to be done by a day, about a person or about none, and who does it."""

from datetime import date
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm import clock
from crm.database import keyset_page
from crm.errors import InvalidInput, NotFound
from crm.people import contacts
from crm.people.contacts import visible
from crm.people.models import Contact, Task
from crm.people.notes import checked_text
from crm.staff.models import Account

LATEST = date(2099, 12, 31)
SHOWN = 50
"""Tasks of a page."""


def add(
    session: Session,
    text: str,
    *,
    due_on: date | None,
    account_id: int | None,
    made_by_id: int | None,
    contact_id: int | None = None,
) -> Task:
    """Write a task down. InvalidInput(field_required, field_too_long, note_holds_document, date_too_far, account_unknown),
    NotFound(contact_not_found)."""
    if contact_id is not None:
        contacts.get(session, contact_id)
    if due_on is not None and due_on > LATEST:
        raise InvalidInput("date_too_far", field="due_on")
    check_owner(session, account_id)
    made = Task(contact_id=contact_id, text=checked_text(text), due_on=due_on, account_id=account_id, made_by_id=made_by_id)
    session.add(made)
    session.flush()
    return made


def check_owner(session: Session, account_id: int | None) -> None:
    """Whether a task may be an account's; InvalidInput(account_unknown)."""
    owner = session.get(Account, account_id) if account_id is not None else None
    if account_id is not None and (owner is None or owner.disabled_at is not None):
        raise InvalidInput("account_unknown", field="account_id")


def find(
    session: Session,
    *,
    contact_id: int | None = None,
    account_id: int | None = None,
    done: bool = False,
    due_by: date | None = None,
    cursor: str | None = None,
    limit: int = SHOWN,
) -> tuple[list[Task], str | None]:
    """Tasks of a person, or of an account (its own and those of anybody), or all: the most pressing first, of those done the last;
    and the cursor of those after them. ``due_by``: only those whose day has come by then.

    Those about people who are blocked are left out. InvalidInput(cursor_invalid).
    """
    asked: Any = _asked(sa.select(Task), contact_id, account_id, due_by, done=done)
    keys = [sa.cast(sa.extract("epoch", Task.done_at), sa.BigInteger), Task.id] if done else [_DAY, Task.id]
    rows, following = keyset_page(session, asked, keys, cursor=cursor, limit=limit, descending=done)
    return [row[0] for row in rows], following


_DAY = sa.func.coalesce(sa.cast(Task.due_on, sa.String), "9999")
"""The day of a task as text, which is in the order of days; after all of them, no day."""


def count(
    session: Session,
    *,
    contact_id: int | None = None,
    account_id: int | None = None,
    done: bool = False,
    due_by: date | None = None,
) -> int:
    """How many `find` has on all of its pages."""
    asked = _asked(sa.select(sa.func.count(Task.id)), contact_id, account_id, due_by, done=done)
    return session.scalar(asked) or 0


def due(session: Session, account_id: int, limit: int = SHOWN) -> tuple[list[Task], int]:
    """The most pressing open tasks of an account, or of nobody, whose day is today or went by, and how many all are."""
    today = clock.today()
    return find(session, account_id=account_id, due_by=today, limit=limit)[0], count(session, account_id=account_id, due_by=today)


def _asked(
    asked: sa.Select[Any], contact_id: int | None, account_id: int | None, due_by: date | None, *, done: bool
) -> sa.Select[Any]:
    asked = asked.outerjoin(Contact, Contact.id == Task.contact_id)
    asked = asked.where(Task.removed_at.is_(None), sa.or_(Task.contact_id.is_(None), visible()))
    asked = asked.where(Task.done_at.is_not(None) if done else Task.done_at.is_(None))
    if contact_id is not None:
        asked = asked.where(Task.contact_id == contact_id)
    if account_id is not None:
        asked = asked.where(sa.or_(Task.account_id == account_id, Task.account_id.is_(None)))
    if due_by is not None:
        asked = asked.where(Task.due_on <= due_by)
    return asked


def finish(session: Session, task_id: int, account_id: int | None) -> Task:
    """It was done; twice is the same as once. Errors of `get`."""
    task = get(session, task_id)
    if task.done_at is None:
        task.done_at, task.done_by_id = clock.now(), account_id
    session.flush()
    return task


def reopen(session: Session, task_id: int) -> Task:
    """It was not done after all, or is put back. Errors of `get`."""
    task = get(session, task_id)
    task.done_at = task.done_by_id = task.removed_at = None
    session.flush()
    return task


def remove(session: Session, task_id: int) -> Task:
    """Take a task away; `reopen` puts it back. Errors of `get`."""
    task = get(session, task_id)
    task.removed_at = task.removed_at or clock.now()
    session.flush()
    return task


def get(session: Session, task_id: int) -> Task:
    """A task, done or taken away too. NotFound(task_not_found); of whom it is about as `contacts.get`: nobody who is blocked."""
    task = session.get(Task, task_id)
    if task is None:
        raise NotFound("task_not_found")
    if task.contact_id is not None:
        contacts.get(session, task.contact_id)
    return task
