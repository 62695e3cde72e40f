"""What a workbook would make its reader lay out, learnt without laying it out.

The reader fills a whole rectangle up to the farthest cell, so one cell far away can ask for gigabytes. Every part is
walked once by a streaming parser, in time and memory that grow with the file and with nothing else.
"""

import re
from typing import Any, Protocol
from xml.parsers import expat

from crm.errors import InvalidInput, TooLarge

SHEET_ROWS = 100_000
"""Most rows of an .xlsx, without its header; a larger one is asked for as CSV, which is read in constant memory."""
SHEET_COLUMNS = 100
"""Last column that may hold a value."""
_CHUNK = 2**20
_LONGEST_TOKEN = 2**17
"""Most bytes of one tag or comment: a longer one would be read again and again, and no program writes it."""
_CELL = re.compile(r"([A-Za-z]{1,3})([0-9]{1,7})")


class Readable(Protocol):
    def read(self, size: int) -> bytes: ...


def check_part(part: Readable) -> None:
    """Refuse an XML part that is broken, declares entities, or has a value too far out."""
    walk = _Walk()
    walked = 0
    try:
        while chunk := part.read(_CHUNK):
            # Small bites: what a bite may hide from the check of long tokens stays small too.
            for start in range(0, len(chunk), _LONGEST_TOKEN):
                bite = chunk[start : start + _LONGEST_TOKEN]
                walk.parser.Parse(bite, False)
                walked += len(bite)
                if walked - walk.parser.CurrentByteIndex > 2 * _LONGEST_TOKEN:
                    raise InvalidInput("sheet_not_what_it_says", field="file")
        walk.parser.Parse(b"", True)
    except (expat.ExpatError, ValueError) as error:
        raise InvalidInput("sheet_not_what_it_says", field="file") from error


class _Walk:
    """Where the values of a sheet are, row by row and column by column, counted from 1."""

    def __init__(self) -> None:
        self.parser = expat.ParserCreate()
        self.parser.StartElementHandler = self._start
        self.parser.StartDoctypeDeclHandler = self._refuse_entities
        self._row = self._column = 0

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        local = name.rpartition(":")[2]
        if local == "row":
            self._row = _number(attributes["r"]) if "r" in attributes else self._row + 1
            self._column = 0
        elif local == "c":
            self._enter_cell(attributes.get("r"))
        elif local in {"v", "is", "f"} and self._column:
            self._check()

    def _enter_cell(self, reference: str | None) -> None:
        if reference is None:
            self._column += 1
            return
        found = _CELL.fullmatch(reference)
        if found is None:
            raise InvalidInput("sheet_not_what_it_says", field="file")
        self._column, self._row = 0, int(found[2])
        for letter in found[1].upper():
            self._column = self._column * 26 + ord(letter) - 64

    def _check(self) -> None:
        if self._column > SHEET_COLUMNS:
            raise TooLarge("sheet_too_wide", field="file", limit=SHEET_COLUMNS)
        if self._row > SHEET_ROWS + 1:
            raise TooLarge("sheet_too_large", field="file", limit=f"{SHEET_ROWS:,}")

    def _refuse_entities(self, *_told: Any) -> None:
        raise InvalidInput("sheet_not_what_it_says", field="file")


def _number(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,7}", text):
        raise InvalidInput("sheet_not_what_it_says", field="file")
    return int(text)
