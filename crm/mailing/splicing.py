"""Splice per person: a compiled mail and one person's values become the bytes that leave.

Preview, test mail and real mail all come from `build`, so that what is seen is what is sent, byte for byte.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parseaddr
from functools import cached_property, lru_cache
from typing import NamedTuple

from crm.mailing.compiling import Compiled, Hole
from crm.mailing.encoding import header_name, header_text


@dataclass(frozen=True)
class SenderLine:
    """Who signs the mails of an installation."""

    address: str
    """As in CRM_MAIL_FROM: ``Name <address>``."""
    reply_to: str | None = None

    @cached_property
    def mailbox(self) -> str:
        return parseaddr(self.address)[1]

    @cached_property
    def domain(self) -> str:
        return self.mailbox.rpartition("@")[2]

    @cached_property
    def written(self) -> str:
        """The address as its header has it."""
        name = parseaddr(self.address)[0]
        return f"{header_name(name)} <{self.mailbox}>" if name else self.mailbox


class Envelope(NamedTuple):
    """What is one person's alone: to whom, under which identifier, and how they leave."""

    to_name: str
    to_address: str
    message_id: str
    unsubscribe: str
    """The https address of one click (RFC 8058), also behind the link of the footer."""
    feedback: str
    """``Feedback-ID``: campaign and send, nothing of the person."""
    date: datetime


def build(compiled: Compiled, values: dict[str, str], envelope: Envelope, sender: SenderLine) -> list[bytes]:
    """One person's whole mail, in parts of which the first is its header: CRLF lines, no leading dots, at most 998 bytes a
    line. Headers are UTF-8 only for an address with letters beyond ASCII (RFC 6532), which asks for SMTPUTF8."""
    pieces: list[bytes] = []
    for name, write in compiled.columns:
        pieces += write(values.get(name))
    pieces += compiled.fixed
    body = [part if isinstance(part, bytes) else b"".join(part(pieces)) for part in compiled.woven]
    return [_headers(compiled, values, envelope, sender) + compiled.head, *body]


def value_of(hole: Hole, values: dict[str, str]) -> str:
    """A person's value for a hole, or the text that staff wrote for when it is missing."""
    return values.get(hole.name) or hole.fallback


def subject_of(compiled: Compiled, values: dict[str, str]) -> str:
    return "".join([piece if isinstance(piece, str) else value_of(piece, values) for piece in compiled.subject])


def _headers(compiled: Compiled, values: dict[str, str], envelope: Envelope, sender: SenderLine) -> bytes:
    name, address, message_id, unsubscribe, feedback, date = envelope
    to = f"{header_name(name)}\r\n <{address}>" if name else address
    everybodys = _everybodys(sender.written, sender.reply_to, sender.domain, feedback, compiled.language)
    return (
        f"To: {to}\r\nSubject: {header_text(subject_of(compiled, values))}\r\nDate: {_date(date)}\r\n"
        f"Message-ID: <{message_id}>\r\nList-Unsubscribe: <{unsubscribe}>\r\n{everybodys}"
    ).encode()


@lru_cache(maxsize=64)
def _everybodys(written: str, reply_to: str | None, domain: str, feedback: str, language: str) -> str:
    """The lines that are the same in every mail of a send."""
    lines = [
        f"From: {written}",
        *([f"Reply-To: {reply_to}"] if reply_to else []),
        f"List-ID: Red Voto Chilango <red-voto-chilango.{domain}>",
        "List-Unsubscribe-Post: List-Unsubscribe=One-Click",
        f"Feedback-ID: {feedback}:{domain}",
        f"Content-Language: {language}",
        "MIME-Version: 1.0",
    ]
    return "".join(f"{line}\r\n" for line in lines)


@lru_cache(maxsize=16)
def _date(instant: datetime) -> str:
    return format_datetime(instant.astimezone(UTC))
