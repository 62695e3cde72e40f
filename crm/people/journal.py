"""The journal: lines outside the database that tell who must not be written to, so that restoring an older backup forgets nobody.

A line holds keyed hashes, kinds and dates: nobody's name or address. What the kinds are: `suppression`, `withdrawals`.
"""

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import IO, Any

import structlog
from sqlalchemy import event
from sqlalchemy.orm import Session, SessionTransaction

log = structlog.get_logger(__name__)

Line = dict[str, Any]
Mark = tuple[str, ...]
"""What a line speaks of."""
_HASH = re.compile(r"[0-9a-f]{64}")


def write_after_commit(session: Session, row: dict[str, Any]) -> None:
    """Keep a line until the transaction is committed; a savepoint that is rolled back takes its lines with it."""
    inside: list[SessionTransaction] = []
    transaction = session.get_nested_transaction()
    while transaction is not None:
        inside.append(transaction)
        transaction = transaction.parent
    session.info.setdefault("journal_pending", []).append((inside, row))


@event.listens_for(Session, "after_commit")
def _write_pending(session: Session) -> None:
    if session.info.get("journal_pending") and not session.in_nested_transaction():
        session.info.setdefault("journal_unwritten", []).extend(row for _, row in session.info.pop("journal_pending"))
        write_unwritten(session)


def write_unwritten(session: Session) -> None:
    """Append what the journal has not taken. A full disk undoes nothing: its line waits for the next one, or for the next start,
    which makes database and journal tell the same."""
    unwritten: list[dict[str, Any]] = session.info["journal_unwritten"]
    rows = []
    while unwritten:  # one by one: of two threads each takes its own
        rows.append(unwritten.pop(0))
    if not rows:
        return
    try:
        append(session.info["journal"], rows)
    except OSError as error:
        unwritten.extend(rows)
        log.error("journal_append_failed", error=type(error).__name__, lines=len(rows))


@event.listens_for(Session, "after_soft_rollback")
def _forget_pending(session: Session, transaction: SessionTransaction) -> None:
    pending = session.info.get("journal_pending")
    if pending:
        whole = transaction.parent is None
        session.info["journal_pending"] = [] if whole else [kept for kept in pending if transaction not in kept[0]]


def append(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Add lines to the journal and wait until the disk has them."""
    lines = "".join(json.dumps(row, default=_plain, separators=(",", ":")) + "\n" for row in rows)
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "ab+") as file:
        file.write(b"" if _ends_whole(file) else b"\n")
        file.write(lines.encode("ascii"))
        file.flush()
        os.fsync(file.fileno())


def _ends_whole(file: IO[bytes]) -> bool:
    """Whether the last line was written to its end: a cut one must not swallow the next."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 1))
    return file.read(1) in (b"", b"\n")


def _plain(value: date | datetime) -> str:
    return value.isoformat()


# --- reading it --------------------------------------------------------------------------------------------------------------


def last_words(path: Path, read: Callable[[Line, Mapping[str, Any]], tuple[Mark, Line] | None]) -> dict[Mark, Line]:
    """The last line of each mark, by the instant that it tells: a line that waited for the disk comes late. Of two of one instant
    the one that is not ``lifted`` stands. ``read`` is given what every line has and the line whole, and answers what it speaks of
    and says; None for a line of another kind. What no product wrote is passed over."""
    last: dict[Mark, Line] = {}
    for number, raw in _lines(path):
        try:
            told = read(_whose(raw), raw)
        except (ValueError, LookupError, TypeError, OverflowError):
            log.error("journal_line_unreadable", line=number)
            continue
        if told is None:
            continue
        mark, line = told
        before = last.get(mark)
        if before is None or (line["recorded_at"], not line["lifted"]) >= (before["recorded_at"], not before["lifted"]):
            last[mark] = line
    return last


def _whose(raw: Mapping[str, Any]) -> Line:
    """What every line has: of whom it is, since when it holds, and whether it takes an earlier one back."""
    since = datetime.fromisoformat(raw["recorded_at"])
    if since.tzinfo is None or not _HASH.fullmatch(raw["address_hash"]):
        raise ValueError("not a line of ours")
    return {"address_hash": raw["address_hash"], "recorded_at": since.astimezone(UTC), "lifted": raw.get("lifted") is True}


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number and words of each line. One that was cut is passed over: what it told is in the database, or was undone."""
    if not path.exists():
        return
    for number, text in enumerate(path.read_bytes().splitlines(), 1):
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            line = None
        if isinstance(line, dict):
            yield number, line
        else:
            log.error("journal_line_unreadable", line=number)
