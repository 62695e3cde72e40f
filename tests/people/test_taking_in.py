"""The bulk path: who is found, what is completed, what is refused, and that a second time changes nothing."""

from datetime import date
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from crm.database import Base, Database
from crm.history import Change, ChangePersonal
from crm.people import consent, contacts
from crm.people.models import (
    Channel,
    Consent,
    ConsentState,
    Contact,
    EmailAddress,
    Import,
    ImportRow,
    LeaderSector,
    Post,
    Purpose,
    RowStatus,
    SuppressionReason,
    Tag,
)
from crm.people.schemas import ContactIn, ContactPatch
from tests.people.factories import address_of, consent_in, contact, contact_in, leader_in, revoke

CREATED, UPDATED, UNCHANGED, REFUSED = RowStatus.CREATED, RowStatus.UPDATED, RowStatus.UNCHANGED, RowStatus.REFUSED
TODAY = date(2026, 11, 22)


def statuses(session: Session, *rows: ContactIn, **options: Any) -> list[RowStatus]:
    return [taken.status for taken in contacts.take_in_many(session, rows, **options)]


def everything(session: Session) -> dict[str, list[Any]]:
    session.flush()
    tables = [table for table in Base.metadata.sorted_tables if table.name != "import_row"]
    return {table.name: sorted(map(repr, session.execute(sa.select(table)))) for table in tables}


def suppress(session: Session, address: str, reason: SuppressionReason = SuppressionReason.UNSUBSCRIBED) -> None:
    consent.suppress(session, address, reason, happened_on=TODAY, proof="Lo pidió por correo")


def test_creates_a_person_whole(session: Session) -> None:
    row = leader_in(0, LeaderSector.CULTURE, tags=["Taller", "taller"], consents=[consent_in()], phone="+1 555 0100")
    taken = contacts.take_in(session, row)
    assert (taken.status, taken.code, taken.warnings) == (CREATED, None, [])
    assert taken.contact_id is not None
    out = contacts.to_out(contacts.get(session, taken.contact_id))
    assert (out.display_name, out.list_name) == ("Ana Núñez López", "Núñez López, Ana")
    assert out.city is not None
    assert (out.city.name, out.city.zone, out.country) == ("Los Ángeles", "America/Los_Angeles", "US")
    assert [(email.address, email.preferred, email.state) for email in out.emails] == [(address_of(0), True, "ok")]
    assert (out.tags, out.leader_sectors, out.organization, out.post) == (
        ["taller"], [LeaderSector.CULTURE], "Club Sintético 0", "Presidencia",
    )  # fmt: skip
    assert [(said.purpose, said.state) for said in out.consents] == [(Purpose.ELECTORAL_INFORMATION, ConsentState.GRANTED)]
    assert out.mail_state == "ok"
    assert "nunez" in contacts.get(session, taken.contact_id).search_key


def test_takes_in_twice_and_writes_nothing_the_second_time(session: Session) -> None:
    rows = [leader_in(n, tags=["taller", f"grupo {n % 3}"], consents=[consent_in()]) for n in range(30)]
    rows += [
        ContactIn(given_names="Sin", first_surname="Correo"),
        ContactIn(given_names="Sin", first_surname="Correo", city="Lima"),
    ]
    assert set(statuses(session, *rows)[:30]) == {CREATED}
    before = everything(session)
    assert set(statuses(session, *rows)) == {UNCHANGED}
    assert everything(session) == before


def test_completes_what_is_empty_and_replaces_what_differs(session: Session) -> None:
    first = contact(session, 0, second_surname=None, tags=["uno"], academic_title="Mtra.")
    row = contact_in(0, city="Chicago", phone="+1 555 0101", tags=["dos"], emails=[address_of(0), "otra@example.org"])
    assert contacts.take_in(session, row).status is UPDATED
    out = contacts.to_out(contacts.get(session, first.id))
    assert (out.second_surname, out.phone, out.academic_title) == ("López", "+1 555 0101", "Mtra.")
    assert out.city is not None
    assert out.city.name == "Chicago"
    assert out.tags == ["dos", "uno"]
    assert [email.address for email in out.emails] == [address_of(0), "otra@example.org"]
    assert out.version == 2


def test_never_erases_by_an_empty_cell(session: Session) -> None:
    first = contact(session, 0, phone="+1 555 0101", tags=["uno"])
    before = contacts.to_out(first)
    assert statuses(session, ContactIn(emails=[address_of(0)])) == [UNCHANGED]
    assert contacts.to_out(contacts.get(session, first.id)) == before


def test_keeps_the_stored_name_when_the_new_one_agrees(session: Session) -> None:
    first = contact(session, 0)
    for given_names, first_surname in (
        ("ANA", "NUNEZ"),
        ("A.", "Núñez"),
        ("Ana María", "Nuñes Lopez"),
        ("Núñez", "Ana"),
        ("", "Núñez"),
    ):
        assert statuses(session, contact_in(0, given_names=given_names, first_surname=first_surname, second_surname=None)) == [
            UNCHANGED
        ]
    assert contacts.get(session, first.id).given_names == "Ana"


def test_refuses_an_address_under_a_clearly_other_name(session: Session) -> None:
    contact(session, 0)
    before = everything(session)
    for names in (("Luis", "Núñez", "López"), ("Ana", "Ibarra", None), ("Óscar", "Peña", None)):
        row = contact_in(0, given_names=names[0], first_surname=names[1], second_surname=names[2], tags=["nueva"])
        taken = contacts.take_in(session, row)
        assert (taken.status, taken.code) == (REFUSED, "address_of_other_person")
    assert everything(session) == before


def test_refuses_addresses_of_two_people(session: Session) -> None:
    contact(session, 0)
    contact(session, 1)
    taken = contacts.take_in(session, contact_in(0, emails=[address_of(0), address_of(1)]))
    assert (taken.status, taken.code) == (REFUSED, "address_of_other_person")


def test_refuses_an_address_that_is_none(session: Session) -> None:
    taken = contacts.take_in_many(session, [contact_in(0, emails=["ana(at)example.org"]), contact_in(1)])
    assert [(one.status, one.code) for one in taken] == [(REFUSED, "address_invalid"), (CREATED, None)]


def test_takes_rows_of_one_address_as_one_person(session: Session) -> None:
    rows = [
        contact_in(0, phone=None),
        contact_in(0, phone="+1 555 0102", emails=["PERSONA0@EXAMPLE.ORG"]),
        contact_in(0, phone="+1 555 0103"),
    ]
    taken = contacts.take_in_many(session, rows)
    assert [one.status for one in taken] == [CREATED, UPDATED, UNCHANGED]
    assert len({one.contact_id for one in taken}) == 1
    assert session.scalars(sa.select(Contact.phone)).all() == ["+1 555 0102"]


def test_tells_people_without_address_apart_by_place_and_phone(session: Session) -> None:
    rows = [contact_in(0, emails=[], city=city, country="US") for city in ("Chicago", "Dallas", None, "Chicago")]
    taken = contacts.take_in_many(session, rows)
    assert [one.status for one in taken] == [CREATED, CREATED, UNCHANGED, UNCHANGED]


def test_holds_the_first_row_of_an_import_over_later_batches(session: Session) -> None:
    running = Import(file_name="red.csv", sha256="0" * 64)
    session.add(running)
    session.flush()
    first, second = contact_in(0, phone="+1 555 0104"), contact_in(0, phone="+1 555 0105")
    (taken,) = contacts.take_in_many(session, [first], import_id=running.id)
    session.add(ImportRow(import_id=running.id, number=2, status=taken.status, contact_id=taken.contact_id))
    session.flush()
    assert statuses(session, second, import_id=running.id) == [UNCHANGED]
    assert statuses(session, second) == [UPDATED]


def test_warns_of_a_post_without_organization(session: Session) -> None:
    taken = contacts.take_in(session, contact_in(0, post="Presidencia"))
    assert (taken.status, taken.warnings) == (CREATED, ["post_without_organization"])


def test_keeps_posts_in_two_organizations(session: Session) -> None:
    first = contact(session, 0, organization="Club Uno", post="Tesorería")
    assert statuses(session, contact_in(0, organization="CLUB UNO", post="Presidencia")) == [UPDATED]
    assert statuses(session, contact_in(0, organization="Club Dos")) == [UPDATED]
    assert session.scalars(sa.select(Post.title).where(Post.contact_id == first.id).order_by(Post.id)).all() == [
        "Presidencia",
        None,
    ]
    assert "club dos" in session.scalars(sa.select(Contact.search_key)).one()


def test_keeps_the_city_when_only_another_country_is_told(session: Session) -> None:
    first = contact(session, 0)
    taken = contacts.take_in(session, contact_in(0, city=None, country="ES"))
    assert (taken.status, taken.warnings) == (UNCHANGED, ["country_differs_from_city"])
    assert contacts.get(session, first.id).country == "US"


def test_does_not_bring_back_a_retired_address(session: Session) -> None:
    first = contact(session, 0)
    contacts.change(session, first.id, ContactPatch(emails=["nueva@example.org"]))
    assert statuses(session, contact_in(0)) == [UNCHANGED]
    assert session.scalar(sa.select(sa.func.count()).select_from(Contact)) == 1


def test_writes_to_the_new_address_when_the_old_one_bounced(session: Session) -> None:
    first = contact(session, 0)
    suppress(session, address_of(0), SuppressionReason.BOUNCED)
    assert statuses(session, contact_in(0, emails=[address_of(0), "nueva@example.org"])) == [UPDATED]
    out = contacts.to_out(contacts.get(session, first.id))
    assert [(email.address, email.preferred, email.state) for email in out.emails] == [
        ("nueva@example.org", True, "ok"),
        (address_of(0), False, "bounced"),
    ]


# --- nobody who left is revived ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", [SuppressionReason.UNSUBSCRIBED, SuppressionReason.COMPLAINED, SuppressionReason.ERASED])
@pytest.mark.parametrize("known", [True, False])
def test_refuses_a_consent_for_who_left(session: Session, reason: SuppressionReason, known: bool) -> None:
    if known:
        contact(session, 0, consents=(Purpose.NEWSLETTER,))
    suppress(session, address_of(0), reason)
    before = everything(session)
    row = contact_in(0, emails=["Persona0@Example.ORG", "otra@example.org"], phone="+1 555 0106", consents=[consent_in()])
    taken = contacts.take_in(session, row)
    assert (taken.status, taken.code) == (REFUSED, "suppressed")
    assert everything(session) == before


def test_refuses_a_consent_by_another_address_of_who_left(session: Session) -> None:
    contact(session, 0, emails=[address_of(0), "otra@example.org"])
    suppress(session, address_of(0))
    taken = contacts.take_in(session, contact_in(0, emails=["otra@example.org"], consents=[consent_in()]))
    assert (taken.status, taken.code) == (REFUSED, "suppressed")


def test_completes_who_left_without_making_them_writable(session: Session) -> None:
    first = contact(session, 0, consents=(Purpose.NEWSLETTER,))
    suppress(session, address_of(0))
    taken = contacts.take_in(session, contact_in(0, phone="+1 555 0107"))
    assert (taken.status, taken.warnings) == (UPDATED, ["suppressed"])
    assert contacts.to_out(contacts.get(session, first.id)).mail_state == "unsubscribed"


def test_refuses_everything_of_who_was_erased(session: Session) -> None:
    suppress(session, address_of(0), SuppressionReason.ERASED)
    taken = contacts.take_in(session, contact_in(0))
    assert (taken.status, taken.contact_id, taken.code) == (REFUSED, None, "suppressed")


def test_refuses_who_is_blocked_without_saying_who(session: Session) -> None:
    contact(session, 0).blocked_at = contact(session, 1).created_at
    taken = contacts.take_in(session, contact_in(0, phone="+1 555 0108"))
    assert (taken.status, taken.contact_id, taken.code) == (REFUSED, None, "suppressed")


def test_keeps_a_revocation_and_says_so(session: Session) -> None:
    first = contact(session, 0, consents=(Purpose.NEWSLETTER,))
    revoke(session, first.id, Purpose.NEWSLETTER)
    row = contact_in(0, consents=[consent_in(Purpose.NEWSLETTER), consent_in(Purpose.EVENT_INVITATION)])
    taken = contacts.take_in(session, row)
    assert (taken.status, taken.warnings) == (UPDATED, ["consent_revoked_kept"])
    said = {row.purpose: row.state for row in contacts.to_out(contacts.get(session, first.id)).consents}
    assert said == {Purpose.NEWSLETTER: ConsentState.REVOKED, Purpose.EVENT_INVITATION: ConsentState.GRANTED}


def test_takes_in_a_revocation(session: Session) -> None:
    row = contact_in(0, consents=[consent_in(state="revoked")])
    assert statuses(session, contact_in(0, consents=[consent_in()]), row) == [CREATED, UPDATED]
    assert statuses(session, row) == [UNCHANGED]
    assert session.scalars(sa.select(Consent.state).order_by(Consent.id)).all() == [ConsentState.GRANTED, ConsentState.REVOKED]


# --- the log, and the session ------------------------------------------------------------------------------------------------


def test_logs_what_the_bulk_path_wrote_with_personal_values_apart(session: Session) -> None:
    contacts.take_in(session, leader_in(0, tags=["taller"], source="Taller 2026"))
    contacts.take_in(session, contact_in(0, phone="+1 555 0109", tags=["foro"]))
    entries = session.scalars(sa.select(Change).order_by(Change.id)).all()
    assert [(entry.action, entry.entity) for entry in entries if entry.root == "contact"] == [
        ("create", "contact"), ("create", "email_address"), ("create", "leader_role"), ("create", "post"), ("change", "contact"),
    ]  # fmt: skip
    created, changed = (entry for entry in entries if entry.entity == "contact")
    assert created.fields == {"source": [None, "Taller 2026"]}
    assert changed.fields == {}
    beside = session.get_one(ChangePersonal, changed.id)
    assert beside.fields == {"phone": [None, "+1 555 0109"], "tags": [["taller"], ["foro", "taller"]]}
    post = next(entry for entry in entries if entry.entity == "post")
    assert (post.fields, set(session.get_one(ChangePersonal, post.id).fields)) == ({}, {"organization_id", "title"})
    assert "Ana" not in repr([entry.fields for entry in entries])


def test_refreshes_contacts_that_the_session_holds(session: Session) -> None:
    held = contact(session, 0)
    contacts.take_in(session, contact_in(0, phone="+1 555 0110"))
    assert (held.phone, held.version) == ("+1 555 0110", 2)
    held.phone = "+1 555 0111"
    session.flush()


def test_leaves_nothing_after_a_dry_run(database: Database) -> None:
    with database.session() as session:
        before = everything(session)
        with session.begin_nested() as savepoint:
            assert statuses(session, leader_in(0, tags=["taller"]), contact_in(1)) == [CREATED, CREATED]
            savepoint.rollback()
        assert everything(session) == before


def test_takes_in_more_rows_than_a_batch(session: Session) -> None:
    rows = [contact_in(n, city=None, country=None) for n in range(1010)]
    taken = contacts.take_in_many(session, [*rows, rows[0]])
    assert len({one.contact_id for one in taken}) == 1010
    assert taken[-1].status is UNCHANGED
    assert session.scalar(sa.select(sa.func.count()).select_from(EmailAddress)) == 1010
    assert [one.contact_id for one in taken] == [*sorted({one.contact_id or 0 for one in taken}), taken[0].contact_id]


NAMES = st.sampled_from(["", "Ana", "ana maría", "A.", "Luis", "Núñez", "Nuñes", "De la Cruz", "Ñáñez López", "李", "—"])
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "given_names": NAMES,
            "first_surname": NAMES,
            "second_surname": NAMES,
            "emails": st.lists(st.sampled_from([f"{name}@example.org" for name in ("a", "A", "b", "c", "ñ")]), max_size=2),
            "phone": st.sampled_from([None, "+1 555 0101", "+1 555 0102"]),
            "language": st.sampled_from([None, "es", "en"]),
            "city": st.sampled_from([None, "Chicago", "Londres", "Lugar desconocido"]),
            "country": st.sampled_from([None, "US", "GB"]),
            "tags": st.lists(st.sampled_from(["Uno", "uno", "dos", "!!"]), max_size=2),
            "leader_sectors": st.lists(st.sampled_from(list(LeaderSector)), max_size=2),
            "organization": st.sampled_from([None, "Club Uno", "CLUB UNO", "Club Dos"]),
            "post": st.sampled_from([None, "Presidencia", "Tesorería"]),
            "consents": st.lists(
                st.builds(
                    consent_in, st.sampled_from([Purpose.NEWSLETTER, Purpose.CONSENT_REQUEST]), state=st.sampled_from(ConsentState)
                ),
                max_size=2,
            ),
        }
    ).filter(lambda row: bool(row["given_names"] or row["first_surname"] or row["emails"])),
    max_size=8,
)


@settings(
    max_examples=60,
    phases=(Phase.explicit, Phase.generate),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(rows=ROWS, left=st.lists(st.sampled_from(["a@example.org", "b@example.org"]), max_size=1))
def test_second_time_changes_nothing_whatever_the_rows(database: Database, rows: list[dict[str, Any]], left: list[str]) -> None:
    with database.session() as session, session.begin_nested() as savepoint:
        for address in left:
            suppress(session, address)
        told = [ContactIn.model_validate(row) for row in rows]
        first = contacts.take_in_many(session, told)
        before = everything(session)
        second = contacts.take_in_many(session, told)
        assert everything(session) == before
        for one, again in zip(first, second, strict=True):
            # A row may be refused only now: a later row told that the person is one who left.
            assert again.status is (REFUSED if REFUSED in (one.status, again.status) else UNCHANGED)
            assert one.status is REFUSED or again.code in (None, "suppressed")
            # Whom it meant stays the same, but where a later row gave another of its addresses to someone else: see below.
            assert one.contact_id in (None, again.contact_id) or again.code == "address_of_other_person"
        savepoint.rollback()


def test_a_refused_row_is_refused_again_though_a_later_row_took_its_address(session: Session) -> None:
    """Found by the test above: first it would bring back who left by its one address, then its two addresses are two people's."""
    suppress(session, "a@example.org")
    told = [contact_in(emails=["a@example.org"]), contact_in(emails=["a@example.org", "b@example.org"], consents=[consent_in()])]
    told.append(contact_in(emails=["b@example.org"]))
    left, refused, other = contacts.take_in_many(session, told)
    assert (refused.status, refused.code, refused.contact_id) == (REFUSED, "suppressed", left.contact_id)
    before = everything(session)
    again = contacts.take_in_many(session, told)
    assert [(one.status, one.code, one.contact_id) for one in again] == [
        (UNCHANGED, None, left.contact_id),
        (REFUSED, "address_of_other_person", None),
        (UNCHANGED, None, other.contact_id),
    ]
    assert everything(session) == before


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["ana", "pena.lopez", "ñandú", "straße", "ὈΔΥΣΣΕΎΣ"]),
    st.sampled_from(["example.org", "méxico.example.org"]),
    st.booleans(),
)
def test_finds_a_person_by_any_spelling_of_the_address(database: Database, local: str, domain: str, upper: bool) -> None:
    ascii_domain = domain.encode("idna").decode()
    with database.session() as session, session.begin_nested() as savepoint:
        first = contacts.take_in(session, contact_in(0, emails=[f"{local}@{domain}"]))
        for spelling in (
            f"{local}@{domain.upper()}",
            f"{local.upper()}@{ascii_domain}",
            f"{local}@{ascii_domain.upper() if upper else domain}",
        ):
            found = contacts.take_in(session, contact_in(0, emails=[spelling]))
            assert (found.status, found.contact_id) == (UNCHANGED, first.contact_id), spelling
        savepoint.rollback()


def test_keeps_tags_whose_names_are_signs_apart(session: Session) -> None:
    contacts.take_in(session, contact_in(0, tags=["¨", "´"]))
    assert session.scalar(sa.select(sa.func.count()).select_from(Tag)) == 2
    assert session.scalar(sa.select(sa.func.count()).select_from(Consent).where(Consent.channel == Channel.EMAIL)) == 0
