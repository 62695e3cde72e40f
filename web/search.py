"""Ctrl+K: people, organizations, campaigns, materials and segments by a few letters, each a door."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import sqlalchemy as sa
from fastapi import APIRouter, Request
from fastapi.responses import Response
from sqlalchemy.orm import Session

from crm.database import contains, search_key, titled
from crm.mailing.models import Campaign, Segment
from crm.outreach.models import Material
from crm.people.contacts import visible
from crm.people.likeness import folded_names
from crm.people.models import City, Contact, Organization
from crm.people.names import display_name
from crm.staff.rights import Right
from web.asked import search_of
from web.dependencies import SessionOf, ViewerOf
from web.pages import is_fragment, page

MOST = 5
SCANNED = 2_000
"""Names of campaigns, materials and segments that are looked through: they are hundreds, and are folded here."""

router = APIRouter()


@dataclass(frozen=True)
class Found:
    """One thing that was found, and where it is."""

    words: str
    more: str
    href: str
    icon: str


@router.get("/buscar")
def find(request: Request, session: SessionOf, viewer: ViewerOf) -> Response:
    """What holds every word; with htmx the list alone, under the field."""
    text = search_of(request.query_params)
    in_addresses = viewer.may(Right.VIEW_ADDRESSES)
    groups = list(found(session, text, in_addresses=in_addresses, may_edit=viewer.may(Right.EDIT))) if search_key(text) else []
    context = {"text": text, "groups": groups}
    return page(request, "search/found.html" if is_fragment(request) else "search/page.html", context)


def found(session: Session, text: str, *, in_addresses: bool, may_edit: bool) -> Iterator[tuple[str, list[Found]]]:
    """Groups that hold something, in the order in which one looks."""
    last = "redactar" if may_edit else "revisar"
    looked: tuple[tuple[str, Callable[[], list[Found]]], ...] = (
        ("Personas", lambda: _people(session, text, in_addresses=in_addresses)),
        ("Organizaciones", lambda: _organizations(session, text)),
        ("Campañas", lambda: _named(session, Campaign.id, Campaign.name, text, f"/campanas/{{}}/{last}", "mail")),
        ("Materiales", lambda: _named(session, Material.id, Material.title, text, "/materiales/{}", "photo")),
        ("Segmentos", lambda: _named(session, Segment.id, Segment.name, text, "/segmentos/{}", "filter")),
    )
    for name, look in looked:
        if things := look():
            yield name, things


def _people(session: Session, text: str, *, in_addresses: bool) -> list[Found]:
    column = Contact.search_key if in_addresses else folded_names
    names = (Contact.given_names, Contact.first_surname, Contact.second_surname)
    statement = sa.select(Contact.id, *names, City.name.label("city")).outerjoin(City).where(visible(), contains(column, text))
    rows = session.execute(statement.order_by(Contact.sort_key, Contact.id).limit(MOST))
    return [Found(display_name(row) or "Sin nombre", row.city or "", f"/personas/{row.id}", "user") for row in rows]


def _organizations(session: Session, text: str) -> list[Found]:
    statement = sa.select(Organization.id, Organization.name).where(contains(Organization.key, text))
    rows = session.execute(statement.order_by(Organization.key).limit(MOST))
    return [Found(row.name, "", f"/organizaciones/{row.id}", "building") for row in rows]


def _named(
    session: Session,
    number: sa.orm.InstrumentedAttribute[int],
    name: sa.orm.InstrumentedAttribute[str],
    text: str,
    href: str,
    icon: str,
) -> list[Found]:
    return [Found(title, "", href.format(row), icon) for row, title in titled(session, number, name, text, most=SCANNED)[:MOST]]
