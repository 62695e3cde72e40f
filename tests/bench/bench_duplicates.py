"""How long 100,000 people take to be compared with each other, and in what memory, on both engines.

Beside a peer: what is written in an hour with the same library, every pair of one first surname in one country, weighed by the
similarity of whole names. It is measured on a part of the people and reckoned up by its pairs, since all would take hours.
Each run is a process of its own, so that its memory is its own. `python -m tests.bench.bench_duplicates`.
"""

import json
import resource
import subprocess
import sys
import time
from contextlib import ExitStack
from itertools import combinations
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from rapidfuzz.fuzz import token_sort_ratio

from crm.config import Settings
from crm.database import Database, refresh_statistics
from crm.demo.names import Namer
from crm.keys import load_keys
from crm.people import duplicates
from tests.bench.duplicates import Row, store
from tests.conftest import migrate, own_postgresql, postgresql_server, sqlite_server

COUNT = 100_000
CITIES = 300
PEER_PEOPLE = 4_000
SEED = 8_152


def people(count: int) -> list[Row]:
    """The names of the demo, drawn over and over, in cities of unequal size; four of a hundred are there twice."""
    chance = Random(SEED)
    namer = Namer(chance)
    weights = [1 / (place + 5) for place in range(CITIES)]
    rows: list[Row] = []
    for number in range(count):
        if rows and chance.random() < 0.04:
            one = chance.choice(rows[-5_000:])
            rows.append((*one[:3], "", [f"{mail.replace('@', '+red@')}" for mail in one[4]], *one[5:]))
            continue
        if number % 1_000 == 0:
            namer = Namer(chance)  # which gives no name twice
        name = namer.two_surnames()
        mail = f"{name.given.split()[0]}.{name.first.replace(' ', '')}{chance.randrange(10_000)}@example.org".lower()
        phone = f"+1 555 {chance.randrange(10**7):07}" if chance.random() < 0.5 else ""
        city = f"Ciudad {chance.choices(range(CITIES), weights)[0]}"
        rows.append((number, name.given, name.first, name.second, [mail], phone, city, "US"))
    return rows


def rows() -> list[dict[str, Any]]:
    """Rows of build/bench.json: seconds of each engine, megabytes of its process, and the ratio to the peer."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="crm_bench_duplicates_")))
        postgresql = postgresql_server(stack.enter_context(own_postgresql()).get_uri())
        urls = {"sqlite": sqlite_server(folder).create("red", None), "postgresql": postgresql.create("red", None)}
        told = {engine: _measured(url, folder) for engine, url in urls.items()}
    peer = _peer_seconds()
    found = [
        {"case": f"{COUNT:,} people compared", "subject": f"ours {engine} 1 process", "unit": "s", "median": one["seconds"]}
        | {
            "min": one["seconds"],
            "max": one["seconds"],
            "ratio_to": "all pairs of a surname",
            "ratio": round(one["seconds"] / peer, 4),
        }
        | {"megabytes": one["megabytes"], "cpu_us": round(one["cpu"] / COUNT * 1e6), "pairs": one["pairs"]}
        for engine, one in told.items()
    ]
    case = {"case": f"{COUNT:,} people compared", "subject": "all pairs of a surname", "unit": "s", "median": round(peer)}
    return [*found, case | {"min": round(peer), "max": round(peer), "ratio_to": "all pairs of a surname", "ratio": 1.0}]


def _measured(url: str, folder: Path) -> dict[str, float]:
    migrate(url)
    settings = Settings(database_url=url, data_dir=folder, secret_key="a secret of the benches", demo=False)
    database = Database(settings, load_keys(folder))
    with database.session() as session:
        store(session, people(COUNT))
    with database.session() as session:
        refresh_statistics(session)
    database.dispose()
    module = [sys.executable, "-m", "tests.bench.bench_duplicates", url, str(folder)]
    answer: dict[str, float] = json.loads(subprocess.run(module, check=True, capture_output=True, text=True).stdout)
    return answer


def _compare(url: str, folder: str) -> dict[str, float]:
    """In a process that does nothing else."""
    settings = Settings(database_url=url, data_dir=Path(folder), secret_key="a secret of the benches", demo=False)
    database = Database(settings, load_keys(Path(folder)))
    began = time.perf_counter()
    duplicates.compare_everybody(database)
    seconds = time.perf_counter() - began
    with database.session(write=False) as session:
        pairs = sum(duplicates.counts(session).values())
    database.dispose()
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "seconds": round(seconds, 1),
        "cpu": round(used.ru_utime + used.ru_stime, 1),
        "megabytes": round(used.ru_maxrss / 1024),
        "pairs": pairs,
    }


def _peer_seconds() -> float:
    """Of the first people, reckoned up by the square of their number: a surname has so many more bearers."""
    blocks: dict[str, list[str]] = {}
    for _, given, first, second, *_rest in people(PEER_PEOPLE):
        blocks.setdefault(first, []).append(f"{given} {first} {second}")
    began = time.perf_counter()
    for block in blocks.values():
        for one, other in combinations(block, 2):
            token_sort_ratio(one, other)
    return (time.perf_counter() - began) * (COUNT / PEER_PEOPLE) ** 2


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(_compare(*sys.argv[1:3])))
    else:
        for row in rows():
            print(row)
