"""What a file is, told by its bytes: never by its name nor by what the sender of it says.

Only structure is read here, nothing is decoded, so that a size can be refused before a decoder sees it.
Sources: PNG (ISO/IEC 15948), JPEG (ITU T.81 annex B), WebP (RFC 9649), PDF (ISO 32000).
"""

import re
import struct
from dataclasses import dataclass

from crm.errors import InvalidInput

PNG = "image/png"
JPEG = "image/jpeg"
WEBP = "image/webp"
PDF = "application/pdf"
PICTURES = frozenset({PNG, JPEG, WEBP})

ENDINGS = {PNG: (".png",), JPEG: (".jpg", ".jpeg", ".jpe", ".jfif"), WEBP: (".webp",), PDF: (".pdf",)}
"""Endings that a file's name may have, the usual one first."""

PIECES_LIMIT = 100_000
"""Most chunks or segments of a picture: a real one has hundreds."""
SCANS_LIMIT = 100
"""Most scans of a progressive JPEG, each of which a decoder draws over the whole picture: a real one has ten."""

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_ENDING = re.compile(r"\.[a-z][a-z0-9]{1,5}$", re.IGNORECASE)
_PDF_HEADER_REACH = 1024
"""Readers of PDF accept its header anywhere in the first bytes of a file."""
_ZIP_END = b"PK\x05\x06"
_ZIP_END_REACH = 65_557
_SCRIPT = re.compile(rb"<(?:html|script|\?php|!doctype|iframe)", re.IGNORECASE)
_JPEG_MARKER = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")
_JPEG_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


@dataclass(frozen=True)
class Shape:
    """What the structure of a picture says: pixels, and the byte where the picture ends."""

    width: int
    height: int
    end: int


def recognise(body: bytes, file_name: str | None) -> str:
    """The media type of a file; errors: file_type_refused (none that we take), file_not_what_it_says (name or content lie)."""
    media_type = _by_magic(body)
    if media_type is None:
        raise InvalidInput("file_type_refused", field="file")
    ending = _ENDING.search(file_name or "")
    if ending is not None and ending.group().casefold() not in ENDINGS[media_type]:
        raise InvalidInput("file_not_what_it_says", field="file")
    if body.rfind(_ZIP_END, max(0, len(body) - _ZIP_END_REACH)) >= 0:
        raise InvalidInput("file_not_what_it_says", field="file")
    if media_type != PDF and b"%PDF-" in body[:_PDF_HEADER_REACH]:
        raise InvalidInput("file_not_what_it_says", field="file")
    return media_type


def _by_magic(body: bytes) -> str | None:
    if body.startswith(_PNG_MAGIC):
        return PNG
    if body.startswith(b"\xff\xd8\xff"):
        return JPEG
    if body.startswith(b"RIFF") and body[8:12] == b"WEBP":
        return WEBP
    return PDF if body.startswith(b"%PDF-") else None


def shape_of(body: bytes, media_type: str) -> Shape:
    """Pixels and end of a picture, undecoded.

    Errors: file_broken (cut or damaged), file_not_what_it_says (a page or a program behind the picture).
    """
    read = {PNG: _png_shape, JPEG: _jpeg_shape, WEBP: _webp_shape}[media_type]
    try:
        shape = read(body)
    except (struct.error, IndexError) as error:
        raise InvalidInput("file_broken", field="file") from error
    if shape is None or shape.end > len(body) or shape.width < 1 or shape.height < 1:
        raise InvalidInput("file_broken", field="file")
    if _SCRIPT.search(body, shape.end):
        raise InvalidInput("file_not_what_it_says", field="file")
    return shape


def _png_shape(body: bytes) -> Shape | None:
    width, height = struct.unpack_from(">II", body, 16)
    position = len(_PNG_MAGIC)
    for _ in range(PIECES_LIMIT):
        length, name = struct.unpack_from(">I4s", body, position)
        position += 12 + length
        if name == b"IEND":
            return Shape(width, height, position)
    return None


def _jpeg_shape(body: bytes) -> Shape | None:
    """Walk the segments; after a start of scan, jump over its coded data to the next marker."""
    size = None
    scans = 0
    position = 2
    for _ in range(PIECES_LIMIT):
        found = _JPEG_MARKER.search(body, position)
        if found is None:
            return None
        marker = body[found.end() - 1]
        position = found.end()
        scans += marker == 0xDA
        if marker == 0xD9 or scans > SCANS_LIMIT:
            return Shape(*size, position) if size and scans <= SCANS_LIMIT else None
        if marker in _JPEG_SIZES and size is None:
            height, width = struct.unpack_from(">HH", body, position + 3)
            size = (width, height)
        if marker != 0x01:
            position += struct.unpack_from(">H", body, position)[0]
    return None


def _webp_shape(body: bytes) -> Shape | None:
    end = struct.unpack_from("<I", body, 4)[0] + 8
    chunk = body[12:16]
    if chunk == b"VP8 ":
        width, height = struct.unpack_from("<HH", body, 26)
        return Shape(width & 0x3FFF, height & 0x3FFF, end)
    if chunk == b"VP8L":
        bits = struct.unpack_from("<I", body, 21)[0]
        return Shape((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, end)
    if chunk == b"VP8X":
        width, height = (int.from_bytes(body[at : at + 3], "little") + 1 for at in (24, 27))
        return Shape(width, height, end)
    return None
