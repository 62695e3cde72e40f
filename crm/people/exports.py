"""People as a file: CSV and XLSX that the Red can take in again, and vCards. Who took them out, why and how many is in the log."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm import clock, history, sheets
from crm.errors import InvalidInput
from crm.people import contacts
from crm.people.countries import country_name
from crm.people.models import ConsentState
from crm.people.schemas import ContactOut
from crm.people.words import PURPOSE_WORDS, SECTOR_WORDS

BATCH = 200
REASON_LENGTH = 500
TITLE = "Red Voto Chilango"


class Format(StrEnum):
    CSV = "csv"
    XLSX = "xlsx"
    VCARD = "vcf"


MEDIA_TYPES = {Format.CSV: sheets.CSV_TYPE, Format.XLSX: sheets.XLSX_TYPE, Format.VCARD: "text/vcard; charset=utf-8"}
HEADERS = (
    "Nombre(s)", "Primer apellido", "Segundo apellido", "Cómo prefiere que le llamen", "Trato", "Título académico",
    "Correo electrónico", "Teléfono", "Ciudad", "Estado o provincia", "País", "Idioma", "Alcaldía de origen", "Etiquetas",
    "Sector de liderazgo", "Organización", "Cargo", "Fuente", "Puede recibir correo", "Consentimiento por correo para",
    "En la Red desde",
)  # fmt: skip
"""Those of the fields are the headers by which an import knows them."""


@dataclass(frozen=True)
class Export:
    """People as a file that is built and not yet given: first `note` it."""

    body: bytes
    people: int
    form: Format
    reason: str
    view: str


def build(session: Session, condition: sa.ColumnElement[bool], form: Format, *, reason: str, view: str) -> Export:
    """The visible people of a condition over Contact as a file, by surname. It only reads: with a hundred thousand people it takes
    a minute, in which nobody else may be kept from writing.

    ``reason`` says what for and ``view`` what was looked at. InvalidInput(export_reason_required, field_too_long).
    """
    told = " ".join(reason.split())
    if len(told) < 5:
        raise InvalidInput("export_reason_required", field="reason")
    if len(told) > REASON_LENGTH:
        raise InvalidInput("field_too_long", field="reason", limit=REASON_LENGTH)
    people = _people(session, condition)
    if form is Format.VCARD:
        cards = [vcard(person) for person in people]
        return Export("".join(cards).encode(), len(cards), form, told, view)
    rows = [_cells(person) for person in people]
    body = sheets.csv_file(HEADERS, rows) if form is Format.CSV else sheets.xlsx_file(TITLE, HEADERS, rows)
    return Export(body, len(rows), form, told, view)


def note(session: Session, made: Export) -> None:
    """Log what for, of what view and how many, never who was in it. What could not be noted is not given to anybody: commit before
    anything of the file leaves."""
    told = {"reason": made.reason, "view": made.view, "format": made.form.value, "rows": made.people}
    history.note(session, "export", None, **{name: [None, value] for name, value in told.items()})


def _people(session: Session, condition: sa.ColumnElement[bool]) -> Iterator[ContactOut]:
    cursor: str | None = None
    while True:
        found, cursor = contacts.find(session, condition, cursor=cursor, limit=BATCH)
        for contact in found:
            yield contacts.to_out(contact)
        if cursor is None:
            return
        session.expunge_all()  # a hundred thousand people are not kept in memory


def _cells(person: ContactOut) -> list[sheets.Cell]:
    granted = [said.purpose for said in person.consents if said.channel == "email" and said.state == ConsentState.GRANTED]
    return [
        person.given_names,
        person.first_surname,
        person.second_surname,
        person.preferred_name,
        person.treatment,
        person.academic_title,
        ", ".join(one.address for one in person.emails),
        person.phone,
        person.city.name if person.city else person.city_as_typed,
        person.city.region if person.city else None,
        country_name(person.country) if person.country else None,
        person.language,
        person.home_borough,
        ", ".join(person.tags),
        ", ".join(SECTOR_WORDS[sector] for sector in person.leader_sectors),
        person.organization,
        person.post,
        person.source,
        "sí" if person.mail_state == "ok" else "no",
        ", ".join(PURPOSE_WORDS[purpose] for purpose in granted),
        clock.institute_time(person.created_at).date(),
    ]


# --- vCard 4.0 (RFC 6350) --------------------------------------------------------------------------------------------------


def vcard(person: ContactOut) -> str:
    """A person as a vCard 4.0: lines of at most 75 octets, CRLF, what must be escaped escaped (RFC 6350, 3.2 to 3.4)."""
    surnames = " ".join(part for part in (person.first_surname, person.second_surname) if part)
    place = ("", "", "", person.city.name if person.city else "", (person.city.region or "") if person.city else "", "")
    country = country_name(person.country) if person.country else ""
    lines = [
        "BEGIN:VCARD",
        "VERSION:4.0",
        f"UID:urn:red-voto-chilango:{person.id}",
        f"FN:{_escaped(person.display_name or 'Sin nombre')}",
        f"N:{_parts((surnames, person.given_names or '', '', person.academic_title or '', ''))}",
        *(f"EMAIL{';PREF=1' if one.preferred else ''}:{_escaped(one.address)}" for one in person.emails),
        *([f"TEL;VALUE=text:{_escaped(person.phone)}"] if person.phone else []),
        *([f"ADR:{_parts((*place, country))}"] if person.city or country else []),
        *([f"ORG:{_escaped(person.organization)}"] if person.organization else []),
        *([f"TITLE:{_escaped(person.post)}"] if person.post else []),
        f"LANG:{person.language}",
        *([f"CATEGORIES:{','.join(_escaped(tag) for tag in person.tags)}"] if person.tags else []),
        f"REV:{person.changed_at:%Y%m%dT%H%M%SZ}",
        "END:VCARD",
    ]
    return "".join(map(_folded, lines))


def _escaped(text: str) -> str:
    kept = "".join(letter for letter in text if letter == "\n" or letter.isprintable())
    return kept.replace("\\", "\\\\").replace("\n", "\\n").replace(",", "\\,").replace(";", "\\;")


def _parts(parts: Sequence[str]) -> str:
    return ";".join(map(_escaped, parts))


def _folded(line: str) -> str:
    """A line of at most 75 octets, and its continuations, which begin with a space; no letter is parted."""
    pieces: list[str] = []
    piece, size = "", 0
    for letter in line:
        octets = len(letter.encode())
        if size + octets > 75:
            pieces.append(piece)
            piece, size = " ", 1
        piece += letter
        size += octets
    return "\r\n".join([*pieces, piece]) + "\r\n"
