"""One connection to a mail server: opened, secured and signed in by aiosmtplib, then one mail after another in lockstep.

After sign-in the connection is taken over by a conversation of our own (RFC 5321): the ledger must know at which step an
answer came, above all whether the content of a mail had left when a line broke.
"""

import asyncio
import re
import ssl
from contextlib import suppress
from dataclasses import dataclass

import aiosmtplib

from crm.config import RelayAddress
from crm.mailing.faults import Reply, Step

STEP_SECONDS = 60.0
"""Longest wait for an answer to one command."""
MESSAGE_SECONDS = 180.0
"""Longest wait after the final dot (RFC 5321, 4.5.3.2.6 allows ten minutes; the lease of a delivery outlives this)."""
LOCAL_NAME = "red-voto-chilango.localdomain"
"""How we introduce ourselves (EHLO)."""
REPLY_LIMIT = 64 * 1024
"""Most bytes of one reply; a server that says more is not listened to."""
_LEADING_DOT = re.compile(rb"(?m)^\.")
_REPLY = re.compile(rb"(?:\d{3}-[^\n]*\n)*(\d{3})(?: [^\n]*)?\r?\n")
_FORBIDDEN = re.compile(r"[\x00-\x20<>\x7f]")


class ConnectionFailed(Exception):
    """The door did not open, or closed before the content of a mail left; ``reply`` says what was heard."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        super().__init__(f"{reply.step} {reply.code}")


@dataclass(frozen=True)
class Timeouts:
    step: float = STEP_SECONDS
    message: float = MESSAGE_SECONDS


class _Silent(Exception):
    """No answer that can be read: the line broke, the time was over, or it was garbage."""


class _NotSaid(_Silent):
    """Nothing was said either: what the server had already sent makes no sense."""


class _Conversation(asyncio.Protocol):
    """Commands and replies over an open transport, one at a time."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.is_open = True
        self._heard = bytearray()
        self._waiting: asyncio.Future[None] | None = None
        self._gone = asyncio.Event()
        self._may_write = asyncio.Event()
        self._may_write.set()

    # The four names below are asyncio's.
    def data_received(self, data: bytes) -> None:
        self._heard += data
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        self._gone.set()
        self._may_write.set()
        self._wake()

    def pause_writing(self) -> None:
        self._may_write.clear()

    def resume_writing(self) -> None:
        self._may_write.set()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def ask(self, words: bytes, timeout: float) -> tuple[int, str]:
        """Say something and wait for its whole answer; raises _Silent, or _NotSaid when not a byte was written."""
        try:
            async with asyncio.timeout(timeout):
                if not self.is_open or self._heard:  # words that nobody asked for: a 421 before it hangs up, or garbage
                    return self._unasked()
                self.transport.write(words)
                await self._may_write.wait()
                return await self._answer()
        except (TimeoutError, OSError) as error:
            raise _Silent from error

    async def hang_up(self) -> None:
        """Close in order (TLS says goodbye too); a peer that does not answer is cut off."""
        self.transport.close()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._gone.wait(), 1)
        self.transport.abort()

    def _unasked(self) -> tuple[int, str]:
        found = _REPLY.match(self._heard)
        if found is None or found[1][:3] != b"421":
            raise _NotSaid
        return self._read(found)

    async def _answer(self) -> tuple[int, str]:
        while (found := _REPLY.match(self._heard)) is None:
            if not self.is_open or len(self._heard) > REPLY_LIMIT or _is_garbage(self._heard):
                raise _Silent
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        return self._read(found)

    def _read(self, found: re.Match[bytes]) -> tuple[int, str]:
        code, told = int(found[1]), found[0].decode("utf-8", "replace").split("\n")
        del self._heard[: found.end()]
        words = " ".join(line[4:] for line in told)
        return code, " ".join("".join(letter if letter.isprintable() else " " for letter in words).split())


def _is_garbage(heard: bytearray) -> bool:
    """Whether a whole line came that is no line of a reply."""
    line, ended, _ = bytes(heard).partition(b"\n")
    return bool(ended) and not re.match(rb"\d{3}[ \-\r]?", line)


class Connection:
    """An open, signed-in connection."""

    def __init__(self, client: aiosmtplib.SMTP, timeouts: Timeouts) -> None:
        transport = client.transport
        if not isinstance(transport, asyncio.Transport):
            raise ConnectionFailed(Reply(Step.CONNECT, 0))
        self._client = client  # holds what the server offers
        self._timeouts = timeouts
        self._talk = _Conversation(transport)
        transport.set_protocol(self._talk)

    @classmethod
    async def open(
        cls, relay: RelayAddress, *, timeouts: Timeouts = Timeouts(), tls_context: ssl.SSLContext | None = None
    ) -> "Connection":
        """Connect, secure and sign in; ConnectionFailed says why it could not."""
        client = aiosmtplib.SMTP(
            hostname=relay.host,
            port=relay.port,
            username=relay.username,
            password=relay.password,
            use_tls=relay.tls == "implicit",
            start_tls=relay.tls == "starttls",
            tls_context=tls_context,
            local_hostname=LOCAL_NAME,
            timeout=timeouts.step,
        )
        try:
            await client.connect()
            if client.is_ehlo_or_helo_needed:
                await client.ehlo()
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            client.close()
            await asyncio.sleep(0.01)  # the loop says goodbye to the socket before it may be closed itself
            raise ConnectionFailed(_reply_of(error, Step.CONNECT)) from error
        return cls(client, timeouts)

    async def hand_over(self, sender: str, recipient: str, mail: bytes) -> Reply:
        """Give one mail to the server and return its answer; the step tells how far it got.

        ConnectionFailed: the connection was lost before the content left, so the mail surely did not.
        A reply of code 0 at Step.MESSAGE: the content left and no clear answer came.
        """
        if not recipient.isascii() and not self._client.supports_extension("smtputf8"):
            return Reply(Step.RCPT, 553, "5.6.7 SMTPUTF8 not offered")
        if _FORBIDDEN.search(recipient) or _FORBIDDEN.search(sender):
            return Reply(Step.RCPT, 553, "5.1.3 not an address")
        options = self._options(recipient, mail)
        reply = await self._command(Step.MAIL, f"MAIL FROM:<{sender}>{options}")
        if reply.code == 250:
            reply = await self._command(Step.RCPT, f"RCPT TO:<{recipient}>")
            if reply.code in {250, 251}:
                reply = await self._command(Step.DATA, "DATA")
                if reply.code == 354:
                    return await self._content(mail)
        await self._reset(reply)
        return reply

    def _options(self, recipient: str, mail: bytes) -> str:
        offered = self._client.supports_extension
        options = "" if recipient.isascii() else " SMTPUTF8"
        options += " BODY=8BITMIME" if offered("8bitmime") else ""
        return options + (f" SIZE={len(mail)}" if offered("size") else "")

    async def _command(self, step: Step, words: str) -> Reply:
        try:
            code, text = await self._talk.ask(words.encode() + b"\r\n", self._timeouts.step)
        except _Silent as error:
            self.drop()
            raise ConnectionFailed(Reply(step, 0)) from error
        if code == 421:
            self.drop()
        return Reply(step, code, text)

    async def _content(self, mail: bytes) -> Reply:
        if not self.is_open:  # closed before a byte of the content left
            raise ConnectionFailed(Reply(Step.DATA, 0))
        ended = mail if mail.endswith(b"\r\n") else mail + b"\r\n"
        try:
            code, text = await self._talk.ask(_LEADING_DOT.sub(b"..", ended) + b".\r\n", self._timeouts.message)
        except _NotSaid as error:
            self.drop()
            raise ConnectionFailed(Reply(Step.DATA, 0)) from error
        except _Silent:
            self.drop()
            return Reply(Step.MESSAGE, 0)
        if not 200 <= code <= 299 or code == 421:
            await self._reset(Reply(Step.MESSAGE, code))
        return Reply(Step.MESSAGE, code, text)

    async def _reset(self, reply: Reply) -> None:
        """After a refused transaction the next begins clean; if even that fails the connection is dropped."""
        if reply.code == 421:
            self.drop()
        elif self.is_open:
            try:
                await self._talk.ask(b"RSET\r\n", self._timeouts.step)
            except _Silent:
                self.drop()

    @property
    def is_open(self) -> bool:
        return self._talk.is_open

    def drop(self) -> None:
        """Close without ceremony."""
        self._talk.is_open = False
        self._talk.transport.abort()

    async def leave(self) -> None:
        """Say goodbye; a server that does not answer is left."""
        if self.is_open:
            with suppress(_Silent):
                await self._talk.ask(b"QUIT\r\n", 2)
        await self._talk.hang_up()


def _reply_of(error: Exception, step: Step) -> Reply:
    """What an error of the library says in the server's own terms."""
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return Reply(step, error.code, error.message)
    if isinstance(error, ssl.SSLError) or isinstance(error.__cause__, ssl.SSLError):
        return Reply(step, 454, "4.7.5 the certificate was not accepted")
    if isinstance(error, aiosmtplib.SMTPException) and not isinstance(error, OSError):
        # What we were told to use is not offered: the library says which in words only.
        return Reply(step, 535, "5.7.8 not offered") if "AUTH" in str(error) else Reply(step, 454, "4.7.5 not offered")
    return Reply(step, 0)
