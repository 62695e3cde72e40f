"""Bring a backup back: all of it or nothing, with every send held and everybody who left left out.

Everything is made beside what is there (SQLite: a new file; PostgreSQL: one transaction) and takes its place in one step at the
end. Why, and what nobody can know after a restore: docs/decisions/backup.md.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from crm import archive, backup, clock, copies, migration
from crm.archive import Archive
from crm.config import Settings
from crm.database import JOURNAL_FILE, Base, last_ids, location_of, make_engine, release_file, sqlite_file
from crm.disk import sync_folder
from crm.errors import Conflict, CrmError, InvalidInput, Unavailable
from crm.jobs import DEAD_AFTER, only_one
from crm.keys import Keys, read_keys
from crm.mailing import holding
from crm.mailing.holding import Held
from crm.people import withdrawals
from crm.people.suppression import reconcile_journal

ROWS_MOST, BYTES_MOST = 1000, 4 * 2**20
"""Rows and bytes of a batch."""
WEB = "crm web"
"""What connections of `crm web` to PostgreSQL are called."""
_TELLING = ("account", "contact", "suppression", "campaign", "segment", "material", "import")
"""A database without a row in any of these holds nothing of anybody."""
_NOT_ROWS = (LookupError, ValueError, TypeError, ArithmeticError, AttributeError, RecursionError)
"""What is raised of lines that no backup of ours has."""
_JOBS = ("jobs.db", "jobs.db-wal", "jobs.db-shm")


@dataclass(frozen=True)
class Restored:
    """What a restore did."""

    made_at: datetime
    """The instant of the backup: nothing after it is known."""
    rows: dict[str, int]
    held: Held
    suppressions: int
    """How many departures, blocks and revocations the journal remembered and the backup did not."""
    previous: Path | None
    """A backup of what was there before."""


@dataclass
class _There:
    """What is in the place already."""

    is_empty: bool = True
    is_readable: bool = True
    keys: Keys | None = None
    has_broken_keys: bool = False
    last_ids: dict[str, int] = field(default_factory=dict)
    places: list[str] = field(default_factory=list)


def restore(settings: Settings, path: Path, *, replace: bool = False) -> Restored:
    """Put a backup in the place of the database of these settings.

    Errors, all before anything is touched: backup_missing, backup_not_ours, backup_damaged, backup_newer; already_running,
    restore_in_use; restore_not_empty and restore_other_keys unless ``replace``. restore_not_whole leaves all as it was.
    """
    with archive.opened(path) as source:
        if not migration.knows(source.manifest.revision):
            raise InvalidInput("backup_newer")
        source.check()
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        with only_one(settings.data_dir / "run.lock"), backup.telling_the_disk(), _telling_the_database():
            there = _look(settings)
            for rest in settings.data_dir.glob(".restoring-*"):  # of a restore that was killed
                shutil.rmtree(rest, ignore_errors=True)
            with TemporaryDirectory(prefix=".restoring-", dir=settings.data_dir) as made:
                staging = Path(made)
                for name in source.data_files:
                    source.copy_data(name, staging / name)
                keys = read_keys(staging)
                if keys is None:
                    raise InvalidInput("backup_damaged")
                _check_place(there, keys, replace=replace)
                previous = _set_aside(settings, there)
                if there.keys is not None and there.keys.suppression == keys.suppression:
                    _merge_journals(settings.data_dir / JOURNAL_FILE, staging / JOURNAL_FILE)
                place = _in_new_file if settings.uses_sqlite else _in_one_transaction
                return place(settings, _Filling(settings, source, keys, staging, there, previous))


@contextmanager
def _telling_the_database() -> Iterator[None]:
    """A database that does not answer, is full or refuses a row: Unavailable(restore_not_whole)."""
    try:
        yield
    except sa.exc.StatementError as error:
        raise Unavailable("restore_not_whole") from error


# --- what is there ---------------------------------------------------------------------------------------------------------


def _look(settings: Settings) -> _There:
    there = _There()
    try:
        there.keys = read_keys(settings.data_dir)
    except Unavailable:
        there.has_broken_keys = True
    if settings.uses_sqlite:
        file = sqlite_file(settings)
        if not file.exists():
            return there
        is_free = release_file(file)
        if is_free is None:
            there.is_empty = there.is_readable = False
            return there
        if not is_free:
            raise Conflict("restore_in_use")
    engine = make_engine(settings.sqlalchemy_url)
    try:
        with engine.connect() as connection:
            _look_inside(connection, there)
    finally:
        engine.dispose()
    return there


def _look_inside(connection: sa.Connection, there: _There) -> None:
    has = set(sa.inspect(connection).get_table_names())
    if connection.dialect.name == "postgresql" and _is_served(connection):
        raise Conflict("restore_in_use")
    if connection.dialect.name == "postgresql" and "worker" in has:
        seen = connection.scalar(
            sa.select(sa.func.max(sa.table("worker", sa.column("seen_at", sa.DateTime(timezone=True))).c.seen_at))
        )
        if seen is not None and clock.now() - seen < DEAD_AFTER:
            raise Conflict("restore_in_use")
    there.is_empty = not any(
        connection.scalar(sa.select(sa.select(sa.literal(1)).select_from(sa.table(name)).exists()))
        for name in _TELLING
        if name in has
    )
    there.last_ids = last_ids(connection)
    if "place" in has:
        there.places = list(connection.scalars(sa.select(sa.table("place", sa.column("id", sa.String)).c.id)))


def _is_served(connection: sa.Connection) -> bool:
    """Whether a `crm web` is connected: it would go on with the keys that it has, and hash who leaves with the wrong one."""
    told = sa.text("SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND application_name = :name)")
    return bool(connection.scalar(told, {"name": WEB}))


def _check_place(there: _There, keys: Keys, *, replace: bool) -> None:
    if replace:
        return
    if not there.is_empty:
        raise Conflict("restore_not_empty")
    if there.has_broken_keys or (there.keys is not None and there.keys.suppression != keys.suppression):
        raise Conflict("restore_other_keys")


def _set_aside(settings: Settings, there: _There) -> Path | None:
    """A backup of what will be replaced; of what cannot be read, the very file."""
    if there.is_empty and not there.has_broken_keys:
        return None
    folder = settings.data_dir / backup.FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    name = f"before-restore-{archive.now_as_name()}"
    try:
        if there.is_readable:
            return backup.write(settings, folder / f"{name}.zip", whatever_keys=True).path
    except (CrmError, sa.exc.SQLAlchemyError):
        if not settings.uses_sqlite:
            raise
    kept = folder / f"{name}.db"
    shutil.copyfile(sqlite_file(settings), kept)
    kept.chmod(0o600)
    return kept


def _merge_journals(here: Path, staged: Path) -> None:
    """Who left since the backup stays out: all lines of both. The order tells nothing, each line has its instant."""
    known = here.read_bytes().splitlines() if here.exists() else []
    more = staged.read_bytes().splitlines() if staged.exists() else []
    seen = set(known)
    lines = [line for line in (*known, *(one for one in more if one not in seen)) if line.strip()]
    staged.unlink(missing_ok=True)
    with os.fdopen(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(b"".join(line + b"\n" for line in lines))
        file.flush()
        os.fsync(file.fileno())


# --- what takes its place ----------------------------------------------------------------------------------------------------


@dataclass
class _Filling:
    """A restore under way: what is filled in, and from where."""

    settings: Settings
    source: Archive
    keys: Keys
    staging: Path
    """Folder with the files of the data folder as they will be."""
    there: _There
    previous: Path | None

    def fill(self, connection: sa.Connection, here: str) -> Restored:
        """Tables, rows, the newest schema, ids beyond all that were given, and every send held; in the connection's transaction."""
        manifest = self.source.manifest
        try:
            migration.bring(connection, manifest.revision)
            load(connection, self.source)
            migration.bring(connection, "head")
        except _NOT_ROWS as error:
            raise InvalidInput("restore_not_whole") from error
        known = {
            name: max(manifest.last_ids.get(name, 0), self.there.last_ids.get(name, 0)) for name in _names(manifest, self.there)
        }
        copies.leave_gap(connection, known)
        info: dict[str, Any] = {"keys": self.keys, "journal": self.staging / JOURNAL_FILE, "journal_unwritten": []}
        with Session(connection, info=info, join_transaction_mode="create_savepoint") as session:
            held = holding.hold_all(session)
            remembered = reconcile_journal(session) + withdrawals.take(session)
            withdrawals.tell(session)
            copies.accept(session, self.settings, here, self.there.places)
            session.commit()
        return Restored(self.source.made_at, dict(manifest.rows), held, remembered, self.previous)

    def place_files(self) -> None:
        """Keys, secret and journal to where they belong; one that differs is kept beside."""
        stamp = archive.now_as_name()
        for file in [path for path in self.staging.rglob("*") if path.is_file()]:
            target = self.settings.data_dir / file.relative_to(self.staging)
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.name != JOURNAL_FILE and target.exists() and target.read_bytes() != file.read_bytes():
                shutil.copy2(target, target.with_name(f"{target.name}.before-restore-{stamp}"))
            file.replace(target)
        sync_folder(self.settings.data_dir)


def _names(manifest: archive.Manifest, there: _There) -> set[str]:
    return set(manifest.last_ids) | set(there.last_ids)


def _in_new_file(settings: Settings, filling: _Filling) -> Restored:
    """SQLite: a whole new file, which then takes the name of the old one."""
    file = sqlite_file(settings)
    fresh = file.with_name(f".{file.name}.restoring")
    for rest in file.parent.glob(f".{file.name}.restoring*"):
        rest.unlink()
    os.close(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        with _filled(f"sqlite:///{fresh}") as connection:
            here = location_of(connection, settings, fresh)
            done = filling.fill(connection, str(here))
            if connection.exec_driver_sql("PRAGMA foreign_key_check").first() is not None:
                raise InvalidInput("restore_not_whole")
        if not release_file(fresh):
            raise InvalidInput("restore_not_whole")
        with fresh.open("rb") as written:
            os.fsync(written.fileno())
        filling.place_files()
        for name in _JOBS:  # what the engine remembers is of the other life; the rows say what is due
            (settings.data_dir / name).unlink(missing_ok=True)
        for suffix in ("-wal", "-shm"):
            file.with_name(file.name + suffix).unlink(missing_ok=True)
        fresh.replace(file)
        sync_folder(file.parent)
        return done
    finally:
        for rest in file.parent.glob(f".{file.name}.restoring*"):
            rest.unlink()


def _in_one_transaction(settings: Settings, filling: _Filling) -> Restored:
    """PostgreSQL: the old tables go and the new ones come in one transaction."""
    with _filled(settings.sqlalchemy_url) as connection:
        connection.exec_driver_sql("SET LOCAL lock_timeout = '5s'")
        here = location_of(connection, settings)
        ours = set(Base.metadata.tables) | set(filling.source.manifest.rows) | archive.LEFT_OUT
        quote = connection.dialect.identifier_preparer.quote
        try:
            for name in set(sa.inspect(connection).get_table_names()) & ours:
                connection.exec_driver_sql(f"DROP TABLE {quote(name)} CASCADE")
        except sa.exc.OperationalError as error:
            raise Conflict("restore_in_use") from error
        done = filling.fill(connection, str(here))
        connection.exec_driver_sql("ANALYZE")
        filling.place_files()
    return done


@contextmanager
def _filled(url: str) -> Iterator[sa.Connection]:
    """A connection whose transaction is committed at the end; on SQLite rows may come before those that they refer to."""
    engine = make_engine(url, poolclass=NullPool)
    try:
        with engine.connect() as connection:
            if engine.dialect.name == "sqlite":
                driver: Any = connection.connection.driver_connection
                driver.execute("PRAGMA foreign_keys = OFF")  # heeded only outside of a transaction
            with connection.begin():
                yield connection
    finally:
        engine.dispose()


# --- rows --------------------------------------------------------------------------------------------------------------------


def load(connection: sa.Connection, source: Archive) -> None:
    """Fill the empty tables of a schema with the rows of a backup. ValueError or LookupError when it does not fit."""
    metadata = sa.MetaData()
    metadata.reflect(connection)
    for table in metadata.sorted_tables:
        if table.name in source.manifest.rows:
            with _parents_may_come_later(connection, table):
                count = _load_table(connection, source, table)
            if count != source.manifest.rows[table.name]:
                raise ValueError(table.name)
    if missing := set(source.manifest.rows) - set(metadata.tables):
        raise LookupError(", ".join(sorted(missing)))


def _load_table(connection: sa.Connection, source: Archive, table: sa.Table) -> int:
    """A first start may have filled a table in its migration (the gazetteer): the backup's rows take their place."""
    connection.execute(sa.delete(sa.table(table.name)))
    on_sqlite = connection.dialect.name == "sqlite"
    columns = [table.columns[name] for name in source.manifest.columns[table.name]]
    blobs = [column for column in columns if isinstance(column.type, sa.LargeBinary)]
    statement = _insertion(table.name, columns, on_sqlite=on_sqlite)
    readers = {f"v{place}": (column.name, _reader(column.type, on_sqlite=on_sqlite)) for place, column in enumerate(columns)}
    batch: list[dict[str, Any]] = []
    size = count = 0
    for told, length in source.rows(table.name):
        values = dict(told)
        for column in blobs:
            (key,) = table.primary_key.columns
            values[column.name] = source.blob(table.name, column.name, values[key.name])
            length += len(values[column.name] or b"")
        batch.append({place: None if values[name] is None else read(values[name]) for place, (name, read) in readers.items()})
        size, count = size + length, count + 1
        if len(batch) >= ROWS_MOST or size >= BYTES_MOST:
            connection.execute(statement, batch)
            batch, size = [], 0
    if batch:
        connection.execute(statement, batch)
    return count


def _insertion(name: str, columns: list[sa.Column[Any]], *, on_sqlite: bool) -> sa.Insert:
    values: dict[str, Any] = {}
    for place, column in enumerate(columns):
        if isinstance(column.type, sa.JSON):
            text = sa.bindparam(f"v{place}", type_=sa.Text)
            values[column.name] = text if on_sqlite else sa.cast(text, JSONB)
        else:
            values[column.name] = sa.bindparam(f"v{place}", type_=column.type)
    plain = sa.table(
        name, *(sa.column(column.name, sa.Text if isinstance(column.type, sa.JSON) else column.type) for column in columns)
    )
    return sa.insert(plain).values(values)


def _reader(kind: Any, *, on_sqlite: bool) -> Callable[[Any], Any]:
    """How a value of the file becomes one of a column."""
    if isinstance(kind, sa.DateTime):
        return (lambda value: datetime.fromisoformat(value).replace(tzinfo=None)) if on_sqlite else datetime.fromisoformat
    if isinstance(kind, sa.Date):
        return date.fromisoformat
    return lambda value: value


@contextmanager
def _parents_may_come_later(connection: sa.Connection, table: sa.Table) -> Iterator[None]:
    """PostgreSQL checks the rows of a table that refers to itself once all are in."""
    own = [key.name for key in table.foreign_key_constraints if key.referred_table is table and key.name]
    if connection.dialect.name != "postgresql" or not own:
        yield
        return
    quote = connection.dialect.identifier_preparer.quote
    for name in own:
        connection.exec_driver_sql(
            f"ALTER TABLE {quote(table.name)} ALTER CONSTRAINT {quote(str(name))} DEFERRABLE INITIALLY DEFERRED"
        )
    yield
    connection.exec_driver_sql("SET CONSTRAINTS ALL IMMEDIATE")
    for name in own:
        connection.exec_driver_sql(f"ALTER TABLE {quote(table.name)} ALTER CONSTRAINT {quote(str(name))} NOT DEFERRABLE")
