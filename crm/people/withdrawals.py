"""What must outlive the restore of an older backup, beside suppressions: whom the privacy role blocked, and what was revoked.

Both are rows of the database, and lines of the journal by the keyed hash of each address of the person. A line speaks only of who
had the address when it was written, so that an address that changed hands brings nothing to its new owner.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased

from crm import clock, history
from crm.database import keys_of
from crm.history import Change
from crm.people import journal
from crm.people.journal import Line, Mark
from crm.people.models import Channel, Consent, ConsentState, Contact, EmailAddress, Purpose, kept_id

COPIED = "joining"
"""Source of what was copied from a record that was joined: it goes when the two are parted, so it never stands in for what the
person says themselves."""
SOURCE = "journal"
"""Source of a revocation that the journal brought back."""
EVIDENCE = "Recuperada del registro de bajas después de restaurar un respaldo."
WHY = "Recuperado del registro de bajas"
_AT_ONCE = 500
T = TypeVar("T")


# --- telling it ------------------------------------------------------------------------------------------------------------


def note_blocks(session: Session, contact_ids: Iterable[int], *, lifted: bool = False) -> None:
    """Tell the journal that people were blocked (right of cancellation), or that it was taken back."""
    for address_hash in _hashes(session, contact_ids):
        journal.write_after_commit(session, _block(session, address_hash, clock.now()) | {"lifted": lifted})


def note_revocation(session: Session, row: Consent) -> None:
    """Tell the journal what a person revoked."""
    for address_hash in _hashes(session, [row.contact_id]):
        journal.write_after_commit(session, _revocation(session, address_hash, row))


def _hashes(session: Session, contact_ids: Iterable[int]) -> Iterator[str]:
    for some in _in_parts(list(contact_ids)):
        owned = sa.and_(EmailAddress.contact_id.in_(some), _is_theirs())
        yield from session.scalars(sa.select(EmailAddress.suppression_hash).where(owned).distinct())


def _block(session: Session, address_hash: str, since: datetime) -> Line:
    key = keys_of(session).suppression_fingerprint
    return {"what": "block", "address_hash": address_hash, "key_fingerprint": key, "recorded_at": since, "lifted": False}


def _revocation(session: Session, address_hash: str, row: Consent) -> Line:
    key = keys_of(session).suppression_fingerprint
    said = {"purpose": row.purpose, "channel": row.channel, "happened_on": row.given_on or clock.today()}
    return {"what": "revocation", "address_hash": address_hash, "key_fingerprint": key, **said, "recorded_at": row.recorded_at}


# --- what the journal knows --------------------------------------------------------------------------------------------------


def take(session: Session) -> int:
    """Make a restored database remember what the journal does; returns how much it had forgotten. Not at a mere start: whoever got
    an address meanwhile, or said something else since, must not hear of it again."""
    told = _last_words(session)
    before = session.info.get("why")
    session.info["why"] = WHY
    try:
        return _take_blocks(session, told) + _take_revocations(session, told)
    finally:
        session.info["why"] = before


def tell(session: Session) -> None:
    """Make the journal remember what the database does, at every start: what was written on another machine, or while the disk
    was full."""
    session.info["journal_unwritten"].extend(_untold(session, _last_words(session)))
    journal.write_unwritten(session)


def _last_words(session: Session) -> dict[Mark, Line]:
    """The last line of each block and revocation."""
    return journal.last_words(session.info["journal"], _read)


def _read(line: Line, raw: Mapping[str, Any]) -> tuple[Mark, Line] | None:
    what = raw.get("what")
    if what == "block":
        line["what"] = what
    elif what == "revocation":
        line |= {"what": what, "purpose": Purpose(raw["purpose"]), "channel": Channel(raw["channel"])}
        line["happened_on"] = date.fromisoformat(raw["happened_on"])
    else:
        return None
    return _mark(line), line


def _mark(line: Line) -> Mark:
    of_whom = (line["what"], line["address_hash"])
    return (*of_whom, line["purpose"].value, line["channel"].value) if line["what"] == "revocation" else of_whom


def _owners(session: Session, hashes: Sequence[str]) -> Iterator[tuple[int, str, datetime]]:
    """(person, hash, since when) of the addresses of some hashes."""
    asked = sa.select(EmailAddress.contact_id, EmailAddress.suppression_hash, EmailAddress.created_at)
    for some in _in_parts(hashes):
        for row in session.execute(asked.where(EmailAddress.suppression_hash.in_(some), _is_theirs())):
            yield row[0], row[1], row[2]


def _is_theirs() -> sa.ColumnElement[bool]:
    """Whether an address tells who a person is: one that they had once may be somebody else's by now."""
    other = aliased(EmailAddress)
    same = sa.and_(other.suppression_hash == EmailAddress.suppression_hash, other.retired_at.is_(None))
    taken = sa.exists().where(same, other.contact_id != EmailAddress.contact_id)
    return sa.or_(EmailAddress.retired_at.is_(None), ~taken)


def _in_parts(told: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(told), _AT_ONCE):
        yield told[start : start + _AT_ONCE]


def _take_blocks(session: Session, told: Mapping[Mark, Line]) -> int:
    since = {line["address_hash"]: line["recorded_at"] for line in told.values() if line["what"] == "block" and not line["lifted"]}
    blocked = {number: since[one] for number, one, had in _owners(session, list(since)) if had <= since[one]}
    free = sa.select(Contact.id).where(Contact.blocked_at.is_(None))
    forgotten = [number for some in _in_parts(list(blocked)) for number in session.scalars(free.where(Contact.id.in_(some)))]
    back = [number for number in forgotten if not _was_unblocked(session, number, blocked[number])]
    for number in back:
        together = sa.or_(Contact.id == number, Contact.merged_into_id == number)
        for contact in session.scalars(sa.select(Contact).where(together, Contact.blocked_at.is_(None))):
            contact.blocked_at = blocked[number]
    session.flush()
    return len(back)


def _was_unblocked(session: Session, contact_id: int, since: datetime) -> bool:
    """Whether a block was taken back later, perhaps on another machine, whose journal tells it and this one's does not."""
    mine = sa.and_(Change.root == "contact", Change.root_id == contact_id, Change.entity == "contact", Change.at >= since)
    asked = sa.select(Change.fields).where(mine, Change.action == history.Action.CHANGE)
    changes = [told["blocked_at"] for told in session.scalars(asked) if isinstance(told, dict) and "blocked_at" in told]
    return any(isinstance(change, list) and change[-1:] == [None] for change in changes)


def _take_revocations(session: Session, told: Mapping[Mark, Line]) -> int:
    by_hash: dict[str, list[Line]] = {}
    for line in told.values():
        if line["what"] == "revocation":
            by_hash.setdefault(line["address_hash"], []).append(line)
    owners = list(_owners(session, list(by_hash)))
    said = _said(session, list({number for number, _, _ in owners}))
    for number, address_hash, had in owners:
        for line in by_hash[address_hash]:
            state, at = said.get((number, line["purpose"], line["channel"]), (None, line["recorded_at"]))
            if had <= line["recorded_at"] and state is not ConsentState.REVOKED and (state is None or at < line["recorded_at"]):
                session.add(_brought_back(number, line))
                said[number, line["purpose"], line["channel"]] = ConsentState.REVOKED, line["recorded_at"]
    count = len(session.new)
    session.flush()
    return count


def _said(session: Session, people: Sequence[int]) -> dict[tuple[int, Purpose, Channel], tuple[ConsentState | None, datetime]]:
    """The last word of some people on each purpose and channel, and when it was recorded."""
    person = kept_id()  # what a record that was joined said, the person said
    columns = (person, Consent.purpose, Consent.channel, Consent.state, Consent.recorded_at)
    asked = sa.select(*columns).join_from(Consent, Contact, Contact.id == Consent.contact_id)
    return {
        (row[0], row[1], row[2]): (row[3], row[4])
        for some in _in_parts(people)
        for row in session.execute(asked.where(person.in_(some)).order_by(Consent.recorded_at, Consent.id))
    }


def _brought_back(contact_id: int, line: Line) -> Consent:
    actor = history.SYSTEM
    return Consent(
        contact_id=contact_id,
        purpose=line["purpose"],
        channel=line["channel"],
        state=ConsentState.REVOKED,
        evidence=EVIDENCE,
        source=SOURCE,
        given_on=line["happened_on"],
        actor_kind=actor.kind.value,
        actor_id=actor.id,
    )


def _untold(session: Session, told: Mapping[Mark, Line]) -> Iterator[Line]:
    """What the database knows and the journal does not: it was written before there was such a line, or on another machine."""
    owner = sa.select(EmailAddress.suppression_hash, Contact.blocked_at).join(Contact, Contact.id == EmailAddress.contact_id)
    for address_hash, at in session.execute(owner.where(Contact.blocked_at.is_not(None), _is_theirs())).all():
        line = _block(session, address_hash, at or clock.now())
        if _is_news(told, line):
            yield line
    newer = aliased(Consent)
    same = (getattr(newer, name) == getattr(Consent, name) for name in ("contact_id", "purpose", "channel"))
    last = ~sa.exists().where(*same, newer.id > Consent.id)
    # Who left by an address is in the journal with it, and a copy goes when two records are parted.
    revoked = sa.and_(Consent.state == ConsentState.REVOKED, Consent.source.not_in(("unsubscribe", COPIED)), last)
    asked = sa.select(EmailAddress.suppression_hash, Consent).join(Consent, Consent.contact_id == EmailAddress.contact_id)
    for address_hash, row in session.execute(asked.where(revoked, _is_theirs())).all():
        line = _revocation(session, address_hash, row)
        if _is_news(told, line):
            yield line


def _is_news(told: Mapping[Mark, Line], line: Line) -> bool:
    known = told.get(_mark(line))
    return known is None or known["recorded_at"] < line["recorded_at"]
