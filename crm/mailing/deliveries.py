"""The ledger: what happened to each person of a send. Each move is one UPDATE fenced by the token of who holds the row.

    pending ──claim──> sending ──settle──> sent | deferred | failed | in_doubt | pending
       │                  └──lease ran out──> in_doubt          deferred ──claim──> sending
       └──claim──> skipped(reason), when the person left since

Nobody gets the same send twice by our doing: the claim is committed before any byte of content leaves, and a claim whose
end is not known is in doubt, never sent again by itself. Nobody is lost in silence: the counts sum to the audience.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm import clock
from crm.database import (
    UtcDateTime,
    is_postgresql,
    json_pairs,
    json_values,
    keyset_page,
    one_at_a_time,
    placeholder,
    rows_in_one,
    written_out,
)
from crm.mailing import audience, fields
from crm.mailing.faults import GIVE_UP_AFTER, Judgement, Reply, Step, Verdict, wait_before
from crm.mailing.flight import Mark
from crm.mailing.models import IS_OPEN, Attempt, Delivery, DeliveryState, Outcome, Send, SendState, SkipReason
from crm.mailing.schemas import Counts
from crm.people import consent
from crm.people.models import Contact, EmailAddress, Language, SuppressionReason

OPEN = (DeliveryState.PENDING, DeliveryState.DEFERRED)
_TABLE: sa.Table = Delivery.__table__  # type: ignore[assignment]  # a mapped class's table is one
DECIDED = "decided_by_person"
"""Reason of the attempt that stands for a person's decision."""
RECORDED = "flight_recorder"
"""Reason of the attempt of a mail that was accepted just before its process was killed."""
LINK_USED = "link_used"
"""Reason of the attempt of a mail whose own link was used: it had arrived."""
HOLDER_LOST = "holder_lost"
"""Reason of a mail in doubt of which nothing was heard: its holder may still come back and tell."""
RESTORED = "restored_doubt"
"""Reason of a mail in doubt because the database is older than what may have left: see `holding`."""
_IN_DOUBT = {"state": DeliveryState.IN_DOUBT, "reason": "no_clear_answer", "lease_until": None}
BLOCKED_TRIES = 5
"""After so many refusals by policy of one mail it is failed, so that it does not hold up the others for ever."""


class Claimed(NamedTuple):
    """A mail that this worker alone may hand over, until its lease runs out."""

    id: int
    address: str
    language: Language
    attempts: int
    reason: str | None
    """What its last try ended with, if it had one."""
    shown: int
    person: fields.Known


@dataclass(frozen=True)
class Settled:
    """What became of a claimed mail."""

    id: int
    reply: Reply
    judgement: Judgement


def make(session: Session, send: Send, languages: Sequence[Language], *, relay_is_local: bool) -> int:
    """Write a delivery for each person of the audience, those left out with their reason; returns how many get it."""
    chosen = audience.people(
        session, audience.Rules.from_json(send.rule), send.purpose, languages, relay_is_local=relay_is_local
    ).subquery()
    now = clock.now()
    state = sa.case((chosen.c.reason.is_(None), DeliveryState.PENDING.value), else_=DeliveryState.SKIPPED.value)
    rows = sa.select(
        sa.literal(send.id),
        chosen.c.contact_id,
        chosen.c.address,
        chosen.c.address_hash,
        chosen.c.language,
        chosen.c.shown,
        state,
        chosen.c.reason,
        sa.literal(now, Delivery.due_at.type),
        sa.literal(0),
        sa.case((chosen.c.reason.is_(None), None), else_=sa.literal(now, Delivery.due_at.type)),
    ).order_by(chosen.c.contact_id)
    columns = [
        "send_id",
        "contact_id",
        "address",
        "address_hash",
        "language",
        "shown",
        "state",
        "reason",
        "due_at",
        "attempts",
        "settled_at",
    ]
    session.execute(sa.insert(Delivery).from_select(columns, rows))
    return counts(session, send.id).pending


def candidates(session: Session, send: Send, *, relay_is_local: bool) -> sa.TextClause:
    """What is due of a send, as `claim` asks for it: all that a mail needs, and why each may not leave after all (NULL: it may).

    Takes ``now`` and ``most``. Built once per run, since composing this statement costs more than running it; one row of JSON,
    since each row that SQLite yields hands the interpreter over to the other threads and waits to get it back.
    """
    replaced = ~sa.exists().where(
        EmailAddress.contact_id == Delivery.contact_id,
        EmailAddress.suppression_hash == Delivery.address_hash,
        EmailAddress.retired_at.is_(None),
    )
    left = sa.case(
        (consent.is_suppressed(Delivery.address_hash), SkipReason.SUPPRESSED.value),
        (replaced, SkipReason.ADDRESS_CHANGED.value),
        else_=None,
    )
    why_not = sa.func.coalesce(audience.skip_reason(session, send.purpose, relay_is_local=relay_is_local), left)
    mails = sa.select(
        why_not.label("why_not"),
        Delivery.id,
        Delivery.address,
        Delivery.language,
        Delivery.attempts,
        Delivery.reason,
        Delivery.shown,
    )
    due = (
        fields.known(mails.join(Contact, Contact.id == Delivery.contact_id))
        .where(Delivery.send_id == send.id, IS_OPEN, Delivery.due_at <= placeholder("now"))
        .order_by(Delivery.due_at, Delivery.id)
        .limit(placeholder("most"))
    )
    whole = rows_in_one(session, due.with_for_update(of=Delivery, skip_locked=True) if is_postgresql(session) else due)
    return written_out(session, whole, now=UtcDateTime(), most=sa.Integer())


def doubt_all(session: Session, send_id: int) -> None:
    """Put what waits of a send in doubt: it may have left before the database was restored."""
    waiting = sa.update(Delivery).where(Delivery.send_id == send_id, Delivery.state.in_(OPEN))
    session.execute(waiting.values(state=DeliveryState.IN_DOUBT, reason=RESTORED, settled_at=clock.now()))


def claim(session: Session, due: sa.TextClause, token: str, limit: int, lease: timedelta, *, alone: bool = False) -> list[Claimed]:
    """Take up to ``limit`` mails of `candidates`; the commit of this transaction is the permission to hand them over.

    Who left, was blocked or lost consent since the audience was made is skipped here, with the reason. ``alone``: no other claim
    of the kind is made at the same time, since what it may claim hangs on what others have claimed.
    """
    if alone:
        one_at_a_time(session, "claim")
    while True:
        found = json.loads(session.connection().scalar(due, {"now": clock.now(), "most": limit}) or "[]")
        _skip(session, [(number, why_not) for why_not, number, *_ in found if why_not is not None])
        taken = [_claimed(*mail) for why_not, *mail in found if why_not is None]
        if taken or not found:
            _take(session, [one.id for one in taken], token, lease)
            return taken


def _claimed(number: int, address: str, language: str, attempts: int, reason: str | None, shown: int, *known: Any) -> Claimed:
    return Claimed(number, address, Language(language), attempts + 1, reason, shown, fields.Known.read(known))


def _skip(session: Session, left: Iterable[tuple[int, str]]) -> None:
    for delivery_id, reason in left:
        session.execute(
            sa.update(Delivery)
            .where(Delivery.id == delivery_id, Delivery.state.in_(OPEN))
            .values(state=DeliveryState.SKIPPED, reason=reason, settled_at=clock.now())
        )


def _take(session: Session, ids: Sequence[int], token: str, lease: timedelta) -> None:
    if not ids:
        return
    values = {"holder": token, "until": clock.now() + lease, "ids": json.dumps(ids)}
    taken = session.connection().execute(_TAKE[is_postgresql(session)], values)
    if taken.rowcount != len(ids):  # nobody else may change them between the reading and this, in one transaction
        raise RuntimeError("a mail that was read to be claimed was not there to claim")


def _found_by_id(*fences: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    """What rows that are looked up by their ids must meet, as no index has it and no planner guesses at: from a guess of few rows
    PostgreSQL reads the whole table first and goes through all ids for each of them (measured: 170 us a mail for 40)."""
    return sa.case((sa.and_(*fences), sa.true()), else_=sa.false())


def _take_statement(*, on_postgresql: bool) -> sa.Update:
    chosen = json_values("ids", on_postgresql=on_postgresql)
    return (
        sa.update(_TABLE)
        .where(_TABLE.c.id.in_(sa.select(chosen)), _found_by_id(_TABLE.c.state.in_(OPEN)))
        .values(
            state=DeliveryState.SENDING,
            token=sa.bindparam("holder"),
            lease_until=sa.bindparam("until", type_=UtcDateTime()),
            attempts=_TABLE.c.attempts + 1,
        )
    )


def release(session: Session, token: str, chosen: sa.ColumnElement[bool] | None = None) -> None:
    """Give back what is claimed under a token, all or what is chosen: its holder knows that nothing of it left."""
    before = sa.case((Delivery.state == DeliveryState.SENDING, Delivery.reason), else_=None)
    given = session.scalars(
        sa.update(Delivery)
        .where(*_held(token), *([] if chosen is None else [chosen]))
        .values(
            state=sa.case((_is_over(), DeliveryState.SKIPPED.value), else_=DeliveryState.PENDING.value),
            reason=sa.case((_is_over(), SkipReason.CANCELLED.value), else_=before),
            token=None,
            lease_until=None,
            attempts=Delivery.attempts - 1,
            settled_at=clock.now(),
        )
        .returning(Delivery.send_id)
        .execution_options(synchronize_session=False)
    )
    reopen(session, set(given))


def _held(token: str) -> tuple[sa.ColumnElement[bool], ...]:
    """What a token holds: what is leaving under it, and what was put in doubt only because nobody heard of its holder."""
    unheard = sa.and_(Delivery.state == DeliveryState.IN_DOUBT, Delivery.reason == HOLDER_LOST)
    return Delivery.token == token, sa.or_(Delivery.state == DeliveryState.SENDING, unheard)


def reopen(session: Session, send_ids: Iterable[int]) -> None:
    """Sends that had ended go on: something of them may leave again."""
    ended = sa.select(Send).where(Send.id.in_(send_ids), Send.state == SendState.DONE).with_for_update()
    for send in session.scalars(ended.execution_options(populate_existing=True)):
        send.state, send.reason, send.finished_at = SendState.SENDING, None, None
    session.flush()


def fail(session: Session, delivery_id: int, token: str, reason: str) -> None:
    """End a claimed mail that cannot leave for a reason of ours."""
    session.execute(
        sa.update(Delivery)
        .where(Delivery.id == delivery_id, *_held(token))
        .values(state=DeliveryState.FAILED, reason=reason, token=None, lease_until=None, settled_at=clock.now())
    )


def leave_open(session: Session, delivery_id: int, token: str, *, in_doubt: bool) -> None:
    """Put a claimed mail whose answer could not be written in doubt if its content left, else back."""
    if not in_doubt:
        release(session, token, Delivery.id == delivery_id)
        return
    session.execute(
        sa.update(Delivery).where(Delivery.id == delivery_id, *_held(token)).values(**_IN_DOUBT, settled_at=clock.now())
    )


def _is_over() -> sa.ColumnElement[bool]:
    """Whether the send of a delivery was cancelled: nothing of it may be open again."""
    return sa.exists().where(Send.id == Delivery.send_id, Send.state == SendState.CANCELLED)


def settle(session: Session, claimed: Claimed, settled: Settled, token: str) -> bool:
    """Write what became of a mail; False when the row was no longer held by this token.

    A clear answer that comes after the lease ran out still settles what was in doubt: it is the proof.
    """
    state, due_at, reason = _end(session, claimed, settled)
    if state in OPEN and session.scalar(sa.select(_is_over()).where(Delivery.id == claimed.id)):
        state, reason = DeliveryState.SKIPPED, SkipReason.CANCELLED
    moved = session.execute(
        sa.update(Delivery)
        .where(
            Delivery.id == claimed.id,
            Delivery.token == token,
            Delivery.state.in_((DeliveryState.SENDING, DeliveryState.IN_DOUBT)),
        )
        .values(
            state=state,
            reason=reason,
            due_at=due_at,
            # A trouble of the relay is no try of this person's mailbox.
            attempts=Delivery.attempts - int(settled.judgement.verdict is Verdict.SYSTEM),
            lease_until=None,
            token=token if state is DeliveryState.IN_DOUBT else None,
            smtp_code=settled.reply.code or None,
            smtp_reply=settled.reply.text[:2000] or None,
            settled_at=clock.now(),
        )
        .returning(Delivery.send_id)
    ).first()
    if moved is None:
        return False
    if state in OPEN:
        reopen(session, [moved.send_id])
    _keep_attempt(session, settled, state, reason)
    if settled.judgement.verdict is Verdict.HARD:
        _judge_address(session, claimed, settled)
    return True


def settle_accepted(session: Session, accepted: Sequence[tuple[int, Reply]], token: str) -> bool:
    """`settle` for mails that the server took, all at once; False when some row was no longer held by this token."""
    told = json.dumps({number: reply.text[:2000] or None for number, reply in accepted})
    values = {"told": told, "at": clock.now(), "holder": token}
    accept, keep = _ACCEPT[is_postgresql(session)]
    moved = session.connection().execute(accept, values)
    session.connection().execute(keep, values)
    return moved.rowcount == len(accepted)


def _accept_statements(*, on_postgresql: bool) -> tuple[sa.Update, sa.Insert]:
    """One for the ledger and one for the attempts, of ids and the words of the server for each."""
    number, words = json_pairs("told", on_postgresql=on_postgresql)
    at = sa.bindparam("at", type_=UtcDateTime())
    accept = (
        sa.update(_TABLE)
        .where(
            _TABLE.c.id == number,
            _found_by_id(
                _TABLE.c.token == sa.bindparam("holder"), _TABLE.c.state.in_((DeliveryState.SENDING, DeliveryState.IN_DOUBT))
            ),
        )
        .values(state=DeliveryState.SENT, reason=None, lease_until=None, token=None, smtp_code=250, smtp_reply=words, settled_at=at)
    )
    row: dict[str, Any] = {"delivery_id": number, "at": at, "state": sa.literal(DeliveryState.SENT, Attempt.state.type)}
    row |= {"step": sa.literal(Step.MESSAGE.value), "smtp_code": sa.literal(250), "smtp_reply": words}
    return accept, sa.insert(Attempt).from_select(list(row), sa.select(*row.values()))


_TAKE = {engine: _take_statement(on_postgresql=engine) for engine in (False, True)}
_ACCEPT = {engine: _accept_statements(on_postgresql=engine) for engine in (False, True)}


def _end(session: Session, claimed: Claimed, settled: Settled) -> tuple[DeliveryState, datetime, str | None]:
    verdict, reason, now = settled.judgement.verdict, settled.judgement.reason, clock.now()
    if verdict is Verdict.ACCEPTED:
        return DeliveryState.SENT, now, None
    if verdict is Verdict.IN_DOUBT:
        return DeliveryState.IN_DOUBT, now, reason
    if verdict is Verdict.SOFT:
        if now - _first_try(session, claimed.id) > GIVE_UP_AFTER:
            return DeliveryState.FAILED, now, "gave_up"
        return DeliveryState.DEFERRED, now + wait_before(claimed.attempts), reason
    if verdict is Verdict.SYSTEM:
        return DeliveryState.PENDING, now, reason
    if verdict is Verdict.BLOCK and claimed.attempts < BLOCKED_TRIES:
        return DeliveryState.PENDING, now + wait_before(claimed.attempts), reason
    return DeliveryState.FAILED, now, reason


def _first_try(session: Session, delivery_id: int) -> datetime:
    """When the mailbox first put this mail off, since a person last put it back in the queue. What the relay could not do
    tells nothing of the mailbox."""
    tries = sa.select(Attempt.id).where(Attempt.delivery_id == delivery_id)
    decided = session.scalar(sa.select(sa.func.max(Attempt.id)).where(Attempt.id.in_(tries), Attempt.reason == DECIDED)) or 0
    put_off = sa.select(sa.func.min(Attempt.at)).where(
        Attempt.delivery_id == delivery_id, Attempt.id > decided, Attempt.state == DeliveryState.DEFERRED
    )
    first: datetime | None = session.scalar(put_off)
    return first or clock.now()


def _keep_attempt(session: Session, settled: Settled, state: DeliveryState, reason: str | None) -> None:
    session.execute(
        sa.insert(Attempt).values(
            delivery_id=settled.id,
            at=clock.now(),
            state=state,
            step=settled.reply.step.value,
            smtp_code=settled.reply.code or None,
            smtp_reply=settled.reply.text[:2000] or None,
            reason=reason,
        )
    )


def _judge_address(session: Session, claimed: Claimed, settled: Settled) -> None:
    """A mailbox that does not exist is not written to again (the proof names the code, not the server's words)."""
    proof = f"SMTP {settled.reply.code} {settled.reply.enhanced}".strip()
    today = clock.today()
    consent.suppress(session, claimed.address, SuppressionReason.BOUNCED, happened_on=today, proof=proof)


def recover(session: Session, token: str, marks: Mapping[int, Mark]) -> None:
    """Settle what a process that was killed held under its token, by its flight recorder: what had not begun goes back, what
    the server had taken is sent, and the rest is in doubt. What a person decided meanwhile is no longer under the token."""
    release(session, token, Delivery.id.not_in(list(marks)))
    taken = [number for number, mark in marks.items() if mark is Mark.ACCEPTED]
    prove_sent(session, taken, RECORDED, Delivery.token == token, step=Step.MESSAGE.value)
    session.execute(sa.update(Delivery).where(*_held(token)).values(**_IN_DOUBT, settled_at=clock.now()))


def expire(session: Session, *, everything: bool = False) -> int:
    """Put in doubt what was being handed over when its lease ran out; returns how many.

    ``everything`` ignores the lease: for a worker that starts and knows that no other lives (it holds the lock file).
    """
    held = sa.true() if everything else Delivery.lease_until < clock.now()
    result = session.execute(
        sa.update(Delivery)
        .where(Delivery.token.is_not(None), Delivery.state == DeliveryState.SENDING, held)
        .values(**_IN_DOUBT | {"reason": HOLDER_LOST}, settled_at=clock.now())
        .returning(Delivery.id)
    ).all()
    return len(result)


def prove_sent(session: Session, ids: Sequence[int], proof: str, *chosen: sa.ColumnElement[bool], step: str | None = None) -> None:
    """Mails of which nobody knew the end were sent after all, by a proof that their attempt keeps."""
    now, unknown = clock.now(), (DeliveryState.SENDING, DeliveryState.IN_DOUBT)
    values = {"state": DeliveryState.SENT, "reason": None, "token": None, "lease_until": None, "settled_at": now}
    moved = session.scalars(
        sa.update(Delivery)
        .where(Delivery.id.in_(ids), Delivery.state.in_(unknown), *chosen)
        .values(**values)
        .returning(Delivery.id)
        .execution_options(synchronize_session="fetch")
    ).all()
    rows = [{"delivery_id": number, "at": now, "state": DeliveryState.SENT, "step": step, "reason": proof} for number in moved]
    if rows:
        session.execute(sa.insert(Attempt), rows)


def note_outcome(session: Session, delivery_id: int, outcome: Outcome) -> None:
    """What came back of a mail proves that it was sent, and says what became of it. Nothing comes back of what never left."""
    prove_sent(session, [delivery_id], outcome.value)
    sent = sa.update(Delivery).where(Delivery.id == delivery_id, Delivery.state == DeliveryState.SENT)
    session.execute(sent.values(outcome=outcome, outcome_at=clock.now()))


def hurry(session: Session, send_id: int) -> None:
    """A person resumes: what waited because the relay refused us may leave at once."""
    session.execute(
        sa.update(Delivery)
        .where(Delivery.send_id == send_id, Delivery.state == DeliveryState.PENDING)
        .values(due_at=clock.now(), attempts=0, reason=None)
    )


def cancel_rest(session: Session, send_id: int) -> None:
    """What had not left of a cancelled send will not leave."""
    session.execute(
        sa.update(Delivery)
        .where(Delivery.send_id == send_id, Delivery.state.in_(OPEN))
        .values(state=DeliveryState.SKIPPED, reason=SkipReason.CANCELLED, settled_at=clock.now())
    )


def sweep_cancelled(session: Session) -> None:
    """Close what an answer that crossed the cancelling left open (on PostgreSQL neither waits for the other)."""
    lately = sa.select(Send.id).where(Send.state == SendState.CANCELLED, Send.finished_at > clock.now() - timedelta(hours=1))
    for send_id in session.scalars(lately).all():
        cancel_rest(session, send_id)


def counts(session: Session, send_id: int) -> Counts:
    """People by state; they sum to the audience. What is leaving at this moment counts as pending."""
    rows = session.execute(
        sa.select(Delivery.state, sa.func.count()).where(Delivery.send_id == send_id).group_by(Delivery.state)
    ).all()
    found = {DeliveryState(state).value: count for state, count in rows}
    found["pending"] = found.get("pending", 0) + found.pop("sending", 0)
    return Counts(**found)


def skipped_by_reason(session: Session, send_id: int) -> dict[str, int]:
    """People who get no mail of a send, by reason."""
    rows = session.execute(
        sa.select(Delivery.reason, sa.func.count())
        .where(Delivery.send_id == send_id, Delivery.state == DeliveryState.SKIPPED)
        .group_by(Delivery.reason)
        .order_by(sa.func.count().desc())
    ).all()
    return {str(row[0]): row[1] for row in rows}


def find(
    session: Session,
    send_id: int,
    *,
    state: DeliveryState | None = None,
    reason: str | None = None,
    where: sa.ColumnElement[bool] | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> tuple[list[Delivery], str | None]:
    """Deliveries of a send, in the order in which they were made; ``where`` may read their Contact."""
    statement = sa.select(Delivery).where(Delivery.send_id == send_id)
    if where is not None:
        statement = statement.join(Contact, Contact.id == Delivery.contact_id).where(where)
    if state is DeliveryState.PENDING:
        statement = statement.where(Delivery.state.in_((DeliveryState.PENDING, DeliveryState.SENDING)))
    elif state is not None:
        statement = statement.where(Delivery.state == state)
    if reason is not None:
        statement = statement.where(Delivery.reason == reason)
    rows, following = keyset_page(session, statement, [Delivery.id], cursor=cursor, limit=limit)
    return [row[0] for row in rows], following


def due(session: Session, send_id: int) -> bool:
    """Whether a send has mails that may leave now."""
    found = sa.select(Delivery.id).where(Delivery.send_id == send_id, IS_OPEN, Delivery.due_at <= clock.now())
    return session.scalar(sa.select(found.exists())) or False


def sends_with_due(session: Session) -> list[tuple[int, int]]:
    """(id, generation) of the sends under way that have mails that may leave now."""
    waiting = sa.exists().where(Delivery.send_id == Send.id, IS_OPEN, Delivery.due_at <= clock.now())
    rows = session.execute(sa.select(Send.id, Send.generation).where(Send.state == SendState.SENDING, waiting))
    return [(row[0], row[1]) for row in rows]


def hard_bounces(session: Session, send_id: int) -> tuple[int, int]:
    """Mails that reached an end at the server, and how many of them at a mailbox that does not exist."""
    hard = Delivery.reason.in_(("mailbox_unknown", "domain_unknown", "mailbox_disabled"))
    row = session.execute(
        sa.select(sa.func.count(), sa.func.count(sa.case((hard, 1)))).where(
            Delivery.send_id == send_id, Delivery.state.in_((DeliveryState.SENT, DeliveryState.FAILED))
        )
    ).one()
    return row[0], row[1]
