"""Merge fields: what staff may write between braces, and each person's value.

``{{ nombre }}`` or ``{{ nombre | persona de la Red }}`` (text if it is missing). Never template code.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.orm import Session, selectinload

from crm.errors import InvalidInput
from crm.mailing.schemas import FieldOut
from crm.people import names, places
from crm.people.models import Contact, Language, Post

MERGE_FIELD = re.compile(r"\{\{\s*([a-z_]+)\s*(?:\|([^{}]*))?\}\}")
_ANY_BRACES = re.compile(r"\{\{|\}\}")


@dataclass(frozen=True)
class MergeField:
    """A field of the catalogue. A ``link`` may be a whole address of a link; a ``text`` only a part of one."""

    name: str
    label: str
    example: str
    fallbacks: tuple[str, str] = ("", "")
    """What a form writes beside it for who has none, in Spanish and in English."""
    kind: Literal["text", "link"] = "text"


@dataclass(frozen=True)
class Use:
    """A merge field as it stands in a text."""

    name: str
    fallback: str


CATALOGUE = {
    field.name: field
    for field in (
        MergeField("nombre", "Como desea que le llamen", "Ana"),
        MergeField("nombre_completo", "Nombre y apellidos", "Ana Núñez de la O"),
        MergeField("saludo", "Saludo completo, con sus dos puntos", "Hola, Ana:"),
        MergeField("ciudad", "Ciudad donde vive", "Los Ángeles", ("su ciudad", "your city")),
        MergeField("pais", "País donde vive", "Estados Unidos", ("su país", "your country")),
        MergeField("organizacion", "Organización a la que pertenece", "Club Chilango", ("su organización", "your organization")),
        MergeField("cargo", "Cargo en esa organización", "presidenta", ("su cargo", "your post")),
        MergeField("enlace_baja", "Enlace personal para darse de baja", "https://…/p/baja/…", kind="link"),
    )
}


def catalogue() -> list[FieldOut]:
    return [FieldOut(name=field.name, label=field.label, example=field.example, kind=field.kind) for field in CATALOGUE.values()]


def replace(text: str, mark: Callable[[Use], str]) -> str:
    """The text with each merge field replaced; InvalidInput for an unknown field or braces that do not close."""
    outside = MERGE_FIELD.sub("", text)
    if _ANY_BRACES.search(outside):
        raise InvalidInput("merge_field_malformed")
    return MERGE_FIELD.sub(lambda match: mark(_use(match)), text)


def named(text: str) -> str:
    """A text as people speak of it, its merge fields by their names: `Le esperamos, [nombre]`. What is no field stays."""
    return MERGE_FIELD.sub(lambda match: f"[{match[1]}]", text)


def uses(text: str) -> Iterator[Use]:
    """The merge fields of a text, in order."""
    for match in MERGE_FIELD.finditer(text):
        yield _use(match)


def _use(match: re.Match[str]) -> Use:
    name = match[1]
    if name not in CATALOGUE:
        raise InvalidInput("merge_field_unknown", name=name)
    return Use(name, (match[2] or "").strip())


def values_of(session: Session, people: Sequence[tuple[int, Language]]) -> dict[int, dict[str, str]]:
    """Each person's values by field name, in the language that the mail is in; a field without value is left out.

    ``nombre_completo`` is empty only for a person without a name. The personal link is not here: it belongs to the
    delivery (`links.py`).
    """
    wanted = dict(people)
    load = selectinload(Contact.posts).joinedload(Post.organization)
    rows = session.scalars(sa.select(Contact).where(Contact.id.in_(wanted)).options(selectinload(Contact.city), load))
    return {contact.id: _values(contact, wanted[contact.id]) for contact in rows}


def _values(contact: Contact, language: Language) -> dict[str, str]:
    post = next((post for post in reversed(contact.posts) if post.until is None), None)
    country = contact.country
    values = {
        "nombre": names.wished_name(contact),
        "nombre_completo": names.display_name(contact),
        "saludo": names.greeting(contact, language),
        # What was typed of an unknown city may be misspelt: it is for staff to mend, not to print.
        "ciudad": contact.city.name if contact.city else None,
        "pais": places.country_name(country, language.value) if country else None,
        "organizacion": post.organization.name if post else None,
        "cargo": post.title if post else None,
    }
    return {name: value for name, value in values.items() if value}
