"""What a change of one contact does to its parts. `contacts.change` is the verb."""

from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm import clock, history
from crm.database import keys_of
from crm.errors import Conflict, InvalidInput
from crm.people import organizations, tags
from crm.people.addresses import Address, read_address
from crm.people.consent import active_addresses
from crm.people.merging import NAMES
from crm.people.models import Contact, EmailAddress, Language, LeaderRole, LeaderSector, Post, SuppressionReason, Tag
from crm.people.names import order_key
from crm.people.places import place_contact
from crm.people.suppression import reasons_of
from crm.people.writing import search_text

SIMPLE = frozenset({*NAMES, "preferred_name", "treatment", "academic_title", "phone", "home_borough", "source"})
REQUIRED = frozenset({"given_names", "first_surname"})
"""Columns that are empty rather than null."""


def apply(session: Session, contact: Contact, told: dict[str, Any]) -> None:
    """Give a loaded contact the fields that were told, and refresh what is derived from them."""
    for name in SIMPLE & told.keys():
        setattr(contact, name, told[name] or "" if name in REQUIRED else told[name])
    if "language" in told:
        contact.language = told["language"] or Language.SPANISH
    if "emails" in told:
        _change_addresses(session, contact, told["emails"] or [])
    if not (contact.given_names or contact.first_surname or active_addresses(contact)):
        raise InvalidInput("name_required", field="given_names")
    if told.keys() & {"city", "country"}:
        _change_place(session, contact, told)
    for name, deed in PARTS.items():
        if name in told:
            deed(session, contact, told[name] or [])
    if told.keys() & {"organization", "post"}:
        _change_post(session, contact, told)
    if session.new or any(session.is_modified(row) for row in session.dirty):
        session.flush()
        refresh(contact)
        session.flush()


def refresh(contact: Contact) -> None:
    """Write anew what is derived of a loaded contact: how it is ordered and found."""
    names = (contact.given_names, contact.first_surname, contact.second_surname, contact.preferred_name)
    posts = [post.organization.name for post in contact.posts if post.until is None]
    contact.sort_key = order_key(contact.given_names, contact.first_surname, contact.second_surname)
    contact.search_key = search_text(names, [row.address for row in active_addresses(contact)], posts)
    contact.changed_at = clock.now()


# --- addresses --------------------------------------------------------------------------------------------------------------


def check_free(session: Session, keys: Sequence[str], *, contact_id: int | None) -> None:
    """Refuse addresses that are active at another person: Conflict(address_of_other_person)."""
    other = sa.select(EmailAddress.id).where(EmailAddress.key.in_(keys), EmailAddress.retired_at.is_(None))
    if contact_id is not None:
        other = other.where(EmailAddress.contact_id != contact_id)
    if keys and session.scalar(other.limit(1)) is not None:
        raise Conflict("address_of_other_person", field="emails")


def _change_addresses(session: Session, contact: Contact, texts: list[str]) -> None:
    """Make these the active addresses, the first one preferred; those left out are retired."""
    wanted = {address.key: address for address in (read_address(text) for text in texts)}
    check_free(session, list(wanted), contact_id=contact.id)
    active = {row.key: row for row in active_addresses(contact)}
    for key, row in active.items():
        if key not in wanted:
            row.retired_at, row.is_preferred = clock.now(), False
    for number, (key, address) in enumerate(wanted.items()):
        found = active.get(key) or _add_address(session, contact, address)
        found.address, found.is_preferred = address.text, number == 0


def _add_address(session: Session, contact: Contact, address: Address) -> EmailAddress:
    address_hash = keys_of(session).suppression_hash(address.key)
    if SuppressionReason.ERASED in reasons_of(session, [address_hash]).get(address_hash, ()):
        raise Conflict("suppressed", field="emails")
    row = EmailAddress(contact_id=contact.id, address=address.text, key=address.key, suppression_hash=address_hash)
    contact.addresses.append(row)
    return row


# --- place, tags, sectors, post ---------------------------------------------------------------------------------------------


def _change_place(session: Session, contact: Contact, told: dict[str, Any]) -> None:
    """A city replaces the place; a country alone keeps the city only if it is that of the city."""
    known = contact.city.name if contact.city else contact.city_as_typed
    country = told.get("country", contact.country if "city" in told and "country" not in told else None)
    if "city" not in told and country == contact.country:
        return
    located = place_contact(session, told.get("city", known), country)
    contact.city = located.city
    contact.city_id = located.city.id if located.city else None
    contact.city_as_typed, contact.country = located.city_as_typed, located.country


def _change_tags(session: Session, contact: Contact, names: list[str]) -> None:
    before = sorted(tag.name for tag in contact.tags)
    ids = tags.ensure(session, names)
    contact.tags = list(session.scalars(sa.select(Tag).where(Tag.id.in_(ids.values())).order_by(Tag.key)))
    after = sorted(tag.name for tag in contact.tags)
    if before != after:
        entry = history.Entry(
            history.Action.CHANGE, "contact", contact.id, "contact", contact.id, personal={"tags": [before, after]}
        )
        history.record(session, [entry])


def _change_sectors(_session: Session, contact: Contact, sectors: list[LeaderSector]) -> None:
    today = clock.today()
    held = {role.sector: role for role in contact.leader_roles if role.until is None}
    for sector, role in held.items():
        if sector not in sectors:
            role.until = today
    contact.leader_roles += [LeaderRole(contact_id=contact.id, sector=one) for one in dict.fromkeys(sectors) if one not in held]


PARTS: dict[str, Callable[[Session, Contact, list[Any]], None]] = {"tags": _change_tags, "leader_sectors": _change_sectors}


def _change_post(session: Session, contact: Contact, told: dict[str, Any]) -> None:
    """The current post: another organization ends it and begins a new one; an empty one ends it."""
    current = next((post for post in reversed(contact.posts) if post.until is None), None)
    name = told.get("organization", current.organization.name if current else None)
    if name is None:
        if told.get("post"):
            raise InvalidInput("post_without_organization", field="organization")
        if current is not None:
            current.until = clock.today()
        return
    key = organizations.organization_key(name)
    if current is not None and current.organization.key == key:
        current.title = told.get("post", current.title)
        return
    if current is not None:
        current.until = clock.today()
    organization = organizations.get(session, organizations.ensure(session, [name])[key])
    contact.posts.append(
        Post(contact_id=contact.id, organization=organization, organization_id=organization.id, title=told.get("post"))
    )
