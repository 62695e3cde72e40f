"""What the page Contactos reads: one filter, and from that very filter the list, the counts, the places and the leaders."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import urlencode

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased
from starlette.datastructures import QueryParams

from crm.database import contains
from crm.kept import kept
from crm.mailing import segments
from crm.mailing.consent_requests import Answer
from crm.mailing.models import Delivery, DeliveryState
from crm.people.addresses import mask_address
from crm.people.consent import MAIL_STATES, mail_state
from crm.people.contacts import visible
from crm.people.countries import country_codes, country_name
from crm.people.likeness import folded_names
from crm.people.models import City, Contact, EmailAddress, LeaderRole, LeaderSector, Organization, Post, Tag, contact_tag
from crm.people.names import display_name
from web.asked import search_of, whole_number
from web.this_week import Lately, befell

T = TypeVar("T")
PAGE_ROWS = 20
TEXT_LENGTH = 200
MAIL_STATE = mail_state()
NOTHING: Any = sa.null()
NO_CITY = 0
"""The city of those whose city is not known."""


@dataclass(frozen=True)
class Filter:
    """What the address of the page says; every part that is told must hold, and within a part any of its values."""

    text: str = ""
    countries: tuple[str, ...] = ()
    sectors: tuple[str, ...] = ()
    mail: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    """Keys of tags."""
    requests: tuple[str, ...] = ()
    """Answers to the request for consent: see `consent_requests.Answer`."""
    lately: tuple[str, ...] = ()
    """What befell them in the last seven days: see `this_week.Lately`."""
    city: int | None = None
    segment: int | None = None
    finds_addresses: bool = field(default=False, compare=False)
    """Whether the text is looked for in addresses too. For who sees them masked it is not: a search that answers letter by
    letter would tell them whole."""

    @classmethod
    def read(cls, query: QueryParams, *, finds_addresses: bool = False) -> "Filter":
        """From an address; a value that no page of ours writes is passed over."""
        countries = set(country_codes())
        return cls(
            text=search_of(query),
            countries=tuple(code for code in query.getlist("pais") if code in countries),
            sectors=tuple(value for value in query.getlist("sector") if value in set(LeaderSector)),
            mail=tuple(value for value in query.getlist("correo") if value in MAIL_STATES),
            tags=tuple(key for key in query.getlist("etiqueta") if key and "\0" not in key),
            requests=tuple(value for value in query.getlist("solicitud") if value in set(Answer)),
            lately=tuple(value for value in query.getlist("semana") if value in set(Lately)),
            city=whole_number(query.get("ciudad", "")),
            segment=whole_number(query.get("segmento", "")),
            finds_addresses=finds_addresses,
        )

    @property
    def is_empty(self) -> bool:
        return self == Filter()

    def without(self, part: str) -> "Filter":
        """The same filter without one of its parts, as its chip counts."""
        default: Any = getattr(Filter(), part)
        return self.only(**{part: default})

    def url(self, **others: Any) -> str:
        """The address of the page with this filter; ``others`` are the map's region and the place in the list."""
        query = [*self.parts, *((name, str(value)) for name, value in others.items() if value is not None)]
        return "/contactos" + ("?" + urlencode(query) if query else "")

    @property
    def parts(self) -> list[tuple[str, str]]:
        """The filter as names and values of its address."""
        query = [("q", self.text)] if self.text else []
        query += [("pais", value) for value in self.countries] + [("sector", value) for value in self.sectors]
        query += [("correo", value) for value in self.mail] + [("etiqueta", value) for value in self.tags]
        query += [("solicitud", value) for value in self.requests]
        query += [("semana", value) for value in self.lately]
        query += [("ciudad", str(self.city))] if self.city is not None else []
        query += [("segmento", str(self.segment))] if self.segment is not None else []
        return query

    def only(self, **parts: Any) -> "Filter":
        return replace(self, **parts)


FIELDS = {"countries": "country", "sectors": "sector", "mail": "mail_state", "tags": "tag"}
"""Parts of a filter that are chips, and the field of a segment's rule that each one is."""


def condition(session: Session, told: Filter) -> sa.ColumnElement[bool]:
    """The people of a filter; NotFound(segment_not_found)."""
    return sa.and_(visible(), *_parts(session, told).values())


def _parts(session: Session, told: Filter) -> dict[str, sa.ColumnElement[bool]]:
    """The condition of each part of a filter that is told, by its name."""
    parts = {
        name: _meets(session, field, getattr(told, name))
        for name, field in FIELDS.items()
        if name != "city" and getattr(told, name)
    }
    if told.text:
        parts["text"] = _holds_text(told.text, in_addresses=told.finds_addresses)
    if told.requests:
        parts["requests"] = _meets(session, "consent_request", told.requests)
    if told.lately:
        parts["lately"] = sa.or_(*(befell(Lately(value)) for value in told.lately))
    if told.city is not None:
        parts["city"] = Contact.city_id.is_(None) if told.city == NO_CITY else _meets(session, "city", (told.city,))
    if told.segment is not None:
        rule = segments.get(session, told.segment).rule
        parts["segment"] = segments.condition(session, segments.parse(rule))
    return parts


def _meets(session: Session, field: str, values: Sequence[Any]) -> sa.ColumnElement[bool]:
    """The condition of a segment's rule: the page and the sends mean the same people by the same words."""
    return segments.condition(session, segments.parse({"all": [{"field": field, "op": "in", "value": list(values)}]}))


def _holds_text(text: str, *, in_addresses: bool) -> sa.ColumnElement[bool]:
    """Every word is in the names (and addresses) of the person, or in the city or an organization."""
    return sa.and_(*(_holds_word(word, Contact.search_key if in_addresses else folded_names) for word in text.split()))


def _holds_word(word: str, column: Any) -> sa.ColumnElement[bool]:
    in_city = sa.select(City.id).where(contains(City.search_key, word))
    of_organization = sa.select(Post.contact_id).join(Organization).where(contains(Organization.key, word), Post.until.is_(None))
    typed = contains(sa.func.lower(Contact.city_as_typed), word)
    return sa.or_(contains(column, word), typed, Contact.city_id.in_(in_city), Contact.id.in_(of_organization))


# --- the list ------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One person of the list."""

    id: int
    name: str
    address: str | None
    city: str | None
    country: str | None
    mail: str
    sectors: tuple[LeaderSector, ...]
    organization: str | None
    last_mail: datetime | None

    @property
    def tone(self) -> int:
        """Which of the six colours its avatar has."""
        return self.id % 6


@dataclass(frozen=True)
class Page:
    """Some rows of the list and the doors to the rows around them: ids, since a name does not belong in an address."""

    rows: Sequence[Row]
    first: int
    """The place of the first row in the whole list, from 1."""
    before: int | None
    after: int | None


def page_of(session: Session, told: Filter, *, after: int | None, before: int | None, masked: bool) -> Page:
    """The people after or before a person, by surname; from the start when neither is told."""
    return _kept(session, told, ("page", after, before, masked), lambda: _page(session, told, after, before, masked=masked))


def _kept(session: Session, told: Filter, question: tuple[Any, ...], ask: Callable[[], T]) -> T:
    """What a filter tells, kept until something changes; not where it hangs on today's date, as the rule of a segment may."""
    if told.segment is not None or told.lately:
        return ask()
    return kept(session, (told, told.finds_addresses, *question), ask)


def _page(session: Session, told: Filter, after: int | None, before: int | None, *, masked: bool) -> Page:
    everyone = condition(session, told)
    edge = _key_of(session, before or after)
    backwards = bool(before) and edge is not None
    found = _around(session, everyone, edge, backwards=backwards)
    more, found = len(found) > PAGE_ROWS, found[:PAGE_ROWS]
    if backwards:
        found.reverse()
    earlier = _count_before(session, everyone, found[0]) if found and edge is not None else 0
    return Page(
        rows=_rows(session, found, masked=masked),
        first=earlier + 1,
        before=found[0].id if earlier else None,
        after=found[-1].id if found and (backwards or more) else None,
    )


def _key_of(session: Session, contact_id: int | None) -> Any:
    """Where a person stands in the list; None for a person that is no longer there: the list begins anew."""
    if contact_id is None:
        return None
    row = session.execute(sa.select(Contact.sort_key, Contact.id).where(Contact.id == contact_id)).one_or_none()
    return sa.tuple_(*row) if row else None


def _around(session: Session, everyone: sa.ColumnElement[bool], edge: Any, *, backwards: bool) -> list[Any]:
    """One row more than a page, after the edge, or before it and nearest first."""
    key = sa.tuple_(Contact.sort_key, Contact.id)
    statement = COLUMNS.where(everyone).limit(PAGE_ROWS + 1)
    if backwards:
        statement = statement.where(key < edge).order_by(Contact.sort_key.desc(), Contact.id.desc())
    else:
        statement = statement.where(key > edge) if edge is not None else statement
        statement = statement.order_by(Contact.sort_key, Contact.id)
    return list(session.execute(statement))


def _count_before(session: Session, everyone: sa.ColumnElement[bool], row: Any) -> int:
    earlier = sa.tuple_(Contact.sort_key, Contact.id) < sa.tuple_(row.sort_key, row.id)
    return session.scalar(sa.select(sa.func.count()).select_from(Contact).where(everyone, earlier)) or 0


def _columns() -> sa.Select[Any]:
    address = (
        sa.select(EmailAddress.address)
        .where(EmailAddress.contact_id == Contact.id, EmailAddress.retired_at.is_(None))
        .order_by(EmailAddress.is_preferred.desc(), EmailAddress.id)
        .limit(1)
    )
    joined = aliased(Contact)
    theirs = sa.select(joined.id).where(joined.merged_into_id == Contact.id).correlate(Contact)
    written = sa.or_(Delivery.contact_id == Contact.id, Delivery.contact_id.in_(theirs))
    last = sa.select(sa.func.max(Delivery.settled_at)).where(written, Delivery.state == DeliveryState.SENT)
    names = (Contact.given_names, Contact.first_surname, Contact.second_surname)
    return sa.select(
        Contact.id,
        Contact.sort_key,
        *names,
        Contact.country,
        Contact.city_as_typed,
        City.name.label("city"),
        MAIL_STATE.label("mail"),
        address.correlate(Contact).scalar_subquery().label("address"),
        last.correlate(Contact).scalar_subquery().label("last_mail"),
    ).outerjoin(City, City.id == Contact.city_id)


COLUMNS = _columns()
"""What the list reads of a person; built once."""


def _rows(session: Session, found: Sequence[Any], *, masked: bool) -> list[Row]:
    ids = [row.id for row in found]
    sectors, organizations = _sectors_of(session, ids), _organizations_of(session, ids)
    return [
        Row(
            id=row.id,
            name=display_name(row) or "Sin nombre",
            address=mask_address(row.address) if masked and row.address else row.address,
            city=row.city or row.city_as_typed,
            country=country_name(row.country) if row.country else None,
            mail=row.mail,
            sectors=tuple(sectors.get(row.id, ())),
            organization=organizations.get(row.id),
            last_mail=row.last_mail,
        )
        for row in found
    ]


def _sectors_of(session: Session, ids: Sequence[int]) -> Mapping[int, list[LeaderSector]]:
    current = sa.select(LeaderRole.contact_id, LeaderRole.sector).where(LeaderRole.contact_id.in_(ids), LeaderRole.until.is_(None))
    found: dict[int, list[LeaderSector]] = {}
    for contact_id, sector in session.execute(current.order_by(LeaderRole.id)):
        found.setdefault(contact_id, []).append(sector)
    return found


def _organizations_of(session: Session, ids: Sequence[int]) -> Mapping[int, str]:
    current = sa.select(Post.contact_id, Organization.name).join(Organization, Organization.id == Post.organization_id)
    current = current.where(Post.contact_id.in_(ids), Post.until.is_(None)).order_by(Post.id.desc())
    return {row.contact_id: row.name for row in session.execute(current)}


# --- the figures ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PlaceCount:
    """People of one city."""

    city_id: int
    name: str
    latitude: float
    longitude: float
    people: int


@dataclass(frozen=True)
class Figures:
    """Counts of one filter, nothing counted twice. Options of a chip are (value, people) under all the other chips."""

    total: int
    places: Sequence[PlaceCount]
    """Largest first."""
    countries: int
    without_city: int
    leaders: int
    sectors: Mapping[str, int]
    can_receive: int
    country_options: Mapping[str, int]
    sector_options: Mapping[str, int]
    mail_options: Mapping[str, int]
    tag_options: Sequence[tuple[str, str, int]]
    """(key, name, people)."""


def figures_of(session: Session, told: Filter) -> Figures:
    """The counts of a filter."""
    return _kept(session, told, ("figures",), lambda: _figures(session, told))


def _figures(session: Session, told: Filter) -> Figures:
    """In one statement: how a mail stands costs most, and is worked out once per person."""
    counted: dict[str, dict[Any, int]] = {
        kind: {} for kind in ("place", "country", "mail", "sector", "sector_option", "leader", "tag")
    }
    for kind, number, words, people in session.execute(_counts(session, told)):
        key = number if kind == "tag" else words if kind != "place" else (number, words)
        counted[kind][key] = people
    by_city, by_country = _sums(counted["place"])
    mail = counted["mail"]
    return Figures(
        total=sum(by_city.values()),
        places=_places(session, by_city),
        countries=len(by_country),
        without_city=by_city.get(None, 0),
        leaders=sum(counted["leader"].values()),
        sectors=counted["sector"],
        can_receive=mail.get("ok", 0) if not told.mail or "ok" in told.mail else 0,
        country_options={code: people for code, people in counted["country"].items() if code},
        sector_options=counted["sector_option"],
        mail_options=mail,
        tag_options=_tags(session, counted["tag"]),
    )


def city_name(session: Session, city_id: int) -> str | None:
    """The name of a filter's city, with its country; None for a city that is not there."""
    if city_id == NO_CITY:
        return "Sin ciudad conocida"
    city = session.get(City, city_id)
    return f"{city.name}, {country_name(city.country)}" if city else None


def _counts(session: Session, told: Filter) -> sa.CompoundSelect[Any]:
    """Rows of (kind, number, words, people): people by place, and the options of each chip under the others."""
    fixed = _parts(session, told.only(countries=(), sectors=(), mail=(), tags=())).values()
    chosen = _parts(session, replace(told, text="", city=None, segment=None, mail=()))
    marks = [part.label(f"in_{name}") for name, part in chosen.items()]
    columns = (Contact.id, Contact.country, Contact.city_id, MAIL_STATE.label("mail"))
    base = sa.select(*columns, *marks).where(visible(), *fixed).cte("base").c
    held = {name: base[f"in_{name}"].is_(sa.true()) for name in chosen}
    if told.mail:
        held["mail"] = base.mail.in_(told.mail)

    def people(kind: str, number: Any, words: Any, but: str = "", count: Any = base.id) -> Any:
        """How many people there are of each number and words, under every part of the filter but one."""
        told_columns = (
            sa.literal(kind).label("kind"),
            sa.cast(number, sa.Integer),
            sa.cast(words, sa.String),
            sa.func.count(count),
        )
        groups = [column for column in (number, words) if column is not NOTHING]
        return sa.select(*told_columns).where(*(part for name, part in held.items() if name != but)).group_by(*groups)

    leading = sa.and_(LeaderRole.contact_id == base.id, LeaderRole.until.is_(None))
    leader = base.id.distinct()
    return sa.union_all(
        people("place", base.city_id, base.country),
        people("country", NOTHING, base.country, but="countries"),
        people("mail", NOTHING, base.mail, but="mail"),
        people("sector", NOTHING, LeaderRole.sector, count=leader).where(leading),
        people("sector_option", NOTHING, LeaderRole.sector, but="sectors", count=leader).where(leading),
        people("leader", NOTHING, NOTHING, count=leader).where(leading),
        people("tag", contact_tag.c.tag_id, NOTHING, but="tags").where(contact_tag.c.contact_id == base.id),
    )


def _sums(by_place: Mapping[tuple[int | None, str | None], int]) -> tuple[dict[int | None, int], dict[str, int]]:
    cities: dict[int | None, int] = {}
    countries: dict[str, int] = {}
    for (city_id, country), people in by_place.items():
        cities[city_id] = cities.get(city_id, 0) + people
        if country:
            countries[country] = countries.get(country, 0) + people
    return cities, countries


def _places(session: Session, by_city: Mapping[int | None, int]) -> list[PlaceCount]:
    columns = (City.id, City.name, City.latitude, City.longitude)
    known = session.execute(sa.select(*columns).where(City.id.in_([number for number in by_city if number is not None])))
    places = [PlaceCount(row.id, row.name, row.latitude, row.longitude, by_city[row.id]) for row in known]
    return sorted(places, key=lambda place: (-place.people, place.name))


def _tags(session: Session, by_tag: Mapping[int, int]) -> list[tuple[str, str, int]]:
    found = session.execute(sa.select(Tag.id, Tag.key, Tag.name).where(Tag.id.in_(by_tag)))
    return sorted(((row.key, row.name, by_tag[row.id]) for row in found), key=lambda tag: (-tag[2], tag[0]))
