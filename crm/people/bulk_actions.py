"""One thing done to many people at once: in one transaction, in the history of each, and undone for thirty days."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm import clock, history
from crm.database import insert_many, keyset_page, new_ids
from crm.errors import Conflict, InvalidInput, NotFound
from crm.history import Action, Change, Entry
from crm.people import tags, withdrawals
from crm.people.contacts import visible
from crm.people.duplicate_models import Joining
from crm.people.models import (
    BulkAction,
    BulkActionPerson,
    BulkKind,
    Contact,
    Language,
    Note,
    Tag,
    Task,
    contact_tag,
    kept_id,
    unblocked,
)
from crm.people.notes import checked_text
from crm.people.schemas import ONE_LINE

UNDO_DAYS = 30
BATCH = 500
TAG_LENGTH = 80
Changed = dict[int, str | None]
"""Whom an action changed, and what `BulkActionPerson.before` keeps of each."""


def carry_out(
    session: Session,
    kind: BulkKind,
    value: str,
    people: Sequence[int],
    account_id: int,
    *,
    due_on: date | None = None,
    owner_id: int | None = None,
) -> BulkAction:
    """Do one thing to people by id; who is blocked, gone or needs no change is left as it is.

    ``due_on`` and ``owner_id`` are of a task. InvalidInput(field_required, field_too_long, language_unknown,
    note_holds_document) names the field `value`; InvalidInput(nobody_chosen).
    """
    told = _checked(kind, value)
    if not people:
        raise InvalidInput("nobody_chosen", field="people")
    done = BulkAction(kind=kind, value=told, account_id=account_id)
    session.add(done)
    session.flush()
    session.info["why"] = why(done.id)
    for ids in _batches(session, people):
        if kind is BulkKind.TASK:
            changed = _add_tasks(session, ids, told, due_on, owner_id, account_id)
        else:
            changed = _DEEDS[kind](session, ids, told, account_id)
        insert_many(
            session,
            BulkActionPerson,
            [{"bulk_action_id": done.id, "contact_id": one, "before": before} for one, before in changed.items()],
        )
        done.people += len(changed)
    session.flush()
    return done


def why(action_id: int) -> str:
    """The reason that the history tells of what a bulk action changes."""
    return f"Acción en lote {action_id}"


def _why_undone(action_id: int) -> str:
    return f"{why(action_id)}, deshecha"


def find(session: Session, cursor: str | None = None, limit: int = 50) -> tuple[list[BulkAction], str | None]:
    """A page of the actions, newest first, and the cursor of the next one."""
    rows, following = keyset_page(session, sa.select(BulkAction), [BulkAction.id], cursor=cursor, limit=limit, descending=True)
    return [row[0] for row in rows], following


def get(session: Session, action_id: int) -> BulkAction:
    """NotFound(bulk_action_not_found)."""
    found = session.get(BulkAction, action_id)
    if found is None:
        raise NotFound("bulk_action_not_found")
    return found


def changed(action_id: int) -> sa.Select[int]:
    """The ids of the people whom an action changed; records that were joined since are one, and who was deleted is gone."""
    theirs = sa.select(kept_id().label("person")).join(BulkActionPerson, BulkActionPerson.contact_id == Contact.id)
    return theirs.where(BulkActionPerson.bulk_action_id == action_id).distinct()


def left_by_undoing(session: Session, done: BulkAction, people: Sequence[int]) -> set[int]:
    """Who of some people stayed as they were when an action was undone: its undoing is not in their history."""
    if done.undone_at is None or not people:
        return set()
    undoing = sa.exists().where(
        Change.root == "contact", Change.root_id == BulkActionPerson.contact_id, Change.why == _why_undone(done.id)
    )
    return set(session.scalars(changed(done.id).where(kept_id().in_(people), ~undoing)))


def until(done: BulkAction) -> datetime:
    """When it can no longer be undone."""
    return done.at + timedelta(days=UNDO_DAYS)


def undo(session: Session, action_id: int) -> BulkAction:
    """Take an action back from everybody of whom what it changed is as it left it; the others stay as they are.

    Errors: bulk_action_not_found, bulk_action_undone, bulk_action_too_old.
    """
    done = session.get(BulkAction, action_id, with_for_update=True, populate_existing=True) or get(session, action_id)
    if done.undone_at is not None:
        raise Conflict("bulk_action_undone")
    if clock.now() >= until(done):
        raise Conflict("bulk_action_too_old", days=UNDO_DAYS)
    session.info["why"] = _why_undone(done.id)
    kept = sa.select(BulkActionPerson.contact_id, BulkActionPerson.before)
    rows = session.execute(kept.where(BulkActionPerson.bulk_action_id == done.id).order_by(BulkActionPerson.contact_id)).all()
    done.undone = 0
    for start in range(0, len(rows), BATCH):
        before: Changed = {row[0]: row[1] for row in rows[start : start + BATCH]}
        done.undone += _UNDOING[done.kind](session, before, done)
    done.undone_at = clock.now()
    if done.kind in (BulkKind.TASK, BulkKind.NOTE):
        done.value = ""  # what was written about people is theirs, in their records; here nobody would find it to delete it
    session.flush()
    return done


def _checked(kind: BulkKind, value: str) -> str:
    if kind is BulkKind.BLOCK:
        return value.strip()[:TAG_LENGTH]
    if kind in (BulkKind.TASK, BulkKind.NOTE):
        return checked_text(value)
    told = " ".join(value.split())
    if not told:
        raise InvalidInput("field_required", field="value")
    if kind is BulkKind.LANGUAGE and told not in set(Language):
        raise InvalidInput("language_unknown", field="value")
    if re.fullmatch(ONE_LINE, told) is None or not told.isprintable():
        raise InvalidInput("field_control_characters", field="value")
    if len(told) > TAG_LENGTH:
        raise InvalidInput("field_too_long", field="value", limit=TAG_LENGTH)
    return told


def _batches(session: Session, people: Sequence[int]) -> Iterator[list[int]]:
    """The ids of those who are visible, in batches."""
    every = sorted(set(people))
    for start in range(0, len(every), BATCH):
        seen = sa.select(Contact.id).where(Contact.id.in_(every[start : start + BATCH]), visible()).order_by(Contact.id)
        yield list(session.scalars(seen))


# --- tags ------------------------------------------------------------------------------------------------------------------


def _add_tag(session: Session, ids: Sequence[int], name: str, _account_id: int) -> Changed:
    tag_id = tags.ensure(session, [name])[tags.tag_key(name)]
    have = _tagged(session, ids, tag_id)
    return _change_tag(session, [one for one in ids if one not in have], tag_id, add=True)


def _remove_tag(session: Session, ids: Sequence[int], name: str, _account_id: int) -> Changed:
    tag_id = session.scalar(sa.select(Tag.id).where(Tag.key == tags.tag_key(name)))
    return _change_tag(session, sorted(_tagged(session, ids, tag_id)), tag_id, add=False) if tag_id else {}


def _tagged(session: Session, ids: Sequence[int], tag_id: int) -> set[int]:
    rows = sa.select(contact_tag.c.contact_id).where(contact_tag.c.contact_id.in_(ids), contact_tag.c.tag_id == tag_id)
    return set(session.scalars(rows))


def _change_tag(session: Session, ids: Sequence[int], tag_id: int, *, add: bool) -> Changed:
    if not ids:
        return {}
    before = _names_of_tags(session, ids)
    if add:
        session.execute(sa.insert(contact_tag), [{"contact_id": one, "tag_id": tag_id} for one in ids])
    else:
        session.execute(sa.delete(contact_tag).where(contact_tag.c.contact_id.in_(ids), contact_tag.c.tag_id == tag_id))
    after = _names_of_tags(session, ids)
    _set(session, ids)
    _note(session, ids, {one: {"tags": [before.get(one), after.get(one)]} for one in ids})
    return dict.fromkeys(ids)


def _names_of_tags(session: Session, ids: Sequence[int]) -> dict[int, list[str]]:
    rows = sa.select(contact_tag.c.contact_id, Tag.name).join(Tag, Tag.id == contact_tag.c.tag_id)
    found: dict[int, list[str]] = {}
    for contact_id, name in session.execute(rows.where(contact_tag.c.contact_id.in_(ids)).order_by(Tag.name)):
        found.setdefault(contact_id, []).append(name)
    return found


def _back_tag(session: Session, before: Changed, done: BulkAction) -> int:
    """Of records that were joined since too: of them, and of the record that is kept."""
    rows = session.execute(sa.select(Contact.id, Contact.merged_into_id).where(Contact.id.in_(before), unblocked())).all()
    mine = {row[0] for row in rows}
    if done.kind is BulkKind.REMOVE_TAG:
        back = _add_tag(session, sorted(mine | {row[1] for row in rows if row[1] is not None}), done.value, done.account_id)
    else:
        copied, own = _tags_of_joined(session, done)
        back = _remove_tag(session, sorted((mine | copied) - own), done.value, done.account_id)
    return len(back.keys() & before.keys())


def _tags_of_joined(session: Session, done: BulkAction) -> tuple[set[int], set[int]]:
    """Of the records that others were joined into since an action put a tag: those that have it by such a joining alone, and those
    that the action gave it too, but that have it by their own right since the other record had it before."""
    since = sa.select(Joining).where(Joining.at >= done.at, Joining.undone_at.is_(None)).order_by(Joining.id)
    joinings = session.scalars(since).all()
    told = [number for row in joinings for number in (row.kept_id, row.joined_id)]
    tag_id = session.scalar(sa.select(Tag.id).where(Tag.key == tags.tag_key(done.value)))
    if not told or tag_id is None:
        return set(), set()
    changed = sa.select(BulkActionPerson.contact_id).where(
        BulkActionPerson.bulk_action_id == done.id, BulkActionPerson.contact_id.in_(told)
    )
    by_action = set(session.scalars(changed))
    holding, copied, own = _tagged(session, told, tag_id), set[int](), set[int]()
    for row in joinings:
        if row.joined_id not in by_action | copied:
            own |= {row.kept_id} if row.joined_id in holding else set()
        elif tag_id in (row.snapshot or {}).get("tags", ()):
            copied.add(row.kept_id)
    return copied, own


# --- language and blocking ---------------------------------------------------------------------------------------------------


def _set_language(session: Session, ids: Sequence[int], language: str, _account_id: int) -> Changed:
    asked = sa.select(Contact.id, Contact.language).where(Contact.id.in_(ids), Contact.language != Language(language))
    before = {row[0]: row[1].value for row in session.execute(asked)}
    _set(session, list(before), language=Language(language))
    _note(session, list(before), {one: {"language": [old, language]} for one, old in before.items()})
    return dict(before)


def _back_language(session: Session, before: Changed, done: BulkAction) -> int:
    asked = sa.select(Contact.id).where(Contact.id.in_(before), Contact.language == Language(done.value), visible())
    back = list(session.scalars(asked))
    for language in Language:
        _set(session, [one for one in back if before[one] == language.value], language=language)
    _note(session, back, {one: {"language": [done.value, before[one]]} for one in back})
    return len(back)


def _block(session: Session, ids: Sequence[int], _value: str, _account_id: int) -> Changed:
    now = clock.now()
    _set(session, [*ids, *session.scalars(_joined_into(ids).where(Contact.blocked_at.is_(None)))], blocked_at=now)
    withdrawals.note_blocks(session, ids)
    _note(session, ids, {}, {one: {"blocked_at": [None, now.isoformat()]} for one in ids})
    return dict.fromkeys(ids, now.isoformat())


def _back_block(session: Session, before: Changed, _done: BulkAction) -> int:
    asked = sa.select(Contact.id, Contact.blocked_at).where(Contact.id.in_(before), Contact.blocked_at.is_not(None))
    rows = session.execute(asked).all()
    back = [number for number, at in rows if at is not None and at.isoformat() == before[number]]
    since = {at for number, at in rows if number in back}
    _set(session, [*back, *session.scalars(_joined_into(back).where(Contact.blocked_at.in_(since)))], blocked_at=None)
    withdrawals.note_blocks(session, back, lifted=True)
    _note(session, back, {}, {one: {"blocked_at": [before[one], None]} for one in back})
    return len(back)


def _joined_into(ids: Sequence[int]) -> sa.Select[int]:
    """The records that were joined into those of some people."""
    return sa.select(Contact.id).where(Contact.merged_into_id.in_(ids))


def _set(session: Session, ids: Sequence[int], **values: object) -> None:
    """Give people some values, and raise their version whatever was changed of them."""
    if ids:
        changed = (
            sa.update(Contact).where(Contact.id.in_(ids)).values(version=Contact.version + 1, changed_at=clock.now(), **values)
        )
        session.execute(changed, execution_options={"synchronize_session": False})


def _note(
    session: Session,
    ids: Sequence[int],
    personal: Mapping[int, dict[str, object]],
    plain: Mapping[int, dict[str, object]] | None = None,
) -> None:
    """Write the change of each person to the history."""
    history.record(
        session,
        [
            Entry(Action.CHANGE, "contact", one, "contact", one, plain=(plain or {}).get(one, {}), personal=personal.get(one, {}))
            for one in ids
        ],
    )


# --- tasks and notes ---------------------------------------------------------------------------------------------------------


def _add_tasks(
    session: Session, ids: Sequence[int], text: str, due_on: date | None, owner_id: int | None, account_id: int
) -> Changed:
    shared: dict[str, object] = {
        "text": text,
        "due_on": due_on,
        "account_id": owner_id,
        "made_by_id": account_id,
        "made_at": clock.now(),
    }
    return _make(session, Task, ids, shared)


def _add_notes(session: Session, ids: Sequence[int], text: str, account_id: int) -> Changed:
    return _make(session, Note, ids, {"text": text, "account_id": account_id, "at": clock.now()})


def _make(session: Session, table: type[Task] | type[Note], ids: Sequence[int], shared: dict[str, object]) -> Changed:
    numbers = new_ids(session, table.__table__, len(ids))
    pairs = list(zip(numbers, ids, strict=True))
    insert_many(session, table, [{**shared, "id": number, "contact_id": contact_id} for number, contact_id in pairs])
    text = {"text": [None, shared["text"]]}
    name = table.__tablename__
    history.record(
        session, [Entry(Action.CREATE, name, number, "contact", contact_id, personal=text) for number, contact_id in pairs]
    )
    return {contact_id: str(number) for number, contact_id in pairs}


def _back_made(session: Session, before: Changed, done: BulkAction) -> int:
    """Tasks that were done meanwhile stay."""
    numbers = [int(number or 0) for number in before.values()]
    made: Sequence[Task | Note]
    if done.kind is BulkKind.TASK:
        open_ones = sa.select(Task).where(Task.id.in_(numbers), Task.removed_at.is_(None), Task.done_at.is_(None))
        made = session.scalars(open_ones).all()
    else:
        made = session.scalars(sa.select(Note).where(Note.id.in_(numbers), Note.removed_at.is_(None))).all()
    for one in made:
        one.removed_at = clock.now()
    session.flush()
    return len(made)


_DEEDS: dict[BulkKind, Callable[[Session, Sequence[int], str, int], Changed]] = {
    BulkKind.ADD_TAG: _add_tag,
    BulkKind.REMOVE_TAG: _remove_tag,
    BulkKind.LANGUAGE: _set_language,
    BulkKind.NOTE: _add_notes,
    BulkKind.BLOCK: _block,
}
_UNDOING: dict[BulkKind, Callable[[Session, Changed, BulkAction], int]] = {
    BulkKind.ADD_TAG: _back_tag,
    BulkKind.REMOVE_TAG: _back_tag,
    BulkKind.LANGUAGE: _back_language,
    BulkKind.TASK: _back_made,
    BulkKind.NOTE: _back_made,
    BulkKind.BLOCK: _back_block,
}
