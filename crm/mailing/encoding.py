"""How text becomes bytes of a mail: quoted-printable, encoded words, base64. Everything that leaves here is ASCII.

Sources: RFC 2045 section 6.7 (quoted-printable), RFC 2047 (encoded words), RFC 5321 section 4.5.2 (leading dots).
"""

import binascii
import html
import re
from base64 import b64encode
from enum import StrEnum
from functools import lru_cache
from urllib.parse import quote, urlsplit

from crm.errors import InvalidInput

SOFT = "=\r\n"
"""A soft line break: the reader joins the lines again."""
LINE = 76
"""Longest line of quoted-printable (RFC 2045, 6.7 rule 5)."""
_WORD_BYTES = 45
"""Bytes of text in one encoded word: 60 characters of base64 and 12 around them, under the limit of 75."""
_AS_IT_IS = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 ,:;!?@/()*+._-]{0,72}[A-Za-z0-9:!?)])?")
"""One line that means itself in HTML, in an attribute and in quoted-printable: most values, told in a tenth of the time."""
_PLAIN_LINK = re.compile(r"https?://[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*(?::\d{1,5})?(?:/[A-Za-z0-9/._-]{0,50}[A-Za-z0-9/_-])?")
_WHOLE_LINK = re.compile(r"^(?:https?://|mailto:)", re.IGNORECASE)


class Context(StrEnum):
    """Where a hole stands, which decides how a person's value is written there."""

    TEXT = "text"
    ATTRIBUTE = "attribute"
    URL_PART = "url_part"
    URL = "url"
    PLAIN = "plain"
    PLAIN_URL_PART = "plain_url_part"
    HEADER = "header"


WHOLE_LINKS = frozenset([Context.TEXT, Context.ATTRIBUTE, Context.PLAIN, Context.URL])
"""Where a link stands whole, and `plain_link` may write it."""
_AS_IT_MAY_BE = WHOLE_LINKS - {Context.URL}


def in_context(value: str, context: Context) -> str:
    """A person's value as the document around it wants it, not yet encoded for the mail."""
    value = " ".join(value.split())
    if context is Context.TEXT:
        return html.escape(value, quote=False)
    if context is Context.ATTRIBUTE:
        return html.escape(value, quote=True)
    if context is Context.URL_PART:
        return html.escape(quote(value, safe=""), quote=True)
    if context is Context.URL:
        return html.escape(value if _is_link(value) else "", quote=True)
    if context is Context.PLAIN_URL_PART:
        return quote(value, safe="")
    return value


def _is_link(value: str) -> bool:
    """Only http, https and mailto: a link of any other kind could run code in the reader's program."""
    return bool(_WHOLE_LINK.match(value)) and (value.lower().startswith("mailto:") or bool(urlsplit(value).hostname))


def quoted_printable(text: str) -> str:
    """The text as quoted-printable that may stand at the beginning of a line: lines of at most 76, no leading dot."""
    encoded = binascii.b2a_qp(text.replace("\r\n", "\n").replace("\r", "\n").encode(), istext=True).decode("ascii")
    return "\r\n".join(_without_leading_dot(line) for line in encoded.split("\n"))


def _without_leading_dot(line: str) -> str:
    if not line.startswith("."):
        return line
    if len(line) + 2 <= LINE:
        return "=2E" + line[1:]
    return "=2E" + SOFT + _without_leading_dot(line[1:])


def hole_value(value: str, context: Context) -> bytes:
    """What goes into a hole of the body: the value on a line of its own, between soft line breaks."""
    if context in _AS_IT_MAY_BE and len(value) < LINE and _AS_IT_IS.fullmatch(value) and "  " not in value:
        return b"=\r\n%b=\r\n" % value.encode()
    if context is Context.URL and (written := plain_link(value)):
        return written
    encoded = binascii.b2a_qp(in_context(value, context).encode(), istext=True)  # in which no line break is left
    if b"\n" in encoded or encoded.startswith(b"."):
        encoded = quoted_printable(in_context(value, context)).encode()
    if len(encoded) - encoded.rfind(b"\n") > LINE:
        encoded = _with_room(encoded)
    return b"=\r\n%b=\r\n" % encoded if encoded else b"=\r\n"


def plain_link(value: str) -> bytes | None:
    """What goes into a hole that is a whole link, in any of `WHOLE_LINKS`; None for one that must be looked at by `hole_value`."""
    return b"=\r\n%b=\r\n" % value.encode() if len(value) < LINE and _PLAIN_LINK.fullmatch(value) else None


def _with_room(encoded: bytes) -> bytes:
    """Quoted-printable whose last line is full, with room for one more sign: its last character is on a line of its own."""
    cut = -3 if encoded[-3:-2] == b"=" else -1
    last = b"=2E" if encoded[cut:] == b"." else encoded[cut:]
    return encoded[:cut] + SOFT.encode() + last


@lru_cache(maxsize=1024)
def header_text(text: str) -> str:
    """Unstructured text of a header, folded; InvalidInput(header_refused) for a line break in it (RFC 5322, 2.2)."""
    if "\r" in text or "\n" in text:
        raise InvalidInput("header_refused")
    if _is_plain(text) and len(text) <= LINE - 16:
        return text
    return "\r\n ".join(_encoded_word(chunk) for chunk in _chunks(text))


def header_name(name: str) -> str:
    """A person's name before an address: quoted when it is ASCII, encoded words otherwise."""
    if "\r" in name or "\n" in name:
        raise InvalidInput("header_refused")
    if _is_plain(name) and len(name) <= LINE - 16:
        return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return "\r\n ".join(_encoded_word(chunk) for chunk in _chunks(name))


def file_name_parameter(name: str) -> str:
    """``filename`` of a part: quoted in ASCII, and in UTF-8 beside it when letters go beyond (RFC 2231, RFC 6266)."""
    safe = "".join(letter if letter.isascii() and letter.isprintable() and letter not in '"\\' else "_" for letter in name)
    plain = f'filename="{safe}"'
    return plain if safe == name else f"{plain};\r\n filename*=utf-8''{quote(name, safe='')}"


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable() and "=?" not in text


def _encoded_word(chunk: str) -> str:
    return f"=?utf-8?B?{b64encode(chunk.encode()).decode()}?="


def _chunks(text: str) -> list[str]:
    """The text cut between characters into pieces of at most 45 bytes."""
    if len(text.encode()) <= _WORD_BYTES:
        return [text]
    chunks = [""]
    for letter in text:
        if len((chunks[-1] + letter).encode()) > _WORD_BYTES:
            chunks.append("")
        chunks[-1] += letter
    return chunks


def base64_lines(body: bytes) -> str:
    """Base64 in lines of 76, as MIME wants it, with CRLF at the end of each."""
    text = b64encode(body).decode("ascii")
    return "".join(text[start : start + LINE] + "\r\n" for start in range(0, len(text), LINE))
