"""Charts: one Vega-Lite specification each, drawn on the server as SVG. The table beside it says the same in numbers."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import vl_convert
from markupsafe import Markup

FONT = "Inter, system-ui, sans-serif"
INK, SOFT, LINE, PURPLE = "#221a2b", "#5f566b", "#e7e2ec", "#5a2a82"
ROW = 26
"""Pixels of one bar and its gap."""

CONFIG: dict[str, Any] = {
    "font": FONT,
    "background": None,
    "view": {"stroke": None},
    "axis": {"labelColor": SOFT, "labelFontSize": 12, "domain": False, "ticks": False, "gridColor": LINE, "title": None},
    "legend": {"labelColor": SOFT, "labelFontSize": 12, "orient": "top", "title": None, "symbolType": "square"},
    "bar": {"cornerRadius": 2},
}


def stacked_bars(rows: Sequence[Mapping[str, Any]], series: Sequence[tuple[str, str]]) -> Markup:
    """Horizontal bars: each row has ``group``, ``series`` and ``value``; ``series`` names each part and its colour, in order."""
    groups = list(dict.fromkeys(row["group"] for row in rows))
    names = [name for name, _ in series]
    spec = {
        "data": {"values": [{**row, "order": names.index(row["series"])} for row in rows]},
        "width": 820,
        "height": ROW * max(1, len(groups)),
        "mark": {"type": "bar", "height": 14},
        "encoding": {
            "y": {"field": "group", "type": "nominal", "sort": groups, "axis": {"labelLimit": 150}},
            "x": {"field": "value", "type": "quantitative", "axis": {"tickCount": 5, "format": ",d", "tickMinStep": 1}},
            "color": {
                "field": "series",
                "type": "nominal",
                "scale": {"domain": names, "range": [colour for _, colour in series]},
            },
            "order": {"field": "order", "type": "quantitative"},
        },
    }
    return draw(spec)


def growth(points: Sequence[tuple[datetime, int]]) -> Markup:
    """A sum that grows over time, as an area under its line; instants as the clock of the reader tells them, without a zone."""
    span = points[-1][0] - points[0][0]
    written = "%H:%M:%S" if span < timedelta(minutes=4) else "%H:%M" if span < timedelta(days=1) else "%d/%m %H:%M"
    hours = {"tickCount": 3, "format": written, "labelOverlap": True, "labelFlush": True, "grid": False}
    people = {"tickCount": 4, "format": ",d", "tickMinStep": 1}
    spec = {
        "data": {"values": [{"at": f"{at.isoformat()}Z", "value": value} for at, value in points]},
        "width": 540,
        "height": 170,
        "mark": {
            "type": "area",
            "color": PURPLE,
            "fill": PURPLE,
            "fillOpacity": 0.08,
            "line": {"color": PURPLE, "strokeWidth": 2.2},
        },
        "encoding": {
            "x": {"field": "at", "type": "temporal", "scale": {"type": "utc"}, "axis": hours},
            "y": {"field": "value", "type": "quantitative", "axis": people},
        },
    }
    return draw(spec)


def draw(spec: Mapping[str, Any]) -> Markup:
    """A specification as SVG without links, scripts or anything from outside; its data is inside it."""
    return Markup(_drawn(json.dumps({**spec, "config": CONFIG}, sort_keys=True)))  # noqa: S704  # drawn from our numbers


@lru_cache(maxsize=64)
def _drawn(spec: str) -> str:
    """The same figures are drawn once: a drawing costs 40 ms (measured)."""
    return str(vl_convert.vegalite_to_svg(json.loads(spec), vl_version="6.4", allowed_base_urls=[]))
