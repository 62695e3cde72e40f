"""Ayuda: the manual of `docs/manual/`, the same text inside the product, beside each page."""

import re
from functools import cache
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Request
from fastapi import Path as InPath
from fastapi.responses import Response
from markdown_it import MarkdownIt
from markupsafe import Markup

from crm.errors import NotFound
from web.pages import is_fragment, page

MANUAL = Path(__file__).parent.parent / "docs" / "manual"
FIRST = "README"
_OWN_LINK = re.compile(r'<a href="([a-z_]+)\.md(#[^"]*)?">')
_OTHER_LINK = re.compile(r'<a href="(?!/|https?:)[^"]*">(.*?)</a>')

router = APIRouter()


@router.get("/ayuda")
def first(request: Request) -> Response:
    """What there is to read."""
    return _shown(request, FIRST)


@router.get("/ayuda/{name}")
def read(request: Request, name: Annotated[str, InPath(max_length=40, pattern=r"^[a-z_]+$")]) -> Response:
    """One page of the manual; NotFound(help_not_found)."""
    return _shown(request, name)


def _shown(request: Request, name: str) -> Response:
    title, body = manual_page(name)
    template = "help/beside.html" if is_fragment(request) else "help/page.html"
    return page(request, template, {"title": title, "body": body, "is_first": name == FIRST, "pages": pages()})


@cache
def manual_page(name: str) -> tuple[str, Markup]:
    """Title and HTML of a page. Links between pages stay inside; what is not of the manual is plain text."""
    path = MANUAL / f"{name}.md"
    if not path.is_file():
        raise NotFound("help_not_found")
    text = path.read_text(encoding="utf-8")
    title = text.partition("\n")[0].lstrip("# ").strip()
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(text.partition("\n")[2])
    body = body.replace("<pre>", '<pre tabindex="0">')  # it may scroll sideways
    body = _OWN_LINK.sub(lambda link: f'<a href="/ayuda/{link[1]}{link[2] or ""}">', body)
    return title, Markup(_OTHER_LINK.sub(r"\1", body))  # noqa: S704  # our own manual, raw HTML off


@cache
def pages() -> list[tuple[str, str]]:
    """(name, title) of every page but the first."""
    return [(path.stem, manual_page(path.stem)[0]) for path in sorted(MANUAL.glob("*.md")) if path.stem != FIRST]
