"""Splice per person: a compiled mail and one person's values become the bytes that leave.

Preview, test mail and real mail all come from `build`, so that what is seen is what is sent, byte for byte.
"""

from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime, parseaddr
from functools import cached_property

from crm.mailing.compiling import Compiled, Hole, Piece
from crm.mailing.encoding import header_name, header_text, hole_value


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


@dataclass(frozen=True)
class Envelope:
    """What is one person's alone: to whom, under which identifier, and how they leave."""

    to_name: str
    to_address: str
    message_id: str
    unsubscribe: str
    """The https address of one click (RFC 8058), also behind the link of the footer."""
    feedback: str
    """``Feedback-ID``: campaign and send, nothing of the person."""
    date: datetime


def build(compiled: Compiled, values: dict[str, str], envelope: Envelope, sender: SenderLine) -> bytes:
    """One person's whole mail: CRLF lines, no leading dots, at most 998 bytes a line. Headers are UTF-8 only for an
    address with letters beyond ASCII (RFC 6532), which asks for SMTPUTF8."""
    head = _headers(compiled, values, envelope, sender)
    body = "".join(_spliced(piece, values) for piece in compiled.body)
    return (head + body).encode()


def _spliced(piece: Piece, values: dict[str, str]) -> str:
    if isinstance(piece, str):
        return piece
    return hole_value(value_of(piece, values), piece.context)


def value_of(hole: Hole, values: dict[str, str]) -> str:
    """A person's value for a hole, or the text that staff wrote for when it is missing."""
    return values.get(hole.name) or hole.fallback


def subject_of(compiled: Compiled, values: dict[str, str]) -> str:
    return "".join(piece if isinstance(piece, str) else value_of(piece, values) for piece in compiled.subject)


def _headers(compiled: Compiled, values: dict[str, str], envelope: Envelope, sender: SenderLine) -> str:
    to = f"{header_name(envelope.to_name)}\r\n <{envelope.to_address}>" if envelope.to_name else envelope.to_address
    lines = [
        f"From: {sender.written}",
        f"To: {to}",
        f"Subject: {header_text(subject_of(compiled, values))}",
        f"Date: {format_datetime(envelope.date)}",
        f"Message-ID: <{envelope.message_id}>",
        f"List-ID: Red Voto Chilango <red-voto-chilango.{sender.domain}>",
        f"List-Unsubscribe: <{envelope.unsubscribe}>",
        "List-Unsubscribe-Post: List-Unsubscribe=One-Click",
        f"Feedback-ID: {envelope.feedback}:{sender.domain}",
        f"Content-Language: {compiled.language}",
        "MIME-Version: 1.0",
    ]
    if sender.reply_to:
        lines.insert(2, f"Reply-To: {sender.reply_to}")
    return "\r\n".join(lines) + "\r\n"
