"""Merge fields: what staff may write between braces, and each person's value.

``{{ nombre }}`` or ``{{ nombre | persona de la Red }}`` (text if it is missing). Never template code.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm.errors import InvalidInput
from crm.mailing.schemas import FieldOut
from crm.people import names, places
from crm.people.models import City, Contact, Language, Organization, Post, Treatment

MERGE_FIELD = re.compile(r"\{\{\s*([a-z_]+)\s*(?:\|([^{}]*))?\}\}")
_ANY_BRACES = re.compile(r"\{\{|\}\}")
CONSENT_LINK = "enlace_consentimiento"


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
        MergeField(CONSENT_LINK, "Enlace personal para aceptar los correos de la Red", "https://…/p/consentimiento/…", kind="link"),
    )
}


PERSONAL_LINKS = frozenset(field.name for field in CATALOGUE.values() if field.kind == "link")
"""Fields whose value belongs to the delivery, not to the person: see `links.personal`."""


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


class Known(NamedTuple):
    """What a person's values are made of, as `known` reads it; it can be named and greeted (`names.Named`)."""

    given_names: str
    first_surname: str
    second_surname: str | None
    preferred_name: str | None
    treatment: Treatment | None
    city: str | None
    country: str | None
    organization: str | None
    post: str | None

    @classmethod
    def read(cls, told: Sequence[Any]) -> "Known":
        """Of the values of those columns, the treatment as the word that is stored."""
        treatment = told[4]
        return cls._make([*told[:4], Treatment(treatment) if treatment else None, *told[5:]])


def known(statement: sa.Select[*tuple[Any, ...]]) -> sa.Select[*tuple[Any, ...]]:
    """A statement over Contact with the columns of `Known` after its own."""
    newest = (
        sa.select(sa.func.max(Post.id))
        .where(Post.contact_id == Contact.id, Post.until.is_(None))
        .correlate(Contact)
        .scalar_subquery()
    )
    return (
        statement.outerjoin(City, City.id == Contact.city_id)
        .outerjoin(Post, Post.id == newest)
        .outerjoin(Organization, Organization.id == Post.organization_id)
        .add_columns(
            Contact.given_names,
            Contact.first_surname,
            Contact.second_surname,
            Contact.preferred_name,
            Contact.treatment,
            # What was typed of an unknown city may be misspelt: it is for staff to mend, not to print.
            City.name.label("city"),
            Contact.country,
            Organization.name.label("organization"),
            Post.title,
        )
    )


def values_of(session: Session, people: Sequence[tuple[int, Language]]) -> dict[int, dict[str, str]]:
    """Each person's values by field name, in the language that the mail is in; a field without value is left out.

    ``nombre_completo`` is empty only for a person without a name. Personal links are not here: they belong to the
    delivery (`links.py`).
    """
    wanted = dict(people)
    rows = session.execute(known(sa.select(Contact.id)).where(Contact.id.in_(wanted)))
    return {contact_id: values(Known._make(told), wanted[contact_id]) for contact_id, *told in rows}


_VALUE: dict[str, Callable[[Known, Language], str | None]] = {
    "nombre": lambda person, _: names.wished_name(person),
    "nombre_completo": lambda person, _: names.display_name(person),
    "saludo": names.greeting,
    "ciudad": lambda person, _: person.city,
    "pais": lambda person, language: places.country_name(person.country, language.value) if person.country else None,
    "organizacion": lambda person, _: person.organization,
    "cargo": lambda person, _: person.post,
}


def values(person: Known, language: Language, wanted: Iterable[str] = _VALUE) -> dict[str, str]:
    """`values_of` one person of whom this is known: of all fields, or of those that a mail has."""
    found: dict[str, str] = {}
    for name in wanted:
        read = _VALUE.get(name)
        if read is not None and (value := read(person, language)):
            found[name] = value
    return found
