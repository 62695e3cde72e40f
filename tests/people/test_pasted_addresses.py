"""Addresses pasted as they come: each found once, whatever stands around them, and taken out with one proof."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from crm.errors import InvalidInput
from crm.people import pasted_addresses
from crm.people.models import SuppressionReason
from crm.people.suppression import suppress
from crm.people.taking_in import take_in_many
from tests.people.factories import contact_in

LEFT = SuppressionReason.UNSUBSCRIBED
DAY = date(2026, 11, 20)


def test_takes_out_what_was_pasted_from_anywhere_once(session: Session) -> None:
    take_in_many(session, [contact_in(1, emails=["ana@example.org"])])
    suppress(session, "antes@example.org", LEFT, happened_on=DAY, proof="Carta")
    text = 'Ana Núñez <ANA@Example.org>; "luz"<luz@example.org>,\tmailto:antes@example.org\n(ana@example.org) juan@@example y nada'
    told = pasted_addresses.look(session, text, LEFT)
    assert [(one.text.lower(), one.is_valid, one.contact_id is not None, one.has_left) for one in told] == [
        ("ana@example.org", True, True, False),
        ("luz@example.org", True, False, False),
        ("antes@example.org", True, False, True),
        ("juan@@example", False, False, False),
    ]
    assert pasted_addresses.take_out(session, told, LEFT, happened_on=DAY, proof="Llamada") == 2
    assert all(one.has_left for one in pasted_addresses.look(session, text, LEFT) if one.is_valid)


@pytest.mark.parametrize("written", ["_maria@example.org", "-maria@example.org", "1.maria@example.org", "'maria@example.org"])
def test_takes_out_whom_it_says_and_not_who_is_called_nearly_so(session: Session, written: str) -> None:
    take_in_many(session, [contact_in(1, emails=["maria@example.org"])])
    (read,) = pasted_addresses.look(session, written, LEFT)
    assert (read.text, read.written) == ("maria@example.org", written), "a bullet, since nobody has the other one"
    take_in_many(session, [contact_in(2, emails=[written])])
    (read,) = pasted_addresses.look(session, f"· {written},", LEFT)
    assert (read.text, read.written) == (written, "")


@pytest.mark.parametrize(
    "text", ["¿ana@example.org?", "1.'ana@example.org'", "\u2010ana@example.org", "☐ana@example.org", "1.2.ana@example.org"]
)
def test_whatever_stands_before_it_the_person_is_found(session: Session, text: str) -> None:
    take_in_many(session, [contact_in(1, emails=["ana@example.org"])])
    assert [one.contact_id is not None for one in pasted_addresses.look(session, text, LEFT)] == [True]


def test_the_apostrophe_of_word_processors_is_one(session: Session) -> None:
    take_in_many(session, [contact_in(1, emails=["o'brien@example.org"]), contact_in(2, emails=["brien@example.org"])])
    (read,) = pasted_addresses.look(session, "‘o’brien@example.org’", LEFT)
    assert read.text == "o'brien@example.org"


@pytest.mark.parametrize("written", ["x=ana@example.org", "a=b=ana@example.org", "que?ana@example.org", "a&ana@example.org"])
def test_what_is_of_an_address_is_not_left_out_of_it(session: Session, written: str) -> None:
    """Valid letters of an address (RFC 5322, atext): without what stands before them it would be another person who leaves."""
    take_in_many(session, [contact_in(1, emails=["ana@example.org"])])
    (read,) = pasted_addresses.look(session, f"Ana {written}, por favor", LEFT)
    assert (read.text, read.contact_id) == (written, None)
    pasted_addresses.take_out(session, [read], LEFT, happened_on=DAY, proof="Llamada")
    (ana,) = pasted_addresses.look(session, "ana@example.org", LEFT)
    assert not ana.has_left


@pytest.mark.parametrize(
    "text",
    [
        "correo=ana@example.org",
        "E-mail=ana@example.org",
        "https://red.example.org/baja?email=ana@example.org&x=1",
        "https://red.example.org/baja?u=ana@example.org",
        "Dirección=ana@example.org",
        "correo=ana@example.org=20",
        "=ana@example.org",
    ],
)
def test_a_title_before_an_address_is_not_of_it_unless_somebody_is_called_so(session: Session, text: str) -> None:
    take_in_many(session, [contact_in(1, emails=["ana@example.org"])])
    (read,) = pasted_addresses.look(session, text, LEFT)
    assert (read.text, read.contact_id is not None) == ("ana@example.org", True)
    assert read.written, "and the page tells how it stands in the text"
    take_in_many(session, [contact_in(2, emails=[read.written])])
    (other,) = pasted_addresses.look(session, text, LEFT)
    assert other.text == read.written


def test_every_address_of_a_link_is_found() -> None:
    told = pasted_addresses.readings("mailto:mia@example.org?subject=Baja&cc=eva@example.org")
    assert [ways[-1] for ways in told] == ["mia@example.org", "eva@example.org"]


def test_signs_around_an_address_are_not_of_it_and_an_apostrophe_is() -> None:
    text = (
        "o'brien@example.org •ana16@example.org –ana22@example.org 1.ana21@example.org correo=ana7@example.org “eva@example.org” "
        "«luz@example.org» zoe@example.org\u200b mailto:mia@example.org?subject=x 7ana@example.org"
    )
    assert [ways[-1] for ways in pasted_addresses.readings(text)] == [
        f"{name}@example.org" for name in ("o'brien", "ana16", "ana22", "ana21", "ana7", "eva", "luz", "zoe", "mia", "7ana")
    ]


def test_more_than_one_page_of_them_is_refused_whole(session: Session) -> None:
    text = "\n".join(f"ana{number}@example.org" for number in range(pasted_addresses.MOST + 1))
    with pytest.raises(InvalidInput, match="too_many_addresses"):
        pasted_addresses.look(session, text, LEFT)


@given(
    names=st.lists(st.from_regex(r"[a-z]{3,8}[0-9]{1,3}", fullmatch=True), min_size=1, max_size=8, unique=True),
    between=st.sampled_from([" ", "\n", ";", ", ", "\r\n", "\t", " | ", ">\n<"]),
)
def test_finds_every_address_whatever_parts_them(names: list[str], between: str) -> None:
    told = pasted_addresses.readings(between.join(f"{name}@example.org" for name in names))
    assert told == [(f"{name}@example.org",) for name in names]


@given(st.text(max_size=300))
def test_no_text_breaks_it(text: str) -> None:
    assert all("@" in word for ways in pasted_addresses.readings(text) for word in ways)
