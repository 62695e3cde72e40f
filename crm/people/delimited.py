"""Text files of rows: their encoding and delimiter learnt from their bytes or told by a person; their rows read in constant
memory."""

import csv
import hashlib
import io
import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE, IncrementalDecoder, getincrementaldecoder
from collections import Counter
from collections.abc import Iterator
from typing import IO

from crm.errors import CrmError, InvalidInput, TooLarge
from crm.people.columns import fields_named, header_at
from crm.people.encodings import ENCODINGS
from crm.people.workbooks import SHEET_COLUMNS

CERTAIN = frozenset({"utf-8", "utf-16"})
"""Those that the bytes themselves prove; of the others they only make one likely."""
READS_ANYTHING = "latin-1"
"""A letter for each byte: so a file can be looked at of which the bytes tell nothing."""
_CHUNK = 2**20
_SNIFFED_BYTES = 2**16
_SNIFFED_ROWS = 50
_DELIMITERS = (",", ";", "\t", "|")
_NOT_TEXT = (b"PK\x03\x04", b"%PDF-", b"\xd0\xcf\x11\xe0", b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"{\\rtf")
_UNDEFINED_IN_CP1252 = re.compile(rb"[\x81\x8d\x8f\x90\x9d]")
_LETTERS_OF_CP850 = re.compile(
    rb"[A-Za-z][\x81\x82\x90\xa1-\xa5]|[\x81\x82\x90\xa1-\xa5][A-Za-z]|[A-Z][\xb5\xd6\xe0]|[\xb5\xd6\xe0][A-Z]"
)
"""Accented letters of Spanish as the consoles of DOS wrote them, beside a letter: in cp1252 the same bytes are signs of money and
the like. Left out is what stands there often enough: the space that does not break (DOS: á), é among capitals (Ú)."""
_LETTERS_OF_CP1252 = re.compile(
    rb"[A-Za-z][\xe1\xe9\xed\xf3\xfa\xf1\xfc]|[A-Z][\xc1\xc9\xcd\xd3\xda\xd1\xdc]|[\xe1\xe9\xed\xf3\xfa\xf1][A-Za-z]"
)
_LETTERS_OF_MAC = re.compile(rb"(?<=[A-Za-z])[\x87\x8e\x96\x97\x9c]")
"""á é ñ ó ú of an old Mac, which Windows has for signs that follow no letter in a name. Its í is the apostrophe of Windows."""
_MAC_LEAST = 2
"""Fewer tell nothing: "Žižek" is Windows too, and old Macs are rare."""
_LIMIT_OF_CSV = "field larger than field limit"
"""How the reader of the standard library says that a cell is over `csv.field_size_limit`."""


def recognise(file: IO[bytes], start: bytes, told: str | None = None) -> tuple[str, str, str]:
    """Encoding, delimiter and SHA-256 of a text file that begins with ``start``; ``told`` is the encoding that a person says it
    has, one of `ENCODINGS`.

    Errors: sheet_not_what_it_says, sheet_encoding_unknown, sheet_encoding_differs (not all of it reads as it was told).
    """
    if start.startswith(_NOT_TEXT):
        raise InvalidInput("sheet_not_what_it_says", field="file")
    wide = _wide(start)
    if told is not None:
        try:
            encoding, sha256 = _read_whole(file, (wide or told) if told == "utf-16" else ENCODINGS[told])
        except InvalidInput as error:
            raise InvalidInput("sheet_encoding_differs", field="encoding") from error
    else:
        encoding, sha256 = _read_whole(file, wide) if wide else _read_encoding(file)
    file.seek(0)
    return encoding, _sniff_delimiter(file.read(_SNIFFED_BYTES).decode(encoding, errors="ignore")), sha256


def called(codec: str) -> str:
    """What of `ENCODINGS` a codec that `recognise` tells is."""
    return "utf-16" if codec.startswith("utf-16") else codec.removesuffix("-sig")


def _wide(start: bytes) -> str | None:
    """UTF-16 by its mark (Excel's «Texto Unicode»), or because every other byte of the first letters is zero."""
    if start.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        return "utf-16"
    zero = [place % 2 for place, byte in enumerate(start) if not byte]
    if len(start) < 4 or 2 * len(zero) != len(start) - len(start) % 2 or len(set(zero)) != 1:
        return None
    return "utf-16-le" if zero[0] else "utf-16-be"


def _read_whole(file: IO[bytes], codec: str) -> tuple[str, str]:
    """A codec, if all of the file is letters in it; else sheet_encoding_unknown, or sheet_not_what_it_says."""
    digest, decoder = hashlib.sha256(), getincrementaldecoder(codec)()
    for chunk in chunks(file):
        digest.update(chunk)
        try:
            text = decoder.decode(chunk)
        except UnicodeError as error:
            raise InvalidInput("sheet_encoding_unknown", field="file") from error
        if "\0" in text:
            raise InvalidInput("sheet_not_what_it_says", field="file")
    if not _decodes(decoder, b"", final=True):
        raise InvalidInput("sheet_encoding_unknown", field="file")
    return codec, digest.hexdigest()


def _read_encoding(file: IO[bytes]) -> tuple[str, str]:
    """UTF-8 if every byte is; else cp850, mac-roman or cp1252, as its accented letters tell; else sheet_encoding_unknown."""
    digest, decoder = hashlib.sha256(), getincrementaldecoder("utf-8")()
    is_utf8 = is_cp1252 = True
    has_mark, of_cp850, of_cp1252, of_mac = False, 0, 0, 0
    for number, chunk in enumerate(chunks(file)):
        has_mark = has_mark or (number == 0 and chunk.startswith(BOM_UTF8))
        digest.update(chunk)
        if b"\0" in chunk:
            raise InvalidInput("sheet_not_what_it_says", field="file")
        is_utf8 = is_utf8 and _decodes(decoder, chunk)
        is_cp1252 = is_cp1252 and not _UNDEFINED_IN_CP1252.search(chunk)
        if not is_utf8:
            of_cp850 += len(_LETTERS_OF_CP850.findall(chunk))
            of_cp1252 += len(_LETTERS_OF_CP1252.findall(chunk))
            of_mac += len(_LETTERS_OF_MAC.findall(chunk))
    if is_utf8 and _decodes(decoder, b"", final=True):
        return ("utf-8-sig" if has_mark else "utf-8"), digest.hexdigest()
    if of_mac > max(of_cp850, of_cp1252, _MAC_LEAST):
        return "mac-roman", digest.hexdigest()
    if of_cp850 > of_cp1252:
        return "cp850", digest.hexdigest()
    if not is_cp1252:
        raise InvalidInput("sheet_encoding_unknown", field="file")
    return "cp1252", digest.hexdigest()


def chunks(file: IO[bytes]) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK):
        yield chunk


def _decodes(decoder: IncrementalDecoder, chunk: bytes, *, final: bool = False) -> bool:
    try:
        decoder.decode(chunk, final)
    except UnicodeDecodeError:
        return False
    return True


def _sniff_delimiter(head: str) -> str:
    """The delimiter under which a row names the most fields, else that cuts most rows into as many columns; the comma when
    nothing tells."""
    return max(_DELIMITERS, key=lambda delimiter: _fit(head, delimiter))


def _fit(head: str, delimiter: str) -> tuple[int, bool, float, int]:
    reader = csv.reader(io.StringIO(head, newline=""), delimiter=delimiter)
    rows = [cells for _, cells in zip(range(_SNIFFED_ROWS), reader, strict=False) if any(cells)]
    if not rows:
        return (0, False, 0.0, 0)
    place = header_at(rows)
    if named := fields_named(rows[place]):
        width, below = len(rows[place]), rows[place:]
        return (named, width > 1, sum(len(cells) == width for cells in below) / len(below), width)
    widths = Counter(map(len, rows))
    width, times = max(widths.items(), key=lambda told: (told[1], told[0]))
    return (0, width > 1, times / len(rows), width)


def rows(file: IO[bytes], encoding: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Every row with its number from 1; sheet_malformed and sheet_cell_too_long name the row that breaks."""
    with io.TextIOWrapper(file, encoding=encoding, newline="") as text:
        number = 0
        try:
            for number, cells in enumerate(csv.reader(text, delimiter=delimiter, strict=True), start=1):
                if any(map(str.strip, cells[SHEET_COLUMNS:])):
                    raise TooLarge("sheet_too_wide", field="file", limit=SHEET_COLUMNS)
                yield number, cells[:SHEET_COLUMNS]
        except csv.Error as error:
            raise (_cell_too_long if _LIMIT_OF_CSV in str(error) else _malformed)(number + 1) from error


def _cell_too_long(row: int) -> CrmError:
    return InvalidInput("sheet_cell_too_long", field="file", row=f"{row:,}", limit=csv.field_size_limit() // 2**10)


def _malformed(row: int) -> CrmError:
    return InvalidInput("sheet_malformed", field="file", row=f"{row:,}")
