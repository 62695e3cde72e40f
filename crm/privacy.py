"""Rights of the data subject: everything that is held on one person (derecho de acceso: Ley General de Protección de Datos
Personales en Posesión de Sujetos Obligados, derechos ARCO; Reglamento (UE) 2016/679, art. 15)."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, datetime
from enum import Enum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm import history
from crm.database import Base
from crm.errors import NotFound
from crm.history import Change, ChangePersonal
from crm.mailing.models import Campaign, Send
from crm.people.models import City, Contact, EmailAddress, Import, Organization, Suppression, Tag

Row = dict[str, Any]
SEEN = "full_record"
"""What the log calls everything that is held on one person, when somebody saw or took it."""
_NAMES: dict[str, tuple[str, Any]] = {
    "city_id": ("city", sa.select(City.id, City.name)),
    "tag_id": ("tag", sa.select(Tag.id, Tag.name)),
    "organization_id": ("organization", sa.select(Organization.id, Organization.name)),
    "import_id": ("import_file", sa.select(Import.id, Import.file_name)),
    "send_id": ("campaign", sa.select(Send.id, Campaign.name).join(Campaign, Campaign.id == Send.campaign_id)),
}
"""Columns that point to a row which is nobody's, and what that row is called."""


def everything(session: Session, contact_id: int) -> dict[str, list[Row]]:
    """All rows that are of one person, by table, oldest first; also of who is blocked, and of records joined into theirs.

    NotFound(contact_not_found).

    Tables are found by their foreign keys, from the contact on: one that is added later is told without anybody's remembering.
    Besides them the suppressions of the person's addresses, and the log: every change with its values, and who saw all of this.
    """
    contact = Contact.__table__
    mine = sa.or_(contact.c.id == contact_id, contact.c.merged_into_id == contact_id)
    held: dict[str, list[Row]] = {"contact": _rows(session, sa.select(contact).where(mine).order_by(contact.c.id))}
    ids = {row["id"] for row in held["contact"]}
    if contact_id not in ids:
        raise NotFound("contact_not_found")
    reached: dict[str, set[int]] = {"contact": ids}
    for table, columns in _of_a_person():
        chosen = [column.in_(reached[parent]) for column, parent in columns if reached.get(parent)]
        found = _rows(session, sa.select(table).where(sa.or_(*chosen)).order_by(*table.primary_key.columns)) if chosen else []
        held[table.name] = found
        reached[table.name] = {row["id"] for row in found if isinstance(row.get("id"), int)}
    held["suppression"] = _suppressions(session, ids)
    held["change"] = _changes(session, ids)
    return {name: [_named(session, row) for row in rows] for name, rows in held.items() if rows}


def note(session: Session, contact_id: int, held: Mapping[str, Sequence[Row]], form: str) -> None:
    """Log that all of a person was seen or taken and how many rows that were: before anything of it is shown. Nothing of the person
    changed, so it is no change of theirs, which would keep an import from being taken back."""
    history.note(session, SEEN, contact_id, form=[None, form], rows=[None, sum(map(len, held.values()))])


def tables_of_a_person() -> set[str]:
    """The tables whose rows are somebody's: `contact` and those that hang on it."""
    return {"contact", *(table.name for table, _ in _of_a_person())}


def _of_a_person() -> list[tuple[sa.Table, list[tuple[sa.Column[Any], str]]]]:
    """Tables with the columns that lead to a person's row, each after those that it hangs on."""
    found: list[tuple[sa.Table, list[tuple[sa.Column[Any], str]]]] = []
    reached = {"contact"}
    for table in Base.metadata.sorted_tables:
        if table.name == "contact":
            continue
        leading = [
            (column, key.column.table.name)
            for column in table.columns
            for key in column.foreign_keys
            if key.column.table.name in reached
        ]
        if leading:
            found.append((table, leading))
            reached.add(table.name)
    return found


def _rows(session: Session, statement: sa.Select[Any]) -> list[Row]:
    return [dict(row) for row in session.execute(statement).mappings()]


def _suppressions(session: Session, ids: Collection[int]) -> list[Row]:
    mine = sa.select(EmailAddress.suppression_hash).where(EmailAddress.contact_id.in_(ids))
    table = Suppression.__table__
    return _rows(session, sa.select(table).where(table.c.address_hash.in_(mine)).order_by(table.c.id))


def _changes(session: Session, ids: Collection[int]) -> list[Row]:
    log, beside = Change.__table__, ChangePersonal.__table__
    statement = sa.select(log, beside.c.fields.label("personal")).outerjoin(beside, beside.c.change_id == log.c.id)
    return _rows(session, statement.where(log.c.root.in_(("contact", SEEN)), log.c.root_id.in_(ids)).order_by(log.c.id))


def _named(session: Session, row: Row) -> Row:
    told = {name: plain(value) for name, value in row.items()}
    for column, (name, statement) in _NAMES.items():
        if row.get(column) is not None:
            key = next(iter(statement.selected_columns))
            found = session.execute(statement.where(key == row[column])).first()
            told[name] = found[1] if found else None
    return told


def plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [plain(one) for one in value]
    return value
