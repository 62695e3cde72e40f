"""Pairs that may be one person: found when somebody comes in or changes, set aside for good, and found by comparing everybody."""

from typing import Any

import pytest
from sqlalchemy.orm import Session

from crm import clock, history
from crm.database import Database
from crm.errors import Conflict, NotFound
from crm.people import comparing, contacts, duplicates
from crm.people.duplicate_models import PairState, likeness_key
from crm.people.evidence import Grade, Reason
from crm.people.models import RowStatus
from crm.people.schemas import ContactPatch
from crm.people.taking_in import take_in_many
from tests.people.factories import contact, contact_in

PLACE = {"city": "Chicago", "country": "US"}
TWICE: dict[str, Any] = {"given_names": "Zoé", "first_surname": "Xolalpa", "second_surname": "Quiroz", **PLACE}


def pairs(session: Session) -> list[tuple[int, int]]:
    return [(pair.low_id, pair.high_id) for pair in duplicates.find(session)[0]]


def test_finds_who_comes_in_twice_and_says_why(session: Session) -> None:
    contact(session, 0)
    taken = take_in_many(session, [contact_in(1, **TWICE), contact_in(2, **TWICE | {"second_surname": None, "city": None})])
    assert [(one.status, one.warnings) for one in taken] == [(RowStatus.CREATED, ["possible_duplicate"])] * 2
    pair = duplicates.find(session)[0][0]
    assert (pair.low_id, pair.high_id) == (taken[0].contact_id, taken[1].contact_id)
    assert Reason.MISSING_SURNAME in pair.match.reasons
    assert duplicates.counts(session)[pair.grade] == 1


def test_a_change_makes_and_unmakes_a_pair(session: Session) -> None:
    one, other = contact(session, 1, **TWICE), contact(session, 2, **TWICE | {"given_names": "Ulises"})
    assert pairs(session) == []
    contacts.change(session, other.id, ContactPatch(given_names="Zoe"))
    assert pairs(session) == [(one.id, other.id)]
    contacts.change(session, other.id, ContactPatch(given_names="Ulises"))
    assert pairs(session) == []


def test_what_was_set_aside_comes_back_only_when_much_more_is_known(session: Session) -> None:
    one, other = contact(session, 1, **TWICE), contact(session, 2, **TWICE)
    pair = duplicates.set_aside(session, duplicates.find(session)[0][0].id)
    contacts.change(session, other.id, ContactPatch(first_surname="Xolálpa"))
    assert pairs(session) == []
    assert duplicates.count_set_aside(session) == 1
    with pytest.raises(Conflict) as told:
        duplicates.set_aside(session, pair.id)
    assert told.value.code == "pair_settled"
    contacts.change(session, one.id, ContactPatch(phone="+1 555 0101"))
    contacts.change(session, other.id, ContactPatch(phone="+1 (555) 0101"))
    assert pairs(session) == [(one.id, other.id)]
    changes = [change for change in history.changes_of(session, "contact", one.id) if change.entity == "duplicate_pair"]
    decided = [change.fields["state"][1] for change in changes]
    assert decided == ["set_aside"]


def test_a_decision_can_be_taken_back(session: Session) -> None:
    contact(session, 1, **TWICE), contact(session, 2, **TWICE)
    pair = duplicates.set_aside(session, duplicates.find(session)[0][0].id)
    assert duplicates.bring_back(session, pair.id).state is PairState.OPEN
    with pytest.raises(NotFound):
        duplicates.set_aside(session, 999)


def test_nobody_blocked_is_compared_or_shown(session: Session) -> None:
    one = contact(session, 1, **TWICE)
    one.blocked_at = clock.now()
    other = contact(session, 2, **TWICE)
    assert pairs(session) == []
    one.blocked_at = None
    session.flush()
    duplicates.compare(session, [one.id])
    assert pairs(session) == [(one.id, other.id)]
    other.blocked_at = clock.now()
    session.flush()
    assert pairs(session) == []
    assert sum(duplicates.counts(session).values()) == 0


def test_compares_everybody_in_pieces_as_if_one_by_one(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "PIECE", 3)
    with database.session() as session:
        names = ["Zoé", "Ana", "Luis", "Zoe", "Zoé"]
        people = [contact(session, number, **TWICE | {"given_names": name}) for number, name in enumerate(names)]
        ids = [person.id for person in people]
        before = pairs(session)
        assert set(before) == {(ids[0], ids[3]), (ids[0], ids[4]), (ids[3], ids[4])}
        duplicates.set_aside(session, duplicates.find(session)[0][0].id)
        left = pairs(session)
        session.execute(likeness_key.delete())
        duplicates.ask_for_all(session)
        assert duplicates.due(session) == [(1, 0)]
    duplicates.carry_out(database, lambda: True)
    with database.session() as session:
        assert duplicates.due(session) == [(1, 0)]  # it was stopped, and is due still
    duplicates.carry_out(database, lambda: False)
    with database.session() as session:
        assert set(pairs(session)) == set(left)
        assert duplicates.due(session) == []
        assert duplicates.told(session).finished_at is not None


def test_a_block_that_is_too_large_is_cut_by_city(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparing, "BLOCK_MOST", 2)
    cities = ("Chicago", "Toronto", "Madrid", "Chicago")
    people = [contact(session, number, **TWICE | {"city": city, "country": None}) for number, city in enumerate(cities)]
    assert pairs(session)[0] == (people[0].id, people[3].id)


def test_counts_by_grade_and_import(session: Session) -> None:
    contact(session, 1, **TWICE), contact(session, 2, **TWICE)
    grade = duplicates.find(session)[0][0].grade
    assert duplicates.find(session, grade=next(one for one in Grade if one is not grade))[0] == []
    assert duplicates.find(session, import_id=7)[0] == []
    assert duplicates.count_of_import(session, 7) == 0
