"""Todo lo que guardamos: all that is held on one person, as a page and as JSON, for the privacy role (derecho de acceso)."""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response
from sqlalchemy.orm import Session

from crm import clock, privacy
from crm.people.models import Contact
from crm.people.names import display_name
from web.dependencies import database_of, writing
from web.held_words import TABLES, Held
from web.pages import attached, page

router = APIRouter()
PersonId = Annotated[int, Path(ge=1, lt=2**31)]


@router.get("/personas/{contact_id}/todo")
def show(request: Request, contact_id: PersonId) -> Response:
    """Every row, by table. Who looked stays in the log."""
    with database_of(request).session(write=False) as session:
        name, held = _name(session, contact_id), privacy.everything(session, contact_id)
        words = Held(session, contact_id, held)
        told = [(TABLES[table], [words.told(table, row) for row in rows]) for table, rows in held.items() if table in TABLES]
    _note(request, contact_id, held, "page")
    context: dict[str, Any] = {"contact_id": contact_id, "name": name, "held": told, "now": clock.now()}
    return page(request, "person/everything.html", context)


def _name(session: Session, contact_id: int) -> str:
    person = session.get(Contact, contact_id)
    return (display_name(person) if person is not None else "") or "Sin nombre"


def _note(request: Request, contact_id: int, held: Mapping[str, Sequence[privacy.Row]], form: str) -> None:
    """Log it: what cannot be noted is not given."""
    with writing(request) as session:
        privacy.note(session, contact_id, held, form)


@router.post("/personas/{contact_id}/todo.json")
def give_json(request: Request, contact_id: PersonId) -> Response:
    """The same for a program, with when it was taken. Who took it stays in the log."""
    with database_of(request).session(write=False) as session:
        held = privacy.everything(session, contact_id)
    _note(request, contact_id, held, "json")
    whole = {"taken_at": clock.now().isoformat(), "contact_id": contact_id, "held": held}
    body = json.dumps(whole, ensure_ascii=False, indent=2).encode()
    return attached(body, "application/json", f"persona-{contact_id}.json")
