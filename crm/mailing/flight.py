"""The flight recorder: which claimed mails had begun to leave, in a file that outlives the process.

The ledger knows that a mail was claimed; only the process knows how far it got. Each mail on its way has a place in a shared
mapping: untouched, begun, accepted. What a killed process wrote there is still in the kernel's memory, so the next start tells
the three apart and asks nobody. After a power cut it is not: the file is believed only under the boot that it was made in.
"""

import fcntl
import mmap
import os
import struct
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path

FOLDER = "flights"
PLACES = 32_768
"""Mails between their first byte and the commit that says what became of them; far more than ever leave at once."""
_PLACE = struct.Struct("=qB")
_HEAD = 64
_UNFINISHED = ".new"
_BOOT = Path("/proc/sys/kernel/random/boot_id")


class Mark(IntEnum):
    UNTOUCHED = 0
    BEGUN = 1
    ACCEPTED = 2


class Flight:
    """The recorder of one run; ``name`` is the token under which its mails are claimed. Locked for as long as it is open."""

    def __init__(self, data_dir: Path, name: str) -> None:
        folder = data_dir / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / name
        unnamed = folder / f"{name}{_UNFINISHED}"
        self._file = unnamed.open("w+b")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        os.posix_fallocate(self._file.fileno(), 0, _HEAD + PLACES * _PLACE.size)  # a full disk says so now, not by a signal
        unnamed.rename(self.path)  # who finds it finds it locked
        self._map = mmap.mmap(self._file.fileno(), 0)
        self._map[:_HEAD] = boot().encode().ljust(_HEAD, b"\0")
        self._free = list(range(PLACES - 1, -1, -1))
        self._places: dict[int, int] = {}

    def begun(self, delivery_id: int) -> None:
        """The first byte of a mail is about to leave."""
        place = _HEAD + self._free.pop() * _PLACE.size
        self._places[delivery_id] = place
        _PLACE.pack_into(self._map, place, delivery_id, Mark.UNTOUCHED)
        self._map[place + _PLACE.size - 1] = Mark.BEGUN  # last, so that a mark never stands beside half a number

    def ended(self, delivery_id: int, *, accepted: bool) -> None:
        """The server took it, or refused it whole."""
        place = self._places.get(delivery_id)
        if place is not None:
            self._map[place + _PLACE.size - 1] = Mark.ACCEPTED if accepted else Mark.UNTOUCHED

    def forget(self, delivery_id: int) -> None:
        """The ledger knows what became of it; its place is free."""
        place = self._places.pop(delivery_id, None)
        if place is not None:
            self._map[place + _PLACE.size - 1] = Mark.UNTOUCHED
            self._free.append((place - _HEAD) // _PLACE.size)

    def close(self, *, keep: bool) -> None:
        """End the recording; ``keep`` leaves the file for `left_behind`, when the ledger does not know all of it."""
        self._map.close()
        if not keep:
            self.path.unlink(missing_ok=True)
        self._file.close()


def boot() -> str:
    """What names this run of the machine; empty where the system does not tell it, and then no file is believed."""
    return _BOOT.read_text(encoding="ascii").strip() if _BOOT.exists() else ""


def left_behind(data_dir: Path) -> Iterator[tuple[str, dict[int, Mark] | None]]:
    """The recordings of processes that are gone: (token, mails that had begun, with their mark; None: not to be believed).

    Each file is removed once the caller asks for the next one; those of processes that live are passed over.
    """
    for path in sorted((data_dir / FOLDER).glob("*")):
        if path.suffix == _UNFINISHED:
            continue
        try:
            file = path.open("rb")
        except FileNotFoundError:  # its run has just ended
            continue
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield path.name, _read(file.read())
            path.unlink(missing_ok=True)


def _read(recorded: bytes) -> dict[int, Mark] | None:
    if len(recorded) != _HEAD + PLACES * _PLACE.size or not boot() or recorded[:_HEAD].rstrip(b"\0") != boot().encode():
        return None
    marks = ((number, mark) for number, mark in _PLACE.iter_unpack(recorded[_HEAD:]) if mark)
    return {number: Mark.ACCEPTED if mark == Mark.ACCEPTED else Mark.BEGUN for number, mark in marks}
