"""People as a file: what is exported comes in again without a change, vCards are whole, and the log knows why and how many."""

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from crm import clock
from crm.database import Database
from crm.errors import InvalidInput
from crm.history import Change
from crm.people import contacts, exports, imports
from crm.people.exports import Format
from crm.people.models import Contact
from crm.people.schemas import ContactOut
from crm.people.taking_in import take_in_many
from tests.people.factories import consent_in, contact_in

EVERYONE = sa.true()


def people(session: Session) -> None:
    odd = {"given_names": "=SUMA(A1)", "phone": "+52 55 0000 0100", "tags": ["@taller", "dos; tres"[:3]], "source": "-ninguna"}
    take_in_many(session, [contact_in(number, **(odd if number == 1 else {})) for number in range(1, 9)])


@pytest.mark.parametrize("form", [Format.CSV, Format.XLSX])
def test_what_is_exported_comes_in_again_without_a_change(database: Database, tmp_path: Path, form: Format) -> None:
    with database.session() as session:
        people(session)
    with database.session() as session:
        made = exports.build(session, EVERYONE, form, reason="Prueba de ida y vuelta", view="Contactos")
    assert made.people == 8
    path = tmp_path / f"red.{form.value}"
    path.write_bytes(made.body)
    checked = imports.check(database, path, path.name, basis=None)
    assert checked.counts == {"created": 0, "updated": 0, "unchanged": 8, "refused": 0}


def test_the_log_knows_why_and_how_many_and_nobody_blocked_goes_out(session: Session) -> None:
    people(session)
    session.get_one(Contact, 1).blocked_at = clock.now()
    session.flush()
    made = exports.build(session, EVERYONE, Format.VCARD, reason="Para el  consulado", view="Contactos")
    exports.note(session, made)
    noted = session.scalars(sa.select(Change).where(Change.entity == "export")).one()
    assert made.people == 7
    assert {name: value[1] for name, value in noted.fields.items()} == {
        "reason": "Para el consulado", "view": "Contactos", "format": "vcf", "rows": 7,
    }  # fmt: skip
    for reason, code in ((" x ", "export_reason_required"), ("x" * 501, "field_too_long")):
        with pytest.raises(InvalidInput, match=code):
            exports.build(session, EVERYONE, Format.CSV, reason=reason, view="Contactos")


@pytest.fixture
def person(session: Session) -> ContactOut:
    made = take_in_many(
        session,
        [
            contact_in(
                1,
                consents=[
                    consent_in(),
                ],
                tags=["uno", "dos"],
            )
        ],
    )[0]
    return contacts.to_out(contacts.get(session, made.contact_id or 0))


def test_a_vcard_says_who_it_is(person: ContactOut) -> None:
    lines = exports.vcard(person).split("\r\n")
    assert lines[:2] == ["BEGIN:VCARD", "VERSION:4.0"]
    assert lines[-2:] == ["END:VCARD", ""]
    assert f"FN:{person.display_name}" in lines
    assert any(line.startswith("EMAIL;PREF=1:persona1@") for line in lines)


TEXT = st.text(max_size=120)


@pytest.mark.once
@given(given_names=TEXT, surname=TEXT, tag=TEXT)
def test_no_text_breaks_out_of_its_line(given_names: str, surname: str, tag: str) -> None:
    told: dict[str, Any] = dict.fromkeys(ContactOut.model_fields)
    told |= {"id": 1, "given_names": given_names, "first_surname": surname, "display_name": f"{given_names} {surname}"}
    told |= {"emails": [], "language": "es", "tags": [tag], "changed_at": clock.now()}
    card = exports.vcard(ContactOut.model_construct(**told))
    raw = card.split("\r\n")
    assert all(len(line.encode()) <= 75 for line in raw)
    unfolded = card.replace("\r\n ", "").split("\r\n")
    assert [line.split(":")[0] for line in unfolded] == [
        "BEGIN", "VERSION", "UID", "FN", "N", "LANG", "CATEGORIES", "REV", "END", "",
    ]  # fmt: skip
    assert len(unfolded) == 10
