"""How fast a send leaves: claimed, spliced, handed over and written down person by person, beside programs that only send.

All hand over to the same server on this machine (`sink.c`), turn by turn, each a process that has started and read its modules
before its clock runs. Ratios are of mails per second in the same round, to Postfix's `smtp-source`, which says one same mail over
and over and remembers nothing.

    python -m tests.bench.bench_sending [words of the case: 4 KB, 400 KB, postgresql, 5 ms, postfix ...]
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import sqlalchemy as sa
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from crm.config import Settings
from crm.database import Database
from crm.keys import load_keys
from tests.bench import crowd, sinks
from tests.conftest import ROOT, Server, fold, migrate, own_postgresql, postgresql_server, sqlite_server
from tests.mailing.real_servers import SERVERS, why_not

NUMBERED = "{}persona1@example.org"
"""To whom `smtp-source -N` writes."""
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "7"))
CONNECTIONS = 10
PEER = "smtp-source"
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


@dataclass
class Run:
    """What one program took."""

    mails: int
    seconds: float
    cpu: float
    megabytes: float

    @property
    def rate(self) -> float:
        return self.mails / self.seconds


Contender = Callable[[int], Run]
"""Sends to the server at a port."""


@dataclass
class Case:
    name: str
    contenders: dict[str, Contender]
    delay: float = 0.0
    known: Sequence[str] = ()
    """Into a Postfix of its own that knows these addresses and queues on disk, not into the sink."""
    runs: dict[str, list[Run]] = field(default_factory=dict)


class Bench:
    """Databases, keys and programs of one run, in a folder that is removed at its end."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self._stack = folder, stack
        self._servers: dict[str, Server] = {}
        self._made: dict[tuple[str, int, int], str] = {}
        self._count = 0

    # --- databases -----------------------------------------------------------------------------------------------------------

    def database(self, engine: str, count: int, size: int) -> str:
        """The URL of a fresh database in which a send of that size to so many people is under way."""
        server = self.server(engine)
        if (engine, count, size) not in self._made:
            name = f"crowd_{count}_{size}"
            self._make(server.create(name, None), count, size)
            self._made[engine, count, size] = name
        self._count += 1
        return server.create(f"run_{self._count}", self._made[engine, count, size])

    def drop(self, engine: str) -> None:
        self.server(engine).drop(f"run_{self._count}")

    def server(self, engine: str) -> Server:
        if engine not in self._servers:
            if engine == "sqlite":
                self._servers[engine] = sqlite_server(self.folder)
            else:
                self._servers[engine] = postgresql_server(self._stack.enter_context(own_postgresql()).get_uri())
        return self._servers[engine]

    def _make(self, url: str, count: int, size: int) -> None:
        migrate(url)
        settings = Settings(database_url=url, data_dir=self.folder, secret_key="a secret of the benches", demo=False)
        database = Database(settings, load_keys(self.folder))
        with database.session() as session:
            crowd.begun(session, settings, count, size)
        database.dispose()
        fold(url)

    def key(self, kind: str) -> str:
        path = self.folder / f"{kind}.pem"
        if not path.exists():
            made: Any = rsa.generate_private_key(65537, 2048) if kind == "rsa" else ed25519.Ed25519PrivateKey.generate()
            form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
            path.write_bytes(made.private_bytes(*form))
        return str(path)

    # --- contenders ------------------------------------------------------------------------------------------------------------

    def ours(
        self, engine: str, count: int, size: int, *, processes: int = 1, key: str = "", connections: int = CONNECTIONS
    ) -> Contender:
        def send(port: int) -> Run:
            url = self.database(engine, count, size)
            keys = [self.key(key)] if key else []
            module = [sys.executable, "-m", "tests.bench.senders.ours", url, str(self.folder)]
            each = [[*module, str(port), str(connections // processes), *keys] for _ in range(processes)]
            run = measured(each, count)
            self._check_all_sent(url, count)
            self.drop(engine)
            return run

        return send

    def _check_all_sent(self, url: str, count: int) -> None:
        engine = sa.create_engine(url)
        with engine.connect() as connection:
            states = connection.execute(sa.text("SELECT state, count(*) FROM delivery GROUP BY state")).all()
        engine.dispose()
        if [tuple(row) for row in states] != [("sent", count)]:
            raise RuntimeError(f"not everything was sent: {states}")

    def peer(self, *command: str, mails: int) -> Contender:
        def send(port: int) -> Run:
            with TemporaryDirectory(dir=self.folder) as own:
                return measured([[part.format(port=port, folder=own) for part in command]], mails)

        return send

    def smtp_source(self, mails: int, size: int, connections: int = CONNECTIONS, *, to_each: bool = False) -> Contender:
        """Everything to one person or, as we write, to one after another (`NUMBERED`): each is a mailbox that the server looks
        up and fills."""
        program = shutil.which("smtp-source", path=_PATH)
        if program is None:
            raise RuntimeError("the benches of sending need smtp-source: apt-get install postfix")
        options = [program, "-d", "-s", str(connections), "-m", str(mails), "-l", str(size), "-f", "red@example.org"]
        options += ["-N"] if to_each else []
        return lambda port: _timed([*options, "-t", "persona1@example.org", f"127.0.0.1:{port}"], mails)


def measured(commands: Sequence[Sequence[str]], mails: int) -> Run:
    """Programs that work together, each of which says `ready` first."""
    running = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) for command in commands
    ]
    for process in running:
        assert process.stdout is not None
        if process.stdout.readline().strip() != "ready":
            raise RuntimeError(f"{process.args!r} did not start")
    for process in running:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    told = []
    for process in running:
        out, _ = process.communicate()
        if process.returncode:
            raise RuntimeError(f"{process.args!r} failed")
        told.append(json.loads(out.splitlines()[-1]))
    return Run(mails, max(one["seconds"] for one in told), sum(one["cpu"] for one in told), sum(one["megabytes"] for one in told))


def _timed(command: Sequence[str], mails: int) -> Run:
    """A program that needs no time to start."""
    began = time.perf_counter()
    process = subprocess.Popen(command)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command!r} failed")
    return Run(mails, time.perf_counter() - began, used.ru_utime + used.ru_stime, 0)  # whose memory began as a copy of ours


# --- cases -------------------------------------------------------------------------------------------------------------------


def cases(bench: Bench) -> Iterator[Case]:
    node = str(ROOT / ".venv" / "bin" / "node")
    mailer = str(ROOT / "tests" / "bench" / "senders" / "by_nodemailer.mjs")
    module = [sys.executable, "-m"]
    for words, size, count, few in (("4 KB", 4096, 15_000, 1000), ("60 KB", 60_000, 3000, 400), ("400 KB", 400_000, 800, 150)):
        told = str(few)
        yield Case(
            f"{words}, {count:,} mails",
            {
                PEER: bench.smtp_source(count, size),
                "ours sqlite": bench.ours("sqlite", count, size),
                "ours sqlite, 2 processes": bench.ours("sqlite", count, size, processes=2),
                "ours postgresql": bench.ours("postgresql", count, size),
                "ours postgresql, 2 processes": bench.ours("postgresql", count, size, processes=2),
                "ours sqlite, DKIM Ed25519": bench.ours("sqlite", count // 5, size, key="ed25519"),
                "ours sqlite, DKIM RSA-2048": bench.ours("sqlite", count // 5, size, key="rsa"),
                "aiosmtplib": bench.peer(
                    *module, "tests.bench.senders.by_aiosmtplib", "{port}", str(CONNECTIONS), str(few * 2), str(size), mails=few * 2
                ),
                "nodemailer composing": bench.peer(node, mailer, "{port}", str(CONNECTIONS), told, str(size), mails=few),
                "django-post-office": bench.peer(
                    *module, "tests.bench.senders.by_post_office", "{port}", told, str(size), "{folder}", mails=few
                ),
            },
        )
    yield from _postfix_cases(bench)
    yield Case("4 KB, 5 ms", {PEER: bench.smtp_source(3000, 4096), "ours sqlite": bench.ours("sqlite", 3000, 4096)}, delay=0.005)


def _postfix_cases(bench: Bench) -> Iterator[Case]:
    if reason := why_not("postfix"):
        print(f"not measured: into Postfix ({reason})", file=sys.stderr)
        return
    known = [name.format(number) for number in range(1, 1501) for name in ("persona{}@example.org", NUMBERED)]
    for lines in (5, 20):
        peer, ours = bench.smtp_source(1500, 4096, lines, to_each=True), bench.ours("sqlite", 1500, 4096, connections=lines)
        yield Case(f"4 KB into Postfix, {lines} connections", {PEER: peer, "ours sqlite": ours}, known=known)


def rows(chosen: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Rows of build/bench.json: mails per second, CPU and memory of each contender, and the ratio to `smtp-source`."""
    found: list[dict[str, Any]] = []
    with TemporaryDirectory(prefix="crm_bench_") as directory, ExitStack() as stack:
        bench = Bench(Path(directory), stack)
        for case in cases(bench):
            picked = {
                name: contender
                for name, contender in case.contenders.items()
                if all(word in f"{case.name} {name}" or name == PEER for word in chosen)
            }
            if any(word not in case.name and not any(word in name for name in picked if name != PEER) for word in chosen):
                continue
            _run(bench, replace(case, contenders=picked))
            found += _rows(case)
    return found


def _run(bench: Bench, case: Case) -> None:
    for number in range(ROUNDS):
        for name, contender in case.contenders.items():
            case.runs.setdefault(name, []).append(
                _into_postfix(case, contender) if case.known else _into_sink(bench, case, contender)
            )
        print(f"{case.name}: round {number + 1} of {ROUNDS}", file=sys.stderr)


def _into_sink(bench: Bench, case: Case, contender: Contender) -> Run:
    with sinks.running(bench.folder, delay=case.delay) as sink:
        run = contender(sink.port)
    if sink.told[0] != run.mails:
        raise RuntimeError(f"the server took {sink.told[0]} of {run.mails}")
    return run


def _into_postfix(case: Case, contender: Contender) -> Run:
    with SERVERS["postfix"](case.known) as server:
        return contender(server.port)


def _rows(case: Case) -> Iterator[dict[str, Any]]:
    for name, runs in case.runs.items():
        ratios = [run.rate / peer.rate for run, peer in zip(runs, case.runs[PEER], strict=True)]
        rates = [run.rate for run in runs]
        yield {
            "case": case.name,
            "subject": name,
            "unit": "mails/s",
            "median": round(statistics.median(rates)),
            "min": round(min(rates)),
            "max": round(max(rates)),
            "ratio_to": PEER,
            "ratio": round(statistics.median(ratios), 3),
            "ratio_min": round(min(ratios), 3),
            "ratio_max": round(max(ratios), 3),
            "cpu_us": round(statistics.median(run.cpu / run.mails for run in runs) * 1e6, 1),
            "megabytes": round(max(run.megabytes for run in runs)),
        }


if __name__ == "__main__":
    for row in rows(sys.argv[1:]):
        print(json.dumps(row, ensure_ascii=False))
