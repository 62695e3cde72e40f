"""What is said of one person on the Ficha: purposes and sources of a consent, reasons of an exclusion, fields that change."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from crm.database import JOURNAL_FILE
from crm.mailing.models import Outcome
from crm.people.addresses import mask_address
from crm.people.countries import country_name
from crm.people.models import Channel, LeaderSector, RowStatus, SuppressionReason, Treatment
from crm.people.words import SECTOR_WORDS
from web.words import LANGUAGES

TREATMENTS = {Treatment.ESTIMADA: "Estimada", Treatment.ESTIMADO: "Estimado", Treatment.NEUTRAL: "Neutral"}
CHANNELS = {Channel.EMAIL: "correo", Channel.WHATSAPP: "WhatsApp", Channel.PHONE: "teléfono"}
SUPPRESSIONS = {
    SuppressionReason.UNSUBSCRIBED: ("Pidió la baja", "off"),
    SuppressionReason.COMPLAINED: ("Se quejó", "bad"),
    SuppressionReason.BOUNCED: ("Rebotó", "bad"),
    SuppressionReason.ERASED: ("Se borraron sus datos", "off"),
}
ADDRESS_STATES = {"ok": ("Activa", "good"), **{reason.value: words for reason, words in SUPPRESSIONS.items()}}
"""What a state of an address is called, and its colour."""
SOURCES = {
    "api": "otro sistema, por la API",
    "page": "la persona, en una página de la Red",
    "unsubscribe": "una baja o una queja",
    "staff": "el equipo",
    "import": "una importación",
    "joining": "la ficha que se juntó con esta",
    "journal": "el registro de bajas, después de una restauración",
}
"""Who or what recorded a consent."""
OUTCOMES = {
    Outcome.BOUNCED_HARD: "Rebotó después de ser aceptado",
    Outcome.BOUNCED_SOFT: "Rebotó por un motivo pasajero",
    Outcome.COMPLAINED: "La persona lo marcó como no deseado",
    Outcome.ANSWERED: "La persona respondió",
}
ROW_STATES = {
    RowStatus.CREATED: ("Creó la ficha", "good"),
    RowStatus.UPDATED: ("Actualizó la ficha", "good"),
    RowStatus.UNCHANGED: ("Sin cambios", "off"),
    RowStatus.REFUSED: ("Fila rechazada", "warn"),
}
FIELDS = {
    "given_names": "Nombre",
    "first_surname": "Primer apellido",
    "second_surname": "Segundo apellido",
    "preferred_name": "Cómo prefiere que le llamen",
    "treatment": "Trato",
    "academic_title": "Título académico",
    "language": "Idioma",
    "phone": "Teléfono",
    "emails": "Correos",
    "city": "Ciudad",
    "city_id": "Ciudad",
    "city_as_typed": "Ciudad por revisar",
    "country": "País",
    "home_borough": "Alcaldía de origen",
    "tags": "Etiquetas",
    "leader_sectors": "Liderazgo",
    "organization": "Organización",
    "post": "Cargo",
    "source": "Origen",
    "blocked_at": "Bloqueo de datos",
}
"""Fields of a person, as forms and histories call them."""

NOTHING = "sin dato"
_WORDS: Mapping[str, Mapping[Any, str]] = {"language": LANGUAGES, "treatment": TREATMENTS, "sector": SECTOR_WORDS}
_ADDRESS = re.compile(r"[^\s<>\"'(),;:]+@[^\s<>\"'(),;:]+")


def masked_text(text: str) -> str:
    """A text for who may not see addresses: each one that stands in it is masked."""
    return _ADDRESS.sub(lambda found: mask_address(found[0]), text)


def proof_words(proof: str) -> str:
    """The proof of an exclusion; one that came back from the journal says so."""
    return "Recuperada del registro de bajas; su prueba estaba en un respaldo anterior." if proof == JOURNAL_FILE else proof


def value_words(field: str, value: Any, cities: Mapping[int, str], *, masked: bool) -> str:
    """A value of the history as a person reads it."""
    if value is None or value in ("", []):
        return NOTHING
    if field == "city_id":
        return cities.get(value, "otra ciudad")
    if field == "country":
        return country_name(str(value))
    if field == "phone" and masked:
        return f"***{str(value)[-2:]}"
    if isinstance(value, list):
        return ", ".join(str(part) for part in value)
    return _WORDS.get(field, {}).get(value, str(value))


def change_words(fields: Mapping[str, Sequence[Any]], cities: Mapping[int, str], *, masked: bool) -> list[str]:
    """Changes of a contact's own columns, `Teléfono: sin dato → +1 555 0101`; columns without a name stay unsaid."""
    told = []
    for name, (before, after) in fields.items():
        if name in FIELDS:
            old, new = (value_words(name, value, cities, masked=masked) for value in (before, after))
            told.append(f"{FIELDS[name]}: {old} → {new}")
    return told


def sector_words(value: Any) -> str:
    return SECTOR_WORDS.get(LeaderSector(value), str(value))
