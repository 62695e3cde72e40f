"""What states, reasons and purposes are called on the pages."""

from crm.mailing import faults
from crm.mailing.models import DeliveryState, SendState
from crm.people.models import ImportState, Language, Purpose, RowStatus

SEND_STATES = {
    SendState.SCHEDULED: ("Programado", "live"),
    SendState.HELD: ("Detenido", "warn"),
    SendState.SENDING: ("Enviándose", "good"),
    SendState.PAUSED: ("En pausa", "warn"),
    SendState.DONE: ("Concluido", "off"),
    SendState.CANCELLED: ("Cancelado", "off"),
}
"""A state of a send in words, and its colour."""

DELIVERY_STATES = {
    DeliveryState.PENDING: ("Pendientes", "Pendiente", ""),
    DeliveryState.SENT: ("Aceptados", "Aceptado por el servidor", "good"),
    DeliveryState.DEFERRED: ("En espera de reintento", "En espera de reintento", "warn"),
    DeliveryState.FAILED: ("No se pudo", "No se pudo", "bad"),
    DeliveryState.IN_DOUBT: ("Sin confirmar", "Sin confirmar", "warn"),
    DeliveryState.SKIPPED: ("No se les escribe", "No se le escribe", "off"),
}
"""A state of the ledger as a heading, of one person, and its colour."""

SKIP_REASONS = {
    "no_consent": "Sin consentimiento para esta finalidad",
    "unsubscribed": "Baja pedida",
    "suppressed": "En la lista de exclusión",
    "blocked": "Con datos bloqueados",
    "no_address": "Sin dirección de correo",
    "same_address": "Misma dirección que otra persona",
    "restricted": "En periodo de veda",
    "already_answered": "Con respuesta ya dada",
    "event_started": "Evento ya comenzado",
    "no_zone": "Sin ciudad, y por tanto sin hora local",
    "synthetic": "De demostración",
    "cancelled": "Cancelado antes de salir",
    "address_changed": "Con otra dirección desde que se preparó",
    "asked_enough": "Con la solicitud ya hecha hace poco, o tres veces",
}
FAULTS = {
    "mailbox_unknown": "El buzón no existe",
    "domain_unknown": "El dominio no existe",
    "mailbox_disabled": "Buzón desactivado",
    "mailbox_full": "Buzón lleno",
    "try_later": "El servidor pidió intentar más tarde",
    "gave_up": "Sin éxito tras 72 horas",
    "policy": "Rechazado por las reglas del servidor",
    "content_refused": "Contenido rechazado",
    "too_large": "Correo demasiado pesado",
    "letters_unsupported": "Dirección con letras no admitidas",
    "sender_refused": "Remitente no aceptado",
    "holder_lost": "Se interrumpió la entrega y no se sabe si salió",
    "no_clear_answer": "El servidor no contestó con claridad",
    "restored_doubt": "Pudo salir después del respaldo",
    "taken_as_sent": "Dado por enviado por el equipo",
}

LANGUAGES = {Language.SPANISH: "Español", Language.ENGLISH: "Inglés"}

PURPOSES = {
    Purpose.ELECTORAL_INFORMATION: "Información electoral",
    Purpose.CIVIC_EDUCATION: "Educación cívica",
    Purpose.EVENT_INVITATION: "Invitación a un evento",
    Purpose.NEWSLETTER: "Boletín",
    Purpose.INSTITUTIONAL_LIAISON: "Vinculación institucional",
    Purpose.CONSENT_REQUEST: "Solicitud de consentimiento",
}
CONSENTED = {purpose: words for purpose, words in PURPOSES.items() if purpose is not Purpose.CONSENT_REQUEST}
"""What one consents to: a request for consent is nothing of the kind."""

IMPORT_STATES = {
    ImportState.UPLOADED: ("Por revisar", "warn"),
    ImportState.CHECKED: ("Revisada, sin importar", "warn"),
    ImportState.RUNNING: ("Importándose", "live"),
    ImportState.DONE: ("Concluida", "good"),
    ImportState.FAILED: ("No se pudo terminar", "bad"),
}
"""A state of an import in words, and its colour."""
ROW_STATUSES = {
    RowStatus.CREATED: ("Nuevas", "Nueva", "good"),
    RowStatus.UPDATED: ("Actualizadas", "Actualizada", "live"),
    RowStatus.UNCHANGED: ("Sin cambios", "Sin cambios", "off"),
    RowStatus.REFUSED: ("No entran", "No entra", "bad"),
}
"""What becomes of a row, as a heading and of one row, and its colour."""
ENCODING_WORDS = {
    "utf-8": "UTF-8",
    "cp1252": "Windows (cp1252)",
    "latin-1": "Latin-1 (ISO 8859-1)",
    "cp850": "DOS (cp850)",
    "mac-roman": "Mac antigua (Mac Roman)",
    "utf-16": "UTF-16 («Texto Unicode» de Excel)",
}
"""How the letters of a text may be read, by `delimited.ENCODINGS`."""
IMPORT_FIELDS = {
    "full_name": "Nombre completo",
    "surnames_first": "Nombre completo, apellidos primero",
    "given_names": "Nombre",
    "first_surname": "Primer apellido",
    "second_surname": "Segundo apellido",
    "surnames": "Los dos apellidos",
    "preferred_name": "Cómo prefiere que le llamen",
    "treatment": "Trato en el saludo",
    "academic_title": "Título académico",
    "emails": "Correo",
    "phone": "Teléfono",
    "city": "Ciudad",
    "region": "Estado o provincia",
    "country": "País",
    "language": "Idioma",
    "home_borough": "Alcaldía de origen",
    "tags": "Etiquetas",
    "leader_sectors": "Sector de liderazgo",
    "organization": "Organización",
    "post": "Cargo",
    "source": "Fuente",
}
"""What a column of a list may hold."""
RULES = {"replace": "Reemplazar", "keep": "No tocar"}
"""What a column does to people who are known, where it is not to fill what is empty."""


def reason_words(reason: str | None) -> str:
    """A reason of the ledger in a few words; one without any of its own (the relay's) by the beginning of its sentence."""
    told = faults.SENTENCES.get(reason or "", "Otra causa").partition(". ")[0]
    return SKIP_REASONS.get(reason or "") or FAULTS.get(reason or "") or told
