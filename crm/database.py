"""Engine, sessions and types; the only module that knows which database it speaks to.

SQLite by default, PostgreSQL when `Settings.database_url` says so. Traps that this module answers, each measured:
SQLite drops the offset of aware datetimes in silence; its `lower()` and `LIKE` fold ASCII only; a transaction that reads
first and writes later fails there with "database is locked" unless it begins IMMEDIATE.
"""

import hashlib
import json
import re
import shutil
import sqlite3
import unicodedata
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import sqlalchemy as sa
from pydantic_core import to_json
from sqlalchemy import event
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import DeclarativeBase, InstrumentedAttribute, Session

from crm import clock
from crm.config import Settings
from crm.errors import InvalidInput
from crm.keys import Keys

JOURNAL_FILE = "suppressions.jsonl"
"""Where suppressions are appended outside the database, so that a restored backup forgets nobody who left."""

_COPY_PREFIX = "rehearsal-"

SQLITE_WITH_SUBSECONDS = (3, 42)
"""The first version whose `unixepoch` knows 'subsec'."""

PAGE_LIMIT = 200
"""Most rows that one page of a list may hold."""


class Base(DeclarativeBase):
    """Every table. Names of constraints are fixed so that migrations can find them on both engines."""

    metadata = sa.MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


# --- what a column holds -----------------------------------------------------------------------------------------------


class Personal(StrEnum):
    """Kinds of personal data (Ley General de Protección de Datos Personales, art. 3): masks, erasure and the inventory read it."""

    IDENTITY = "identity"
    CONTACT = "contact"
    LOCATION = "location"
    POST = "post"
    CONSENT = "consent"
    ACTIVITY = "activity"
    STAFF = "staff"


def personal(kind: Personal) -> dict[str, Any]:
    """``info`` of a column that holds personal data."""
    return {"personal": kind}


PLAIN: dict[str, Any] = {"personal": None}
"""``info`` of a text column that holds no personal data."""


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """An aware instant, kept in UTC. A naive value is refused with ValueError."""

    impl = sa.DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        return dialect.type_descriptor(sa.DateTime(timezone=dialect.name != "sqlite"))

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime has no instant; give it a zone")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


Json = sa.JSON().with_variant(JSONB(), "postgresql")


def choice(values: type[StrEnum]) -> sa.Enum:
    """A column of a closed list: text and a CHECK, alike on both engines; Python sees plain members of the enum."""
    return sa.Enum(
        values,
        native_enum=False,
        create_constraint=True,
        length=40,
        values_callable=lambda members: [member.value for member in members],
        name=_snake(values.__name__),
    )


def _snake(name: str) -> str:
    return "".join("_" + letter.lower() if letter.isupper() else letter for letter in name).lstrip("_")


# --- order and search in Spanish -----------------------------------------------------------------------------------------


_COMMON_MARKS = re.compile("[\u0300-\u034e\u0350-\u036f]+")
_BEYOND_LATIN = re.compile("[^\x00-\u02ff\uf8ff]")


def search_key(text: str) -> str:
    """How a text is searched: no marks (ñ as n), casefolded, single spaces. `search_key("Núñez  DE LA O") == "nunez de la o"`."""
    if text.isascii():
        return " ".join(text.lower().split())
    decomposed = _COMMON_MARKS.sub("", unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold()))
    if not _BEYOND_LATIN.search(decomposed):
        return " ".join(decomposed.split())
    return " ".join("".join(letter for letter in decomposed if not unicodedata.combining(letter)).split())


def sort_key(text: str) -> str:
    """How a text is ordered in Spanish: as `search_key`, but ñ comes after every n."""
    marked = unicodedata.normalize("NFC", text).casefold().replace("ñ", "n\uf8ff")
    return search_key(marked)


def contains(column: sa.ColumnElement[str] | Any, text: str) -> sa.ColumnElement[bool]:
    """Whether a search column holds every word of the text, in any order. Full-text search would replace this one place."""
    words = search_key(text).split()
    return sa.and_(sa.true(), *(column.like(f"%{_escape_like(word)}%", escape="\\") for word in words))


def titled(
    session: Session, number: InstrumentedAttribute[int], title: InstrumentedAttribute[str], text: str, *, most: int = 5_000
) -> list[tuple[int, str]]:
    """(id, title) of the rows of a small table whose title holds every word of the text, newest first. There are hundreds at most:
    titles are folded here, without a column."""
    words = search_key(text).split()
    rows = session.execute(sa.select(number, title).order_by(number.desc()).limit(most))
    return [(row[0], row[1]) for row in rows if all(word in search_key(row[1]) for word in words)]


def _escape_like(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


# --- engine and sessions ---------------------------------------------------------------------------------------------------


class Database:
    """One engine for the process, and sessions that are one transaction each."""

    def __init__(self, settings: Settings, keys: Keys) -> None:
        unwritten: list[dict[str, Any]] = []  # what the journal could not take yet, shared by all sessions
        self._info = {"keys": keys, "journal": settings.data_dir / JOURNAL_FILE, "journal_unwritten": unwritten}
        self._data_dir = settings.data_dir
        self.engine = make_engine(settings.sqlalchemy_url)

    @contextmanager
    def session(self, *, write: bool = True, **info: Any) -> Iterator[Session]:
        """A transaction: committed at the end, rolled back by an exception.

        ``write=False`` begins deferred on SQLite, so that reading never waits for a writer. ``info`` names who acts
        (``actor``) and why (``why``) for the change log.
        """
        engine = self.engine.execution_options(sqlite_begin="IMMEDIATE" if write else "DEFERRED")
        with Session(engine, expire_on_commit=False, info={**self._info, "reads": not write, **info}) as session, session.begin():
            yield session

    @contextmanager
    def rehearsal(self) -> Iterator[Session]:
        """A session in which anything may be tried: it is undone at the end, and other writers need not wait for it.

        On PostgreSQL a transaction that is rolled back: who writes to the very rows that it tried waits for its end.
        On SQLite, where one writer shuts out all others, a transaction of a
        private copy of the database, made in the data directory and removed at the end.
        """
        with _copy_of(self.engine, self._data_dir) as engine, Session(engine, info=dict(self._info)) as session:
            yield session  # closed without a commit

    def dispose(self) -> None:
        self.engine.dispose()


@contextmanager
def _copy_of(engine: sa.Engine, directory: Path) -> Iterator[sa.Engine]:
    """An engine over a copy of an SQLite database that nobody else may read; the engine itself when it is of PostgreSQL."""
    if engine.dialect.name != "sqlite":
        yield engine
        return
    _remove_old_copies(directory)
    with TemporaryDirectory(prefix=_COPY_PREFIX, dir=directory) as folder:  # which makes it mode 0700
        path = Path(folder) / "copy.db"
        path.touch(mode=0o600)
        _back_up(engine, path)
        copy = make_engine(f"sqlite:///{path}")
        try:
            yield copy
        finally:
            copy.dispose()


def _back_up(engine: sa.Engine, path: Path) -> None:
    """Copy an SQLite database whole, as it stands in one instant; in WAL mode nobody waits for the reader that this is."""
    target = sqlite3.connect(path)
    source = engine.raw_connection()
    try:
        driver: Any = source.driver_connection
        driver.backup(target)
    finally:
        source.close()
        target.close()


def _remove_old_copies(directory: Path) -> None:
    """Those of processes that were killed: no rehearsal lasts for an hour."""
    for folder in directory.glob(_COPY_PREFIX + "*"):
        if folder.stat().st_mtime < clock.now().timestamp() - 60 * 60:
            shutil.rmtree(folder, ignore_errors=True)


def keys_of(session: Session) -> Keys:
    """The keys that a session was opened with."""
    keys: Keys = session.info["keys"]
    return keys


def make_engine(url: str, **told: Any) -> sa.Engine:
    """An engine tuned for the database of the URL; statements in errors never show their values. ``told`` goes to SQLAlchemy."""
    if url.startswith("sqlite"):
        engine = sa.create_engine(
            url, hide_parameters=True, json_serializer=_json, connect_args={"timeout": 30, "check_same_thread": False}, **told
        )
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    pool = told or {"pool_size": 10, "max_overflow": 20}
    return sa.create_engine(url, hide_parameters=True, json_serializer=_json, pool_pre_ping=True, **pool)


def _json(value: Any) -> str:
    """JSON as it is stored (measured: six times faster than the standard encoder, which the change log feels)."""
    return to_json(value).decode()


def make_job_engine(url: str) -> sa.Engine:
    """An engine for the job engine's own tables. It begins its transactions by itself; what it keeps can be lost."""
    if not url.startswith("sqlite"):
        return sa.create_engine(url, hide_parameters=True, pool_pre_ping=True)
    engine = sa.create_engine(url, hide_parameters=True, connect_args={"timeout": 30, "check_same_thread": False})
    event.listen(engine, "connect", _prepare_sqlite_for_jobs)
    return engine


def _prepare_sqlite_for_jobs(connection: Any, _record: Any) -> None:
    connection.isolation_level = "IMMEDIATE"
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "busy_timeout=30000"):
        connection.execute(f"PRAGMA {pragma}")
    if sqlite3.sqlite_version_info < SQLITE_WITH_SUBSECONDS:
        connection.create_function("unixepoch", 1, _unix_epoch)


def _unix_epoch(modifier: str) -> float:
    """What `unixepoch('subsec')` says on a newer SQLite. From Python 3.12 on the job engine takes for granted that it is there,
    and does not start on Debian 12 (measured: SQLite 3.40 answers NULL)."""
    if modifier != "subsec":
        raise ValueError(modifier)
    return clock.now().timestamp()


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN " + str(connection.get_execution_options().get("sqlite_begin", "IMMEDIATE")))


def is_postgresql(session: Session) -> bool:
    return session.get_bind().dialect.name == "postgresql"


def one_at_a_time(session: Session, *names: str) -> None:
    """Whoever else asks for one of these names waits until this transaction ends. On SQLite a write transaction does that alone."""
    if is_postgresql(session):
        numbers = {int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True) for name in names}
        for number in sorted(numbers):  # in one order, so that two who ask for the same names never wait for each other
            session.execute(sa.select(sa.func.pg_advisory_xact_lock(number)))


def insert_new(session: Session, table: sa.Table | Any, rows: Sequence[Mapping[str, Any]], *, unique: Sequence[str]) -> None:
    """Insert rows, leaving alone those whose ``unique`` columns already exist."""
    if rows:
        build: Any = postgresql_insert if is_postgresql(session) else sqlite_insert
        session.execute(build(table).on_conflict_do_nothing(index_elements=list(unique)), list(rows))


def new_ids(session: Session, table: sa.Table | Any, count: int) -> list[int]:
    """Ids for rows about to be inserted in this transaction, in order.

    Rows that bring their id go in by one executemany; asked back with RETURNING, SQLite takes them one by one (measured: 4x).
    """
    connection = session.connection()
    if is_postgresql(session):
        sequence = sa.func.pg_get_serial_sequence(f'"{table.name}"', "id")
        numbered = sa.select(sa.func.nextval(sequence)).select_from(sa.func.generate_series(1, count).alias("number"))
        return list(connection.execute(numbered).scalars())
    given = sa.select(_SEQUENCE.c.seq).where(_SEQUENCE.c.name == table.name).scalar_subquery()
    newest = sa.select(sa.func.max(table.c.id)).scalar_subquery()
    last = connection.execute(sa.select(sa.func.max(sa.func.coalesce(newest, 0), sa.func.coalesce(given, 0)))).scalar_one()
    return list(range(last + 1, last + 1 + count))


_SEQUENCE = sa.table("sqlite_sequence", sa.column("name", sa.String), sa.column("seq", sa.Integer))
"""Where SQLite keeps the last id of the tables that `raise_ids` has changed; made by a migration, empty until then."""


def last_ids(connection: sa.Connection) -> dict[str, int]:
    """The last id that each table with numbered rows may have given, also to rows that are gone, as far as the database knows."""
    inspector = sa.inspect(connection)
    numbered = [name for name in inspector.get_table_names() if _is_numbered(inspector, name)]
    return {name: _last_id(connection, name) for name in numbered}


def _is_numbered(inspector: sa.Inspector, name: str) -> bool:
    key = inspector.get_pk_constraint(name)["constrained_columns"]
    return key == ["id"] and any(
        column["name"] == "id" and isinstance(column["type"], sa.Integer) for column in inspector.get_columns(name)
    )


def _last_id(connection: sa.Connection, name: str) -> int:
    newest = connection.scalar(sa.select(sa.func.max(sa.table(name, sa.column("id", sa.Integer)).c.id))) or 0
    if connection.dialect.name == "sqlite":
        has_sequence = connection.scalar(sa.text("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'"))
        given = connection.scalar(sa.select(_SEQUENCE.c.seq).where(_SEQUENCE.c.name == name)) if has_sequence else 0
    else:
        sequence = connection.scalar(sa.select(sa.func.pg_get_serial_sequence(f'"{name}"', "id")))
        asked = f"SELECT last_value FROM {sequence}"  # noqa: S608  # as the catalogue spells it
        given = connection.scalar(sa.text(asked)) if sequence else 0
    return max(int(newest), int(given or 0))


def remembered_ids(connection: sa.Connection) -> dict[str, int]:
    """Of each table of an SQLite database that remembers what ids it gave (see `raise_ids`), the last one."""
    if not sa.inspect(connection).has_table("sqlite_sequence"):
        return {}
    return {name: _last_id(connection, name) for name in connection.scalars(sa.select(_SEQUENCE.c.name)).all()}


def raise_ids(connection: sa.Connection, last: Mapping[str, int]) -> None:
    """Let the next row of each table get an id above ``last``, inside the transaction of a connection; none is lowered.

    SQLite gives `max(id) + 1`, unless the table says AUTOINCREMENT: only then it remembers what it gave. So its stored definition
    is changed, as the SQLite manual tells for changes that leave the rows as they are (lang_altertable.html, 8).
    """
    if last and connection.dialect.name == "sqlite":
        _remember_ids(connection, list(last))
    for name, number in last.items():
        wanted = max(number, _last_id(connection, name))
        if connection.dialect.name == "sqlite":
            connection.execute(sa.delete(_SEQUENCE).where(_SEQUENCE.c.name == name))
            connection.execute(sa.insert(_SEQUENCE).values(name=name, seq=wanted))
        elif wanted:
            sequence = sa.func.pg_get_serial_sequence(f'"{name}"', "id")
            connection.execute(sa.select(sa.func.setval(sequence, wanted)))


def _remember_ids(connection: sa.Connection, names: Sequence[str]) -> None:
    """Make tables of SQLite remember the ids that they gave. RuntimeError when a definition is not as our migrations write it."""
    connection.exec_driver_sql("CREATE TABLE _numbered (id INTEGER PRIMARY KEY AUTOINCREMENT)")  # makes sqlite_sequence
    connection.exec_driver_sql("DROP TABLE _numbered")
    definition = sa.text("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = :name")
    changed = {}
    for name in names:
        told = connection.execute(definition, {"name": name}).scalar_one()
        if "AUTOINCREMENT" not in told:
            changed[name], found = re.subn(r'PRIMARY KEY \("?id"?\)', "PRIMARY KEY (id AUTOINCREMENT)", told)
            if found != 1:
                raise RuntimeError(f"the definition of {name} has no key of its own")
    if not changed:
        return
    version = connection.exec_driver_sql("PRAGMA schema_version").scalar_one()
    connection.exec_driver_sql("PRAGMA writable_schema = ON")
    for name, told in changed.items():
        rewrite = sa.text("UPDATE sqlite_master SET sql = :sql WHERE type = 'table' AND name = :name")
        connection.execute(rewrite, {"sql": told, "name": name})
    connection.exec_driver_sql(f"PRAGMA schema_version = {version + 1}")  # other connections read the definitions anew
    connection.exec_driver_sql("PRAGMA writable_schema = RESET")


def rows_in_one(session: Session, statement: sa.Select[Any]) -> sa.Select[str]:
    """A statement whose only row is JSON: a list of the rows of another, each a list of its values; None when it has none."""
    rows = statement.cte("rows")
    if is_postgresql(session):
        return sa.select(sa.cast(sa.func.json_agg(sa.func.json_build_array(*rows.c)), sa.String))
    return sa.select(sa.func.json_group_array(sa.func.json_array(*rows.c)))


def written_out(session: Session, statement: sa.Select[Any], **parameters: sa.types.TypeEngine[Any]) -> sa.TextClause:
    """A statement as text, with all of its values but the named parameters, which it holds as `placeholder`: to be run over and
    over. The library reads a large statement anew each time, with the interpreter in its hands (measured: 2 ms)."""
    written = statement.compile(session.connection().engine, compile_kwargs={"literal_binds": True})
    return sa.text(str(written)).bindparams(*(sa.bindparam(name, type_=kind) for name, kind in parameters.items()))


def placeholder(name: str) -> sa.ColumnClause[Any]:
    """The place of a parameter in a statement for `written_out`."""
    return sa.literal_column(f":{name}")


def json_values(parameter: str, *, on_postgresql: bool, kind: type[sa.types.TypeEngine[Any]] = sa.Integer) -> sa.ColumnElement[int]:
    """The numbers of a list that a parameter holds as JSON, as rows: thousands of them in one parameter."""
    told = sa.bindparam(parameter, type_=sa.String)
    if on_postgresql:
        return sa.cast(sa.func.json_array_elements_text(sa.cast(told, sa.JSON)).table_valued("value").c.value, kind)
    return sa.func.json_each(told).table_valued("value").c.value


def json_pairs(parameter: str, *, on_postgresql: bool) -> tuple[sa.ColumnElement[int], sa.ColumnElement[str]]:
    """The pairs of number and text of an object that a parameter holds as JSON, as rows."""
    told = sa.bindparam(parameter, type_=sa.String)
    each = sa.func.json_each_text(sa.cast(told, sa.JSON)) if on_postgresql else sa.func.json_each(told)
    pairs = each.table_valued("key", "value", name="told")
    return sa.cast(pairs.c.key, sa.Integer), pairs.c.value


def insert_many(session: Session, model: sa.Table | Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows that all name the same columns, by one executemany of the driver (measured: half the time of `sa.insert`).

    What the model would fill in by itself must be in the rows; the session does not see them.
    """
    if not rows:
        return
    connection = session.connection()
    table: sa.Table = model if isinstance(model, sa.Table) else model.__table__
    columns = [column for column in table.columns if column.key in rows[0]]
    statement = sa.insert(table).compile(dialect=connection.dialect, column_keys=[column.key for column in columns])
    values = zip(*(_bound(column, [row[column.key] for row in rows], connection.dialect) for column in columns), strict=True)
    names = None if statement.positional else [column.key for column in columns]
    parameters: list[Any] = list(values) if names is None else [dict(zip(names, row, strict=True)) for row in values]
    connection.exec_driver_sql(str(statement), parameters)


def _bound(column: sa.Column[Any], values: list[Any], dialect: sa.Dialect) -> list[Any]:
    """Values of one column as the driver takes them; neighbours that are one object are prepared once."""
    prepare = column.type.dialect_impl(dialect).bind_processor(dialect)
    if prepare is None:
        return values
    bound: list[Any] = []
    before: Any = bound
    for value in values:
        bound.append(None if value is None else bound[-1] if value is before else prepare(value))
        before = value
    return bound


def seconds_since_epoch(column: Any) -> sa.ColumnElement[float]:
    """An instant as seconds, computed by the database, alike on both engines."""
    return sa.cast(sa.extract("epoch", column), sa.Float)


def mail_domain(session: Session, address: Any) -> sa.ColumnElement[str]:
    """The domain of a mail address, in small letters."""
    at = sa.func.strpos(address, "@") if is_postgresql(session) else sa.func.instr(address, "@")
    return sa.func.lower(sa.func.substr(address, at + 1))


def refresh_statistics(session: Session) -> None:
    """Let the planner count anew after a load of many rows: without it PostgreSQL's pages are ten times slower (measured)."""
    session.execute(sa.text("ANALYZE"))


def release_file(path: Path) -> bool | None:
    """Bring all of an SQLite database into its one file, as no other process has it open; False when one has, None when it is no
    database that can be read."""
    connection = sqlite3.connect(path, timeout=1, isolation_level=None)
    try:
        mode: str = connection.execute("PRAGMA journal_mode = DELETE").fetchone()[0]
        return mode == "delete"
    except sqlite3.OperationalError as error:
        return False if "locked" in str(error) else None
    except sqlite3.DatabaseError:
        return None
    finally:
        connection.close()


@contextmanager
def whole_picture(url: str) -> Iterator[sa.Connection]:
    """A connection that reads one instant of the database for as long as it is open, and holds up nobody."""
    engine = make_engine(url)
    try:
        if engine.dialect.name == "sqlite":
            reading = engine.execution_options(sqlite_begin="DEFERRED")
        else:
            reading = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        with reading.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def defects(session: Session, *, deep: bool = False) -> list[str]:
    """What is broken inside of an SQLite database, in Spanish; PostgreSQL watches over itself. ``deep`` reads its indexes too."""
    if is_postgresql(session):
        return []
    told = session.connection().exec_driver_sql(f"PRAGMA {'integrity_check' if deep else 'quick_check'}(1)").scalar()
    lost = session.connection().exec_driver_sql("PRAGMA foreign_key_check").first()
    return (["el archivo está dañado"] if told != "ok" else []) + (
        ["hay filas que se refieren a otras que no están"] if lost else []
    )


# --- where a database lives -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Location:
    """What tells a database from a copy of it: parts that must stay, and parts of which one must stay; "" is not known."""

    firm: tuple[str, ...]
    either: tuple[str, ...] = ()

    def __str__(self) -> str:
        return json.dumps([self.firm, self.either])

    def is_same(self, written: str) -> bool:
        """Whether it may be the database of a location that was written down."""
        firm, either = json.loads(written)
        same = [now == before for now, before in zip(self.firm, firm, strict=False) if now and before]
        moved = [now == before for now, before in zip(self.either, either, strict=False) if now and before]
        return all(same) and (not moved or any(moved))


_MACHINE = Path("/etc/machine-id")


def location_of(connection: sa.Connection, settings: Settings, file: Path | None = None) -> Location:
    """Where the database of a connection lives; ``file`` is one of SQLite that will be renamed to its place.

    PostgreSQL: the cluster, the database in it, and the timeline, which a restore to a point in time or a standby that takes over
    changes. SQLite: the inode of the file and, of path and machine, one: a folder may be renamed, and a container that keeps its
    volume is another machine each time.
    """
    if connection.dialect.name == "sqlite":
        path = sqlite_file(settings)
        return Location((str((file or path).stat().st_ino),), (str(path), _machine_id()))
    database = connection.scalar(sa.text("SELECT oid FROM pg_database WHERE datname = current_database()"))
    return Location(
        (
            str(database),
            _told(connection, "SELECT system_identifier FROM pg_control_system()"),
            _told(connection, "SELECT left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)"),
        )
    )


def sqlite_file(settings: Settings) -> Path:
    """The file of an SQLite database."""
    return Path(sa.make_url(settings.sqlalchemy_url).database or "").resolve()


def _machine_id() -> str:
    try:
        return _MACHINE.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def _told(connection: sa.Connection, question: str) -> str:
    """What the server says of itself; "" where its role may not ask."""
    try:
        with connection.begin_nested():
            return str(connection.scalar(sa.text(question)))
    except sa.exc.DBAPIError:
        return ""


# --- pages by keyset --------------------------------------------------------------------------------------------------------


def keyset_page(
    session: Session,
    statement: sa.Select[Any],
    keys: Sequence[Any],
    *,
    cursor: str | None = None,
    limit: int = 50,
    descending: bool = False,
) -> tuple[list[sa.Row[Any]], str | None]:
    """The rows after a cursor, in the order of ``keys`` (the last one unique), and the cursor of the page after them.

    The cursor is opaque: the key values of the last row. InvalidInput(cursor_invalid) for a cursor that we did not make.
    """
    limit = max(1, min(limit, PAGE_LIMIT))
    if cursor:
        values = _read_cursor(cursor, keys)
        compare = sa.tuple_(*keys) < sa.tuple_(*values) if descending else sa.tuple_(*keys) > sa.tuple_(*values)
        statement = statement.where(compare)
    order = [key.desc() if descending else key.asc() for key in keys]
    labels = [key.label(f"keyset_{number}") for number, key in enumerate(keys)]
    rows = session.execute(statement.add_columns(*labels).order_by(*order).limit(limit + 1)).all()
    if len(rows) <= limit:
        return list(rows), None
    last = rows[limit - 1]
    return list(rows[:limit]), _write_cursor([last[-len(keys) + number] for number in range(len(keys))])


def _write_cursor(values: Sequence[Any]) -> str:
    return urlsafe_b64encode(json.dumps(values, ensure_ascii=False).encode()).decode().rstrip("=")


def _read_cursor(cursor: str, keys: Sequence[Any]) -> list[Any]:
    try:
        values = json.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, RecursionError) as error:
        raise InvalidInput("cursor_invalid", field="cursor") from error
    if not isinstance(values, list) or len(values) != len(keys):
        raise InvalidInput("cursor_invalid", field="cursor")
    if not all(_is_key(value, key.type.python_type) for value, key in zip(values, keys, strict=True)):
        raise InvalidInput("cursor_invalid", field="cursor")
    return values


def _is_key(value: object, kind: type) -> bool:
    """Whether a value may be compared with a key column: its type, and nothing that a database refuses."""
    if isinstance(value, bool) or not isinstance(value, kind):
        return False
    if isinstance(value, str):
        return "\0" not in value and not any("\ud800" <= letter <= "\udfff" for letter in value)
    return isinstance(value, int) and abs(value) < 2**63
