"""`make chaos`: kill -9, rude mail servers and database restarts, on both databases, with one and with three workers.

CHAOS_KILLS (50) is the number of kills of each cell. It ends with an error when somebody got a mail twice or was lost.
"""

import os
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from tests.chaos.storm import Account, Storm
from tests.conftest import own_postgresql, postgresql_server, sqlite_server

RUDENESS = 1 / 250
KILLS = int(os.environ.get("CHAOS_KILLS", "50"))
CELLS = {
    "sqlite, 1 worker": ("sqlite", 1, "kill -9"),
    "postgresql, 1 worker": ("postgresql", 1, "kill -9"),
    "postgresql, 3 workers": ("postgresql", 3, "kill -9"),
    "sqlite, 1 worker, rude server": ("sqlite", 1, "rude"),
    "postgresql, 3 workers, rude server": ("postgresql", 3, "rude"),
    "postgresql, 3 workers, database restarts": ("postgresql", 3, "restarts"),
}
"""SQLite has one worker by design: a lock file keeps others out."""


def storm(name: str, kills: int, console: Console) -> Account:
    engine, workers, trouble = CELLS[name]
    with TemporaryDirectory(prefix="crm_chaos_") as directory, ExitStack() as stack:
        folder, restart = Path(directory), None
        server = sqlite_server(folder)
        if engine == "postgresql":
            postgresql = stack.enter_context(own_postgresql())
            server = postgresql_server(postgresql.get_uri())

            def restart_postgresql() -> None:
                pid = postgresql.get_pid()
                assert pid is not None
                os.kill(pid, signal.SIGQUIT)  # as a crash: it recovers from its log
                while _lives(pid):
                    time.sleep(0.05)
                postgresql.ensure_postgres_running()

            restart = restart_postgresql if trouble == "restarts" else None
        made = Storm(folder, server, workers, kills, rudeness=RUDENESS if trouble == "rude" else None, restart_database=restart)
        return made.run(lambda words: console.print(f"{name}: {words}", highlight=False))


def _lives(pid: int) -> bool:
    """Whether a process runs; one that ended and waits to be asked for its end does not."""
    told = Path(f"/proc/{pid}/stat")
    try:
        return told.read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def main() -> None:
    console, broken = Console(stderr=True), []
    table = Table("cell", "sends", "kills", "sent", "twice", "lost", "in doubt", "of them left", "minutes")
    for name in [name for name in CELLS if all(word in name for word in sys.argv[1:])]:
        began = time.monotonic()
        account = storm(name, KILLS, console)
        broken += [f"{name}: {words}" for words in account.broken()]
        told = (account.sends, account.kills, account.sent, account.twice, account.lost, account.in_doubt, account.of_them_left)
        table.add_row(name, *map(str, told), f"{(time.monotonic() - began) / 60:.1f}")
    Console().print(table)
    if broken:
        raise SystemExit("\n".join(broken))


main()
