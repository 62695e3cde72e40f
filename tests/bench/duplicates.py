"""How well duplicates are found: `python -m tests.bench.duplicates [SEED ...]` prints precision, recall and F1 by grade.

On the dirt of the demo, and on people of other seeds, other names and other kinds of errors (`strangers.py`). The weights were
tuned on the seeds 1 to 4; the default seeds are others. Each case is a database of its own, compared as the product does.
"""

import re
import sys
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm import clock
from crm.config import Settings
from crm.database import Database, insert_many
from crm.demo import network
from crm.keys import load_keys
from crm.people import duplicates
from crm.people.duplicate_models import DuplicatePair
from crm.people.evidence import Grade
from crm.people.models import Contact, EmailAddress, Language
from tests.bench.strangers import Crowd
from tests.conftest import migrate

SEEDS = (101, 102, 103, 104, 105)
TUNED_ON = (1, 2, 3, 4)
SIZES = (1_500, 10_000)

Row = tuple[int, str, str, str, Sequence[str], str, str | None, str | None]
"""Person, given names, surnames, addresses, telephone, city as typed and country."""


def store(session: Session, rows: Sequence[Row]) -> None:
    """Write people as they are, without what else coming in does; their ids are their places from 1 on."""
    at, language = clock.now(), Language.SPANISH
    people, addresses = [], []
    for number, (_, given, first, second, mails, phone, city, country) in enumerate(rows, 1):
        names = {"given_names": given, "first_surname": first, "second_surname": second or None, "phone": phone or None}
        place = {"city_as_typed": city, "country": country, "language": language, "sort_key": "", "search_key": ""}
        people.append({"id": number, **names, **place, "created_at": at, "changed_at": at, "version": 1})
        addresses += [{"contact_id": number, "address": mail, "key": mail.lower()} for mail in dict.fromkeys(mails)]
    insert_many(session, Contact, people)
    shared = {"is_preferred": True, "retired_at": at, "created_at": at}  # retired, since two strangers may have one address
    insert_many(
        session,
        EmailAddress,
        [{"id": number, "suppression_hash": str(number), **row, **shared} for number, row in enumerate(addresses, 1)],
    )


def of_demo() -> list[Row]:
    """The people of the demo: the number in an address tells whose second record it is."""
    people = network.invent().people
    numbers = {one.number: int(re.sub(r"\D", "", one.address.partition("@")[0])[-4:]) for one in people if one.is_twice}
    return [
        (
            *(numbers.get(one.number, one.number + 10_000), one.name.given, one.name.first, one.name.second),
            *([mail.lower() for mail in (one.address, one.second_address) if mail], one.phone, one.city or None, one.home.country),
        )
        for one in people
    ]


def of_strangers(seed: int, count: int) -> list[Row]:
    return [
        (
            *(one.person, one.given, one.first, one.second, [one.address] if one.address else [], one.phone),
            *(None if one.city is None else f"Ciudad {one.city}", "US"),
        )
        for one in Crowd(seed).make(count)
    ]


def judged(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Precision, recall and F1 of the pairs of each grade and those surer, compared in a database of their own."""
    with TemporaryDirectory(prefix="crm_duplicates_") as directory:
        url = f"sqlite:///{directory}/red.db"
        migrate(url)
        database = Database(Settings(database_url=url, data_dir=Path(directory), demo=False), load_keys(Path(directory)))
        with database.session() as session:
            store(session, rows)
        duplicates.compare_everybody(database)
        with database.session(write=False) as session:
            found = session.execute(sa.select(DuplicatePair.low_id, DuplicatePair.high_id, DuplicatePair.grade)).all()
        database.dispose()
    return [_scored(grade, found, _truth(rows)) for grade in reversed(list(Grade))]


def _truth(rows: Sequence[Row]) -> set[tuple[int, int]]:
    groups: dict[int, list[int]] = {}
    for number, row in enumerate(rows, 1):
        groups.setdefault(row[0], []).append(number)
    return {pair for group in groups.values() for pair in combinations(group, 2)}


def _scored(least: Grade, found: Sequence[Any], truth: set[tuple[int, int]]) -> dict[str, Any]:
    order = list(Grade)
    told = {(low, high) for low, high, grade in found if order.index(grade) <= order.index(least)}
    right = len(told & truth)
    precision, recall = right / max(1, len(told)), right / max(1, len(truth))
    f1 = 2 * precision * recall / max(1e-9, precision + recall)
    figures = {"precision": round(precision, 3), "recall": round(recall, 3), "f1": round(f1, 3)}
    return {"from": least.value, "true": len(truth), "told": len(told), **figures}


def main() -> None:
    seeds = [int(told) for told in sys.argv[1:]] or SEEDS
    cases: list[tuple[str, Callable[[], list[Row]]]] = [("demo", of_demo)]
    cases += [(f"strangers {size:,}, seed {seed}", lambda s=seed, n=size: of_strangers(s, n)) for size in SIZES for seed in seeds]  # type: ignore[misc]
    for name, make in cases:
        for row in judged(make()):
            print(f"{name:28}", row, flush=True)


if __name__ == "__main__":
    main()
