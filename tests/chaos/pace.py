"""The pace of a relay over three workers: `python -m tests.chaos.pace [MINUTES]` hands over at 30 per minute and counts.

It ends with an error when more than 30 left in any 60 seconds, or fewer than 28 in any 60 while there was work.
"""

import os
import subprocess
import sys
import time
from bisect import bisect_left
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from crm.config import Settings
from crm.database import Database
from crm.keys import load_keys
from tests.bench import crowd
from tests.chaos.storm import SECRET
from tests.conftest import migrate, own_postgresql, postgresql_server
from tests.mailing.mail_server import MailServer, running
from tests.product import CRM

PER_MINUTE, WORKERS = 30, 3


def measure(minutes: float) -> tuple[int, int, int]:
    """Mails that left, and the most and the fewest of them in any 60 seconds."""
    left: list[float] = []
    server = MailServer(on_data=lambda _: left.append(time.monotonic()))
    with TemporaryDirectory(prefix="crm_pace_") as directory, ExitStack() as stack:
        folder = Path(directory)
        url = postgresql_server(stack.enter_context(own_postgresql()).get_uri()).create("pace", None)
        migrate(url)
        settings = Settings(database_url=url, data_dir=folder, secret_key=SECRET, demo=False)
        database = Database(settings, load_keys(folder))
        with database.session() as session:
            crowd.begun(session, settings, 1500, 4096).by_catcher = False
        database.dispose()
        stack.enter_context(running(server))
        told = {"CRM_DATABASE_URL": url.replace("postgresql+psycopg://", "postgresql://"), "CRM_DATA_DIR": directory}
        told |= {"CRM_SECRET_KEY": SECRET, "CRM_SMTP_URL": f"{server.url}&per_minute={PER_MINUTE}"}
        for _ in range(WORKERS):
            worker = subprocess.Popen(
                [CRM, "worker"], env={**os.environ, **told}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            stack.callback(worker.wait)
            stack.callback(worker.terminate)
        time.sleep(minutes * 60 + 15)
    windows = [bisect_left(left, since + 60) - number for number, since in enumerate(left) if since + 60 <= left[-1]]
    return len(left), max(windows), min(windows)


if __name__ == "__main__":
    count, most, fewest = measure(float(sys.argv[1]) if len(sys.argv) > 1 else 4)
    Console().print(
        f"{count} mails by {WORKERS} workers at {PER_MINUTE} per minute: at most {most} and at least {fewest} in any 60 seconds"
    )
    if most > PER_MINUTE or fewest < 28:
        raise SystemExit(1)
