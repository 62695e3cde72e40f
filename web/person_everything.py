"""Todo lo que guardamos: all that is held on one person, as a page and as JSON, for the privacy role (derecho de acceso)."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response

from crm import clock, privacy
from crm.people.contacts import names_of
from web.dependencies import SessionOf
from web.exports import attached
from web.pages import page

TABLES = {
    "contact": "Ficha",
    "email_address": "Direcciones de correo",
    "contact_tag": "Etiquetas",
    "post": "Cargos",
    "leader_role": "Liderazgo",
    "consent": "Consentimientos",
    "suppression": "Bajas, quejas y rebotes",
    "delivery": "Correos",
    "attempt": "Intentos de entrega",
    "import_row": "Filas de listas importadas",
    "note": "Notas",
    "task": "Tareas",
    "bulk_action_person": "Acciones en lote",
    "change": "Historia de cambios",
}
"""What a table is called; one without words is told by its own name."""

router = APIRouter()
PersonId = Annotated[int, Path(ge=1, lt=2**31)]


@router.get("/personas/{contact_id}/todo")
def show(request: Request, session: SessionOf, contact_id: PersonId) -> Response:
    """Every row, by table."""
    held = privacy.everything(session, contact_id)
    context: dict[str, Any] = {
        "contact_id": contact_id,
        "name": names_of(session, [contact_id]).get(contact_id) or "Sin nombre",
        "held": [(TABLES.get(table, table), [_told(row) for row in rows]) for table, rows in held.items()],
        "now": clock.now(),
    }
    return page(request, "person/everything.html", context)


def _told(row: privacy.Row) -> list[tuple[str, str]]:
    """What a row says, without what it leaves empty."""
    return [
        (name, json.dumps(value, ensure_ascii=False, indent=1) if isinstance(value, dict | list) else str(value))
        for name, value in row.items()
        if value not in (None, "", [], {})
    ]


@router.get("/personas/{contact_id}/todo.json")
def give_json(session: SessionOf, contact_id: PersonId) -> Response:
    """The same for a program, with when it was taken."""
    held = privacy.everything(session, contact_id)
    whole = {"taken_at": clock.now().isoformat(), "contact_id": contact_id, "held": held}
    body = json.dumps(whole, ensure_ascii=False, indent=2).encode()
    return attached(body, "application/json", f"persona-{contact_id}.json")
