"""A mail server that offers PIPELINING and answers at each step as a test says: late, wrong, in pieces, or not at all."""

import re
import socket
import socketserver
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Lock, Thread

from crm.config import RelayAddress

Answer = bytes | Callable[["Talk"], None]
"""Words instead of the usual ones, or something that the connection does."""
_EHLO = b"250-rude\r\n%b250-SIZE 100000000\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n"


class Talk(socketserver.BaseRequestHandler):
    """One connection."""

    server: "RudeServer"

    def setup(self) -> None:
        self.heard, self.mails, self.taken, self.recipient = b"", 0, False, ""
        with self.server.lock:
            self.server.connections += 1
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def handle(self) -> None:
        with suppress(OSError, EOFError):
            self.say("banner", b"220 rude\r\n")
            while True:
                self.obey(self.until(b"\r\n"))

    def obey(self, line: bytes) -> None:
        verb = line[:4].upper()
        if verb == b"EHLO":
            self.say("ehlo", _EHLO % (b"250-PIPELINING\r\n" if self.server.pipelining else b""))
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
            self.request.sendall(b"221 bye\r\n")
            raise EOFError
        else:
            self.say("rset", b"250 ok\r\n")

    def content(self) -> None:
        empty = self.heard.startswith(b".\r\n") or (not self.heard and self.peek(b".\r\n"))
        if empty:
            self.heard = self.heard[3:]
        else:
            self.until(b"\r\n.\r\n")
        if not self.taken:
            self.request.sendall(b"554 5.5.1 no valid recipients\r\n")
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
            words(self)
            return False
        self.request.sendall(usual if words is None else words)
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

    def more(self) -> None:
        got = self.request.recv(65536)
        if not got:
            raise EOFError
        self.heard += got


class RudeServer(socketserver.ThreadingTCPServer):
    """``at(step, talk)``: what to answer at banner, ehlo, mail, rcpt, data, dot and rset; None: as every server does."""

    daemon_threads = True
    request_queue_size = 100

    def __init__(self, at: Callable[[str, Talk], Answer | None] = lambda _step, _talk: None, *, pipelining: bool = True) -> None:
        self.at, self.pipelining = at, pipelining
        self.kept: Counter[str] = Counter()
        self.contents: list[int] = []
        self.connections = 0
        self.lock = Lock()
        super().__init__(("127.0.0.1", 0), Talk)

    @property
    def relay(self) -> RelayAddress:
        return RelayAddress(host="127.0.0.1", port=self.server_address[1], tls="none", per_minute=None)


@contextmanager
def rude(server: RudeServer) -> Iterator[RudeServer]:
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
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


def in_pieces(words: bytes) -> Answer:
    def speak(talk: Talk) -> None:
        for position in range(len(words)):
            talk.request.sendall(words[position : position + 1])
            time.sleep(0.002)

    return speak
