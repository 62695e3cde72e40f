"""Sign-in by XOAUTH2: tokens from a real token server, shown to a real mail server that takes only those that are good now."""

import asyncio
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import structlog
import time_machine
import trustme

from crm import clock
from crm.config import EXCHANGE_SCOPE, RelayAddress, Settings
from crm.database import Database
from crm.mailing import relays, sending, sends, smtp, tokens
from crm.mailing.drain import Way
from crm.mailing.exchange import Timeouts
from crm.mailing.faults import SENTENCES, Judgement, Verdict, judge
from crm.mailing.models import DeliveryState, Relay, SendState
from tests.mailing.factories import begun, states
from tests.mailing.mail_server import running
from tests.mailing.rude_server import RudeServer, Talk, serving
from tests.mailing.token_server import SECRET, Answer, TokenServer, dripping, endless, saying, silent

S = DeliveryState
QUICK = Timeouts(step=2, message=2)


@pytest.fixture
def granting(tmp_path: Path) -> Iterator[TokenServer]:
    with serving(TokenServer(tmp_path)) as server:
        yield server


def by_token(relay: RelayAddress, granting: TokenServer) -> RelayAddress:
    return relay.model_copy(update={"username": "red@example.org", "oauth": granting.client})


def hand_over(relay: RelayAddress, granting: TokenServer, timeouts: Timeouts = QUICK) -> Judgement:
    mail = b"Subject: x\r\n\r\nhola\r\n"
    told = smtp.hand_over(by_token(relay, granting), "red@example.org", "ana@example.org", mail, timeouts=timeouts)
    return judge(asyncio.run(told))


def drain(database: Database, settings: Settings, send_id: int, server: RudeServer, granting: TokenServer) -> int:
    with database.session() as session:
        session.execute(sa.update(Relay).values(resting_until=None))
    return sending.drain(database, send_id, Way(settings, by_token(server.relay, granting), timeouts=QUICK))


def test_signs_in_with_a_token_that_it_asked_for_once(granting: TokenServer) -> None:
    with serving(RudeServer(knows=granting.knows)) as server:
        assert [hand_over(server.relay, granting).verdict for _ in range(4)] == [Verdict.ACCEPTED] * 4
    assert server.sign_ins == 4
    form = {"grant_type": "client_credentials", "client_id": "una-aplicacion", "client_secret": SECRET}
    assert granting.asked == [form | {"scope": "https://mail/.default"}]


def test_renews_a_token_shortly_before_its_end(granting: TokenServer) -> None:
    with serving(RudeServer(knows=granting.knows)) as server:
        hand_over(server.relay, granting)
        for minutes, asked in ((54, 1), (56, 2), (57, 2)):
            with time_machine.travel(clock.now() + timedelta(minutes=minutes)):
                assert hand_over(server.relay, granting).verdict is Verdict.ACCEPTED
            assert len(granting.asked) == asked


def test_a_kept_token_that_is_refused_is_renewed_and_nobody_notices(granting: TokenServer) -> None:
    with serving(RudeServer(knows=granting.knows)) as server:
        hand_over(server.relay, granting)
        granting.end_all()
        assert hand_over(server.relay, granting).verdict is Verdict.ACCEPTED
        assert hand_over(server.relay, granting).verdict is Verdict.ACCEPTED
    assert (server.sign_ins, len(granting.asked)) == (4, 2)


def test_a_new_secret_needs_no_restart(granting: TokenServer) -> None:
    granting.secret = "otro secreto"
    with serving(RudeServer(knows=granting.knows)) as server:
        assert hand_over(server.relay, granting).reason == "token_client_refused"
        granting.secret_file.write_text("otro secreto")
        assert hand_over(server.relay, granting).verdict is Verdict.ACCEPTED


@pytest.mark.parametrize("pipelining", [True, False])
def test_a_token_that_ends_in_the_middle_of_a_send_stops_nobody(
    database: Database, settings: Settings, granting: TokenServer, pipelining: bool
) -> None:
    """After every 25th mail the server hangs up, as Exchange does when a token ends, and takes only a newer one."""
    count, lock = [0], threading.Lock()

    def at(step: str, talk: Talk) -> bytes | None:
        if step != "mail" or not talk.mails:
            return None
        with lock:
            count[0] += 1
            if count[0] % 25:
                return None
        granting.good.discard(talk.token)
        return b"421 4.7.66 token expired\r\n"

    with database.session() as session:
        send_id = begun(session, settings, 120).id
    with serving(RudeServer(at, knows=granting.knows, pipelining=pipelining)) as server:
        assert drain(database, settings, send_id, server, granting) == 120
    assert len(server.kept) == 120
    assert set(server.kept.values()) == {1}
    assert len(granting.asked) >= 2
    with database.session(write=False) as session:
        assert states(session, send_id) == {S.SENT: 120}
        assert session.scalars(sa.select(Relay.troubles)).one() == 0
        assert sends.get(session, send_id).state is SendState.DONE


ANSWERS: dict[str, tuple[Answer, str]] = {
    "silent": (silent, "token_unavailable"),
    "one byte after another": (dripping, "token_unavailable"),
    "without end": (endless, "token_unavailable"),
    "no JSON": (saying(200, b"<html>"), "token_unavailable"),
    "a list": (saying(200, [1]), "token_unavailable"),
    "very deep": (saying(200, b"[" * 60_000), "token_unavailable"),
    "no token": (saying(200, {"token_type": "Bearer"}), "token_unavailable"),
    "two lines": (saying(200, {"access_token": "x\r\nRSET"}), "token_unavailable"),
    "another kind": (saying(200, {"access_token": "x", "token_type": "mac"}), "token_unavailable"),
    "out of order": (saying(503, {}), "token_unavailable"),
    "elsewhere": (saying(302, {}), "token_unavailable"),
    "a wall": (saying(403, b"<html>"), "token_unavailable"),
    "no such application": (saying(400, {"error": "unauthorized_client"}), "token_client_refused"),
    "no such secret": (saying(401, {"error": "invalid_client"}), "token_client_refused"),
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_says_what_the_token_server_did(tmp_path: Path, kind: str) -> None:
    answer, reason = ANSWERS[kind]
    with serving(TokenServer(tmp_path, answer)) as granting, serving(RudeServer(knows=granting.knows)) as server:
        begun_at = time.monotonic()
        judged = hand_over(server.relay, granting, Timeouts(step=0.3, message=1))
        assert time.monotonic() - begun_at < 3, "the whole answer has its time, not each byte"
    assert judged == Judgement(Verdict.SYSTEM, reason)
    assert server.connections == 0, "no mail server waits for a token"


@pytest.mark.parametrize(
    "life",
    [None, 0, -5, "3600", "mucho", float("nan"), float("inf"), 10**400, -(10**400), [], True],
    ids=lambda life: str(life)[:6],
)
def test_uses_a_token_whatever_is_said_of_its_life(tmp_path: Path, life: Any) -> None:
    def answer(asked: Any) -> None:
        asked.say(200, {"token_type": "bearer", "access_token": asked.server.issue(), "expires_in": life})

    with serving(TokenServer(tmp_path, answer)) as granting, serving(RudeServer(knows=granting.knows)) as server:
        assert hand_over(server.relay, granting).verdict is Verdict.ACCEPTED
        kept = tokens.kept(granting.client)
        assert kept is None or kept.until < clock.now() + timedelta(days=1)


def test_says_that_the_token_server_is_not_there(granting: TokenServer, tmp_path: Path) -> None:
    with serving(TokenServer(tmp_path)) as gone:
        pass
    with serving(RudeServer(knows=granting.knows)) as server:
        assert hand_over(server.relay, gone).reason == "token_unavailable"


@pytest.mark.parametrize("secret", [None, b"", b" \n", b"\xff\xfe\x00"])
def test_says_that_the_secret_cannot_be_read(granting: TokenServer, secret: bytes | None) -> None:
    granting.secret_file.unlink()
    if secret is not None:
        granting.secret_file.write_bytes(secret)
    with serving(RudeServer(knows=granting.knows)) as server:
        assert hand_over(server.relay, granting).reason == "token_secret_unreadable"
    assert granting.asked == []


def test_says_that_the_mail_server_refuses_the_token(granting: TokenServer) -> None:
    with serving(RudeServer(knows=lambda _user, _token: False)) as server:
        assert hand_over(server.relay, granting) == Judgement(Verdict.SYSTEM, "token_refused")
        assert server.sign_ins == 1, "a new token is not tried again at once"
        hand_over(server.relay, granting)
    assert len(granting.asked) == 2, "with what was granted meanwhile"


def test_a_server_that_cannot_tell_now_does_not_refuse_the_token(granting: TokenServer) -> None:
    busy = RudeServer(lambda step, _: b"454 4.7.0 later\r\n" if step == "auth" else None, knows=lambda _user, _token: False)
    with serving(busy) as server:
        assert hand_over(server.relay, granting).reason == "relay_out_of_order"
        hand_over(server.relay, granting)
    assert len(granting.asked) == 1


def test_says_that_the_mail_server_does_not_offer_it(granting: TokenServer) -> None:
    with running() as server:
        assert hand_over(server.relay, granting) == Judgement(Verdict.SYSTEM, "xoauth2_not_offered")
    assert server.accepted == []


@pytest.mark.parametrize("reason", ["token_refused", "token_client_refused"])
def test_a_send_rests_pauses_and_says_why(database: Database, settings: Settings, granting: TokenServer, reason: str) -> None:
    if reason == "token_client_refused":
        granting.secret = "otro secreto"
    with database.session() as session:
        send_id = begun(session, settings, 3).id
    server = RudeServer(knows=lambda user, token: is_well and granting.knows(user, token))
    is_well = False
    with serving(server):
        for _ in range(relays.TROUBLES_THAT_PAUSE):
            assert drain(database, settings, send_id, server, granting) == 0
        with database.session() as session:
            told = sends.to_out(session, sends.get(session, send_id))
            assert (told.state, told.reason) == (SendState.PAUSED, reason)
            assert told.sentence == SENTENCES[reason]
            assert told.counts.pending == 3
            sends.resume(session, send_id, settings)
        is_well, granting.secret = True, SECRET
        assert drain(database, settings, send_id, server, granting) == 3


def test_shows_the_secret_and_the_token_to_nobody(granting: TokenServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    with serving(RudeServer(knows=granting.knows)) as server, structlog.testing.capture_logs() as logged:
        assert hand_over(server.relay, granting).verdict is Verdict.ACCEPTED
        token = tokens.kept(granting.client)
        granting.secret = "otro secreto"
        granting.end_all()
        assert hand_over(server.relay, granting).reason == "token_client_refused"
    assert logged == [{"event": "token_client_refused", "log_level": "warning", "status": 401, "codes": ["AADSTS7000222"]}]
    shown = f"{caplog.text}{token}{logged}{by_token(server.relay, granting)}"
    assert SECRET not in shown
    assert "permiso-" not in shown


def test_tells_no_secret_to_a_token_server_of_an_unknown_authority(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    granting = TokenServer(tmp_path)
    granting.socket = context.wrap_socket(granting.socket, server_side=True)
    with serving(granting), pytest.raises(tokens.NoToken, match="token_unavailable"):
        secure = granting.client.model_copy(update={"token_url": granting.url.replace("http:", "https:")})
        asyncio.run(tokens.renew(secure))
    assert granting.asked == []


def test_shows_no_token_to_a_mail_server_of_an_unknown_authority(granting: TokenServer) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with serving(RudeServer(knows=granting.knows, tls=context)) as server:
        assert hand_over(server.relay, granting).reason == "tls_refused"
    assert server.sign_ins == 0


def told_oauth(folder: Path, **changes: Any) -> Settings:
    told: dict[str, Any] = {
        "smtp_oauth_tenant": "instituto.example.org",
        "smtp_oauth_client_id": "una-aplicacion",
        "smtp_oauth_secret_file": folder / "secret.txt",
        "smtp_url": "smtp://red%40example.org@smtp.office365.com:587",
    }
    return Settings(data_dir=folder, **(told | changes))


def test_the_tenant_tells_where_tokens_come_from(tmp_path: Path) -> None:
    relay = told_oauth(tmp_path).relay
    assert relay is not None
    assert relay.oauth is not None
    assert relay.oauth.token_url == "https://login.microsoftonline.com/instituto.example.org/oauth2/v2.0/token"
    assert relay.oauth.scope == EXCHANGE_SCOPE
    other = told_oauth(tmp_path, smtp_oauth_tenant=None, smtp_oauth_token_url="https://permisos.example.org/token").oauth
    assert other is not None
    assert other.token_url == "https://permisos.example.org/token"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"smtp_oauth_client_id": None}, "CRM_SMTP_OAUTH_CLIENT_ID"),
        ({"smtp_oauth_secret_file": None}, "CRM_SMTP_OAUTH_SECRET_FILE"),
        ({"smtp_oauth_tenant": None}, "CRM_SMTP_OAUTH_TENANT"),
        ({"smtp_oauth_tenant": "otro/../camino"}, "CRM_SMTP_OAUTH_TENANT"),
        ({"smtp_oauth_token_url": "http://permisos.example.org/token"}, "CRM_SMTP_OAUTH_TOKEN_URL"),
        ({"smtp_oauth_token_url": "ftp://127.0.0.1/token"}, "CRM_SMTP_OAUTH_TOKEN_URL"),
        ({"smtp_url": "smtp://smtp.office365.com:587"}, "CRM_SMTP_URL"),
    ],
)
def test_refuses_half_an_oauth(tmp_path: Path, changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        told_oauth(tmp_path, **changes)
