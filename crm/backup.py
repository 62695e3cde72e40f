"""Backups: one file with all that an installation needs to live again, made while it works, by itself once a day.

    waiting ──a worker carries it out──> done | failed(code)

docs/decisions/backup.md says what is in the file and why; `restoring` reads it.
"""

import errno
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from pathlib import Path

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Mapped, Session, mapped_column

from crm import archive, clock
from crm.archive import LEFT_OUT, PIECE, Manifest, digest_of
from crm.config import Settings
from crm.database import (
    JOURNAL_FILE,
    PLAIN,
    Base,
    Database,
    UtcDateTime,
    choice,
    last_ids,
    one_at_a_time,
    sqlite_file,
    whole_picture,
)
from crm.errors import CrmError, Unavailable
from crm.keys import KEYS_FILE, Keys, read_keys
from crm.people.models import Contact
from crm.sealing import SECRET_FILE

log = structlog.get_logger(__name__)

FOLDER = "backups"
DAY = timedelta(days=1)
AGAIN_AFTER = timedelta(hours=1)
"""A backup that failed is tried again after so long."""
OLD_AFTER = timedelta(days=2)
"""Without a good backup for so long, Inicio says so."""
KEEP_DAYS, KEEP_WEEKS = 7, 4  # weeks beside the one that is under way, of which a Monday has only seen itself
_NAME = re.compile(r"red-(\d{8})-\d{6}\.zip\Z")
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class BackupState(StrEnum):
    WAITING = "waiting"
    DONE = "done"
    FAILED = "failed"


class Backup(Base):
    """A backup that was asked for, by the day or by a person, and what became of it."""

    __tablename__ = "backup"

    id: Mapped[int] = mapped_column(primary_key=True)
    asked_at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock.now)
    account_id: Mapped[int | None]
    """Who asked; None: the day."""
    state: Mapped[BackupState] = mapped_column(choice(BackupState), default=BackupState.WAITING, info=PLAIN)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    machine: Mapped[str | None] = mapped_column(sa.String(60), info=PLAIN)
    """On whose disk it lies."""
    path: Mapped[str | None] = mapped_column(sa.String(1000), info=PLAIN)
    size: Mapped[int | None] = mapped_column(sa.BigInteger)
    """Bytes."""
    sha256: Mapped[str | None] = mapped_column(sa.String(64), info=PLAIN)
    failure: Mapped[str | None] = mapped_column(sa.String(60), info=PLAIN)
    """A code of `errors.py`."""
    generation: Mapped[int] = mapped_column(default=0)
    """As `Send.generation`."""


# --- the file ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Written:
    """A backup that was written and read back."""

    path: Path
    size: int
    sha256: str
    manifest: Manifest


def write(settings: Settings, path: Path, *, whatever_keys: bool = False) -> Written:
    """Write a backup of what the database holds at this instant, and of the files that it needs, to a new file.

    Works while the product runs, at any revision of the schema. ``whatever_keys`` takes the keys as they are, also none: for what
    is set aside before a restore. Errors: backup_exists, nothing_to_back_up, keys_missing.
    OSError when the disk refuses.
    """
    keys = Keys(b"", ()) if whatever_keys else read_keys(settings.data_dir)
    if keys is None:
        raise Unavailable("keys_missing")
    if settings.uses_sqlite and not sqlite_file(settings).exists():
        raise Unavailable("nothing_to_back_up")
    made_at = clock.now()
    with whole_picture(settings.sqlalchemy_url) as connection:
        manifest = _begin(connection, keys, made_at)
        with archive.written(path, manifest) as file:
            metadata = sa.MetaData()
            metadata.reflect(connection)
            for table in metadata.sorted_tables:
                if table.name not in LEFT_OUT:
                    file.table(connection, table)
            for name, source in _files(settings):
                file.add(f"data/{name}", _pieces(source))
    return Written(path, path.stat().st_size, digest_of(path), manifest)


def _begin(connection: sa.Connection, keys: Keys, made_at: datetime) -> Manifest:
    if not sa.inspect(connection).has_table("alembic_version"):
        raise Unavailable("nothing_to_back_up")
    revision = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    written_with = connection.execute(sa.text("SELECT suppression_fingerprint, links_fingerprint FROM installation")).first()
    if (
        keys.links
        and written_with
        and not (written_with[0] == keys.suppression_fingerprint and written_with[1] in keys.links_fingerprints)
    ):
        raise Unavailable("keys_missing")  # such a backup would open nothing
    return Manifest(
        made_at=made_at.isoformat(),
        revision=str(revision),
        engine=connection.dialect.name,
        last_ids=last_ids(connection),
        suppression_fingerprint=keys.suppression_fingerprint,
        links_fingerprints=list(keys.links_fingerprints),
    )


def _files(settings: Settings) -> Iterator[tuple[str, Path]]:
    """What lies beside the database and is needed with it; keys elsewhere are whoever's told us where."""
    inside = [settings.data_dir / name for name in (KEYS_FILE, SECRET_FILE, JOURNAL_FILE)]
    told = [*settings.dkim_key_files.values(), *([settings.smtp_oauth_secret_file] if settings.smtp_oauth_secret_file else [])]
    folder = settings.data_dir.resolve()
    for file in dict.fromkeys(path.resolve() for path in (*inside, *told)):
        if file.is_relative_to(folder) and file.is_file():
            yield file.relative_to(folder).as_posix(), file


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            yield piece


# --- by the day, and when a person asks --------------------------------------------------------------------------------------


def ask(session: Session, account_id: int | None = None) -> Backup:
    """Ask for a backup; one that already waits is the same."""
    one_at_a_time(session, "backup")
    waiting = session.scalars(sa.select(Backup).where(Backup.state == BackupState.WAITING)).first()
    if waiting is None:
        waiting = Backup(account_id=account_id)
        session.add(waiting)
        session.flush()
    return waiting


def ask_daily(session: Session) -> None:
    """Ask for the backup of the day if it is time, once over all workers; not before there is anybody to lose."""
    one_at_a_time(session, "backup")
    last = session.scalars(sa.select(Backup).order_by(Backup.id.desc()).limit(1)).first()
    if last is None:
        if session.scalar(sa.select(sa.select(Contact.id).exists())):
            ask(session)
    elif last.state is not BackupState.WAITING:
        wait = AGAIN_AFTER if last.state is BackupState.FAILED else DAY
        if not timedelta() <= clock.now() - last.asked_at < wait:  # one of the future: the clock was wrong then
            ask(session)


def due(session: Session) -> list[tuple[int, int]]:
    """(id, generation) of the backups that wait."""
    rows = session.execute(sa.select(Backup.id, Backup.generation).where(Backup.state == BackupState.WAITING))
    return [(row[0], row[1]) for row in rows]


def carry_out(database: Database, settings: Settings, backup_id: int) -> None:
    """Write the backup that a row asks for into the data folder, and drop the old ones. Safe to run again after any crash."""
    folder = settings.data_dir / FOLDER
    with database.session(write=False) as session:
        row = session.get(Backup, backup_id)
        if row is None or row.state is not BackupState.WAITING:
            return
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _remove_drafts(folder)
        made = write(settings, folder / f"red-{archive.now_as_name()}.zip")
    except (CrmError, OSError, sa.exc.SQLAlchemyError) as error:
        log.error("backup_failed", error=type(error).__name__)
        _settle(database, backup_id, state=BackupState.FAILED, failure=_code(error))
        return
    prune(folder)
    _settle(database, backup_id, state=BackupState.DONE, path=str(made.path.resolve()), size=made.size, sha256=made.sha256)


def _code(error: Exception) -> str:
    if isinstance(error, CrmError):
        return error.code
    return "backup_disk_full" if isinstance(error, OSError) and error.errno in _FULL else "backup_failed"


def machine() -> str:
    """What this machine is called in the rows."""
    return socket.gethostname()[:60]


def _settle(database: Database, backup_id: int, **values: object) -> None:
    with database.session() as session:
        told = {"finished_at": clock.now(), "machine": machine(), **values}
        session.execute(sa.update(Backup).where(Backup.id == backup_id, Backup.state == BackupState.WAITING).values(told))


def _remove_drafts(folder: Path) -> None:
    """Those of processes that were killed: no backup takes a day."""
    for draft in folder.glob(".*.part"):
        if draft.stat().st_mtime < (clock.now() - DAY).timestamp():
            draft.unlink(missing_ok=True)


def prune(folder: Path) -> None:
    """Keep all of today and yesterday, and the newest of each of the last 7 days that have one, of this week and of each of the 4
    before. Files of any other name are whoever's put them there."""
    dated = [(path, _day(path)) for path in sorted(folder.glob("red-*.zip"), reverse=True)]
    days: dict[date, Path] = {}
    weeks: dict[tuple[int, int], Path] = {}
    for path, day in dated:
        if day is not None:
            days.setdefault(day, path)
            weeks.setdefault(day.isocalendar()[:2], path)
    lately = clock.institute_time(clock.now() - DAY).date()
    kept = {
        *(path for path, day in dated if day and day >= lately),
        *list(days.values())[:KEEP_DAYS],
        *list(weeks.values())[: 1 + KEEP_WEEKS],
    }
    for path, day in dated:
        if day is not None and path not in kept:
            path.unlink(missing_ok=True)


def _day(path: Path) -> date | None:
    """The day of Mexico City on which a file of ours was written."""
    found = _NAME.match(path.name)
    if found is None:
        return None
    made = datetime.strptime(path.name, "red-%Y%m%d-%H%M%S.zip").replace(tzinfo=clock.now().tzinfo)
    return clock.institute_time(made).date()


# --- what is told of them ----------------------------------------------------------------------------------------------------


class Trouble(StrEnum):
    """Why somebody should look after the backups."""

    NEVER = "never"
    OLD = "old"
    FAILED = "failed"


@dataclass(frozen=True)
class Status:
    """The last good backup, the last of all, and what is wrong with them, if anything."""

    good: Backup | None
    last: Backup | None
    trouble: Trouble | None


def status(session: Session) -> Status:
    """How the backups stand."""
    newest = sa.select(Backup).order_by(Backup.id.desc()).limit(1)
    good = session.scalars(newest.where(Backup.state == BackupState.DONE)).first()
    last = session.scalars(newest.where(Backup.state != BackupState.WAITING)).first()
    return Status(good, last, _trouble(session, good, last))


def _trouble(session: Session, good: Backup | None, last: Backup | None) -> Trouble | None:
    if last is not None and last.state is BackupState.FAILED:
        return Trouble.FAILED
    if good is None:
        first = session.scalar(sa.select(sa.func.min(Contact.created_at)))
        return Trouble.NEVER if first is not None and clock.now() - first > OLD_AFTER else None
    since = clock.now() - good.finished_at if good.finished_at else timedelta()
    return None if -timedelta(hours=1) <= since <= OLD_AFTER else Trouble.OLD


def recent(session: Session, most: int = 10) -> list[Backup]:
    """The last ones, newest first."""
    return list(session.scalars(sa.select(Backup).order_by(Backup.id.desc()).limit(most)))


@contextmanager
def telling_the_disk() -> Iterator[None]:
    """Errors of the disk or of a silent database as those of the house: Unavailable(backup_disk_full, backup_failed)."""
    try:
        yield
    except (OSError, sa.exc.OperationalError) as error:
        raise Unavailable(_code(error)) from error
