"""Two records of one person made one, and parted again within 30 days.

The joined record stays as a row that points to the one kept. What it says is copied, so that parting them is to take the copies
away; only its addresses move, since an address is of one person at a time. Deliveries stay where they are: the ledger is never
rewritten, and whoever asks what a person received asks of both (`segment_fields`, `person_story`). A consent that either record
revoked stays revoked, joined and parted.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm import clock, history
from crm.errors import Conflict, NotFound
from crm.history import Action, Entry
from crm.mailing.models import Campaign, Delivery, DeliveryState, Send
from crm.mailing.sends import OVER
from crm.people import changing, comparing, consent, duplicates
from crm.people.contacts import whole
from crm.people.duplicate_models import DuplicatePair, Joining, PairState
from crm.people.models import (
    Consent,
    ConsentState,
    Contact,
    EmailAddress,
    LeaderRole,
    Note,
    Post,
    Suppression,
    Tag,
    Task,
    contact_tag,
)
from crm.people.names import display_name
from crm.people.suppression import LEFT

UNDO_DAYS = 30
FIELDS: dict[str, tuple[str, ...]] = {
    name: (name,)
    for name in (
        "given_names", "first_surname", "second_surname", "preferred_name", "treatment", "academic_title", "phone", "language",
    )
} | {"place": ("city_id", "city_as_typed", "country"), "home_borough": ("home_borough",), "source": ("source",)}  # fmt: skip
"""What a person chooses of the two records, with the columns of each."""
_WAITS = (DeliveryState.PENDING, DeliveryState.DEFERRED, DeliveryState.SENDING)


# --- what would be joined -----------------------------------------------------------------------------------------------------


def differing(kept: Contact, joined: Contact) -> list[str]:
    """The fields of which the two say different things."""
    return [name for name in FIELDS if _values(kept, name) != _values(joined, name)]


def suggested(kept: Contact, joined: Contact) -> dict[str, str]:
    """For each field that differs, whose value stays unless a person says otherwise: the fuller one, and else that of the kept."""
    return {name: "joined" if _fullness(joined, name) > _fullness(kept, name) else "kept" for name in differing(kept, joined)}


def _values(contact: Contact, name: str) -> tuple[Any, ...]:
    return tuple(getattr(contact, column) for column in FIELDS[name])


def _fullness(contact: Contact, name: str) -> tuple[bool, bool, bool, int]:
    """How much a field says: something, by its own city rather than a word, not all in capitals, with accents and whole words."""
    values = _values(contact, name)
    text = next((value for value in values if isinstance(value, str) and value), "")
    is_told = any(value not in (None, "") for value in values)
    is_name = name in {"given_names", "first_surname", "second_surname"}
    return is_told, values[0] is not None, not text.isupper(), len(text) + (not text.isascii()) if is_name else 0


def fuller(one: Contact, other: Contact) -> Contact:
    """Which of two records is better kept: the one that says more, and else the older one."""
    first, second = (sum(value not in (None, "") for name in FIELDS for value in _values(each, name)) for each in (one, other))
    return other if (second, -other.id) > (first, -one.id) else one


# --- joining ------------------------------------------------------------------------------------------------------------------


def join(
    session: Session,
    kept_id: int,
    joined_id: int,
    choices: Mapping[str, str],
    *,
    address_id: int | None = None,
    versions: tuple[int, int] | None = None,
    reason: str | None = None,
) -> Joining:
    """Make two records one. ``choices`` says by field whose value stays, ``kept`` or ``joined``; ``address_id`` which address is
    written to; ``versions`` are those of the two records as they were read.

    NotFound(contact_not_found); Conflict: pair_settled (one of them was joined meanwhile), joining_blocked, joining_changed,
    joining_mail_waits.
    """
    kept, joined = _locked(session, kept_id, joined_id)
    if kept.merged_into_id is not None or joined.merged_into_id is not None or kept_id == joined_id:
        raise Conflict("pair_settled")
    if versions is not None and versions != (kept.version, joined.version):
        raise Conflict("joining_changed")
    _check_mail(session, (kept_id, joined_id))
    snapshot: dict[str, Any] = {"fields": _choose(kept, joined, choices)}
    snapshot["tags"] = _copy_tags(session, kept, joined)
    snapshot |= _copy_posts_and_roles(session, kept, joined)
    snapshot["consents"] = _copy_consents(session, kept, joined)
    snapshot |= _move_addresses(session, kept, joined, address_id)
    snapshot |= {table.__tablename__: _move(session, table, joined.id, kept.id) for table in (Note, Task)}
    snapshot["last_consent"] = session.scalar(sa.select(sa.func.max(Consent.id))) or 0
    snapshot["pointing"] = list(session.scalars(sa.select(Contact.id).where(Contact.merged_into_id == joined_id)))
    _point(session, [joined_id, *snapshot["pointing"]], kept_id)
    _settle_pairs(session, kept, joined)
    row = Joining(kept_id=kept_id, joined_id=joined_id, by_id=_actor_id(session), reason=reason, snapshot=snapshot)
    session.add(row)
    session.flush()
    _note(session, row, Action.CREATE)
    _refresh(session, [kept_id])
    return row


def _locked(session: Session, *ids: int) -> list[Contact]:
    """The records whole and kept from others, locked in one order."""
    statement = sa.select(Contact).where(Contact.id.in_(ids)).order_by(Contact.id).options(*whole())
    session.flush()
    found = {one.id: one for one in session.scalars(statement.with_for_update().execution_options(populate_existing=True))}
    if len(found) != len(set(ids)):
        raise NotFound("contact_not_found")
    if any(one.blocked_at is not None for one in found.values()):
        raise Conflict("joining_blocked")
    return [found[number] for number in ids]


def _check_mail(session: Session, ids: Sequence[int]) -> None:
    """Refuse while a mail to one of them may still leave, or nobody knows whether it did, in a send that goes on."""
    open_here = sa.and_(Delivery.state == DeliveryState.IN_DOUBT, Send.state.not_in(OVER))
    waiting = (
        sa.select(Campaign.name)
        .join(Send, Send.campaign_id == Campaign.id)
        .join(Delivery, Delivery.send_id == Send.id)
        .where(Delivery.contact_id.in_(ids), sa.or_(Delivery.state.in_(_WAITS), open_here))
        .limit(1)
    )
    if (name := session.scalar(waiting)) is not None:
        raise Conflict("joining_mail_waits", name=name)


def _choose(kept: Contact, joined: Contact, choices: Mapping[str, str]) -> dict[str, list[Any]]:
    """Give the kept record the values that were chosen; returns what each column was and is."""
    usual = suggested(kept, joined)
    moved: dict[str, list[Any]] = {}
    for name in differing(kept, joined):
        if choices.get(name, usual[name]) == "joined":
            for column in FIELDS[name]:
                before, after = getattr(kept, column), getattr(joined, column)
                if before != after:
                    moved[column] = [before, after]
                    setattr(kept, column, after)
    return moved


def _move_addresses(session: Session, kept: Contact, joined: Contact, chosen: int | None) -> dict[str, Any]:
    mine = next((row.id for row in consent.active_addresses(kept)), None)
    theirs = next((row.id for row in consent.active_addresses(joined)), None)
    preferred = chosen if chosen is not None else usual_address(kept, joined)
    moved = [row.id for row in joined.addresses]
    for row in [*kept.addresses, *joined.addresses]:
        row.contact_id, row.is_preferred = kept.id, row.id == preferred and row.retired_at is None
    session.flush()
    return {"addresses": moved, "preferred": [mine, theirs]}


def _move(session: Session, table: type[Note] | type[Task], from_id: int, to_id: int, only: Sequence[int] = ()) -> list[int]:
    """What the team wrote down of a record goes with the person; returns what was moved, of ``only`` if any are told."""
    mine = sa.select(table.id).where(table.contact_id == from_id)
    ids = list(session.scalars(mine.where(table.id.in_(only)) if only else mine))
    session.execute(sa.update(table).where(table.id.in_(ids)).values(contact_id=to_id))
    return ids


def usual_address(kept: Contact, joined: Contact) -> int | None:
    """Which address is written to unless somebody says otherwise: that of the kept record, if mail may reach it."""
    active = [*consent.active_addresses(kept), *consent.active_addresses(joined)]
    usable = [row for row in active if not row.suppressions]
    return next((row.id for row in usable or active), None)


def _copy_tags(session: Session, kept: Contact, joined: Contact) -> list[int]:
    held = {tag.id for tag in kept.tags}
    fresh = [tag for tag in joined.tags if tag.id not in held]
    if fresh:
        session.execute(sa.insert(contact_tag), [{"contact_id": kept.id, "tag_id": tag.id} for tag in fresh])
        _note_tags(session, kept.id, kept.tags, [*kept.tags, *fresh])
    return [tag.id for tag in fresh]


def _note_tags(session: Session, contact_id: int, before: Iterable[Tag], after: Iterable[Tag]) -> None:
    personal = {"tags": [sorted(tag.name for tag in before), sorted(tag.name for tag in after)]}
    history.record(session, [Entry(Action.CHANGE, "contact", contact_id, "contact", contact_id, personal=personal)])


_OF_POST, _OF_ROLE = ("organization_id", "title", "since", "until"), ("sector", "scope", "since", "until")


def _told(row: Post | LeaderRole, columns: Sequence[str]) -> tuple[Any, ...]:
    return tuple(getattr(row, column) for column in columns)


def _copy_posts_and_roles(session: Session, kept: Contact, joined: Contact) -> dict[str, list[int]]:
    posts, current = {_told(post, _OF_POST) for post in kept.posts}, {post.organization_id for post in kept.posts if not post.until}
    fresh_posts = [
        Post(contact_id=kept.id, **dict(zip(_OF_POST, _told(post, _OF_POST), strict=True)))
        for post in joined.posts
        if _told(post, _OF_POST) not in posts and not (post.until is None and post.organization_id in current)
    ]
    roles, leads = (
        {_told(role, _OF_ROLE) for role in kept.leader_roles},
        {role.sector for role in kept.leader_roles if not role.until},
    )
    fresh_roles = [
        LeaderRole(contact_id=kept.id, **dict(zip(_OF_ROLE, _told(role, _OF_ROLE), strict=True)))
        for role in joined.leader_roles
        if _told(role, _OF_ROLE) not in roles and not (role.until is None and role.sector in leads)
    ]
    session.add_all([*fresh_posts, *fresh_roles])
    session.flush()
    return {"posts": [post.id for post in fresh_posts], "roles": [role.id for role in fresh_roles]}


def _copy_consents(session: Session, kept: Contact, joined: Contact) -> list[int]:
    """What the joined record says and the kept one does not; a grant never answers a revocation, nor brings back who left."""
    mine = {(said.purpose, said.channel): said.state for said in consent.last_words(kept)}
    has_left = any(one.reason in LEFT for row in [*kept.addresses, *joined.addresses] for one in row.suppressions)
    copies = []
    for said in consent.last_words(joined):
        standing = mine.get((said.purpose, said.channel))
        gives = said.state is ConsentState.GRANTED
        if standing is said.state or (gives and (standing is not None or has_left)):
            continue
        copies.append(_copied(session, said, kept.id))
    session.add_all(copies)
    session.flush()
    return [copy.id for copy in copies]


def _copied(session: Session, said: Consent, contact_id: int) -> Consent:
    actor: history.Actor = session.info.get("actor", history.SYSTEM)
    told = {name: getattr(said, name) for name in ("purpose", "channel", "state", "evidence", "notice_version")}
    day = said.given_on or clock.institute_time(said.recorded_at).date()
    told |= {"source": consent.COPIED, "actor_kind": actor.kind.value, "actor_id": actor.id}
    return Consent(contact_id=contact_id, given_on=day, **told)


def _point(session: Session, ids: Sequence[int], kept_id: int | None) -> None:
    """Let records point to the one that is kept, or to none."""
    for contact in session.scalars(sa.select(Contact).where(Contact.id.in_(ids))):
        contact.merged_into_id = kept_id
    session.flush()


def _settle_pairs(session: Session, kept: Contact, joined: Contact) -> None:
    comparing.forget_keys(session, joined.id)
    pair = duplicates.pair_of(session, kept.id, joined.id)
    if pair is not None:
        duplicates.settle(session, pair, PairState.JOINED)
    mine = sa.or_(DuplicatePair.low_id == joined.id, DuplicatePair.high_id == joined.id)
    session.execute(sa.delete(DuplicatePair).where(mine, DuplicatePair.state == PairState.OPEN))


def _refresh(session: Session, ids: Sequence[int]) -> None:
    """What is derived of the records, from what they say now."""
    session.expire_all()
    for contact in session.scalars(sa.select(Contact).where(Contact.id.in_(ids)).options(*whole())):
        changing.refresh(contact)
    session.flush()
    duplicates.compare(session, ids)


def _actor_id(session: Session) -> int | None:
    actor: history.Actor = session.info.get("actor", history.SYSTEM)
    return actor.id if actor.kind is history.ActorKind.ACCOUNT else None


def _note(session: Session, row: Joining, action: Action) -> None:
    """In the history of both, under the one that is kept."""
    plain = {"kept_id": [None, row.kept_id], "joined_id": [None, row.joined_id]} | (
        {"reason": [None, row.reason]} if row.reason else {}
    )
    roots = (row.kept_id, row.joined_id)
    history.record(session, [Entry(action, "joining", row.id, "contact", one, plain=plain) for one in roots])


# --- the way back -------------------------------------------------------------------------------------------------------------


def get(session: Session, joining_id: int) -> Joining:
    """One joining; NotFound(joining_not_found)."""
    row = session.get(Joining, joining_id, with_for_update=True, populate_existing=True)
    if row is None:
        raise NotFound("joining_not_found")
    return row


def until(row: Joining) -> datetime:
    """Up to when it may be undone."""
    return row.at + timedelta(days=UNDO_DAYS)


def may_undo(row: Joining) -> bool:
    return row.undone_at is None and row.snapshot is not None and clock.now() < until(row)


def of_contact(session: Session, contact_id: int) -> list[tuple[Joining, str]]:
    """The records that were joined into a person and not parted since, the newest first, with the name of each."""
    mine = sa.select(Joining).where(Joining.kept_id == contact_id, Joining.undone_at.is_(None)).order_by(Joining.id.desc())
    rows = list(session.scalars(mine))
    names = {
        one.id: display_name(one) for one in session.scalars(sa.select(Contact).where(Contact.id.in_([r.joined_id for r in rows])))
    }
    return [(row, names.get(row.joined_id) or "Sin nombre") for row in rows]


def part(session: Session, joining_id: int) -> list[str]:
    """Give each record back its own; returns the columns that were changed since and stay as they are.

    NotFound(joining_not_found); Conflict: joining_undone, joining_too_old, joining_under_another, joining_blocked,
    joining_mail_waits.
    """
    row = get(session, joining_id)
    if row.undone_at is not None:
        raise Conflict("joining_undone")
    if row.snapshot is None or not may_undo(row):
        raise Conflict("joining_too_old", days=UNDO_DAYS)
    kept, joined = _locked(session, row.kept_id, row.joined_id)
    if kept.merged_into_id is not None:
        raise Conflict("joining_under_another", name=display_name(kept) or kept.id)
    _check_mail(session, (kept.id, joined.id))
    stays = _restore(kept, row.snapshot["fields"])
    _give_addresses_back(session, row)
    stays += _take_copies_away(session, kept, row.snapshot)
    for table in (Note, Task):
        if ids := row.snapshot.get(table.__tablename__):
            _move(session, table, row.kept_id, row.joined_id, only=ids)
    _carry_revocations(session, row)
    _carry_departures(session, row)
    _point(session, [row.joined_id], None)
    _point(session, row.snapshot["pointing"], row.joined_id)
    row.undone_at, row.undone_by_id, row.snapshot = clock.now(), _actor_id(session), None
    pair = duplicates.pair_of(session, row.kept_id, row.joined_id)
    if pair is not None:
        duplicates.settle(session, pair, PairState.OPEN)
    session.flush()
    _note(session, row, Action.REMOVE)
    _refresh(session, [row.kept_id, row.joined_id])
    return stays


def _restore(kept: Contact, moved: Mapping[str, Sequence[Any]]) -> list[str]:
    """Put back what each column said, unless somebody changed it since."""
    changed = [column for column, (_, after) in moved.items() if getattr(kept, column) != after]
    for column, (before, _) in moved.items():
        if column not in changed:
            setattr(kept, column, before)
    return changed


def _give_addresses_back(session: Session, row: Joining) -> None:
    snapshot = row.snapshot or {}
    owners = sa.select(EmailAddress).where(EmailAddress.contact_id == row.kept_id)
    held = list(session.scalars(owners.order_by(EmailAddress.id)))
    sides = {row.kept_id: [one for one in held if one.id not in snapshot["addresses"]]}
    sides[row.joined_id] = [one for one in held if one.id in snapshot["addresses"]]
    for (contact_id, mine), wished in zip(sides.items(), snapshot["preferred"], strict=True):
        active = [one for one in mine if one.retired_at is None]
        chosen = next((one for one in active if one.is_preferred), None) if contact_id == row.kept_id else None
        chosen = chosen or next((one for one in active if one.id == wished), None) or next(iter(active), None)
        for one in mine:
            one.contact_id, one.is_preferred = contact_id, one is chosen
    session.flush()


def _take_copies_away(session: Session, kept: Contact, snapshot: Mapping[str, Any]) -> list[str]:
    """Take away what was copied and nobody touched since; returns what stays."""
    removed = [tag for tag in kept.tags if tag.id in snapshot["tags"]]
    if removed:
        gone = contact_tag.c.tag_id.in_([tag.id for tag in removed])
        session.execute(sa.delete(contact_tag).where(contact_tag.c.contact_id == kept.id, gone))
        _note_tags(session, kept.id, kept.tags, [tag for tag in kept.tags if tag not in removed])
    stays = _remove_untouched(session, kept.posts, snapshot["posts"], "post")
    stays += _remove_untouched(session, kept.leader_roles, snapshot["roles"], "leader_role")
    session.execute(sa.delete(Consent).where(Consent.id.in_(snapshot["consents"])))
    session.flush()
    return stays


def _remove_untouched(session: Session, rows: Sequence[Post | LeaderRole], ids: Sequence[int], entity: str) -> list[str]:
    copies = [one for one in rows if one.id in ids]
    changed = sa.select(history.Change.entity_id).where(
        history.Change.entity == entity, history.Change.entity_id.in_(ids), history.Change.action == Action.CHANGE
    )
    touched = set(session.scalars(changed))
    for one in copies:
        if one.id not in touched:
            session.delete(one)
    return ["post" if entity == "post" else "leader_sectors"] if touched & {one.id for one in copies} else []


def _carry_revocations(session: Session, row: Joining) -> None:
    """What was revoked while the two were one is revoked of both: it was said of whoever the joined record is."""
    last = (row.snapshot or {})["last_consent"]
    said = sa.select(Consent).where(Consent.contact_id == row.kept_id, Consent.id > last).order_by(Consent.id)
    since = {(one.purpose, one.channel): one for one in session.scalars(said)}
    theirs = sa.select(Consent).where(Consent.contact_id == row.joined_id).order_by(Consent.id)
    standing = {(one.purpose, one.channel): one.state for one in session.scalars(theirs)}
    copies = [
        _copied(session, one, row.joined_id)
        for mark, one in since.items()
        if one.state is ConsentState.REVOKED and standing.get(mark) is not ConsentState.REVOKED
    ]
    session.add_all(copies)
    session.flush()


def _carry_departures(session: Session, row: Joining) -> None:
    """Who left while the two were one left as both, by whichever address it was said."""
    pair = (row.kept_id, row.joined_id)
    by_address = Suppression.address_hash == EmailAddress.suppression_hash
    said = sa.select(EmailAddress.contact_id, Suppression).join(Suppression, by_address)
    said = said.where(EmailAddress.contact_id.in_(pair), Suppression.reason.in_(LEFT), Suppression.recorded_at >= row.at)
    for contact_id, told in session.execute(said).all():
        other = row.joined_id if contact_id == row.kept_id else row.kept_id
        theirs = sa.select(EmailAddress.address).where(EmailAddress.contact_id == other)
        for address in session.scalars(theirs).all():
            proof = f"{told.proof} (dicho mientras la ficha estaba junta con otra)"
            consent.suppress(session, address, told.reason, happened_on=told.happened_on, proof=proof)


def forget(session: Session) -> None:
    """Delete what parting would need of records whose days to be parted are over."""
    old = Joining.at < clock.now() - timedelta(days=UNDO_DAYS)
    session.execute(sa.update(Joining).where(old, Joining.snapshot.is_not(None)).values(snapshot=None))
