"""Where each datum of a person came from: which list and row, whose hand, which program, or the person; and when."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm.history import Action, ActorKind, Change, ChangePersonal
from crm.people import consent, imports
from crm.people.addresses import mask_address
from crm.people.models import Contact, Import, ImportRow
from web.person_story import Reader
from web.person_words import FIELDS, sector_words, value_words

OWN = (
    "given_names",
    "first_surname",
    "second_surname",
    "preferred_name",
    "treatment",
    "academic_title",
    "language",
    "phone",
    "city_id",
    "city_as_typed",
    "country",
    "home_borough",
    "source",
)
"""Columns of a contact that are told, in the order of the Ficha."""
_IMPORT = re.compile(re.escape(imports.why(7)).replace("7", r"(\d{1,9})"))


@dataclass(frozen=True)
class Origin:
    """A datum: its name, what it says, where it came from in words, and when. ``at`` is None when nothing tells."""

    field: str
    value: str
    words: str
    at: datetime | None


def provenance_of(session: Session, contact: Contact, *, masked: bool) -> list[Origin]:
    """Every datum that the record of a loaded contact holds, with where it came from."""
    reader = _Origins(session, contact.id, masked)
    told = [reader.own(name, contact) for name in OWN if getattr(contact, name) not in (None, "")]
    for address in consent.active_addresses(contact):
        shown = mask_address(address.address) if masked else address.address
        told.append(reader.of("Correo", shown, "email_address", address.id, address.created_at))
    for post in contact.posts:
        if post.until is None:
            words = ", ".join(part for part in (post.title, post.organization.name) if part)
            told.append(reader.of("Organización y cargo", words, "post", post.id, None))
    led = [role for role in contact.leader_roles if role.until is None]
    return told + [reader.of("Liderazgo", sector_words(role.sector), "leader_role", role.id, None) for role in led]


class _Origins:
    """What the history tells of one person, read at once."""

    def __init__(self, session: Session, contact_id: int, masked: bool) -> None:
        self.reader = Reader(session, contact_id, masked)
        self.records = sa.select(Contact.id).where(sa.or_(Contact.id == contact_id, Contact.merged_into_id == contact_id))
        self.by_column: dict[str, Change] = {}
        self.made: dict[tuple[str, int], Change] = {}
        for change, fields in self._changes():
            if change.entity == "contact":
                if change.entity_id == contact_id:  # what a record that was joined said of itself is told by the joining
                    self.by_column |= dict.fromkeys(fields, change)
            elif change.action is Action.CREATE and change.entity_id:
                self.made[change.entity, change.entity_id] = change
        self.lists = self._lists()

    def _changes(self) -> Sequence[tuple[Change, Mapping[str, Any]]]:
        """Oldest first, so that the last word on a column stands."""
        rows = self.reader.session.execute(
            sa.select(Change, ChangePersonal.fields)
            .outerjoin(ChangePersonal, ChangePersonal.change_id == Change.id)
            .where(Change.root == "contact", Change.root_id.in_(self.records), Change.action != Action.NOTE)
            .order_by(Change.id)
        )
        return [(change, {**change.fields, **(personal or {})}) for change, personal in rows]

    def _lists(self) -> dict[int, tuple[str, int]]:
        """Of each import that spoke of the person, by its id: its file and source as they are called, and the row."""
        rows = self.reader.session.execute(
            sa.select(Import.id, Import.file_name, sa.func.min(ImportRow.number), Import.source)
            .join(ImportRow, ImportRow.import_id == Import.id)
            .where(ImportRow.contact_id.in_(self.records))
            .group_by(Import.id, Import.file_name, Import.source)
        )
        return {row[0]: (f"«{row[1]}»" + (f" de {row[3]}" if row[3] else ""), row[2]) for row in rows}

    def own(self, name: str, contact: Contact) -> Origin:
        value = contact.city.name if name == "city_id" and contact.city else getattr(contact, name)
        shown = str(value) if name == "city_id" else value_words(name, value, {}, masked=self.reader.masked)
        return self._told(FIELDS[name], shown, self.by_column.get(name), None)

    def of(self, field: str, value: str, entity: str, number: int, since: datetime | None) -> Origin:
        return self._told(field, value, self.made.get((entity, number)), since)

    def _told(self, field: str, value: str, change: Change | None, since: datetime | None) -> Origin:
        if change is None:
            return Origin(field, value, "No consta de dónde", since)
        return Origin(field, value, self._words(change), change.at)

    def _words(self, change: Change) -> str:
        taken = _IMPORT.fullmatch(change.why or "")
        if taken:
            called, row = self.lists.get(int(taken[1]), ("", 0))
            return f"Lista {called}, fila {row}" if called else f"Importación {taken[1]}"
        who = self.reader.who(change.actor_kind, change.actor_id)
        if change.actor_kind is ActorKind.CLIENT:
            return f"Otro sistema, por la API: {who}"
        if change.actor_kind is ActorKind.CONTACT:
            return "La propia persona"
        return f"La escribió {who}" if who else "El sistema"
