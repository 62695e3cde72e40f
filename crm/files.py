"""Stored files are rows: one backup, one truth on every machine."""

import hashlib
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, deferred, mapped_column

from crm import clock
from crm.database import PLAIN, Base, UtcDateTime
from crm.errors import InvalidInput, NotFound, TooLarge

FILE_LIMIT = 15 * 1024 * 1024
"""Most bytes of one stored file: PostgreSQL and a backup stay quick, and no mail carries more."""


class StoredFile(Base):
    """The bytes of a file under their SHA-256 (64 hex characters): the same file is stored once."""

    __tablename__ = "stored_file"

    sha256: Mapped[str] = mapped_column(sa.String(64), primary_key=True, info=PLAIN)
    media_type: Mapped[str] = mapped_column(sa.String(100), info=PLAIN)
    size: Mapped[int]
    body: Mapped[bytes] = deferred(mapped_column(sa.LargeBinary, info=PLAIN))
    stored_at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock.now)


def store(session: Session, body: bytes, media_type: str) -> StoredFile:
    """Keep a file and return its row; errors: file_empty, file_too_large."""
    if not body:
        raise InvalidInput("file_empty", field="file")
    if len(body) > FILE_LIMIT:
        raise TooLarge("file_too_large", field="file", limit=FILE_LIMIT // 2**20)
    digest = hashlib.sha256(body).hexdigest()
    found = session.get(StoredFile, digest)
    if found is None:
        found = StoredFile(sha256=digest, media_type=media_type, size=len(body), body=body)
        session.add(found)
        session.flush()
    return found


def read(session: Session, sha256: str) -> StoredFile:
    """The stored file with its bytes; NotFound(file_not_found)."""
    found = session.get(StoredFile, sha256)
    if found is None:
        raise NotFound("file_not_found")
    return found
