"""What became of a send, cut by place, by provider of the mailbox or by reason: people by state, sums equal to the audience."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm.database import mail_domain
from crm.mailing.models import Delivery, DeliveryState
from crm.people.models import Contact


class Cut(StrEnum):
    """By what the people of a send are told apart."""

    COUNTRY = "country"
    PROVIDER = "provider"
    REASON = "reason"


PROVIDERS = {
    "Gmail": ("gmail.com", "googlemail.com"),
    "Microsoft": ("outlook.com", "hotmail.com", "live.com", "msn.com", "outlook.es", "hotmail.es", "live.com.mx", "hotmail.co.uk"),
    "Yahoo": ("yahoo.com", "yahoo.com.mx", "yahoo.es", "ymail.com", "rocketmail.com", "aol.com"),
    "iCloud": ("icloud.com", "me.com", "mac.com"),
    "Proton": ("proton.me", "protonmail.com"),
}
"""Whose server answers for a mailbox, by its domain; any other domain stands for itself."""
_PROVIDER_OF = {domain: provider for provider, domains in PROVIDERS.items() for domain in domains}
MOST = 12
"""Groups that are told by name; the smaller ones are one."""
OTHERS = "others"


@dataclass(frozen=True)
class Group:
    """People of one place, provider or reason, by state (`sending` is told as `pending`)."""

    key: str | None
    counts: dict[DeliveryState, int]

    @property
    def people(self) -> int:
        return sum(self.counts.values())

    @property
    def written(self) -> int:
        """Those who are not left out."""
        return self.people - self.counts.get(DeliveryState.SKIPPED, 0)

    @property
    def sent(self) -> int:
        return self.counts.get(DeliveryState.SENT, 0)


def groups(session: Session, send_id: int, cut: Cut) -> list[Group]:
    """The people of a send in groups, the largest first; beyond `MOST` the rest are the group `OTHERS`."""
    key = _key(session, cut)
    rows = session.execute(
        sa.select(key, Delivery.state, sa.func.count())
        .join(Contact, Contact.id == Delivery.contact_id)
        .where(Delivery.send_id == send_id)
        .group_by(key, Delivery.state)
    )
    named = ((_provider(row[0]) if cut is Cut.PROVIDER else row[0], row[1], row[2]) for row in rows)
    return largest(summed(named))


def _provider(domain: str | None) -> str | None:
    return _PROVIDER_OF.get(domain, domain) if domain else None


def condition(session: Session, cut: Cut, key: str) -> sa.ColumnElement[bool]:
    """The deliveries of a group, for the list of its people; the statement must read Contact. An empty key: without any."""
    column = _key(session, cut)
    if not key:
        return column.is_(None)
    domains = PROVIDERS.get(key, (key,)) if cut is Cut.PROVIDER else (key,)
    return column.in_(domains)


def _key(session: Session, cut: Cut) -> sa.ColumnElement[str]:
    if cut is Cut.COUNTRY:
        return sa.type_coerce(Contact.country, sa.String())
    if cut is Cut.PROVIDER:
        return sa.type_coerce(mail_domain(session, Delivery.address), sa.String())
    return sa.type_coerce(Delivery.reason, sa.String())


def summed(rows: Iterable[tuple[str | None, str, int]]) -> list[Group]:
    """(key, state, people) as groups, the largest first."""
    found: dict[str | None, dict[DeliveryState, int]] = {}
    for name, told, count in rows:
        state = DeliveryState.PENDING if told == DeliveryState.SENDING else DeliveryState(told)
        counts = found.setdefault(name, {})
        counts[state] = counts.get(state, 0) + count
    return sorted((Group(name, counts) for name, counts in found.items()), key=lambda group: (-group.people, group.key or ""))


def largest(found: list[Group]) -> list[Group]:
    """At most `MOST` groups: the smallest become one, and nobody is lost."""
    if len(found) <= MOST:
        return found
    rest: dict[DeliveryState, int] = {}
    for group in found[MOST - 1 :]:
        for state, count in group.counts.items():
            rest[state] = rest.get(state, 0) + count
    return [*found[: MOST - 1], Group(OTHERS, rest)]
