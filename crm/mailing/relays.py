"""The relay that mails are handed to: its pace, its rests, and whether it is on this machine."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm import clock
from crm.config import RelayAddress, Settings
from crm.database import insert_new, one_at_a_time
from crm.errors import Unavailable
from crm.mailing import pace
from crm.mailing.faults import SENTENCES, Step
from crm.mailing.models import Attempt, Delivery, DeliveryState, Notice, NoticeMail, Relay, Send, SendState

TROUBLES_THAT_PAUSE = 5
"""Troubles of the relay in a row after which a send pauses and says why."""
TROUBLES_THAT_SHOW = 2
"""Troubles in a row after which every page says so; a refused sign-in or a paused send says it at once."""
SIGN_IN = {"sign_in_refused", "sign_in_disabled"}
RESTS = (2, 5, 15, 30, 60)
"""Seconds that a relay rests after its first, second, ... trouble in a row."""


def is_local(settings: Settings) -> bool:
    """Whether mails stay on this machine: the local catcher, or a relay on loopback."""
    return settings.relay is None or settings.relay.is_local


def catcher(port: int) -> RelayAddress:
    """The local catcher of an installation without a relay."""
    return RelayAddress(host="127.0.0.1", port=port, tls="none", per_minute=None)


CATCHER_PORT = "catcher.port"
"""File of the data directory in which a running catcher says where it listens."""


def way_out(settings: Settings) -> RelayAddress:
    """Where a mail outside the ledger is handed over; Unavailable(relay_unreachable) when nothing listens."""
    if settings.relay is not None:
        return settings.relay
    try:
        return catcher(int((settings.data_dir / CATCHER_PORT).read_text(encoding="ascii")))
    except (OSError, ValueError) as error:
        raise Unavailable("relay_unreachable") from error


def row_of(session: Session, settings: Settings) -> Relay:
    """The relay's row, made on first use, with the pace that the settings tell now."""
    address, name = settings.relay, _name(settings)
    per_minute = address.per_minute if address else None
    insert_new(session, Relay, [{"name": name, "next_slot": 0.0, "troubles": 0, "per_minute": None}], unique=["name"])
    relay = session.scalars(sa.select(Relay).where(Relay.name == name)).one()
    if relay.per_minute != per_minute:
        relay.per_minute = per_minute
        session.flush()
    return relay


def _name(settings: Settings) -> str:
    return f"{settings.relay.host}:{settings.relay.port}" if settings.relay else "catcher"


def take_slot(session: Session, relay_id: int, per_minute: int, now: float) -> float:
    """Seconds to wait until the next mail may leave: one row moved forward by one UPDATE, so exact over all workers.

    The interval is 60/(limit-1) s: at 60/limit, jitter lets one more than the limit through in some minute (measured).
    """
    interval = 60 / (per_minute - 1)
    free = sa.case((Relay.next_slot > now, Relay.next_slot), else_=now)
    taken = session.execute(
        sa.update(Relay).where(Relay.id == relay_id).values(next_slot=free + interval).returning(Relay.next_slot)
    ).scalar_one()
    return max(0.0, float(taken) - interval - now)


def take_allowance(session: Session, relay_id: int, address: RelayAddress, most: int) -> int:
    """How many of ``most`` mails may be handed over now by the limits per hour and day; when none, the relay rests until one may.

    Counted from the ledger, inside the transaction that claims them: what any worker handed over, taken or refused, and what is
    being handed over. Exact over all workers, since they count one at a time.
    """
    now = clock.now()
    limits = _limits(address, now)
    if not limits:
        return most
    one_at_a_time(session, f"relay-{relay_id}")
    leaving = (
        session.scalar(sa.select(sa.func.count()).where(Delivery.token.is_not(None), Delivery.state == DeliveryState.SENDING)) or 0
    )
    handed = [(period, most_in, _handed(session, period, now)) for period, most_in in limits]
    full = [_free_at(session, address, *one, now) for one in handed if one[2] >= one[1]]
    if full:
        session.execute(sa.update(Relay).where(Relay.id == relay_id).values(resting_until=max(full)))
    return max(0, min(most, *(most_in - count - leaving for _, most_in, count in handed)))


def _limits(address: RelayAddress, now: datetime) -> list[tuple[timedelta, int]]:
    limits = ((pace.HOUR, address.per_hour), (pace.DAY, pace.per_day(address, now)))
    return [(period, most) for period, most in limits if most]


def _handed(session: Session, period: timedelta, now: datetime) -> int:
    return session.scalar(sa.select(sa.func.count()).select_from(_handed_since(now - period))) or 0


def _free_at(session: Session, address: RelayAddress, period: timedelta, most: int, count: int, now: datetime) -> datetime:
    """When the first place under a limit becomes free again: a mail is old enough, or the next week of a warm-up begins."""
    handed = _handed_since(now - period)
    first: datetime | None = session.scalar(sa.select(handed.c.at).order_by(handed.c.at).offset(max(0, count - most)).limit(1))
    free_at = (first or now) + period
    warming = pace.warm_up(address, now) if period == pace.DAY else None
    return min(free_at, warming.next_at) if warming else free_at


def windows_of(session: Session, address: RelayAddress) -> list[pace.Window]:
    """How the limits per hour and day stand now, by the ledger."""
    now = clock.now()
    counted = [(period, most, _handed(session, period, now)) for period, most in _limits(address, now)]
    return [pace.Window(*one, _free_at(session, address, *one, now)) for one in counted]


def time_left(session: Session, settings: Settings, mails: int, rate: float | None = None) -> timedelta | None:
    """How long so many mails will take by all limits and rests of the relay; ``rate`` is what it accepts per minute now, without
    it the pace that it was told. None when nothing tells."""
    address, now = settings.relay, clock.now()
    if rate is None and address is not None and address.per_minute:
        rate = address.per_minute - 1  # see `take_slot`
    begin = resting_until(session, settings) or now
    ends = pace.ends_at(mails, begin, address, windows_of(session, address) if address else [], rate)
    return ends - now if ends else None


def _handed_since(instant: datetime) -> sa.Subquery:
    """The instants at which a mail of a send that reaches people, or a notice to staff, was handed over, its envelope at least."""
    made = sa.select(Attempt.at).join(Delivery, Delivery.id == Attempt.delivery_id).join(Send, Send.id == Delivery.send_id)
    handed = Attempt.step.in_((Step.RCPT.value, Step.DATA.value, Step.MESSAGE.value))
    made = made.where(Attempt.at > instant, handed, Send.by_catcher.is_not(True))
    return sa.union_all(made, sa.select(Notice.left_at).where(Notice.left_at > instant)).subquery()


def resting_until(session: Session, settings: Settings) -> datetime | None:
    """When the relay of the settings may be tried again; None: now."""
    until: datetime | None = session.scalar(sa.select(Relay.resting_until).where(Relay.name == _name(settings)))
    return until if until is not None and until > clock.now() else None


def note_success(session: Session, relay_id: int) -> None:
    """A mail was accepted: troubles in a row begin anew."""
    session.execute(sa.update(Relay).where(Relay.id == relay_id, Relay.troubles > 0).values(**_WELL))


_WELL = {"troubles": 0, "trouble": None, "resting_until": None}


def note_trouble(session: Session, relay_id: int, now: datetime, reason: str) -> int:
    """The relay refused us or was not there: it rests; returns its troubles in a row. What several workers meet while it rests
    is one trouble, not several."""
    awake = sa.or_(Relay.resting_until.is_(None), Relay.resting_until <= now)
    counted = sa.update(Relay).where(Relay.id == relay_id, awake).values(troubles=Relay.troubles + 1, trouble=reason)
    troubles = session.execute(counted.returning(Relay.troubles)).scalar()
    if troubles is None:
        return session.scalar(sa.select(Relay.troubles).where(Relay.id == relay_id)) or 0
    rest = timedelta(seconds=RESTS[min(troubles, len(RESTS)) - 1])
    session.execute(sa.update(Relay).where(Relay.id == relay_id).values(resting_until=now + rest))
    return int(troubles)


@dataclass(frozen=True)
class Trouble:
    """What is wrong with the relay, and what becomes of it without anybody's help."""

    reason: str
    """A code of `faults.SENTENCES`."""
    next_try: datetime | None
    """When a worker tries it again; None: when the next mail is to leave."""
    paused: int
    """Sends that paused for it and wait for a person."""


def trouble_of(session: Session, settings: Settings) -> Trouble | None:
    """What is wrong with the relay now; None when it is well, or when it stumbled once and nothing came of it."""
    relay = session.execute(
        sa.select(Relay.troubles, Relay.trouble, Relay.resting_until).where(Relay.name == _name(settings))
    ).first()
    if relay is None or not relay.troubles or relay.trouble is None:
        return None
    for_it = sa.select(sa.func.count(Send.id)).where(Send.state == SendState.PAUSED, Send.reason.in_(SENTENCES))
    paused = session.scalar(for_it) or 0
    if relay.troubles < TROUBLES_THAT_SHOW and relay.trouble not in SIGN_IN and not paused:
        return None
    return Trouble(relay.trouble, _next_try(session, relay.resting_until), paused)


def _next_try(session: Session, rests_until: datetime | None) -> datetime | None:
    """A send under way tries it when its rest is over, and so does a notice that waits for its hour."""
    under_way = session.scalar(sa.select(sa.exists().where(Send.state == SendState.SENDING)))
    first: datetime | None = session.scalar(sa.select(sa.func.min(Notice.due_at)).where(Notice.mail == NoticeMail.WAITING))
    candidates = [instant for instant in (rests_until, None if under_way else first) if instant is not None]
    return max(candidates) if candidates and (under_way or first) else None


def forgive(session: Session, relay_id: int) -> None:
    """A person resumes: the relay may be tried at once."""
    session.execute(sa.update(Relay).where(Relay.id == relay_id).values(**_WELL))
