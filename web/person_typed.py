"""What was typed in the form of a person: how it is read, what differs from what was shown, and all that is wrong with it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError
from starlette.datastructures import FormData

from crm.errors import SENTENCES, InvalidInput
from crm.people import consent, contacts
from crm.people.addresses import read_address
from crm.people.countries import country_name
from crm.people.models import Channel, Consent, ConsentState, Contact, LeaderSector, Purpose
from crm.people.places import Place, locate, resolve
from web.asked import text_of
from web.person import read_day
from web.words import PURPOSES

TEXTS = (
    "given_names",
    "first_surname",
    "second_surname",
    "preferred_name",
    "treatment",
    "academic_title",
    "language",
    "phone",
    "emails",
    "city",
    "country",
    "home_borough",
    "tags",
    "organization",
    "post",
)
"""Fields of a person that are one text of the form; addresses stand one a line, tags between commas."""
SECTORS = "leader_sectors"
CONSENT = ("evidence", "given_on")
TOGETHER = (("city", "country"), ("organization", "post"))
"""Fields that mean something only side by side: a change of one tells both."""
AS_TYPED = "0"
"""The choice of none of the cities that are offered."""
CHOICES = 6
BOROUGHS = (
    *("Álvaro Obregón", "Azcapotzalco", "Benito Juárez", "Coyoacán", "Cuajimalpa de Morelos", "Cuauhtémoc", "Gustavo A. Madero"),
    *("Iztacalco", "Iztapalapa", "La Magdalena Contreras", "Miguel Hidalgo", "Milpa Alta", "Tláhuac", "Tlalpan"),
    *("Venustiano Carranza", "Xochimilco"),
)
CODES = {
    "string_too_long": "field_too_long",
    "string_pattern_mismatch": "field_control_characters",
    "too_long": "too_many_values",
    "name_required": "name_required",
}
"""Kinds of pydantic's errors that have a sentence of their own."""

Values = dict[str, str | list[str]]
"""What a form holds of a person: a text for each of `TEXTS`, a list of sectors."""


@dataclass
class Typed:
    """A form as it came, and all that is wrong with it, by field."""

    values: Values
    consent: dict[str, str] = field(default_factory=dict)
    purposes: list[str] = field(default_factory=list)
    place: str = ""
    """GeoNames id of the city that was chosen among several of one name."""
    is_sure: bool = False
    wrong: dict[str, str] = field(default_factory=dict)
    choices: Sequence[Place] = ()

    @classmethod
    def read(cls, form: FormData) -> "Typed":
        values: Values = {name: text_of(form, name).strip() for name in TEXTS}
        values[SECTORS] = [sector.value for sector in LeaderSector if sector.value in form.getlist(SECTORS)]
        purposes: list[str] = [purpose.value for purpose in Purpose if purpose.value in form.getlist("purposes")]
        told = {name: text_of(form, name).strip() for name in CONSENT}
        return cls(values, told, purposes, text_of(form, "place").strip(), form.get("sure") == "1")

    def one(self, name: str) -> str:
        value = self.values.get(name, "")
        return value if isinstance(value, str) else ", ".join(value)


def values_of(contact: Contact) -> Values:
    """A loaded person as the form shows them."""
    told = contacts.to_out(contact)
    values: Values = {name: str(getattr(told, name, None) or "") for name in TEXTS}
    return values | {
        "emails": "\n".join(row.address for row in told.emails),
        "city": told.city.name if told.city else told.city_as_typed or "",
        "country": country_name(told.country) if told.country else "",
        "tags": ", ".join(told.tags),
        SECTORS: [sector.value for sector in LeaderSector if sector in told.leader_sectors],
    }


def shown_by(form: FormData) -> Values:
    """What the form showed when it was opened; it travels in the form itself. InvalidInput(invalid_input) when it is not ours."""
    try:
        told = json.loads(text_of(form, "shown"))
        shown: Values = {name: str(told[name]) for name in TEXTS}
        shown[SECTORS] = [str(sector) for sector in told[SECTORS]]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise InvalidInput("invalid_input") from error
    return shown


def differing(values: Values, shown: Values) -> Values:
    """The fields that were changed, with those that go with them."""
    names = {name for name in values if values[name] != shown[name]}
    for pair in TOGETHER:
        names |= set(pair) if names & set(pair) else set()
    return {name: values[name] for name in values if name in names}


# --- what is wrong ---------------------------------------------------------------------------------------------------------


def checked(typed: Typed, values: Values, model: Any, contact: Contact | None = None) -> Any:
    """The values as the schema takes them; None when something is wrong, which `typed` then says field by field."""
    told = {name: _read(name, value) for name, value in values.items()}
    _check_addresses(typed, told.get("emails") or [])
    if "city" in told:
        _check_place(typed)
    if told.get("post") and not told.get("organization"):
        typed.wrong["organization"] = SENTENCES["post_without_organization"]
    told |= _consents(typed, contact)
    try:
        data = model.model_validate(told)
    except ValidationError as error:
        typed.wrong = {**_sentences(error), **typed.wrong}
    return None if typed.wrong else data


def _read(name: str, value: str | list[str]) -> Any:
    """One value of the form as the schema takes it."""
    if isinstance(value, list):
        return value
    if name == "emails":
        return lines(value)
    if name == "tags":
        return [tag for part in value.split(",") if (tag := part.strip())]
    return value or (None if name not in {"given_names", "first_surname"} else "")


def lines(value: str) -> list[str]:
    """Addresses, however they were parted."""
    return value.replace(",", " ").replace(";", " ").split()


def _check_addresses(typed: Typed, emails: Sequence[str]) -> None:
    for number, one in enumerate(emails, 1):
        try:
            read_address(one)
        except InvalidInput as error:
            typed.wrong["emails"] = error.sentence if len(emails) == 1 else f"Dirección {number}: {error.sentence}"
            return


def _check_place(typed: Typed) -> None:
    """A country that nobody knows would be lost; of several cities of one name somebody must say which."""
    found = locate(typed.one("city"), typed.one("country"))
    if "country_unknown" in found.warnings:
        typed.wrong["country"] = SENTENCES["country_unknown"]
    if "city_ambiguous" not in found.warnings:
        typed.place = ""
        return
    typed.choices = resolve(typed.one("city"), typed.one("country")).candidates[:CHOICES]
    if typed.place not in {AS_TYPED, *(str(place.geoname_id) for place in typed.choices)}:
        typed.wrong["city"] = "Hay varias ciudades con ese nombre. Elija una de la lista."


def _consents(typed: Typed, contact: Contact | None) -> dict[str, Any]:
    """What the person agreed to, as the schema takes it; nothing when nothing was told."""
    evidence, given_on = (typed.consent.get(name, "") for name in CONSENT)
    if not (typed.purposes or evidence or given_on):
        return {}
    if not typed.purposes:
        typed.wrong["purposes"] = SENTENCES["purpose_required"]
    if not evidence:
        typed.wrong["evidence"] = SENTENCES["evidence_required"]
    day = read_day(given_on, typed.wrong, "given_on") if given_on else None
    said = said_by(contact)
    withdrawn = [one for one in typed.purposes if said.get(one) is ConsentState.REVOKED]
    if withdrawn:
        told = ", ".join(sorted(PURPOSES[Purpose(purpose)].lower() for purpose in withdrawn))
        typed.wrong["purposes"] = SENTENCES["consent_stays_revoked"].format(purposes=told)
    return {"consents": [{"purpose": one, "evidence": evidence, "given_on": day} for one in typed.purposes]}


def said_by(contact: Contact | None) -> dict[str, ConsentState]:
    """What stands of a person's consents by mail, by purpose; nothing of who is not there yet."""
    last: Sequence[Consent] = consent.last_words(contact) if contact else ()
    return {said.purpose.value: said.state for said in last if said.channel is Channel.EMAIL}


def _sentences(error: ValidationError) -> dict[str, str]:
    """What is wrong by field, in words; what was typed is not repeated."""
    wrong: dict[str, str] = {}
    for told in error.errors():
        code = CODES.get(told["type"], "invalid_input")
        name = str(told["loc"][0]) if told["loc"] else "given_names"
        name = str(told["loc"][-1]) if name == "consents" else name
        wrong.setdefault(name, SENTENCES[code].format(limit=told.get("ctx", {}).get("max_length", "")))
    return wrong
