"""Todo lo que guardamos: all that is held on one person, as a page and as JSON, for the privacy role (derecho de acceso)."""

import json
import re
from datetime import date, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response

from crm import clock, privacy
from crm.people.countries import country_name
from crm.people.models import Contact
from crm.people.names import display_name
from crm.people.words import SECTOR_WORDS
from web.dependencies import database_of, writing
from web.pages import attached, day, moment, page
from web.person_words import FIELDS, OUTCOMES, ROW_STATES, SUPPRESSIONS, TREATMENTS
from web.words import DELIVERY_STATES, LANGUAGES, PURPOSES, reason_words

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
"""What a table is called; what only serves to search (keys of names) is in the JSON alone."""
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

_CLOSED: dict[str, str] = {
    **{str(purpose.value): words for purpose, words in PURPOSES.items()},
    **{str(state.value): words[1] for state, words in DELIVERY_STATES.items()},
    **{str(reason.value): words[0] for reason, words in SUPPRESSIONS.items()},
    **{str(status.value): words[0] for status, words in ROW_STATES.items()},
    **{str(sector.value): words for sector, words in SECTOR_WORDS.items()},
    **{str(outcome.value): words for outcome, words in OUTCOMES.items()},
    **{str(treatment.value): words for treatment, words in TREATMENTS.items()},
    **{str(language.value): words for language, words in LANGUAGES.items()},
    "granted": "dado",
    "revoked": "revocado",
    "email": "correo",
    "phone": "teléfono",
    "account": "una cuenta del equipo",
    "client": "otro sistema, por la API",
    "contact": "la propia persona",
    "system": "el sistema",
    "create": "se creó",
    "change": "se cambió",
    "remove": "se quitó",
    "note": "se anotó",
    "page": "la persona, en una página de la Red",
    "staff": "el equipo",
    "import": "una importación",
    "api": "otro sistema, por la API",
    "unsubscribe": "una baja o una queja",
    "email_address": "dirección de correo",
    "leader_role": "liderazgo",
    "post": "cargo",
}
"""Words of the closed lists, whatever column they stand in; of a word that two lists share the last one's."""

router = APIRouter()
PersonId = Annotated[int, Path(ge=1, lt=2**31)]


@router.get("/personas/{contact_id}/todo")
def show(request: Request, contact_id: PersonId) -> Response:
    """Every row, by table. Who looked stays in the log."""
    name, held = _noted(request, contact_id, "page")
    context: dict[str, Any] = {
        "contact_id": contact_id,
        "name": name,
        "held": [(TABLES[table], [_told(row) for row in rows]) for table, rows in held.items() if table in TABLES],
        "now": clock.now(),
    }
    return page(request, "person/everything.html", context)


def _noted(request: Request, contact_id: int, form: str) -> tuple[str, dict[str, list[privacy.Row]]]:
    """The name of a person and all that is held, read with nobody kept from writing; what cannot be noted is not given."""
    with database_of(request).session(write=False) as session:
        held = privacy.everything(session, contact_id)
        name = display_name(session.get_one(Contact, contact_id)) or "Sin nombre"
    with writing(request) as session:
        privacy.note(session, contact_id, held, form)
    return name, held


def _told(row: privacy.Row) -> list[tuple[str, str]]:
    """What a row says to a person, without what it leaves empty."""
    return [
        (COLUMNS[name], _words(name, value))
        for name, value in row.items()
        if name in COLUMNS and value not in (None, "", [], {}, False)
    ]


def _words(name: str, value: Any) -> str:
    """A value as a person reads it: dates, yes and no, and the words of the closed lists."""
    if isinstance(value, bool):
        return "sí" if value else "no"
    if isinstance(value, dict):
        named = {key: COLUMNS.get(key) or FIELDS.get(key) for key in value}
        return "\n".join(f"{named[key]}: {_words(key, one)}" for key, one in value.items() if named[key])
    if isinstance(value, list):
        parts = [_words(name, one) if one not in (None, "") else "sin dato" for one in value]
        return " → ".join(parts) if name in FIELDS or len(parts) == 2 else ", ".join(parts)
    text = str(value)
    if re.fullmatch(r"\d{4}-\d\d-\d\dT.*", text):
        return moment(datetime.fromisoformat(text))
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        return day(date.fromisoformat(text))
    if name == "entity":
        return "Todo lo que guardamos, visto o descargado" if text == privacy.SEEN else TABLES.get(text, text)
    if name == "country":
        return country_name(text)
    return _CLOSED.get(text) or (reason_words(text) if name == "reason" else text)


@router.post("/personas/{contact_id}/todo.json")
def give_json(request: Request, contact_id: PersonId) -> Response:
    """The same for a program, with when it was taken. Who took it stays in the log."""
    _, held = _noted(request, contact_id, "json")
    whole = {"taken_at": clock.now().isoformat(), "contact_id": contact_id, "held": held}
    body = json.dumps(whole, ensure_ascii=False, indent=2).encode()
    return attached(body, "application/json", f"persona-{contact_id}.json")
