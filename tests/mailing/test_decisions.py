"""What a person decides of mails in doubt and of failed ones, and a correction to exactly those who were sent the wrong one."""

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from crm import history
from crm.config import Settings
from crm.database import Database
from crm.errors import Conflict, InvalidInput
from crm.mailing import campaigns, decisions, deliveries, results, segments, sends
from crm.mailing.decisions import Decision
from crm.mailing.models import Attempt, Delivery, DeliveryState, SendState
from crm.mailing.results import Cut, Group
from tests.mailing.factories import begun, move, way
from tests.mailing.mail_server import DROP, MailServer, running
from tests.people.factories import address_of

S = DeliveryState
HARD = {address_of(1): "550 5.1.1 no such user", address_of(2): "552 5.2.3 too large"}


@pytest.fixture
def sent(database: Database, settings: Settings) -> int:
    """A send of eight: five accepted, one unknown, one too large, one of which nobody knows."""
    with database.session() as session:
        send_id = begun(session, settings, 8).id
    with running(MailServer(on_rcpt=HARD.get, on_data=lambda address: DROP if address == address_of(3) else None)) as server:
        for _ in range(3):
            with database.session() as session:
                session.execute(sa.text("UPDATE relay SET resting_until = NULL"))
            move(database, send_id, way(settings, server))
    with database.session(write=False) as session:
        counted = deliveries.counts(session, send_id)
        assert (counted.sent, counted.failed, counted.in_doubt) == (5, 2, 1)
        assert sends.get(session, send_id).state is SendState.DONE
    return send_id


def test_sends_again_what_was_in_doubt_once_a_person_says_so(database: Database, settings: Settings, sent: int) -> None:
    with database.session() as session:
        assert decisions.decide_doubt(session, sent, Decision.SEND_AGAIN, "Me escribió que no llegó") == 1
        assert sends.get(session, sent).state is SendState.SENDING
    with running() as server:
        assert move(database, sent, way(settings, server)) == 1
        assert list(server.recipients) == [address_of(3)]
    with database.session(write=False) as session:
        assert sends.get(session, sent).state is SendState.DONE
        assert deliveries.counts(session, sent).sent == 6
        assert "Me escribió que no llegó" in {change.why for change in history.changes_of(session, "send", sent)}


def test_takes_as_sent_and_tells_that_a_person_said_so(database: Database, sent: int) -> None:
    with database.session() as session:
        assert decisions.decide_doubt(session, sent, Decision.TAKE_AS_SENT, "Contestó el correo") == 1
        assert decisions.decide_doubt(session, sent, Decision.TAKE_AS_SENT, "Otra vez") == 0
    with database.session(write=False) as session:
        told = session.scalars(sa.select(Delivery).where(Delivery.address == address_of(3))).one()
        assert (told.state, told.reason) == (S.SENT, decisions.TAKEN_AS_SENT)
        assert sends.get(session, sent).state is SendState.DONE
        attempts = session.scalars(sa.select(Attempt.reason).where(Attempt.delivery_id == told.id)).all()
        assert "decided_by_person" in attempts


def test_decides_only_the_mails_that_were_chosen(database: Database, sent: int) -> None:
    with database.session() as session:
        assert decisions.decide_doubt(session, sent, Decision.SEND_AGAIN, "x", ids=[]) == 0
        accepted = session.scalars(sa.select(Delivery.id).where(Delivery.state == S.SENT)).all()
        assert decisions.decide_doubt(session, sent, Decision.SEND_AGAIN, "x", ids=accepted) == 0, "what arrived is not in doubt"


def test_tries_failed_mails_again_but_no_address_that_bounced(database: Database, settings: Settings, sent: int) -> None:
    with database.session() as session:
        done = decisions.try_again(session, sent, "Ya pesa menos")
        assert (done.again, done.left) == (1, 1)
    with running() as server:
        move(database, sent, way(settings, server))
        assert list(server.recipients) == [address_of(2)]
    with database.session(write=False) as session:
        assert deliveries.counts(session, sent).failed == 1


def test_asks_for_a_reason_and_leaves_a_cancelled_send_alone(database: Database, sent: int) -> None:
    with database.session() as session:
        with pytest.raises(InvalidInput, match="decision_reason_required"):
            decisions.decide_doubt(session, sent, Decision.SEND_AGAIN, "  ")
        sends.get(session, sent).state = SendState.CANCELLED
        session.flush()
        with pytest.raises(Conflict, match="send_over"):
            decisions.try_again(session, sent, "x")


def test_writes_a_correction_to_exactly_those_who_may_have_it(database: Database, settings: Settings, sent: int) -> None:
    with database.session() as session:
        draft = decisions.write_erratum(session, sent)
        send = sends.get(session, sent)
        send.state, ended = SendState.SENDING, send.state
        failed = session.scalars(sa.select(Delivery).where(Delivery.send_id == sent, Delivery.state == S.FAILED)).first()
        assert failed is not None
        failed.state = S.DEFERRED
        session.flush()
        review = campaigns.review(session, draft, settings)
        assert "correction_too_early" in {problem.code for problem in review.problems}, "somebody may still get the first"
        assert any(": 1." in problem.sentence for problem in review.problems)
        send.state, failed.state = ended, S.FAILED
        session.flush()
        review = campaigns.review(session, draft, settings)
        assert "correction_too_early" not in {problem.code for problem in review.problems}
        assert review.recipients == 6, "five accepted and the one in doubt"
        segments.get(session, draft.include[0]).name = "Con otro nombre"
        again = decisions.write_erratum(session, sent)
        assert again.include == draft.include, "one segment serves both drafts"
        languages = {variant.language for variant in sends.get(session, sent).campaign.variants}
        assert {variant.language for variant in draft.variants} == languages
        assert {"placeholder_left"} <= {problem.code for problem in review.problems}


@pytest.mark.parametrize("cut", list(Cut))
def test_cuts_that_sum_to_the_audience_with_a_door_to_each_group(database: Database, sent: int, cut: Cut) -> None:
    with database.session(write=False) as session:
        found = results.groups(session, sent, cut)
        assert sum(group.people for group in found) == 8
        for group in found:
            where = results.condition(session, cut, group.key or "")
            rows, _ = deliveries.find(session, sent, where=where, limit=100)
            assert len(rows) == group.people, group.key


@given(st.lists(st.tuples(st.sampled_from([*"abcdefghijklmnopqrst", None]), st.sampled_from(list(S)), st.integers(1, 9))))
def test_no_group_is_lost_when_the_small_ones_become_one(rows: list[tuple[str | None, str, int]]) -> None:
    found: list[Group] = results.largest(results.summed(rows))
    assert sum(group.people for group in found) == sum(count for *_, count in rows)
    assert len(found) <= results.MOST
