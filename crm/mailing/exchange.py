"""Mails one after another over an open connection (RFC 5321). Where the server offers PIPELINING (RFC 2920) the next envelope
travels with the content before it; elsewhere each command waits for its answer.

The ledger must know at which step an answer came, above all whether the content of a mail had left when a line broke.
"""

import asyncio
import os
import re
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from crm.mailing.faults import Reply, Step

STEP_SECONDS = 60.0
"""Longest wait for an answer to one command."""
MESSAGE_SECONDS = 180.0
"""Longest wait after the final dot (RFC 5321, 4.5.3.2.6 allows ten minutes; the lease of a delivery outlives this)."""
REPLY_LIMIT = 64 * 1024
"""Most bytes of one reply; a server that says more is not listened to."""
WRITE_BUFFER = 16 * 2**20
TLS_RECORD = 256
"""More bytes than TLS adds to a record (RFC 8446, 5.2: 22; older ones less than 100)."""
_CODES = {b"%d" % code: code for code in range(200, 600)}
"""The codes that a reply may begin with (RFC 5321, 4.2), by how they are written."""
_LEADING_DOT = re.compile(rb"(?m)^\.")
_ALL_YES = re.compile(rb"250 ([^\r\n]*)\r\n250 [^\r\n]*\r\n25[01] [^\r\n]*\r\n354 [^\r\n]*\r\n")
"""What a server says to a content and to the envelope behind it when it takes both."""
_FORBIDDEN = re.compile(r"[\x00-\x20<>\x7f]")


@dataclass(frozen=True)
class Timeouts:
    step: float = STEP_SECONDS
    message: float = MESSAGE_SECONDS


PATIENT = Timeouts()


@dataclass(frozen=True)
class Offers:
    """What a server said that it can do (EHLO)."""

    pipelining: bool = False
    eight_bit: bool = False
    size: bool = False
    utf8: bool = False


@dataclass(eq=False, slots=True)
class Outgoing:
    """A mail on its way. ``content`` is ready for the wire: CRLF lines, no leading dot, a line break at its end; in parts, so
    that what many mails share is never copied."""

    sender: str
    recipient: str
    content: Sequence[bytes]
    is_begun: bool = False
    """Whether a byte of its content may have left."""
    refusal: Reply | None = None
    """The first answer that refused it, while the others of its envelope are still to come."""
    has_recipient: bool = True
    """Whether its recipient may have been taken, whatever else was refused."""


M = TypeVar("M", bound=Outgoing)


class Source(Protocol[M]):
    """Where an exchange gets its mails, and whom it tells what became of them; called in the loop's thread."""

    def take(self) -> M | None:
        """The next mail that may leave now."""

    def begun(self, mail: M) -> bool:
        """The first byte of its content is about to leave; False: it may not any more."""

    def ended(self, mail: M, reply: Reply | None) -> None:
        """What the server said of it. None: nothing of it left and nobody is to blame. Code 0: no answer could be read; at
        Step.MESSAGE its content had left, at any other step it surely had not."""

    def rests(self, exchange: "Exchange[M]") -> None:
        """There was nothing to take; `Exchange.go_on` wakes it."""


def for_the_wire(content: bytes) -> list[bytes]:
    """Any mail as `Outgoing.content`: dots doubled (RFC 5321, 4.5.2), a line break at its end."""
    return [_LEADING_DOT.sub(b"..", content if content.endswith(b"\r\n") else content + b"\r\n")]


@dataclass(frozen=True, eq=False, slots=True)
class _Ask:
    """Something said to the server that waits for its answer."""

    step: Step = Step.CONNECT
    """Where a mail is when it is answered; the default is of those that are about no mail."""
    taken: tuple[int, ...] = (250,)
    """The answers that mean yes."""


_MAIL, _RCPT, _DATA = _Ask(Step.MAIL), _Ask(Step.RCPT, (250, 251)), _Ask(Step.DATA, (354,))
_MESSAGE = _Ask(Step.MESSAGE)
_VOID = _Ask()
"""A lone dot after a refused envelope."""
_RESET, _QUIT = _Ask(), _Ask()


class Exchange(asyncio.BufferedProtocol, Generic[M]):
    """The talk over one transport that is open, secured and signed in; it takes mails from its source until it is closed."""

    def __init__(self, transport: asyncio.Transport, offers: Offers, source: Source[M], timeouts: Timeouts) -> None:
        self.transport, self.offers, self.source, self.timeouts = transport, offers, source, timeouts
        self.accepted = 0
        self._loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[None] = self._loop.create_future()
        self._expected: deque[tuple[_Ask, M | None]] = deque()
        self._buffer = memoryview(bytearray(REPLY_LIMIT))
        self._heard, self._more = b"", False
        self._words: list[bytes] = []
        self._idle, self._leaving, self._timed_out, self._gone = True, False, False, False
        self._behind = 0
        """Bytes written behind the content that waits for its answer: the next envelope."""
        self._unwritten: Sequence[bytes] = ()
        """The content that is about to leave, and what follows it."""
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._options = (b" BODY=8BITMIME" if offers.eight_bit else b"") + (b" SIZE=%d" if offers.size else b"")
        is_plain = transport.get_extra_info("ssl_object") is None
        self._file: int | None = transport.get_extra_info("socket").fileno() if is_plain else None
        """Where bytes may be written without asyncio: not where they are encrypted first."""
        transport.set_write_buffer_limits(high=WRITE_BUFFER)
        transport.set_protocol(self)

    @property
    def is_open(self) -> bool:
        return not self.closed.done() and not self.transport.is_closing()

    def go_on(self) -> None:
        """Take the next mail, if nothing is under way."""
        if self._idle and not self._leaving and self.is_open:
            self._next()

    async def leave(self) -> None:
        """Say goodbye and close; a server that does not answer is left."""
        self._leaving = True
        if self.is_open and not self._expected:
            self._say(b"QUIT\r\n", (_QUIT, None))
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self.closed), min(2, self.timeouts.step))
        self.transport.close()
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self.closed), 1)
        self.transport.abort()

    # --- what the transport tells; the names are asyncio's ----------------------------------------------------------------

    def get_buffer(self, _sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        heard = self._heard + bytes(self._buffer[:nbytes])
        if len(self._expected) == 4 and not self._words and (yes := _ALL_YES.fullmatch(heard)):
            (ask, mail), *_, (_, following) = self._expected
            if ask is _MESSAGE and mail is not None and following is not None:
                return self._all_taken(mail, yes[1], following)
        lines = heard.split(b"\n")
        self._heard, left = lines.pop(), len(lines)
        is_answered = False
        for line in lines:
            left -= 1
            code, sign = _CODES.get(line[:3]), line[3:4]
            if code is None or sign not in (b" ", b"-", b"", b"\r") or (sign == b"\r" and len(line) > 4):
                return self._hang_up()
            self._words.append(line[4:].rstrip(b"\r"))
            if sign == b"-":
                continue
            said, self._words, self._more = self._words, [], left > 0 or bool(self._heard)
            self._answered(code, said)
            if self._gone:
                return None
            is_answered = True
        if is_answered and self._expected:  # not before: who drips a reply byte by byte has no more time for it than others
            self._wait()
        if len(self._heard) + sum(len(words) + 4 for words in self._words) > REPLY_LIMIT:
            self._hang_up()
        return None

    def _all_taken(self, mail: M, words: bytes, following: M) -> None:
        """`_answered`, four times, for what nearly always comes at once: yes to a content and to the envelope behind it."""
        self._heard, self._more = b"", False
        self._expected.popleft()
        self._judged(mail, 250, _clean([words]))
        if not self._gone:
            self._expected.clear()
            self._content(following)
        if not self._gone:
            self._wait()

    def connection_lost(self, _error: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        told: set[int] = set()
        for ask, mail in self._expected:
            if mail is not None and id(mail) not in told:
                self.source.ended(mail, self._last_word(ask, mail, is_first=not told))
                told.add(id(mail))
        self._expected.clear()
        if not self.closed.done():
            self.closed.set_result(None)

    def _last_word(self, ask: _Ask, mail: M, *, is_first: bool) -> Reply | None:
        """What a line that broke says of a mail."""
        if mail.is_begun:  # at most one of a connection, and of that one nothing has left before it is written
            return None if self._unwritten else Reply(Step.MESSAGE, 0)
        if mail.refusal is not None:
            return mail.refusal
        patience_ended = ask is _MAIL and self.accepted > 0 and not self._timed_out
        return Reply(ask.step, 0) if is_first and not patience_ended else None

    # --- time ---------------------------------------------------------------------------------------------------------------

    def _wait(self) -> None:
        """Give the answer that is waited for its time."""
        ask = self._expected[0][0]
        self._deadline = self._loop.time() + (self.timeouts.message if ask is _MESSAGE else self.timeouts.step)
        if self._timer is not None and self._timer.when() > self._deadline:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer = self._loop.call_at(self._deadline, self._look)

    def _look(self) -> None:
        self._timer = None
        if not self._expected or not self.is_open:
            return
        if self._loop.time() >= self._deadline:
            self._timed_out = True
            self._hang_up()
        else:
            self._timer = self._loop.call_at(self._deadline, self._look)

    # --- the talk -----------------------------------------------------------------------------------------------------------

    def _say(self, words: bytes, *asks: tuple[_Ask, M | None]) -> None:
        waits = bool(self._expected)
        self._expected.extend(asks)
        self.transport.write(words)
        if not waits:
            self._wait()

    def _hang_up(self) -> None:
        self._heard, self._gone = b"", True
        self.transport.abort()

    def _take(self) -> M | None:
        """The next mail that this server can be given at all."""
        while not self._leaving and (mail := self.source.take()) is not None:
            if not mail.recipient.isascii() and not self.offers.utf8:
                self.source.ended(mail, Reply(Step.RCPT, 553, "5.6.7 SMTPUTF8 not offered"))
            elif _FORBIDDEN.search(mail.recipient):
                self.source.ended(mail, Reply(Step.RCPT, 553, "5.1.3 not an address"))
            elif _FORBIDDEN.search(mail.sender):
                self.source.ended(mail, Reply(Step.MAIL, 553, "5.1.7 the sender is not an address"))
            else:
                return mail
        return None

    def _next(self, before: bytes = b"") -> None:
        """Begin another mail; ``before`` is an RSET that travels with its envelope."""
        mail = self._take()
        reset: list[tuple[_Ask, M | None]] = [(_RESET, None)] if before else []
        self._idle = mail is None and not reset
        if mail is not None:
            words, asks = self._envelope(mail)
            self._say(before + words, *reset, *asks)
        elif reset:
            self._say(before, *reset)
        else:
            self.source.rests(self)

    def _envelope(self, mail: M) -> tuple[bytes, tuple[tuple[_Ask, M | None], ...]]:
        """What opens a transaction: all of it at once where the server takes that."""
        options = self._options if mail.recipient.isascii() else b" SMTPUTF8" + self._options
        if self.offers.size:
            options %= sum(map(len, mail.content))
        opening = b"MAIL FROM:<%b>%b\r\n" % (mail.sender.encode(), options)
        if not self.offers.pipelining:
            return opening, ((_MAIL, mail),)
        return opening + b"RCPT TO:<%b>\r\nDATA\r\n" % mail.recipient.encode(), ((_MAIL, mail), (_RCPT, mail), (_DATA, mail))

    def _answered(self, code: int, words: list[bytes]) -> None:
        if not self._expected:  # words that nobody asked for: a 421 before it hangs up, or garbage
            return self._hang_up()
        ask, mail = self._expected.popleft()
        if code == 421:
            return self._sent_away(ask, mail, _clean(words))
        if mail is None:
            return self._cleared(ask, code)
        if ask is _MESSAGE:
            return self._judged(mail, code, _clean(words))
        taken = code in ask.taken
        if not taken and mail.refusal is None:
            mail.refusal = Reply(ask.step, code, _clean(words))
        if ask is _RCPT and code >= 400:
            mail.has_recipient = False
        if ask is _DATA:
            return self._may_write(mail, taken)
        if not self.offers.pipelining:
            self._step(ask, mail)
        return None

    def _sent_away(self, ask: _Ask, mail: M | None, text: str) -> None:
        """The server hangs up. Before a new mail, after mails that it took, its patience had ended: nobody is to blame."""
        self._expected = deque((one, other) for one, other in self._expected if other is not mail)
        if mail is not None:
            patience_ended = ask is _MAIL and self.accepted > 0
            self.source.ended(mail, mail.refusal or (None if patience_ended else Reply(ask.step, 421, text)))
        self._hang_up()

    def _cleared(self, ask: _Ask, code: int) -> None:
        """The answer to something that is about no mail."""
        if ask is _VOID:
            self._next(b"RSET\r\n")
        elif ask is _QUIT or code != 250:
            self._hang_up()
        elif not self._expected:
            self._next()

    def _step(self, ask: _Ask, mail: M) -> None:
        """In lockstep: the next command of the envelope, or a clean slate after a refusal."""
        if mail.refusal is not None:
            self.source.ended(mail, mail.refusal)
            self._next(b"RSET\r\n")
        elif ask is _MAIL:
            self._say(b"RCPT TO:<%b>\r\n" % mail.recipient.encode(), (_RCPT, mail))
        else:
            self._say(b"DATA\r\n", (_DATA, mail))

    def _may_write(self, mail: M, taken: bool) -> None:
        if mail.refusal is None:
            self._content(mail)
            return
        self.source.ended(mail, mail.refusal)
        if taken and mail.has_recipient:  # a lone dot would reach somebody, as an empty mail
            self._hang_up()
        elif taken:  # every recipient was refused and it waits for content all the same (RFC 2920, 3.1)
            self._say(b".\r\n", (_VOID, None))
        else:
            self._next(b"RSET\r\n")

    def _content(self, mail: M) -> None:
        """Write the content, and the envelope of the mail after it."""
        if self._more:  # it answered what nobody asked: nothing of the content leaves
            self.source.ended(mail, Reply(Step.DATA, 0))
            return self._hang_up()
        if not self.source.begun(mail):
            self.source.ended(mail, None)
            return self._hang_up()
        mail.is_begun = True
        self._expected.append((_MESSAGE, mail))
        following = self._take() if self.offers.pipelining else None
        words, asks = self._envelope(following) if following else (b"", ())
        self._expected.extend(asks)
        self._behind = len(words)
        self._unwritten = [*mail.content, b".\r\n" + words]
        self._loop.call_soon(self._write)
        return None

    def _write(self) -> None:
        """Let the content leave, after the words of all connections that had something to say were read: both go quicker in a row
        (measured: a quarter), since the kernel's work between takes the processor's caches with it."""
        if self.is_open:
            parts, self._unwritten = self._unwritten, ()
            waits = self.transport.get_write_buffer_size() > 0
            sent = 0 if waits or self._file is None else _written(self._file, parts)
            if not sent:
                self.transport.writelines(parts)
            elif left := b"".join(parts)[sent:]:
                self.transport.write(left)

    def _judged(self, mail: M, code: int, text: str) -> None:
        if self._unwritten:  # it answered what nobody asked: nothing of the content leaves
            self.source.ended(mail, Reply(Step.DATA, 0))
            return self._hang_up()
        if code == 250 and _unsent(self.transport, self._behind):
            self.source.ended(mail, Reply(Step.MESSAGE, 0, "250 before all of the content had left"))
            return self._hang_up()
        self.source.ended(mail, Reply(Step.MESSAGE, code, text))
        self.accepted += code == 250
        if code != 250 and not 400 <= code <= 599:
            self._hang_up()
        elif not self._expected:
            self._next(b"" if code == 250 else b"RSET\r\n")
        return None


def _written(file: int, parts: Sequence[bytes]) -> int:
    """Bytes that the kernel took from the parts as they lie. Before Python 3.12 asyncio puts them in one piece first: at 400 KB
    a mail a fifth fewer leave so (measured)."""
    try:
        return os.writev(file, parts)
    except OSError:  # the transport meets it too, and tells
        return 0


def _unsent(transport: asyncio.Transport, behind: int) -> bool:
    """Whether bytes other than the ``behind`` last ones are still in this process: surely nobody has read them. Where asyncio
    encrypts, they wait in the transport beneath, in records."""
    left, secured = transport.get_write_buffer_size(), getattr(transport, "_ssl_protocol", None)
    beneath = None if secured is None else secured._transport
    return left > behind if beneath is None else left + int(beneath.get_write_buffer_size()) > behind + TLS_RECORD


def _clean(words: list[bytes]) -> str:
    """The words of a reply in one printable line."""
    text = b" ".join(words).decode("utf-8", "replace")
    text = text if text.isprintable() else "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(text.split())
