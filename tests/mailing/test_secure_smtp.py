"""Encrypted connections and sign-in, against a real server with a certificate of a test authority."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

from crm.config import RelayAddress, Tls
from crm.mailing import smtp
from crm.mailing.exchange import Timeouts
from crm.mailing.faults import Reply, judge
from tests.mailing.mail_server import MailServer

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
"""aiosmtpd does not see that the whole connection is already encrypted (implicit TLS)."""
USER, PASSWORD = "red@example.org", "una clave: con / signos %"


def _authenticator(_server: object, _session: object, _envelope: object, _mechanism: str, told: object) -> AuthResult:
    right = isinstance(told, LoginPassword) and (told.login, told.password) == (USER.encode(), PASSWORD.encode())
    return AuthResult(success=right, handled=right)


class _Secure(Controller):
    def __init__(self, server: MailServer, context: ssl.SSLContext, tls: Tls, without: Sequence[str]) -> None:
        self._context, self._tls, self._without = context, tls, without
        super().__init__(server, hostname="127.0.0.1", port=server.port, ssl_context=context if tls == "implicit" else None)

    def factory(self) -> Any:
        starttls = self._context if self._tls == "starttls" else None
        return SMTP(
            self.handler,
            authenticator=_authenticator,
            auth_required=True,
            auth_exclude_mechanism=self._without,
            auth_require_tls=self._tls == "starttls",
            tls_context=starttls,
            require_starttls=starttls is not None,
        )


@contextmanager
def running(tls: Tls, leaf: trustme.LeafCert, without: Sequence[str] = ()) -> Iterator[MailServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(context)
    server = MailServer()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        server.port = probe.getsockname()[1]
    controller = _Secure(server, context, tls, without)
    controller.start()
    try:
        yield server
    finally:
        controller.stop(no_assert=True)


def hand_over(server: MailServer, tls: Tls, authority: trustme.CA | None, password: str = PASSWORD) -> Reply:
    context = ssl.create_default_context()
    if authority is not None:
        authority.configure_trust(context)
    relay = RelayAddress(host="127.0.0.1", port=server.port, tls=tls, username=USER, password=password, per_minute=None)

    content, quick = b"Subject: x\r\n\r\nhola\r\n", Timeouts(step=5, message=5)
    told = smtp.hand_over(relay, "red@example.org", "ana@example.org", content, timeouts=quick, tls_context=context)
    return asyncio.run(told)


def ours(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert("127.0.0.1")


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_hands_over_a_mail_encrypted_and_signed_in(tls: Tls, mechanism: str) -> None:
    authority = trustme.CA()
    with running(tls, ours(authority), [{"PLAIN": "LOGIN", "LOGIN": "PLAIN"}[mechanism]]) as server:
        assert hand_over(server, tls, authority).code == 250
    assert server.accepted[0].content.endswith(b"hola\r\n")


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_trusts_no_certificate_of_an_unknown_authority(tls: Tls) -> None:
    with running(tls, ours(trustme.CA())) as server:
        assert judge(hand_over(server, tls, None)).reason == "tls_refused"
    assert server.accepted == []


YESTERDAY = datetime.now(UTC) - timedelta(days=1)


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
@pytest.mark.parametrize(
    "wrong",
    [
        lambda authority: authority.issue_cert("mail.example.org"),
        lambda authority: authority.issue_cert("127.0.0.1", not_after=YESTERDAY),
    ],
    ids=["of another server", "of yesterday"],
)
def test_trusts_no_certificate_that_is_wrong(tls: Tls, wrong: Callable[[trustme.CA], trustme.LeafCert]) -> None:
    authority = trustme.CA()
    with running(tls, wrong(authority)) as server:
        assert judge(hand_over(server, tls, authority)).reason == "tls_refused"
    assert server.accepted == []


def test_says_that_the_password_was_refused() -> None:
    authority = trustme.CA()
    with running("starttls", ours(authority)) as server:
        assert judge(hand_over(server, "starttls", authority, password="otra")).reason == "sign_in_refused"
