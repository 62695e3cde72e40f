"""The only module that asks what time it is."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

INSTITUTE_ZONE = ZoneInfo("America/Mexico_City")
"""The zone in which the Institute tells every hour. UTC-6 all year since October 2022."""


def now() -> datetime:
    """The present instant, aware, in UTC."""
    return datetime.now(UTC)


def institute_time(instant: datetime) -> datetime:
    """The same instant on the wall clock of Mexico City."""
    return instant.astimezone(INSTITUTE_ZONE)


def today() -> date:
    """The day that it is in Mexico City."""
    return institute_time(now()).date()
