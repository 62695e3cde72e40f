"""Contacts over the API: names and addresses whole, because the client has the scope."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Body, Query, Response
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError
from sqlalchemy.orm import Session

from api.dependencies import (
    CURSOR,
    LIMIT,
    IfMatch,
    OnlyOnce,
    Page,
    Reading,
    RowId,
    ThisCall,
    Writing,
    content,
    page,
    tag,
)
from api.errors import documented, field_errors
from api.guard import GuardedRoute
from crm.database import contains, search_key
from crm.people import consent, contacts, places, tags
from crm.people.models import City, Contact, Language, LeaderRole, LeaderSector, RowStatus, Tag, contact_tag
from crm.people.schemas import ContactIn, ContactOut, ContactPatch, Taken

router = APIRouter(tags=["contacts"], route_class=GuardedRoute)

BATCH_LIMIT = 1000

MailState = Literal["ok", "no_consent", "unsubscribed", "bounced", "complained", "no_address"]


class Filter(BaseModel):
    """Which contacts: every part that is told must hold, and within a part any of its values."""

    q: Annotated[str | None, Field(max_length=200, description="Words of names, addresses and posts, without accents.")] = None
    country: Annotated[list[str], Field(max_length=50, description="ISO 3166-1 alpha-2; may be repeated.")] = []
    city: Annotated[str | None, Field(max_length=200, description="A city as people write it; the gazetteer resolves it.")] = None
    tag: Annotated[list[str], Field(max_length=50, description="Name of a tag; may be repeated.")] = []
    language: Annotated[Language | None, Field(description="Language the person is written to in.")] = None
    leader_sector: Annotated[list[LeaderSector], Field(max_length=4, description="Sector of leadership; may be repeated.")] = []
    mail_state: Annotated[list[MailState], Field(max_length=6, description="Whether mail may reach the person.")] = []
    cursor: Annotated[str | None, CURSOR] = None
    limit: Annotated[int, LIMIT] = 50


class BatchIn(BaseModel):
    """People to take in together. Each item is a `ContactIn`; one that is not is refused alone, and says why."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"items": [ContactIn.model_config["json_schema_extra"]["example"]]}},  # type: ignore[index]  # a plain object
    )

    items: Annotated[
        list[Annotated[ContactIn | dict[str, JsonValue], Field(union_mode="left_to_right")]],
        Field(min_length=1, max_length=BATCH_LIMIT),
    ]


class ItemOut(BaseModel):
    """What became of one item."""

    status: RowStatus
    id: int | None
    error: str | None
    """Code of the reason for which it was refused."""
    field: str | None = None
    """What to correct, when the item could not be read."""
    warnings: list[str]
    """Codes of what to review, such as `city_ambiguous`."""


class BatchOut(BaseModel):
    """One answer for each item, in their order."""

    items: list[ItemOut]


@router.get("/contacts")
def list_contacts(told: Annotated[Filter, Query()], session: Reading, call: ThisCall) -> Page[ContactOut]:
    """People by surname, in Spanish order."""
    condition = sa.and_(sa.true(), *_conditions(told))
    found, following = contacts.find(session, condition, cursor=told.cursor, limit=told.limit)
    return page(call, [contacts.to_out(contact) for contact in found], following)


@router.post("/contacts", status_code=201, responses=documented(409, 413))
def create_contact(data: ContactIn, session: Writing, once: OnlyOnce, response: Response) -> ContactOut:
    """Add a person. An address that is already someone's is refused; to add or complete, use the batch."""
    made = once(content(data), ContactOut, lambda: contacts.to_out(contacts.create(session, data)))
    tag(response, made.version)
    return made


@router.post("/contacts/batch", responses=documented(409, 413))
def take_in_contacts(data: Annotated[BatchIn, Body()], session: Writing, call: ThisCall, once: OnlyOnce) -> BatchOut:
    """Add or complete up to 1,000 people, found by their address. A second identical call changes nothing.

    An empty value never erases, and nobody who left is revived (`refused`, `suppressed`).
    """
    made = once(content(data), BatchOut, lambda: BatchOut(items=_take_in(session, data)))
    call.rows = len(made.items)
    return made


@router.get("/contacts/{contact_id}", responses=documented(404, 410))
def get_contact(contact_id: RowId, session: Reading, response: Response) -> ContactOut:
    """One person."""
    contact = contacts.get(session, contact_id)
    tag(response, contact.version)
    return contacts.to_out(contact)


@router.patch("/contacts/{contact_id}", responses=documented(404, 409, 410, 412, 413))
def change_contact(contact_id: RowId, data: ContactPatch, session: Writing, response: Response, version: IfMatch) -> ContactOut:
    """Change the fields that are present; null or an empty list erases, lists replace, consents are added."""
    contact = contacts.change(session, contact_id, data, version=version)
    tag(response, contact.version)
    return contacts.to_out(contact)


def _take_in(session: Session, data: BatchIn) -> list[ItemOut]:
    """Take in the items that can be read, in one go, and answer for all in their order."""
    readable = [item for item in data.items if isinstance(item, ContactIn)]
    taken = iter(contacts.take_in_many(session, readable))
    return [_item_out(next(taken)) if isinstance(item, ContactIn) else _refusal(item) for item in data.items]


def _item_out(taken: Taken) -> ItemOut:
    return ItemOut(status=taken.status, id=taken.contact_id, error=taken.code, warnings=taken.warnings)


def _refusal(item: dict[str, Any]) -> ItemOut:
    """Why an item could not be read: its first error."""
    try:
        ContactIn.model_validate(item)
    except ValidationError as error:
        first = field_errors(error.errors())[0]
        return ItemOut(status=RowStatus.REFUSED, id=None, error=first.code, field=first.field or None, warnings=[])
    raise RuntimeError("an item that can be read was not")


def _conditions(told: Filter) -> Iterator[sa.ColumnElement[bool]]:
    if told.q:
        yield contains(Contact.search_key, told.q)
    if told.country:
        yield Contact.country.in_([code.upper() for code in told.country])
    if told.city:
        yield Contact.city_id.in_(_cities(told.city))
    if told.tag:
        wanted = [tags.tag_key(name) for name in told.tag]
        yield sa.exists().where(contact_tag.c.contact_id == Contact.id, contact_tag.c.tag_id == Tag.id, Tag.key.in_(wanted))
    if told.language:
        yield Contact.language == told.language
    if told.leader_sector:
        leads = LeaderRole.sector.in_(told.leader_sector) & LeaderRole.until.is_(None)
        yield sa.exists().where(LeaderRole.contact_id == Contact.id, leads)
    if told.mail_state:
        yield consent.mail_state().in_(told.mail_state)


def _cities(text: str) -> sa.Select[int]:
    """Ids of the city that a text means, or of those with its name when it means none or several."""
    found = places.resolve(text).place
    named = City.search_key == search_key(text)
    return sa.select(City.id).where(City.geoname_id == found.geoname_id if found else named)
