"""Addresses that are never written to again, kept by keyed hash apart from the contact, so that no import revives anyone.

Each one is also a line of a journal outside the database, so that restoring an older backup forgets nobody who left.
"""

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm import clock, history
from crm.database import JOURNAL_FILE, insert_new, keys_of
from crm.errors import Conflict, InvalidInput, Unavailable
from crm.people import journal
from crm.people.addresses import address_key
from crm.people.journal import Line, Mark
from crm.people.models import Channel, Consent, ConsentState, EmailAddress, Suppression, SuppressionLift, SuppressionReason

LEFT = (SuppressionReason.UNSUBSCRIBED, SuppressionReason.COMPLAINED, SuppressionReason.ERASED)
"""The person left, by own will or by law: none of their addresses is written to. A bounce judges one address only."""


def is_suppressed(hash_column: Any, reasons: Iterable[SuppressionReason] | None = None) -> sa.ColumnElement[bool]:
    """Whether the address of a hash must not be written to, for any reason or for some."""
    found = sa.select(Suppression.id).where(Suppression.address_hash == hash_column)
    if reasons is not None:
        found = found.where(Suppression.reason.in_(list(reasons)))
    return found.correlate_except(Suppression).exists()


def suppress(session: Session, address: str, reason: SuppressionReason, *, happened_on: date, proof: str) -> None:
    """Never write to an address again, whether or not it is in the network; a second call for the same reason does nothing.

    Revokes what the person of the address had granted, unless the address merely bounced. InvalidInput(address_invalid).
    """
    address_hash = keys_of(session).suppression_hash(address_key(address))
    session.flush()
    known = sa.select(Suppression.id).where(Suppression.address_hash == address_hash, Suppression.reason == reason)
    if session.scalar(known) is None:
        _insert(session, address_hash, reason, happened_on, proof)
    if reason in LEFT:
        _revoke_granted(session, address_hash, reason, happened_on, proof)


def _insert(session: Session, address_hash: str, reason: SuppressionReason, happened_on: date, proof: str) -> None:
    actor: history.Actor = session.info.get("actor", history.SYSTEM)
    row = {
        "address_hash": address_hash,
        "key_fingerprint": keys_of(session).suppression_fingerprint,
        "reason": reason,
        "happened_on": happened_on,
        "recorded_at": clock.now(),
    }
    whole = {**row, "proof": proof, "actor_kind": actor.kind.value, "actor_id": actor.id}
    insert_new(session, Suppression.__table__, [whole], unique=["address_hash", "reason"])
    journal.write_after_commit(session, row)


def _revoke_granted(session: Session, address_hash: str, reason: SuppressionReason, happened_on: date, proof: str) -> None:
    owners = sa.select(EmailAddress.contact_id).where(EmailAddress.suppression_hash == address_hash)
    last = (
        sa.select(sa.func.max(Consent.id))
        .where(Consent.contact_id.in_(owners))
        .group_by(Consent.contact_id, Consent.purpose, Consent.channel)
    )
    granted = sa.select(Consent).where(Consent.id.in_(last), Consent.state == ConsentState.GRANTED)
    if reason is not SuppressionReason.ERASED:
        granted = granted.where(Consent.channel == Channel.EMAIL)
    actor: history.Actor = session.info.get("actor", history.SYSTEM)
    session.add_all(
        Consent(
            contact_id=row.contact_id,
            purpose=row.purpose,
            channel=row.channel,
            state=ConsentState.REVOKED,
            evidence=proof,
            source="unsubscribe",
            given_on=happened_on,
            actor_kind=actor.kind.value,
            actor_id=actor.id,
        )
        for row in session.scalars(granted)
    )
    session.flush()


def lift_bounce(session: Session, address: str, reason_in_words: str) -> None:
    """Write again to an address that had only bounced; the written reason stays in the history of its person.

    Conflict(suppression_stays) for who left, whom nobody brings back; Conflict(not_bounced) when there is nothing to lift.
    InvalidInput(address_invalid, lift_reason_required).
    """
    told = reason_in_words.strip()
    if not told:
        raise InvalidInput("lift_reason_required", field="reason")
    address_hash = keys_of(session).suppression_hash(address_key(address))
    session.flush()
    rows = session.scalars(sa.select(Suppression).where(Suppression.address_hash == address_hash)).all()
    if any(row.reason in LEFT for row in rows):
        raise Conflict("suppression_stays")
    if not rows:
        raise Conflict("not_bounced")
    bounced = rows[0]
    session.delete(bounced)
    session.flush()
    _record_lift(session, bounced, told)
    line = {name: getattr(bounced, name) for name in _LINE}
    session.add(SuppressionLift(address_hash=address_hash, lifted_at=clock.now()))
    session.flush()
    journal.write_after_commit(session, {**line, "recorded_at": clock.now(), "lifted": True})


def _record_lift(session: Session, bounced: Suppression, told: str) -> None:
    owners = sa.select(EmailAddress.contact_id).where(EmailAddress.suppression_hash == bounced.address_hash).distinct()
    roots: list[tuple[str, int]] = [("contact", contact_id) for contact_id in session.scalars(owners)]
    history.record(
        session,
        [
            history.Entry(
                history.Action.REMOVE,
                "suppression",
                bounced.id,
                root,
                root_id,
                plain={"reason": [bounced.reason.value, None], "happened_on": [bounced.happened_on.isoformat(), None]},
                personal={"proof": [bounced.proof, None], "lifted_because": [None, told]},
            )
            for root, root_id in roots or [("suppression", bounced.id)]
        ],
    )


def reasons_of(session: Session, hashes: Iterable[str]) -> dict[str, set[SuppressionReason]]:
    """Why each of some hashes is not written to; those that may be are absent."""
    found: dict[str, set[SuppressionReason]] = {}
    rows = session.execute(
        sa.select(Suppression.address_hash, Suppression.reason).where(Suppression.address_hash.in_(list(hashes)))
    )
    for address_hash, reason in rows:
        found.setdefault(address_hash, set()).add(reason)
    return found


def check_suppression_key(session: Session) -> None:
    """Refuse to send, or to take in addresses, when suppressions were hashed with a key that is not here.

    Unavailable(suppression_key_missing).
    """
    other = sa.select(Suppression.id).where(Suppression.key_fingerprint != keys_of(session).suppression_fingerprint)
    if session.scalar(sa.select(other.exists())):
        raise Unavailable("suppression_key_missing")


# --- the journal -----------------------------------------------------------------------------------------------------------


_LINE = ("address_hash", "key_fingerprint", "reason", "happened_on", "recorded_at")


def reconcile_journal(session: Session) -> int:
    """Make database and journal remember the same, at every start: returns how many the database had forgotten."""
    told = _last_words(session)
    taken = _take(session, told)
    columns = [Suppression.__table__.c[name] for name in _LINE]
    stored = [dict(row) for row in session.execute(sa.select(*columns).order_by(Suppression.id)).mappings()]
    session.info["journal_unwritten"].extend(row for row in stored if not _stands(told.get((row["address_hash"], row["reason"]))))
    journal.write_unwritten(session)
    return taken


def journal_differences(session: Session) -> tuple[int, int]:
    """How many suppressions the journal knows and the database does not, and the other way round. Changes nothing."""
    told = {mark for mark, line in _last_words(session).items() if _stands(line)}
    rows = session.execute(sa.select(Suppression.address_hash, Suppression.reason))
    stored = {(row.address_hash, row.reason) for row in rows}
    lifted = {row[0] for row in session.execute(sa.select(SuppressionLift.address_hash))}
    return len({mark for mark in told - stored if mark[0] not in lifted}), len(stored - told)


def _take(session: Session, told: Mapping[Mark, Line]) -> int:
    """Make the database remember what the journal does (after restoring an older backup): bounces that were lifted are lifted
    again. Returns how many suppressions were added."""
    columns = (Suppression.address_hash, Suppression.reason, Suppression.recorded_at)
    stored = {(row.address_hash, row.reason): row.recorded_at for row in session.execute(sa.select(*columns))}
    for mark, line in told.items():
        if line["lifted"] and mark in stored and stored[mark] < line["recorded_at"]:
            session.execute(sa.delete(Suppression).where(Suppression.address_hash == mark[0], Suppression.reason == mark[1]))
    lifts = sa.select(SuppressionLift.address_hash, sa.func.max(SuppressionLift.lifted_at)).group_by(SuppressionLift.address_hash)
    lifted: dict[str, datetime] = {row[0]: row[1] for row in session.execute(lifts)}
    missing = [line for mark, line in told.items() if _stands(line) and mark not in stored and not _was_lifted(line, lifted)]
    rows = [{**{name: line[name] for name in _LINE}, "proof": JOURNAL_FILE} for line in missing]
    insert_new(session, Suppression.__table__, rows, unique=["address_hash", "reason"])
    return len(rows)


def _was_lifted(line: Line, lifted: dict[str, datetime]) -> bool:
    """Whether a bounce was lifted after this line was written, perhaps on another machine with a journal of its own."""
    since = lifted.get(line["address_hash"])
    return line["reason"] not in LEFT and since is not None and since >= line["recorded_at"]


def _stands(line: Line | None) -> bool:
    return line is not None and not line["lifted"]


def _last_words(session: Session) -> dict[Mark, Line]:
    """The last line of each address and reason, and the bounces that were ``lifted``."""
    return journal.last_words(session.info["journal"], _read)


def _read(line: Line, raw: Mapping[str, Any]) -> tuple[Mark, Line] | None:
    if "what" in raw:  # another kind of line: see `withdrawals`
        return None
    reason = SuppressionReason(raw["reason"])
    line |= {"key_fingerprint": str(raw["key_fingerprint"]), "reason": reason}
    line |= {"happened_on": date.fromisoformat(raw["happened_on"])}
    line["lifted"] = line["lifted"] and reason is SuppressionReason.BOUNCED  # whoever left stays out, whatever a line says
    return (line["address_hash"], reason.value), line
