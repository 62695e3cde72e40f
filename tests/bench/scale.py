"""What grows with the size of a send: `python -m tests.bench.scale 1500 100000 1000000` (engine: BENCH_ENGINE=postgresql).

For each number of people: seconds until the deliveries are written, mails per second to the sink, the sender's memory, and the
milliseconds that the counts of its page take."""

import json
import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from crm.config import Settings
from crm.database import Database
from crm.keys import load_keys
from crm.mailing import deliveries
from tests.bench import crowd, sinks
from tests.bench.bench_sending import Bench, measured
from tests.conftest import migrate

SIZE = 4096
ENGINE = os.environ.get("BENCH_ENGINE", "sqlite")


def measure(bench: Bench, count: int) -> dict[str, float]:
    url = bench.server(ENGINE).create(f"scale_{count}", None)
    migrate(url)
    settings = Settings(database_url=url, data_dir=bench.folder, secret_key="a secret of the benches", demo=False)
    database = Database(settings, load_keys(bench.folder))
    with database.session() as session:
        crowd.people(session, count)
    began = time.perf_counter()
    with database.session() as session:
        crowd.begun(session, settings, 0, SIZE)
    written = time.perf_counter() - began
    module = [sys.executable, "-m", "tests.bench.senders.ours", url, str(bench.folder)]
    with sinks.running(bench.folder) as sink:
        run = measured([[*module, str(sink.port), "10"]], count)
    began = time.perf_counter()
    with database.session(write=False) as session:
        sent = deliveries.counts(session, 1).sent
    counted = (time.perf_counter() - began) * 1000
    database.dispose()
    bench.server(ENGINE).drop(f"scale_{count}")
    told = {"people": count, "sent": sent, "seconds_to_write": round(written, 1), "mails_per_second": round(run.rate)}
    return told | {"megabytes": round(run.megabytes), "milliseconds_to_count": round(counted)}


def main() -> None:
    with TemporaryDirectory(prefix="crm_scale_") as directory, ExitStack() as stack:
        bench = Bench(Path(directory), stack)
        for count in map(int, sys.argv[1:]):
            print(json.dumps(measure(bench, count)), flush=True)


main()
