"""Compile once: a document with tokens becomes static runs, already encoded for SMTP, with holes between them.

Staff write merge fields; before Markdown or MJML see them each becomes an ASCII token, because both rewrite what they do
not expect (measured: mrml writes attributes through debug escaping, markdown-it percent-encodes private-use characters).
Afterwards the document is cut at the tokens, and the place of each tells how a person's value must be written there.
"""

import hashlib
import html
import json
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import chain
from operator import itemgetter
from typing import Any

from crm.errors import InvalidInput
from crm.mailing.encoding import WHOLE_LINKS, Context, hole_value, plain_link, quoted_printable
from crm.mailing.fields import CATALOGUE, PERSONAL_LINKS, Use, replace

_TAG = re.compile(r"<[a-zA-Z/][^<>]*>")
_ATTRIBUTE = re.compile(r'([a-zA-Z][-a-zA-Z0-9:]*)\s*=\s*"([^"]*)"')
_LINK_ATTRIBUTES = {"href", "src", "background", "action"}
COPIED_MOST = 16_384
"""Bytes of a run that is put together with its neighbours; a longer one, above all a picture, is never copied."""
_PLAIN_LINK = re.compile(r"https?://[^\s<>]*\Z")


@dataclass(frozen=True)
class Hole:
    """Where a person's value goes."""

    name: str
    fallback: str
    context: Context


Piece = str | Hole
Column = Callable[[str | None], tuple[bytes, ...]]
Pick = Callable[[Sequence[bytes]], tuple[bytes, ...]]


class Marks:
    """The tokens of one compilation: merge fields, and staff texts that land in an attribute."""

    def __init__(self) -> None:
        prefix = "zq" + secrets.token_hex(6)
        self.token = re.compile(prefix + r"([fs])(\d+)z")
        self._prefix = prefix
        self.fields: list[Use] = []
        self._texts: list[str] = []

    def mark_fields(self, text: str) -> str:
        """The text with a token in place of each merge field."""
        return replace(text, self._mark_field)

    def mark_text(self, text: str) -> str:
        """A token for a text of staff that lands in an attribute; its own merge fields are marked too."""
        self._texts.append(self.mark_fields(text))
        return f"{self._prefix}s{len(self._texts) - 1}z"

    def _mark_field(self, use: Use) -> str:
        self.fields.append(use)
        return f"{self._prefix}f{len(self.fields) - 1}z"

    def put_texts(self, document: str, *, escape: bool = True) -> str:
        """The document with the staff texts back in place, escaped for an attribute (or as they are, in plain text)."""

        def put(match: re.Match[str]) -> str:
            if match[1] == "f":
                return match[0]
            text = self._texts[int(match[2])]
            return html.escape(text, quote=True) if escape else text

        return self.token.sub(put, document)

    def use_of(self, match: re.Match[str]) -> Use:
        return self.fields[int(match[2])]


def cut_html(document: str, marks: Marks) -> list[Piece]:
    """An HTML document cut at its tokens, not yet encoded; each hole knows its context."""
    return list(_cut(document, marks, lambda match: _html_context(document, match, marks)))


def cut_plain(document: str, marks: Marks) -> list[Piece]:
    """A plain-text document cut at its tokens."""

    def context(match: re.Match[str]) -> Context:
        before = document[: match.start()]
        inside_link = _PLAIN_LINK.search(before[-1000:]) is not None
        return Context.PLAIN_URL_PART if inside_link and CATALOGUE[marks.use_of(match).name].kind == "text" else Context.PLAIN

    return list(_cut(document, marks, context))


def cut_header(text: str, marks: Marks) -> list[Piece]:
    return list(_cut(text, marks, lambda _match: Context.HEADER))


def _cut(document: str, marks: Marks, context_of: Any) -> Iterator[Piece]:
    end = 0
    for match in marks.token.finditer(document):
        if match.start() > end:
            yield document[end : match.start()]
        use = marks.use_of(match)
        yield Hole(use.name, use.fallback, context_of(match))
        end = match.end()
    if end < len(document):
        yield document[end:]


def _html_context(document: str, match: re.Match[str], marks: Marks) -> Context:
    opened = document.rfind("<", 0, match.start())
    tag = _TAG.match(document, opened) if opened >= 0 else None
    if tag is None or tag.end() <= match.start():
        return Context.TEXT
    for attribute in _ATTRIBUTE.finditer(document, opened, tag.end()):
        if attribute.start(2) <= match.start() < attribute.end(2):
            return _attribute_context(attribute, match, marks)
    raise InvalidInput("template_broken")


def _attribute_context(attribute: re.Match[str], match: re.Match[str], marks: Marks) -> Context:
    if attribute[1].lower() not in _LINK_ATTRIBUTES:
        return Context.ATTRIBUTE
    if match.start() > attribute.start(2):
        return Context.URL_PART
    use = marks.use_of(match)
    if CATALOGUE[use.name].kind == "link" and match.end() == attribute.end(2):
        return Context.URL
    raise InvalidInput("merge_field_misplaced", name=use.name)


def encode(pieces: list[Piece]) -> list[Piece]:
    """Pieces of a body with the static runs in quoted-printable; each run begins on a line of its own."""
    return [quoted_printable(piece) if isinstance(piece, str) else piece for piece in pieces]


def joined(*parts: list[Piece] | str) -> list[Piece]:
    """One list of pieces, neighbouring runs put together so that a mail is spliced from few."""
    merged: list[Piece] = []
    for part in parts:
        for piece in [part] if isinstance(part, str) else part:
            if isinstance(piece, str) and merged and isinstance(merged[-1], str):
                merged[-1] += piece
            else:
                merged.append(piece)
    return merged


@dataclass(frozen=True)
class Compiled:
    """A mail of one language, ready to splice. ``body`` is everything after the personal headers, encoded."""

    language: str
    subject: list[Piece]
    body: list[Piece]
    sources: list[str] = field(default_factory=list)
    """Names of the merge fields used anywhere, so that only those values are looked up and checked."""

    def to_json(self) -> dict[str, Any]:
        """The form that is kept with the send; ASCII but for the subject."""
        return {"language": self.language, "subject": _pieces_to_json(self.subject), "body": _pieces_to_json(self.body)}

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "Compiled":
        subject, body = _pieces_from_json(stored["subject"]), _pieces_from_json(stored["body"])
        return cls(stored["language"], subject, body, holes_of(subject, body))

    @property
    def holes(self) -> list[Hole]:
        return [piece for piece in (*self.subject, *self.body) if isinstance(piece, Hole)]

    @cached_property
    def head(self) -> bytes:
        """The headers that are everybody's, and the line that ends them."""
        return self._parted[0]

    @cached_property
    def woven(self) -> tuple[bytes | Pick, ...]:
        """The body after its headers in parts: a long run as it leaves, or what picks the pieces of a short part, in their order,
        from what `columns` write, one after another, followed by `fixed`."""
        return self._weave[0]

    @cached_property
    def fixed(self) -> tuple[bytes, ...]:
        """The short runs that are the same in every mail."""
        return self._weave[1]

    @cached_property
    def _weave(self) -> tuple[tuple[bytes | Pick, ...], tuple[bytes, ...]]:
        numbers = {hole: number for number, hole in enumerate(chain.from_iterable(self._holes_by_name.values()))}
        fixed: list[bytes] = [b""]
        woven: list[bytes | Pick] = []
        places: list[int] = []
        for piece in (self._parted[1], *self.body[1:]):
            if isinstance(piece, Hole):
                places.append(numbers[piece])
                continue
            run = piece.encode() if isinstance(piece, str) else piece
            if len(run) < COPIED_MOST:
                places.append(len(numbers) + len(fixed))
                fixed.append(run)
            else:
                woven += [_picker(places, len(numbers)), run]
                places = []
        woven.append(_picker(places, len(numbers)))
        return tuple(woven), tuple(fixed)

    @cached_property
    def columns(self) -> tuple[tuple[str, Column], ...]:
        """The merge fields of the body by name, with what writes a person's value (None: there is none) for its holes, each of
        them once however often it stands in the mail."""
        return tuple((name, _column(name, holes)) for name, holes in self._holes_by_name.items())

    @property
    def _holes_by_name(self) -> dict[str, list[Hole]]:
        found: dict[str, list[Hole]] = {}
        for hole in dict.fromkeys(piece for piece in self.body if isinstance(piece, Hole)):
            found.setdefault(hole.name, []).append(hole)
        return found

    @property
    def _parted(self) -> tuple[bytes, bytes]:
        first = self.body[0]
        if not isinstance(first, str):
            raise InvalidInput("template_broken")  # no person's value stands among the headers of a part
        head, line, body = first.partition("\r\n\r\n")
        return (head + line).encode(), body.encode()

    @property
    def sha256(self) -> str:
        """Identifies the content; equal on every machine."""
        return digest(self.to_json())

    @property
    def size(self) -> int:
        """Bytes of the mail without the person's values."""
        return sum(len(piece) for piece in self.body if isinstance(piece, str))


def in_words(stored: list[Any]) -> str:
    """Pieces in the form that is kept as people speak of them, as `fields.named` does: `Le esperamos, [nombre]`."""
    return "".join(piece if isinstance(piece, str) else f"[{piece.name}]" for piece in _pieces_from_json(stored))


def _column(name: str, holes: Sequence[Hole]) -> Column:
    """Given names, cities and countries come again and again; personal links never do, and are written alike everywhere."""

    def write(value: str | None) -> tuple[bytes, ...]:
        return tuple([hole_value(value or hole.fallback, hole.context) for hole in holes])

    def write_link(value: str | None) -> tuple[bytes, ...]:
        written = plain_link(value) if value and are_whole else None
        return (written,) * len(holes) if written else write(value)

    are_whole = all(hole.context in WHOLE_LINKS for hole in holes)
    return write_link if name in PERSONAL_LINKS else lru_cache(maxsize=2048)(write)


def _picker(places: Sequence[int], nothing: int) -> Pick:
    """What picks those places of a tuple, two at least, so that it yields a tuple; ``nothing`` is the place of an empty piece."""
    return itemgetter(nothing, nothing, *places)


def digest(stored: dict[str, Any]) -> str:
    """Identifies a content by the form that is kept, as `Compiled.sha256` does."""
    return hashlib.sha256(json.dumps(stored, sort_keys=True).encode()).hexdigest()


def holes_of(*lists: list[Piece]) -> list[str]:
    """Names of the merge fields of some pieces, each once, in order."""
    return list(dict.fromkeys(piece.name for pieces in lists for piece in pieces if isinstance(piece, Hole)))


def _pieces_to_json(pieces: list[Piece]) -> list[Any]:
    return [piece if isinstance(piece, str) else [piece.name, piece.fallback, piece.context.value] for piece in pieces]


def _pieces_from_json(stored: list[Any]) -> list[Piece]:
    return [piece if isinstance(piece, str) else Hole(piece[0], piece[1], Context(piece[2])) for piece in stored]
