"""Mails in doubt that something later proves: that they were sent, or that they never left. Nobody else is asked then."""

from datetime import timedelta

import pytest
import sqlalchemy as sa
import time_machine
from sqlalchemy.orm import Session

from crm import clock
from crm.config import Settings
from crm.database import Database, keys_of
from crm.errors import InvalidInput
from crm.mailing import decisions, deliveries, links, sends
from crm.mailing.decisions import Decision
from crm.mailing.deliveries import Claimed, Settled
from crm.mailing.faults import Reply, Step, judge
from crm.mailing.flight import Mark
from crm.mailing.models import Attempt, Delivery, DeliveryState, Outcome, SendState
from crm.people.models import SuppressionReason
from tests.mailing.factories import begun, states

S = DeliveryState
LEASE = timedelta(minutes=1)


def unheard(session: Session, settings: Settings, count: int = 1) -> tuple[int, list[Claimed]]:
    """A send that ended with all its mails in doubt, because nobody heard of the worker that held them (`mine`)."""
    send = begun(session, settings, count)
    claimed = deliveries.claim(session, deliveries.candidates(session, send, relay_is_local=True), "mine", count, LEASE)
    with time_machine.travel(clock.now() + 2 * LEASE, tick=False):
        assert deliveries.expire(session) == count
    assert sends.finish_if_done(session, sends.get(session, send.id, lock=True))
    return send.id, claimed


def reason_of(session: Session, delivery_id: int) -> str | None:
    return session.scalars(sa.select(Attempt.reason).where(Attempt.delivery_id == delivery_id).order_by(Attempt.id.desc())).first()


def test_who_uses_the_link_of_a_mail_was_sent_it(session: Session, settings: Settings) -> None:
    send_id, [one, other] = unheard(session, settings, 2)
    for _ in range(2):
        links.leave(session, links.unsubscribe_url(settings, keys_of(session), one.id).rpartition("/")[2])
    assert states(session, send_id) == {S.SENT: 1, S.IN_DOUBT: 1}
    assert (reason_of(session, one.id), reason_of(session, other.id)) == (deliveries.LINK_USED, None)
    assert sends.get(session, send_id).state is SendState.DONE


@pytest.mark.parametrize(
    ("reason", "outcome"),
    [(SuppressionReason.BOUNCED, Outcome.BOUNCED_HARD), (SuppressionReason.COMPLAINED, Outcome.COMPLAINED)],
)
def test_what_comes_back_was_sent(session: Session, settings: Settings, reason: SuppressionReason, outcome: Outcome) -> None:
    send_id, [one, other] = unheard(session, settings, 2)
    identifier = f"<{links.message_id(keys_of(session), one.id, 'example.org')}>"
    with pytest.raises(InvalidInput, match="message_unknown"):
        links.note_returned(session, identifier, other.address, reason)
    links.note_returned(session, identifier, one.address, reason)
    assert states(session, send_id) == {S.SENT: 1, S.IN_DOUBT: 1}
    assert session.execute(sa.select(Delivery.outcome).where(Delivery.id == one.id)).scalar_one() is outcome
    assert reason_of(session, one.id) == outcome.value


def test_nothing_comes_back_of_what_never_left(session: Session, settings: Settings) -> None:
    send = begun(session, settings, 1)
    number = session.scalars(sa.select(Delivery.id)).one()
    deliveries.note_outcome(session, number, Outcome.COMPLAINED)
    assert states(session, send.id) == {S.PENDING: 1}
    assert session.execute(sa.select(Delivery.outcome).where(Delivery.id == number)).scalar_one() is None


def test_the_flight_recorder_settles_what_the_lease_had_put_in_doubt(session: Session, settings: Settings) -> None:
    """The record of a dead worker is read after another one had given up on it."""
    send_id, [taken, begun_, untouched] = unheard(session, settings, 3)
    deliveries.recover(session, "mine", {taken.id: Mark.ACCEPTED, begun_.id: Mark.BEGUN})
    rows = {row.id: row.state for row in session.execute(sa.select(Delivery.id, Delivery.state))}
    assert rows == {taken.id: S.SENT, begun_.id: S.IN_DOUBT, untouched.id: S.PENDING}
    assert sends.get(session, send_id).state is SendState.SENDING, "a send that had ended goes on"


def test_the_flight_recorder_moves_nothing_that_a_person_decided(session: Session, settings: Settings) -> None:
    send_id, [one, other] = unheard(session, settings, 2)
    decisions.decide_doubt(session, send_id, Decision.TAKE_AS_SENT, "Contestó", [one.id])
    decisions.decide_doubt(session, send_id, Decision.SEND_AGAIN, "No llegó", [other.id])
    deliveries.recover(session, "mine", {other.id: Mark.ACCEPTED})
    rows = {row.id: (row.state, row.reason) for row in session.execute(sa.select(Delivery.id, Delivery.state, Delivery.reason))}
    assert rows == {one.id: (S.SENT, decisions.TAKEN_AS_SENT), other.id: (S.PENDING, None)}


@pytest.mark.parametrize("strange", [Reply(Step.MESSAGE, 0), Reply(Step.MESSAGE, 299, "perhaps")])
def test_what_left_and_met_no_clear_answer_never_goes_back(session: Session, settings: Settings, strange: Reply) -> None:
    send_id, [one] = unheard(session, settings)
    assert deliveries.settle(session, one, Settled(one.id, strange, judge(strange)), "mine")
    deliveries.release(session, "mine")
    deliveries.recover(session, "mine", {})
    assert states(session, send_id) == {S.IN_DOUBT: 1}


def test_what_could_not_be_written_never_goes_back(session: Session, settings: Settings) -> None:
    send_id, [one] = unheard(session, settings)
    deliveries.leave_open(session, one.id, "mine", in_doubt=True)
    deliveries.release(session, "mine")
    assert states(session, send_id) == {S.IN_DOUBT: 1}


def test_a_holder_that_comes_back_late_gives_back_what_it_never_began(session: Session, settings: Settings) -> None:
    """A machine that slept: its lease ran out, the send ended, and then it tells that nothing had left."""
    send_id, [one] = unheard(session, settings)
    deliveries.release(session, "mine", Delivery.id == one.id)
    send = sends.get(session, send_id)
    assert (send.state, states(session, send_id)) == (SendState.SENDING, {S.PENDING: 1})


@pytest.mark.parametrize("late", [Reply(Step.MESSAGE, 451, "4.2.1 later"), Reply(Step.RCPT, 452, "4.3.1 disk full")])
def test_a_send_that_ended_goes_on_when_a_late_answer_refuses_for_now(session: Session, settings: Settings, late: Reply) -> None:
    send_id, [one] = unheard(session, settings)
    assert deliveries.settle(session, one, Settled(one.id, late, judge(late)), "mine")
    assert sends.get(session, send_id).state is SendState.SENDING, "else nobody would send it: lost"
    assert deliveries.counts(session, send_id).in_doubt == 0


@pytest.mark.parametrize("unheard_of", [True, False])
def test_takes_nothing_back_into_a_cancelled_send(database: Database, settings: Settings, unheard_of: bool) -> None:
    with database.session() as session:
        send = begun(session, settings, 1)
        claimed = deliveries.claim(session, deliveries.candidates(session, send, relay_is_local=True), "mine", 1, LEASE)
        sends.cancel(session, send.id)
        if unheard_of:
            deliveries.expire(session, everything=True)
        deliveries.release(session, "mine")
        row = session.execute(sa.select(Delivery.state, Delivery.reason, Delivery.settled_at)).one()
        assert (row.state, row.reason, len(claimed)) == (S.SKIPPED, "cancelled", 1)
        assert row.settled_at is not None
