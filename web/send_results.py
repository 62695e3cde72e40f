"""What became of a send, cut by place, provider or reason: a chart and its table, each number a door to its people."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from markupsafe import Markup
from sqlalchemy.orm import Session

from crm import charts
from crm.mailing import results
from crm.mailing.models import DeliveryState, Send
from crm.mailing.results import OTHERS, Cut, Group
from crm.people.countries import country_name
from web.words import reason_words

CUTS = {Cut.COUNTRY: ("pais", "País"), Cut.PROVIDER: ("proveedor", "Proveedor de correo"), Cut.REASON: ("motivo", "Motivo")}
"""What a cut is called in addresses and on the page."""
CUT_OF = {name: cut for cut, (name, _) in CUTS.items()}
NONE = "ninguno"
"""In an address: the people without a country, an address or a reason."""
SERIES = (
    (DeliveryState.SENT, "Aceptados", "#5a2a82"),
    (DeliveryState.PENDING, "Pendientes", "#b9a6cc"),
    (DeliveryState.DEFERRED, "En espera de reintento", "#c98a1b"),
    (DeliveryState.IN_DOUBT, "Sin confirmar", "#7d6a1f"),
    (DeliveryState.FAILED, "No se pudo", "#b3136a"),
    (DeliveryState.SKIPPED, "No se les escribe", "#d5cedd"),
)


@dataclass(frozen=True)
class Line:
    """One group as the table shows it."""

    name: str
    group: Group
    door: str | None
    """Where its people are; None for the sum of the small groups."""


def results_of(session: Session, send: Send, cut: Cut) -> dict[str, Any]:
    """Chart and table of a cut; nothing before the send has begun."""
    if send.started_at is None:
        return {"lines": [], "cut": cut, "cuts": CUTS, "chart": Markup("")}
    lines = [_line(send, cut, group) for group in results.groups(session, send.id, cut)]
    return {"lines": lines, "cut": cut, "cuts": CUTS, "chart": chart_of(lines), "series": SERIES}


def chart_of(lines: list[Line]) -> Markup:
    """The groups as bars of states."""
    rows = [
        {"group": line.name, "series": words, "value": line.group.counts.get(state, 0)}
        for line in lines
        for state, words, _ in SERIES
        if line.group.counts.get(state, 0)
    ]
    present = {row["series"] for row in rows}
    return charts.stacked_bars(rows, [(words, colour) for _, words, colour in SERIES if words in present])


def _line(send: Send, cut: Cut, group: Group) -> Line:
    if group.key == OTHERS:
        return Line("Los demás", group, None)
    query = urlencode({CUTS[cut][0]: group.key or NONE})
    return Line(_name(cut, group.key), group, f"/envios/{send.id}/personas?{query}")


def _name(cut: Cut, key: str | None) -> str:
    if cut is Cut.COUNTRY:
        return country_name(key) if key else "Sin país conocido"
    if cut is Cut.REASON:
        return reason_words(key) if key else "Sin novedad"
    return key or "Sin dirección"
