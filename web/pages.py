"""How a page is made: templates of `templates/web`, Spanish numbers and dates, addresses of static files, and what every
page shows around its own content."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from babel.dates import format_date, format_datetime, format_timedelta, get_timezone_location
from babel.lists import format_list
from babel.numbers import format_decimal
from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from crm import clock
from crm.mailing import fields
from crm.mailing.faults import SENTENCES
from crm.mailing.relays import Trouble
from crm.people.words import SECTOR_WORDS
from crm.staff.models import Role
from crm.staff.rights import ROLE_WORDS, ROLES, Right

LOCALE = "es_MX"
TEMPLATES = Path(__file__).parent.parent / "templates" / "web"
STATIC = Path(__file__).parent / "static"


HELP_PAGES = {
    "home": "inicio",
    "tasks": "tareas",
    "contacts": "personas",
    "duplicates": "duplicados",
    "segments": "segmentos",
    "imports": "importar",
    "campaigns": "envios",
    "materials": "materiales",
    "organizations": "organizaciones",
    "settings": "ajustes",
}
"""The page of the manual that speaks of each section."""


@dataclass(frozen=True)
class Viewer:
    """Who looks at a page of staff, as the templates need it."""

    account_id: int
    name: str
    role: Role
    csrf_token: str

    @property
    def role_words(self) -> str:
        return ROLE_WORDS[self.role]

    @property
    def initials(self) -> str:
        return initials(self.name)

    def may(self, right: str) -> bool:
        """Whether the role holds a right, by the value of `Right`."""
        return Right(right) in ROLES[self.role]


@dataclass(frozen=True)
class Frame:
    """What stands around the content of every page of staff."""

    contacts: int
    sending: int
    """Sends that are leaving now."""
    is_demo: bool
    has_relay: bool
    """Whether mails leave this machine; without a relay the local catcher keeps them."""
    trouble: "RelayTrouble | None" = None


@dataclass(frozen=True)
class RelayTrouble:
    """What every page says while the relay is in trouble."""

    found: Trouble
    now: datetime

    @property
    def sentence(self) -> str:
        """What is wrong: the first sentence of the reason, which everybody understands. What to do is told where it is done."""
        return SENTENCES[self.found.reason].partition(". ")[0].rstrip(".") + "."

    @property
    def by_itself(self) -> str:
        """What happens without anybody's help."""
        if self.found.next_try is None:
            return "Se volverá a intentar con el próximo correo."
        if self.found.next_try <= self.now:
            return "Se está intentando de nuevo."
        return f"Se intenta de nuevo solo a las {clock_time(self.found.next_try)} h (CDMX)."


def is_fragment(request: Request) -> bool:
    """Whether htmx asked for a part of a page, not the page (a step back through the history asks for the page)."""
    headers = request.headers
    return headers.get("hx-request") == "true" and headers.get("hx-request-type") == "partial"


def page(
    request: Request, template: str, context: Mapping[str, Any], *, status: int = 200, headers: Mapping[str, str] | None = None
) -> HTMLResponse:
    """Render a template with what every page shows."""
    state = request.state
    shared = {"viewer": getattr(state, "viewer", None), "frame": getattr(state, "frame", None)}
    body = environment().get_template(template).render({**shared, **context})
    return HTMLResponse(body, status_code=status, headers=headers)


def attached(body: bytes, media_type: str, name: str) -> Response:
    """A file to be saved, under a name in ASCII."""
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "X-Content-Type-Options": "nosniff"}
    return Response(body, media_type=media_type, headers=headers)


def go(request: Request, where: str) -> Response:
    """Lead the browser to another page, also from within a part of one."""
    return Response(headers={"HX-Redirect": where}) if is_fragment(request) else RedirectResponse(where, status_code=303)


@cache
def environment() -> Environment:
    """The templates: escaped by default; a name that is missing is an error, never an empty hole."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= {
        "number": number,
        "percent": percent,
        "moment": moment,
        "day": day,
        "ago": ago,
        "listed": listed,
        "initials": initials,
        "counted": counted,
        "clock_time": clock_time,
        "lasting": lasting,
        "short_moment": short_moment,
        "wall_clock": wall_clock,
        "beside_day": beside_day,
        "zone_name": zone_name,
        "fields_named": fields.named,
    }
    made.globals |= {"static": static_url, "SECTOR_WORDS": SECTOR_WORDS, "HELP_PAGES": HELP_PAGES}
    return made


# --- words -----------------------------------------------------------------------------------------------------------------


def number(value: float) -> str:
    """`1512` as `1,512`."""
    return f"{value:,}" if isinstance(value, int) else format_decimal(value, locale=LOCALE)


def percent(value: float) -> str:
    """A share of one as `12.5 %`."""
    return f"{value * 100:.1f} %"


def counted(value: int, one: str, many: str) -> str:
    """`1 persona`, `1,512 personas`."""
    return f"{value:,} {one if value == 1 else many}"


def moment(instant: datetime) -> str:
    """`7 ene 2027, 18:00 h (CDMX)`."""
    return format_datetime(clock.institute_time(instant), "d MMM y, HH:mm 'h' '(CDMX)'", locale=LOCALE)


def short_moment(instant: datetime) -> str:
    """`7 ene, 18:00`, for rows whose page tells the year and the zone."""
    return format_datetime(clock.institute_time(instant), "d MMM, HH:mm", locale=LOCALE)


def lasting(span: timedelta) -> str:
    """How long something takes, said as people do: `cerca de 1 minuto`, `unos 12 minutos`, `unas 3 horas`, `unos 8 días`."""
    minutes = math.ceil(span.total_seconds() / 60)
    hours, days = math.ceil(minutes / 60), math.ceil(minutes / 60 / 24)
    if minutes < 90:
        return "cerca de 1 minuto" if minutes <= 1 else f"unos {minutes} minutos"
    return f"unas {hours} horas" if hours <= 36 else f"unos {days:,} días"


def clock_time(instant: datetime, with_seconds: bool = False) -> str:
    """The hour on the wall clock of Mexico City: `18:00`, or `18:00:05` where minutes would repeat."""
    return format_datetime(clock.institute_time(instant), "HH:mm:ss" if with_seconds else "HH:mm", locale=LOCALE)


def wall_clock(local: datetime) -> str:
    """An hour as the clocks of its own zone tell it: `lun 7 ene, 18:00`."""
    return format_datetime(local, "EEE d MMM, HH:mm", locale=LOCALE, tzinfo=local.tzinfo)


def beside_day(local: datetime, instant: datetime) -> str:
    """` del día siguiente` or ` del día anterior`, where the calendar of a place is not that of Mexico City; else nothing."""
    days = (local.date() - clock.institute_time(instant).date()).days
    return {1: " del día siguiente", -1: " del día anterior"}.get(days, "")


def zone_name(zone: str) -> str:
    """The city that stands for a zone: `America/Los_Angeles` is `Los Ángeles`."""
    return get_timezone_location(zone, locale=LOCALE, return_city=True)


def day(value: date | datetime) -> str:
    """`7 ene 2027`; an instant is told by the calendar of Mexico City."""
    return format_date(clock.institute_time(value) if isinstance(value, datetime) else value, "d MMM y", locale=LOCALE)


def ago(instant: datetime) -> str:
    """`hoy`, `ayer`, `hace 3 días`, `hace 2 meses`, by the calendar of Mexico City."""
    days = (clock.today() - clock.institute_time(instant).date()).days
    if days <= 0:
        return "hoy"
    if days == 1:
        return "ayer"
    return "hace " + format_timedelta(clock.now() - instant, threshold=1.6, locale=LOCALE)


def listed(parts: list[str]) -> str:
    """`a, b y c`, with «e» before the sound i."""
    return format_list(parts, locale=LOCALE)


def initials(name: str) -> str:
    """At most two letters for an avatar; `·` without a name."""
    words = name.split()
    return "".join(word[0] for word in words[:2]).upper() or "·"


# --- static files ------------------------------------------------------------------------------------------------------------


def static_url(path: str) -> str:
    """The address of a static file, with a digest of them all, so that a browser may keep it for good."""
    return f"/static/{static_digest()}/{path}"


@cache
def static_digest() -> str:
    digest = hashlib.sha256()
    for file in sorted(STATIC.rglob("*")):
        if file.is_file():
            digest.update(file.relative_to(STATIC).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]
