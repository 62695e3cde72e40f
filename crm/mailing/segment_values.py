"""One value of a condition: read from JSON, checked and brought to the one form that is stored and compared."""

import re
import unicodedata
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import cache
from zoneinfo import available_timezones

from crm import clock
from crm.database import search_key
from crm.people import places

Value = str | int | bool
Reader = Callable[[object], Value]
"""Reads one value; ValueError for what does not fit, `AmbiguousCity` for a name of several cities."""

ID_LIMIT = 2**31
TEXT_LIMIT = 200
DAYS_LIMIT = 36_500
NEVER = "never"

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_YEARS = range(1900, 2201)


class AmbiguousCity(ValueError):
    """Several cities bear the name."""


def read_text(value: object) -> str:
    """Words of at most `TEXT_LIMIT` characters, none of them unseen."""
    if not isinstance(value, str):
        raise ValueError("not a text")
    text = value.strip()
    if not 0 < len(text) <= TEXT_LIMIT or any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in text):
        raise ValueError("empty, too long or with control characters")
    return text


def read_search(value: object) -> str:
    """A text that has something to be looked for once its marks are gone."""
    text = read_text(value)
    if not search_key(text):
        raise ValueError("nothing to look for")
    return text


def read_id(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < ID_LIMIT:
        raise ValueError("not an id")
    return value


def read_id_or_name(value: object) -> str | int:
    return read_text(value) if isinstance(value, str) else read_id(value)


def read_country(value: object) -> str:
    """The code of a country told by code or name."""
    code = places.country_code(read_text(value))
    if code is None:
        raise ValueError("no such country")
    return code


def read_city(value: object) -> str | int:
    """A row of ours by id, or a name as people write it; AmbiguousCity when several cities bear it."""
    told = read_id_or_name(value)
    if isinstance(told, str) and places.resolve(told).ambiguous:
        raise AmbiguousCity(told)
    return told


def read_zone(value: object) -> str:
    """An IANA name."""
    zone = read_text(value)
    if zone not in _zones():
        raise ValueError("no such zone")
    return zone


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def read_truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("neither true nor false")
    return value


def read_never(value: object) -> str:
    if value != NEVER:
        raise ValueError("not never")
    return NEVER


def read_days(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= DAYS_LIMIT:
        raise ValueError("not a number of days")
    return value


def read_date(value: object) -> str:
    """A day, as YYYY-MM-DD."""
    if not isinstance(value, str) or not _DATE.fullmatch(value) or date.fromisoformat(value).year not in _YEARS:
        raise ValueError("not a date")
    return value


def one_of(values: type[StrEnum] | tuple[str, ...]) -> Reader:
    """A reader of a closed list."""
    known = frozenset(str(value) for value in values)

    def read(value: object) -> str:
        if not isinstance(value, str) or value not in known:
            raise ValueError("not in the list")
        return value

    return read


def start_of(day: str, *, days_later: int = 0) -> datetime:
    """The first instant of a day in Mexico City."""
    told = date.fromisoformat(day) + timedelta(days=days_later)
    return datetime.combine(told, time.min, tzinfo=clock.INSTITUTE_ZONE).astimezone(UTC)


def days_ago(days: int) -> datetime:
    return clock.now() - timedelta(days=days)
