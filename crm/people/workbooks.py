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
UNPACKED_LIMIT = 300 * 2**20
"""Most bytes of a packed workbook once unpacked: beyond it, it is taken for a bomb."""
Hidden = dict[str, tuple[int, ...]]
"""By sheet, the rows that nobody sees and that say something: hidden by hand or by a filter."""
_CHUNK = 2**20
_LONGEST_TOKEN = 2**17
"""Most bytes of one tag or comment: a longer one would be read again and again, and no program writes it."""
_CELL = re.compile(r"([A-Za-z]{1,3})([0-9]{1,7})")


def unpacks_too_large() -> TooLarge:
    return TooLarge("sheet_unpacks_too_large", field="file", limit=UNPACKED_LIMIT // 2**20)


class Readable(Protocol):
    def read(self, size: int) -> bytes: ...


def check_part(part: Readable) -> list[int]:
    """Refuse an XML part that is broken, declares entities, or has a value too far out; the hidden rows with values of a sheet."""
    walk = _Walk()
    _run(walk, part)
    return walk.hidden


def check_content(part: Readable) -> Hidden:
    """`check_part` of the content of an .ods: its sheets that are seen, in order, each with its hidden rows with values."""
    walk = _ContentWalk()
    _run(walk, part)
    return {name: tuple(rows) for name, rows in walk.hidden.items()}


def _run(walk: "_Walk | _ContentWalk", part: Readable) -> None:
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


def _parser() -> Any:
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse_entities
    return parser


def _refuse_entities(*_told: Any) -> None:
    raise InvalidInput("sheet_not_what_it_says", field="file")


def _check_place(row: int, column: int) -> None:
    if column > SHEET_COLUMNS:
        raise TooLarge("sheet_too_wide", field="file", limit=SHEET_COLUMNS)
    if row > SHEET_ROWS + 1:
        raise TooLarge("sheet_too_large", field="file", limit=f"{SHEET_ROWS:,}")


class _Walk:
    """Where the values of a sheet are, row by row and column by column, counted from 1."""

    def __init__(self) -> None:
        self.parser = _parser()
        self.parser.StartElementHandler = self._start
        self.hidden: list[int] = []
        self._row = self._column = 0
        self._is_hidden = False

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        local = name.rpartition(":")[2]
        if local == "row":
            self._row = _number(attributes["r"]) if "r" in attributes else self._row + 1
            self._column, self._is_hidden = 0, attributes.get("hidden") in {"1", "true"}
        elif local == "c":
            self._enter_cell(attributes.get("r"))
        elif local in {"v", "is", "f"} and self._column:
            _check_place(self._row, self._column)
            if self._is_hidden and self.hidden[-1:] != [self._row]:
                self.hidden.append(self._row)

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


class _ContentWalk:
    """Where the values of the sheets of an .ods are: rows and cells may say that they stand many times."""

    def __init__(self) -> None:
        self.parser = _parser()
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.hidden: dict[str, list[int]] = {}
        self._unseen_styles: set[str] = set()
        self._style = ""
        self._rows: list[int] = []
        self._row = self._column = self._times = 0
        self._is_hidden = self._has_value = False

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "style:style":
            self._style = attributes.get("style:name", "")
        elif name == "style:table-properties" and attributes.get("table:display") == "false":
            self._unseen_styles.add(self._style)
        elif name == "table:table":
            self._rows, self._row = [], 0
            if attributes.get("table:style-name") not in self._unseen_styles:
                self.hidden[attributes.get("table:name", "")] = self._rows
        elif name == "table:table-row":
            self._times = _number(attributes.get("table:number-rows-repeated", "1"))
            self._column, self._has_value = 0, False
            self._is_hidden = attributes.get("table:visibility") in {"collapse", "filter"}
        elif name in {"table:table-cell", "table:covered-table-cell"}:
            self._column += _number(attributes.get("table:number-columns-repeated", "1"))
            if "office:value-type" in attributes or "calcext:value-type" in attributes:
                self._has_value = True
                _check_place(self._row + self._times, self._column)

    def _end(self, name: str) -> None:
        if name == "table:table-row":
            if self._is_hidden and self._has_value:
                self._rows += range(self._row + 1, self._row + self._times + 1)
            self._row += self._times


def _number(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,7}", text):
        raise InvalidInput("sheet_not_what_it_says", field="file")
    return int(text)
