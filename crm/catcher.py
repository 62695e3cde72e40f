"""The local mail catcher: a mail server on this machine that keeps what it is given and passes nothing on."""

import re
import socket
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from crm.mailing.relays import CATCHER_PORT

MAILS = "mails"
"""Folder of the data directory with one .eml file per mail."""
SIZE_LIMIT = 40 * 1024 * 1024
GONE, FULL = "rebote", "lleno"
"""``rebote.012@example.org`` does not exist; ``lleno.012@example.org`` is full, and at the second try has room."""
_PLAYED = re.compile(rf"({GONE}|{FULL})\.\d{{3}}@example\.(?:org|com|net)")


class _Keeper:
    """Writes each mail to a file named by its order, and plays the mailboxes of the demo that refuse."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._full: set[str] = set()
        self._number = max((int(path.stem) for path in folder.glob("[0-9]*.eml")), default=0)

    async def handle_RCPT(  # noqa: N802  # aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, rcpt_options: list[str]
    ) -> str:
        del server, session
        refusal = self._refusal(address)
        if refusal is None:
            envelope.rcpt_tos.append(address)
            envelope.rcpt_options.extend(rcpt_options)
        return refusal or "250 2.1.5 OK"

    def _refusal(self, address: str) -> str | None:
        played = _PLAYED.fullmatch(address)
        if played is None:
            return None
        if played[1] == GONE:
            return "550 5.1.1 no such mailbox"
        if address in self._full:
            self._full.remove(address)
            return None
        self._full.add(address)
        return "452 4.2.2 mailbox full"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802  # aiosmtpd's name
        del server, session
        self._number += 1
        content = envelope.content if isinstance(envelope.content, bytes) else (envelope.content or "").encode()
        head = "".join(f"X-Envelope-To: {address}\r\n" for address in envelope.rcpt_tos)
        path = self._folder / f"{self._number:07}.eml"
        path.write_bytes(head.encode() + content)
        return f"250 2.0.0 kept as {self._number}"


class Catcher:
    """A running catcher; ``port`` tells where."""

    def __init__(self, data_dir: Path, port: int = 0) -> None:
        self._port_file = data_dir / CATCHER_PORT
        self._controller: Any = Controller(
            _Keeper(data_dir / MAILS),
            hostname="127.0.0.1",
            port=port or _free_port(),
            data_size_limit=SIZE_LIMIT,
            enable_SMTPUTF8=True,
        )

    def start(self) -> None:
        self._controller.start()
        self._port_file.write_text(str(self.port), encoding="ascii")

    def stop(self) -> None:
        self._port_file.unlink(missing_ok=True)
        self._controller.stop(no_assert=True)

    @property
    def port(self) -> int:
        return int(self._controller.port)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
