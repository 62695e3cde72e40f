"""Markdown of staff: as clean HTML for the mail, and as the plain text beside it."""

from collections.abc import Iterator

import nh3
from markdown_it import MarkdownIt
from markdown_it.token import Token

_READER = MarkdownIt("commonmark", {"html": False, "breaks": True})
_TAGS = {"p", "br", "strong", "em", "a", "ul", "ol", "li", "h1", "h2", "h3", "blockquote", "hr", "code"}


def to_html(markdown: str) -> str:
    """HTML with the few tags that a mail needs; XHTML slashes, as MJML reads XML."""
    cleaned = nh3.clean(
        _READER.render(markdown),
        tags=_TAGS,
        attributes={"a": {"href", "title"}},
        url_schemes={"http", "https", "mailto"},
        link_rel=None,
    )
    return cleaned.replace("<br>", "<br/>").replace("<hr>", "<hr/>").strip()


def to_plain(markdown: str) -> str:
    """The same text for a reader without HTML: lists with hyphens, each link's address beside its words."""
    return "\n\n".join(block for block in _blocks(_READER.parse(markdown)) if block)


def _blocks(tokens: list[Token]) -> Iterator[str]:
    numbers: list[int | None] = []
    items: list[str] = []
    bullet = ""
    for token in tokens:
        if token.type in {"bullet_list_open", "ordered_list_open"}:
            numbers.append(int(token.attrs.get("start", 1)) if token.type.startswith("ordered") else None)
        elif token.type == "list_item_open":
            bullet = _bullet(numbers)
        elif token.type in {"bullet_list_close", "ordered_list_close"}:
            numbers.pop()
            if not numbers:
                yield "\n".join(items)
                items = []
        elif token.type == "hr":
            yield "-" * 20
        elif token.type in {"inline", "fence", "code_block"}:
            text = _inline(token.children or []) if token.type == "inline" else token.content.rstrip()
            if numbers:
                items.append("  " * (len(numbers) - 1) + bullet + text)
                bullet = "  "
            else:
                yield text


def _bullet(numbers: list[int | None]) -> str:
    number = numbers[-1] if numbers else None
    if number is None:
        return "- "
    numbers[-1] = number + 1
    return f"{number}. "


def _inline(tokens: list[Token]) -> str:
    parts: list[str] = []
    link, start = "", 0
    for token in tokens:
        if token.type in {"softbreak", "hardbreak"}:
            parts.append("\n")
        elif token.type == "link_open":
            link, start = str(token.attrs.get("href", "")), len(parts)
        elif token.type == "link_close":
            if "".join(parts[start:]) != link:
                parts.append(f" ({link})")
        else:
            parts.append(token.content)
    return "".join(parts)


def links(markdown: str) -> list[str]:
    """Addresses of the links of a text, in order."""
    return [
        str(child.attrs.get("href", ""))
        for token in _READER.parse(markdown)
        for child in token.children or []
        if child.type == "link_open"
    ]
