"""How a send goes: what the server accepted, how fast, how long it will take, and the curve of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from markupsafe import Markup
from sqlalchemy.orm import Session

from crm import charts, clock
from crm.config import RelayAddress, Settings
from crm.database import seconds_since_epoch
from crm.mailing import pace, relays, sends
from crm.mailing.models import Delivery, DeliveryState, Send, SendState
from crm.mailing.schemas import Counts

PACE_WINDOW = timedelta(minutes=2)
"""The pace is what the server accepted in so long."""
CURVE_POINTS = 24
CURVE_STEPS = (10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400)
"""Seconds that one step of the curve may last."""


@dataclass(frozen=True)
class Progress:
    """A send in figures."""

    counts: Counts
    per_minute: float | None
    """What the server accepts now; None when nothing leaves."""
    left: timedelta | None
    """How long until the last of those that are pending has left, by all limits and rests of the relay; None: nobody can tell."""
    limits: str
    """What may leave in an hour and a day, in words."""

    @property
    def to_write(self) -> int:
        """Everybody that it is for, without those who are left out."""
        return self.counts.total - self.counts.skipped

    @property
    def open(self) -> int:
        return self.counts.pending + self.counts.deferred


def progress_of(session: Session, send: Send, settings: Settings) -> Progress:
    """The figures of a send at this moment."""
    counted, moves = sends.counts(session, send), send.state is SendState.SENDING
    rate = _pace(session, send) if moves else None
    left = relays.time_left(session, settings, counted.pending, rate) if moves and counted.pending else None
    return Progress(counts=counted, per_minute=rate, left=left, limits=limit_words(settings.relay, clock.now()))


def limit_words(address: RelayAddress | None, instant: datetime) -> str:
    """`hasta 100 por hora y 200 al día (calentamiento, semana 3 de 8)`; nothing where there is no limit but that per minute."""
    if address is None:
        return ""
    day, warming = pace.per_day(address, instant), pace.warm_up(address, instant)
    told = [f"{address.per_hour:,} por hora"] if address.per_hour else []
    told += [f"{day:,} al día"] if day else []
    week = f" (calentamiento, semana {warming.week} de {warming.weeks})" if warming else ""
    return f"hasta {' y '.join(told)}{week}" if told else ""


def _pace(session: Session, send: Send) -> float | None:
    now = clock.now()
    begun = max(send.started_at or now, now - PACE_WINDOW)
    accepted = session.scalar(sa.select(sa.func.count()).where(*_accepted(send), Delivery.settled_at > begun)) or 0
    seconds = (now - begun).total_seconds()
    return accepted * 60 / seconds if accepted and seconds >= 1 else None


def _accepted(send: Send) -> tuple[sa.ColumnElement[bool], ...]:
    return Delivery.send_id == send.id, Delivery.state == DeliveryState.SENT


# --- the curve ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Point:
    """At an instant the server had accepted so many mails."""

    at: datetime
    accepted: int


@dataclass(frozen=True)
class Curve:
    """Mails accepted over time: the points that its table tells, and their drawing."""

    points: Sequence[Point]

    @property
    def needs_seconds(self) -> bool:
        """Whether its points are less than a minute apart."""
        return self.points[-1].at - self.points[0].at < timedelta(minutes=len(self.points))

    @property
    def drawing(self) -> Markup:
        hours = [clock.institute_time(point.at).replace(tzinfo=None) for point in self.points]
        return charts.growth(list(zip(hours, (point.accepted for point in self.points), strict=True)))


def curve_of(session: Session, send: Send) -> Curve | None:
    """The curve of a send; None until the server accepted something."""
    points = _points(session, send)
    return Curve(points) if points else None


def _points(session: Session, send: Send) -> list[Point]:
    span = session.execute(
        sa.select(sa.func.min(Delivery.settled_at), sa.func.max(Delivery.settled_at)).where(*_accepted(send))
    ).one()
    if span[0] is None or span[1] is None:
        return []
    begun = min(send.started_at or span[0], span[0])
    step = next((one for one in CURVE_STEPS if (span[1] - begun).total_seconds() <= one * CURVE_POINTS), CURVE_STEPS[-1])
    start = begun.timestamp()
    number = sa.cast(sa.func.floor((seconds_since_epoch(Delivery.settled_at) - start) / step), sa.Integer).label("number")
    counted = session.execute(sa.select(number, sa.func.count()).where(*_accepted(send)).group_by(number).order_by(number)).all()
    by_number: dict[int, int] = {}
    for number_of, people in counted:
        place = max(0, int(number_of))  # an instant that is the beginning itself may be rounded to before it
        by_number[place] = by_number.get(place, 0) + int(people)
    points, accepted = [Point(begun, 0)], 0
    for one in range(max(by_number) + 1):
        accepted += by_number.get(one, 0)
        points.append(Point(begun + timedelta(seconds=(one + 1) * step), accepted))
    points[-1] = Point(max(begun, span[1]), accepted)  # the curve ends with the last mail, not with the step that it fell in
    return points
