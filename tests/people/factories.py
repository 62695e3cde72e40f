"""Synthetic people, numbered: the same number is always the same person. Nobody of the real network is among them."""

from typing import Any

from sqlalchemy.orm import Session

from crm.people import consent, contacts
from crm.people.models import ConsentState, Contact, LeaderSector, Purpose
from crm.people.schemas import ConsentIn, ContactIn

GIVEN = ("Ana", "José Luis", "María José", "Íñigo", "Citlalli", "Óscar", "Ximena", "Saúl", "Rocío", "Ulises", "Zoé", "Abril")
FIRST = ("Núñez", "de la Cruz", "Peña", "Álvarez", "Muñoz", "De León", "Quiroz", "Ñáñez", "Zúñiga", "Ibarra", "Xolalpa")
SECOND = ("López", "del Río", "Ávila", None, "Yáñez", "Güemes", "Ochoa")
PLACES = (("Los Ángeles", "US"), ("Chicago", "US"), ("Toronto", "CA"), ("Madrid", "ES"), ("Londres", "GB"), ("Múnich", "DE"))


def contact_in(number: int = 0, **changes: Any) -> ContactIn:
    """The person of a number as they come in, with an address of their own: `contact_in(3, city=None, tags=["taller"])`."""
    city, country = PLACES[number % len(PLACES)]
    values: dict[str, Any] = {
        "given_names": GIVEN[number % len(GIVEN)],
        "first_surname": FIRST[number // 2 % len(FIRST)],
        "second_surname": SECOND[number // 3 % len(SECOND)],
        "emails": [address_of(number)],
        "city": city,
        "country": country,
        "language": "en" if number % 10 == 9 else "es",
    }
    return ContactIn.model_validate(values | changes)


def address_of(number: int) -> str:
    """The address of a person's number, under a domain that nobody owns."""
    return f"persona{number}@example.{('org', 'com', 'net')[number % 3]}"


def phone_of(number: int) -> str:
    """A telephone of the fictional range: at most a hundred differ."""
    return f"+1 555 01{number % 100:02}"


def consent_in(purpose: Purpose = Purpose.ELECTORAL_INFORMATION, **changes: Any) -> ConsentIn:
    """A consent with its proof; granted, by mail."""
    values: dict[str, Any] = {"purpose": purpose, "evidence": "Hoja de registro sintética del taller", **changes}
    return ConsentIn.model_validate(values)


def contact(session: Session, number: int = 0, *, consents: tuple[Purpose, ...] = (), **changes: Any) -> Contact:
    """A stored person who consented to the purposes."""
    given = [consent_in(purpose) for purpose in consents]
    return contacts.create(session, contact_in(number, consents=given, **changes))


def leader_in(number: int, sector: LeaderSector = LeaderSector.ACADEMIA, **changes: Any) -> ContactIn:
    """A leader, with an organization and a post."""
    values = {"leader_sectors": [sector], "organization": f"Club Sintético {number % 7}", "post": "Presidencia"}
    return contact_in(number, **(values | changes))


def revoke(session: Session, contact_id: int, purpose: Purpose) -> None:
    """The person takes back a consent on a page of ours."""
    said = consent_in(purpose, state=ConsentState.REVOKED, evidence="Página de preferencias (prueba)")
    consent.record(session, contact_id, said, source=consent.OWN_ACT)
