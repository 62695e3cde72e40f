"""Consent and suppression: who may be written to, why not, and that nothing brings back who left."""

import itertools
import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from crm import history
from crm.config import Settings
from crm.database import JOURNAL_FILE, Database
from crm.errors import Conflict, InvalidInput, NotFound, Unavailable
from crm.keys import load_keys
from crm.people import consent, contacts, privacy_notices, suppression
from crm.people.models import (
    Channel,
    Consent,
    ConsentState,
    Contact,
    EmailAddress,
    PrivacyNotice,
    Purpose,
    Suppression,
    SuppressionReason,
)
from crm.people.schemas import ContactPatch
from tests.people.factories import address_of, consent_in, contact, contact_in, revoke

BOUNCED, COMPLAINED = SuppressionReason.BOUNCED, SuppressionReason.COMPLAINED
UNSUBSCRIBED, ERASED = SuppressionReason.UNSUBSCRIBED, SuppressionReason.ERASED
NEWSLETTER = Purpose.NEWSLETTER
TODAY = date(2026, 11, 22)


def suppress(session: Session, address: str, reason: SuppressionReason = UNSUBSCRIBED) -> None:
    consent.suppress(session, address, reason, happened_on=TODAY, proof="Lo pidió por teléfono")


def skip(session: Session, contact_id: int, purpose: Purpose = NEWSLETTER, channel: Channel = Channel.EMAIL) -> str | None:
    session.flush()
    return session.scalars(sa.select(consent.skip_reason(session, purpose, channel)).where(Contact.id == contact_id)).one()


def state(session: Session, contact_id: int) -> str:
    session.flush()
    told = session.scalars(sa.select(consent.mail_state()).where(Contact.id == contact_id)).one()
    session.expire_all()
    assert consent.mail_state_of(contacts.get(session, contact_id)) == told
    return told


def test_writes_to_who_consented(session: Session) -> None:
    one = contact(session, 0, consents=(NEWSLETTER,))
    assert skip(session, one.id) is None
    assert skip(session, one.id, Purpose.EVENT_INVITATION) == "no_consent"
    assert state(session, one.id) == "ok"


def test_hears_the_last_word(session: Session) -> None:
    one = contact(session, 0, consents=(NEWSLETTER, Purpose.EVENT_INVITATION))
    revoke(session, one.id, NEWSLETTER)
    assert skip(session, one.id) == "unsubscribed"
    assert skip(session, one.id, Purpose.EVENT_INVITATION) is None
    assert state(session, one.id) == "ok"
    revoke(session, one.id, Purpose.EVENT_INVITATION)
    assert state(session, one.id) == "unsubscribed"
    consent.record(session, one.id, consent_in(NEWSLETTER), source="page")
    assert skip(session, one.id) is None


def test_never_gives_again_what_was_revoked_but_by_the_person(session: Session) -> None:
    one = contact(session, 0, consents=(NEWSLETTER,))
    revoke(session, one.id, NEWSLETTER)
    for source in ("import", "api", "staff"):
        assert consent.record(session, one.id, consent_in(NEWSLETTER), source=source) is None
    assert skip(session, one.id) == "unsubscribed"


def test_adds_nothing_when_nothing_new_is_said(session: Session) -> None:
    one = contact(session, 0, consents=(NEWSLETTER,))
    assert consent.record(session, one.id, consent_in(NEWSLETTER, evidence="Otra hoja"), source="api") is None
    assert consent.record(session, one.id, consent_in(NEWSLETTER, state="revoked"), source="api") is not None


def test_refuses_to_record_a_consent_of_who_left(session: Session) -> None:
    one = contact(session, 0)
    suppress(session, address_of(0), COMPLAINED)
    for source in ("api", "page"):
        with pytest.raises(Conflict, match="suppressed"):
            consent.record(session, one.id, consent_in(NEWSLETTER), source=source)


def test_tells_why_someone_is_left_out(session: Session) -> None:
    blocked, silent, left, angry, gone, bounced = (
        contact(session, n, consents=(NEWSLETTER,), **({"emails": []} if n == 1 else {})) for n in range(6)
    )
    blocked.blocked_at = blocked.created_at
    suppress(session, address_of(2))
    suppress(session, address_of(3), COMPLAINED)
    suppress(session, address_of(4), ERASED)
    suppress(session, address_of(5), BOUNCED)
    told = [skip(session, one.id) for one in (blocked, silent, left, angry, gone, bounced)]
    assert told == ["blocked", "no_address", "unsubscribed", "suppressed", "suppressed", "suppressed"]
    shown = [state(session, one.id) for one in (silent, left, angry, gone, bounced)]
    assert shown == ["no_address", "unsubscribed", "complained", "unsubscribed", "bounced"]


def test_leaves_out_who_left_by_an_address_they_no_longer_use(session: Session) -> None:
    one = contact(session, 0, consents=(NEWSLETTER,))
    suppress(session, address_of(0))
    contacts.change(session, one.id, ContactPatch(emails=["nueva@example.org"]))
    assert skip(session, one.id) == "unsubscribed"


def test_reaches_by_telephone_who_left_by_mail_only_when_they_said_so(session: Session) -> None:
    said = [consent_in(NEWSLETTER, channel="whatsapp")]
    one = contacts.create(session, contact_in(0, phone="+1 555 0101", consents=said))
    suppress(session, address_of(0))
    assert skip(session, one.id, channel=Channel.WHATSAPP) is None
    assert skip(session, one.id, channel=Channel.PHONE) == "no_consent"
    suppress(session, address_of(0), ERASED)
    assert skip(session, one.id, channel=Channel.WHATSAPP) == "suppressed"


def test_prefers_one_active_address(session: Session) -> None:
    one = contact(session, 0, emails=["uno@example.org", "dos@example.org"])
    join = sa.select(Contact.id, EmailAddress.address).join(EmailAddress, EmailAddress.id == consent.preferred_address())
    assert session.execute(join).all() == [(one.id, "uno@example.org")]
    contacts.change(session, one.id, ContactPatch(emails=["dos@example.org"]))
    assert session.execute(join).all() == [(one.id, "dos@example.org")]


# --- people of whom no consent is recorded ------------------------------------------------------------------------------------


def test_asks_people_of_an_old_list_for_their_consent_only(session: Session) -> None:
    one = contact(session, 0)
    reasons = {purpose: skip(session, one.id, purpose) for purpose in Purpose}
    assert {purpose for purpose, reason in reasons.items() if reason is None} == {Purpose.CONSENT_REQUEST}
    assert set(reasons.values()) == {None, "no_consent"}
    assert state(session, one.id) == "no_consent"


def test_follows_the_rule_that_the_privacy_role_wrote(session: Session) -> None:
    one, other = contact(session, 0), contact(session, 1, consents=(NEWSLETTER,))
    consent.set_purpose_rule(session, Purpose.ELECTORAL_INFORMATION, True, " Artículo 16, función legal del Instituto ")
    consent.set_purpose_rule(session, Purpose.CONSENT_REQUEST, False, "Se concluyó la regularización")
    assert skip(session, one.id, Purpose.ELECTORAL_INFORMATION) is None
    assert skip(session, one.id, Purpose.CONSENT_REQUEST) == "no_consent"
    assert skip(session, other.id, Purpose.ELECTORAL_INFORMATION) == "no_consent"
    assert consent.reached_by(session, contacts.get(session, one.id)) == [Purpose.ELECTORAL_INFORMATION]
    assert consent.reached_by(session, contacts.get(session, other.id)) == [NEWSLETTER]
    consent.set_purpose_rule(session, Purpose.ELECTORAL_INFORMATION, False, "Lo pidió el área jurídica")
    assert not consent.legacy_may_receive(session, Purpose.ELECTORAL_INFORMATION)
    changes = session.scalars(
        sa.select(history.Change).where(history.Change.entity == "purpose_rule").order_by(history.Change.id)
    ).all()
    assert changes[0].fields["ground"] == [None, "Artículo 16, función legal del Instituto"]
    assert changes[-1].fields["legacy_may_receive"] == [True, False]


def test_refuses_a_rule_without_ground(session: Session) -> None:
    with pytest.raises(InvalidInput, match="ground_required"):
        consent.set_purpose_rule(session, NEWSLETTER, True, "  ")


def test_finds_a_notice_by_its_version(session: Session) -> None:
    session.add(PrivacyNotice(version="2026-1", text="Aviso"))
    session.flush()
    assert privacy_notices.get(session, "2026-1").text == "Aviso"
    with pytest.raises(NotFound, match="notice_not_found"):
        privacy_notices.get(session, "2020-9")


# --- suppression ---------------------------------------------------------------------------------------------------------------


def lines(settings: Settings) -> list[dict[str, Any]]:
    path = settings.data_dir / JOURNAL_FILE
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_suppresses_once_however_often_and_however_spelled(database: Database, settings: Settings) -> None:
    for address in (address_of(0), address_of(0).upper(), address_of(0)):
        with database.session() as session:
            if address == address_of(0):
                contacts.take_in(session, contact_in(0))
            suppress(session, address)
            suppress(session, address)
    with database.session() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Suppression)) == 1
    assert len(lines(settings)) == 1


def test_revokes_what_was_granted_by_mail_with_the_proof(session: Session) -> None:
    said = [consent_in(NEWSLETTER), consent_in(Purpose.EVENT_INVITATION), consent_in(NEWSLETTER, channel="whatsapp")]
    one = contacts.create(session, contact_in(0, consents=said))
    suppress(session, address_of(0))
    rows = session.scalars(sa.select(Consent).where(Consent.contact_id == one.id, Consent.state == ConsentState.REVOKED)).all()
    assert {(row.purpose, row.channel) for row in rows} == {(NEWSLETTER, Channel.EMAIL), (Purpose.EVENT_INVITATION, Channel.EMAIL)}
    assert {(row.evidence, row.given_on, row.source) for row in rows} == {("Lo pidió por teléfono", TODAY, "unsubscribe")}


def test_does_not_revoke_when_the_mailbox_bounced(session: Session) -> None:
    one = contact(session, 0, consents=(NEWSLETTER,))
    suppress(session, address_of(0), BOUNCED)
    assert [row.state for row in contacts.get(session, one.id).consents] == [ConsentState.GRANTED]


def test_refuses_to_suppress_what_is_no_address(session: Session) -> None:
    with pytest.raises(InvalidInput, match="address_invalid"):
        suppress(session, "nadie")


def test_journal_tells_that_someone_left_and_never_who(database: Database, settings: Settings) -> None:
    with database.session() as session:
        contact(session, 0)
        suppress(session, address_of(0))
        suppress(session, "nadie.conocido@example.org", COMPLAINED)
        assert lines(settings) == []
    first, second = lines(settings)
    assert set(first) == {"address_hash", "key_fingerprint", "reason", "happened_on", "recorded_at"}
    assert (first["reason"], first["happened_on"], second["reason"]) == ("unsubscribed", "2026-11-22", "complained")
    assert "example" not in (settings.data_dir / JOURNAL_FILE).read_text()
    assert (settings.data_dir / JOURNAL_FILE).stat().st_mode & 0o777 == 0o600


def test_journal_holds_only_what_was_committed(database: Database, settings: Settings) -> None:
    with pytest.raises(RuntimeError), database.session() as session:
        suppress(session, address_of(0))
        raise RuntimeError
    with database.session() as session:
        with session.begin_nested():
            suppress(session, address_of(1))
        with session.begin_nested() as savepoint:
            suppress(session, address_of(2), BOUNCED)
            with session.begin_nested():
                suppress(session, address_of(3))
            savepoint.rollback()
        assert lines(settings) == []
    assert [line["reason"] for line in lines(settings)] == ["unsubscribed"]


def test_full_disk_undoes_no_suppression_and_its_line_is_written_later(
    database: Database, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = settings.data_dir / JOURNAL_FILE
    journal.symlink_to("/dev/full")
    with database.session() as session:
        suppress(session, address_of(0))
    with database.session(write=False) as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Suppression)) == 1
    told = "".join(capsys.readouterr())
    assert "journal_append_failed" in told
    assert "example" not in told
    journal.unlink()
    with database.session() as session:
        suppress(session, address_of(1), COMPLAINED)
    assert [line["reason"] for line in lines(settings)] == ["unsubscribed", "complained"]


def test_restored_database_learns_from_the_journal_who_left(database: Database, settings: Settings) -> None:
    with database.session() as session:
        contact(session, 0, consents=(NEWSLETTER,))
        suppress(session, address_of(0))
    with database.session() as session:
        session.execute(sa.delete(Suppression))
        session.execute(sa.delete(Consent).where(Consent.state == ConsentState.REVOKED))
        assert suppression.reconcile_journal(session) == 1
        assert suppression.reconcile_journal(session) == 0
        assert skip(session, session.scalars(sa.select(Contact.id)).one()) == "unsubscribed"


def test_refuses_to_send_without_the_key_of_the_suppressions(database: Database, tmp_path: Path) -> None:
    with database.session() as session:
        consent.check_suppression_key(session)
        suppress(session, address_of(0))
        consent.check_suppression_key(session)
        other = load_keys(tmp_path / "other")
        session.info["keys"] = replace(session.info["keys"], suppression=other.suppression)
        with pytest.raises(Unavailable, match="suppression_key_missing") as caught:
            consent.check_suppression_key(session)
    assert "keys.json" in caught.value.sentence


def test_counts_how_everyone_stands(session: Session) -> None:
    contact(session, 0, consents=(NEWSLETTER,))
    contact(session, 1)
    contact(session, 2)
    suppress(session, address_of(2))
    told = consent.mail_state()
    counted = session.execute(sa.select(told, sa.func.count()).group_by(told)).all()
    assert sorted(counted) == [("no_consent", 1), ("ok", 1), ("unsubscribed", 1)]


@given(
    st.lists(st.tuples(st.sampled_from(["granted", "revoked"]), st.sampled_from([Channel.EMAIL, Channel.PHONE])), max_size=4),
    st.sets(st.sampled_from(SuppressionReason), max_size=2),
    st.sampled_from([[], ["uno@example.org"], ["uno@example.org", "dos@example.org"]]),
    st.booleans(),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_row_and_statement_agree_on_how_someone_stands(
    database: Database, said: list[tuple[str, Channel]], reasons: set[SuppressionReason], emails: list[str], second: bool
) -> None:
    with database.session() as session, session.begin_nested() as savepoint:
        one = contacts.create(session, contact_in(0, emails=emails))
        for (word, channel), purpose in zip(said, itertools.cycle([NEWSLETTER, Purpose.CIVIC_EDUCATION]), strict=False):
            session.add(
                Consent(contact_id=one.id, purpose=purpose, channel=channel, state=ConsentState(word), evidence="x", source="page")
            )
            session.flush()
        for reason in sorted(reasons):
            suppress(session, "dos@example.org" if second else "uno@example.org", reason)
        session.expire_all()
        assert state(session, one.id) in consent.MAIL_STATES
        reached = consent.reached_by(session, contacts.get(session, one.id))
        assert reached == [purpose for purpose in Purpose if skip(session, one.id, purpose) is None]
        savepoint.rollback()


# --- a bounce that is lifted ------------------------------------------------------------------------------------------------


def test_lifts_a_bounce_with_its_written_reason(database: Database, settings: Settings) -> None:
    with database.session() as session:
        one = contact(session, 0, consents=(NEWSLETTER,))
        suppress(session, address_of(0), BOUNCED)
        assert skip(session, one.id) == "suppressed"
    with database.session(actor=history.Actor(history.ActorKind.ACCOUNT, 7)) as session:
        consent.lift_bounce(session, address_of(0).upper(), " Confirmó su buzón por teléfono ")
        assert skip(session, one.id) is None
        entry = history.changes_of(session, "contact", one.id)[0]
        assert (entry.entity, entry.action, entry.actor_id) == ("suppression", history.Action.REMOVE, 7)
        kept = session.get_one(history.ChangePersonal, entry.id).fields
        assert kept == {"proof": ["Lo pidió por teléfono", None], "lifted_because": [None, "Confirmó su buzón por teléfono"]}
    assert [line.get("lifted") for line in lines(settings)] == [None, True]


def test_replaying_the_journal_does_not_bring_back_a_lifted_bounce(database: Database, settings: Settings) -> None:
    with database.session() as session:
        one = contact(session, 0, consents=(NEWSLETTER,))
        suppress(session, address_of(0), BOUNCED)
        suppress(session, address_of(1), BOUNCED)
    with database.session() as session:
        before = [dict(row) for row in session.execute(sa.select(Suppression.__table__)).mappings()]
        consent.lift_bounce(session, address_of(0), "Buzón corregido")
    for restored in ([], before):
        with database.session() as session:
            session.execute(sa.delete(Suppression))
            session.execute(sa.insert(Suppression), restored) if restored else None
            suppression.reconcile_journal(session)
            assert skip(session, one.id) is None
            assert session.scalar(sa.select(sa.func.count()).select_from(Suppression)) == 1
    assert len(lines(settings)) == 3


def test_a_mailbox_that_bounces_again_after_a_lift_stays_suppressed(database: Database, settings: Settings) -> None:
    with database.session() as session:
        one = contact(session, 0, consents=(NEWSLETTER,))
        suppress(session, address_of(0), BOUNCED)
    with database.session() as session:
        consent.lift_bounce(session, address_of(0), "Buzón corregido")
    with database.session() as session:
        suppress(session, address_of(0), BOUNCED)
    path = settings.data_dir / JOURNAL_FILE
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))  # the disk was full at the third line
    with database.session() as session:
        assert suppression.reconcile_journal(session) == 0
        assert skip(session, one.id) == "suppressed"
    assert len(lines(settings)) == 3
    with database.session() as session:
        session.execute(sa.delete(Suppression))
        assert suppression.reconcile_journal(session) == 1


@pytest.mark.parametrize("reason", [UNSUBSCRIBED, COMPLAINED, ERASED])
def test_never_lifts_what_the_person_said(session: Session, reason: SuppressionReason) -> None:
    contact(session, 0)
    suppress(session, address_of(0), BOUNCED)
    suppress(session, address_of(0), reason)
    with pytest.raises(Conflict, match="suppression_stays"):
        consent.lift_bounce(session, address_of(0), "Se insiste")
    assert session.scalar(sa.select(sa.func.count()).select_from(Suppression)) == 2


def test_lifts_nothing_without_a_bounce_or_a_reason(session: Session) -> None:
    with pytest.raises(Conflict, match="not_bounced"):
        consent.lift_bounce(session, address_of(0), "Buzón corregido")
    suppress(session, address_of(0), BOUNCED)
    with pytest.raises(InvalidInput, match="lift_reason_required"):
        consent.lift_bounce(session, address_of(0), "  ")
    consent.lift_bounce(session, address_of(0), "De nadie de la Red")
    assert session.scalars(sa.select(history.Change.root).where(history.Change.entity == "suppression")).all() == ["suppression"]


def test_a_journal_lifts_no_reason_but_a_bounce(database: Database, settings: Settings) -> None:
    with database.session() as session:
        suppress(session, address_of(0))
    path = settings.data_dir / JOURNAL_FILE
    forged = {**lines(settings)[0], "recorded_at": "2030-01-01T00:00:00+00:00", "lifted": True}
    path.write_text(path.read_text() + json.dumps(forged) + "\n")
    with database.session() as session:
        session.execute(sa.delete(Suppression))
        assert suppression.reconcile_journal(session) == 1
