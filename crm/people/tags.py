"""Tags: short words that staff and other tools put on people. `Taller` and `taller` are one tag."""

from collections.abc import Iterable
from functools import lru_cache

import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm import history
from crm.database import contains, insert_new, keyset_page, search_key
from crm.errors import NotFound
from crm.people.models import Contact, Tag, contact_tag, visible
from crm.people.schemas import TagOut

KEY_LENGTH = 80


@lru_cache(4096)
def tag_key(name: str) -> str:
    """What makes two spellings one tag; a name of signs alone is its own key."""
    return (search_key(name) or name)[:KEY_LENGTH]


def ensure(session: Session, names: Iterable[str]) -> dict[str, int]:
    """The ids of tags by `tag_key`, making those that are new."""
    wanted = {tag_key(name): name for name in names}
    found = _ids(session, wanted)
    missing = {key: name for key, name in wanted.items() if key not in found}
    if missing:
        insert_new(session, Tag.__table__, [{"name": name, "key": key} for key, name in missing.items()], unique=["key"])
        found |= _ids(session, missing)
        _record(session, missing, found)
    return found


def _ids(session: Session, keys: Iterable[str]) -> dict[str, int]:
    rows = session.execute(sa.select(Tag.key, Tag.id).where(Tag.key.in_(list(keys))))
    return dict(rows.all())


def _record(session: Session, made: dict[str, str], ids: dict[str, int]) -> None:
    entries = []
    for key, name in made.items():
        entry = history.Entry(history.Action.CREATE, "tag", ids[key], "tag", ids[key])
        entry.plain = {"name": [None, name], "key": [None, key]}
        entries.append(entry)
    history.record(session, entries)


def get(session: Session, tag_id: int) -> Tag:
    """NotFound(tag_not_found)."""
    found = session.get(Tag, tag_id)
    if found is None:
        raise NotFound("tag_not_found")
    return found


def find(
    session: Session, *, text: str | None = None, cursor: str | None = None, limit: int = 50
) -> tuple[list[TagOut], str | None]:
    """Tags in order of name, each with the number of people who carry it (blocked ones do not count)."""
    carried = (
        sa.select(sa.func.count())
        .select_from(contact_tag.join(Contact.__table__, Contact.id == contact_tag.c.contact_id))
        .where(contact_tag.c.tag_id == Tag.id, visible())
        .correlate(Tag)
        .scalar_subquery()
    )
    statement = sa.select(Tag.id, Tag.name, carried.label("contacts"))
    if text:
        statement = statement.where(contains(Tag.key, text))
    rows, following = keyset_page(session, statement, [Tag.key, Tag.id], cursor=cursor, limit=limit)
    return [TagOut(id=row.id, name=row.name, contacts=row.contacts) for row in rows], following
