"""Whom the rows of a batch may mean: everyone that is stored under their addresses or names, in a few queries."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm.people.merging import COLUMNS, HeldPost, Person, Row
from crm.people.models import (
    Consent,
    Contact,
    EmailAddress,
    ImportRow,
    LeaderRole,
    Organization,
    Post,
    SuppressionReason,
    Tag,
    contact_tag,
)
from crm.people.names import order_key
from crm.people.schemas import ContactIn
from crm.people.suppression import LEFT, reasons_of
from crm.people.withdrawals import COPIED


@dataclass
class Known:
    """The people of a batch, by what tells them; people whom the batch adds are entered as it goes."""

    people: list[Person] = field(default_factory=list)
    by_key: dict[str, Person] = field(default_factory=dict)
    """By key of an active address."""
    by_retired: dict[str, Person] = field(default_factory=dict)
    """By hash of an address that was retired."""
    by_name: dict[str, list[Person]] = field(default_factory=dict)
    """People without an address, by `name_key`."""
    reasons: dict[str, set[SuppressionReason]] = field(default_factory=dict)
    """Why the address of a hash is not written to."""


def name_key(data: ContactIn) -> str:
    return order_key(data.given_names, data.first_surname, data.second_surname)


def look_up(session: Session, rows: list[Row], *, import_id: int | None) -> Known:
    """Everyone whom the rows may mean, with all that a row could change."""
    hashes = {address_hash for row in rows for address_hash in row.hashes}
    active = _by_key(session, {address.key for row in rows for address in row.addresses})
    retired = _by_retired_hash(session, hashes)
    unnamed = _by_name(session, {name_key(row.data) for row in rows if not row.addresses})
    people = _load(session, sorted({*active.values(), *retired.values(), *(one for ids in unnamed.values() for one in ids)}))
    for contact_id in _told_before(session, people, import_id):
        people[contact_id].is_told = True
    known = Known(
        people=list(people.values()),
        by_key={key: people[contact_id] for key, contact_id in active.items()},
        by_retired={address_hash: people[contact_id] for address_hash, contact_id in retired.items()},
        by_name={key: [people[contact_id] for contact_id in ids] for key, ids in unnamed.items()},
    )
    judge(session, known, hashes)
    return known


def judge(session: Session, known: Known, hashes: Iterable[str]) -> None:
    """Learn which addresses are suppressed, and who of the known people left."""
    known.reasons = reasons_of(session, {*hashes, *(one for person in known.people for one in person.hashes)})
    for person in known.people:
        person.has_left = any(known.reasons.get(one, set()) & set(LEFT) for one in person.hashes)


def _by_key(session: Session, keys: set[str]) -> dict[str, int]:
    found = sa.select(EmailAddress.key, EmailAddress.contact_id).where(
        EmailAddress.key.in_(keys), EmailAddress.retired_at.is_(None)
    )
    return dict(session.execute(found).all()) if keys else {}


def _by_retired_hash(session: Session, hashes: set[str]) -> dict[str, int]:
    found = (
        sa.select(EmailAddress.suppression_hash, EmailAddress.contact_id)
        .where(EmailAddress.suppression_hash.in_(hashes), EmailAddress.retired_at.is_not(None))
        .order_by(EmailAddress.id)
    )
    return dict(session.execute(found).all()) if hashes else {}


def _by_name(session: Session, keys: set[str]) -> dict[str, list[int]]:
    active = sa.select(EmailAddress.id).where(EmailAddress.contact_id == Contact.id, EmailAddress.retired_at.is_(None))
    found = sa.select(Contact.sort_key, Contact.id).where(Contact.sort_key.in_(keys), ~active.exists()).order_by(Contact.id)
    found = found.where(Contact.merged_into_id.is_(None))
    grouped: dict[str, list[int]] = {}
    for key, contact_id in session.execute(found) if keys else ():
        grouped.setdefault(key, []).append(contact_id)
    return grouped


def _told_before(session: Session, people: dict[int, Person], import_id: int | None) -> Iterable[int]:
    """Who of them an earlier batch of the same import spoke of."""
    if import_id is None or not people:
        return ()
    told = sa.select(ImportRow.contact_id).where(ImportRow.import_id == import_id, ImportRow.contact_id.in_(list(people)))
    return {contact_id for contact_id in session.scalars(told) if contact_id is not None}


def _load(session: Session, ids: list[int]) -> dict[int, Person]:
    if not ids:
        return {}
    people: dict[int, Person] = {}
    columns = [Contact.__table__.c[name] for name in COLUMNS]
    statement = sa.select(Contact.id, Contact.blocked_at, *columns).where(Contact.id.in_(ids)).order_by(Contact.id)
    for contact_id, blocked_at, *values in session.execute(statement):
        before = dict(zip(COLUMNS, values, strict=True))
        people[contact_id] = Person(id=contact_id, is_blocked=blocked_at is not None, before=before, **before)
    _load_addresses(session, people)
    _load_parts(session, people)
    return people


def _load_addresses(session: Session, people: dict[int, Person]) -> None:
    statement = (
        sa.select(EmailAddress.__table__)
        .where(EmailAddress.contact_id.in_(list(people)))
        .order_by(EmailAddress.is_preferred.desc(), EmailAddress.id)
    )
    for row in session.execute(statement):
        person = people[row.contact_id]
        person.hashes.append(row.suppression_hash)
        if row.retired_at is not None:
            person.retired.add(row.key)
            continue
        if not person.addresses:
            person.preferred = (row.id, row.suppression_hash)
        person.addresses[row.key] = row.address


def _load_parts(session: Session, people: dict[int, Person]) -> None:
    ids = list(people)
    tags = sa.select(contact_tag.c.contact_id, Tag.key, Tag.name).join(Tag, Tag.id == contact_tag.c.tag_id)
    for contact_id, key, name in session.execute(tags.where(contact_tag.c.contact_id.in_(ids))):
        people[contact_id].tags[key] = name
    roles = sa.select(LeaderRole.contact_id, LeaderRole.sector).where(LeaderRole.contact_id.in_(ids), LeaderRole.until.is_(None))
    for contact_id, sector in session.execute(roles):
        people[contact_id].sectors.add(sector)
    posts = sa.select(Post.contact_id, Post.id, Post.title, Organization.key, Organization.name).join(Post.organization)
    for contact_id, post_id, title, key, name in session.execute(posts.where(Post.contact_id.in_(ids), Post.until.is_(None))):
        people[contact_id].posts[key] = HeldPost(name, title, post_id, title)
    columns = (Consent.contact_id, Consent.purpose, Consent.channel, Consent.state, Consent.source)
    consents: Any = session.execute(sa.select(*columns).where(Consent.contact_id.in_(ids)).order_by(Consent.id))
    for contact_id, purpose, channel, state, source in consents:
        people[contact_id].consents[purpose, channel] = state
        (people[contact_id].copied.add if source == COPIED else people[contact_id].copied.discard)((purpose, channel))
