"""What a browser asks and posts, as values: texts that a database takes, whole numbers of a bounded size, and addresses."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from starlette.datastructures import FormData

DIGITS = 9
"""Of a whole number that names a row or a place: what has more is none of ours."""
SEARCH_LENGTH = 200


def whole_number(text: str) -> int | None:
    """A whole number as our own pages write it; None for anything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= DIGITS else None


def text_of(form: FormData, name: str) -> str:
    """A text of a form with the line ends of Unix and nothing that a database refuses; empty for a file."""
    value = form.get(name, "")
    return value.replace("\r\n", "\n").replace("\0", "") if isinstance(value, str) else ""


def number_of(form: FormData, name: str) -> int | None:
    """A whole number of a form."""
    return whole_number(text_of(form, name))


def single_spaced(text: str) -> str:
    """What is typed into a search: single spaces, of bounded length."""
    return " ".join(text.replace("\0", "").split())[:SEARCH_LENGTH]


def search_of(query: Mapping[str, str]) -> str:
    """What the address of a list is searched by."""
    return single_spaced(query.get("q", ""))


def address(path: str, **told: Any) -> str:
    """A path with the parts of its query that say something."""
    query = urlencode({name: str(value) for name, value in told.items() if value not in (None, "")})
    return path + (f"?{query}" if query else "")
