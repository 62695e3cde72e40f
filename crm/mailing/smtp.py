"""The way to a mail server: a connection opened, secured and signed in by aiosmtplib, then taken over by our `Exchange`."""

import asyncio
import ssl

import aiosmtplib

from crm.config import RelayAddress
from crm.mailing import tokens
from crm.mailing.exchange import PATIENT, Exchange, M, Offers, Outgoing, Source, Timeouts, for_the_wire
from crm.mailing.faults import Reply, Step

LOCAL_NAME = "red-voto-chilango.localdomain"
"""How we introduce ourselves (EHLO)."""


class ConnectionFailed(Exception):
    """The door did not open; ``reply`` says what was heard."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        super().__init__(f"{reply.step} {reply.code}")


async def connect(
    relay: RelayAddress, source: Source[M], *, timeouts: Timeouts = PATIENT, tls_context: ssl.SSLContext | None = None
) -> Exchange[M]:
    """Connect, secure and sign in; the exchange that is returned takes its first mail at `go_on`. ConnectionFailed says why
    it could not."""
    if relay.oauth is None:
        return await _open(relay, None, source, timeouts, tls_context)
    kept = tokens.kept(relay.oauth)
    try:
        token = kept or await tokens.renew(relay.oauth, timeouts.step)  # before the door opens: no mail server waits for another
        return await _open(relay, token, source, timeouts, tls_context)
    except tokens.NoToken as error:
        raise ConnectionFailed(Reply(Step.CONNECT, 0, known=error.reason)) from error
    except ConnectionFailed as error:
        if error.reply.known != "token_refused":
            raise
        tokens.forget(relay.oauth, token)
        if kept is None:
            raise
    return await connect(relay, source, timeouts=timeouts, tls_context=tls_context)  # a kept one may have ended early


async def _open(
    relay: RelayAddress, token: tokens.Token | None, source: Source[M], timeouts: Timeouts, tls_context: ssl.SSLContext | None
) -> Exchange[M]:
    async def words() -> str:
        return token.words if token is not None else ""

    client = aiosmtplib.SMTP(
        hostname=relay.host,
        port=relay.port,
        username=relay.username,
        password=relay.password if token is None else None,
        oauth_token_generator=words if token is not None else None,
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
        raise ConnectionFailed(_reply_of(error, by_token=token is not None)) from error
    if not isinstance(client.transport, asyncio.Transport) or client.transport.is_closing():
        raise ConnectionFailed(Reply(Step.CONNECT, 0))
    return Exchange(client.transport, _offers_of(client), source, timeouts)


async def hand_over(
    relay: RelayAddress,
    sender: str,
    recipient: str,
    content: bytes,
    *,
    timeouts: Timeouts = PATIENT,
    tls_context: ssl.SSLContext | None = None,
) -> Reply:
    """Give one mail to a server outside the ledger and return what it said, or what was heard at its door."""
    source = _One(Outgoing(sender, recipient, for_the_wire(content)))
    try:
        exchange = await connect(relay, source, timeouts=timeouts, tls_context=tls_context)
    except ConnectionFailed as error:
        return error.reply
    exchange.closed.add_done_callback(lambda _: source.nobody_answers())
    exchange.go_on()
    try:
        return await source.reply
    finally:
        await exchange.leave()


async def knock(relay: RelayAddress, *, timeouts: Timeouts = PATIENT) -> Reply | None:
    """Open, secure and sign in, and leave without a mail; what was heard where that did not work, else None."""
    try:
        exchange = await connect(relay, _NoMail(), timeouts=timeouts)
    except ConnectionFailed as error:
        return error.reply
    await exchange.leave()
    return None


class _NoMail:
    """A source that has nothing to send."""

    def take(self) -> Outgoing | None:
        return None

    def begun(self, mail: Outgoing) -> bool:
        return False

    def ended(self, mail: Outgoing, reply: Reply | None) -> None:
        """There is no mail."""

    def rests(self, exchange: Exchange[Outgoing]) -> None:
        """There is no other mail."""


class _One:
    """A source of a single mail."""

    def __init__(self, mail: Outgoing) -> None:
        self._mail: Outgoing | None = mail
        self.reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

    def take(self) -> Outgoing | None:
        mail, self._mail = self._mail, None
        return mail

    def begun(self, mail: Outgoing) -> bool:
        return True

    def ended(self, mail: Outgoing, reply: Reply | None) -> None:
        self.reply.set_result(reply or Reply(Step.MAIL, 0))

    def rests(self, exchange: Exchange[Outgoing]) -> None:
        """There is no other mail."""

    def nobody_answers(self) -> None:
        """The connection closed; if it has said nothing of the mail, it never will."""
        if not self.reply.done():
            self.reply.set_result(Reply(Step.MAIL, 0))


def _offers_of(client: aiosmtplib.SMTP) -> Offers:
    offered = client.supports_extension
    return Offers(offered("pipelining"), offered("8bitmime"), offered("size"), offered("smtputf8"))


def _reply_of(error: Exception, *, by_token: bool) -> Reply:
    """What an error of the library says in the server's own terms."""
    if by_token and isinstance(error, aiosmtplib.SMTPAuthenticationError) and error.code >= 500:
        return Reply(Step.CONNECT, error.code, error.message, known="token_refused")
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return Reply(Step.CONNECT, error.code, error.message)
    if isinstance(error, ssl.SSLError) or isinstance(error.__cause__, ssl.SSLError):
        return Reply(Step.CONNECT, 454, "4.7.5 the certificate was not accepted")
    if isinstance(error, aiosmtplib.SMTPException) and not isinstance(error, OSError):
        # What we were told to use is not offered: the library says which in words only.
        if by_token and "XOAUTH2" in str(error):
            return Reply(Step.CONNECT, 0, known="xoauth2_not_offered")
        words = "5.7.8 not offered" if "AUTH" in str(error) else "4.7.5 not offered"
        return Reply(Step.CONNECT, 535 if "AUTH" in str(error) else 454, words)
    return Reply(Step.CONNECT, 0)
