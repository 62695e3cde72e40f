"""Organizations that people belong to; one per name, however it is accented or cased."""

from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm import history
from crm.database import contains, insert_new, keyset_page, search_key
from crm.errors import NotFound
from crm.people.models import Organization

KEY_LENGTH = 300


def organization_key(name: str) -> str:
    """What makes two spellings one organization."""
    return (search_key(name) or name)[:KEY_LENGTH]


def ensure(session: Session, names: Iterable[str]) -> dict[str, int]:
    """The ids of organizations by `organization_key`, making those that are new."""
    wanted = {organization_key(name): name for name in names}
    found = _ids(session, wanted)
    missing = {key: name for key, name in wanted.items() if key not in found}
    if missing:
        rows = [{"name": name, "key": key} for key, name in missing.items()]
        insert_new(session, Organization.__table__, rows, unique=["key"])
        found |= _ids(session, missing)
        _record(session, missing, found)
    return found


def _ids(session: Session, keys: Iterable[str]) -> dict[str, int]:
    rows = session.execute(sa.select(Organization.key, Organization.id).where(Organization.key.in_(list(keys))))
    return dict(rows.all())


def _record(session: Session, made: dict[str, str], ids: dict[str, int]) -> None:
    entries = []
    for key, name in made.items():
        entry = history.Entry(history.Action.CREATE, "organization", ids[key], "organization", ids[key])
        entry.plain = {"name": [None, name]}
        entries.append(entry)
    history.record(session, entries)


def get(session: Session, organization_id: int) -> Organization:
    """NotFound(organization_not_found)."""
    found = session.get(Organization, organization_id)
    if found is None:
        raise NotFound("organization_not_found")
    return found


def find(
    session: Session, *, text: str | None = None, cursor: str | None = None, limit: int = 50
) -> tuple[list[Organization], str | None]:
    """Organizations in order of name."""
    statement = sa.select(Organization)
    if text:
        statement = statement.where(contains(Organization.key, text))
    rows, following = keyset_page(session, statement, [Organization.key, Organization.id], cursor=cursor, limit=limit)
    return [row[0] for row in rows], following
