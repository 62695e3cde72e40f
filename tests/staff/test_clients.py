"""API clients and their keys."""

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
import time_machine
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from crm import clock
from crm.database import Database
from crm.errors import CrmError, InvalidInput, NotFound, NotSignedIn
from crm.staff import clients
from crm.staff.models import ApiAnswer, ApiCall, ApiClient

SCOPES = ["contacts:read", "segments:write"]


def test_creates_a_client_of_which_only_the_hash_of_the_key_is_stored(session: Session) -> None:
    client, key = clients.create(session, "Sitio votochilango", "Ana Núñez", SCOPES)
    assert key.startswith(f"rvc_{client.key_prefix}_")
    assert len(key) > 50
    assert clients.authenticate(session, key) is client
    assert client.expires_at - client.created_at == timedelta(days=365)
    stored = str(session.execute(sa.select(ApiClient.__table__)).all())
    assert key not in stored
    assert key.removeprefix(f"rvc_{client.key_prefix}_") not in stored


@pytest.mark.parametrize(
    ("name", "scopes", "days", "code"),
    [
        ("", SCOPES, 365, "field_required"),
        ("x" * 201, SCOPES, 365, "field_too_long"),
        ("Sitio", [], 365, "field_required"),
        ("Sitio", ["contacts:own"], 365, "scope_unknown"),
        ("Sitio", SCOPES, 366, "days_invalid"),
        ("Sitio", SCOPES, 0, "days_invalid"),
    ],
)
def test_refuses_a_client_that_is_not_well_formed(session: Session, name: str, scopes: list[str], days: int, code: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        clients.create(session, name, "Ana", scopes, days)
    assert refused.value.code == code
    assert refused.value.sentence


def test_refuses_a_key_that_expired_or_was_revoked_or_altered(database: Database) -> None:
    start = datetime(2026, 11, 22, tzinfo=UTC)
    with time_machine.travel(start, tick=False) as traveller, database.session() as session:
        client, key = clients.create(session, "Sitio", "Ana", SCOPES, days=30)
        for altered in (key[:-1], key + "x", key.replace("rvc", "xyz"), f"rvc_{client.key_prefix}_", "", "rvc__"):
            with pytest.raises(NotSignedIn, match="key_invalid"):
                clients.authenticate(session, altered)
        traveller.shift(timedelta(days=30))
        with pytest.raises(NotSignedIn, match="key_invalid"):
            clients.authenticate(session, key)
        traveller.move_to(start)
        revoked = clients.revoke(session, client.id).revoked_at
        assert clients.revoke(session, client.id).revoked_at == revoked
        with pytest.raises(NotSignedIn, match="key_invalid"):
            clients.authenticate(session, key)


def test_notes_each_call_and_the_last_use_once_a_minute(database: Database) -> None:
    with time_machine.travel(datetime(2026, 11, 22, tzinfo=UTC), tick=False) as traveller, database.session() as session:
        client, _ = clients.create(session, "Sitio", "Ana", SCOPES)
        used = []
        for _ in range(4):
            clients.log_call(session, client.id, "GET", "/contacts", 200, 3)
            session.refresh(client)
            used.append(client.last_used_at)
            traveller.shift(timedelta(seconds=40))
        assert used[0] == used[1] != used[2] == used[3]
        assert session.scalars(sa.select(ApiCall.rows)).all() == [3, 3, 3, 3]


def test_lists_clients_and_knows_no_other(session: Session) -> None:
    client, _ = clients.create(session, "Sitio", "Ana", SCOPES)
    assert clients.find(session) == [client]
    assert clients.get(session, client.id) is client
    with pytest.raises(NotFound, match="client_not_found"):
        clients.get(session, 99)


@given(st.text())
def test_never_fails_otherwise_whatever_the_key(text: str) -> None:
    class Empty(Session):
        def scalar(self, *_args: object, **_options: object) -> None:
            return None

    for key in (text, f"rvc_{text}", f"rvc_abc_{text}"):
        with pytest.raises(CrmError, match="key_invalid"):
            clients.authenticate(Empty(), key)


def test_forgets_answers_after_a_day(session: Session) -> None:
    client, _ = clients.create(session, "Sitio", "Ana", SCOPES)
    for hours in (23, 25):
        at = clock.now() - timedelta(hours=hours)
        session.add(ApiAnswer(client_id=client.id, key=f"hace {hours}", request_hash="0" * 64, answer={}, at=at))
    session.flush()
    clients.forget_answers(session)
    assert session.scalars(sa.select(ApiAnswer.key)).all() == ["hace 23"]
