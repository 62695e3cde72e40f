"""Spreadsheets as a stream of rows of text: workbooks (.xlsx, .ods, .xls) by their stored values, text in the encodings and
delimiters of the trade.

A file is what its bytes say, not what its name says; what does not fit is refused before a single cell is believed. Workbooks are
read in a process of their own (`apart`), because no check beforehand knows all that a hostile one can ask of its reader.
"""

import hashlib
import io
import json
import shutil
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePath
from tempfile import TemporaryFile
from typing import IO, Any, Literal
from xml.etree import ElementTree

from crm.errors import InvalidInput, TooLarge
from crm.people import delimited
from crm.people.workbooks import UNPACKED_LIMIT, Hidden, check_content, check_part, unpacks_too_large

Source = Path | bytes
Row = tuple[int, list[str]]
"""The row's number as the spreadsheet shows it (from 1) and its cells."""
Kind = Literal["csv", "xlsx", "ods", "xls"]

MEDIA_TYPES: dict[Kind, str] = {
    "csv": "text/csv",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "ods": "application/vnd.oasis.opendocument.spreadsheet",
    "xls": "application/vnd.ms-excel",
}
_CHUNK = 2**20
_NAMES_LIMIT = 2**20
"""Most bytes of the part of an .xlsx that names its sheets."""
_TEXTS, _WORKBOOKS = frozenset({".csv", ".tsv", ".txt"}), frozenset({".xlsx", ".ods", ".xls"})
_ZIP, _OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
"""How archives and the containers of old workbooks begin."""
_NOT_XML = (".png", ".jpg", ".jpeg", ".gif", ".emf", ".wmf", ".tif", ".tiff", ".bin", ".vml", ".svg", ".ttf", ".otf", "/")
"""Parts of a workbook that hold no cells: pictures, settings of printers, old drawings."""
_MIMETYPE = "mimetype"
"""The one part of an .ods that is neither XML nor any of those."""
_RELATION = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"


@dataclass(frozen=True)
class Spreadsheet:
    """An accepted file. `rows` may be walked again and again; each walk reads the file anew."""

    source: Source
    sha256: str
    kind: Kind
    encoding: str = "utf-8"
    delimiter: str = ","
    sheet: str | None = None
    """Which sheet of a workbook; None: the first one that a person sees on opening the file."""
    hidden: Hidden = field(default_factory=dict)

    def rows(self) -> Iterator[Row]:
        """Rows that hold something, in order, header included; sheet_malformed and sheet_cell_too_long name the row that breaks."""
        if self.kind == "csv":
            rows: Iterable[Row] = _text_rows(self)
        else:
            rows = ((row[0], row[1]) for row in _apart(self.source, "rows", self.kind, *([self.sheet] if self.sheet else [])))
        return ((number, cells) for number, cells in rows if any(map(str.strip, cells)))

    @property
    def hidden_rows(self) -> tuple[int, ...]:
        """Rows of its sheet that nobody sees on opening the file, and that say something."""
        if not any(self.hidden.values()):
            return ()
        return self.hidden.get(self.sheet if self.sheet is not None else next(iter(self.sheets), ""), ())

    @cached_property
    def sheets(self) -> list[str]:
        """The sheets of a workbook that a person sees and that hold cells, in order; none of a text file."""
        if self.kind in {"csv", "xls"}:
            return list(self.hidden)
        (told,) = _apart(self.source, "look", self.kind)
        return list(told)


def open_spreadsheet(source: Source, file_name: str, sheet: str | None = None, encoding: str | None = None) -> Spreadsheet:
    """Look at a file and accept it; ``encoding``, one of `delimited.ENCODINGS`, is how a person says that a text is to be read.

    Errors: file_empty, sheet_format_unknown (by its name), sheet_not_what_it_says (by its bytes), sheet_encoding_unknown,
    sheet_encoding_differs (from what the person says), sheet_unpacks_too_large, sheet_too_large, sheet_too_wide; sheet_not_found
    when its rows are read.
    """
    suffix = PurePath(file_name).suffix.lower()
    if suffix not in _TEXTS | _WORKBOOKS:
        raise InvalidInput("sheet_format_unknown", field="file")
    with _opened(source) as file:
        start = file.read(16)
        if not start:
            raise InvalidInput("file_empty", field="file")
        file.seek(0)
        if suffix in _WORKBOOKS and start.startswith(_ZIP):
            return replace(_accept_packed(source, file), sheet=sheet)
        if suffix == ".xls" and start.startswith(_OLE):
            return replace(_accept_old(source, file), sheet=sheet)
        if suffix in _TEXTS or _is_text_in_disguise(suffix, file):
            codec, delimiter, sha256 = delimited.recognise(file, start, encoding)
            return Spreadsheet(source, sha256, "csv", codec, delimiter)
    raise InvalidInput("sheet_not_what_it_says", field="file")


@contextmanager
def _opened(source: Source) -> Iterator[IO[bytes]]:
    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
        yield file


def _is_text_in_disguise(suffix: str, file: IO[bytes]) -> bool:
    """Many systems export a text of rows, tabs between its cells, under the name of an old workbook."""
    head = file.read(_CHUNK)
    file.seek(0)
    return suffix == ".xls" and b"\t" in head and not head.lstrip().startswith(b"<")


def _text_rows(accepted: Spreadsheet) -> Iterator[Row]:
    with _opened(accepted.source) as file:
        yield from delimited.rows(file, accepted.encoding, accepted.delimiter)


# --- workbooks that are archives ---------------------------------------------------------------------------------------------


def _accept_packed(source: Source, file: IO[bytes]) -> Spreadsheet:
    try:
        with zipfile.ZipFile(file) as archive:
            kind, hidden = _check_members(archive)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise InvalidInput("sheet_not_what_it_says", field="file") from error
    return Spreadsheet(source, _sha256(file), kind, hidden=hidden)


def _sha256(file: IO[bytes]) -> str:
    file.seek(0)
    digest = hashlib.sha256()
    for chunk in delimited.chunks(file):
        digest.update(chunk)
    return digest.hexdigest()


def _check_members(archive: zipfile.ZipFile) -> tuple[Kind, Hidden]:
    """Unpack once, keeping nothing, to learn what the reader would meet: sizes as declared may lie. What it is, and which rows of
    its sheets are hidden."""
    members = archive.infolist()
    names = {member.filename.lower() for member in members}
    if "xl/workbook.xml" not in names and not {"content.xml", _MIMETYPE} <= names:
        raise InvalidInput("sheet_not_what_it_says", field="file")
    kind: Kind = "xlsx" if "xl/workbook.xml" in names else "ods"
    left = UNPACKED_LIMIT
    if sum(member.file_size for member in members) > left:
        raise unpacks_too_large()
    parts: dict[str, list[int]] = {}
    hidden: Hidden = {}
    for member in members:
        member.file_size = left + 2 * _CHUNK  # so that zipfile reads on to the true end, or until it is too much
        with archive.open(member) as unpacked:
            counted = _Counted(unpacked, left)
            if kind == "ods" and member.filename == "content.xml":
                hidden = check_content(counted)
            else:
                parts[member.filename] = _check_member(counted, member.filename)
            left -= counted.size
    return kind, hidden if kind == "ods" else _by_sheet(archive, parts)


def _check_member(counted: "_Counted", name: str) -> list[int]:
    """Refuse a member that is over what is left and cells that lie too far out; the hidden rows of a sheet."""
    if not name.lower().endswith(_NOT_XML) and name != _MIMETYPE:
        return check_part(counted)
    before = b""
    while chunk := counted.read(_CHUNK):
        if b"sheetData" in before + chunk:
            raise InvalidInput("sheet_not_what_it_says", field="file")
        before = chunk[-16:]
    return []


def _by_sheet(archive: zipfile.ZipFile, parts: dict[str, list[int]]) -> Hidden:
    """The hidden rows of the parts of an .xlsx by the names of their sheets, as far as its own table of contents tells them."""
    if not any(parts.values()):
        return {}
    try:
        targets = {
            one.get("Id"): one.get("Target", "").removeprefix("/xl/") for one in _small_part(archive, "xl/_rels/workbook.xml.rels")
        }
        sheets = [one for one in _small_part(archive, "xl/workbook.xml").iter() if one.tag.endswith("}sheet")]
    except (KeyError, ElementTree.ParseError):
        return {}
    return {one.get("name", ""): tuple(parts.get(f"xl/{targets.get(one.get(_RELATION), '')}", ())) for one in sheets}


def _small_part(archive: zipfile.ZipFile, name: str) -> ElementTree.Element:
    with archive.open(name) as part:
        return ElementTree.fromstring(part.read(_NAMES_LIMIT))  # noqa: S314  # `check_part` found no entities in it


class _Counted:
    """A member being unpacked; TooLarge once it holds more than it may."""

    def __init__(self, unpacked: IO[bytes], most: int) -> None:
        self._unpacked, self._most, self.size = unpacked, most, 0

    def read(self, size: int) -> bytes:
        chunk = self._unpacked.read(size)
        self.size += len(chunk)
        if self.size > self._most:
            raise unpacks_too_large()
        return chunk


def _accept_old(source: Source, file: IO[bytes]) -> Spreadsheet:
    sha256 = _sha256(file)
    (told,) = _apart(source, "look", "xls")
    return Spreadsheet(source, sha256, "xls", hidden={name: tuple(rows) for name, rows in told.items()})


# --- read apart --------------------------------------------------------------------------------------------------------------


def _apart(source: Source, *asked: str) -> Iterator[Any]:
    """What `apart` tells, line by line; TooLarge(sheet_unpacks_too_large) when its memory or its time ended."""
    with _opened(source) as file, TemporaryFile() as given:
        shutil.copyfileobj(file, given)  # a file of the system's, which the other process reads at its own pace
        given.seek(0)
        reader = subprocess.Popen(  # noqa: S603  # our own program; what was asked is never a program's name
            [sys.executable, "-m", "crm.people.apart", *asked], stdin=given, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        with reader:
            try:
                for line in reader.stdout or ():
                    told = json.loads(line)
                    if isinstance(told, dict) and "error" in told:
                        raise (TooLarge if told["too_large"] else InvalidInput)(
                            told["error"], field=told["field"], **told["details"]
                        )
                    yield told
                if reader.wait():
                    raise unpacks_too_large()
            finally:
                reader.kill()
