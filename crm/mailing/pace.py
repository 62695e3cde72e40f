"""How many mails may leave by day while a server or a domain is new, and how long what is left will take by all limits."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from crm import clock
from crm.config import RelayAddress

HOUR, DAY, WEEK = timedelta(hours=1), timedelta(days=1), timedelta(days=7)
FIRST_WEEK = 50
"""Mails a day in the first week of a warm-up; each week twice as many. Providers ask for no more than twice the volume per step
and for 30 to 90 days in all (SocketLabs, "IP and Domain Warm-Up Concepts"); this is the careful end, for the slow pace of an
office."""
WEEKS = 8
"""After them (6,400 a day) only the limits that were told hold."""
LONGEST = 3650
"""Days that an estimate looks ahead."""


@dataclass(frozen=True)
class WarmUp:
    """Where a warm-up is at an instant."""

    week: int
    """From 1."""
    weeks: int
    """In all, until the limit per day that was told is reached or nothing more is held back."""
    per_day: int
    next_at: datetime
    """When the next week begins, by the calendar of Mexico City."""


def warm_up(address: RelayAddress, instant: datetime) -> WarmUp | None:
    """The warm-up of a relay at an instant; None when it has none or is over. One that begins later is in its first week."""
    if address.warm_up_since is None:
        return None
    days = (clock.institute_time(instant).date() - address.warm_up_since).days
    week = max(0, days // WEEK.days) + 1
    weeks = next((one for one in range(WEEKS) if address.per_day and _of_week(one + 1) >= address.per_day), WEEKS)
    if week > weeks:
        return None
    begins = address.warm_up_since + week * WEEK
    return WarmUp(week, weeks, _of_week(week), _midnight(begins))


def _of_week(week: int) -> int:
    return FIRST_WEEK << (week - 1)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), clock.INSTITUTE_ZONE)


def per_day(address: RelayAddress, instant: datetime) -> int | None:
    """The limit per day that holds at an instant: what was told, or less while it warms up. None: no limit."""
    warming = warm_up(address, instant)
    limits = [most for most in (address.per_day, warming.per_day if warming else None) if most]
    return min(limits, default=None)


# --- how long it will take -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Window:
    """How a limit stands: ``handed`` of ``most`` mails left within the last ``period``."""

    period: timedelta
    most: int
    handed: int
    free_at: datetime
    """When the next place becomes free, once all are taken."""

    @property
    def left(self) -> int:
        return max(0, self.most - self.handed)


def ends_at(
    mails: int, begin: datetime, address: RelayAddress | None, windows: Sequence[Window], rate: float | None
) -> datetime | None:
    """When about the last of so many mails will have left, if nothing else leaves; None when nothing bounds it.

    ``rate`` is in mails per minute. What may still leave today leaves now; the rest waits for the places of each next day.
    """
    if address is None or not windows:
        return begin + timedelta(minutes=mails / rate) if rate else None
    hour, day = (next((one for one in windows if one.period == period), None) for period in (HOUR, DAY))
    if day is None or mails <= day.left:
        return _without_days(mails, begin, hour, rate)
    # The places of the next day open when most of today's mails are old enough: those that leave now, or those that left.
    left, at = mails - day.left, begin + DAY if day.left > day.handed else max(begin, day.free_at)
    for _ in range(LONGEST):
        most = _most_in_a_day(address, at, rate)
        if most is None or left <= most:
            return at + _span(left, address.per_hour, rate)
        left, at = left - most, at + DAY
    return at


def _most_in_a_day(address: RelayAddress, at: datetime, rate: float | None) -> int | None:
    limits = [per_day(address, at), address.per_hour and address.per_hour * 24, rate and math.ceil(rate * 24 * 60)]
    return min((limit for limit in limits if limit), default=None)


def _without_days(mails: int, begin: datetime, hour: Window | None, rate: float | None) -> datetime:
    if hour is None or mails <= hour.left:
        return begin + _span(mails, None, rate)
    return max(begin, hour.free_at) + _span(mails - hour.left, hour.most, rate)


def _span(mails: int, per_hour: int | None, rate: float | None) -> timedelta:
    """From the first to the last of so many mails, by the limit per hour and the rate."""
    whole = 0
    if per_hour and not (rate and rate * 60 <= per_hour):
        whole, mails = (mails - 1) // per_hour, (mails - 1) % per_hour + 1
    return whole * HOUR + timedelta(minutes=mails / rate if rate else 0)
