"""The file of a backup: one ZIP, alike for both engines, read and written in bounded memory.

    manifest.json                  format, instant, revision, columns and rows of each table, SHA-256 of each member
    tables/<table>.jsonl           a line per row, a list of its values in the order of the columns
    blobs/<table>/<column>/<key>   bytes of a stored file
    data/<file>                    keys.json, secret.key, suppressions.jsonl, keys that settings name inside the data folder

JSON columns travel as the text that the database holds, so that its null is not ours. Instants are in UTC.
"""

import hashlib
import json
import os
import secrets
import shutil
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path, PurePosixPath
from typing import IO, Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

import sqlalchemy as sa
from pydantic import TypeAdapter

from crm import clock
from crm.disk import sync_folder
from crm.errors import Conflict, InvalidInput

FORMAT = "red-voto-chilango backup"
VERSION = 1
PIECE = 2**20
MANIFEST = "manifest.json"
MANIFEST_MOST = 64 * 2**20
LEFT_OUT = {"alembic_version", "staff_session", "sign_in_attempt", "worker", "place", "backup"}
"""Tables that are of this installation and this moment only."""
WIDE = {"send_content"}
"""Tables whose rows may have megabytes each: read one by one."""
_ROWS = 500
_DAMAGED = (BadZipFile, OSError, EOFError, ValueError, NotImplementedError, zlib.error)
"""What `zipfile` raises of a file that is not whole, or packed in a way that it does not know."""


@dataclass
class Manifest:
    """What a backup says of itself."""

    made_at: str
    revision: str
    engine: str
    columns: dict[str, list[str]] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    last_ids: dict[str, int] = field(default_factory=dict)
    sha256: dict[str, str] = field(default_factory=dict)
    """Of each member."""
    suppression_fingerprint: str = ""
    links_fingerprints: list[str] = field(default_factory=list)
    format: str = FORMAT
    version: int = VERSION


_MANIFEST = TypeAdapter(Manifest)


class Writer:
    """A backup being written; `add` and `rows` each make one member."""

    def __init__(self, file: IO[bytes], manifest: Manifest) -> None:
        self._zip = ZipFile(file, "w", ZIP_DEFLATED, allowZip64=True, compresslevel=6)
        self.manifest = manifest

    def add(self, name: str, pieces: Iterator[bytes], *, packed: bool = True) -> None:
        info = ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
        info.compress_type, info.external_attr = ZIP_DEFLATED if packed else ZIP_STORED, 0o600 << 16
        digest = hashlib.sha256()
        with self._zip.open(info, "w", force_zip64=True) as member:
            for piece in pieces:
                digest.update(piece)
                member.write(piece)
        self.manifest.sha256[name] = digest.hexdigest()

    def table(self, connection: sa.Connection, table: sa.Table) -> None:
        """All rows of a table, and the bytes that they hold as members of their own."""
        blobs = [column for column in table.columns if isinstance(column.type, sa.LargeBinary)]
        columns = [column for column in table.columns if column not in blobs]
        self.manifest.columns[table.name] = [column.name for column in (*columns, *blobs)]
        self.manifest.rows[table.name] = 0
        self.add(f"tables/{table.name}.jsonl", self._lines(connection, table, columns))
        for column in blobs:
            self._blobs(connection, table, column)

    def _lines(self, connection: sa.Connection, table: sa.Table, columns: list[sa.Column[Any]]) -> Iterator[bytes]:
        asked = [sa.cast(column, sa.Text) if isinstance(column.type, sa.JSON) else column for column in columns]
        statement = sa.select(*asked).order_by(*table.primary_key.columns)
        batch = 1 if table.name in WIDE else _ROWS
        for row in connection.execute(statement, execution_options={"yield_per": batch}):
            self.manifest.rows[table.name] += 1
            yield json.dumps([_plain(value) for value in row], ensure_ascii=False, separators=(",", ":")).encode() + b"\n"

    def _blobs(self, connection: sa.Connection, table: sa.Table, column: sa.Column[Any]) -> None:
        (key,) = table.primary_key.columns
        keys = connection.scalars(sa.select(key).where(column.is_not(None)).order_by(key)).all()
        for one in keys:
            body = connection.scalar(sa.select(column).where(key == one))
            self.add(_blob(table.name, column.name, one), iter([bytes(body or b"")]), packed=False)

    def abandon(self) -> None:
        """Write nothing more, also not when it is forgotten."""
        self._zip.fp = None

    def close(self) -> None:
        text = json.dumps(asdict(self.manifest), indent=1).encode()
        with self._zip.open(ZipInfo(MANIFEST, date_time=(1980, 1, 1, 0, 0, 0)), "w") as member:
            member.write(text)
        self._zip.close()


def _blob(table: str, column: str, key: object) -> str:
    return f"blobs/{table}/{column}/{key}"


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return (value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)).isoformat()
    return value.isoformat() if isinstance(value, date) else value


@contextmanager
def written(path: Path, manifest: Manifest) -> Iterator[Writer]:
    """A file that is there whole, read back and mode 0600, or not at all; Conflict(backup_exists) when one has the name."""
    if path.exists():
        raise Conflict("backup_exists", path=str(path))
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with os.fdopen(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w+b") as file:
            writer = Writer(file, manifest)
            try:
                yield writer
                writer.close()
            except BaseException:
                writer.abandon()
                raise
            file.flush()
            os.fsync(file.fileno())
        with opened(draft) as archive:
            archive.check()
        _name(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _name(draft: Path, path: Path) -> None:
    try:
        os.link(draft, path)  # never over another file
    except FileExistsError as error:
        raise Conflict("backup_exists", path=str(path)) from error
    except OSError:  # a medium without links, such as a memory stick
        draft.rename(path)
    sync_folder(path.parent)


class Archive:
    """A backup to read. InvalidInput(backup_not_ours, backup_damaged) for any other file."""

    def __init__(self, opened_zip: ZipFile) -> None:
        self._zip = opened_zip
        self.manifest = self._read_manifest()

    def _read_manifest(self) -> Manifest:
        try:
            if self._zip.getinfo(MANIFEST).file_size > MANIFEST_MOST:
                raise InvalidInput("backup_not_ours")
            told = json.loads(self._zip.read(MANIFEST))
            if told["format"] != FORMAT:
                raise InvalidInput("backup_not_ours")
            if told["version"] > VERSION:
                raise InvalidInput("backup_newer")
            return _MANIFEST.validate_python(told)
        except (LookupError, TypeError, RecursionError) as error:
            raise InvalidInput("backup_not_ours") from error
        except _DAMAGED as error:
            raise InvalidInput("backup_damaged") from error

    @property
    def made_at(self) -> datetime:
        return datetime.fromisoformat(self.manifest.made_at)

    @property
    def data_files(self) -> list[str]:
        """Files of the data folder, relative to it, none outside of it."""
        names = [name.removeprefix("data/") for name in self.manifest.sha256 if name.startswith("data/")]
        return [name for name in names if ".." not in PurePosixPath(name).parts and not PurePosixPath(name).is_absolute()]

    def check(self) -> None:
        """Read every member and compare it with what the manifest says; InvalidInput(backup_damaged)."""
        if {info.filename for info in self._zip.infolist()} != {MANIFEST, *self.manifest.sha256}:
            raise InvalidInput("backup_damaged")
        for name, expected in self.manifest.sha256.items():
            digest = hashlib.sha256()
            for piece in self._pieces(name):
                digest.update(piece)
            if digest.hexdigest() != expected:
                raise InvalidInput("backup_damaged")

    def _pieces(self, name: str) -> Iterator[bytes]:
        try:
            with self._zip.open(name) as member:
                while piece := member.read(PIECE):
                    yield piece
        except (*_DAMAGED, LookupError) as error:
            raise InvalidInput("backup_damaged") from error

    def rows(self, table: str) -> Iterator[tuple[Mapping[str, Any], int]]:
        """The rows of a table, each with about how many bytes it has."""
        columns = self.manifest.columns[table]
        with self._zip.open(f"tables/{table}.jsonl") as member:
            for line in member:
                values = dict(zip(columns, json.loads(line), strict=False))
                yield values, len(line)

    def blob(self, table: str, column: str, key: object) -> bytes | None:
        name = _blob(table, column, key)
        return self._zip.read(name) if name in self.manifest.sha256 else None

    def read_data(self, name: str) -> bytes:
        return self._zip.read(f"data/{name}")

    def copy_data(self, name: str, to: Path) -> None:
        """Write a file of the data folder, for its owner only."""
        to.parent.mkdir(parents=True, exist_ok=True)
        with (
            self._zip.open(f"data/{name}") as member,
            os.fdopen(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file,
        ):
            shutil.copyfileobj(member, file, PIECE)
            file.flush()
            os.fsync(file.fileno())


@contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """A backup, not yet checked; InvalidInput(backup_missing, backup_not_ours, backup_damaged)."""
    try:
        file = ZipFile(path)
    except FileNotFoundError as error:
        raise InvalidInput("backup_missing", path=str(path)) from error
    except _DAMAGED as error:
        raise InvalidInput("backup_damaged" if _begins_as_zip(path) else "backup_not_ours") from error
    with file:
        yield Archive(file)


def _begins_as_zip(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) == b"PK\x03\x04"
    except OSError:
        return False


def digest_of(path: Path) -> str:
    """The SHA-256 of a file (hex)."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def now_as_name() -> str:
    """The instant as a part of a file's name, in UTC."""
    return clock.now().strftime("%Y%m%d-%H%M%S")
