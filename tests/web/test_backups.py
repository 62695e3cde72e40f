"""Ajustes, Respaldo: asked for on the page, made by a worker, and told on Inicio when it is missing."""

from datetime import timedelta

import sqlalchemy as sa

from crm import backup, clock
from crm.backup import Backup, BackupState
from crm.config import Settings
from crm.database import Database
from crm.people.models import Contact
from crm.staff.models import Role
from tests.people import factories
from tests.web.conftest import Visitor, csrf_of


def test_asks_for_a_backup_once_and_shows_where_it_lies(visit: Visitor, database: Database, settings: Settings) -> None:
    admin = visit(Role.ADMINISTRATION)
    assert "Ningún respaldo todavía" in admin.get("/ajustes/respaldo").text
    for _ in range(2):
        assert admin.post("/ajustes/respaldo", data=csrf_of(admin), follow_redirects=False).status_code == 303
    assert "Haciéndose" in admin.get("/ajustes/respaldo").text
    with database.session() as session:
        ((number, _),) = backup.due(session)
    backup.carry_out(database, settings, number)
    with database.session(write=False) as session:
        row = session.get_one(Backup, number)
    shown = admin.get("/ajustes/respaldo").text
    assert str(row.path) in shown
    assert str(row.sha256) in shown
    assert "Completo" in shown


def test_inicio_tells_who_administers_that_the_backup_is_missing_old_or_failed(visit: Visitor, database: Database) -> None:
    admin, editor = visit(Role.ADMINISTRATION), visit(Role.EDITING)
    long_ago = clock.now() - timedelta(days=3)
    assert "respaldo" not in admin.get("/").text
    with database.session() as session:
        factories.contact(session)
        session.execute(sa.update(Contact).values(created_at=long_ago))
    assert "todavía no tiene respaldo" in admin.get("/").text
    with database.session() as session:
        session.add(Backup(state=BackupState.DONE, asked_at=long_ago, finished_at=long_ago))
    assert "tiene más de dos días" in admin.get("/").text
    with database.session() as session:
        session.add(Backup(state=BackupState.DONE, finished_at=clock.now()))
    assert "/ajustes/respaldo" not in admin.get("/").text
    with database.session() as session:
        session.add(Backup(state=BackupState.FAILED, finished_at=clock.now(), failure="backup_disk_full"))
    assert "no se pudo hacer" in admin.get("/").text
    assert "/ajustes/respaldo" not in editor.get("/").text
    assert "No hay espacio en el disco" in admin.get("/ajustes/respaldo").text
