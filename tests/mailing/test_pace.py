"""A warm-up by week, exact over all workers, and how long a send will honestly take."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
import sqlalchemy as sa
import time_machine

from crm import clock
from crm.config import RelayAddress, Settings
from crm.database import Database
from crm.mailing import outgoing, pace, relays, sends
from crm.mailing.models import Attempt, Relay
from crm.mailing.pace import DAY, HOUR, Window, ends_at, per_day, warm_up
from tests.mailing.factories import begun, move, way
from tests.mailing.mail_server import running

SINCE = date(2026, 11, 2)
NOON = datetime(2026, 11, 2, 18, tzinfo=UTC)
"""Of Mexico City, on the first day."""


def relay(**told: object) -> RelayAddress:
    return RelayAddress.model_validate({"host": "127.0.0.1", "port": 25, "tls": "none", "per_minute": None, **told})


def test_a_warm_up_doubles_each_week_until_it_holds_nothing_back() -> None:
    warming = relay(warm_up_since=SINCE)
    told = [per_day(warming, NOON + timedelta(weeks=week)) for week in range(9)]
    assert told == [50, 100, 200, 400, 800, 1600, 3200, 6400, None]
    third = warm_up(warming, NOON + timedelta(days=20))
    assert third is not None
    assert (third.week, third.weeks, third.per_day) == (3, 8, 200)
    assert third.next_at == datetime(2026, 11, 23, 6, tzinfo=UTC), "midnight of Mexico City"
    assert per_day(warming, third.next_at - timedelta(seconds=1)) == 200
    assert per_day(warming, third.next_at) == 400
    assert per_day(warming, NOON - timedelta(days=30)) == 50, "before it begins it is no freer"


@pytest.mark.parametrize(("most", "weeks"), [(30, 0), (50, 0), (51, 1), (200, 2), (1000, 5), (10_000, 8)])
def test_a_warm_up_ends_where_the_limit_that_was_told_begins(most: int, weeks: int) -> None:
    warming = relay(warm_up_since=SINCE, per_day=most)
    told = [per_day(warming, NOON + timedelta(weeks=week)) for week in range(9)]
    assert told == [min(most, 50 << week) if week < weeks else most for week in range(9)]
    first = warm_up(warming, NOON)
    assert (first.weeks if first else 0) == weeks


def test_a_relay_without_a_date_is_not_held_back() -> None:
    assert (warm_up(relay(), NOON), per_day(relay(), NOON), per_day(relay(per_day=7), NOON)) == (None, None, 7)


def test_reads_a_warm_up_from_the_address_of_the_relay_and_refuses_what_is_no_day() -> None:
    assert RelayAddress.parse("smtp://h.example.org?warm_up_since=2026-11-02").warm_up_since == SINCE
    for wrong in ("ayer", "9999-12-31", "0001-01-01", "2026-13-01"):
        with pytest.raises(ValueError, match=r"."):
            RelayAddress.parse(f"smtp://h.example.org?warm_up_since={wrong}")


def test_lets_no_more_leave_in_a_warm_up_whoever_asks(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "FIRST_WEEK", 3)
    told = settings.model_copy(update={"smtp_url": "smtp://127.0.0.1:25?tls=none&warm_up_since=2026-11-02"})
    with time_machine.travel(NOON - HOUR / 2), database.session() as session:
        send_id = begun(session, told, 15).id
    with running() as server:
        warming = replace(way(told, server), address=server.relay.model_copy(update={"warm_up_since": SINCE}))
        handed = []
        for hours in (0, 6, 25, 4 * 24, 6.3 * 24):
            with time_machine.travel(NOON + timedelta(hours=hours)), ThreadPoolExecutor(2) as pool:
                list(pool.map(lambda _: move(database, send_id, warming), range(2)))
                move(database, send_id, warming)
                with database.session(write=False) as session:
                    handed.append(session.scalar(sa.select(sa.func.count(Attempt.id))) or 0)
                    until = relays.resting_until(session, told)
        assert handed == [3, 3, 6, 9, 12]
        week = datetime(2026, 11, 9, 6, tzinfo=UTC)
        assert until == week, "the next week begins before the first place is free again"
        with time_machine.travel(week + timedelta(seconds=1)):
            assert move(database, send_id, warming) == 3
    assert set(server.recipients.values()) == {1}


def windows(day: tuple[int, int] | None = None, hour: tuple[int, int] | None = None, free: float = 24) -> list[Window]:
    """(most, handed) of the limits; the day's first place is free after so many hours, the hour's after half of one."""
    made = [Window(HOUR, *hour, NOON + HOUR / 2)] if hour else []
    return made + ([Window(DAY, *day, NOON + timedelta(hours=free))] if day else [])


@pytest.mark.parametrize(
    ("mails", "told", "stand", "rate", "hours"),
    [
        (1500, {}, windows(), 29, 1500 / 29 / 60),  # the pace alone
        (1500, {"per_day": 200}, windows(day=(200, 0)), 29, 7 * 24 + 100 / 29 / 60),  # 200 today and on six days, 100 on the last
        (1500, {"per_day": 200}, windows(day=(200, 200), free=3), 29, 3 + 7 * 24 + 100 / 29 / 60),
        (
            300,
            {"per_day": 200},
            windows(day=(200, 150), free=3),
            29,
            3 + 24 + 50 / 29 / 60,
        ),  # 50 now, 200 in 3 hours, 50 a day later
        (300, {"per_day": 200}, windows(day=(200, 10), free=3), 29, 24 + 110 / 29 / 60),
        (200, {"per_day": 200}, windows(day=(200, 0)), 29, 200 / 29 / 60),
        (201, {"per_day": 200}, windows(day=(200, 0)), 29, 24 + 1 / 29 / 60),
        (250, {"per_hour": 100}, windows(hour=(100, 0)), 50, 0.5 + 1 + 50 / 50 / 60),
        (250, {"per_hour": 100}, windows(hour=(100, 100)), 50, 0.5 + 2 + 50 / 50 / 60),
        (250, {"per_hour": 10_000}, windows(hour=(10_000, 0)), 50, 250 / 50 / 60),  # a limit that never bites
        (700, {"per_hour": 10, "per_day": 10_000}, windows(hour=(10, 0), day=(10_000, 0)), None, 0.5 + 68),
        (5000, {"per_hour": 10, "per_day": 300}, windows(hour=(10, 10), day=(300, 300), free=1), None, 1 + 20 * 24 + 19),
        (700, {"warm_up_since": SINCE}, windows(day=(50, 0)), None, 10 * 24),  # 7 days of 50, then 100 a day
    ],
)
def test_says_how_long_it_takes_by_all_limits_together(
    mails: int, told: dict[str, object], stand: list[Window], rate: float | None, hours: float
) -> None:
    ends = ends_at(mails, NOON, relay(**told), stand, rate)
    assert ends is not None
    assert (ends - NOON) / HOUR == pytest.approx(hours, abs=0.02)


def test_says_nothing_when_nothing_tells() -> None:
    assert ends_at(10, NOON, relay(), [], None) is None
    assert ends_at(10, NOON, None, [], None) is None
    assert ends_at(10**9, NOON, relay(per_day=1), windows(day=(1, 1)), None) is not None, "it ends"


def test_what_it_says_comes_true(database: Database, settings: Settings) -> None:
    """The estimate before the first mail, beside a whole send at three mails a day."""
    told = settings.model_copy(update={"smtp_url": "smtp://127.0.0.1:25?tls=none&per_day=3"})
    with time_machine.travel(NOON, tick=False), database.session() as session:
        send_id = begun(session, told, 8).id
        said = relays.time_left(session, told, 8)
    assert said is not None
    with running() as server:
        limited = replace(way(told, server), address=server.relay.model_copy(update={"per_day": 3}))
        for hour in range(0, 60, 6):
            with time_machine.travel(NOON + timedelta(hours=hour)):
                with database.session() as session:
                    session.execute(sa.update(Relay).where(Relay.resting_until < clock.now()).values(resting_until=None))
                move(database, send_id, limited)
                with database.session(write=False) as session:
                    if sends.counts(session, sends.get(session, send_id)).pending == 0:
                        break
    assert abs(timedelta(hours=hour) - said) <= timedelta(hours=6)


def test_keeps_the_first_day_of_a_warm_up_that_was_told_on_the_page(database: Database, settings: Settings) -> None:
    told = outgoing.Told("Red", "red@example.org", has_relay=True, host="127.0.0.1", port="25", tls="none")
    with database.session() as session:
        outgoing.save(session, settings, replace(told, warm_up_since="2026-11-02"))
    with database.session() as session:
        found = outgoing.effective(session, settings).relay
        assert found is not None
        assert found.warm_up_since == SINCE
        tomorrow = (clock.institute_time(clock.now()) + DAY).date().isoformat()
        for wrong in ("ayer", tomorrow, "1999-01-01"):
            with pytest.raises(Exception, match="warm_up_invalid"):
                outgoing.save(session, settings, replace(told, warm_up_since=wrong))
