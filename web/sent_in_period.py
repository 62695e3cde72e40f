"""Qué se envió: the sends of a period in one row each, without names, to read, print or take as a file."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from crm import clock, sheets
from crm.errors import InvalidInput
from crm.mailing import sent_in_period
from crm.mailing.models import DeliveryState
from crm.mailing.sent_in_period import Figure, Hidden, Period, SentRow, Told
from crm.staff.rights import Right
from web import samples
from web.asked import address
from web.dependencies import SessionOf, ViewerOf
from web.pages import attached, day, page
from web.words import PURPOSES, reason_words

HERE = "/campanas/enviado"
LONGEST = timedelta(days=3_660)
STATES = (
    (DeliveryState.SENT, "Aceptados"),
    (DeliveryState.FAILED, "No se pudo"),
    (DeliveryState.IN_DOUBT, "Sin confirmar"),
    (DeliveryState.PENDING, "Pendientes"),
    (DeliveryState.DEFERRED, "En espera"),
)
"""What became of who was to get it, as columns."""
HEADERS = ("Fecha", "Campaña", "Asunto", "Finalidad", "Personas", "Países")
HIDDEN_WORDS = {Hidden.SMALL: "menos de 5", Hidden.WOULD_TELL: "no se muestra"}

router = APIRouter()


def read_period(query: Mapping[str, str]) -> Period:
    """The days of an address, else this quarter; InvalidInput(date_invalid, period_year_invalid, period_invalid)."""
    today = clock.today()
    quarter = sent_in_period.quarter_of(today)
    try:
        first = date.fromisoformat(query["desde"]) if query.get("desde") else quarter.first
        last = date.fromisoformat(query["hasta"]) if query.get("hasta") else max(quarter.last, first)
    except ValueError as error:
        raise InvalidInput("date_invalid", field="desde") from error
    if not 2000 <= first.year <= 2100:  # looked at first: the calendar ends, and no period can be added to its last day
        raise InvalidInput("period_year_invalid", field="desde")
    if not first <= last <= first + LONGEST:
        raise InvalidInput("period_invalid", field="hasta")
    return Period(first, last)


def _query(period: Period) -> dict[str, str]:
    return {"desde": period.first.isoformat(), "hasta": period.last.isoformat()}


@router.get(HERE)
def show(request: Request, session: SessionOf, viewer: ViewerOf) -> Response:
    """One row per send, its figures doors to the people behind them, and how many different people they were."""
    wrong, status = "", 200
    try:
        period = read_period(request.query_params)
    except InvalidInput as error:
        wrong, status, period = error.sentence, 422, read_period({})
    hides = not viewer.may(Right.VIEW_ADDRESSES)
    found = [(row, sent_in_period.told(row, hides_small=hides)) for row in sent_in_period.rows(session, period)]
    figures = [told for _, told in found]
    people = sent_in_period.different_people(session, period)
    context = {
        "period": period,
        "query": address("", **_query(period)),
        "typed": {name: request.query_params.get(name, "") or value for name, value in _query(period).items()},
        "presets": _presets(period),
        "rows": found,
        "states": STATES,
        "purposes": PURPOSES,
        "reason_words": reason_words,
        "accepted": sent_in_period.total(
            sum(row.accepted for row, _ in found), [one.counts[DeliveryState.SENT] for one in figures]
        ),
        "people": sent_in_period.different_people_told(people, figures, hides_small=hides),
        "wrong": wrong,
        "hides": hides,
        "hidden_words": HIDDEN_WORDS,
        "now": clock.now(),
    }
    return page(request, "sent_in_period/page.html", context, status=status)


def _presets(shown: Period) -> list[tuple[str, str, bool]]:
    """Periods that are asked for most, with their address, and whether each is the one that is shown."""
    today = clock.today()
    this = sent_in_period.quarter_of(today)
    before = sent_in_period.quarter_of(this.first - timedelta(days=1))
    month = Period(today.replace(day=1), (today.replace(day=1) + timedelta(days=32)).replace(day=1) - timedelta(days=1))
    year = Period(today.replace(month=1, day=1), today.replace(month=12, day=31))
    named = (("Este mes", month), ("Este trimestre", this), ("Trimestre anterior", before), ("Este año", year))
    return [(words, address(HERE, **_query(period)), period == shown) for words, period in named]


@router.get(HERE + "/archivo")
def give_file(
    request: Request, session: SessionOf, viewer: ViewerOf, formato: Annotated[str, Query(pattern="^(csv|xlsx)$")] = "csv"
) -> Response:
    """The same as a file: no name of anybody, and no cell that a spreadsheet would run."""
    period = read_period(request.query_params)
    found = sent_in_period.rows(session, period)
    reasons = sent_in_period.reasons_of(found)
    headers = [
        *HEADERS,
        *(words for _, words in STATES),
        *(f"No se les escribió: {reason_words(name).lower()}" for name in reasons),
    ]
    hides = not viewer.may(Right.VIEW_ADDRESSES)
    table = [_line(row, sent_in_period.told(row, hides_small=hides), reasons) for row in found]
    name = f"enviado-{period.first.isoformat()}-a-{period.last.isoformat()}.{formato}"
    if formato == "csv":
        return attached(sheets.csv_file(headers, table), sheets.CSV_TYPE, name)
    title = f"Qué se envió del {day(period.first)} al {day(period.last)}"
    return attached(sheets.xlsx_file(title, headers, table), sheets.XLSX_TYPE, name)


def _line(row: SentRow, told: Told, reasons: Sequence[str]) -> list[sheets.Cell]:
    figures = [told.people, told.countries, *(told.counts[state] for state, _ in STATES)]
    figures += [told.skipped.get(name, 0) for name in reasons]
    return [row.on, row.campaign, row.subject, PURPOSES[row.purpose], *map(_cell, figures)]


def _cell(figure: Figure) -> sheets.Cell:
    return HIDDEN_WORDS[figure] if isinstance(figure, Hidden) else figure


@router.get(HERE + "/personas")
def people(
    request: Request, session: SessionOf, viewer: ViewerOf, cursor: Annotated[str | None, Query(max_length=200)] = None
) -> Response:
    """The different people whom the mails of a period reached."""
    period = read_period(request.query_params)
    masked = not viewer.may(Right.VIEW_ADDRESSES)
    listed = samples.reached(session, sent_in_period.reached(period), cursor, masked=masked)
    figures = [sent_in_period.told(row, hides_small=masked) for row in sent_in_period.rows(session, period)] if masked else []
    context = {
        "period": period,
        "figure": sent_in_period.different_people_told(listed["total"], figures, hides_small=masked),
        "hidden_words": HIDDEN_WORDS,
        "here": address(HERE + "/personas", **_query(period)),
        "up": address(HERE, **_query(period)),
        **listed,
    }
    return page(request, "sent_in_period/people.html", context)
