"""Todo lo que guardamos: all that is held on one person, as a page and as JSON, for the privacy role (derecho de acceso)."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response

from crm import clock, privacy
from crm.people.models import Contact
from crm.people.names import display_name
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
    "duplicate_pair": "Posibles duplicados",
    "joining": "Fichas juntadas",
    "change": "Historia de cambios",
}
"""What a table is called; one without words is told by its own name."""
_COLUMNS = """
academic_title: Título académico
account_id: Cuenta del equipo (número)
action: Qué se hizo
actor_id: Quién lo hizo (número)
actor_kind: Quién lo hizo
address: Dirección
address_hash: Huella de la dirección
at: Cuándo
attempts: Intentos
before: Antes
blocked_at: Datos bloqueados desde
bulk_action_id: Acción en lote (número)
campaign: Campaña
changed_at: Último cambio
channel: Canal
city: Ciudad
city_as_typed: Ciudad como se escribió
code: Observación
country: País
created_at: En la Red desde
done_at: Hecha
done_by_id: Quién la hizo (número)
due_at: Siguiente intento
due_on: Para el
entity: Qué registro
evidence: Prueba
field: Campo
fields: Valores antes y después
first_surname: Primer apellido
given_names: Nombre
given_on: Se dijo el
happened_on: Ocurrió el
home_borough: Alcaldía de origen
import_file: Lista importada
is_preferred: Es la preferida
language: Idioma
made_at: Se escribió
made_by_id: Quién la escribió (número)
notice_version: Aviso de privacidad que se mostró
number: Fila
organization: Organización
outcome: Qué pasó después
outcome_at: Cuándo se supo
personal: Datos personales antes y después
phone: Teléfono
preferred_name: Cómo prefiere que le llamen
proof: Prueba
purpose: Finalidad
reason: Motivo
recorded_at: Anotado
removed_at: Quitada
retired_at: Sin uso desde
scope: Ámbito
second_surname: Segundo apellido
sector: Sector
send_id: Envío (número)
settled_at: Cuándo se resolvió
since: Desde
smtp_code: Código del servidor
smtp_reply: Respuesta del servidor
source: Origen
state: Estado
status: Resultado
step: Paso
tag: Etiqueta
text: Texto
title: Cargo
treatment: Trato
until: Hasta
values: La fila como venía
why: Por qué
"""
COLUMNS = dict(line.split(": ", 1) for line in _COLUMNS.strip().splitlines())
"""What a column is called; the others (numbers of rows, keys to sort and search by) are only in the JSON."""

router = APIRouter()
PersonId = Annotated[int, Path(ge=1, lt=2**31)]


@router.get("/personas/{contact_id}/todo")
def show(request: Request, session: SessionOf, contact_id: PersonId) -> Response:
    """Every row, by table."""
    held = privacy.everything(session, contact_id)
    context: dict[str, Any] = {
        "contact_id": contact_id,
        "name": display_name(session.get_one(Contact, contact_id)) or "Sin nombre",
        "held": [(TABLES.get(table, table), [_told(row) for row in rows]) for table, rows in held.items()],
        "now": clock.now(),
    }
    return page(request, "person/everything.html", context)


def _told(row: privacy.Row) -> list[tuple[str, str]]:
    """What a row says to a person, without what it leaves empty."""
    return [
        (COLUMNS[name], json.dumps(value, ensure_ascii=False, indent=1) if isinstance(value, dict | list) else str(value))
        for name, value in row.items()
        if name in COLUMNS and value not in (None, "", [], {})
    ]


@router.get("/personas/{contact_id}/todo.json")
def give_json(session: SessionOf, contact_id: PersonId) -> Response:
    """The same for a program, with when it was taken."""
    held = privacy.everything(session, contact_id)
    whole = {"taken_at": clock.now().isoformat(), "contact_id": contact_id, "held": held}
    body = json.dumps(whole, ensure_ascii=False, indent=2).encode()
    return attached(body, "application/json", f"persona-{contact_id}.json")
