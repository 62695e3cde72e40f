"""What is held on one person, as a person reads it: names of tables and columns, and every value in words.

Numbers of rows and codes are told as what they stand for; what stands for nothing that a person knows (keys to sort and search by,
fingerprints of addresses) is in the JSON alone.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from functools import cache
from typing import Any

from sqlalchemy.orm import Session

from crm import privacy
from crm.mailing import deliveries
from crm.mailing.faults import Step
from crm.people.countries import country_name
from crm.people.duplicate_models import PairState
from crm.people.imports import Remark
from crm.people.models import BulkAction, BulkKind, City, Organization
from crm.people.words import SECTOR_WORDS
from crm.staff.models import Account
from web.bulk_actions import deed_words
from web.duplicate_words import GRADES, REASONS
from web.pages import day, moment
from web.person_story import Reader
from web.person_words import CHANNELS, FIELDS, NOTHING, OUTCOMES, ROW_STATES, SOURCES, SUPPRESSIONS, TREATMENTS, proof_words
from web.words import DELIVERY_STATES, IMPORT_FIELDS, LANGUAGES, PURPOSES, reason_words

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
account_id: Cuenta del equipo
action: Qué se hizo
actor_kind: Quién lo hizo
address: Dirección
at: Cuándo
attempts: Intentos
before: Antes
blocked_at: Datos bloqueados desde
bulk_action_id: Acción en lote
by_id: Quién las juntó
campaign: Campaña
changed_at: Último cambio
channel: Canal
city: Ciudad
city_as_typed: Ciudad como se escribió
city_id: Ciudad
code: Observación
country: País
created_at: En la Red desde
decided_at: Se decidió
decided_by_id: Quién lo decidió
done_at: Hecha
done_by_id: Quién la hizo
due_at: Siguiente intento
due_on: Para el
entity: Qué registro
evidence: Prueba
fields: Valores
first_surname: Primer apellido
form: Cómo se vio
found_at: Se encontró
given_names: Nombre
given_on: Se dijo el
grade: Qué tan seguro es
happened_on: Ocurrió el
home_borough: Alcaldía de origen
import_file: Lista importada
is_preferred: Es la preferida
language: Idioma
made_at: Se escribió
made_by_id: Quién la escribió
notice_version: Aviso de privacidad que se mostró
number: Fila
organization: Organización
organization_id: Organización
outcome: Qué pasó después
outcome_at: Cuándo se supo
personal: Datos personales
phone: Teléfono
preferred_name: Cómo prefiere que le llamen
proof: Prueba
purpose: Finalidad
reason: Motivo
reasons: Por qué se parecen
recorded_at: Anotado
removed_at: Quitada
retired_at: Sin uso desde
rows: Filas que se vieron
scope: Ámbito
second_surname: Segundo apellido
sector: Sector
settled_at: Cuándo se resolvió
since: Desde
smtp_code: Código del servidor
smtp_reply: Respuesta del servidor
source: Origen
state: Estado
status: Resultado
step: Paso
tag: Etiqueta
tags: Etiquetas
text: Texto
title: Cargo
treatment: Trato
undone_at: Se deshizo
undone_by_id: Quién lo deshizo
until: Hasta
values: La fila como venía
why: Por qué
"""
COLUMNS = dict(line.split(": ", 1) for line in _COLUMNS.strip().splitlines())
"""What a column is called; the others are only in the JSON."""
_ACCOUNTS = frozenset({"account_id", "by_id", "decided_by_id", "done_by_id", "made_by_id", "undone_by_id"})
"""Columns that hold the number of a colleague's account."""
_NAMED: dict[str, Any] = {"city_id": City, "organization_id": Organization, **dict.fromkeys(_ACCOUNTS, Account)}
_TOLD_BY_NAME = {"city_id": "city", "organization_id": "organization"}
"""Columns of a row beside which `privacy.everything` has put the name already."""

_INSTANTS = frozenset(name for name in COLUMNS if name.endswith(("_at", "_on"))) | {"at", "since", "until"}
"""Columns that hold a day or a moment; what looks like one elsewhere is a telephone or a title."""

STEPS = {
    Step.CONNECT: "al conectarse con el servidor",
    Step.MAIL: "al decir quién envía",
    Step.RCPT: "al decir para quién es",
    Step.DATA: "al pedir permiso para entregarlo",
    Step.MESSAGE: "al terminar de entregarlo",
}
"""Where in the conversation with a mail server the answer came."""
_PROOFS: Mapping[Any, str] = {
    deliveries.LINK_USED: "Se usó el enlace de su correo",
    deliveries.RECORDED: "Consta que el servidor lo aceptó",
    deliveries.DECIDED: "Lo decidió una persona del equipo",
    **OUTCOMES,
}
"""Why a mail is known to have left, where no server said it."""
_DELIVERED: Mapping[Any, str] = {**{state: words[1] for state, words in DELIVERY_STATES.items()}, "sending": "Saliendo"}
_WORDS: Mapping[str, Mapping[Any, str]] = {
    "action": {"create": "se creó", "change": "se cambió", "remove": "se quitó", "note": "se anotó"},
    "channel": CHANNELS,
    "entity": {**TABLES, privacy.SEEN: "Todo lo que guardamos, visto o descargado"},
    "form": {"page": "en la página", "json": "se descargó como JSON"},
    "grade": {grade: words[0] for grade, words in GRADES.items()},
    "language": LANGUAGES,
    "outcome": OUTCOMES,
    "purpose": PURPOSES,
    "reasons": REASONS,
    "sector": SECTOR_WORDS,
    "status": {status: words[0] for status, words in ROW_STATES.items()},
    "step": STEPS,
    "treatment": TREATMENTS,
    "consent.source": SOURCES,
    "consent.state": {"granted": "dado", "revoked": "revocado"},
    "delivery.state": _DELIVERED,
    "attempt.state": _DELIVERED,
    "duplicate_pair.state": {
        PairState.OPEN: "por decidir",
        PairState.SET_ASIDE: "no son la misma persona",
        PairState.JOINED: "se juntaron",
    },
    "suppression.reason": {reason: words[0] for reason, words in SUPPRESSIONS.items()},
}
"""Words of the closed lists, by column, or by table and column where another table means something else by the same name."""


class Held:
    """Tells the rows of one person; what their numbers stand for is read once."""

    def __init__(self, session: Session, contact_id: int, held: Mapping[str, Sequence[privacy.Row]]) -> None:
        self._session = session
        self._reader = Reader(session, contact_id, masked=False)
        self._addresses = {row["suppression_hash"]: row["address"] for row in held.get("email_address", ())}
        self._name = cache(self._read_name)

    def told(self, table: str, row: privacy.Row) -> list[tuple[str, str]]:
        """What a row says to a person, without what it leaves empty."""
        shown = [name for name in row if name in COLUMNS and _TOLD_BY_NAME.get(name) not in row]
        pairs = [(COLUMNS[name], self._value(table, name, row)) for name in shown]
        if table == "suppression":
            pairs.insert(0, (COLUMNS["address"], self._addresses.get(row["address_hash"], "")))
        return [(column, words) for column, words in pairs if words]

    def _value(self, table: str, name: str, row: privacy.Row) -> str:
        value = row[name]
        if name == "actor_kind":
            return self._reader.who(value, row.get("actor_id")) or "el sistema"
        if value in (None, "", [], {}, False):
            return ""
        if table == "delivery" and name == "due_at" and row["state"] not in ("pending", "deferred"):
            return ""  # it will not be tried again
        if table == "import_row" and name == "code":
            return "\n".join(_remark(code, field) for code, field in [(value, row["field"]), *row["more"]])
        if table == "bulk_action_person" and name == "before":
            done = self._session.get(BulkAction, row["bulk_action_id"])
            return LANGUAGES.get(value, "") if done is not None and done.kind is BulkKind.LANGUAGE else ""
        if name == "values":  # under the titles of its own list
            return "\n".join(f"{title}: {cell}" for title, cell in value.items())
        if name in ("fields", "personal"):
            told = ((COLUMNS.get(key) or FIELDS.get(key), self._change(row["entity"], key, one)) for key, one in value.items())
            return "\n".join(f"{called}: {words}" for called, words in told if called)
        return self._one(table, name, value)

    def _change(self, table: str, name: str, value: Any) -> str:
        """Before and after; what was not there before is told without it."""
        if not isinstance(value, list) or len(value) != 2:
            return self._one(table, name, value)
        before, after = (self._one(table, name, one) if one not in (None, "", []) else NOTHING for one in value)
        return after if before == NOTHING else f"{before} → {after}"

    def _one(self, table: str, name: str, value: Any) -> str:
        if isinstance(value, bool):
            return "sí" if value else "no"
        if isinstance(value, list):
            return ", ".join(self._one(table, name, one) for one in value)
        if name in _NAMED or name == "bulk_action_id":
            return self._name(name, value)
        text = str(value)
        if name in _INSTANTS:
            return moment(datetime.fromisoformat(text)) if "T" in text else day(date.fromisoformat(text))
        if name == "country":
            return country_name(text)
        if name == "reason" and table in ("delivery", "attempt"):
            return _PROOFS.get(text) or reason_words(text)
        if name == "proof":
            return proof_words(text)
        known = _WORDS.get(f"{table}.{name}") or _WORDS.get(name) or {}
        return known.get(text, text)

    def _read_name(self, column: str, number: int) -> str:
        """What a number stands for."""
        if column == "bulk_action_id":
            done = self._session.get(BulkAction, number)
            return deed_words(done) if done is not None else "una acción que ya no existe"
        found = self._session.get(_NAMED[column], number)
        return found.name if found is not None else "ya no existe"


def _remark(code: str, field: str | None) -> str:
    about = IMPORT_FIELDS.get(field or "") or FIELDS.get(field or "")
    sentence = Remark(code, field).sentence
    return f"{about}: {sentence}" if about else sentence
