"""Contactos: the network as a list, with filters, live counts, a map and leaders of the very same filter."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from fastapi.responses import Response
from sqlalchemy.orm import Session
from starlette.datastructures import QueryParams

from crm import clock
from crm.mailing import segments
from crm.mailing.models import Segment
from crm.mailing.segment_names import CONSENT_ANSWERS
from crm.people.consent import MAIL_STATES
from crm.people.models import LeaderSector
from crm.people.places import country_name
from crm.people.words import SECTOR_WORDS
from crm.staff.rights import Right
from web import maps
from web.asked import whole_number
from web.contact_list import Figures, Filter, city_name, figures_of, page_of
from web.dependencies import SessionOf, ViewerOf
from web.pages import is_fragment, page
from web.this_week import WORDS as LATELY_WORDS
from web.this_week import Lately

MAIL_WORDS = {
    "ok": ("Puede recibir", "good"),
    "no_consent": ("Sin consentimiento", "warn"),
    "unsubscribed": ("Pidió la baja", "off"),
    "bounced": ("Rebotó", "bad"),
    "complained": ("Se quejó", "bad"),
    "no_address": ("Sin dirección", "off"),
}
"""What a state of the mail is called, and its colour."""
TOP_CITIES = 6
TABS = 6
"""Segments shown as views; the others are a step away, in Segmentos."""
WORLD = "mundo"

router = APIRouter()


@router.get("/contactos")
def show(request: Request, session: SessionOf, viewer: ViewerOf) -> Response:
    """The page, or with htmx its inside; both say their own address, so that it can be kept and shared."""
    query = request.query_params
    masked = not viewer.may(Right.VIEW_ADDRESSES)
    told = Filter.read(query, finds_addresses=not masked)
    asked = query.get("mapa", WORLD)
    region = asked if asked in maps.REGIONS else WORLD
    after, before = (whole_number(query.get(name, "")) for name in ("tras", "antes"))
    people = page_of(session, told, after=after, before=before, masked=masked)
    figures = figures_of(session, told)
    context = {
        "told": told,
        "people": people,
        "figures": figures,
        "chips": chips(told, figures),
        "city": city_name(session, told.city) if told.city is not None else None,
        "region": region,
        "kept_region": None if region == WORLD else region,
        "regions": maps.REGIONS,
        "dots": maps.dots(
            [(place.name, place.latitude, place.longitude, place.people) for place in figures.places], maps.REGIONS[region]
        ),
        "top": figures.places[:TOP_CITIES],
        "lately_words": ", ".join(LATELY_WORDS[Lately(value)] for value in told.lately),
        "answer_words": ", ".join(CONSENT_ANSWERS[value] for value in told.requests),
        "mail_words": MAIL_WORDS,
        "sectors": tuple(LeaderSector),
        "country_name": country_name,
        "now": clock.now(),
    }
    if not is_fragment(request):
        return page(request, "contacts/page.html", context | {"tabs": tabs(session, told)})
    return page(request, "contacts/inside.html", context, headers=_history(request, told, context))


def tabs(session: Session, told: Filter) -> list[tuple[Segment, int | None]]:
    """Saved segments as views of the list, the one that is looked at among them, each with how many people it finds."""
    shown, _ = segments.find(session, limit=TABS)
    if told.segment is not None and told.segment not in {segment.id for segment in shown}:
        shown = [*shown[: TABS - 1], segments.get(session, told.segment)]
    counts = segments.counts(session, shown)
    return [(segment, counts.get(segment.id)) for segment in shown]


def chips(told: Filter, figures: Figures) -> list[dict[str, Any]]:
    """The filters that open: name, field of the address, options (value, words, people, chosen) and what is chosen."""
    countries = sorted(
        set(figures.country_options) | set(told.countries), key=lambda code: (-figures.country_options.get(code, 0), code)
    )
    tags = {key: (name, people) for key, name, people in figures.tag_options}
    return [
        _chip(
            "País", "pais", [(code, country_name(code), figures.country_options.get(code, 0)) for code in countries], told.countries
        ),
        _chip(
            "Liderazgo",
            "sector",
            [(sector.value, SECTOR_WORDS[sector], figures.sector_options.get(sector, 0)) for sector in LeaderSector],
            told.sectors,
        ),
        _chip(
            "Correo",
            "correo",
            [(state, MAIL_WORDS[state][0], figures.mail_options.get(state, 0)) for state in MAIL_STATES],
            told.mail,
        ),
        _chip(
            "Etiqueta",
            "etiqueta",
            [(key, *tags.get(key, (key, 0))) for key in dict.fromkeys((*tags, *told.tags))],
            told.tags,
        ),
    ]


def _chip(name: str, field: str, options: Sequence[tuple[str, str, int]], chosen: Sequence[str]) -> dict[str, Any]:
    return {
        "name": name,
        "field": field,
        "options": [(value, words, people, value in chosen) for value, words, people in options],
        "chosen": [words for value, words, _ in options if value in chosen],
    }


def _history(request: Request, told: Filter, context: dict[str, Any]) -> dict[str, str]:
    """Keep the state in the address bar. While a search is typed the entry is replaced: one step back leaves the search."""
    url = told.url(mapa=context["kept_region"], tras=request.query_params.get("tras"), antes=request.query_params.get("antes"))
    before = Filter.read(QueryParams(urlsplit(request.headers.get("hx-current-url", "")).query))
    typing = before.text != told.text and before.without("text") == told.without("text")
    return {"HX-Replace-Url" if typing and before.text else "HX-Push-Url": url}
