"""The demo from an empty database to something to look at."""

from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm import clock
from crm.config import Settings
from crm.database import Database
from crm.demo import network, story, workbook
from crm.demo.access import FOLDER, DemoAccess, open_accounts
from crm.errors import Conflict
from crm.mailing.models import Campaign, Segment
from crm.people import imports
from crm.people.imports import Basis
from crm.people.models import Contact, Import, Purpose
from crm.staff.models import Account

NETWORK_FILE = "red-sintetica.xlsx"
LEGACY_FILE = "red-sintetica-sin-base.xlsx"
"""People of whom no consent is known: imported without stating a basis."""
WHY = "Datos de demostración"
EVIDENCE = "Hoja de registro inventada de un taller de demostración. No corresponde a ninguna persona."
PURPOSES = (Purpose.ELECTORAL_INFORMATION, Purpose.EVENT_INVITATION, Purpose.NEWSLETTER)


def build(database: Database, settings: Settings, *, progress: Callable[[str], None] = lambda _: None) -> DemoAccess:
    """Fill an empty database with the synthetic network, materials, segments, an invitation ordered to leave now and a draft.

    The accounts come first: from then on the server listens on this machine only. The invitation is moved by the worker,
    not here. ``progress`` hears what is being done. Conflict(demo_not_empty) when the database holds anything.
    """
    progress("Abriendo las cuentas de demostración…")
    with database.session(why=WHY) as session:
        if not is_empty(session):
            raise Conflict("demo_not_empty")
        access = open_accounts(session, settings)
    progress("Escribiendo la red sintética…")
    people, folder = network.invent(), settings.data_dir / FOLDER
    workbook.write(folder / NETWORK_FILE, people.with_basis)
    workbook.write(folder / LEGACY_FILE, people.legacy)
    progress("Importando 1,500 personas…")
    _take_in(database, folder / NETWORK_FILE, Basis(PURPOSES, EVIDENCE, clock.today()))
    _take_in(database, folder / LEGACY_FILE, None)
    progress("Preparando materiales y campañas…")
    with database.session(why=WHY) as session:
        story.leave(session, people)
        story.tell(session, settings)
    return access


def is_empty(session: Session) -> bool:
    """Whether nobody has put anything in yet: no people, accounts, imports, segments or campaigns."""
    tables = (Contact, Account, Import, Segment, Campaign)
    return not any(session.scalar(sa.select(sa.select(table.id).exists())) for table in tables)


def _take_in(database: Database, path: Path, basis: Basis | None) -> None:
    with database.session(why=WHY) as session:
        begun = imports.begin(session, path, path.name, basis=basis).id
    imports.run(database, begun, path)
