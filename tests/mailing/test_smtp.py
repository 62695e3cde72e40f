"""One connection against a real, sometimes rude, mail server."""

import asyncio
import socket
import socketserver
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Thread

import pytest
import trustme

from crm.config import RelayAddress
from crm.mailing import smtp
from crm.mailing.exchange import Exchange, Outgoing, Timeouts, _unsent, for_the_wire
from crm.mailing.faults import Reply, Step, Verdict, judge
from crm.mailing.smtp import ConnectionFailed, connect
from tests.mailing.mail_server import DROP, MailServer, running
from tests.mailing.rude_server import RudeServer, Talk, in_pieces, serving, yes_too_early

MAIL = b"Subject: x\r\n\r\n.hola\r\n..\r\nfin"
QUICK = Timeouts(step=2, message=2)


def hand_over(
    relay: RelayAddress,
    *recipients: str,
    content: bytes = MAIL,
    parts: Sequence[bytes] = (),
    tls_context: ssl.SSLContext | None = None,
) -> list[Reply]:
    """What a server says of one mail to each, on one connection; ConnectionFailed when its door does not open."""
    source = Given([Outgoing("red@example.org", recipient, parts or for_the_wire(content)) for recipient in recipients])

    async def conversation() -> None:
        exchange = await connect(relay, source, timeouts=QUICK, tls_context=tls_context)
        exchange.go_on()
        while not exchange.closed.done() and not source.is_told:
            await asyncio.sleep(0.005)
        await exchange.leave()

    asyncio.run(conversation())
    return source.replies


class Given:
    """Some mails in order, and what became of each."""

    def __init__(self, mails: list[Outgoing]) -> None:
        self.mails, self.told, self.is_told = deque(mails), dict[str, Reply | None](), False

    @property
    def replies(self) -> list[Reply]:
        return [reply for reply in self.told.values() if reply is not None]

    def take(self) -> Outgoing | None:
        return self.mails.popleft() if self.mails else None

    def begun(self, mail: Outgoing) -> bool:
        assert mail.recipient not in self.told
        return True

    def ended(self, mail: Outgoing, reply: Reply | None) -> None:
        assert mail.recipient not in self.told
        self.told[mail.recipient] = reply

    def rests(self, exchange: Exchange[Outgoing]) -> None:
        self.is_told = True


def test_hands_over_mails_whole_on_one_connection() -> None:
    with running() as server:
        replies = hand_over(server.relay, "ana@example.org", "luz@example.org")
    assert [reply.code for reply in replies] == [250, 250]
    assert [mail.recipient for mail in server.accepted] == ["ana@example.org", "luz@example.org"]
    assert {mail.content for mail in server.accepted} == {MAIL + b"\r\n"}


@pytest.mark.parametrize(("count", "size"), [(3, 100), (40, 60_000), (3000, 78), (2, 6_000_000)])
def test_hands_over_every_part_once_and_in_order(count: int, size: int) -> None:
    """Also more parts than the system takes at once, and more bytes than its buffers hold."""
    parts = [f"{number} ".encode() + (b"x" * 70 + b"\r\n") * (size // 72) + b"\r\n" for number in range(count)]
    with running() as server:
        replies = hand_over(server.relay, "ana@example.org", "luz@example.org", parts=parts)
    assert [reply.code for reply in replies] == [250, 250]
    assert [mail.content == b"".join(parts) for mail in server.accepted] == [True, True]


def test_goes_on_after_a_refused_recipient() -> None:
    with running(MailServer(on_rcpt=lambda address: "550 5.1.1 unknown" if "nadie" in address else None)) as server:
        replies = hand_over(server.relay, "nadie@example.org", "ana@example.org")
    assert [(reply.step, reply.code) for reply in replies] == [(Step.RCPT, 550), (Step.MESSAGE, 250)]


def test_offers_smtputf8_only_where_it_is_needed() -> None:
    with running() as server:
        assert hand_over(server.relay, "peña@example.org")[0].code == 250
    assert server.accepted[0].recipient == "peña@example.org"


@pytest.mark.parametrize(
    ("rude", "step", "verdict"),
    [
        (lambda server: setattr(server, "on_mail", lambda _: DROP), Step.MAIL, Verdict.SYSTEM),
        (lambda server: setattr(server, "on_rcpt", lambda _: DROP), Step.RCPT, Verdict.SYSTEM),
        (lambda server: setattr(server, "on_rcpt", lambda _: "421 4.3.2 closing"), Step.RCPT, Verdict.SYSTEM),
    ],
)
def test_is_sure_that_nothing_left_when_the_line_breaks_before_the_content(
    rude: Callable[[MailServer], None], step: Step, verdict: Verdict
) -> None:
    server = MailServer()
    rude(server)
    with running(server):
        reply = hand_over(server.relay, "ana@example.org")[0]
    assert reply.step is step
    assert judge(reply).verdict is verdict
    assert server.accepted == []


def test_is_in_doubt_when_the_line_breaks_after_the_content() -> None:
    with running(MailServer(on_data=lambda _: DROP)) as server:
        reply = hand_over(server.relay, "ana@example.org")[0]
    assert (reply.step, reply.code) == (Step.MESSAGE, 0)
    assert judge(reply).verdict is Verdict.IN_DOUBT
    assert len(server.accepted) == 1


@pytest.mark.parametrize("words", [None, b"550 5.7.1 no\r\n", b"250 2.0.0 ok\r\n"])
def test_is_sure_of_a_content_that_was_only_about_to_be_written(words: bytes | None) -> None:
    """Between the last question whether a mail may leave and its writing the line breaks, or the server answers what it has not
    seen: nothing of the content leaves any more, and nobody is in doubt of it."""

    class Hasty(Given):
        exchange: Exchange[Outgoing]

        def begun(self, mail: Outgoing) -> bool:
            asyncio.get_running_loop().call_soon(self.happens)
            return super().begun(mail)

        def happens(self) -> None:
            if words is None:
                self.exchange.transport.abort()
            else:
                self.exchange.get_buffer(-1)[: len(words)] = words
                self.exchange.buffer_updated(len(words))

    async def conversation(relay: RelayAddress, source: Hasty) -> None:
        source.exchange = await connect(relay, source, timeouts=QUICK)
        source.exchange.go_on()
        await asyncio.wait_for(source.exchange.closed, 5)

    mails = [Outgoing("red@example.org", f"{name}@example.org", for_the_wire(MAIL)) for name in ("ana", "luz")]
    source = Hasty(mails[:1] if words is None else mails)
    with running() as server:
        asyncio.run(conversation(server.relay, source))
    assert server.accepted == []
    told = source.told["ana@example.org"]
    assert told is None if words is None else (told is not None and judge(told).verdict is Verdict.SYSTEM)


def test_is_in_doubt_after_garbage_instead_of_an_answer() -> None:
    with running(MailServer(on_data=lambda _: "299 perhaps")) as server:
        assert judge(hand_over(server.relay, "ana@example.org")[0]).verdict is Verdict.IN_DOUBT


def test_takes_four_times_yes_for_a_mail_only_where_a_mail_was_said() -> None:
    """Yes to a clean slate and to an envelope, in one breath, reads as yes to a mail and to the envelope behind it."""

    def at(step: str, talk: Talk) -> bytes | None:
        return b"550 5.1.1 no such user\r\n" if step == "rcpt" and "nadie" in talk.recipient else None

    everyone = ["ana@example.org", "nadie@example.org", "luz@example.org", "nadie2@example.org", "iris@example.org"]
    with serving(RudeServer(at)) as server:
        replies = hand_over(server.relay, *everyone)
    assert [(reply.step, reply.code) for reply in replies] == [
        (Step.RCPT, 550) if "nadie" in address else (Step.MESSAGE, 250) for address in everyone
    ]
    assert server.kept == {address: 1 for address in everyone if "nadie" not in address}
    assert server.connections == 1


def test_is_sure_that_nothing_left_when_the_answer_came_before_the_question() -> None:
    """`354 go` and `250 ok` in one breath: the second speaks of nothing, and not a byte of the content was written."""
    with _glued() as relay:
        reply = hand_over(relay, "ana@example.org")[0]
    assert (reply.step, reply.code) == (Step.DATA, 0)
    assert judge(reply).verdict is Verdict.SYSTEM


@contextmanager
def _glued() -> Iterator[RelayAddress]:
    class Glued(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 hello\r\n")
            for line in self.rfile:
                self.wfile.write(b"354 go\r\n250 ok\r\n" if line.startswith(b"DATA") else b"250 ok\r\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Glued) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield RelayAddress(host="127.0.0.1", port=server.server_address[1], tls="none", per_minute=None)
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("odd", ["250 2.0.0 Ok\r", "250 2.0.0 quite\rodd", "250 2.0.0 nul\0 and \x0c feed"])
def test_understands_an_odd_yes(odd: str) -> None:
    with running(MailServer(on_data=lambda _: odd)) as server:
        reply = hand_over(server.relay, "ana@example.org")[0]
    assert judge(reply).verdict is Verdict.ACCEPTED
    assert reply.text.isprintable()


def test_tells_a_closed_door_from_a_rude_one() -> None:
    with running() as server:
        closed = server.relay
    with pytest.raises(ConnectionFailed) as caught:
        hand_over(closed, "ana@example.org")
    assert judge(caught.value.reply).reason == "relay_unreachable"


@pytest.mark.parametrize(
    ("asked", "reason"), [({"username": "red", "password": "x"}, "sign_in_refused"), ({"tls": "starttls"}, "tls_refused")]
)
def test_says_what_the_server_does_not_offer(asked: dict[str, str], reason: str) -> None:
    with running() as server, pytest.raises(ConnectionFailed) as caught:
        hand_over(server.relay.model_copy(update=asked), "ana@example.org")
    assert judge(caught.value.reply).reason == reason


def test_waits_no_longer_than_told_for_a_silent_server() -> None:
    async def conversation() -> Reply:
        async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(0.6)
            writer.close()

        listening = await asyncio.start_server(silent, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        relay = RelayAddress(host="127.0.0.1", port=port, tls="none", per_minute=None)
        with pytest.raises(ConnectionFailed) as caught:
            await connect(relay, Given([]), timeouts=Timeouts(step=0.3, message=0.3))
        await asyncio.sleep(0.5)
        listening.close()
        return caught.value.reply

    assert judge(asyncio.run(conversation())).verdict is Verdict.SYSTEM


@pytest.mark.parametrize("step", ["banner", "ehlo", "mail", "rcpt", "data", "dot"])
@pytest.mark.parametrize("words", [b"250 2.0.0 slowly, slowly, slowly, slowly, slowly\r\n", b"250-1\r\n" * 20 + b"250 20\r\n"])
def test_waits_for_a_whole_answer_and_not_for_each_byte(step: str, words: bytes) -> None:
    """One byte per second, in a world ten times as fast."""
    with serving(RudeServer(lambda now, _: in_pieces(words, 0.1) if now == step else None)) as server:
        begun_at = time.monotonic()
        told = smtp.hand_over(server.relay, "red@example.org", "ana@example.org", MAIL, timeouts=Timeouts(step=0.3, message=0.3))
        reply = asyncio.run(told)
    assert time.monotonic() - begun_at < 1.5
    assert reply.code == 0
    assert judge(reply).verdict is (Verdict.IN_DOUBT if step == "dot" else Verdict.SYSTEM)


@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize("is_secure", [True, False])
def test_believes_no_yes_to_what_has_not_left(pipelining: bool, is_secure: bool) -> None:
    """A mail larger than what the system's buffers take, and a 250 while the rest is still ours: in doubt, and the next stays."""
    ours, theirs = _trust()
    lying = RudeServer(
        lambda now, _: yes_too_early if now == "data" else None, pipelining=pipelining, tls=theirs if is_secure else None
    )
    with serving(lying) as server:
        replies = hand_over(
            server.relay, "ana@example.org", "luz@example.org", content=b"x" * 78 + b"\r\n" + b"y" * 2**24, tls_context=ours
        )
    assert (replies[0].step, replies[0].code) == (Step.MESSAGE, 0)
    assert judge(replies[0]).verdict is Verdict.IN_DOUBT
    assert all(reply.step is not Step.MESSAGE for reply in replies[1:])


@pytest.mark.parametrize("is_secure", [True, False])
def test_believes_a_yes_that_comes_while_the_next_envelope_leaves(is_secure: bool) -> None:
    """Large mails one after another: what is behind the content may wait."""
    ours, theirs = _trust()
    everyone = [f"ana{number}@example.org" for number in range(5)]
    with serving(RudeServer(tls=theirs if is_secure else None)) as server:
        replies = hand_over(server.relay, *everyone, content=b"y" * 2**20, tls_context=ours)
    assert [reply.code for reply in replies] == [250] * 5
    assert server.kept == dict.fromkeys(everyone, 1)


def test_counts_what_has_not_left_but_for_the_envelope_behind_it() -> None:
    async def conversation(port: int) -> None:
        transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, "127.0.0.1", port)
        assert not _unsent(transport, 0)
        transport.write(b"x" * 2**24)
        left = transport.get_write_buffer_size()
        assert _unsent(transport, left - 1)
        assert not _unsent(transport, left)
        transport.abort()
        await asyncio.sleep(0)

    with socket.create_server(("127.0.0.1", 0)) as deaf:
        asyncio.run(conversation(deaf.getsockname()[1]))


def _trust() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """For us and for a server of ours."""
    authority, ours, theirs = trustme.CA(), ssl.create_default_context(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.configure_trust(ours)
    authority.issue_cert("127.0.0.1").configure_cert(theirs)
    return ours, theirs
