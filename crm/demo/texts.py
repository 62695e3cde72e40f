"""What the demo says: its materials and the mails of its campaigns, in Spanish and English."""

from datetime import date, timedelta

from babel.dates import format_date

from crm.demo.drawings import Infographic
from crm.mailing.schemas import VariantIn
from crm.people.models import Language

WORKSHOP_LINK = "https://www.example.org/taller"
THURSDAY = 3

NOTICE = {
    "version": "Demostración 1",
    "text": "Aviso de demostración. El Instituto usa su nombre, su correo y su ciudad solo para enviarle la información que usted "
    "acepte: electoral, de educación cívica, invitaciones y boletines. Puede negarse ahora, o después con el enlace de baja de "
    "cada correo.",
    "text_en": "Demonstration notice. The Institute uses your name, address and city only to send you the information that you "
    "accept: electoral and civic information, invitations and newsletters. You may refuse now, or later with the unsubscribe "
    "link of each mail.",
    "full_text": "Responsable\nUnidad de demostración, sin domicilio.\n\n"
    "Finalidades que requieren consentimiento\nEnviar información electoral, educación cívica, invitaciones y boletines.\n\n"
    "Transferencias\nNo se transfieren datos.\n\n"
    "Derechos de acceso, rectificación, cancelación y oposición\nEsta es una red inventada: no hay datos de nadie.",
    "url": "",
}

DRAWN = {
    Language.SPANISH: Infographic(
        kicker="Voto Chilango desde el extranjero",
        title=("Tres pasos para obtener", "su credencial"),
        steps=(
            ("Haga una cita", "Elija el consulado o la embajada de México más cercana y reserve día y hora."),
            ("Lleve sus documentos", "Acta de nacimiento, identificación con foto y comprobante de domicilio."),
            ("Reciba y active", "Llega por mensajería en unas cuatro semanas. Confírmela para poder votar."),
        ),
        foot="Material de demostración: no es información oficial.",
    ),
    Language.ENGLISH: Infographic(
        kicker="Voto Chilango: voting from abroad",
        title=("Three steps to get", "your voter card"),
        steps=(
            ("Make an appointment", "Choose the Mexican consulate or embassy closest to you and book a day and time."),
            ("Bring your documents", "Birth certificate, an ID with a photograph and a proof of address."),
            ("Receive and activate", "It comes by courier in about four weeks. Confirm it, so that you can vote."),
        ),
        foot="Demonstration material: not official information.",
    ),
}
TITLES = {
    Language.SPANISH: "Tres pasos para obtener su credencial",
    Language.ENGLISH: "Three steps to get your voter card",
}
ALT_TEXTS = {
    Language.SPANISH: "Infografía con los tres pasos para obtener la credencial para votar desde el extranjero: cita, documentos "
    "y activación.",
    Language.ENGLISH: "Infographic with the three steps to get the voter card from abroad: appointment, documents and activation.",
}


def full_text(language: Language) -> str:
    """All that an infographic says, as Markdown."""
    told = DRAWN[language]
    steps = [f"{number}. **{heading}.** {text}" for number, (heading, text) in enumerate(told.steps, start=1)]
    return "\n".join([f"{told.kicker}. {' '.join(told.title)}.", "", *steps, "", told.foot])


def workshop_day(today: date) -> date:
    """A Thursday, three to four weeks away."""
    soon = today + timedelta(days=21)
    return soon + timedelta(days=(THURSDAY - soon.weekday()) % 7)


def workshop(materials: dict[Language, int], today: date) -> list[VariantIn]:
    """The invitation to the workshop; ``materials`` are the ids of the infographics."""
    day = workshop_day(today)
    return [_workshop_in_spanish(materials[Language.SPANISH], day), _workshop_in_english(materials[Language.ENGLISH], day)]


def _workshop_in_spanish(material: int, day: date) -> VariantIn:
    when = format_date(day, "EEEE d 'de' MMMM 'de' y", locale="es_MX")
    opening = (
        "{{ saludo }}\n\n"
        "Le invitamos a un taller en línea para obtener su credencial y registrarse para votar desde {{ ciudad | donde vive }}. "
        "Resolveremos sus dudas paso a paso, con ejemplos y sin tecnicismos."
    )
    fact = (
        f"**Cuándo:** {when}, 18:00 h (tiempo del centro de México)\n\n"
        "**Dónde:** por videollamada; el enlace llega al inscribirse\n\n"
        "**Costo:** ninguno"
    )
    closing = "Si conoce a alguien a quien le sirva esta información, compártale esta invitación.\n\n*Datos de demostración.*"
    return VariantIn.model_validate(
        {
            "language": Language.SPANISH,
            "subject": "{{ nombre | Hola }}, le invitamos al Taller de credencialización y registro",
            "preheader": f"En línea, el {when}, a las 18:00 h",
            "blocks": [
                {"type": "cover", "kicker": "Invitación", "title": "Taller de credencialización y registro"},
                {"type": "text", "body": opening},
                {"type": "fact", "body": fact},
                {"type": "button", "label": "Inscribirse al taller", "link": WORKSHOP_LINK},
                {"type": "image", "material": material},
                {"type": "text", "body": closing},
            ],
        }
    )


def _workshop_in_english(material: int, day: date) -> VariantIn:
    when = format_date(day, "EEEE, MMMM d, y", locale="en_US")
    opening = (
        "{{ saludo }}\n\n"
        "Join an online workshop on how to get your voter card and register to vote from {{ ciudad | where you live }}. "
        "We will go through each step, with examples and in plain words."
    )
    fact = (
        f"**When:** {when}, 18:00 (Mexico City time)\n\n"
        "**Where:** by video call; the link arrives when you sign up\n\n"
        "**Cost:** none. The workshop is held in Spanish."
    )
    closing = "If you know somebody who could use this information, please pass this invitation on.\n\n*Demonstration data.*"
    return VariantIn.model_validate(
        {
            "language": Language.ENGLISH,
            "subject": "{{ nombre | Hello }}, join our workshop on the voter card and registration",
            "preheader": f"Online, {when}, 18:00",
            "blocks": [
                {"type": "cover", "kicker": "Invitation", "title": "Workshop on the voter card and registration"},
                {"type": "text", "body": opening},
                {"type": "fact", "body": fact},
                {"type": "button", "label": "Sign up for the workshop", "link": WORKSHOP_LINK},
                {"type": "image", "material": material},
                {"type": "text", "body": closing},
            ],
        }
    )


def newsletter() -> list[VariantIn]:
    """A newsletter that somebody began and did not finish."""
    body = "{{ saludo }}\n\nEstas son las noticias de la Red. *Falta: resumen del taller y fechas de registro.*"
    return [
        VariantIn.model_validate(
            {
                "language": Language.SPANISH,
                "subject": "Boletín de la Red Voto Chilango",
                "blocks": [{"type": "cover", "kicker": "Boletín", "title": "Noticias de la Red"}, {"type": "text", "body": body}],
            }
        )
    ]
