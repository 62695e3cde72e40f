"""A database that is not where it was, or not as new as it was, is noticed: it knows nothing of what the other one sent.

Each worker keeps a count in the database and, once that is committed, in a file of its data folder. A database whose count is
behind the file was put back to an earlier state; one that lies elsewhere was copied. docs/decisions/backup.md tells what this
cannot see.
"""

import json
import os
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Mapped, Session, mapped_column

from crm import clock
from crm.config import Settings
from crm.database import PLAIN, Base, Database, Location, UtcDateTime, last_ids, location_of, raise_ids
from crm.mailing import holding
from crm.people import withdrawals

log = structlog.get_logger(__name__)

PLACE_FILE = "place.json"
FORGET = timedelta(days=400)
"""A data folder that was away for longer joins as a new one."""
ID_GAP = 1_000_000
"""How far ids go on after a restore: no id that the lost rows had may be given again, since links in mails that left are signed
over it. The oldest backup that is kept is 5 weeks old; a relay of 10,000 mails a day gives 350,000 deliveries in that time."""
ID_MOST = 2_000_000_000
"""Ids stay below 2^31; there is room for two thousand restores."""


class Place(Base):
    """A data folder whose workers use this database."""

    __tablename__ = "place"

    id: Mapped[str] = mapped_column(sa.String(32), primary_key=True, info=PLAIN)
    """As its file tells it."""
    beats: Mapped[int | None]
    """Grows with every sign of life. None: whatever its file tells is right, since the database was changed knowingly."""
    location: Mapped[str] = mapped_column(sa.String(1500), info=PLAIN)
    """Where the database was then: `database.location_of`."""
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime)


@dataclass(frozen=True)
class _File:
    """What the data folder remembers."""

    id: str
    beats: int


def look(database: Database, settings: Settings) -> bool:
    """Say that a worker of this data folder lives; hold every send and answer True when the database turns out to be a copy."""
    mine = _read(settings.data_dir)
    with database.session() as session:
        here = location_of(session.connection(), settings)
        rows = {row.id: row for row in session.scalars(sa.select(Place).with_for_update())}
        copied = _is_copy(rows, mine, here, alone=settings.uses_sqlite)
        if copied:
            held = holding.hold_all(session)
            withdrawals.take(session)
            leave_gap(session.connection())
            for row in rows.values():
                row.beats, row.location = None, str(here)
            log.warning("database_copied", sends=held.sends, in_doubt=held.in_doubt)
        mine = _beat(session, mine, str(here))
        session.execute(sa.delete(Place).where(Place.seen_at < clock.now() - FORGET))
    _write(settings.data_dir, mine)
    return copied


def accept(session: Session, settings: Settings, here: str, known: list[str]) -> None:
    """The database was restored, and its sends are held: it is no copy to this data folder, nor to those that are ``known``."""
    mine = _read(settings.data_dir) or _File(secrets.token_hex(16), 0)
    _write(settings.data_dir, mine)
    session.add_all(Place(id=name, beats=None, location=here, seen_at=clock.now()) for name in {mine.id, *known})
    session.flush()


def leave_gap(connection: sa.Connection, known: dict[str, int] | None = None) -> None:
    """Let ids go on well beyond any that a lost row may have had; ``known`` tells of higher ones in the database before."""
    last = {name: max(number, (known or {}).get(name, 0)) for name, number in last_ids(connection).items()}
    raise_ids(connection, {name: min(number + ID_GAP, ID_MOST) for name, number in last.items()})


def _is_copy(rows: dict[str, Place], mine: _File | None, here: Location, *, alone: bool) -> bool:
    if any(not here.is_same(row.location) for row in rows.values()):
        return True
    if mine is None:
        return alone and bool(rows)  # with PostgreSQL a new machine joins
    row = rows.get(mine.id)
    return row is None or (row.beats is not None and row.beats < mine.beats)


def _beat(session: Session, mine: _File | None, here: str) -> _File:
    mine = mine or _File(secrets.token_hex(16), 0)
    row = session.get(Place, mine.id)
    if row is None:
        row = Place(id=mine.id, beats=None, location=here, seen_at=clock.now())
        session.add(row)
    row.beats = max(row.beats or 0, mine.beats) + 1
    row.location, row.seen_at = here, clock.now()
    session.flush()
    return _File(row.id, row.beats)


def _read(data_dir: Path) -> _File | None:
    try:
        told = json.loads((data_dir / PLACE_FILE).read_text(encoding="ascii"))
        return _File(str(told["id"])[:32], int(told["beats"]))
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _write(data_dir: Path, mine: _File) -> None:
    """Written after the commit: a file that is behind the database does no harm, one that is ahead holds every send."""
    draft = data_dir / f"{PLACE_FILE}.{os.getpid()}.{secrets.token_hex(4)}"
    with draft.open("w", encoding="ascii") as file:
        file.write(json.dumps({"id": mine.id, "beats": mine.beats}))
        file.flush()
        os.fsync(file.fileno())
    draft.replace(data_dir / PLACE_FILE)
