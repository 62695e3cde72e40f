"""A real mail server for tests: keeps what it accepts, and can be slow, rude or gone at any step."""

import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from functools import cached_property
from threading import Lock
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from crm.config import RelayAddress

Answer = Callable[[str], str | None]
"""From an address to a refusal, or None to accept."""
DROP = "drop"
"""As an answer: close the connection without a word."""


@dataclass
class Accepted:
    """A mail that the server took."""

    sender: str
    recipient: str
    content: bytes

    @cached_property
    def mail(self) -> EmailMessage:
        return message_from_bytes(self.content, policy=policy.default)

    def text(self, kind: str = "plain") -> str:
        part = self.mail.get_body((kind,))
        assert part is not None
        return str(part.get_content())


@dataclass
class MailServer:
    """What it accepted, and how it answers; change the answers while it runs."""

    port: int = 0
    accepted: list[Accepted] = field(default_factory=list)
    on_mail: Answer = lambda _address: None
    on_rcpt: Answer = lambda _address: None
    on_data: Answer = lambda _address: None
    """After the final dot. A refusal is not kept; DROP keeps the mail and says nothing: the doubtful case."""
    connections: int = 0
    lock: Lock = field(default_factory=Lock)

    @property
    def relay(self) -> RelayAddress:
        return RelayAddress(host="127.0.0.1", port=self.port, tls="none", per_minute=None)

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}?tls=none"

    @property
    def recipients(self) -> Counter[str]:
        return Counter(mail.recipient for mail in self.accepted)

    # The names below are aiosmtpd's.
    async def handle_MAIL(self, server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]) -> str:  # noqa: N802
        refusal = self._said(server, self.on_mail(address))
        if refusal:
            return refusal
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 ok"

    async def handle_RCPT(self, server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]) -> str:  # noqa: N802
        refusal = self._said(server, self.on_rcpt(address))
        if refusal:
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        answer = self.on_data(envelope.rcpt_tos[0])
        if answer is None or answer == DROP or answer.startswith("2"):
            with self.lock:
                assert isinstance(envelope.content, bytes)
                self.accepted.append(Accepted(envelope.mail_from or "", envelope.rcpt_tos[0], envelope.content))
        return self._said(server, answer) or "250 2.0.0 queued"

    def _said(self, server: SMTP, answer: str | None) -> str | None:
        if answer == DROP:
            transport: Any = server.transport
            transport.abort()
            return "421 4.3.2 gone"
        return answer


@contextmanager
def running(server: MailServer | None = None) -> Iterator[MailServer]:
    """A mail server on a free port of this machine."""
    made = server or MailServer()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", made.port))
        made.port = probe.getsockname()[1]
    controller: Any = Controller(made, hostname="127.0.0.1", port=made.port, enable_SMTPUTF8=True, data_size_limit=60 * 2**20)
    controller.start()
    try:
        yield made
    finally:
        controller.stop(no_assert=True)
