"""The drill: a backup in the middle of a send, the rest leaves, people go; after the restore nobody gets anything twice."""

import errno
import hashlib
import json
import resource
import shutil
import subprocess
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
import time_machine
from sqlalchemy.orm import Session

from crm import archive, backup, clock, copies, jobs, migration, restoring
from crm.backup import Backup, BackupState, Trouble
from crm.config import Settings
from crm.database import JOURNAL_FILE, Database, keys_of, new_ids
from crm.errors import SENTENCES, CrmError
from crm.history import Change
from crm.keys import KEYS_FILE, load_keys
from crm.mailing import decisions, deliveries, links, notices, sends
from crm.mailing.decisions import Decision
from crm.mailing.models import Delivery, DeliveryState, Notice, NoticeMail, Send, SendMode, SendState
from crm.mailing.schemas import SendIn, When
from crm.people import bulk_actions, consent, contacts, withdrawals
from crm.people.installation import open_database
from crm.people.models import BulkAction, BulkKind, Consent, ConsentState, Contact, EmailAddress, Organization, Suppression
from crm.people.schemas import ContactPatch
from crm.people.taking_in import take_in_many
from crm.staff import accounts
from crm.staff.models import Role
from tests.commands import crm
from tests.conftest import ENGINE, Server, fold, migrate
from tests.mailing.factories import NOW, PURPOSE, campaign, marker, move, network, states, way
from tests.mailing.mail_server import MailServer, running
from tests.people.factories import address_of, consent_in, contact_in, revoke
from tests.product import created, main_job, product, wait_for
from tests.test_main_job import SCOPES, noisy_picture

S = DeliveryState
PEOPLE, EARLY = 24, 9


@contextmanager
def started(settings: Settings) -> Iterator[Database]:
    """An installation as its worker finds it."""
    database = open_database(settings)
    copies.look(database, settings)
    try:
        yield database
    finally:
        database.dispose()


def everything_due(database: Database, settings: Settings, server: MailServer) -> int:
    """What one look of a worker would let leave."""
    with database.session(write=False) as session:
        due = {number for number, _ in (*jobs.due_to_start(session), *deliveries.sends_with_due(session))}
        assert notices.due(session) == []
    for number in due:
        with database.session() as session:
            sends.start(session, number, settings)
    return sum(move(database, number, way(settings, server)) for number in due)


def leave(database: Database, send_id: int, address: str) -> None:
    """The person uses the link of a mail."""
    with database.session() as session:
        number = session.scalar(sa.select(Delivery.id).where(Delivery.send_id == send_id, Delivery.address == address))
        links.leave(session, keys_of(session).sign_link("delivery", number or 0))


def ordered(session: Session, settings: Settings, when: When = NOW) -> int:
    return sends.order(session, campaign(session).id, SendIn(when=when, undo_seconds=0), settings).id


class Drill:
    """One life of an installation: what was ordered, and what its mail server took before and after the backup."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings, self.file = settings, folder / "respaldo.zip"
        self.server = MailServer()
        self.begun = self.due = self.to_come = self.after = 0

    def live(self) -> None:
        with running(self.server), started(self.settings) as database:
            with database.session() as session:
                network(session, PEOPLE)
                self.begun = ordered(session, self.settings)
            with database.session() as session:
                sends.start(session, self.begun, self.settings)
            enough: Callable[[], bool] = lambda: len(self.server.accepted) >= EARLY  # noqa: E731
            move(database, self.begun, way(self.settings, self.server), enough)
            with database.session() as session:
                self.due = ordered(session, self.settings)
                self.to_come = ordered(session, self.settings, When(mode=SendMode.AT, at=clock.now() + timedelta(days=1)))
            self.early = len(self.server.accepted)
            backup.write(self.settings, self.file)
            everything_due(database, self.settings, self.server)
            leave(database, self.begun, address_of(3))
            with database.session() as session:
                self.after = ordered(session, self.settings)
            everything_due(database, self.settings, self.server)
            leave(database, self.after, address_of(4))
            with database.session(write=False) as session:
                self.lost_delivery = session.scalars(sa.select(sa.func.max(Delivery.id))).one()
                self.lost_contact = session.scalars(sa.select(sa.func.max(Contact.id))).one()
        assert EARLY <= self.early < PEOPLE
        assert self.server.recipients[address_of(0)] == 3


@pytest.fixture
def drill(settings: Settings, tmp_path: Path) -> Drill:
    made = Drill(settings, tmp_path)
    made.live()
    return made


def test_nobody_gets_anything_twice_after_a_restore(drill: Drill, settings: Settings) -> None:
    done = restoring.restore(settings, drill.file, replace=True)
    assert (done.held.begun, done.held.may_have_left, done.held.to_come) == (1, 1, 1)
    assert (done.suppressions, done.rows["contact"]) == (2, PEOPLE)
    before = Counter(drill.server.recipients)
    with started(settings) as database, running(MailServer()) as server:
        assert everything_due(database, settings, server) == 0, "nothing leaves before a person says so"
        with database.session(write=False) as session:
            assert set(session.scalars(sa.select(Send.state))) == {SendState.HELD}
            assert states(session, drill.begun) == {S.SENT: drill.early, S.IN_DOUBT: PEOPLE - drill.early}
            would_have = [row.address for row in session.scalars(sa.select(Delivery).where(Delivery.state == S.IN_DOUBT))]
            assert all(before[address or ""] for address in would_have), "each of them has it already: it would have been twice"
            assert session.scalar(sa.select(sa.func.count()).select_from(Suppression)) == 2
        with database.session() as session, pytest.raises(CrmError, match="send_begun"):
            sends.stop_and_edit(session, drill.due)  # its campaign is no draft: it may have left
        for number in (drill.begun, drill.due, drill.to_come):
            with database.session() as session:
                sends.resume(session, number, settings)
        assert everything_due(database, settings, server) == 0
        with database.session(write=False) as session:
            whole = PEOPLE - 2
            assert states(session, drill.due) == {S.IN_DOUBT: whole, S.SKIPPED: 2}, "who left is not even in doubt"
            assert sends.get(session, drill.to_come).state is SendState.SCHEDULED
        with database.session() as session:
            assert decisions.decide_doubt(session, drill.due, Decision.TAKE_AS_SENT, "Registro del servidor") == whole
            chosen = session.scalars(
                sa.select(Delivery.id).where(Delivery.send_id == drill.begun, Delivery.state == S.IN_DOUBT)
            ).all()
            decisions.decide_doubt(session, drill.begun, Decision.SEND_AGAIN, "El servidor no los tiene", chosen[:2])
        assert everything_due(database, settings, server) == 2, "what a person decided leaves, and only that"
        assert max(server.recipients.values()) == 1
        assert not {address_of(3), address_of(4)} & set(server.recipients)


def test_a_link_of_a_lost_mail_takes_out_nobody_else(drill: Drill, settings: Settings) -> None:
    restoring.restore(settings, drill.file, replace=True)
    with started(settings) as database:
        with database.session() as session:
            ids = network(session, 3, first=500)
            assert min(ids) > drill.lost_contact
            (change,) = new_ids(session, Change.__table__, 1)
            assert change > copies.ID_GAP
            session.add(Organization(name="Club", key="club"))
            sends.start(session, ordered(session, settings), settings)
        with database.session() as session:
            assert (
                session.scalars(sa.select(sa.func.min(Delivery.id)).where(Delivery.send_id > drill.after)).one()
                > drill.lost_delivery
            )
            gone = session.scalar(sa.select(sa.func.count()).select_from(Suppression))
            links.leave(session, keys_of(session).sign_link("delivery", drill.lost_delivery))
            assert session.scalar(sa.select(sa.func.count()).select_from(Suppression)) == gone


def test_a_notice_that_waited_is_not_mailed_again(settings: Settings, tmp_path: Path) -> None:
    with started(settings) as database:
        with database.session() as session:
            network(session, 2)
            session.add(Notice(send_id=ordered(session, settings), state=SendState.DONE))
        backup.write(settings, tmp_path / "a.zip")
    restoring.restore(settings, tmp_path / "a.zip", replace=True)
    with started(settings) as database, database.session(write=False) as session:
        assert session.scalars(sa.select(Notice.mail)).all() == [NoticeMail.DROPPED]


# --- files that are no good ---------------------------------------------------------------------------------------------------


@pytest.fixture
def kept(settings: Settings, tmp_path: Path) -> Path:
    """A backup of an installation with three people."""
    with started(settings) as database:
        with database.session() as session:
            network(session, 3)
        return backup.write(settings, tmp_path / "a.zip").path


def people(settings: Settings) -> int:
    with started(settings) as database, database.session(write=False) as session:
        return session.scalar(sa.select(sa.func.count()).select_from(Contact)) or 0


def refused(settings: Settings, path: Path, *, replace: bool = True) -> str:
    with pytest.raises(CrmError) as caught:
        restoring.restore(settings, path, replace=replace)
    assert caught.value.sentence
    return caught.value.code


def spoiled(path: Path, how: str) -> Path:
    body = bytearray(path.read_bytes())
    other = path.with_name(f"{how}.zip")
    if how == "cut":
        del body[len(body) // 2 :]
    elif how == "flipped":
        body[len(body) // 2] ^= 0xFF
    elif how == "text":
        body = bytearray(b"nombre,correo\n")
    elif how == "zip":
        with zipfile.ZipFile(other, "w") as file:
            file.writestr("hola.txt", "hola")
        return other
    elif how == "more":
        shutil.copy(path, other)
        with zipfile.ZipFile(other, "a") as file:
            file.writestr("data/../../otro", "x")
        return other
    other.write_bytes(body)
    return other


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ("cut", "backup_damaged"),
        ("flipped", "backup_damaged"),
        ("text", "backup_not_ours"),
        ("zip", "backup_not_ours"),
        ("more", "backup_damaged"),
    ],
)
def test_refuses_a_file_that_is_no_whole_backup_and_touches_nothing(settings: Settings, kept: Path, how: str, code: str) -> None:
    assert refused(settings, spoiled(kept, how)) == code
    assert people(settings) == 3


def crafted(path: Path, manifest: dict[str, object], lines: bytes | None = None) -> Path:
    """A backup whose manifest says something else and, with its own hash, whose contacts are these lines."""
    other, table = path.with_name("crafted.zip"), "tables/contact.jsonl"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(other, "w") as file:
        told = json.loads(old.read(archive.MANIFEST))
        for name in (name for name in old.namelist() if name != archive.MANIFEST):
            body = lines if name == table and lines is not None else old.read(name)
            told["sha256"][name] = hashlib.sha256(body).hexdigest()
            file.writestr(name, body)
        file.writestr(archive.MANIFEST, json.dumps(told | manifest))
    return other


@pytest.mark.parametrize(
    ("manifest", "lines", "code"),
    [
        ({"made_at": None}, None, "backup_damaged"),
        ({"rows": ["contact"]}, None, "backup_damaged"),
        ({"columns": {"contact": 3}}, None, "backup_damaged"),
        ({"version": "1"}, None, "backup_not_ours"),
        ({"rows": {"x": 1}, "columns": {"x": ["y"]}}, None, "restore_not_whole"),
        ({}, b"1\n2\n3\n", "restore_not_whole"),
        ({}, b"[" * 100_000 + b"\n", "restore_not_whole"),
        ({}, b"[1%030d]\n[]\n[]\n" % 1, "restore_not_whole"),
        ({}, b'[{"a": 1}]\n[]\n[]\n', "restore_not_whole"),
    ],
)
def test_refuses_what_no_product_wrote_and_touches_nothing(
    settings: Settings, kept: Path, manifest: dict[str, object], lines: bytes | None, code: str
) -> None:
    assert refused(settings, crafted(kept, manifest, lines)) == code
    assert people(settings) == 3


def test_refuses_to_write_over_anything_unless_told(settings: Settings, kept: Path) -> None:
    assert refused(settings, kept, replace=False) == "restore_not_empty"
    with pytest.raises(CrmError, match="backup_exists"):
        backup.write(settings, kept)
    with started(settings) as database, database.session() as session:
        network(session, 1, first=90)
    done = restoring.restore(settings, kept, replace=True)
    assert people(settings) == 3
    assert done.previous is not None
    assert done.previous.stat().st_mode & 0o777 == 0o600
    restoring.restore(settings, done.previous, replace=True)
    assert people(settings) == 4, "what was there had been kept"


def test_refuses_other_keys_and_a_backup_from_the_future(
    settings: Settings, kept: Path, server: Server, worker: str, template: str
) -> None:
    url = server.create(f"crm_other_{worker}", template)
    other = settings.model_copy(update={"data_dir": settings.data_dir / "otra", "database_url": url})
    load_keys(other.data_dir)
    assert refused(other, kept, replace=False) == "restore_other_keys"
    restoring.restore(other, kept, replace=True)
    assert people(other) == 3
    assert list(other.data_dir.glob(f"{KEYS_FILE}.before-restore-*")), "keys are never thrown away"
    server.drop(f"crm_other_{worker}")
    newer = kept.with_name("newer.zip")
    with zipfile.ZipFile(kept) as old, zipfile.ZipFile(newer, "w") as file:
        for name in old.namelist():
            body = old.read(name)
            file.writestr(name, json.dumps(json.loads(body) | {"revision": "9999"}) if name == archive.MANIFEST else body)
    assert refused(settings, newer) == "backup_newer"


def test_refuses_while_the_product_works(settings: Settings, kept: Path) -> None:
    with jobs.only_one(settings.data_dir / "run.lock"):
        assert refused(settings, kept) == "already_running"
    database = open_database(settings)
    with database.session() as session:
        jobs.beat(session, "otra-1")
    if ENGINE == "sqlite":
        file = database.engine.url.database
        reading = f"import sqlite3; sqlite3.connect({file!r}).execute('PRAGMA user_version'); print(1, flush=True); input()"
        database.dispose()
        with subprocess.Popen([sys.executable, "-c", reading], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reader:
            assert reader.stdout
            reader.stdout.readline()
            assert refused(settings, kept) == "restore_in_use"
            reader.communicate(b"\n")
    else:
        assert refused(settings, kept) == "restore_in_use"
        database.dispose()


def test_a_full_disk_leaves_no_half_backup(settings: Settings, kept: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    database = open_database(settings)
    with database.session() as session:
        number = backup.ask(session).id
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))  # the same path as a full disk: a write that is refused
    try:
        with pytest.raises(OSError, match=str(errno.EFBIG)):
            backup.write(settings, kept.with_name("b.zip"))
        with pytest.raises(CrmError, match="backup_disk_full"), backup.telling_the_disk():
            backup.write(settings, kept.with_name("b.zip"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in kept.parent.glob("*b.zip*")] == []
    (settings.data_dir / backup.FOLDER).write_text("una carpeta que no lo es")
    backup.carry_out(database, settings, number)
    with database.session(write=False) as session:
        row = session.get_one(Backup, number)
        assert (row.state, row.failure) == (BackupState.FAILED, "backup_failed")
        assert row.failure in SENTENCES
        assert backup.status(session).trouble is Trouble.FAILED
    database.dispose()


# --- across engines, revisions and kills ------------------------------------------------------------------------------------------


@pytest.fixture
def elsewhere(settings: Settings, tmp_path: Path) -> Settings:
    """An installation on SQLite beside the one of the test."""
    return settings.model_copy(update={"database_url": None, "data_dir": tmp_path / "otra"})


def content(settings: Settings) -> dict[str, list[str]]:
    """Every row that a backup carries, as it is written."""
    path = settings.data_dir / "content.zip"
    backup.write(settings, path)
    with zipfile.ZipFile(path) as file:
        told = {name: file.read(name).decode().splitlines() for name in file.namelist() if name.startswith(("tables/", "blobs/"))}
    path.unlink()
    return told


def as_data(lines: list[str]) -> list[object]:
    """Rows whose JSON is read: engines write its spaces and the order of its keys their own way."""
    return [[_as_value(one) for one in json.loads(line)] for line in lines]


def _as_value(one: object) -> object:
    try:
        return json.loads(one) if isinstance(one, str) and one[:1] in {"[", "{"} else one
    except ValueError:
        return one


def test_every_row_comes_back_on_the_other_engine_and_home_again(drill: Drill, settings: Settings, elsewhere: Settings) -> None:
    last = backup.write(settings, drill.file.with_name("final.zip"))
    restoring.restore(elsewhere, last.path)
    there = content(elsewhere)
    back = drill.file.with_name("vuelta.zip")
    backup.write(elsewhere, back)
    restoring.restore(settings, back, replace=True)
    home = content(settings)
    assert set(home) == set(there)
    for name in home:
        assert as_data(home[name]) == as_data(there[name]), name
    with started(settings) as database, database.session() as session:
        assert sends.is_as_confirmed(session, drill.due), "the frozen content is the same to the letter"
        assert session.scalar(sa.select(sa.func.count()).select_from(EmailAddress)) == PEOPLE


def test_takes_a_backup_of_an_older_release(settings: Settings, server: Server, worker: str, tmp_path: Path) -> None:
    name = f"crm_old_{worker}"
    url = server.create(name, None)
    migrate(url, "0006")
    fold(url)
    old = settings.model_copy(update={"database_url": url, "data_dir": tmp_path / "vieja"})
    keys = load_keys(old.data_dir)
    engine = sa.create_engine(old.sqlalchemy_url)
    with engine.begin() as connection:
        told = {"a": keys.suppression_fingerprint, "b": keys.links_fingerprints[0]}
        connection.execute(
            sa.text("INSERT INTO installation (id, suppression_fingerprint, links_fingerprint) VALUES (1, :a, :b)"), told
        )
        connection.execute(sa.text("INSERT INTO tag (id, name, key) VALUES (7, 'Taller', 'taller')"))
    engine.dispose()
    made = backup.write(old, tmp_path / "vieja.zip")
    assert made.manifest.revision == "0006"
    server.drop(name)
    restoring.restore(settings, made.path)
    assert people(settings) == 0


def test_a_kill_in_the_middle_of_a_restore_leaves_all_as_it_was(settings: Settings, kept: Path, tmp_path: Path) -> None:
    with started(settings) as database, database.session() as session:
        network(session, 1, first=90)
    killed = (
        "import os, signal; from pathlib import Path; from crm import restoring; from crm.config import Settings\n"
        "def die(*_): os.kill(os.getpid(), signal.SIGKILL)\n"
        "restoring._Filling.place_files = die\n"  # all rows are in, nothing took its place yet
        f"restoring.restore(Settings(), Path({str(kept)!r}), replace=True)"
    )
    told = {"CRM_DATA_DIR": str(settings.data_dir), "CRM_DATABASE_URL": str(settings.database_url), "CRM_SECRET_KEY": "x"}
    done = subprocess.run([sys.executable, "-c", killed], env=told, check=False)
    assert done.returncode == -9
    assert people(settings) == 4
    restoring.restore(settings, kept, replace=True)
    assert people(settings) == 3
    assert [path.name for path in settings.data_dir.glob(".restoring*")] == []


# --- copies ------------------------------------------------------------------------------------------------------------------


def waiting(settings: Settings) -> None:
    """An installation with a send that is due."""
    with started(settings) as database, database.session() as session:
        network(session, 3)
        ordered(session, settings)


def is_held(settings: Settings) -> bool:
    """Whether a worker that starts finds that the database is another."""
    with started(settings) as database, database.session(write=False) as session:
        return session.scalars(sa.select(Send.state)).one() is SendState.HELD


def test_a_restart_a_crash_and_a_renamed_folder_are_no_copy(settings: Settings) -> None:
    waiting(settings)
    assert not is_held(settings)
    file = settings.data_dir / copies.PLACE_FILE
    before = file.read_text()
    assert not is_held(settings)
    file.write_text(before)  # killed between the commit and the file
    assert not is_held(settings)


def test_an_older_state_of_the_database_is_noticed(settings: Settings) -> None:
    waiting(settings)
    database = open_database(settings)
    with database.session() as session:
        older = session.scalars(sa.select(copies.Place.beats)).one()
    for _ in range(2):
        copies.look(database, settings)
    with database.session() as session:
        session.execute(sa.update(copies.Place).values(beats=older))
    assert copies.look(database, settings), "also while it works"
    assert not copies.look(database, settings), "once"
    database.dispose()
    with started(settings) as again, again.session() as session:
        assert session.scalars(sa.select(Send.may_have_left)).one()
        sends.resume(session, session.scalars(sa.select(Send.id)).one(), settings)
    with started(settings) as again, again.session(write=False) as session:
        assert session.scalars(sa.select(Send.state)).one() is SendState.DONE, "what a person released is not held again"


@pytest.mark.skipif(ENGINE != "sqlite", reason="a file is copied")
def test_a_copied_folder_is_noticed_and_a_moved_one_is_not(settings: Settings, tmp_path: Path) -> None:
    own = settings.model_copy(update={"database_url": None})
    migration.upgrade(own)
    waiting(own)
    for name, deed, held in (("copia", shutil.copytree, True), ("mudada", Path.rename, False)):
        deed(own.data_dir, tmp_path / name)
        own_there = own.model_copy(update={"data_dir": tmp_path / name})
        assert is_held(own_there) is held, name
    alone = own.model_copy(update={"data_dir": tmp_path / "sola"})
    alone.data_dir.mkdir()
    for name in ("app.db", KEYS_FILE):
        shutil.copy(tmp_path / "mudada" / name, alone.data_dir)
    assert is_held(alone)
    with started(alone) as database, database.session() as session:
        assert min(network(session, 1, first=50)) > copies.ID_GAP


@pytest.mark.skipif(ENGINE == "sqlite", reason="a database of PostgreSQL is cloned")
def test_a_cloned_database_is_noticed_and_a_second_machine_is_not(
    settings: Settings, server: Server, worker: str, tmp_path: Path
) -> None:
    waiting(settings)
    second = settings.model_copy(update={"data_dir": tmp_path / "segunda"})
    second.data_dir.mkdir()
    for name in (KEYS_FILE, copies.PLACE_FILE):  # a machine made from the image of the first
        shutil.copy(settings.data_dir / name, second.data_dir)
    for _ in range(2):
        assert not is_held(settings)
        assert not is_held(second)
    (second.data_dir / copies.PLACE_FILE).unlink()
    assert not is_held(second)
    name = f"crm_clone_{worker}"
    url = server.create(name, str(sa.make_url(settings.sqlalchemy_url).database))
    assert is_held(settings.model_copy(update={"database_url": url}))
    server.drop(name)


@pytest.mark.skipif(ENGINE == "sqlite", reason="on SQLite whoever serves has the file open, which is seen")
def test_a_restore_sees_who_serves_on_postgresql(settings: Settings, kept: Path) -> None:
    serving = sa.create_engine(settings.sqlalchemy_url, connect_args={"application_name": restoring.WEB})
    with serving.connect(), pytest.raises(CrmError, match="restore_in_use"):
        restoring.restore(settings, kept, replace=True)
    serving.dispose()
    restoring.restore(settings, kept, replace=True)


def test_what_was_blocked_or_revoked_after_the_backup_stays_so(settings: Settings, kept: Path) -> None:
    with started(settings) as database:
        with database.session() as session:
            privacy = accounts.create(session, "privacidad@example.org", "Eva Sol", Role.PRIVACY, "una frase larga de prueba").id
            ids = session.scalars(sa.select(Contact.id).order_by(Contact.id)).all()
            for number in ids[:2]:
                bulk_actions.carry_out(session, BulkKind.BLOCK, "Cancelación, folio 12", [number], privacy)
            revoke(session, ids[2], PURPOSE)
        with database.session() as session:
            undone = session.scalars(sa.select(BulkAction.id).order_by(BulkAction.id)).all()[1]
            bulk_actions.undo(session, undone)
    done = restoring.restore(settings, kept, replace=True)
    assert done.suppressions == 2
    with started(settings) as database, database.session(write=False) as session:
        asked = sa.select(consent.skip_reason(session, PURPOSE)).order_by(Contact.id)
        assert session.scalars(asked).all() == ["blocked", None, "unsubscribed"]
    assert restoring.restore(settings, backup.write(settings, kept.with_name("b.zip")).path, replace=True).suppressions == 0


def test_a_block_that_another_machine_took_back_is_not_brought_back(settings: Settings, kept: Path) -> None:
    journal = settings.data_dir / JOURNAL_FILE
    with started(settings) as database:
        with database.session() as session:
            privacy = accounts.create(session, "privacidad@example.org", "Eva Sol", Role.PRIVACY, "una frase larga de prueba").id
            number = session.scalars(sa.select(Contact.id)).first() or 0
            done = bulk_actions.carry_out(session, BulkKind.BLOCK, "Cancelación, folio 12", [number], privacy)
        here = journal.read_bytes()
        with database.session() as session:
            bulk_actions.undo(session, done.id)
    journal.write_bytes(here)
    with started(settings) as database, database.session() as session:
        assert withdrawals.take(session) == 0
        assert session.get_one(Contact, number).blocked_at is None
    journal.unlink()
    with started(settings) as database, database.session() as session:
        bulk_actions.carry_out(session, BulkKind.BLOCK, "Cancelación, folio 13", [number], privacy)
    journal.unlink()
    with started(settings):
        assert b'"what":"block"' in journal.read_bytes(), "what the database knows and the journal does not is told it"
    assert restoring.restore(settings, kept, replace=True).suppressions == 1


def test_an_address_that_changed_hands_brings_nobody_elses_word_back(settings: Settings, kept: Path) -> None:
    with started(settings) as database, database.session() as session:
        gone, heir = session.scalars(sa.select(Contact).order_by(Contact.id).limit(2)).all()
        revoke(session, gone.id, PURPOSE)
        moved = session.scalars(sa.select(EmailAddress).where(EmailAddress.contact_id == gone.id)).one()
        session.delete(moved)
        session.flush()
        contacts.change(session, heir.id, ContactPatch(emails=[moved.address]))
    with started(settings) as database, database.session() as session:
        assert withdrawals.take(session) == 0
        assert session.scalar(sa.select(consent.skip_reason(session, PURPOSE)).where(Contact.id == heir.id)) is None


def test_a_mere_start_changes_nobody(settings: Settings, kept: Path) -> None:
    with started(settings) as database:
        with database.session() as session:
            number = session.scalars(sa.select(Contact.id)).first() or 0
            revoke(session, number, PURPOSE)
        with database.session() as session:
            session.execute(sa.delete(Consent).where(Consent.contact_id == number, Consent.source == consent.OWN_ACT))
    journal = settings.data_dir / JOURNAL_FILE
    lines = journal.read_bytes()
    for _ in range(3):
        with started(settings) as database, database.session(write=False) as session:
            assert session.scalar(sa.select(consent.skip_reason(session, PURPOSE)).where(Contact.id == number)) is None
    assert journal.read_bytes() == lines


def test_what_was_revoked_again_is_told_the_journal(settings: Settings, kept: Path) -> None:
    journal = settings.data_dir / JOURNAL_FILE
    with started(settings) as database:
        with database.session() as session:
            number = session.scalars(sa.select(Contact.id)).first() or 0
            revoke(session, number, PURPOSE)
        early = journal.read_bytes()
        with database.session() as session:
            consent.record(session, number, consent_in(PURPOSE), source=consent.OWN_ACT)
    again = backup.write(settings, kept.with_name("b.zip")).path
    with started(settings) as database, database.session() as session:
        batch = contact_in(0, given_names=marker(0), consents=[consent_in(PURPOSE, state=ConsentState.REVOKED)])
        assert take_in_many(session, [batch])[0].contact_id == number
    assert journal.read_bytes() != early, "a batch tells it at once"
    journal.write_bytes(early)
    with started(settings):
        assert journal.read_bytes() != early
    restoring.restore(settings, again, replace=True)
    with started(settings) as database, database.session(write=False) as session:
        assert session.scalar(sa.select(consent.skip_reason(session, PURPOSE)).where(Contact.id == number)) == "unsubscribed"


@pytest.mark.parametrize(
    "line",
    [
        b'{"what":"block","address_hash":"%064d","recorded_at":"2026-11-20T10:00:00"}' % 1,
        b'{"what":"block","address_hash":"%064d","recorded_at":"9999-12-31T23:59:59-10:00"}' % 1,
        b'{"what":"block","address_hash":"\\ud800","recorded_at":"2026-11-20T10:00:00+00:00"}',
        b'{"what":"revocation","address_hash":null,"recorded_at":"2026-11-20T10:00:00+00:00"}',
        b'{"what":7}',
        b'{"address_hash":"%064d","key_fingerprint":"x","reason":"unsubscribed","happened_on":"2026-11-20",'
        b'"recorded_at":"2026-11-20T10:00:00"}' % 1,
    ],
)
def test_an_odd_line_of_the_journal_is_passed_over(settings: Settings, kept: Path, line: bytes) -> None:
    with (settings.data_dir / JOURNAL_FILE).open("ab") as file:
        file.write(line + b"\n")
    with started(settings) as database, database.session() as session:
        assert withdrawals.take(session) == 0


# --- by the day ----------------------------------------------------------------------------------------------------------------


@pytest.mark.once
@pytest.mark.parametrize("weekday", range(7))
def test_keeps_seven_days_and_four_weeks_on_any_day_of_the_week(tmp_path: Path, weekday: int) -> None:
    now = datetime(2026, 11, 16 + weekday, 20, tzinfo=UTC)
    for number in range(60):
        day = now - timedelta(days=number)
        for hour in ("120000", "180000"):
            (tmp_path / f"red-{day:%Y%m%d}-{hour}.zip").touch()
    (tmp_path / "mio.zip").touch()
    with time_machine.travel(now):
        backup.prune(tmp_path)
    kept = sorted(path.name for path in tmp_path.glob("red-*.zip"))
    assert 12 <= len(kept) <= 13
    assert sum("-120000" in name for name in kept) == 2, "of each day the newest, but all of the last two"
    assert kept[0] <= f"red-{now - timedelta(days=21):%Y%m%d}-180000.zip"
    assert (tmp_path / "mio.zip").exists()


def test_the_day_asks_once_and_again_after_a_failure(settings: Settings) -> None:
    with started(settings) as database:
        with database.session() as session:
            backup.ask_daily(session)
            assert backup.due(session) == [], "nobody is in it yet"
            network(session, 1)
            backup.ask_daily(session)
            backup.ask_daily(session)
            ((number, _),) = backup.due(session)
        backup.carry_out(database, settings, number)
        backup.carry_out(database, settings, number)
        with database.session() as session:
            row = session.get_one(Backup, number)
            assert (row.state, backup.status(session).trouble) == (BackupState.DONE, None)
            path = Path(row.path or "")
            assert (path.stat().st_size, archive.digest_of(path)) == (row.size, row.sha256)
            assert path.stat().st_mode & 0o777 == 0o600
            backup.ask_daily(session)
            assert backup.due(session) == []
            row.asked_at = row.finished_at = clock.now() - timedelta(days=3)
            session.flush()
            assert backup.status(session).trouble is Trouble.OLD
            backup.ask_daily(session)
            assert len(backup.due(session)) == 1


# --- the same, as an operator does it ------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.once
def test_a_killed_installation_that_was_restored_sends_nothing_when_it_starts(tmp_path: Path) -> None:
    own, file = Settings(data_dir=tmp_path / "data"), tmp_path / "respaldo.zip"
    with running() as server, product(own.data_dir, CRM_SMTP_URL=f"{server.url}&per_minute=600") as made:
        key = made.key(*SCOPES)
        made.start()
        with made.api(key) as client:
            send = main_job(client, PEOPLE, noisy_picture(5))
            while len(server.accepted) < EARLY:
                time.sleep(0.02)
            backup.write(own, file)
            wait_for(client, send, "done", seconds=60)
        made.kill()
        done = restoring.restore(own, file, replace=True)
        before = Counter(server.recipients)
        made.start()
        with made.api(key) as client:
            held = created(client.get(f"sends/{send}"), 200)
            assert (held["state"], held["reason"], held["counts"]["in_doubt"]) == ("held", "restored_begun", done.held.in_doubt)
            assert client.post(f"sends/{send}/resume").json()["code"] == "restored_needs_person"
            by_hand(own, send)
            counts = wait_for(client, send, "done", seconds=20)["counts"]
    assert server.recipients == before, "nobody was written to again"
    assert max(before.values()) == 1
    assert counts["in_doubt"] > 0, "each of them would have been written to twice"
    assert counts["sent"] + counts["in_doubt"] == PEOPLE


def by_hand(own: Settings, send_id: int) -> None:
    """As a person resumes it on its page, which an API client may not."""
    database = Database(own, load_keys(own.data_dir))
    with database.session() as session:
        sends.resume(session, send_id, own)
    database.dispose()


def test_commands_say_what_they_did(settings: Settings, kept: Path, tmp_path: Path) -> None:
    told = {"CRM_DATA_DIR": str(settings.data_dir), "CRM_DATABASE_URL": str(settings.database_url), "CRM_SECRET_KEY": "x"}
    file = tmp_path / "b.zip"
    made, again, no, yes = crm(told, f"backup {file} --json", f"backup {file}", f"restore {file}", f"restore {kept} --replace")
    assert json.loads(made.out)["sha256"] == archive.digest_of(file)
    assert json.loads(made.out)["rows"]["contact"] == 3
    assert (again.code, no.code, yes.code) == (1, 1, 0)
    assert "nunca se escribe sobre otro" in again.err
    assert "--replace" in no.err
    assert "Lo que había antes quedó en" in yes.out
    assert "no se puede saber" in yes.out
