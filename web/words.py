"""What states, reasons and purposes are called on the pages."""

from crm.mailing import faults
from crm.mailing.models import DeliveryState, SendState
from crm.people.models import Purpose

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
    "unsubscribed": "Pidieron la baja",
    "suppressed": "En la lista de exclusión",
    "blocked": "Con datos bloqueados",
    "no_address": "Sin dirección de correo",
    "same_address": "Comparten dirección con otra persona",
    "restricted": "En periodo de veda",
    "already_answered": "Ya respondieron",
    "event_started": "El evento ya había comenzado",
    "no_zone": "Sin ciudad, y por tanto sin hora local",
    "synthetic": "Personas de demostración",
    "cancelled": "Se canceló antes de que saliera",
    "address_changed": "Cambiaron de dirección después de preparar el envío",
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
    "no_clear_answer": "El servidor no contestó con claridad",
}

PURPOSES = {
    Purpose.ELECTORAL_INFORMATION: "Información electoral",
    Purpose.CIVIC_EDUCATION: "Educación cívica",
    Purpose.EVENT_INVITATION: "Invitación a un evento",
    Purpose.NEWSLETTER: "Boletín",
    Purpose.INSTITUTIONAL_LIAISON: "Vinculación institucional",
    Purpose.CONSENT_REQUEST: "Solicitud de consentimiento",
}


def reason_words(reason: str | None) -> str:
    """A reason of the ledger in a few words; one without any of its own (the relay's) by the beginning of its sentence."""
    told = faults.SENTENCES.get(reason or "", "Otra causa").partition(". ")[0]
    return SKIP_REASONS.get(reason or "") or FAULTS.get(reason or "") or told
