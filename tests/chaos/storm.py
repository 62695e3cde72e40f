"""One storm: sends of 1,500 people to a server of ours while something keeps breaking, and the account of it afterwards.

Everything is made here and lives on loopback: databases, mail servers, workers (`crm worker`, as it is installed). No relay and no
database that anybody else made can be named.
"""

import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from crm.config import Settings
from crm.database import Database
from crm.keys import KEYS_FILE, load_keys
from crm.mailing import sends
from crm.mailing.models import Delivery, DeliveryState, Send, SendState
from tests.bench import crowd, sinks
from tests.conftest import Server, fold, migrate
from tests.mailing.rude_server import RudeServer, Talk, drop, keep_and_drop, reset, serving
from tests.product import CRM

PEOPLE = 1500
CONNECTIONS = 4
"""Of one worker to a server on this machine."""
SECRET = "a secret of the chaos, long enough"
PATIENCE = 180.0
DELAY = 0.01
"""Seconds until the mail server answers, so that a send lasts long enough to be killed in its middle."""


@dataclass
class Account:
    """What became of everybody, over all sends of a storm."""

    sends: int = 0
    kills: int = 0
    sent: int = 0
    twice: int = 0
    """People who got a send more than once."""
    lost: int = 0
    """In no state, still waiting at the end, or called sent and never accepted."""
    in_doubt: int = 0
    of_them_left: int = 0
    """In doubt, and accepted: the rest never left."""

    def add(self, other: "Account") -> None:
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))

    def broken(self) -> list[str]:
        """What it says against the promise, in words."""
        most = 2 * CONNECTIONS * max(1, self.kills)
        return [
            *([f"{self.twice} got a mail twice"] if self.twice else []),
            *([f"{self.lost} were lost"] if self.lost else []),
            *([f"{self.in_doubt} in doubt of at most {most}"] if self.in_doubt > most and self.kills else []),
        ]


@dataclass
class Storm:
    """How often and what breaks, at random moments while a send is under way."""

    folder: Path
    server: Server
    workers: int
    kills: int
    rudeness: float | None = None
    """How often the mail server fails at a step, of one; None: it never does, and is the sink of the benches."""
    people: int = PEOPLE
    restart_database: Callable[[], None] | None = None
    """Instead of killing workers."""
    chance: random.Random = field(default_factory=lambda: random.Random(20261122))

    def run(self, told: Callable[[str], None] = lambda _: None) -> Account:
        account, template = Account(), self._template()
        while account.kills < self.kills:
            name = f"storm_{account.sends}"
            one = _Send(self, self.server.create(name, template), self._installation(name))
            account.add(one.run(self.kills - account.kills))
            self.server.drop(f"storm_{account.sends - 1}")
            told(f"{account.kills} of {self.kills}: {account}")
        self.server.drop(template)
        return account

    def _installation(self, name: str) -> Path:
        """A data folder of its own for each send: beside that of another the database would be taken for a copy, and held."""
        folder = self.folder / f"data_{name}"
        folder.mkdir()
        shutil.copy2(self.folder / KEYS_FILE, folder)
        return folder

    def _template(self) -> str:
        url = self.server.create("calm", None)
        migrate(url)
        settings = Settings(database_url=url, data_dir=self.folder, secret_key=SECRET, demo=False)
        database = Database(settings, load_keys(self.folder))
        with database.session() as session:
            send = crowd.begun(session, settings, self.people, 4096)
            send.by_catcher = False
        database.dispose()
        fold(url)
        return "calm"


class _Send:
    """One send, from its first mail to its last, and what breaks meanwhile."""

    def __init__(self, storm: Storm, url: str, folder: Path) -> None:
        self.storm, self.url, self.folder = storm, url, folder
        self.settings = Settings(database_url=url, data_dir=folder, secret_key=SECRET, demo=False)
        self.workers: list[subprocess.Popen[bytes]] = []

    def run(self, most_kills: int) -> Account:
        database, account = Database(self.settings, load_keys(self.folder)), Account(sends=1)
        with ExitStack() as stack:
            stack.callback(database.dispose)
            port, accepted = stack.enter_context(self._mail_server())
            stack.callback(self._end_workers)
            self._environment = self._told(port)
            for _ in range(self.storm.workers):
                self._start_worker()
            until = time.monotonic() + PATIENCE
            while not self._is_over(database):
                if time.monotonic() > until:
                    break
                if account.kills < most_kills and self._is_under_way(accepted):
                    time.sleep(self.storm.chance.uniform(0, 1.2))
                    self._break()
                    account.kills += 1
            self._settle(database, accepted(), account)
        return account

    def _told(self, port: int) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CRM_")}
        url = self.url.replace("postgresql+psycopg://", "postgresql://")
        told = {"CRM_DATABASE_URL": url, "CRM_DATA_DIR": str(self.folder), "CRM_SECRET_KEY": SECRET, "CRM_DEMO": "0"}
        return kept | told | {"CRM_SMTP_URL": f"smtp://127.0.0.1:{port}?tls=none"}

    # --- the mail server -------------------------------------------------------------------------------------------------------

    @contextmanager
    def _mail_server(self) -> Iterator[tuple[int, Callable[[], Counter[str]]]]:
        """Its port, and who was accepted so far."""
        if self.storm.rudeness is not None:
            with serving(RudeServer(self._rudeness)) as server:
                yield server.server_address[1], lambda: Counter(server.kept)
            return
        log = self.storm.folder / "accepted.log"
        log.unlink(missing_ok=True)
        log.touch()
        with sinks.running(self.storm.folder, delay=DELAY, log=log) as sink:
            yield sink.port, lambda: Counter(line.split()[0] for line in log.read_text().splitlines())

    def _rudeness(self, step: str, _talk: Talk) -> Any:
        time.sleep(DELAY if step == "dot" else 0)
        if step == "banner" or self.storm.chance.random() >= (self.storm.rudeness or 0):
            return None
        kinds = [b"421 4.3.2 closing\r\n", b"451 4.3.0 try later\r\n", drop, reset, b"hello\r\n"]
        return self.storm.chance.choice([*kinds, keep_and_drop] if step == "dot" else kinds)

    # --- what breaks -----------------------------------------------------------------------------------------------------------

    def _is_under_way(self, accepted: Callable[[], Counter[str]]) -> bool:
        """Wait until a mail leaves, or a while."""
        before = now = accepted().total()
        until, nearly_all = time.monotonic() + 20, self.storm.people * 0.97
        while before == now < nearly_all and time.monotonic() < until:
            time.sleep(0.02)
            now = accepted().total()
        return before < now < nearly_all

    def _break(self) -> None:
        if self.storm.restart_database is not None:
            self.storm.restart_database()
            return
        victim = self.workers.pop(self.storm.chance.randrange(len(self.workers)))
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        self._start_worker()

    def _start_worker(self) -> None:
        with (self.storm.folder / "workers.log").open("ab") as log:
            self.workers.append(subprocess.Popen([CRM, "worker"], env=self._environment, stdout=log, stderr=log))

    def _end_workers(self) -> None:
        for worker in self.workers:
            worker.kill()
            worker.wait()

    # --- the account -----------------------------------------------------------------------------------------------------------

    def _is_over(self, database: Database) -> bool:
        """Whether nothing waits; meanwhile a person resumes what paused, and forgives the relay."""
        with suppress(sa.exc.OperationalError), database.session() as session:
            open_states = (DeliveryState.PENDING, DeliveryState.SENDING, DeliveryState.DEFERRED)
            if not session.scalar(sa.select(sa.func.count()).where(Delivery.state.in_(open_states))):
                return True
            if self.storm.rudeness:
                session.execute(sa.update(Delivery).where(Delivery.state == DeliveryState.DEFERRED).values(due_at=sa.func.now()))
            if session.scalars(sa.select(Send)).one().state is SendState.PAUSED:
                sends.resume(session, 1, self.settings.model_copy(update={"smtp_url": self._environment["CRM_SMTP_URL"]}))
        return False

    def _settle(self, database: Database, accepted: Counter[str], account: Account) -> None:
        with database.session(write=False) as session:
            rows = session.execute(sa.select(Delivery.address, Delivery.state)).all()
        states = {str(row.address): row.state for row in rows}
        sent = {address for address, state in states.items() if state is DeliveryState.SENT}
        doubtful = {address for address, state in states.items() if state is DeliveryState.IN_DOUBT}
        account.sent += len(sent)
        account.twice += sum(count > 1 for count in accepted.values())
        account.in_doubt += len(doubtful)
        account.of_them_left += len(doubtful & set(accepted))
        account.lost += self.storm.people - len(sent) - len(doubtful) + len(sent - set(accepted))
