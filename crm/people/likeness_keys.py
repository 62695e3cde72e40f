"""Who is compared with whom: cheap keys that two records of one person share, so that never everybody is compared with everybody.

A key is a hash of 63 bits of what it stands for. Every record has some ten of them; one slip of the finger spoils one or two.
"""

import hashlib
import re
from functools import lru_cache

from crm.people.evidence import SHARED_LOCALS, Record, bare_local
from crm.people.name_words import NICKNAMES, sound

WORDS_MOST = 2
"""Given names of one person that count."""


@lru_cache(maxsize=262_144)
def key(kind: str, *parts: str) -> int:
    """The key of something, alike on every machine."""
    text = "\0".join((kind, *parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


def phone_key(phone: str) -> int:
    return key("phone", phone)


def keys_of(record: Record) -> set[int]:
    """The keys of a record; a record of one word has none but those of its address and telephone."""
    given = [sound(word) for word in _usual(record.given) if len(word) > 1] or list(record.given[:1])
    surnames = [sound(piece) for piece in record.surnames]
    found = {_pair(a, b) for a in given for b in surnames}
    if len(surnames) > 1:
        found.add(_pair(*surnames))
    place = "" if record.place is None else str(record.place)
    found |= {key("place", place, word, piece[:1]) for word in given[:1] for piece in surnames[:1]}
    found |= {key("initial", place, word[:1], piece) for word in given[:1] for piece in surnames}
    found |= {_pair(sound(word), piece) for word in record.called[:1] for piece in surnames}
    for address in record.addresses:
        found |= _of_address(address, is_nameless=not (given or surnames))
    if record.phone:
        found.add(phone_key(record.phone))
    return found


def _usual(words: tuple[str, ...]) -> list[str]:
    """The first given names, and of a nickname what it may stand for: Pepe García and José García share a key."""
    chosen = list(words[:WORDS_MOST])
    return [*chosen, *sorted({whole for word in chosen for whole in NICKNAMES.get(word, ()) if whole != word})[:3]]


def _pair(one: str, other: str) -> int:
    return key("names", *sorted((one, other)))


def _of_address(address: str, *, is_nameless: bool) -> set[int]:
    local = bare_local(address)
    found = {key("local", local)} if local and local not in SHARED_LOCALS else set[int]()
    if is_nameless:
        words = [sound(word) for word in re.split(r"[^a-z]+", address.partition("@")[0]) if len(word) > 2][:3]
        found |= {_pair(a, b) for place, a in enumerate(words) for b in words[place + 1 :]}
    return found
