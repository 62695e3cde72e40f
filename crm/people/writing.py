"""Writes what a batch changed, in one executemany per table, with the history that the session cannot see."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm import clock, history
from crm.database import insert_many, new_ids, search_key
from crm.history import Action, Entry
from crm.people import organizations, tags, withdrawals
from crm.people.consent import source_of
from crm.people.merging import COLUMNS, HeldPost, Person
from crm.people.models import Consent, ConsentState, Contact, EmailAddress, Language, LeaderRole, Post, contact_tag
from crm.people.names import order_key

PERSONAL = frozenset(name for name in COLUMNS if Contact.__table__.c[name].info.get("personal"))
"""Columns whose values before and after are kept beside the log."""


def write_people(session: Session, people: Sequence[Person], *, import_id: int | None, suppressed: Collection[str]) -> None:
    """Write everyone who is new or changed; gives the new ones their id."""
    fresh = [person for person in people if person.id is None]
    changed = [person for person in people if person.id is not None and (person.has_new_parts or person.changed_columns)]
    if not fresh and not changed:
        return
    at = clock.now()
    entries = _insert_contacts(session, fresh, import_id, at) + _update_contacts(session, changed, at)
    touched = fresh + changed
    entries += _write_addresses(session, touched, suppressed, at)
    _write_tags(session, touched)
    entries += _write_roles(session, touched) + _write_posts(session, touched)
    _write_consents(session, touched, import_id, at)
    history.record(session, entries)
    _forget_loaded(session, {person.id for person in changed})


def search_text(names: Sequence[str | None], addresses: Collection[str], organization_names: Collection[str]) -> str:
    """`Contact.search_key`: names, active addresses and organizations, folded."""
    return search_key(" ".join(part for part in (*names, *addresses, *organization_names) if part))


def _keys(person: Person) -> dict[str, str]:
    names = (person.given_names, person.first_surname, person.second_surname, person.preferred_name)
    posts = [post.organization for post in person.posts.values()] if person.posts else ()
    return {
        "sort_key": order_key(person.given_names, person.first_surname, person.second_surname),
        "search_key": search_text(names, person.addresses.values(), posts),
    }


def _insert_contacts(session: Session, people: list[Person], import_id: int | None, at: datetime) -> list[Entry]:
    if not people:
        return []
    shared = {"import_id": import_id, "created_at": at, "changed_at": at, "version": 1, "blocked_at": None}
    rows = []
    for person in people:
        person.language = person.language or Language.SPANISH
        rows.append({**{name: getattr(person, name) for name in COLUMNS}, **_keys(person), **shared})
    for person, contact_id in zip(people, _insert(session, Contact, rows), strict=True):
        person.id = contact_id
    return [_contact_entry(person, row, import_id) for person, row in zip(people, rows, strict=True)]


def _insert(session: Session, model: Any, rows: list[dict[str, Any]]) -> Sequence[int]:
    """Insert rows and return their ids, in the order of the rows."""
    ids = new_ids(session, model.__table__, len(rows))
    insert_many(session, model, [{"id": row_id, **row} for row_id, row in zip(ids, rows, strict=True)])
    return ids


def _contact_entry(person: Person, row: dict[str, Any], import_id: int | None) -> Entry:
    entry = Entry(Action.CREATE, "contact", person.id, "contact", person.id)
    for name in COLUMNS:
        if row[name] is not None and row[name] != "":
            (entry.personal if name in PERSONAL else entry.plain)[name] = [None, row[name]]
    if import_id is not None:
        entry.plain["import_id"] = [None, import_id]
    return _with_tags(entry, person)


def _with_tags(entry: Entry, person: Person) -> Entry:
    if person.new_tags:
        after = sorted(person.tags.values())
        before = sorted(name for key, name in person.tags.items() if key not in person.new_tags)
        entry.personal["tags"] = [before or None, after]
    return entry


def _update_contacts(session: Session, people: list[Person], at: datetime) -> list[Entry]:
    if not people:
        return []
    table: Any = Contact.__table__
    statement = (
        sa.update(table)
        .where(table.c.id == sa.bindparam("of_id"))
        .values({name: sa.bindparam(f"new_{name}") for name in (*COLUMNS, "sort_key", "search_key", "changed_at")})
        .values(version=table.c.version + 1)
    )
    rows = []
    for person in people:
        values = {**{name: getattr(person, name) for name in COLUMNS}, **_keys(person), "changed_at": at}
        rows.append({"of_id": person.id, **{f"new_{name}": value for name, value in values.items()}})
    session.connection().execute(statement, rows)
    return [entry for person in people if (entry := _changed_entry(person)) is not None]


def _changed_entry(person: Person) -> Entry | None:
    entry = Entry(Action.CHANGE, "contact", person.id, "contact", person.id)
    for name in person.changed_columns:
        (entry.personal if name in PERSONAL else entry.plain)[name] = [person.before[name], getattr(person, name)]
    _with_tags(entry, person)
    return entry if entry.plain or entry.personal else None


def _part(action: Action, entity: str, row_id: int, person_id: int | None) -> Entry:
    return Entry(action, entity, row_id, "contact", person_id)


def _write_addresses(session: Session, people: list[Person], suppressed: Collection[str], at: datetime) -> list[Entry]:
    rows: list[dict[str, Any]] = []
    demoted: list[tuple[int, int | None]] = []
    for person in people:
        preferred = _new_preferred(person, suppressed)
        if preferred is not None and person.preferred is not None:
            demoted.append((person.preferred[0], person.id))
        rows += [
            {"contact_id": person.id, "address": address.text, "key": address.key, "suppression_hash": address_hash}
            | {"is_preferred": address_hash == preferred, "retired_at": None, "created_at": at}
            for address, address_hash in person.new_addresses
        ]
    entries = _demote(session, demoted)
    for row, row_id in zip(rows, _insert(session, EmailAddress, rows), strict=True):
        entry = _part(Action.CREATE, "email_address", row_id, row["contact_id"])
        entry.plain["is_preferred"] = [None, row["is_preferred"]]
        entry.personal["address"] = [None, row["address"]]
        entries.append(entry)
    return entries


def _new_preferred(person: Person, suppressed: Collection[str]) -> str | None:
    """The hash of the new address that is written to from now on: when there was none, or the one there was bounced."""
    fresh = [address_hash for _, address_hash in person.new_addresses]
    usable = [address_hash for address_hash in fresh if address_hash not in suppressed]
    if person.preferred is None:
        return next(iter(usable or fresh), None)
    return next(iter(usable), None) if person.preferred[1] in suppressed else None


def _demote(session: Session, demoted: list[tuple[int, int | None]]) -> list[Entry]:
    if not demoted:
        return []
    ids = [address_id for address_id, _ in demoted]
    table: Any = EmailAddress.__table__
    session.connection().execute(sa.update(table).where(table.c.id.in_(ids)).values(is_preferred=False))
    entries = [_part(Action.CHANGE, "email_address", address_id, contact_id) for address_id, contact_id in demoted]
    for entry in entries:
        entry.plain["is_preferred"] = [True, False]
    return entries


def _write_tags(session: Session, people: list[Person]) -> None:
    fresh = {name for person in people for name in person.new_tags.values()}
    if fresh:
        ids = tags.ensure(session, sorted(fresh))
        rows = [{"contact_id": person.id, "tag_id": ids[key]} for person in people for key in person.new_tags]
        insert_many(session, contact_tag, rows)


def _write_roles(session: Session, people: list[Person]) -> list[Entry]:
    rows: list[dict[str, Any]] = [{"contact_id": person.id, "sector": sector} for person in people for sector in person.new_sectors]
    entries = []
    for row, row_id in zip(rows, _insert(session, LeaderRole, rows), strict=True):
        entry = _part(Action.CREATE, "leader_role", row_id, row["contact_id"])
        entry.personal["sector"] = [None, row["sector"]]
        entries.append(entry)
    return entries


def _write_posts(session: Session, people: list[Person]) -> list[Entry]:
    held = [(person, key, post) for person in people for key, post in person.posts.items()]
    fresh = [(person, key, post) for person, key, post in held if post.id is None]
    entries = _retitle(session, [(person, post) for person, _, post in held if post.id is not None])
    if not fresh:
        return entries
    ids = organizations.ensure(session, sorted({post.organization for _, _, post in fresh}))
    rows: list[dict[str, Any]] = [
        {"contact_id": person.id, "organization_id": ids[key], "title": post.title} for person, key, post in fresh
    ]
    for row, row_id in zip(rows, _insert(session, Post, rows), strict=True):
        entry = _part(Action.CREATE, "post", row_id, row["contact_id"])
        entry.personal["organization_id"] = [None, row["organization_id"]]
        if row["title"]:
            entry.personal["title"] = [None, row["title"]]
        entries.append(entry)
    return entries


def _retitle(session: Session, held: list[tuple[Person, HeldPost]]) -> list[Entry]:
    entries = []
    for person, post in held:
        if post.id is not None and post.title != post.title_before:
            table: Any = Post.__table__
            session.connection().execute(sa.update(table).where(table.c.id == post.id).values(title=post.title))
            entry = _part(Action.CHANGE, "post", post.id, person.id)
            entry.personal["title"] = [post.title_before, post.title]
            entries.append(entry)
    return entries


def _write_consents(session: Session, people: list[Person], import_id: int | None, at: datetime) -> None:
    actor: history.Actor = session.info.get("actor", history.SYSTEM)
    source = source_of(session) if import_id is None else "import"
    shared: dict[str, Any] = {
        "source": source,
        "import_id": import_id,
        "recorded_at": at,
        "actor_kind": actor.kind.value,
        "actor_id": actor.id,
    }
    rows: list[dict[str, Any]] = [
        {"contact_id": person.id, "purpose": said.purpose, "channel": said.channel, "state": said.state}
        | {"evidence": said.evidence, "notice_version": said.notice_version, "given_on": said.given_on}
        | shared
        for person in people
        for said in person.new_consents
    ]
    insert_many(session, Consent, rows)
    for row in rows:
        if row["state"] is ConsentState.REVOKED:
            withdrawals.note_revocation(session, Consent(**row))


def _forget_loaded(session: Session, ids: Collection[int | None]) -> None:
    """Contacts that the session holds are read again when next asked for: these statements passed it by."""
    for row in list(session.identity_map.values()):
        if isinstance(row, Contact) and row.id in ids:
            session.expire(row)
