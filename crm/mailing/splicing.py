"""Splice per person: a compiled mail and one person's values become the bytes that leave.

Preview, test mail and real mail all come from `build`, so that what is seen is what is sent, byte for byte.
"""

from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime, parseaddr
from functools import cached_property, lru_cache
from typing import NamedTuple

from crm.mailing.compiling import Compiled, Hole
from crm.mailing.encoding import header_name, header_text

COPIED_MOST = 16_384
"""Bytes of a run that is put together with its neighbours; a longer one, above all a picture, is never copied."""


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
    parts = [_headers(compiled, values, envelope, sender) + compiled.head]
    told = [write(values.get(name) or fallback) for name, fallback, write in compiled.differing]
    small: list[bytes] = []
    for piece in compiled.runs:
        if isinstance(piece, int):
            small.append(told[piece])
        elif len(piece) < COPIED_MOST:
            small.append(piece)
        else:
            parts += [b"".join(small), piece]
            small = []
    return [*parts, b"".join(small)]


def value_of(hole: Hole, values: dict[str, str]) -> str:
    """A person's value for a hole, or the text that staff wrote for when it is missing."""
    return values.get(hole.name) or hole.fallback


def subject_of(compiled: Compiled, values: dict[str, str]) -> str:
    return "".join(piece if isinstance(piece, str) else value_of(piece, values) for piece in compiled.subject)


def _headers(compiled: Compiled, values: dict[str, str], envelope: Envelope, sender: SenderLine) -> bytes:
    to = f"{header_name(envelope.to_name)}\r\n <{envelope.to_address}>" if envelope.to_name else envelope.to_address
    subject = header_text(subject_of(compiled, values))
    date = _written_date(envelope.date.replace(microsecond=0))
    return (
        f"To: {to}\r\nSubject: {subject}\r\nDate: {date}\r\nMessage-ID: <{envelope.message_id}>\r\n"
        f"List-Unsubscribe: <{envelope.unsubscribe}>\r\n{_everybodys(sender, envelope.feedback, compiled.language)}"
    ).encode()


@lru_cache(maxsize=64)
def _everybodys(sender: SenderLine, feedback: str, language: str) -> str:
    """The lines that are the same in every mail of a send."""
    lines = [
        f"From: {sender.written}",
        *([f"Reply-To: {sender.reply_to}"] if sender.reply_to else []),
        f"List-ID: Red Voto Chilango <red-voto-chilango.{sender.domain}>",
        "List-Unsubscribe-Post: List-Unsubscribe=One-Click",
        f"Feedback-ID: {feedback}:{sender.domain}",
        f"Content-Language: {language}",
        "MIME-Version: 1.0",
    ]
    return "".join(f"{line}\r\n" for line in lines)


_written_date = lru_cache(maxsize=16)(format_datetime)
