"""A mail server that offers PIPELINING and answers at each step as a test says: late, wrong, in pieces, or not at all. Usual
answers leave together, once it has nothing more to read, as those of Postfix and Exim do."""

import re
import socket
import socketserver
import ssl
import struct
import time
from base64 import b64decode
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Lock, Thread
from typing import Protocol, TypeVar

from crm.config import RelayAddress, Tls

Answer = bytes | Callable[["Talk"], None]
"""Words instead of the usual ones, or something that the connection does."""
_EHLO = b"250-rude\r\n%b250-SIZE 100000000\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n"
_REFUSED = b"334 eyJzdGF0dXMiOiI0MDEiLCJzY2hlbWVzIjoiYmVhcmVyIn0=\r\n"
"""Exchange's challenge to a token that it does not take; the client says nothing, and only then hears the refusal."""


class Talk(socketserver.BaseRequestHandler):
    """One connection."""

    server: "RudeServer"

    def setup(self) -> None:
        self.heard, self.unsaid, self.mails, self.taken, self.recipient = b"", b"", 0, False, ""
        self.is_known, self.token = self.server.knows is None, ""
        with self.server.lock:
            self.server.connections += 1
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def handle(self) -> None:
        with suppress(OSError, EOFError):
            if self.server.tls is not None:
                self.request = self.server.tls.wrap_socket(self.request, server_side=True)
            self.say("banner", b"220 rude\r\n")
            while True:
                self.obey(self.until(b"\r\n"))

    def finish(self) -> None:
        with suppress(OSError):  # the client may be gone
            self.let_leave()
        if self.server.tls is not None:  # the server closes only the socket that it opened
            self.request.close()

    def obey(self, line: bytes) -> None:
        verb = line[:4].upper()
        if verb == b"EHLO":
            offers = b"250-PIPELINING\r\n" if self.server.pipelining else b""
            self.say("ehlo", _EHLO % (offers + (b"" if self.is_known else b"250-AUTH LOGIN XOAUTH2\r\n")))
        elif verb == b"AUTH":
            self.sign_in(line)
        elif not self.is_known:
            self.unsaid += b"530 5.7.57 Client not authenticated to send mail\r\n"
        elif verb == b"MAIL":
            self.taken = False
            self.say("mail", b"250 2.1.0 ok\r\n")
        elif verb == b"RCPT":
            found = re.search(rb"<(.*?)>", line)
            self.recipient = found[1].decode() if found else ""
            self.taken = self.say("rcpt", b"250 2.1.5 ok\r\n")
        elif verb == b"DATA":
            if self.say("data", b"354 go\r\n" if self.taken else b"503 5.5.1 no recipients\r\n"):
                self.content()
        elif verb == b"QUIT":
            self.unsaid += b"221 bye\r\n"
            raise EOFError
        else:
            self.say("rset", b"250 ok\r\n")

    def sign_in(self, line: bytes) -> None:
        told = re.fullmatch(rb"user=(.*?)\x01auth=Bearer (.*?)\x01\x01", b64decode(line.rpartition(b" ")[2]))
        with self.server.lock:
            self.server.sign_ins += 1
        assert self.server.knows is not None
        assert told is not None
        self.token = told[2].decode()
        self.is_known = self.server.knows(told[1].decode(), self.token)
        if self.is_known:
            self.unsaid += b"235 2.7.0 Authentication successful\r\n"
            return
        self.unsaid += _REFUSED
        assert self.until(b"\r\n") == b""
        self.say("auth", b"535 5.7.3 Authentication unsuccessful\r\n")

    def content(self) -> None:
        empty = self.heard.startswith(b".\r\n") or (not self.heard and self.peek(b".\r\n"))
        if empty:
            self.heard = self.heard[3:]
        else:
            self.until(b"\r\n.\r\n")
        if not self.taken:
            self.unsaid += b"554 5.5.1 no valid recipients\r\n"
            return
        self.server.contents.append(0 if empty else 1)
        if self.say("dot", b"250 2.0.0 ok\r\n"):
            self.keep()

    def keep(self) -> None:
        """The mail counts as delivered."""
        with self.server.lock:
            self.server.kept[self.recipient] += 1
        self.mails += 1

    def say(self, step: str, usual: bytes) -> bool:
        """Answer a step; whether the answer was yes."""
        words = self.server.at(step, self)
        if callable(words):
            self.let_leave()
            words(self)
            return False
        self.unsaid += usual if words is None else words
        return (usual if words is None else words)[:1] in b"23"

    def until(self, end: bytes) -> bytes:
        while end not in self.heard:
            self.more()
        line, _, self.heard = self.heard.partition(end)
        return line

    def peek(self, beginning: bytes) -> bool:
        while len(self.heard) < len(beginning):
            self.more()
        return self.heard.startswith(beginning)

    def let_leave(self) -> None:
        unsaid, self.unsaid = self.unsaid, b""
        self.request.sendall(unsaid)

    def more(self) -> None:
        self.let_leave()
        got = self.request.recv(65536)
        if not got:
            raise EOFError
        self.heard += got


class RudeServer(socketserver.ThreadingTCPServer):
    """``at(step, talk)``: what to answer at banner, ehlo, auth (refused), mail, rcpt, data, dot and rset; None: as every server
    does. With ``knows(user, token)`` it wants a sign-in by XOAUTH2."""

    daemon_threads = True
    request_queue_size = 100

    def __init__(
        self,
        at: Callable[[str, Talk], Answer | None] = lambda _step, _talk: None,
        *,
        pipelining: bool = True,
        knows: Callable[[str, str], bool] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.at, self.pipelining, self.knows, self.tls = at, pipelining, knows, tls
        self.kept: Counter[str] = Counter()
        self.contents: list[int] = []
        self.connections = self.sign_ins = 0
        self.lock, self.is_over = Lock(), Event()
        super().__init__(("127.0.0.1", 0), Talk)

    @property
    def relay(self) -> RelayAddress:
        tls: Tls = "implicit" if self.tls else "none"
        return RelayAddress(host="127.0.0.1", port=self.server_address[1], tls=tls, per_minute=None)


class Ending(Protocol):
    """A server of the standard library whose answers end when it is over."""

    is_over: Event

    def serve_forever(self, poll_interval: float = ...) -> None: ...
    def shutdown(self) -> None: ...
    def server_close(self) -> None: ...


E = TypeVar("E", bound=Ending)


@contextmanager
def serving(server: E) -> Iterator[E]:
    """A server at work in a thread of its own, gone at the end."""
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.is_over.set()
        server.shutdown()
        server.server_close()
        thread.join()


# --- things that a connection does ------------------------------------------------------------------------------------------


def drop(talk: Talk) -> None:
    raise EOFError


def reset(talk: Talk) -> None:
    talk.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raise EOFError


def keep_and_drop(talk: Talk) -> None:
    talk.keep()
    raise EOFError


def silent(talk: Talk) -> None:
    while True:
        talk.more()


def yes_too_early(talk: Talk) -> None:
    """It goes on, says yes to a content that it has not read, and reads no more."""
    talk.request.sendall(b"354 go\r\n")
    talk.more()
    talk.request.sendall(b"250 2.0.0 ok\r\n")
    while not talk.server.is_over.wait(0.02):
        continue
    raise EOFError


def in_pieces(words: bytes, seconds: float = 0.002) -> Answer:
    """Byte by byte."""

    def speak(talk: Talk) -> None:
        for position in range(len(words)):
            talk.request.sendall(words[position : position + 1])
            time.sleep(seconds)

    return speak
