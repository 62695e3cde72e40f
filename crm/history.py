"""The change log: one append-only table behind audit, a record's history, the /changes feed and webhooks.

Differences are taken before the flush and written after it (only there a new row has its id), in the same transaction.
Personal values before and after sit in a row apart, so that erasing them leaves the log whole.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Any, ClassVar

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.orm import Mapped, Session, mapped_column

from crm import clock
from crm.database import PLAIN, Base, Json, Personal, UtcDateTime, choice, insert_many, new_ids, personal


class ActorKind(StrEnum):
    ACCOUNT = "account"
    CLIENT = "client"
    CONTACT = "contact"
    SYSTEM = "system"


@dataclass(frozen=True)
class Actor:
    """Who acts: an account, an API client, the person of the mail, or the product itself (id None)."""

    kind: ActorKind
    id: int | None = None


SYSTEM = Actor(ActorKind.SYSTEM)


class Action(StrEnum):
    CREATE = "create"
    CHANGE = "change"
    REMOVE = "remove"
    NOTE = "note"
    """Something was done that changed no row: an export, a refused sign-in."""


class Change(Base):
    """One change of one row: who, when, why, and the values that are not personal."""

    __tablename__ = "change"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock.now)
    actor_kind: Mapped[ActorKind] = mapped_column(choice(ActorKind), info=PLAIN)
    actor_id: Mapped[int | None]
    why: Mapped[str | None] = mapped_column(sa.Text, info=PLAIN)
    action: Mapped[Action] = mapped_column(choice(Action), info=PLAIN)
    entity: Mapped[str] = mapped_column(sa.String(60), info=PLAIN)
    entity_id: Mapped[int | None]
    root: Mapped[str] = mapped_column(sa.String(60), info=PLAIN)
    root_id: Mapped[int | None]
    """The record that a person would look up: an address belongs to its contact."""
    fields: Mapped[dict[str, Any]] = mapped_column(Json, default=dict, info=PLAIN)
    """``{"column": [before, after]}`` of the columns that hold no personal data."""

    __table_args__ = (sa.Index("ix_change_root_root_id_id", "root", "root_id", "id"),)


class ChangePersonal(Base):
    """The personal values of a change, beside the log so that erasure does not break it."""

    __tablename__ = "change_personal"

    change_id: Mapped[int] = mapped_column(sa.ForeignKey("change.id"), primary_key=True)
    fields: Mapped[dict[str, Any]] = mapped_column(Json, info=personal(Personal.IDENTITY))


class Tracked:
    """Mixin of a table whose changes are logged. ``history_root`` names (entity, column) of the record it belongs to."""

    history_root: ClassVar[tuple[str, str] | None] = None


@dataclass
class Entry:
    """A change about to be written."""

    action: Action
    entity: str
    entity_id: int | None
    root: str
    root_id: int | None
    plain: dict[str, Any] = field(default_factory=dict)
    personal: dict[str, Any] = field(default_factory=dict)


def record(session: Session, entries: Sequence[Entry]) -> None:
    """Write entries for changes that the session does not see: bulk statements, exports, refusals."""
    if not entries:
        return
    actor: Actor = session.info.get("actor", SYSTEM)
    shared = {"at": clock.now(), "actor_kind": actor.kind, "actor_id": actor.id, "why": session.info.get("why")}
    ids = new_ids(session, Change.__table__, len(entries))
    rows = [
        {**shared, "id": change_id, "action": entry.action, "entity": entry.entity, "entity_id": entry.entity_id}
        | {"root": entry.root, "root_id": entry.root_id, "fields": entry.plain}
        for change_id, entry in zip(ids, entries, strict=True)
    ]
    insert_many(session, Change, rows)
    beside = [
        {"change_id": change_id, "fields": entry.personal} for change_id, entry in zip(ids, entries, strict=True) if entry.personal
    ]
    insert_many(session, ChangePersonal, beside)


def note(session: Session, entity: str, entity_id: int | None, **plain: Any) -> None:
    """Log a deed that changed no row."""
    record(session, [Entry(Action.NOTE, entity, entity_id, entity, entity_id, plain=plain)])


def changes_of(session: Session, root: str, root_id: int) -> Sequence[Change]:
    """The history of one record, newest first."""
    return session.scalars(sa.select(Change).where(Change.root == root, Change.root_id == root_id).order_by(Change.id.desc())).all()


@event.listens_for(Session, "before_flush")
def _take_differences(session: Session, _context: Any, _instances: Any) -> None:
    pending: list[tuple[Any, Entry]] = session.info.setdefault("history_pending", [])
    for action, rows in ((Action.CREATE, session.new), (Action.CHANGE, session.dirty), (Action.REMOVE, session.deleted)):
        for row in rows:
            if isinstance(row, Tracked):
                entry = _difference(row, action)
                if entry is not None:
                    pending.append((row, entry))


@event.listens_for(Session, "after_flush")
def _write_differences(session: Session, _context: Any) -> None:
    pending: list[tuple[Any, Entry]] = session.info.pop("history_pending", [])
    for row, entry in pending:
        entry.entity_id = row.id
        entry.root_id = row.id if row.history_root is None else getattr(row, row.history_root[1])
    record(session, [entry for _, entry in pending])


def _difference(row: Any, action: Action) -> Entry | None:
    state = sa.inspect(row)
    entry = Entry(action, row.__tablename__, None, row.history_root[0] if row.history_root else row.__tablename__, None)
    for attribute in state.mapper.column_attrs:
        column = attribute.columns[0]
        if column.primary_key or column.info.get("derived"):
            continue
        before, after = _before_and_after(state.attrs[attribute.key].history, action)
        if before != after:
            values = entry.personal if column.info.get("personal") else entry.plain
            values[attribute.key] = [_plain_value(before), _plain_value(after)]
    return entry if action is not Action.CHANGE or entry.plain or entry.personal else None


def _before_and_after(history: Any, action: Action) -> tuple[Any, Any]:
    added, unchanged, deleted = history
    current = _first(added) if added else _first(unchanged)
    if action is Action.CREATE:
        return None, current
    if action is Action.REMOVE:
        return current, None
    return (_first(deleted), current) if added else (current, current)


def _first(values: Iterable[Any]) -> Any:
    return next(iter(values or ()), None)


def _plain_value(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    return value
