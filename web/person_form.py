"""Nueva persona and Editar: one form by the fields of a contact, which keeps every text that was typed until it is right."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Path, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.orm import Session

from crm.errors import Conflict, CrmError, InvalidInput
from crm.history import Change
from crm.people import contacts, duplicates, likeness, organizations
from crm.people.addresses import address_key
from crm.people.contacts import visible
from crm.people.countries import country_codes, country_name
from crm.people.likeness import Alike
from crm.people.models import ConsentState, Contact, EmailAddress, Language, LeaderSector
from crm.people.names import display_name
from crm.people.schemas import ContactIn, ContactPatch
from crm.people.words import SECTOR_WORDS
from web.asked import text_of
from web.dependencies import Posted, ReadingOf, SessionOf
from web.duplicate_words import GRADES, why
from web.errors import status_of
from web.pages import page
from web.person_story import Reader
from web.person_typed import (
    AS_TYPED,
    BOROUGHS,
    SECTORS,
    TEXTS,
    Typed,
    Values,
    checked,
    differing,
    lines,
    said_by,
    shown_by,
    values_of,
)
from web.person_words import FIELDS, NOTHING, TREATMENTS
from web.words import CONSENTED, LANGUAGES

ORGANIZATIONS_OFFERED = 300
"""Names that the field of the organization offers while one types; any other may be written."""
SAID_WORDS = {ConsentState.GRANTED: "ya consta", ConsentState.REVOKED: "lo revocó"}
router = APIRouter()
PersonId = Annotated[int, Path(ge=1, lt=2**31)]

# --- a new person ----------------------------------------------------------------------------------------------------------


@router.get("/personas/nueva")
def new(request: Request, session: SessionOf) -> Response:
    """The empty form."""
    empty: Values = {**dict.fromkeys(TEXTS, ""), "language": Language.SPANISH.value, SECTORS: []}
    return _form(request, session, Typed(empty), contact=None)


@router.post("/personas/nueva")
def create(request: Request, session: SessionOf, form: Posted) -> Response:
    """Add the person; asks first when somebody like them is already there."""
    typed = Typed.read(form)
    data = checked(typed, typed.values, ContactIn)
    found = _alike(session, typed)
    alike = [] if typed.is_sure else found
    if data is None or alike:
        question = () if typed.wrong else alike
        return _form(request, session, typed, contact=None, alike=question, status=422 if typed.wrong else 409)
    try:
        with session.begin_nested():
            made = contacts.create(session, data)
            _settle(session, made.id, typed)
            duplicates.part(session, made.id, [one.contact.id for one in found])
    except (InvalidInput, Conflict) as error:
        return _refused(request, session, typed, error, contact=None)
    return RedirectResponse(f"/personas/{made.id}", status_code=303)


@router.post("/personas/parecidas")
def show_alike(request: Request, session: ReadingOf, form: Posted) -> Response:
    """Who may already be the person of a form that is being filled in; a part of a page."""
    return page(request, "person/alike.html", {"alike": _alike(session, Typed.read(form)), "why": why, "grades": GRADES})


def _alike(session: Session, typed: Typed) -> list[Alike]:
    return likeness.find_alike(
        session,
        given_names=typed.one("given_names"),
        first_surname=typed.one("first_surname"),
        second_surname=typed.one("second_surname"),
        emails=lines(typed.one("emails"))[:20],
        phone=typed.one("phone"),
    )


# --- a person who is there -------------------------------------------------------------------------------------------------


@router.get("/personas/{contact_id}/editar")
def edit(request: Request, session: SessionOf, contact_id: PersonId) -> Response:
    """The form of a person as they are."""
    contact = contacts.get(session, contact_id)
    return _form(request, session, Typed(values_of(contact)), contact=contact)


@router.post("/personas/{contact_id}/editar")
def change(request: Request, session: SessionOf, contact_id: PersonId, form: Posted) -> Response:
    """Change what differs from what the form showed; names who changed the person meanwhile, and what."""
    typed, contact = Typed.read(form), contacts.get(session, contact_id)
    shown, version = shown_by(form), text_of(form, "version")
    if version != str(contact.version) and values_of(contact) != shown:
        return _overtaken(request, session, typed, shown, contact)
    data = checked(typed, differing(typed.values, shown), ContactPatch, contact)
    if data is None:
        return _form(request, session, typed, contact=contact, shown=shown, status=422)
    try:
        with session.begin_nested():
            contacts.change(session, contact_id, data, version=contact.version)
            _settle(session, contact_id, typed)
    except (InvalidInput, Conflict) as error:
        contact = contacts.get(session, contact_id)
        if error.code == "contact_changed":
            return _overtaken(request, session, typed, shown, contact)
        return _refused(request, session, typed, error, contact=contact, shown=shown)
    return RedirectResponse(f"/personas/{contact_id}", status_code=303)


# --- two at once -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Difference:
    """A field that somebody else changed: what it says now, and what is in the form if that is not the same."""

    name: str
    words: str
    now: str
    typed: str | None
    """None: the form took over what it says now."""


def _overtaken(request: Request, session: Session, typed: Typed, shown: Values, contact: Contact) -> Response:
    """Somebody else changed the person meanwhile: what they changed is taken over, but for fields changed here too."""
    now = values_of(contact)
    differences = []
    for name in now:
        if now[name] != shown[name]:
            mine = typed.values[name] if typed.values[name] not in (shown[name], now[name]) else None
            differences.append(
                Difference(name, FIELDS[name], _told(name, now[name]), _told(name, mine) if mine is not None else None)
            )
            typed.values[name] = now[name] if mine is None else mine
    by = _last_change(session, contact.id)
    return _form(request, session, typed, contact=contact, differences=differences, overtaken_by=by, status=409)


def _told(name: str, value: str | list[str]) -> str:
    """A value of the form in words."""
    words: Mapping[str, Mapping[str, str]] = {"language": _keyed(LANGUAGES), "treatment": _keyed(TREATMENTS)}
    parts = [_keyed(SECTOR_WORDS)[one] for one in value] if isinstance(value, list) else value.split("\n")
    return ", ".join(words.get(name, {}).get(part, part) for part in parts if part) or NOTHING


def _keyed(words: Mapping[Any, str]) -> dict[str, str]:
    return {str(key.value): told for key, told in words.items()}


def _last_change(session: Session, contact_id: int) -> tuple[str, Any] | None:
    """Who changed a person last, and when."""
    last = session.scalar(
        sa.select(Change).where(Change.root == "contact", Change.root_id == contact_id).order_by(Change.id.desc()).limit(1)
    )
    if last is None:
        return None
    return Reader(session, contact_id, False).who(last.actor_kind, last.actor_id) or "El sistema", last.at


def _settle(session: Session, contact_id: int, typed: Typed) -> None:
    """Write the city that was chosen among several."""
    if typed.place not in ("", AS_TYPED):
        contacts.settle_city(session, contact_id, int(typed.place))


def _refused(
    request: Request, session: Session, typed: Typed, error: CrmError, *, contact: Contact | None, shown: Values | None = None
) -> Response:
    """The form again after the house said no; an address of somebody else leads to them."""
    name = "purposes" if error.field == "consents" else error.field
    typed.wrong[name if name in (*TEXTS, "purposes") else "given_names"] = error.sentence
    owner = _owner(session, typed, contact) if error.code == "address_of_other_person" else None
    return _form(request, session, typed, contact=contact, shown=shown, owner=owner, status=status_of(error))


def _owner(session: Session, typed: Typed, contact: Contact | None) -> Contact | None:
    """Who has one of the addresses; None when it may not be told, because the person is blocked."""
    keys = [address_key(one) for one in lines(typed.one("emails"))]
    held = sa.select(Contact).join(EmailAddress, EmailAddress.contact_id == Contact.id)
    held = held.where(EmailAddress.key.in_(keys), EmailAddress.retired_at.is_(None), visible())
    return session.scalar(held.where(Contact.id != (contact.id if contact else 0)).limit(1))


# --- the page --------------------------------------------------------------------------------------------------------------


def _form(
    request: Request,
    session: Session,
    typed: Typed,
    *,
    contact: Contact | None,
    shown: Values | None = None,
    alike: Sequence[Alike] = (),
    owner: Contact | None = None,
    differences: Sequence[Difference] = (),
    overtaken_by: tuple[str, Any] | None = None,
    status: int = 200,
) -> Response:
    """The form with what was typed; a person who is there carries their version and what the form showed."""
    context = {
        "typed": typed,
        "wrong": typed.wrong,
        "contact": contact,
        "name": (display_name(contact) or "Sin nombre") if contact else None,
        "shown": json.dumps(shown or values_of(contact), ensure_ascii=False) if contact else None,
        "alike": alike,
        "why": why,
        "grades": GRADES,
        "owner": owner,
        "owner_name": (display_name(owner) or "Sin nombre") if owner else None,
        "differences": differences,
        "overtaken_by": overtaken_by,
        "field_words": FIELDS | {"purposes": "Finalidades", "evidence": "Cómo consta", "given_on": "Fecha"},
        "languages": [(language.value, words) for language, words in LANGUAGES.items()],
        "treatments": [("", "Sin dato"), *((treatment.value, words) for treatment, words in TREATMENTS.items())],
        "sectors": [(sector.value, SECTOR_WORDS[sector]) for sector in LeaderSector],
        "purposes": [(one.value, words) for one, words in CONSENTED.items()],
        "said": {one: SAID_WORDS[state] for one, state in said_by(contact).items()},
        "countries": sorted({country_name(code) for code in country_codes()}),
        "boroughs": BOROUGHS,
        "organizations": [one.name for one in organizations.find(session, limit=ORGANIZATIONS_OFFERED)[0]],
        "as_typed": AS_TYPED,
        "country_name": country_name,
        "display_name": display_name,
    }
    return page(request, "person/form.html", context, status=status)
