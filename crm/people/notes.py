"""What the team wants to remember of a person."""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm import clock
from crm.errors import InvalidInput, NotFound
from crm.people import contacts
from crm.people.columns import is_document
from crm.people.models import Note

TEXT_LENGTH = 4_000


def checked_text(text: str) -> str:
    """A text of a note or task without what the Red must not hold.

    InvalidInput(field_required, field_too_long, note_holds_document).
    """
    told = text.replace("\r\n", "\n").replace("\0", "").strip()
    if not told:
        raise InvalidInput("field_required", field="text")
    if len(told) > TEXT_LENGTH:
        raise InvalidInput("field_too_long", field="text", limit=TEXT_LENGTH)
    if is_document(told):
        raise InvalidInput("note_holds_document", field="text")
    return told


def write(session: Session, contact_id: int, text: str, account_id: int | None) -> Note:
    """Add a note; errors of `checked_text`, NotFound(contact_not_found)."""
    contacts.get(session, contact_id)
    made = Note(contact_id=contact_id, text=checked_text(text), account_id=account_id)
    session.add(made)
    session.flush()
    return made


def find(session: Session, contact_id: int) -> Sequence[Note]:
    """The notes of a person, newest first."""
    mine = sa.select(Note).where(Note.contact_id == contact_id, Note.removed_at.is_(None))
    return session.scalars(mine.order_by(Note.id.desc())).all()


def remove(session: Session, note_id: int) -> Note:
    """Take a note away; `restore` puts it back. NotFound(note_not_found)."""
    note = _get(session, note_id)
    note.removed_at = note.removed_at or clock.now()
    session.flush()
    return note


def restore(session: Session, note_id: int) -> Note:
    """Put back a note that was taken away. NotFound(note_not_found)."""
    note = _get(session, note_id)
    note.removed_at = None
    session.flush()
    return note


def _get(session: Session, note_id: int) -> Note:
    note = session.get(Note, note_id)
    if note is None:
        raise NotFound("note_not_found")
    contacts.get(session, note.contact_id)
    return note
