"""Spreadsheets as a stream of rows of text: .xlsx by its stored values, .csv in the encodings and delimiters of the trade.

A file is what its bytes say, not what its name says; what does not fit is refused before a single cell is believed.
"""

import csv
import hashlib
import io
import re
import zipfile
import zlib
from codecs import BOM_UTF8, IncrementalDecoder, getincrementaldecoder
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from pathlib import Path, PurePath
from typing import IO, Any, Literal

from python_calamine import CalamineError, CalamineSheet, CalamineWorkbook, SheetTypeEnum, SheetVisibleEnum

from crm.errors import CrmError, InvalidInput, TooLarge
from crm.people.workbooks import SHEET_ROWS, check_part

Source = Path | bytes
Value = int | float | str | bool | time | date | datetime | timedelta
Row = tuple[int, list[str]]
"""The row's number as the spreadsheet shows it (from 1) and its cells."""

UNPACKED_LIMIT = 300 * 2**20
"""Most bytes of an .xlsx once unpacked: beyond it, it is taken for a bomb."""

_CHUNK = 2**20
_SNIFFED_BYTES = 2**16
_SNIFFED_ROWS = 50
_DELIMITERS = (",", ";", "\t")
_UNDEFINED_IN_CP1252 = re.compile(rb"[\x81\x8d\x8f\x90\x9d]")
_LIMIT_OF_CSV = "field larger than field limit"
"""How the reader of the standard library says that a cell is over `csv.field_size_limit`."""
_ZIP = b"PK\x03\x04"
_NOT_TEXT = (_ZIP, b"%PDF-", b"\xd0\xcf\x11\xe0", b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"{\\rtf", b"\xff\xfe", b"\xfe\xff")
_NOT_XML = (".png", ".jpg", ".jpeg", ".gif", ".emf", ".wmf", ".tif", ".tiff", ".bin", ".vml", ".svg", "/")
"""Parts of a workbook that hold no cells: pictures, settings of printers, old drawings."""


@dataclass(frozen=True)
class Spreadsheet:
    """An accepted file. `rows` may be walked again and again; each walk reads the file anew."""

    source: Source
    sha256: str
    kind: Literal["csv", "xlsx"]
    encoding: str = "utf-8"
    delimiter: str = ","
    sheet: str | None = None
    """Which sheet of a workbook; None: the first one that a person sees on opening the file."""

    def rows(self) -> Iterator[Row]:
        """Rows that hold something, in order, header included; sheet_malformed and sheet_cell_too_long name the row that breaks."""
        rows = _csv_rows(self) if self.kind == "csv" else _xlsx_rows(self.source, self.sheet)
        return ((number, cells) for number, cells in rows if any(map(str.strip, cells)))


def open_spreadsheet(source: Source, file_name: str, sheet: str | None = None) -> Spreadsheet:
    """Look at a file and accept it.

    Errors: file_empty, sheet_format_unknown (by its name), sheet_not_what_it_says (by its bytes), sheet_encoding_unknown,
    sheet_unpacks_too_large, sheet_too_large, sheet_too_wide; sheet_not_found when its rows are read.
    """
    suffix = PurePath(file_name).suffix.lower()
    with _opened(source) as file:
        start = file.read(16)
        if not start:
            raise InvalidInput("file_empty", field="file")
        file.seek(0)
        if suffix == ".xlsx":
            return replace(_accept_xlsx(source, file, start), sheet=sheet)
        if suffix in {".csv", ".tsv", ".txt"}:
            return _accept_csv(source, file, start)
    raise InvalidInput("sheet_format_unknown", field="file")


@contextmanager
def _opened(source: Source) -> Iterator[IO[bytes]]:
    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
        yield file


# --- text ------------------------------------------------------------------------------------------------------------------


def _accept_csv(source: Source, file: IO[bytes], start: bytes) -> Spreadsheet:
    if start.startswith(_NOT_TEXT):
        raise InvalidInput("sheet_not_what_it_says", field="file")
    encoding, sha256 = _read_encoding(file)
    file.seek(0)
    head = file.read(_SNIFFED_BYTES).decode(encoding, errors="ignore")
    return Spreadsheet(source, sha256, "csv", encoding, _sniff_delimiter(head))


def _read_encoding(file: IO[bytes]) -> tuple[str, str]:
    """The encoding and SHA-256 of the whole file: UTF-8 if every byte is, else cp1252, else sheet_encoding_unknown."""
    digest, decoder = hashlib.sha256(), getincrementaldecoder("utf-8")()
    is_utf8 = is_cp1252 = True
    has_mark = False
    for number, chunk in enumerate(_chunks(file)):
        has_mark = has_mark or (number == 0 and chunk.startswith(BOM_UTF8))
        digest.update(chunk)
        if b"\0" in chunk:
            raise InvalidInput("sheet_not_what_it_says", field="file")
        is_utf8 = is_utf8 and _decodes(decoder, chunk)
        is_cp1252 = is_cp1252 and not _UNDEFINED_IN_CP1252.search(chunk)
    if is_utf8 and _decodes(decoder, b"", final=True):
        return ("utf-8-sig" if has_mark else "utf-8"), digest.hexdigest()
    if not is_cp1252:
        raise InvalidInput("sheet_encoding_unknown", field="file")
    return "cp1252", digest.hexdigest()


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK):
        yield chunk


def _decodes(decoder: IncrementalDecoder, chunk: bytes, *, final: bool = False) -> bool:
    try:
        decoder.decode(chunk, final)
    except UnicodeDecodeError:
        return False
    return True


def _sniff_delimiter(head: str) -> str:
    """The delimiter that cuts the header into columns and the first rows into as many; the comma when nothing tells."""
    return max(_DELIMITERS, key=lambda delimiter: _fit(head, delimiter))


def _fit(head: str, delimiter: str) -> tuple[bool, float, int]:
    reader = csv.reader(io.StringIO(head, newline=""), delimiter=delimiter)
    widths = [len(cells) for _, cells in zip(range(_SNIFFED_ROWS), reader, strict=False) if cells]
    if not widths:
        return (False, 0.0, 0)
    return (widths[0] > 1, sum(width == widths[0] for width in widths) / len(widths), widths[0])


def _csv_rows(sheet: Spreadsheet) -> Iterator[Row]:
    with _opened(sheet.source) as file, io.TextIOWrapper(file, encoding=sheet.encoding, newline="") as text:
        number = 0
        try:
            for number, cells in enumerate(csv.reader(text, delimiter=sheet.delimiter, strict=True), start=1):
                yield number, cells
        except csv.Error as error:
            raise (_cell_too_long if _LIMIT_OF_CSV in str(error) else _malformed)(number + 1) from error


def _cell_too_long(row: int) -> CrmError:
    return InvalidInput("sheet_cell_too_long", field="file", row=f"{row:,}", limit=csv.field_size_limit() // 2**10)


def _malformed(row: int) -> CrmError:
    return InvalidInput("sheet_malformed", field="file", row=f"{row:,}")


# --- workbooks -------------------------------------------------------------------------------------------------------------


def _accept_xlsx(source: Source, file: IO[bytes], start: bytes) -> Spreadsheet:
    if not start.startswith(_ZIP):
        raise InvalidInput("sheet_not_what_it_says", field="file")
    try:
        with zipfile.ZipFile(file) as archive:
            _check_members(archive)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise InvalidInput("sheet_not_what_it_says", field="file") from error
    return Spreadsheet(source, _sha256(file), "xlsx")


def _sha256(file: IO[bytes]) -> str:
    file.seek(0)
    digest = hashlib.sha256()
    for chunk in _chunks(file):
        digest.update(chunk)
    return digest.hexdigest()


def _check_members(archive: zipfile.ZipFile) -> None:
    """Unpack once, keeping nothing, to learn what the reader would meet: sizes as declared may lie."""
    members = archive.infolist()
    if not any(member.filename.lower() == "xl/workbook.xml" for member in members):
        raise InvalidInput("sheet_not_what_it_says", field="file")
    left = UNPACKED_LIMIT
    if sum(member.file_size for member in members) > left:
        raise TooLarge("sheet_unpacks_too_large", field="file", limit=UNPACKED_LIMIT // 2**20)
    for member in members:
        member.file_size = left + 2 * _CHUNK  # so that zipfile reads on to the true end, or until it is too much
        with archive.open(member) as unpacked:
            left -= _check_member(unpacked, member.filename, left)


def _check_member(unpacked: IO[bytes], name: str, left: int) -> int:
    """The true size of a member; refuses what is over ``left`` bytes and cells that lie too far out."""
    counted = _Counted(unpacked, left)
    if name.lower().endswith(_NOT_XML):
        before = b""
        while chunk := counted.read(_CHUNK):
            if b"sheetData" in before + chunk:
                raise InvalidInput("sheet_not_what_it_says", field="file")
            before = chunk[-16:]
    else:
        check_part(counted)
    return counted.size


class _Counted:
    """A member being unpacked; TooLarge once it holds more than it may."""

    def __init__(self, unpacked: IO[bytes], most: int) -> None:
        self._unpacked, self._most, self.size = unpacked, most, 0

    def read(self, size: int) -> bytes:
        chunk = self._unpacked.read(size)
        self.size += len(chunk)
        if self.size > self._most:
            raise TooLarge("sheet_unpacks_too_large", field="file", limit=UNPACKED_LIMIT // 2**20)
        return chunk


def _too_many_rows() -> CrmError:
    return TooLarge("sheet_too_large", field="file", limit=f"{SHEET_ROWS:,}")


def sheet_names(accepted: Spreadsheet) -> list[str]:
    """The sheets of a workbook that a person sees and that hold cells, in order; none of a text file."""
    if accepted.kind == "csv":
        return []
    try:
        with _opened(accepted.source) as file, CalamineWorkbook.from_filelike(file) as book:
            return [sheet.name for sheet in book.sheets_metadata if _is_seen(sheet)]
    except CalamineError as error:
        raise InvalidInput("sheet_not_what_it_says", field="file") from error


def _is_seen(sheet: Any) -> bool:
    return sheet.visible is SheetVisibleEnum.Visible and sheet.typ is SheetTypeEnum.WorkSheet


def _xlsx_rows(source: Source, name: str | None) -> Iterator[Row]:
    try:
        with _opened(source) as file, CalamineWorkbook.from_filelike(file) as book:
            rows = _sheet_of(book, name).iter_rows()
    except (CalamineError, StopIteration) as error:
        raise InvalidInput("sheet_not_what_it_says", field="file") from error
    for number, cells in enumerate(rows, start=1):
        if number > SHEET_ROWS + 1:
            raise _too_many_rows()
        yield number, [text_of(cell) for cell in cells]


def _sheet_of(book: CalamineWorkbook, name: str | None) -> CalamineSheet:
    """The sheet of a name, or the first one that a person sees on opening the file; InvalidInput(sheet_not_found)."""
    seen = [index for index, sheet in enumerate(book.sheets_metadata) if _is_seen(sheet) and name in (None, sheet.name)]
    if name is not None and not seen:
        raise InvalidInput("sheet_not_found", field="sheet")
    return book.get_sheet_by_index(next(iter(seen)))


def text_of(value: Value) -> str:
    """A stored value as text: whole numbers without a fraction, days and instants in ISO 8601, truth as sí or no."""
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, bool):
        return "sí" if value else "no"
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() else repr(value)
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == time() else value.isoformat(" ", "seconds")
    if isinstance(value, date | time):
        return value.isoformat()
    return str(value)
