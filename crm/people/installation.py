"""One installation: a database and the keys that it was written with, which are kept apart and must not be parted.

A database that is started with other keys would know nobody who left, so it is not started at all.
"""

import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm.config import Settings
from crm.database import Database, insert_new
from crm.errors import Unavailable
from crm.keys import Keys, load_keys, read_keys
from crm.people import withdrawals
from crm.people.models import EmailAddress, Installation, Suppression
from crm.people.suppression import reconcile_journal


def open_database(settings: Settings) -> Database:
    """A migrated database with the keys that it was written with, and its journal of suppressions at one with it.

    The first start of an empty one makes the keys. Unavailable(keys_missing) when they are lost or are those of another.
    """
    found = read_keys(settings.data_dir)
    if found is None:
        _must_be_new(settings)
    database = Database(settings, found or load_keys(settings.data_dir))
    try:
        with database.session() as session:
            _must_fit(session, session.info["keys"])
            reconcile_journal(session)
            withdrawals.tell(session)
    except BaseException:
        database.dispose()
        raise
    return database


def _must_be_new(settings: Settings) -> None:
    """Refuse new keys where anything was written with older ones: in the database or in the journal."""
    database = Database(settings, Keys(b"", ()))
    try:
        with database.session(write=False) as session:
            journal = session.info["journal"]
            known = (Installation, EmailAddress, Suppression)
            is_new = not any(session.scalar(sa.select(sa.select(table.id).exists())) for table in known)
    finally:
        database.dispose()
    is_new = is_new and not (journal.exists() and journal.stat().st_size)
    if not is_new and read_keys(settings.data_dir) is None:  # another process may have made them between the two looks
        raise Unavailable("keys_missing")


def _must_fit(session: Session, keys: Keys) -> None:
    """Write which keys these are, once; of two first starts at once the later one finds the row of the earlier."""
    row = {"id": 1, "suppression_fingerprint": keys.suppression_fingerprint, "links_fingerprint": keys.links_fingerprints[-1]}
    insert_new(session, Installation.__table__, [row], unique=["id"])
    written = session.get_one(Installation, 1)
    if written.suppression_fingerprint != keys.suppression_fingerprint or written.links_fingerprint not in keys.links_fingerprints:
        raise Unavailable("keys_missing")
