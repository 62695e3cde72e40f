"""Whether two records are of one person: what speaks for it, what speaks against it, and the traps."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm.people.evidence import AGAINST, Grade, Match, Reason, Record, Scales, record_of
from crm.people.likeness_keys import keys_of
from crm.people.name_words import shares_of, words_of

LOS_ANGELES = {"place": 1, "country": "US"}


def record(whole: str, *, address: str = "", **told: Any) -> Record:
    """Of `Ana / Núñez / López`."""
    parts = [part.strip() or None for part in whole.split("/")]
    names = [*parts, None, None][:3]
    about: dict[str, Any] = LOS_ANGELES | told
    return record_of(names[0] or "", names[1] or "", names[2], addresses=[address] if address else [], **about)


def weighed(one: Record, other: Record) -> Match | None:
    return Scales(1_500).weigh(one, other) if keys_of(one) & keys_of(other) else None


@pytest.mark.parametrize(
    ("one", "other", "reason"),
    [
        ("María José / García / Peña", "Ma. José / Garcia / Pena", Reason.SAME_NAMES),
        ("María José / García / Peña", "MARIAJOSE / GARCIA / PEÑA", Reason.SAME_NAMES),
        ("M. José / García / Peña", "María José / García / Peña", Reason.INITIAL),
        ("José de Jesús / de la Cruz / Ibarra", "José Jesús / Cruz / Ibarra", Reason.SAME_NAMES),
        ("Ana / Núñez / Xolalpa", "Ana / Xolalpa / Núñez", Reason.SWAPPED_SURNAMES),
        ("Ana / Núñez / Xolalpa", "Núñez Xolalpa / Ana", Reason.CROSSED_NAMES),
        ("Ana / Xolalpa / Núñez", "Ana / Xolalpa", Reason.MISSING_SURNAME),
        ("Ana / Xolalpa / Núñez", "Ana Xolalpa Núñez / ", Reason.SAME_NAMES),
        ("Ulises / Xolalpa / Núñez", "Ulises / Xolapla / Núñez", Reason.TYPED_NAME),
        ("Ximena / Gonzáles / Yáñez", "Jimena / González / Yáñez", Reason.NICKNAME),
        ("Pepe / Güemes / Ruiz", "José / Guemes / Ruiz", Reason.NICKNAME),
        ("José Luis / Xolalpa / Ruiz", "José / Xolalpa / Ruiz", Reason.FEWER_GIVEN),
        ("Ana / Ponce de León / Ruiz", "Ana / Ponce / Ruiz", Reason.TYPED_NAME),
        ("Zoé / O'Connor", "Zoe / OConnor", Reason.SAME_NAMES),
        ("Ana / Núñez-Xolalpa", "Ana / Núñez / Xolalpa", Reason.SAME_NAMES),
    ],
)
def test_one_person_written_twice(one: str, other: str, reason: Reason) -> None:
    match = weighed(record(one), record(other))
    assert match is not None
    assert reason in match.reasons


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ana / García / López", "Luis / García / López"),  # brother and sister
        ("María José / Ruiz / Peña", "José María / Ruiz / Peña"),
        ("Fernanda / Ruiz / Peña", "Fernando / Ruiz / Peña"),
        ("José Luis / García / López", "José Antonio / García / López"),
        ("José / García / López", "José / García / Hernández"),  # father and son, or a namesake
        ("Juan / Rosas / Pérez", "Juan / Rojas / Pérez"),
    ],
)
def test_two_people_of_one_house(one: str, other: str) -> None:
    phone = {"phone": "+1 555 010 0123"}
    match = weighed(record(one, **phone), record(other, **phone))
    assert match is None or (match.grade is Grade.POSSIBLE and AGAINST & set(match.reasons))


@pytest.mark.parametrize(
    ("one", "other", "reason"),
    [
        ("ana.nunez80@example.com", "ananunez80@example.com", Reason.DOTTED_ADDRESS),
        ("ana.nunez80@example.com", "ana.nunez80+taller@example.com", Reason.DOTTED_ADDRESS),
        ("ana.nunez80@example.com", "ana.nunez80@exmaple.com", Reason.TYPED_DOMAIN),
        ("chilanga_mty@example.com", "chilanga.mty@example.org", Reason.OTHER_DOMAIN),
        ("ana.nunez80@example.com", "ana.nunes80@example.com", Reason.ALIKE_ADDRESS),
    ],
)
def test_addresses_of_one_person(one: str, other: str, reason: Reason) -> None:
    match = weighed(record("Ana / Núñez / López", address=one), record("Ana / Núñez", address=other, place=2))
    assert match is not None
    assert match.reasons[0] is reason


def test_an_address_alone_tells_the_name_and_a_role_tells_nobody() -> None:
    named = record("Ulises / Xolalpa / Núñez", address="otra@example.org")
    assert weighed(record("", address="ulises.xolalpa@example.org"), named) is not None
    assert weighed(record("", address="contacto@example.org"), record("", address="contacto@example.com")) is None


def test_a_rare_surname_says_more_than_garcia() -> None:
    rare, common = (weighed(record(f"José / {one} / Pérez"), record(f"José / {one} / Pérez")) for one in ("Xolalpa", "García"))
    assert rare is not None
    assert common is not None
    assert rare.score > common.score


def test_a_name_that_is_common_here_says_less() -> None:
    one = record("Zoé / Xolalpa / Tlapale", place=None)
    here = shares_of([(one.given, one.surnames, None)] * 300)
    there, usual = Scales(1_500, here).weigh(one, one), Scales(1_500).weigh(one, one)
    assert usual is not None
    assert there is None or there.score < usual.score


def test_a_telephone_of_a_switchboard_says_less_than_one_of_a_house() -> None:
    one = record("Ana / García / Ruiz", phone="555 010 0123", place=None)
    other = record("Ana / García", phone="5550100123", place=None)
    few, many = Scales().weigh(one, other, sharing=2), Scales().weigh(one, other, sharing=400)
    assert few is not None
    assert Reason.SAME_PHONE in few.reasons
    assert many is None or many.score < few.score


NAMES = st.lists(
    st.sampled_from(
        ["Ana", "María", "José", "de la Cruz", "Núñez", "Xolalpa", "Ma.", "J.", "O'Connor", "Peña-Ruiz", "jr", "", "  "]
    ),
    min_size=3,
    max_size=3,
)


@given(NAMES, NAMES, st.sampled_from(["", "ana.x80@example.org", "@", "+@x"]), st.sampled_from([None, "5550100123", "12"]))
def test_weighing_never_fails_and_hangs_on_no_order(some: list[str], others: list[str], address: str, phone: str | None) -> None:
    one = record_of(some[0], some[1], some[2], addresses=[address] if address else [], phone=phone, place=1)
    other = record_of(others[0], others[1], others[2], addresses=["ana.y@example.com"], phone=phone)
    assert Scales().weigh(one, other) == Scales().weigh(other, one)
    assert keys_of(one) == keys_of(one)
    assert all(0 <= key < 2**63 for key in keys_of(one))


@given(st.text(max_size=40))
def test_words_are_folded_whatever_is_written(text: str) -> None:
    assert all(word == word.casefold() for word in words_of(text))
