"""One contact: created, read, changed, listed, shown; and addresses, valid and of one spelling."""

from datetime import date
from pathlib import Path

import pytest
import sqlalchemy as sa
from email_validator import EmailNotValidError, validate_email
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError
from sqlalchemy.orm import Session

from crm import history
from crm.database import contains
from crm.errors import Conflict, CrmError, InvalidInput, NotFound, Unavailable
from crm.history import ChangePersonal
from crm.keys import load_keys
from crm.people import addresses, consent, contacts, organizations, tags
from crm.people.models import Contact, EmailAddress, LeaderRole, LeaderSector, Post, Purpose, SuppressionReason
from crm.people.schemas import ContactIn, ContactPatch
from tests.people.factories import address_of, consent_in, contact, contact_in, leader_in


def patch(**changes: object) -> ContactPatch:
    return ContactPatch.model_validate(changes)


def test_creates_two_people_of_one_name(session: Session) -> None:
    first, second = (contacts.create(session, contact_in(0, emails=[])) for _ in range(2))
    assert first.id != second.id


def test_refuses_to_create_with_the_address_of_another(session: Session) -> None:
    contact(session, 0)
    with pytest.raises(Conflict, match="address_of_other_person") as caught:
        contacts.create(session, contact_in(0, emails=[address_of(0).upper()]))
    assert caught.value.field == "emails"


def test_refuses_to_create_with_what_is_no_address(session: Session) -> None:
    with pytest.raises(InvalidInput, match="address_invalid"):
        contacts.create(session, contact_in(0, emails=["ana@"]))


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({}, "name_required"),
        ({"second_surname": "López", "city": "Chicago"}, "name_required"),
        ({"given_names": "Ana\r\nBcc: x"}, "string_pattern_mismatch"),
        ({"given_names": "Ana", "phone": "1\0"}, "string_pattern_mismatch"),
        ({"given_names": "Ana", "tags": ["a\u202eb"]}, "string_pattern_mismatch"),
        ({"given_names": "x" * 201}, "string_too_long"),
        ({"given_names": "Ana", "language": "fr"}, "enum"),
        ({"given_names": "Ana", "email": "a@example.org"}, "extra_forbidden"),
        ({"given_names": "Ana", "consents": [{"purpose": "newsletter", "evidence": " "}]}, "string_too_short"),
    ],
)
def test_refuses_what_cannot_be_a_contact(values: dict[str, object], error: str) -> None:
    with pytest.raises(ValidationError) as caught:
        ContactIn.model_validate(values)
    assert [found["type"] for found in caught.value.errors()] == [error]


def test_strips_and_empties_texts() -> None:
    read = ContactIn(given_names="  Ana ", second_surname=" ", city="")
    assert (read.given_names, read.second_surname, read.city) == ("Ana", None, None)


def test_does_not_find_who_is_blocked_or_never_was(session: Session) -> None:
    one = contact(session, 0)
    one.blocked_at = one.created_at
    session.flush()
    for contact_id in (one.id, one.id + 1):
        with pytest.raises(NotFound, match="contact_not_found"):
            contacts.get(session, contact_id)
    assert contacts.find(session, None) == ([], None)


def test_changes_only_what_was_told(session: Session) -> None:
    one = contacts.create(session, leader_in(0, tags=["uno"], phone="+1 555 0101"))
    before = contacts.to_out(one)
    after = contacts.to_out(contacts.change(session, one.id, patch(first_surname="Ñáñez", academic_title="Dra."), version=1))
    changed = {name for name in type(after).model_fields if getattr(before, name) != getattr(after, name)}
    assert changed == {"first_surname", "academic_title", "display_name", "list_name", "changed_at", "version"}
    assert contacts.get(session, one.id).sort_key.startswith("n\uf8ffan\uf8ffez")
    assert session.scalar(sa.select(Contact.id).where(contains(Contact.search_key, "nanez club persona0"))) == one.id


def test_erases_what_is_told_empty(session: Session) -> None:
    one = contacts.create(session, leader_in(0, tags=["uno"], phone="+1 555 0101", preferred_name="Anita"))
    empty = patch(phone=None, preferred_name="", tags=[], leader_sectors=[], organization=None, city=None, country=None)
    out = contacts.to_out(contacts.change(session, one.id, empty))
    assert (out.phone, out.preferred_name, out.tags, out.leader_sectors) == (None, None, [], [])
    assert (out.organization, out.city, out.country) == (None, None, None)
    assert session.scalars(sa.select(LeaderRole.until)).one() is not None
    assert session.scalars(sa.select(Post.until)).one() is not None


def test_refuses_to_erase_all_that_tells_a_person(session: Session) -> None:
    one = contact(session, 0, emails=[])
    with pytest.raises(InvalidInput, match="name_required"):
        contacts.change(session, one.id, patch(given_names="", first_surname=""))


def test_refuses_a_change_of_what_someone_else_changed(session: Session) -> None:
    one = contact(session, 0)
    contacts.change(session, one.id, patch(phone="+1 555 0101"), version=1)
    with pytest.raises(Conflict, match="contact_changed"):
        contacts.change(session, one.id, patch(phone="+1 555 0102"), version=1)


def test_changes_nothing_when_told_the_same(session: Session) -> None:
    one = contacts.create(session, leader_in(0, tags=["uno"]))
    told = patch(
        given_names="Ana", emails=[address_of(0)], tags=["UNO"], city="Los Ángeles", country="US", leader_sectors=["academia"]
    )
    count = sa.select(sa.func.count()).select_from(history.Change)
    before = session.scalar(count)
    assert contacts.change(session, one.id, told).version == 1
    assert session.scalar(count) == before


def test_retires_an_address_and_keeps_it_for_the_record(session: Session) -> None:
    one = contact(session, 0)
    out = contacts.to_out(contacts.change(session, one.id, patch(emails=["nueva@example.org", "otra@example.org"])))
    assert [(email.address, email.preferred) for email in out.emails] == [("nueva@example.org", True), ("otra@example.org", False)]
    retired = session.scalars(sa.select(EmailAddress).where(EmailAddress.retired_at.is_not(None))).one()
    assert (retired.address, retired.is_preferred) == (address_of(0), False)
    contacts.create(session, contact_in(1, emails=[address_of(0)]))
    with pytest.raises(Conflict, match="address_of_other_person"):
        contacts.change(session, one.id, patch(emails=[address_of(0)]))


def test_moves_to_another_city(session: Session) -> None:
    one = contact(session, 0)
    moved = contacts.to_out(contacts.change(session, one.id, patch(city="Londres", country="GB")))
    assert moved.city is not None
    assert (moved.city.name, moved.city.zone, moved.country) == ("Londres", "Europe/London", "GB")
    unknown = contacts.to_out(contacts.change(session, one.id, patch(city="Lugar que no existe")))
    assert (unknown.city, unknown.city_as_typed) == (None, "Lugar que no existe")


def test_ends_a_post_and_begins_another(session: Session) -> None:
    one = contacts.create(session, leader_in(0))
    out = contacts.to_out(contacts.change(session, one.id, patch(organization="Otro Club", post="Vocalía")))
    assert (out.organization, out.post) == ("Otro Club", "Vocalía")
    assert session.scalars(sa.select(Post.until.is_(None)).order_by(Post.id)).all() == [False, True]
    with pytest.raises(InvalidInput, match="post_without_organization"):
        contacts.change(session, one.id, patch(organization=None, post="Vocalía"))


def test_logs_tags_and_organizations_only_beside_the_log(session: Session) -> None:
    one = contacts.create(session, leader_in(0, tags=["uno"]))
    contacts.change(session, one.id, patch(organization="Otro Club", post="Vocalía", tags=["dos"]))
    logged = history.changes_of(session, "contact", one.id)
    assert not [change.fields for change in logged if change.fields.keys() & {"tags", "organization_id"}]
    apart = session.scalars(sa.select(ChangePersonal.fields)).all()
    assert len([fields for fields in apart if "organization_id" in fields]) == 2
    assert len([fields for fields in apart if "tags" in fields]) == 2


def test_takes_no_address_without_the_key_of_the_suppressions(session: Session, tmp_path: Path) -> None:
    one = contact(session, 0)
    suppress = {"reason": SuppressionReason.ERASED, "happened_on": date(2026, 11, 20), "proof": "Solicitud"}
    consent.suppress(session, address_of(1), **suppress)  # type: ignore[arg-type]
    session.info["keys"] = load_keys(tmp_path / "other")
    for told in (patch(emails=[address_of(1)]), patch(consents=[consent_in().model_dump()])):
        with pytest.raises(Unavailable, match="suppression_key_missing"):
            contacts.change(session, one.id, told)
    with pytest.raises(Unavailable, match="suppression_key_missing"):
        contacts.create(session, contact_in(1))
    with pytest.raises(Unavailable, match="suppression_key_missing"):
        contacts.take_in_many(session, [contact_in(1)])
    assert contacts.change(session, one.id, patch(phone="+1 555 0101")).phone == "+1 555 0101"


def test_records_consents_and_tags_with_the_change(session: Session) -> None:
    one = contact(session, 0, tags=["uno"])
    told = patch(tags=["dos"], consents=[consent_in(Purpose.NEWSLETTER).model_dump()])
    out = contacts.to_out(contacts.change(session, one.id, told))
    assert (out.tags, [said.purpose for said in out.consents]) == (["dos"], [Purpose.NEWSLETTER])
    logged = [change.id for change in history.changes_of(session, "contact", one.id)]
    apart = session.scalars(sa.select(ChangePersonal.fields).where(ChangePersonal.change_id.in_(logged))).all()
    assert {"tags": [["uno"], ["dos"]]} in apart


def test_lists_by_surname_page_by_page(session: Session) -> None:
    contacts.take_in_many(session, [contact_in(n) for n in range(23)])
    seen: list[Contact] = []
    cursor = None
    while True:
        page, cursor = contacts.find(session, Contact.country == "US", cursor=cursor, limit=4)
        seen += page
        if cursor is None:
            break
    assert {row.country for row in seen} == {"US"}
    assert [(row.sort_key, row.id) for row in seen] == sorted((row.sort_key, row.id) for row in seen)
    assert [contacts.to_out(row).id for row in seen] == [row.id for row in seen]


def test_masks_addresses_and_telephone(session: Session) -> None:
    out = contacts.to_out(contact(session, 0, phone="+1 555 0142"), masked=True)
    assert ([email.address for email in out.emails], out.phone) == (["p***@example.org"], "***42")


def test_counts_people_of_a_tag_without_the_blocked(session: Session) -> None:
    contact(session, 0, tags=["Taller"])
    contact(session, 1, tags=["TALLER", "foro"]).blocked_at = contact(session, 2).created_at
    session.flush()
    found, following = tags.find(session)
    assert ([(tag.name, tag.contacts) for tag in found], following) == ([("foro", 0), ("Taller", 1)], None)
    assert [tag.name for tag in tags.find(session, text="tal")[0]] == ["Taller"]
    with pytest.raises(NotFound, match="tag_not_found"):
        tags.get(session, 99)


def test_finds_an_organization_however_it_is_spelled(session: Session) -> None:
    ids = organizations.ensure(session, ["Asociación de Chilangas"])
    assert organizations.ensure(session, ["ASOCIACION DE CHILANGAS"]) == ids
    assert [found.name for found in organizations.find(session, text="asociacion")[0]] == ["Asociación de Chilangas"]
    with pytest.raises(NotFound, match="organization_not_found"):
        organizations.get(session, 99)


# --- addresses --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (" Ana.Lopez+red@Example.ORG ", "ana.lopez+red@example.org"),
        ("peña@méxico.example.org", "peña@xn--mxico-bsa.example.org"),
        ("PEÑA@XN--MXICO-BSA.example.org", "peña@xn--mxico-bsa.example.org"),
        ("pen\u0303a@example.org", "peña@example.org"),
        ("STRASSE@example.org", "strasse@example.org"),
        ("straße@example.org", "strasse@example.org"),
    ],
)
def test_tells_a_mailbox_by_one_key(text: str, key: str) -> None:
    assert contacts.address_key(text) == key


@pytest.mark.parametrize(
    "text", ["", "ana", "ana@", "@example.org", "ana@example", "a b@example.org", "ana@example.test", "a@b@example.org"]
)
def test_refuses_what_is_no_address(text: str) -> None:
    with pytest.raises(InvalidInput, match="address_invalid"):
        contacts.address_key(text)


@pytest.mark.parametrize(
    ("text", "masked"), [("ana@example.org", "a***@example.org"), ("ñ@example.org", "ñ***@example.org"), ("x", "***")]
)
def test_masks_an_address(text: str, masked: str) -> None:
    assert contacts.mask_address(text) == masked


LABEL = st.text(st.sampled_from("aZ09-xn"), min_size=1, max_size=6)
PLAIN = st.builds(
    lambda local, labels, top: f"{local}@{'.'.join([*labels, top])}",
    st.text(st.sampled_from("aZ09._+-"), min_size=1, max_size=8),
    st.lists(LABEL, max_size=3),
    st.sampled_from(
        ["org", "MX", "c", "test", "localhost", "onion", "arpa", "local", "invalid", "example", "a-b", "c0", "xn--p1ai", ""]
    ),
)


@given(PLAIN)
@example("postmaster@example.org")
@example(f"{'a' * 64}@example.org")
@example(f"{'a' * 65}@example.org")
@example(f"a@{'b' * 64}.org")
def test_reads_plain_addresses_as_the_validator_does(text: str) -> None:
    try:
        checked = validate_email(text, check_deliverability=False)
    except EmailNotValidError:
        with pytest.raises(CrmError, match="address_invalid"):
            addresses.read_address(text)
        return
    read = addresses.read_address(text)
    assert read.key == f"{checked.local_part}@{checked.ascii_domain}".casefold()
    assert read.text.casefold() == checked.normalized.casefold()


def test_reads_leaders_in_their_sectors(session: Session) -> None:
    out = contacts.to_out(contacts.create(session, leader_in(0, leader_sectors=["business", "culture", "business"])))
    assert out.leader_sectors == [LeaderSector.BUSINESS, LeaderSector.CULTURE]
