"""Alembic's door to the database: the settings say which."""

from alembic import context

from crm import backup, copies, files, history
from crm.config import Settings
from crm.database import Base, Json, UtcDateTime, last_ids, make_engine, raise_ids, remembered_ids
from crm.mailing import models as mailing
from crm.outreach import models as outreach
from crm.people import duplicate_models as duplicates
from crm.people import models as people
from crm.staff import models as staff

TABLES_OF = (backup, copies, files, history, staff, people, duplicates, outreach, mailing)
"""Imported so that Base.metadata knows every table."""


def run() -> None:
    connection = context.config.attributes.get("connection")
    if connection is not None:
        migrate(connection)
        return
    engine = make_engine(Settings().sqlalchemy_url)
    with engine.connect() as fresh:
        migrate(fresh)
        fresh.commit()
    engine.dispose()


def render(kind, value, autogen):  # type: ignore[no-untyped-def]
    """Write our own column type by its short name, so that migrations stay readable."""
    if kind == "type" and isinstance(value, UtcDateTime):
        autogen.imports.add("from crm.database import UtcDateTime")
        return "UtcDateTime()"
    if kind == "type" and value is Json:
        autogen.imports.add("from crm.database import Json")
        return "Json"
    return False


def migrate(connection) -> None:  # type: ignore[no-untyped-def]  # alembic's own environment is untyped
    """All steps in one transaction, also on SQLite: a kill leaves what was there. Whoever gives the connection closes it: on SQLite
    it no longer watches over what refers to what, since a table that others refer to is changed by making it anew. The new one
    remembers what ids the old one gave, if that did."""
    on_sqlite = connection.dialect.name == "sqlite"
    if on_sqlite:
        connection.connection.driver_connection.execute("PRAGMA foreign_keys = OFF")  # heeded only outside of a transaction
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=on_sqlite,
        compare_type=True,
        render_item=render,
        transactional_ddl=True,
    )
    with context.begin_transaction():
        before, remembered = context.get_context().get_current_revision(), remembered_ids(connection) if on_sqlite else {}
        context.run_migrations()
        if remembered and context.get_context().get_current_revision() != before:
            raise_ids(connection, {name: remembered[name] for name in last_ids(connection) if name in remembered})


run()
