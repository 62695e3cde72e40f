"""Organizaciones: clubs, consulates, universities; who belongs to each and as what."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Form, Path, Query, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.orm import Session

from crm.database import contains, keyset_page
from crm.errors import CrmError
from crm.people import organizations, organizing
from crm.people.contacts import visible
from crm.people.countries import country_codes, country_name
from crm.people.models import City, Contact, Organization, OrganizationKind, Post
from web import samples
from web.asked import address, search_of
from web.dependencies import SessionOf
from web.errors import status_of
from web.pages import counted, page

HERE = "/organizaciones"
PAGE_ROWS = 25
KINDS = {
    OrganizationKind.HOMETOWN_FEDERATION: "Federación de clubes",
    OrganizationKind.HOMETOWN_ASSOCIATION: "Club o asociación de origen",
    OrganizationKind.CONSULATE: "Consulado",
    OrganizationKind.UNIVERSITY: "Universidad",
    OrganizationKind.BUSINESS_NETWORK: "Red de negocios",
    OrganizationKind.CULTURAL_GROUP: "Grupo cultural",
    OrganizationKind.PUBLIC_BODY: "Institución pública",
    OrganizationKind.OTHER: "Otra",
}
FIELDS = {"name": "nombre", "kind": "tipo", "city": "ciudad", "country": "pais"}
FIELD_WORDS = {"nombre": "Nombre", "tipo": "Tipo", "ciudad": "Ciudad", "pais": "País"}

router = APIRouter()
OrganizationId = Annotated[int, Path(ge=1, lt=2**31)]


@router.get(HERE)
def show_list(request: Request, session: SessionOf, cursor: Annotated[str | None, Query(max_length=200)] = None) -> Response:
    """Organizations by name, with how many people of the network are in each now."""
    told = _Told.read(request.query_params)
    condition = told.condition()
    statement = sa.select(Organization).where(condition)
    rows, following = keyset_page(session, statement, [Organization.key, Organization.id], cursor=cursor, limit=PAGE_ROWS)
    found = [row[0] for row in rows]
    total = session.scalar(sa.select(sa.func.count()).select_from(Organization).where(condition)) or 0
    context = {
        "organizations": found,
        "people": _people_in(session, [one.id for one in found]),
        "cities": _cities(session, found),
        "kinds": KINDS,
        "kind_options": [("", "Todos"), *((kind.value, words) for kind, words in KINDS.items())],
        "told": told,
        "sentence": counted(total, "organización", "organizaciones"),
        "cursor": cursor,
        "following": following,
    }
    return page(request, "organizations/list.html", context)


@dataclass(frozen=True)
class _Told:
    """What the list is asked for."""

    text: str
    kind: str

    @classmethod
    def read(cls, query: Mapping[str, str]) -> "_Told":
        """From an address; a value that the page does not offer is passed over."""
        kind = query.get("tipo", "")
        text = search_of(query)
        return cls(text, kind if kind in set(OrganizationKind) else "")

    @property
    def is_empty(self) -> bool:
        return not (self.text or self.kind)

    def condition(self) -> sa.ColumnElement[bool]:
        parts = [contains(Organization.key, word) for word in self.text.split()]
        return sa.and_(sa.true(), *parts, *([Organization.kind == self.kind] if self.kind else []))

    def url(self, cursor: str | None = None) -> str:
        return address(HERE, q=self.text, tipo=self.kind, cursor=cursor)


def _people_in(session: Session, ids: Sequence[int]) -> dict[int, int]:
    """How many people have a post now in each organization."""
    people = sa.func.count(Post.contact_id.distinct())
    counted_now = sa.select(Post.organization_id, people).join(Contact, Contact.id == Post.contact_id)
    counted_now = counted_now.where(Post.organization_id.in_(ids), Post.until.is_(None), visible())
    return {row[0]: row[1] for row in session.execute(counted_now.group_by(Post.organization_id))}


def _cities(session: Session, found: Sequence[Organization]) -> dict[int, str]:
    """Where organizations are: the name of the city with its country, by the city's id."""
    ids = {one.city_id for one in found if one.city_id}
    rows = session.scalars(sa.select(City).where(City.id.in_(ids)))
    return {city.id: f"{city.name}, {country_name(city.country)}" for city in rows}


# --- one of them -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Member:
    """A post of a person in an organization."""

    contact_id: int
    name: str
    place: str
    title: str
    since: date | None
    until: date | None


@router.get(HERE + "/{organization_id}")
def show(request: Request, session: SessionOf, organization_id: OrganizationId) -> Response:
    """An organization, its people with their posts, and who was in it before."""
    organization = organizations.get(session, organization_id)
    members = _members(session, organization_id)
    context = {
        "organization": organization,
        "kind": KINDS[organization.kind],
        "city": _cities(session, [organization]).get(organization.city_id or 0, ""),
        "now": [one for one in members if one.until is None],
        "before": [one for one in members if one.until is not None],
    }
    return page(request, "organizations/page.html", context)


def _members(session: Session, organization_id: int) -> list[Member]:
    """The posts of an organization, by surname; those of people who are blocked are left out."""
    posts = sa.select(Post).join(Contact, Contact.id == Post.contact_id)
    posts = posts.where(Post.organization_id == organization_id, visible()).order_by(Contact.sort_key, Post.id)
    found = session.scalars(posts).all()
    named = samples.named(session, [post.contact_id for post in found])
    return [
        Member(post.contact_id, named[post.contact_id].name, named[post.contact_id].place, post.title or "", post.since, post.until)
        for post in found
        if post.contact_id in named
    ]


@router.get(HERE + "/{organization_id}/editar")
def edit(request: Request, session: SessionOf, organization_id: OrganizationId) -> Response:
    """The form with what is stored."""
    organization = organizations.get(session, organization_id)
    city = session.get(City, organization.city_id) if organization.city_id else None
    typed = {
        "nombre": organization.name,
        "tipo": organization.kind.value,
        "ciudad": ", ".join(part for part in (city.name, city.region) if part) if city else "",
        "pais": country_name(city.country) if city else "",
    }
    return _form(request, organization, typed)


@router.post(HERE + "/{organization_id}/editar")
def change(
    request: Request,
    session: SessionOf,
    organization_id: OrganizationId,
    nombre: Annotated[str, Form(max_length=2000)] = "",
    tipo: Annotated[str, Form(max_length=60)] = "",
    ciudad: Annotated[str, Form(max_length=1000)] = "",
    pais: Annotated[str, Form(max_length=200)] = "",
) -> Response:
    """Save it; what is wrong comes back with its text."""
    try:
        with session.begin_nested():
            organizing.change(session, organization_id, name=nombre, kind=tipo, city=ciudad, country=pais)
    except CrmError as error:
        organization = organizations.get(session, organization_id)
        typed = {"nombre": nombre, "tipo": tipo, "ciudad": ciudad, "pais": pais}
        wrong = {FIELDS.get(error.field or "", "nombre"): error.sentence}
        return _form(request, organization, typed, wrong, status_of(error))
    return RedirectResponse(f"{HERE}/{organization_id}", status_code=303)


def _form(
    request: Request,
    organization: Organization,
    typed: Mapping[str, str],
    wrong: Mapping[str, str] | None = None,
    status: int = 200,
) -> Response:
    context = {
        "organization": organization,
        "typed": typed,
        "wrong": wrong or {},
        "kind_options": [(kind.value, words) for kind, words in KINDS.items()],
        "countries": sorted(country_name(code) for code in country_codes()),
        "field_words": FIELD_WORDS,
    }
    return page(request, "organizations/form.html", context, status=status)
