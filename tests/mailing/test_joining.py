"""Two records made one and parted again: nothing is lost, nothing that was revoked revives, nobody gets the same send twice."""

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
import time_machine
from sqlalchemy.orm import Session

from crm import clock, privacy
from crm.config import Settings
from crm.database import Database, keys_of
from crm.errors import Conflict, Gone
from crm.mailing import audience, consent_answers, decisions, joining, segments, sent_in_period
from crm.mailing.decisions import Decision
from crm.mailing.models import Delivery, DeliveryState, SendState
from crm.mailing.segment_rules import parse
from crm.mailing.sent_in_period import Period
from crm.people import bulk_actions, consent, contacts, duplicates, imports, notes, privacy_notices, tasks
from crm.people.duplicate_models import Joining, PairState
from crm.people.models import BulkKind, ConsentState, Contact, EmailAddress, LeaderSector, Purpose, SuppressionReason
from crm.people.schemas import ContactPatch
from crm.people.taking_in import take_in
from crm.staff import accounts
from crm.staff.models import Role
from tests.mailing.factories import PURPOSE, begun, campaign
from tests.people.factories import address_of, consent_in, contact, contact_in, revoke
from web.person_provenance import provenance_of

PLACE = {"city": "Chicago", "country": "US"}
TWICE: dict[str, Any] = {"given_names": "Zoé", "first_surname": "Xolalpa", "second_surname": "Quiroz", **PLACE}
TODAY: dict[str, Any] = {"happened_on": clock.today(), "proof": "prueba"}


def twins(session: Session, *, joined: dict[str, Any] | None = None, **kept: Any) -> tuple[int, int]:
    """Two records of one person: addresses 1 and 2."""
    one = contact(session, 1, **TWICE | kept)
    other = contact(session, 2, **TWICE | {"second_surname": None} | (joined or {}))
    return one.id, other.id


def join(session: Session, pair: tuple[int, int], **told: Any) -> Joining:
    return joining.join(session, *pair, told.pop("choices", {}), **told)


def in_segment(session: Session, field: str, value: Any) -> list[int]:
    rule = parse({"all": [{"field": field, "op": "in", "value": [value]}]})
    return list(session.scalars(sa.select(Contact.id).where(segments.condition(session, rule)).order_by(Contact.id)))


def why(session: Session, contact_id: int, purpose: Purpose = PURPOSE) -> str | None:
    """Why a person may not be written to; None: they may be."""
    return session.scalar(sa.select(consent.skip_reason(session, purpose)).where(Contact.id == contact_id))


def snapshot_of(session: Session, contact_id: int) -> dict[str, Any]:
    told = contacts.to_out(contacts.get(session, contact_id)).model_dump(exclude={"changed_at", "version", "consents"})
    return told | {"said": {(one.purpose, one.channel): one.state for one in consent.last_words(contacts.get(session, contact_id))}}


def code_of(attempt: Any, *told: Any, **named: Any) -> str:
    with pytest.raises(Conflict) as refused:
        attempt(*told, **named)
    return refused.value.code


def test_unites_what_both_have_and_gives_it_back(session: Session) -> None:
    sectors = {"leader_sectors": [LeaderSector.ACADEMIA], "organization": "Club Sintético", "post": "Tesorería"}
    pair = twins(session, tags=["taller"], joined={"tags": ["consulado"], "phone": "+1 555 0101", **sectors})
    before = [snapshot_of(session, number) for number in pair]
    done = join(session, pair, reason="Lo confirmó por teléfono")
    one = contacts.to_out(contacts.get(session, pair[0]))
    assert [email.address for email in one.emails] == [address_of(1), address_of(2)]
    assert (one.second_surname, one.phone, one.tags) == ("Quiroz", "+1 555 0101", ["consulado", "taller"])
    assert (one.organization, one.post, one.leader_sectors) == ("Club Sintético", "Tesorería", [LeaderSector.ACADEMIA])
    assert address_of(2) in contacts.get(session, pair[0]).search_key
    with pytest.raises(Gone) as gone:
        contacts.get(session, pair[1])
    assert gone.value.details == {"kept_id": pair[0]}
    assert [one.id for one in contacts.find(session)[0]] == [pair[0]]
    assert joining.part(session, done.id) == []
    assert [snapshot_of(session, number) for number in pair] == before
    assert done.snapshot is None
    assert code_of(joining.part, session, done.id) == "joining_undone"


def test_the_values_that_were_chosen_stay(session: Session) -> None:
    pair = twins(session, joined={"given_names": "ZOE", "city": "Toronto", "country": None})
    theirs = consent.active_addresses(contacts.get(session, pair[1]))[0].id
    join(session, pair, choices={"place": "joined", "given_names": "kept"}, address_id=theirs)
    one = contacts.to_out(contacts.get(session, pair[0]))
    assert one.city is not None
    assert (one.given_names, one.city.name, one.country) == ("Zoé", "Toronto", "CA")
    assert [email.address for email in one.emails if email.preferred] == [address_of(2)]


def test_who_comes_in_again_by_either_address_is_the_one_that_is_kept(session: Session) -> None:
    pair = twins(session)
    join(session, pair)
    assert take_in(session, contact_in(2, **TWICE | {"phone": "+1 555 0199"})).contact_id == pair[0]
    assert duplicates.find(session)[0] == []


@pytest.mark.parametrize("side", [0, 1])
def test_what_either_revoked_stays_revoked(session: Session, side: int) -> None:
    granted = {"consents": [PURPOSE, Purpose.NEWSLETTER]}
    pair = twins(session, **granted, joined=granted)
    revoke(session, pair[side], PURPOSE)
    done = join(session, pair)
    said = {one.purpose: one.state.value for one in consent.last_words(contacts.get(session, pair[0]))}
    assert said == {PURPOSE: "revoked", Purpose.NEWSLETTER: "granted"}
    revoke(session, pair[0], Purpose.NEWSLETTER)  # while the two were one: it was said of either
    joining.part(session, done.id)
    for number in pair:
        said = {one.purpose: one.state.value for one in consent.last_words(contacts.get(session, number))}
        assert said == {PURPOSE: "revoked" if number == pair[side] else "granted", Purpose.NEWSLETTER: "revoked"}


def test_what_one_revokes_while_a_copy_says_so_too_is_still_revoked_after_parting(session: Session) -> None:
    granted = {"consents": [PURPOSE]}
    pair = twins(session, **granted, joined=granted)
    revoke(session, pair[1], PURPOSE)
    done = join(session, pair)
    revoke(session, pair[0], PURPOSE)
    joining.part(session, done.id)
    assert [why(session, number) for number in pair] == ["unsubscribed", "unsubscribed"]


def test_a_batch_that_revokes_over_a_copy_counts_after_parting(session: Session) -> None:
    granted = {"consents": [PURPOSE]}
    pair = twins(session, **granted, joined=granted)
    revoke(session, pair[1], PURPOSE)
    done = join(session, pair)
    said = contact_in(1, **TWICE, consents=[consent_in(PURPOSE, state=ConsentState.REVOKED)])
    assert take_in(session, said).contact_id == pair[0]
    joining.part(session, done.id)
    assert why(session, pair[0]) == "unsubscribed"


@pytest.mark.parametrize("address", [1, 2])
@pytest.mark.parametrize("reason", [SuppressionReason.UNSUBSCRIBED, SuppressionReason.COMPLAINED])
def test_who_left_while_two_were_one_left_as_both(session: Session, address: int, reason: SuppressionReason) -> None:
    pair = twins(session, joined={"consents": [PURPOSE]})
    done = join(session, pair)
    consent.suppress(session, address_of(address), reason, **TODAY)
    joining.part(session, done.id)
    for purpose in (PURPOSE, Purpose.CONSENT_REQUEST):
        assert None not in [why(session, number, purpose) for number in pair]


def test_a_bounce_while_two_were_one_is_of_its_address(session: Session) -> None:
    pair = twins(session, consents=[PURPOSE], joined={"consents": [PURPOSE]})
    done = join(session, pair)
    consent.suppress(session, address_of(2), SuppressionReason.BOUNCED, **TODAY)
    joining.part(session, done.id)
    assert [why(session, number) for number in pair] == [None, "suppressed"]


def test_a_grant_of_the_joined_record_comes_with_its_proof_but_never_back_to_who_left(session: Session) -> None:
    pair = twins(session, joined={"consents": [PURPOSE]})
    done = join(session, pair)
    assert [one.evidence for one in consent.last_words(contacts.get(session, pair[0]))] == [consent_in(PURPOSE).evidence]
    joining.part(session, done.id)
    consent.suppress(session, address_of(1), SuppressionReason.UNSUBSCRIBED, **TODAY)
    join(session, pair)
    kept = contacts.get(session, pair[0])
    assert consent.mail_state_of(kept) == "unsubscribed"
    assert consent.reached_by(session, kept) == []


def test_nobody_gets_the_same_send_twice_through_a_joining(session: Session, settings: Settings) -> None:
    pair = twins(session, tags=["taller"], consents=[PURPOSE], joined={"tags": ["taller"], "consents": [PURPOSE]})
    send = begun(session, settings)
    assert code_of(join, session, pair) == "joining_mail_waits"
    rows = {row.contact_id: row for row in session.scalars(sa.select(Delivery).where(Delivery.send_id == send.id))}
    rows[pair[0]].state, rows[pair[1]].state = DeliveryState.FAILED, DeliveryState.IN_DOUBT
    session.flush()
    assert code_of(join, session, pair) == "joining_mail_waits"  # nobody knows whether it left, and the send goes on
    rows[pair[1]].state, send.state = DeliveryState.SENT, SendState.DONE
    session.flush()
    join(session, pair)
    assert in_segment(session, "sent_in", send.id) == [pair[0]]
    assert in_segment(session, "received", send.campaign_id) == [pair[0]]
    assert decisions.try_again(session, send.id, "otra vez").again == 0
    assert decisions.decide_doubt(session, send.id, Decision.SEND_AGAIN, "otra vez") == 0
    again = begun(session, settings, name="Otra")
    assert [row.contact_id for row in session.scalars(sa.select(Delivery).where(Delivery.send_id == again.id))] == [pair[0]]


def test_the_audience_holds_who_is_kept_once(session: Session) -> None:
    pair = twins(session, tags=["taller"], consents=[PURPOSE], joined={"tags": ["taller"], "consents": [PURPOSE]})
    join(session, pair)
    told = campaign(session)
    rules = audience.rules_of(session, told.include, told.exclude)
    chosen = audience.people(session, rules, PURPOSE, ["es"], relay_is_local=True)  # type: ignore[list-item]  # as stored
    assert [(row.contact_id, row.address) for row in session.execute(chosen)] == [(pair[0], address_of(1))]


def test_parting_keeps_what_was_changed_since_and_says_so(session: Session) -> None:
    pair = twins(session, joined={"phone": "+1 555 0101", "home_borough": "Tlalpan"})
    done = join(session, pair)
    contacts.change(session, pair[0], ContactPatch(phone="+1 555 0150", emails=["nueva@example.org", address_of(2)]))
    assert joining.part(session, done.id) == ["phone"]
    kept, joined = (contacts.to_out(contacts.get(session, number)) for number in pair)
    assert (kept.phone, kept.home_borough, [email.address for email in kept.emails]) == ("+1 555 0150", None, ["nueva@example.org"])
    assert (joined.phone, [(email.address, email.preferred) for email in joined.emails]) == ("+1 555 0101", [(address_of(2), True)])


def test_records_joined_one_into_another_are_parted_in_order(session: Session) -> None:
    first, second = twins(session)
    third = contact(session, 3, **TWICE).id
    one = join(session, (second, first))
    other = join(session, (third, second))
    assert session.get_one(Contact, first).merged_into_id == third
    assert code_of(joining.part, session, one.id) == "joining_under_another"
    joining.part(session, other.id)
    assert session.get_one(Contact, first).merged_into_id == second
    joining.part(session, one.id)
    assert [email.address for email in contacts.to_out(contacts.get(session, first)).emails] == [address_of(1)]
    assert [email.address for email in contacts.to_out(contacts.get(session, third)).emails] == [address_of(3)]


def test_refuses_what_changed_meanwhile_or_is_blocked(session: Session) -> None:
    pair = twins(session)
    versions = tuple(session.get_one(Contact, number).version for number in pair)
    contacts.change(session, pair[1], ContactPatch(phone="+1 555 0123"))
    assert code_of(join, session, pair, versions=versions) == "joining_changed"
    session.get_one(Contact, pair[1]).blocked_at = clock.now()
    session.flush()
    assert code_of(join, session, pair) == "joining_blocked"
    session.get_one(Contact, pair[1]).blocked_at = None
    session.flush()
    join(session, pair)
    assert code_of(join, session, pair) == "pair_settled"


def test_of_two_people_who_join_at_once_one_is_told(database: Database) -> None:
    with database.session() as session:
        pair = twins(session)
    with database.session() as session:
        join(session, pair)
    with pytest.raises(Conflict), database.session() as session:
        joining.join(session, pair[1], pair[0], {})


def test_after_thirty_days_the_way_back_is_forgotten(session: Session) -> None:
    done = join(session, twins(session))
    with time_machine.travel(clock.now() + timedelta(days=31)):
        assert not joining.may_undo(done)
        assert code_of(joining.part, session, done.id) == "joining_too_old"
        joining.forget(session)
        session.expire(done)
        assert done.snapshot is None
    assert code_of(joining.part, session, done.id) == "joining_too_old"


def test_the_pair_is_settled_and_opens_again(session: Session) -> None:
    pair = twins(session)
    found = duplicates.find(session)[0][0]
    done = join(session, pair)
    assert (found.state, sum(duplicates.counts(session).values())) == (PairState.JOINED, 0)
    joining.part(session, done.id)
    assert [one.id for one in duplicates.find(session)[0]] == [found.id]


def test_what_the_team_wrote_goes_with_the_person_and_back(session: Session) -> None:
    pair = twins(session)
    notes.write(session, pair[0], "De la primera", None)
    notes.write(session, pair[1], "De la segunda", None)
    tasks.add(session, "Llamar", due_on=None, account_id=None, made_by_id=None, contact_id=pair[1])
    done = join(session, pair)
    assert [one.text for one in notes.find(session, pair[0])] == ["De la segunda", "De la primera"]
    assert [one.contact_id for one in tasks.find(session)[0]] == [pair[0]]
    joining.part(session, done.id)
    session.expire_all()
    assert [one.text for one in notes.find(session, pair[1])] == ["De la segunda"]
    assert [one.contact_id for one in tasks.find(session)[0]] == [pair[1]]


def test_a_request_to_either_record_counts_and_its_link_is_of_the_person(session: Session, settings: Settings) -> None:
    publish = {"version": "2027-1", "valid_from": clock.today(), "text": "Aviso", "text_en": ""}
    privacy_notices.publish(session, **publish, full_text="", url="")  # type: ignore[arg-type]  # of several types
    pair = twins(session, tags=["taller"], consents=[], joined={"tags": ["taller"], "consents": []})
    send = begun(session, settings, purpose=Purpose.CONSENT_REQUEST)
    session.execute(sa.update(Delivery).values(state=DeliveryState.SENT, settled_at=clock.now()))
    send.state = SendState.DONE
    mail = session.scalars(sa.select(Delivery.id).where(Delivery.contact_id == pair[1])).one()
    done = join(session, pair)
    assert in_segment(session, "consent_request", "silent") == [pair[0]]
    token = keys_of(session).sign_link("consent", mail)
    consent_answers.accept(session, token, "2027-1", network="127.0.0.1", agent="Prueba")
    assert in_segment(session, "consent_request", "granted") == [pair[0]]
    day = clock.today()
    assert sent_in_period.different_people(session, Period(day, day)) == 1
    assert {row["id"] for row in privacy.everything(session, pair[0])["delivery"]} >= {mail}
    blocked = bulk_actions.carry_out(session, BulkKind.BLOCK, "", [pair[0]], 1)
    assert session.scalar(sa.select(sa.func.count(Contact.id)).where(Contact.blocked_at.is_(None))) == 0
    bulk_actions.undo(session, blocked.id)
    assert session.scalar(sa.select(sa.func.count(Contact.id)).where(Contact.blocked_at.is_not(None))) == 0
    assert done.kept_id == pair[0]


def test_each_datum_tells_where_it_came_from_after_joining(database: Database) -> None:
    with database.session() as session:
        pair = twins(session)
    body = f"Nombre,Primer apellido,Correo\nOlga,Zavala,{address_of(9)}\n".encode()
    with database.session() as session:
        begun_one = imports.begin(session, body, "consulado.csv")
    imports.run(database, begun_one.id, body)
    with database.session() as session:
        listed = session.scalars(sa.select(EmailAddress.contact_id).where(EmailAddress.address == address_of(9))).one()
        joining.join(session, pair[0], listed, {})
    with database.session() as session:
        told = provenance_of(session, contacts.get(session, pair[0]), masked=False)
        words = {one.value: one.words for one in told if one.field == "Correo"}
    assert words[address_of(9)] == "Lista «consulado.csv», fila 2"
    assert "No consta de dónde" not in words.values()


def test_what_was_done_to_many_is_taken_back_from_a_record_that_was_joined_since(session: Session) -> None:
    account = accounts.create(session, "laura@example.org", "Laura Guzmán", Role.EDITING, "una frase larga de prueba")
    pair = twins(session)
    done = bulk_actions.carry_out(session, BulkKind.ADD_TAG, "taller", [pair[1]], account.id)
    row = join(session, pair)
    assert contacts.to_out(contacts.get(session, pair[0])).tags == ["taller"]
    assert bulk_actions.undo(session, done.id).undone == 1
    session.expire_all()
    assert contacts.to_out(contacts.get(session, pair[0])).tags == []
    joining.part(session, row.id)
    session.expire_all()
    assert [contacts.to_out(contacts.get(session, one)).tags for one in pair] == [[], []], "nor does it come back with the other"


@pytest.mark.parametrize("own", [0, 1])
def test_a_tag_that_either_record_had_by_itself_stays_when_one_for_many_is_taken_back(session: Session, own: int) -> None:
    account = accounts.create(session, "laura@example.org", "Laura Guzmán", Role.EDITING, "una frase larga de prueba")
    told: list[dict[str, Any]] = [{}, {}]
    told[own] = {"tags": ["taller"]}
    pair = twins(session, joined=told[1], **told[0])
    done = bulk_actions.carry_out(session, BulkKind.ADD_TAG, "taller", pair, account.id)
    assert done.people == 1
    join(session, pair)
    bulk_actions.undo(session, done.id)
    session.expire_all()
    assert contacts.to_out(contacts.get(session, pair[0])).tags == ["taller"]


def test_a_tag_taken_from_many_comes_back_to_the_record_that_is_kept(session: Session) -> None:
    account = accounts.create(session, "laura@example.org", "Laura Guzmán", Role.EDITING, "una frase larga de prueba")
    pair = twins(session, joined={"tags": ["taller"]})
    done = bulk_actions.carry_out(session, BulkKind.REMOVE_TAG, "taller", pair, account.id)
    join(session, pair)
    assert bulk_actions.undo(session, done.id).undone == 1
    session.expire_all()
    assert contacts.to_out(contacts.get(session, pair[0])).tags == ["taller"]
