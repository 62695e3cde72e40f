"""Sign-in: sessions on the server, throttled by rows."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier

import pytest
import sqlalchemy as sa
import time_machine

from crm import history
from crm.database import Database
from crm.errors import NotSignedIn, TooMany
from crm.staff import accounts, sign_in
from crm.staff.models import Account, SignInAttempt, StaffSession

PASSWORD = "una frase larga de prueba"
START = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(START, tick=False) as traveller:
        yield traveller


@pytest.fixture(autouse=True)
def _account(database: Database) -> None:
    with database.session() as session:
        accounts.create(session, "ana@example.org", "Ana", "editing", PASSWORD)


def signed_in(database: Database, email: str = "ana@example.org", password: str = PASSWORD, network: str = "203.0.113.7") -> str:
    return sign_in.sign_in(database, email, password, network)[1]


def refused(database: Database, times: int = 1, email: str = "ana@example.org", network: str = "203.0.113.7") -> None:
    for _ in range(times):
        with pytest.raises(NotSignedIn, match="sign_in_failed"):
            signed_in(database, email, "otra cosa del todo", network)


def is_alive(database: Database, token: str) -> bool:
    with database.session(write=False) as session:
        return sign_in.session_of(session, token) is not None


def test_opens_a_session_of_which_only_the_hash_is_stored(database: Database) -> None:
    token = signed_in(database, " Ana@Example.org")
    with database.session(write=False) as session:
        found = sign_in.session_of(session, token)
        assert found is not None
        assert found[1].email == "ana@example.org"
        assert token not in str(session.execute(sa.select(StaffSession.__table__)).all())
        assert sign_in.session_of(session, token + "x") is None
        assert sign_in.session_of(session, "\ud800") is None


def test_ends_a_session_after_eight_hours_without_use(database: Database, clock: time_machine.Traveller) -> None:
    token = signed_in(database)
    clock.shift(timedelta(hours=7, minutes=59))
    with database.session() as session:
        found = sign_in.session_of(session, token)
        assert found is not None
        assert sign_in.needs_touch(found[0])
        sign_in.touch(session, found[0])
        assert not sign_in.needs_touch(found[0])
    clock.shift(timedelta(hours=7))
    assert is_alive(database, token)
    clock.shift(timedelta(hours=1, seconds=1))
    assert not is_alive(database, token)


def test_ends_a_session_after_seven_days_of_use(database: Database, clock: time_machine.Traveller) -> None:
    token = signed_in(database)
    for _ in range(24):
        clock.shift(timedelta(hours=7))
        with database.session() as session:
            found = sign_in.session_of(session, token)
            if found:
                sign_in.touch(session, found[0])
    assert not is_alive(database, token)
    signed_in(database)
    with database.session(write=False) as session:
        assert session.scalar(sa.select(sa.func.count(StaffSession.id))) == 1, "the dead one is swept away"


def test_signs_out_twice_like_once(database: Database) -> None:
    token = signed_in(database)
    with database.session() as session:
        found = sign_in.session_of(session, token)
        assert found is not None
        sign_in.sign_out(session, found[0])
        sign_in.sign_out(session, found[0])
    assert not is_alive(database, token)


def test_remembers_a_failure(database: Database) -> None:
    refused(database)
    with database.session(write=False) as session:
        marks = session.scalars(sa.select(SignInAttempt.key)).all()
        assert len(set(marks)) == 2
        assert all(len(mark) == 64 for mark in marks)
        events = [change.fields.get("event") for change in history.changes_of(session, "account", 1)]
        assert events[0] == "sign_in_refused"


def test_refuses_an_address_after_five_failures_even_with_the_right_password(
    database: Database, clock: time_machine.Traveller
) -> None:
    for number in range(5):
        refused(database, network=f"203.0.113.{number}")
    with pytest.raises(TooMany, match="too_many_sign_ins") as throttled:
        signed_in(database, network="198.51.100.1")
    assert "15 minutos" in throttled.value.sentence
    clock.shift(timedelta(minutes=15, seconds=1))
    signed_in(database)


def test_forgets_the_failures_of_an_address_that_signs_in(database: Database) -> None:
    refused(database, 4)
    first = signed_in(database)
    refused(database, 4)
    assert signed_in(database) != first


def test_refuses_a_network_after_twenty_failures_whatever_the_address(database: Database) -> None:
    for number in range(20):
        refused(database, email=f"nadie{number}@example.org", network=f"2001:db8:1:2::{number}")
    with pytest.raises(TooMany):
        signed_in(database, network="2001:db8:1:2:ffff::1")
    signed_in(database, network="2001:db8:1:3::1")


def test_forgets_the_failure_that_a_right_password_was_counted_as(database: Database) -> None:
    for _ in range(sign_in.FAILURES_OF_NETWORK + 2):
        signed_in(database)
    with database.session(write=False) as session:
        assert session.scalar(sa.select(sa.func.count(SignInAttempt.id))) == 0


def test_reads_no_more_than_five_of_thirty_wrong_passwords_at_once(database: Database) -> None:
    together = Barrier(30)

    def outcome(number: int) -> str:
        together.wait()
        with pytest.raises((NotSignedIn, TooMany)) as refusal:
            signed_in(database, password="otra cosa del todo", network=f"203.0.113.{number}")
        return refusal.value.code

    with ThreadPoolExecutor(30) as threads:
        outcomes = Counter(threads.map(outcome, range(30)))
    assert outcomes == {"sign_in_failed": 5, "too_many_sign_ins": 25}


def test_reads_no_more_than_twenty_passwords_of_a_network_at_once(database: Database) -> None:
    def outcome(number: int) -> str:
        with pytest.raises((NotSignedIn, TooMany)) as refusal:
            signed_in(database, f"nadie{number}@example.org")
        return refusal.value.code

    with ThreadPoolExecutor(10) as threads:
        outcomes = Counter(threads.map(outcome, range(26)))
    assert outcomes == {"sign_in_failed": 20, "too_many_sign_ins": 6}


@pytest.mark.parametrize("password", [PASSWORD, "otra cosa del todo"])
def test_reads_a_password_with_no_transaction_open(database: Database, monkeypatch: pytest.MonkeyPatch, password: str) -> None:
    taken: list[int] = []
    read = accounts.password_is_right

    def watched(account: Account | None, password: str) -> bool:
        pool = database.engine.pool
        assert isinstance(pool, sa.QueuePool)
        taken.append(pool.checkedout())
        return read(account, password)

    monkeypatch.setattr(accounts, "password_is_right", watched)
    if password == PASSWORD:
        signed_in(database)
    else:
        refused(database)
    assert taken == [0]


def test_refuses_an_account_that_was_shut_while_its_password_was_read(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    read = accounts.password_is_right

    def meanwhile(account: Account | None, password: str) -> bool:
        is_right = read(account, password)
        with database.session() as session:
            accounts.disable(session, 1)
        return is_right

    monkeypatch.setattr(accounts, "password_is_right", meanwhile)
    with pytest.raises(NotSignedIn, match="sign_in_failed"):
        signed_in(database)


def test_answers_alike_for_unknown_and_disabled_accounts(database: Database) -> None:
    with database.session() as session:
        accounts.disable(session, 1)
    with pytest.raises(NotSignedIn, match="sign_in_failed"):
        signed_in(database)
    refused(database, email="nadie@example.org")
    refused(database, email="no es correo\0", network="not an address")
