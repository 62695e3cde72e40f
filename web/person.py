"""Ficha: who a person is, what they agreed to and with what proof, every touch of the Red, and what comes next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from fastapi import APIRouter, Form, Path, Query, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.orm import Session

from crm import clock
from crm.errors import SENTENCES, CrmError, Gone, InvalidInput
from crm.people import consent, contacts, notes
from crm.people.countries import country_name
from crm.people.models import Channel, Consent, ConsentState, Contact, EmailAddress, Import, Purpose, SuppressionReason
from crm.people.schemas import ContactOut
from crm.staff.rights import Right
from web import duplicates, follow_ups
from web.asked import text_of
from web.contacts import MAIL_WORDS
from web.dependencies import Posted, SessionOf, ViewerOf
from web.duplicates import Doors
from web.errors import status_of
from web.pages import Viewer, listed, page
from web.person_provenance import provenance_of
from web.person_story import KINDS, Touch, source_words, story_of
from web.person_words import ADDRESS_STATES, CHANNELS, SUPPRESSIONS, TREATMENTS, masked_text
from web.words import CONSENTED, LANGUAGES, PURPOSES

OPEN_TOUCHES = 10
"""Touches that are not folded."""
NEVER_AGAIN = {
    "baja": SuppressionReason.UNSUBSCRIBED,
    "queja": SuppressionReason.COMPLAINED,
    "rebote": SuppressionReason.BOUNCED,
}
"""What staff may note of an address, as the form names it."""
EVERY_ADDRESS = "todas"
PROOF_LENGTH = 4000
WHY_NOT = {
    "no_address": "no hay dirección de correo",
    "unsubscribed": "pidió no recibirlo",
    "bounced": "su dirección rebotó",
    "complained": "se quejó de un correo",
    "no_consent": "no consta su consentimiento",
}
"""Why nothing may be written, by how mail stands."""

router = APIRouter()
PersonId = Annotated[int, Path(ge=1, lt=2**31)]


@router.get("/personas/{contact_id}")
def show(
    request: Request,
    session: SessionOf,
    viewer: ViewerOf,
    contact_id: PersonId,
    ver: Annotated[str | None, Query(max_length=40)] = None,
    juntada: Annotated[int | None, Query(ge=1, lt=2**31)] = None,
    separada: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """The page of a person; `ver` narrows the story to one kind of touch. Of a record that was joined, the one that is kept."""
    try:
        doors = duplicates.doors_of(session, contact_id, viewer, joined=juntada, parted=separada)
        return _page(request, session, viewer, contact_id, kind=ver if ver in KINDS else None, doors=doors)
    except Gone as error:
        return RedirectResponse(f"/personas/{error.details['kept_id']}", status_code=303)


def _page(
    request: Request,
    session: Session,
    viewer: Viewer,
    contact_id: int,
    *,
    kind: str | None = None,
    typed: Mapping[str, str] | None = None,
    wrong: Mapping[str, str] | None = None,
    status: int = 200,
    doors: Doors | None = None,
) -> Response:
    """The Ficha; after a refused deed with what was typed and what is wrong, by field."""
    masked = not viewer.may(Right.VIEW_ADDRESSES)
    contact = contacts.get(session, contact_id)
    told = contacts.to_out(contact, masked=masked)
    story = story_of(session, contact_id, masked=masked)
    context = {
        "person": told,
        "name": told.display_name or "Sin nombre",
        "place": _place(contact),
        "mail": MAIL_WORDS[told.mail_state],
        "mail_sentence": mail_sentence(session, contact),
        "consents": _consents(session, contact, masked=masked),
        "next_step": next_step(told, viewer),
        "follow_up": follow_ups.of_person(session, contact_id, request.query_params.get("nota", ""), masked=masked),
        "owners": follow_ups.owners(session),
        "story": _filtered(story, kind),
        "open_touches": OPEN_TOUCHES,
        "kinds": [(name, words, sum(touch.kind == name for touch in story)) for name, words in KINDS.items()],
        "kind": kind,
        "touches": len(story),
        "source": _source(session, contact),
        "origins": provenance_of(session, contact, masked=masked),
        "reasons": [(name, SUPPRESSIONS[reason][0]) for name, reason in NEVER_AGAIN.items()],
        "addresses": consent.active_addresses(contact),
        "bounced": [row for row in consent.active_addresses(contact) if consent.address_state(row) == "bounced"],
        "has_any_address": bool(contact.addresses),
        "states": ADDRESS_STATES,
        "languages": LANGUAGES,
        "treatments": TREATMENTS,
        "may_edit": viewer.may(Right.EDIT),
        "may_lift": viewer.may(Right.SEND),
        "today": clock.today(),
        "typed": typed or {},
        "wrong": wrong or {},
        "now": clock.now(),
        "doors": doors or duplicates.doors_of(session, contact_id, viewer, joined=None, parted=None),
    }
    return page(request, "person/page.html", context, status=status)


def _filtered(story: list[Touch], kind: str | None) -> list[Touch]:
    return story if kind is None else [touch for touch in story if touch.kind == kind]


@dataclass(frozen=True)
class Place:
    """Where the person lives, and the hour that it is there now."""

    words: str
    here: datetime | None
    """None when the city is not known."""
    waits: bool
    """The city was typed and is not known yet: it is to be reviewed."""


def _place(contact: Contact) -> Place:
    country = country_name(contact.country) if contact.country else None
    city, typed = contact.city, contact.city_as_typed
    parts = [city.name, city.region if city.region != city.name else None] if city else [typed]
    words = ", ".join(part for part in (*parts, country) if part)
    here = clock.now().astimezone(ZoneInfo(city.zone)) if city else None
    return Place(words, here, city is None and bool(typed))


def _source(session: Session, contact: Contact) -> str | None:
    """Where the record comes from."""
    found = session.get(Import, contact.import_id) if contact.import_id else None
    parts = (contact.source, f"importación «{found.file_name}»" if found else None)
    return " · ".join(part for part in parts if part) or None


# --- consent ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Said:
    """What stands of one purpose and channel, with its proof."""

    purpose: str
    channel: str | None
    """None: by mail, as nearly all are."""
    state: tuple[str, str]
    evidence: str | None
    source: str | None
    on: date | datetime | None


def _consents(session: Session, contact: Contact, *, masked: bool) -> list[Said]:
    """Every purpose by mail, also those of which nothing was said; other channels only where something was."""
    last = {(said.purpose, said.channel): said for said in consent.last_words(contact)}
    files = _files(session, [said.import_id for said in last.values() if said.import_id])
    by_mail = [_said(purpose, Channel.EMAIL, last.get((purpose, Channel.EMAIL)), files, masked=masked) for purpose in CONSENTED]
    others = [
        _said(purpose, channel, said, files, masked=masked)
        for (purpose, channel), said in last.items()
        if channel is not Channel.EMAIL or purpose not in CONSENTED
    ]
    return by_mail + others


def _files(session: Session, ids: Sequence[int]) -> dict[int, str]:
    rows = session.execute(sa.select(Import.id, Import.file_name).where(Import.id.in_(ids))) if ids else ()
    return {row.id: row.file_name for row in rows}


def _said(purpose: Purpose, channel: Channel, said: Consent | None, files: Mapping[int, str], *, masked: bool) -> Said:
    words, by = PURPOSES[purpose], None if channel is Channel.EMAIL else CHANNELS[channel]
    if said is None:
        return Said(words, by, ("No consta", "off"), None, None, None)
    state = ("Dio su consentimiento", "good") if said.state is ConsentState.GRANTED else ("Lo revocó", "bad")
    evidence = masked_text(said.evidence) if masked else said.evidence
    source = source_words(said, files.get(said.import_id or 0))
    return Said(words, by, state, evidence, source, said.given_on or said.recorded_at)


def mail_sentence(session: Session, contact: Contact) -> str:
    """How mail stands in one sentence: what may be written, or why nothing may."""
    reached = consent.reached_by(session, contact)
    if reached == [Purpose.CONSENT_REQUEST]:
        return "Solo se le puede escribir para pedir su consentimiento, porque no consta ninguno."
    if reached:
        return f"Se le puede escribir por: {listed([PURPOSES[purpose].lower() for purpose in reached])}."
    return f"No se le escribe: {WHY_NOT.get(consent.mail_state_of(contact), WHY_NOT['no_consent'])}."


# --- what comes next -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """The next thing to do with a person, or that there is none."""

    words: str
    why: str
    action: str | None = None
    href: str | None = None


def next_step(told: ContactOut, viewer: Viewer) -> Step:
    """The simplest thing that is pending, by what the record lacks; only who may edit is offered the way."""
    step = _step(told, f"/personas/{told.id}/editar")
    return step if viewer.may(Right.EDIT) else Step(step.words, step.why)


def _step(told: ContactOut, edit: str) -> Step:
    if told.mail_state in {"unsubscribed", "complained"}:
        return Step("Nada pendiente", "Pidió no recibir correos y se respeta. Solo la propia persona puede volver.")
    if told.mail_state == "no_address":
        return Step("Conseguir su correo", "Sin una dirección no recibe ningún envío.", "Agregar dirección", f"{edit}#emails")
    if told.mail_state == "bounced":
        return Step("Corregir su dirección", "Su correo rebotó. Pida otra dirección o corríjala.", "Corregir", f"{edit}#emails")
    if told.mail_state == "no_consent":
        why = "No consta ninguno. Pídalo con una campaña de consentimiento, o anótelo si ya lo dio."
        return Step("Pedir su consentimiento", why, "Anotar consentimiento", f"{edit}#consent")
    if told.city is None:
        why = "La ciudad no se reconoce." if told.city_as_typed else "Sin ciudad no se conoce su hora local."
        return Step("Revisar su ciudad", why, "Completar", f"{edit}#city")
    return Step("Nada pendiente", "Su ficha tiene dirección, consentimiento y ciudad.")


@router.post("/personas/{contact_id}/notas")
def write_note(request: Request, session: SessionOf, viewer: ViewerOf, contact_id: PersonId, form: Posted) -> Response:
    """Keep a note of the person."""
    typed = {"nota": text_of(form, "nota")}
    try:
        notes.write(session, contact_id, typed["nota"], viewer.account_id)
    except InvalidInput as error:
        return _page(request, session, viewer, contact_id, typed=typed, wrong={"nota": error.sentence}, status=422)
    return RedirectResponse(f"/personas/{contact_id}#seguimiento", status_code=303)


@router.post("/personas/{contact_id}/tareas")
def add_task(request: Request, session: SessionOf, viewer: ViewerOf, contact_id: PersonId, form: Posted) -> Response:
    """Write a task down that is about the person."""
    typed = {name: text_of(form, name) for name in follow_ups.FIELDS.values()}
    try:
        follow_ups.add_task(session, typed, viewer, contact_id)
    except InvalidInput as error:
        told = follow_ups.wrong_of(error)
        return _page(request, session, viewer, contact_id, typed=typed, wrong=told, status=422)
    return RedirectResponse(f"/personas/{contact_id}#seguimiento", status_code=303)


# --- deeds -----------------------------------------------------------------------------------------------------------------


@router.post("/personas/{contact_id}/exclusion")
def suppress(request: Request, session: SessionOf, viewer: ViewerOf, contact_id: PersonId, form: Posted) -> Response:
    """Note that the person left or complained, or that a mailbox bounced, with its day and its proof."""
    typed = {name: text_of(form, name).strip() for name in ("motivo", "direccion", "fecha", "prueba")}
    contact = contacts.get(session, contact_id)
    wrong: dict[str, str] = {}
    chosen = _chosen(contact, typed["direccion"])
    if not chosen:
        wrong["direccion"] = SENTENCES["address_required"]
    if typed["motivo"] not in NEVER_AGAIN:
        wrong["motivo"] = SENTENCES["field_required"]
    happened_on = read_day(typed["fecha"], wrong, "fecha")
    if not typed["prueba"]:
        wrong["prueba"] = SENTENCES["proof_required"]
    elif len(typed["prueba"]) > PROOF_LENGTH:
        wrong["prueba"] = SENTENCES["field_too_long"].format(limit=PROOF_LENGTH)
    if wrong or happened_on is None:
        return _page(request, session, viewer, contact_id, typed=typed, wrong=wrong, status=422)
    for address in chosen:
        consent.suppress(session, address.address, NEVER_AGAIN[typed["motivo"]], happened_on=happened_on, proof=typed["prueba"])
    return RedirectResponse(f"/personas/{contact_id}", status_code=303)


def _chosen(contact: Contact, told: str) -> list[EmailAddress]:
    """The address that was chosen, or all that are active; of who has none, all that they had."""
    if told == EVERY_ADDRESS:
        return consent.active_addresses(contact) or list(contact.addresses)
    return [row for row in contact.addresses if str(row.id) == told]


def read_day(typed: str, wrong: dict[str, str], field: str) -> date | None:
    """A day of a form, not after today; says in `wrong` what is the matter with it."""
    try:
        told = date.fromisoformat(typed) if typed else None
    except ValueError:
        wrong[field] = SENTENCES["date_invalid"]
        return None
    if told is None:
        wrong[field] = SENTENCES["field_required"]
    elif told > clock.today():
        wrong[field] = SENTENCES["date_future"]
    return told


@router.post("/personas/{contact_id}/rebote/levantar")
def lift_bounce(
    request: Request,
    session: SessionOf,
    viewer: ViewerOf,
    contact_id: PersonId,
    form: Posted,
    direccion: Annotated[int, Form(ge=1, lt=2**31)] = 0,
) -> Response:
    """Write again to an address that had only bounced, with the written reason."""
    contact = contacts.get(session, contact_id)
    address = next((row for row in contact.addresses if row.id == direccion), None)
    told = text_of(form, "razon").strip()
    try:
        if address is None:
            raise InvalidInput("not_bounced", field="razon")
        consent.lift_bounce(session, address.address, told[:PROOF_LENGTH])
    except CrmError as error:
        typed = {"razon": told, "levantar": str(direccion)}
        return _page(request, session, viewer, contact_id, typed=typed, wrong={"razon": error.sentence}, status=status_of(error))
    return RedirectResponse(f"/personas/{contact_id}", status_code=303)
