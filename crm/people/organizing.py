"""Changing organizations: their name, kind and city, and with the name how their people are found."""

import sqlalchemy as sa
from sqlalchemy.orm import Session, selectinload

from crm.errors import Conflict, InvalidInput
from crm.people import organizations, places
from crm.people.consent import active_addresses
from crm.people.models import Contact, Organization, OrganizationKind, Post
from crm.people.writing import search_text

NAME_MOST = 300


def change(session: Session, organization_id: int, *, name: str, kind: str, city: str, country: str) -> Organization:
    """Another name, kind or city; no city empties it.

    InvalidInput: field_required, field_too_long, kind_unknown, city_ambiguous, organization_city_unknown, country_unknown;
    Conflict(organization_exists) when another has that name, however it is accented or cased.
    """
    organization = organizations.get(session, organization_id)
    organization.kind, organization.city_id = _kind(kind), _city(session, city, country)
    name = _name(name)
    if name != organization.name:
        key = organizations.organization_key(name)
        _must_be_free(session, organization, key)
        organization.name, organization.key = name, key
        session.flush()
        _refresh_people(session, organization_id)
    session.flush()
    return organization


def _name(text: str) -> str:
    name = " ".join(text.split())
    if not name:
        raise InvalidInput("field_required", field="name")
    if not name.isprintable():
        raise InvalidInput("field_control_characters", field="name")
    if len(name) > NAME_MOST:
        raise InvalidInput("field_too_long", field="name", limit=NAME_MOST)
    return name


def _kind(text: str) -> OrganizationKind:
    try:
        return OrganizationKind(text)
    except ValueError as error:
        raise InvalidInput("kind_unknown", field="kind") from error


def _city(session: Session, city: str, country: str) -> int | None:
    if not city.strip():
        return None
    found = places.locate(city, country)
    if "country_unknown" in found.warnings:
        raise InvalidInput("country_unknown", field="country")
    if found.place is None:
        raise InvalidInput("city_ambiguous" if "city_ambiguous" in found.warnings else "organization_city_unknown", field="city")
    return places.city_for(session, found.place).id


def _must_be_free(session: Session, organization: Organization, key: str) -> None:
    others = sa.select(Organization.id).where(Organization.key == key, Organization.id != organization.id)
    with session.no_autoflush:
        if session.scalar(others) is not None:
            raise Conflict("organization_exists", field="name")


def _refresh_people(session: Session, organization_id: int) -> None:
    """People are found by the names of their organizations: write what they are searched by anew. It is no change of theirs."""
    held = sa.select(Post.contact_id).where(Post.organization_id == organization_id, Post.until.is_(None))
    load = (selectinload(Contact.addresses), selectinload(Contact.posts).joinedload(Post.organization))
    people = sa.select(Contact).where(Contact.id.in_(held)).options(*load).execution_options(populate_existing=True)
    for contact in session.scalars(people).all():
        told = sa.update(Contact).where(Contact.id == contact.id).values(search_key=_search_key(contact))
        session.execute(told.execution_options(synchronize_session=False))


def _search_key(contact: Contact) -> str:
    names = (contact.given_names, contact.first_surname, contact.second_surname, contact.preferred_name)
    posts = [post.organization.name for post in contact.posts if post.until is None]
    return search_text(names, [row.address for row in active_addresses(contact)], posts)
