"""Possible duplicates: who may already be the person that is being written down."""

from typing import Any

import pytest
from sqlalchemy.orm import Session

from crm import clock
from crm.people import contacts
from crm.people.evidence import Reason
from crm.people.likeness import MOST, find_alike
from crm.people.schemas import ContactPatch
from tests.people.factories import address_of, contact


def alike(session: Session, **told: Any) -> list[tuple[int, set[Reason]]]:
    asked: dict[str, Any] = {"given_names": "", "first_surname": "", "second_surname": None, "emails": []}
    return [(one.contact.id, set(one.match.reasons)) for one in find_alike(session, **(asked | told))]


def test_finds_who_has_or_had_the_address(session: Session) -> None:
    one, other = contact(session, 0), contact(session, 1)
    contacts.change(session, other.id, ContactPatch(emails=["nueva@example.org"]))
    assert alike(session, emails=[address_of(0).upper()]) == [(one.id, {Reason.SAME_ADDRESS})]
    assert alike(session, emails=[address_of(1), "nueva@example.org"]) == [(other.id, {Reason.SAME_ADDRESS})]
    assert alike(session, emails=[address_of(1)]) == [(other.id, {Reason.SAME_ADDRESS})]


@pytest.mark.parametrize(
    ("given", "first", "second", "why"),
    [
        ("ANA", "nunez", "Lopez", {Reason.SAME_NAMES}),
        ("Ana", "Núñez", None, {Reason.MISSING_SURNAME}),
        ("Ana", "López", "Núñez", {Reason.SWAPPED_SURNAMES}),
    ],
)
def test_finds_who_has_the_same_names_however_written(
    session: Session, given: str, first: str, second: str | None, why: set[Reason]
) -> None:
    one = contact(session, 0, given_names="Ana", first_surname="Núñez", second_surname="López")
    contact(session, 1, given_names="Anabel", first_surname="Ibarra")
    assert alike(session, given_names=given, first_surname=first, second_surname=second) == [(one.id, why)]


def test_asks_nothing_of_half_a_name_or_of_what_is_no_address_yet(session: Session) -> None:
    contact(session, 0)
    assert alike(session, given_names="Ana", emails=["persona0@", "", "%"]) == []
    assert alike(session, first_surname="Núñez") == []


def test_names_few_people_the_most_alike_first_and_nobody_blocked(session: Session) -> None:
    people = [contact(session, number, given_names="Ana", first_surname="Ibarra", second_surname=None) for number in range(8)]
    people[0].blocked_at = clock.now()
    session.flush()
    found = alike(session, given_names="Ana", first_surname="Ibarra", emails=[address_of(7)])
    assert found[0] == (people[7].id, {Reason.SAME_ADDRESS})
    assert len(found) == MOST
    assert people[0].id not in [number for number, _ in found]
