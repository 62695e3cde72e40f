"""Synthetic crowds of any size and sends to them of any weight, made in bulk; the ledger of each is written by the product."""

import os
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm import clock
from crm.config import Settings
from crm.database import insert_many, keys_of, refresh_statistics, search_key
from crm.mailing import composing, sends
from crm.mailing.compiling import Compiled, Marks, cut_header, cut_html, cut_plain, encode, holes_of
from crm.mailing.models import Send, SendContent
from crm.mailing.schemas import SendIn
from crm.people import names
from crm.people.models import Channel, Consent, ConsentState, Contact, EmailAddress, Language, Tag, contact_tag
from tests.mailing.factories import NOW, PURPOSE, TAG, campaign

GIVEN = ["Ana", "Luis", "María", "José", "Lucía", "Jorge", "Rosa", "Iván", "Sofía", "Raúl", "Ximena", "Óscar"]
SURNAMES = ["Núñez", "López", "García", "Hernández", "Martínez", "Ortega", "Salinas", "Peña", "Ibáñez", "Quiñones", "Zúñiga"]
BATCH = 10_000
SUBJECT = "Tu credencial desde el extranjero, {{ nombre }}"
TEXT = "{{ saludo }}\n\nDesde {{ ciudad | su ciudad }} ({{ pais }}) puede votar. %s\n\nPara no recibir más: {{ enlace_baja }}\n"
PAGE = '<html lang="es"><body><p>{{ saludo }}</p><p title="{{ nombre }}">Desde {{ ciudad | su ciudad }}, {{ pais }}: %s</p>'
FOOT = '<p><a href="{{ enlace_baja }}">No recibir más correos</a></p></body></html>'
FILLER = "La Ciudad de México elige también con quienes viven fuera de ella; aquí se dice cómo.\n"
WITH_PICTURE = 12_000
"""Bytes of a mail beyond which the rest of it is a picture."""
WITHOUT_FILLER, PART_HEADS = 1750, 2400
"""Bytes of a mail around its filler, and around its picture."""


def begun(session: Session, settings: Settings, count: int, size: int) -> Send:
    """A send of ``size`` bytes a mail to so many people, under way and with its deliveries written."""
    if count:
        people(session, count)
    refresh_statistics(session)
    send = sends.order(session, campaign(session).id, SendIn(when=NOW), settings)
    weigh(session, send.id, size)
    return sends.start(session, send.id, settings)


def weigh(session: Session, send_id: int, size: int) -> None:
    """Put content of so many bytes in place of what a send carries."""
    compiled = content(size)
    told = {"compiled": compiled.to_json(), "sha256": compiled.sha256}
    session.execute(sa.update(SendContent).where(SendContent.send_id == send_id).values(**told))


def content(size: int) -> Compiled:
    """A mail of two texts and, when it is large, a picture; as `composing` makes them."""
    marks = Marks()
    filler = FILLER * ((min(size, WITH_PICTURE) - WITHOUT_FILLER) // 2 // len(FILLER))
    subject = cut_header(marks.mark_fields(SUBJECT), marks)
    text = encode(cut_plain(marks.mark_fields(TEXT % filler), marks))
    page = encode(cut_html(marks.mark_fields(PAGE % filler + FOOT), marks))
    parts = composing._Parts(marks, {})
    if size > WITH_PICTURE:
        body = os.urandom((size - WITH_PICTURE - PART_HEADS) * 3 // 4 * 76 // 78)
        parts.attachments.append(composing.Attached("Tres pasos", "Tres pasos", "", body, "image/png", "infografia.png"))
    body_pieces = composing._mime(text, page, parts)
    return Compiled("es", subject, body_pieces, holes_of(subject, body_pieces))


def people(session: Session, count: int) -> None:
    """So many people with an address, a consent and the tag of the campaigns of tests."""
    session.add(Tag(id=1, name=TAG, key=search_key(TAG)))
    session.flush()
    for start in range(1, count + 1, BATCH):
        numbers = range(start, min(start + BATCH, count + 1))
        insert_many(session, Contact, [_person(number) for number in numbers])
        insert_many(session, EmailAddress, list(_addresses(session, numbers)))
        insert_many(session, contact_tag, [{"contact_id": number, "tag_id": 1} for number in numbers])
        insert_many(session, Consent, [_consent(number) for number in numbers])


def named(number: int) -> tuple[str, str, str]:
    """Given names and surnames of a number; the same number is always the same person."""
    return f"{GIVEN[number % 12]} {GIVEN[number // 12 % 12]}", SURNAMES[number % 11], SURNAMES[number // 11 % 11]


def _person(number: int) -> dict[str, Any]:
    (given, first, second), now = named(number), clock.now()
    key = names.order_key(given, first, second)
    row = {"id": number, "given_names": given, "first_surname": first, "second_surname": second, "country": "US"}
    row |= {"language": Language.SPANISH, "sort_key": key, "search_key": key}
    return row | {"created_at": now, "changed_at": now, "version": 1}


def _addresses(session: Session, numbers: range) -> Iterator[dict[str, Any]]:
    keys, now = keys_of(session), clock.now()
    for number in numbers:
        address = f"persona{number}@example.org"
        row = {"contact_id": number, "address": address, "key": address, "suppression_hash": keys.suppression_hash(address)}
        yield row | {"is_preferred": True, "created_at": now}


def _consent(number: int) -> dict[str, Any]:
    row = {"contact_id": number, "purpose": PURPOSE, "channel": Channel.EMAIL, "state": ConsentState.GRANTED}
    return row | {"evidence": "Hoja de registro sintética", "source": "import", "recorded_at": clock.now()}
