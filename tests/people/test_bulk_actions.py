"""One thing done to many people, in the history of each, and taken back from who is still as it left them."""

from datetime import timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm import clock, history
from crm.errors import Conflict, InvalidInput
from crm.people import bulk_actions, contacts, notes, tasks
from crm.people.bulk_actions import carry_out, undo
from crm.people.contacts import visible
from crm.people.models import BulkAction, BulkKind, Contact, Language, Note, Task
from crm.people.schemas import ContactPatch
from crm.people.taking_in import take_in_many
from crm.staff import accounts
from crm.staff.models import Role
from tests.people.factories import contact_in


@pytest.fixture
def people(session: Session) -> list[int]:
    """Five people; the last two carry the tag already, the last one is blocked."""
    taken = take_in_many(session, [contact_in(number, tags=["taller"] if number > 3 else []) for number in range(1, 6)])
    ids = [one.contact_id or 0 for one in taken]
    session.get_one(Contact, ids[4]).blocked_at = clock.now()
    session.flush()
    return ids


@pytest.fixture
def own_id(session: Session) -> int:
    return accounts.create(session, "laura@example.org", "Laura Guzmán", Role.EDITING, "una frase larga de prueba").id


def tagged(session: Session) -> set[int]:
    return {one.id for one in session.scalars(sa.select(Contact).options(*contacts.whole())) if one.tags}


def fresh(session: Session) -> Session:
    session.flush()
    session.expire_all()
    return session


def test_a_tag_is_put_on_those_who_lack_it_and_taken_from_those_alone(session: Session, people: list[int], own_id: int) -> None:
    done = carry_out(session, BulkKind.ADD_TAG, "  Taller ", people, own_id)
    assert done.people == 3
    assert tagged(fresh(session)) == set(people)
    told = history.changes_of(session, "contact", people[0])[0]
    assert told.why == bulk_actions.why(done.id)
    undone = undo(session, done.id)
    assert undone.undone == 3
    assert tagged(fresh(session)) == set(people[3:])


def test_an_undo_leaves_who_changed_since(session: Session, people: list[int], own_id: int) -> None:
    done = carry_out(session, BulkKind.ADD_TAG, "taller", people[:3], own_id)
    fresh(session)
    contacts.change(session, people[0], ContactPatch(tags=[]))
    carry_out(session, BulkKind.BLOCK, "", [people[1]], own_id)
    assert undo(session, done.id).undone == 1
    with pytest.raises(Conflict, match="bulk_action_undone"):
        undo(session, done.id)


def test_a_language_goes_back_to_what_each_had(session: Session, people: list[int], own_id: int) -> None:
    session.get_one(Contact, people[0]).language = Language.ENGLISH
    session.flush()
    done = carry_out(session, BulkKind.LANGUAGE, "en", people[:3], own_id)
    assert done.people == 2
    fresh(session).get_one(Contact, people[1]).language = Language.SPANISH
    session.flush()
    assert undo(session, done.id).undone == 1
    fresh(session)
    assert [session.get_one(Contact, one).language for one in people[:3]] == ["en", "es", "es"]


def test_tasks_and_notes_are_made_for_each_and_those_done_meanwhile_stay(session: Session, people: list[int], own_id: int) -> None:
    done = carry_out(session, BulkKind.TASK, "Llamar", people, own_id, due_on=clock.today(), owner_id=own_id)
    assert done.people == 4
    tasks.finish(session, session.scalars(sa.select(Task.id)).first() or 0, own_id)
    assert undo(session, done.id).undone == 3
    assert [tasks.count(session, done=state) for state in (False, True)] == [0, 1]
    noted = carry_out(session, BulkKind.NOTE, "Vino al taller", people[:2], own_id)
    assert [note.text for note in notes.find(session, people[0])] == ["Vino al taller"]
    assert undo(session, noted.id).undone == 2
    assert notes.find(session, people[0]) == []


def test_tells_who_stayed_as_they_were_when_it_was_undone(session: Session, people: list[int], own_id: int) -> None:
    everybody = people[:3]
    tag = carry_out(session, BulkKind.ADD_TAG, "mesa", everybody, own_id)
    task = carry_out(session, BulkKind.TASK, "Llamar", everybody, own_id)
    language = carry_out(session, BulkKind.LANGUAGE, "en", everybody, own_id)
    assert bulk_actions.left_by_undoing(session, tag, everybody) == set()
    fresh(session)
    contacts.change(session, people[0], ContactPatch(tags=[], language=Language.SPANISH))
    tasks.finish(session, session.scalars(sa.select(Task.id).where(Task.contact_id == people[1])).one(), own_id)
    for done, left in ((tag, people[:1]), (task, people[1:2]), (language, people[:1])):
        assert undo(session, done.id).undone == 2
        assert bulk_actions.left_by_undoing(session, done, everybody) == set(left)
    session.get_one(Contact, people[0]).merged_into_id = people[3]
    fresh(session)
    assert bulk_actions.left_by_undoing(session, tag, people) == {people[3]}, "records that were joined are one person"


def test_blocking_takes_them_out_and_back_in(session: Session, people: list[int], own_id: int) -> None:
    done = carry_out(session, BulkKind.BLOCK, "", people, own_id)
    seen = sa.select(sa.func.count()).select_from(Contact).where(visible())
    assert (done.people, session.scalar(seen)) == (4, 0)
    undo(session, done.id)
    assert session.scalar(seen) == 4, "who was blocked before stays blocked"


@pytest.mark.parametrize(
    ("kind", "value", "code"),
    [
        (BulkKind.ADD_TAG, "  ", "field_required"),
        (BulkKind.ADD_TAG, "x" * 81, "field_too_long"),
        (BulkKind.LANGUAGE, "fr", "language_unknown"),
        (BulkKind.NOTE, "Su CURP es NULA900101MDFXXX09", "note_holds_document"),
        (BulkKind.TASK, "", "field_required"),
    ],
)
def test_what_cannot_be_done_is_told_and_changes_nothing(
    session: Session, people: list[int], own_id: int, kind: BulkKind, value: str, code: str
) -> None:
    with pytest.raises(InvalidInput, match=code):
        carry_out(session, kind, value, people, own_id)
    with pytest.raises(InvalidInput, match="nobody_chosen"):
        carry_out(session, BulkKind.ADD_TAG, "x", [], own_id)
    assert session.scalars(sa.select(BulkAction)).all() == []
    assert session.scalars(sa.select(Note)).all() == []


def test_after_thirty_days_it_stays(session: Session, people: list[int], own_id: int) -> None:
    done = carry_out(session, BulkKind.ADD_TAG, "taller", people, own_id)
    done.at -= timedelta(days=31)
    with pytest.raises(Conflict, match="bulk_action_too_old"):
        undo(session, done.id)


def test_a_task_is_of_an_account_that_can_do_it(session: Session, people: list[int], own_id: int) -> None:
    for owner in (own_id, None):
        tasks.add(session, "Llamar", due_on=clock.today(), account_id=owner, made_by_id=own_id, contact_id=people[0])
    assert tasks.due(session, own_id)[1] == 2
    tasks.add(session, "Después", due_on=clock.today() + timedelta(days=1), account_id=own_id, made_by_id=own_id)
    assert tasks.due(session, own_id)[1] == 2
    with pytest.raises(InvalidInput, match="account_unknown"):
        tasks.add(session, "Llamar", due_on=None, account_id=999, made_by_id=own_id)
