"""Duplicados: pairs of people who may be one, side by side, joined into one record and parted again."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote

import sqlalchemy as sa
from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.orm import Session

from crm.errors import Conflict
from crm.mailing import joining
from crm.mailing.models import Delivery, DeliveryState
from crm.people import consent, contacts, duplicates
from crm.people.countries import country_name
from crm.people.duplicate_models import DuplicatePair, PairState
from crm.people.evidence import Grade
from crm.people.models import Channel, ConsentState, Contact, Post
from crm.people.names import display_name
from crm.people.words import SECTOR_WORDS
from web.asked import text_of, whole_number
from web.contacts import MAIL_WORDS
from web.dependencies import Posted, SessionOf
from web.duplicate_words import GRADES, certainty, reasons_against, reasons_for, why
from web.errors import status_of
from web.pages import Viewer, page
from web.person_words import ADDRESS_STATES, FIELDS, NOTHING, TREATMENTS
from web.words import LANGUAGES, PURPOSES

FIELD_WORDS = {name: FIELDS.get(name, "") for name in joining.FIELDS} | {"place": "Ciudad y país"}
REASON_LENGTH = 500
SIDES = ("kept", "joined")

router = APIRouter()
PairId = Annotated[int, Path(ge=1, lt=2**31)]


# --- the list -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """A pair as the list shows it: two people with where they live and their address."""

    pair: DuplicatePair
    people: tuple[tuple[str, str, str], tuple[str, str, str]]
    """Name, place and address of each."""
    why: str
    certainty: str


@router.get("/duplicados")
def show(
    request: Request,
    session: SessionOf,
    grado: Annotated[str | None, Query(max_length=20)] = None,
    importacion: Annotated[int | None, Query(ge=1, lt=2**31)] = None,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
    aparte: Annotated[int | None, Query(ge=1, lt=2**31)] = None,
) -> Response:
    """Pairs to review, the surest first: all, of one grade, of an import, or those that were set aside (`grado=aparte`)."""
    state = PairState.SET_ASIDE if grado == "aparte" else PairState.OPEN
    grade = Grade(grado) if grado in list(Grade) else None
    found, following = duplicates.find(session, state=state, grade=grade, import_id=importacion, cursor=cursor, limit=25)
    counts = duplicates.counts(session)
    context = {
        "rows": [_row(pair) for pair in found],
        "counts": counts,
        "total": sum(counts.values()),
        "set_aside": duplicates.count_set_aside(session),
        "grades": GRADES,
        "chosen": "aparte" if state is PairState.SET_ASIDE else grade.value if grade else None,
        "import_id": importacion,
        "cursor": cursor,
        "following": following,
        "just_set_aside": _just_set_aside(session, aparte),
        "comparing": duplicates.told(session),
    }
    return page(request, "duplicates/list.html", context)


def _row(pair: DuplicatePair) -> Row:
    people = (_line(pair.low), _line(pair.high))
    return Row(pair, people, why(pair.match), certainty(pair.match))


def _line(contact: Contact) -> tuple[str, str, str]:
    active = consent.active_addresses(contact)
    return _name(contact), _place(contact), active[0].address if active else ""


def _name(contact: Contact) -> str:
    return display_name(contact) or "Sin nombre"


def _place(contact: Contact) -> str:
    city = contact.city.name if contact.city else contact.city_as_typed
    return ", ".join(part for part in (city, country_name(contact.country) if contact.country else None) if part)


def _just_set_aside(session: Session, pair_id: int | None) -> DuplicatePair | None:
    pair = duplicates.get(session, pair_id) if pair_id else None
    return pair if pair is not None and pair.state is PairState.SET_ASIDE else None


@router.post("/duplicados/buscar")
def search_again(session: SessionOf) -> Response:
    """Ask that everybody be compared again; a worker does it."""
    duplicates.ask_for_all(session)
    return RedirectResponse("/duplicados", status_code=303)


@router.post("/duplicados/{pair_id}/aparte")
def set_aside(session: SessionOf, pair_id: PairId) -> Response:
    """They are two people."""
    duplicates.set_aside(session, pair_id)
    return RedirectResponse(f"/duplicados?aparte={pair_id}", status_code=303)


@router.post("/duplicados/{pair_id}/revisar")
def bring_back(session: SessionOf, pair_id: PairId) -> Response:
    """They may be one after all."""
    duplicates.bring_back(session, pair_id)
    return RedirectResponse(f"/duplicados/{pair_id}", status_code=303)


# --- two records side by side -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Field:
    """One field of both: its words, what each says, and which of the two stays (None: they say the same)."""

    name: str
    words: str
    kept: str
    joined: str
    chosen: str | None


@dataclass(frozen=True)
class Side:
    """One of the two records and what it brings."""

    contact: Contact
    name: str
    mail: tuple[str, str]
    mails: int
    """Mails that a server took."""
    tags: list[str]
    consents: list[tuple[str, str]]
    """Purposes with what stands of each, and its colour."""
    posts: list[str]
    sectors: list[str]


@router.get("/duplicados/{pair_id}")
def compare(request: Request, session: SessionOf, pair_id: PairId, queda: Annotated[int | None, Query()] = None) -> Response:
    """The pair side by side; `queda` is the record that is kept, else the one that says more."""
    return _compared(request, session, pair_id, queda, {})


def _compared(
    request: Request,
    session: Session,
    pair_id: int,
    kept_id: int | None,
    choices: Mapping[str, str],
    *,
    wrong: str = "",
    status: int = 200,
) -> Response:
    pair = duplicates.get(session, pair_id)
    if pair.state is PairState.JOINED:
        there = pair.low.merged_into_id or pair.high.merged_into_id or pair.low_id
        return RedirectResponse(f"/personas/{there}", status_code=303)
    low, high = contacts.get(session, pair.low_id), contacts.get(session, pair.high_id)
    kept = {low.id: low, high.id: high}.get(kept_id or 0) or joining.fuller(low, high)
    joined = high if kept is low else low
    sides = [_side(session, kept), _side(session, joined)]
    addresses = [*consent.active_addresses(kept), *consent.active_addresses(joined)]
    context = {
        "pair": pair,
        "grade": GRADES[pair.grade],
        "certainty": certainty(pair.match),
        "reasons_for": reasons_for(pair.match),
        "reasons_against": reasons_against(pair.match),
        "sides": sides,
        "fields": _fields(kept, joined, choices),
        "addresses": [(row, ADDRESS_STATES[consent.address_state(row)]) for row in addresses],
        "address_id": joining.usual_address(kept, joined),
        "after": _after(sides),
        "undo_days": joining.UNDO_DAYS,
        "wrong": wrong,
        "reason": choices.get("reason", ""),
    }
    return page(request, "duplicates/pair.html", context, status=status)


def _fields(kept: Contact, joined: Contact, choices: Mapping[str, str]) -> list[Field]:
    usual = joining.suggested(kept, joined)
    found = []
    for name, words in FIELD_WORDS.items():
        one, other = _words(kept, name), _words(joined, name)
        chosen = (choices.get(name) or usual[name]) if name in usual else None
        if chosen or one != NOTHING:
            found.append(Field(name, words, one, other, chosen))
    return found


def _words(contact: Contact, name: str) -> str:
    if name == "place":
        return _place(contact) or NOTHING
    value = getattr(contact, name)
    words: Mapping[str, Mapping[Any, str]] = {"language": LANGUAGES, "treatment": TREATMENTS}
    told = words.get(name, {})
    return told.get(value, str(value)) if value else NOTHING


def _side(session: Session, contact: Contact) -> Side:
    taken = sa.select(sa.func.count()).where(Delivery.contact_id == contact.id, Delivery.state == DeliveryState.SENT)
    said = [one for one in consent.last_words(contact) if one.channel is Channel.EMAIL]
    return Side(
        contact=contact,
        name=_name(contact),
        mail=MAIL_WORDS[consent.mail_state_of(contact)],
        mails=session.scalar(taken) or 0,
        tags=[tag.name for tag in contact.tags],
        consents=[
            (PURPOSES[one.purpose], "" if one.state is ConsentState.GRANTED else "revocado")
            for one in sorted(said, key=lambda one: PURPOSES[one.purpose])
        ],
        posts=[
            ", ".join(part for part in (post.title, post.organization.name) if part) for post in contact.posts if not post.until
        ],
        sectors=[SECTOR_WORDS[role.sector] for role in contact.leader_roles if role.until is None],
    )


def _post_words(post: Post) -> str:
    return ", ".join(part for part in (post.title, post.organization.name) if part)


@dataclass(frozen=True)
class After:
    """What the one record will have, that is not chosen but united."""

    mails: int
    tags: list[str]
    posts: list[str]
    sectors: list[str]
    consents: list[tuple[str, str]]


def _after(sides: list[Side]) -> After:
    """The two united; what either revoked stays revoked."""
    said: dict[str, str] = {}
    for side in sides:
        said |= {purpose: state or said.get(purpose, "") for purpose, state in side.consents}
    return After(
        mails=sum(side.mails for side in sides),
        tags=sorted({tag for side in sides for tag in side.tags}),
        posts=list(dict.fromkeys(post for side in sides for post in side.posts)),
        sectors=list(dict.fromkeys(sector for side in sides for sector in side.sectors)),
        consents=sorted(said.items()),
    )


@router.post("/duplicados/{pair_id}/juntar")
def join(request: Request, session: SessionOf, pair_id: PairId, form: Posted) -> Response:
    """Make the two records one, with the values that were chosen; in refusing, nothing that was chosen is lost."""
    pair = duplicates.get(session, pair_id)
    kept_id = whole_number(text_of(form, "queda"))
    choices = {name: told for name in joining.FIELDS if (told := text_of(form, name)) in SIDES}
    reason = text_of(form, "reason").strip()[:REASON_LENGTH]
    if kept_id not in (pair.low_id, pair.high_id):
        kept_id = pair.low_id
    joined_id = pair.high_id if kept_id == pair.low_id else pair.low_id
    versions = tuple(whole_number(text_of(form, f"version_{side}")) or 0 for side in SIDES)
    address_id = whole_number(text_of(form, "address"))
    try:
        with session.begin_nested():
            done = joining.join(
                session,
                kept_id,
                joined_id,
                choices,
                address_id=address_id,
                versions=(versions[0], versions[1]),
                reason=reason or None,
            )
    except Conflict as error:
        if error.code == "pair_settled":
            raise
        kept_choices = choices | {"reason": reason}
        return _compared(request, session, pair_id, kept_id, kept_choices, wrong=error.sentence, status=status_of(error))
    return RedirectResponse(f"/personas/{kept_id}?juntada={done.id}", status_code=303)


@router.post("/uniones/{joining_id}/deshacer")
def part(session: SessionOf, joining_id: PairId) -> Response:
    """Give each record back its own; the page says what was changed since and stays."""
    kept_id = joining.get(session, joining_id).kept_id
    stays = joining.part(session, joining_id)
    told = ",".join(dict.fromkeys(stays))
    return RedirectResponse(f"/personas/{kept_id}?separada={quote(told) or 'todo'}", status_code=303)


# --- on the Ficha -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Doors:
    """What the page of a person says of duplicates."""

    possible: list[tuple[int, str, str, str]]
    """Open pairs: id, name of the other, how sure in words, and why."""
    joined: list[tuple[int, str, Any, bool]]
    """Records that were joined into it: id of the joining, name, when, and whether it may be undone."""
    just_joined: int | None
    parted: str | None
    """The sentence of a parting that has just been done."""


def doors_of(session: Session, contact_id: int, viewer: Viewer, *, joined: int | None, parted: str | None) -> Doors:
    """For who may edit; others see what was joined, and decide nothing."""
    pairs = duplicates.of_contact(session, contact_id) if viewer.may("edit") else []
    possible = [
        (pair.id, _name(pair.high if pair.low_id == contact_id else pair.low), GRADES[pair.grade][0], why(pair.match))
        for pair in pairs
    ]
    rows = joining.of_contact(session, contact_id)
    done = [(row.id, name, row.at, joining.may_undo(row)) for row, name in rows]
    return Doors(possible, done, joined if joined in [row.id for row, _ in rows] else None, _parted_words(parted))


def _parted_words(told: str | None) -> str | None:
    if told is None:
        return None
    stays = [FIELDS[name] for name in told.split(",") if name in FIELDS]
    if not stays:
        return "Las dos fichas quedaron separadas, cada una con lo suyo."
    listed = ", ".join(name.lower() for name in stays)
    return f"Las dos fichas quedaron separadas. Se conservó lo que alguien cambió después: {listed}."
