"""The database layer: instants, search in Spanish, keyset pages, marked columns, migrations equal to the models."""

from contextlib import nullcontext, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import hypothesis
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from crm import backup, clock, copies, files, history
from crm.config import Settings
from crm.database import Base, Database, contains, keyset_page, make_engine, make_job_engine, raise_ids, search_key, sort_key
from crm.errors import InvalidInput
from crm.kept import KEPT_MOST, kept
from crm.mailing import models as mailing
from crm.mailing.models import Attempt, Delivery, DeliveryState
from crm.outreach import models as outreach
from crm.people import models as people
from crm.people.models import Language, Tag
from crm.staff import models as staff
from tests.conftest import ROOT, Server, migrate
from tests.mailing.factories import begun

ALL = (backup, copies, files, history, staff, people, outreach, mailing)


def test_migrations_equal_the_models(database_url: str) -> None:
    config = Config(str(ROOT / "alembic.ini"))
    config.set_main_option("script_location", str(ROOT / "migrations"))
    engine = make_engine(database_url)
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.check(config)
    engine.dispose()


def test_migrations_go_down_and_up_again(server: Server, template: str, worker: str) -> None:
    url = server.create(f"crm_down_{worker}", template)
    migrate(url, "base", down=True)
    engine = make_engine(url)
    with engine.connect() as connection:
        assert set(sa.inspect(connection).get_table_names()) <= {"alembic_version"}
    engine.dispose()
    migrate(url)
    server.drop(f"crm_down_{worker}")


def test_a_ledger_with_attempts_goes_down_and_up_again_whole(database: Database, settings: Settings, database_url: str) -> None:
    """On SQLite a table that others refer to is made anew."""

    def rows() -> list[Any]:
        with database.session(write=False) as session:
            tried = sa.select(Attempt.id, Delivery.contact_id, Delivery.address_hash).join(
                Delivery, Delivery.id == Attempt.delivery_id
            )
            return list(session.execute(tried.order_by(Attempt.id)))

    with database.session() as session:
        send = begun(session, settings, 3)
        for delivery in session.scalars(sa.select(Delivery)):
            session.add(Attempt(delivery_id=delivery.id, at=clock.now(), state=DeliveryState.DEFERRED))
    before = rows()
    migrate(database_url, "0014", down=True)
    migrate(database_url)
    assert len(before) == 3
    assert rows() == before
    if settings.sqlalchemy_url.startswith("sqlite"):
        with database.session(write=False) as session:
            assert session.connection().exec_driver_sql("PRAGMA foreign_key_check").all() == []
    with pytest.raises(sa.exc.IntegrityError), database.session() as session:
        again = Delivery(send_id=send.id, contact_id=before[0][1], language=Language.SPANISH, due_at=clock.now())
        session.add(again)


def test_a_table_made_anew_gives_no_id_again(database: Database, settings: Settings, database_url: str) -> None:
    """What was raised by a restore must outlive the next release: an old link would take out somebody else."""
    migrate(database_url, "0014", down=True)
    with database.session() as session:
        raise_ids(session.connection(), {"delivery": 1_000_000})
    migrate(database_url)
    with database.session() as session:
        begun(session, settings, 2)
        assert session.scalar(sa.select(sa.func.min(Delivery.id))) == 1_000_001
    migrate(database_url, "0014", down=True)
    migrate(database_url)
    with database.session() as session:
        session.execute(sa.delete(Attempt))
        session.execute(sa.delete(Delivery))
        session.add(Delivery(send_id=1, contact_id=1, language=Language.SPANISH, due_at=clock.now()))
        session.flush()
        assert session.scalar(sa.select(Delivery.id)) == 1_000_003, "nor that of a row that is gone"


def test_every_text_column_says_whether_it_is_personal() -> None:
    unmarked = [
        f"{table.name}.{column.name}"
        for table in Base.metadata.sorted_tables
        for column in table.columns
        if isinstance(column.type, sa.String | sa.JSON | sa.LargeBinary) and "personal" not in column.info
    ]
    assert unmarked == []


def test_refuses_a_naive_datetime(session: Session) -> None:
    session.add(people.Contact(sort_key="", search_key="", created_at=datetime(2026, 1, 1)))  # noqa: DTZ001  # the point
    with pytest.raises(sa.exc.StatementError, match="naive"):
        session.flush()
    session.rollback()


def test_keeps_the_instant_of_an_aware_datetime(database: Database) -> None:
    told = datetime.fromisoformat("2027-01-07T18:00:00-06:00")
    with database.session() as session:
        session.add(people.Contact(sort_key="", search_key="", created_at=told))
    with database.session(write=False) as session:
        kept = session.scalars(sa.select(people.Contact.created_at)).one()
    assert kept == told
    assert kept.tzinfo is UTC


def test_orders_surnames_as_spanish_does() -> None:
    names = ["Ñáñez", "Zúñiga", "Nzi", "Álvarez", "de la Cruz", "Núñez", "Alvarez", "De León", "Muñoz", "Nunez", "Munoz", "Oropeza"]
    assert sorted(names, key=lambda name: (sort_key(name), name)) == [
        "Alvarez", "Álvarez", "de la Cruz", "De León", "Munoz", "Muñoz", "Nunez", "Núñez", "Nzi", "Ñáñez", "Oropeza", "Zúñiga",
    ]  # fmt: skip


def test_finds_without_accents_or_case(session: Session) -> None:
    session.add(Tag(name="Núñez 100%", key=search_key("Núñez 100%")))
    session.flush()
    for text, hits in (("NUNEZ", 1), ("nuñez", 1), ("100%", 1), ("n_nez", 0), ("%", 1), ("ez nu", 1)):
        assert session.scalar(sa.select(sa.func.count()).select_from(Tag).where(contains(Tag.key, text))) == hits, text


@given(st.text())
def test_search_key_folds_twice_to_the_same(text: str) -> None:
    assert search_key(search_key(text)) == search_key(text)


def test_walks_a_list_by_keyset_without_losing_or_repeating(session: Session) -> None:
    session.add_all(Tag(name=f"t{n}", key=f"{n // 3:03}-{n}") for n in range(23))
    session.flush()
    for descending in (False, True):
        seen: list[str] = []
        cursor = None
        while True:
            rows, cursor = keyset_page(
                session, sa.select(Tag.name), [Tag.key, Tag.id], cursor=cursor, limit=5, descending=descending
            )
            seen += [row.name for row in rows]
            if cursor is None:
                break
        assert len(seen) == len(set(seen)) == 23


@given(st.text())
def test_refuses_a_cursor_it_did_not_make(text: str) -> None:
    with pytest.raises(InvalidInput, match="cursor_invalid"):
        keyset_page(Session(), sa.select(Tag.id), [Tag.id], cursor="x" + text)


def test_logs_who_changed_what_with_personal_values_apart(database: Database) -> None:
    actor = history.Actor(history.ActorKind.ACCOUNT, 7)
    with database.session(actor=actor, why="prueba") as session:
        contact = people.Contact(given_names="Ana", sort_key="ana", search_key="ana", source="a mano")
        session.add(contact)
        session.flush()
        contact.given_names = "Anita"
        contact.source = "corregido"
    with database.session(write=False) as session:
        change, creation = history.changes_of(session, "contact", contact.id)
        assert (change.action, change.actor_id, change.why) == (history.Action.CHANGE, 7, "prueba")
        assert change.fields == {"source": ["a mano", "corregido"]}
        beside = session.get(history.ChangePersonal, change.id)
        assert beside is not None
        assert beside.fields == {"given_names": ["Ana", "Anita"]}
        assert creation.action is history.Action.CREATE
        assert "Ana" not in str(creation.fields)


def test_rolls_back_the_log_with_the_change(database: Database) -> None:
    with pytest.raises(RuntimeError), database.session() as session:
        session.add(Tag(name="t", key="t"))
        session.flush()
        raise RuntimeError
    with database.session(write=False) as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(history.Change)) == 0
    assert clock.now().tzinfo is UTC


DEEDS = ("read", "add", "add in vain", "delete")


@given(st.lists(st.tuples(st.sampled_from(DEEDS), st.booleans()), max_size=12))
@hypothesis.settings(max_examples=15, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
def test_keeps_an_answer_only_until_something_changes(database: Database, deeds: list[tuple[str, bool]]) -> None:
    """Two connections read and write in turn: what is kept is always what the rows would tell."""

    def check(session: Session) -> None:
        def count() -> int:
            return session.scalar(sa.select(sa.func.count(Tag.id))) or 0

        assert kept(session, "tags", count) == count()

    for deed, on_second in deeds:
        with database.session(write=False) if on_second else nullcontext() as first:
            if first:
                first.connection()  # taken, so that the next session has the other one
            if deed == "read":
                with database.session(write=False) as session:
                    check(session)
                continue
            with suppress(ZeroDivisionError), database.session() as session:
                session.execute(sa.delete(Tag) if deed == "delete" else sa.insert(Tag).values(name="uno", key=uuid4().hex))
                check(session)
                1 / (deed != "add in vain")
        with database.session(write=False) as session:
            check(session)


def test_asks_once_while_nothing_changes_and_keeps_no_more_than_it_may(database: Database) -> None:
    asked: list[int] = []
    for number in (1, 1, *range(2, KEPT_MOST + 1), 1, KEPT_MOST + 1, 1):
        with database.session(write=False) as session:
            kept(session, number, partial(asked.append, number))
    assert asked == [*range(1, KEPT_MOST + 2), 1]


def test_tells_the_job_engine_the_time_whatever_the_version_of_sqlite(tmp_path: Path) -> None:
    """DBOS on Python 3.12 keeps its instants by `unixepoch('subsec')`, which SQLite before 3.42 answers with NULL."""
    engine = make_job_engine(f"sqlite:///{tmp_path / 'jobs.db'}")
    with engine.connect() as connection:
        told = connection.execute(sa.text("SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER)")).scalar_one()
    engine.dispose()
    assert abs(told - clock.now().timestamp() * 1000) < 60_000
