"""Names as Spanish writes, orders and greets with them. Particles stay inside the surname; gender is never inferred."""

import re
from functools import lru_cache
from typing import Protocol

from crm.database import search_key, sort_key
from crm.people.models import Language, Treatment

SORT_KEY_LENGTH = 700


class Named(Protocol):
    """Anything that carries the names of a person: a contact, or what is known before it is one."""

    @property
    def given_names(self) -> str: ...
    @property
    def first_surname(self) -> str: ...
    @property
    def second_surname(self) -> str | None: ...
    @property
    def preferred_name(self) -> str | None: ...
    @property
    def treatment(self) -> Treatment | None: ...


def display_name(person: Named) -> str:
    """`Nombre Primero Segundo`; empty when there is no name."""
    return _join(person.given_names, person.first_surname, person.second_surname)


def list_name(person: Named) -> str:
    """`Primero Segundo, Nombre`, as lists are ordered."""
    return ", ".join(part for part in (_joined(person.first_surname, person.second_surname), _joined(person.given_names)) if part)


def wished_name(person: Named) -> str:
    """What the person wishes to be called: the preferred name, else the given names; may be empty."""
    return _joined(person.preferred_name) or _joined(person.given_names)


def greeting(person: Named, language: Language) -> str:
    """The whole greeting with its colon (in English its comma); a feminine or masculine form only when the person chose it."""
    name = wished_name(person)
    if language is Language.ENGLISH:
        return f"Hello {name}," if name else "Hello,"
    if person.treatment is Treatment.NEUTRAL and display_name(person):
        return f"Reciba un cordial saludo, {display_name(person)}:"
    if person.treatment in (Treatment.ESTIMADA, Treatment.ESTIMADO) and name:
        return f"{person.treatment.value.capitalize()} {name}:"
    return f"Hola, {name}:" if name else "Hola:"


def order_key(given_names: str, first_surname: str, second_surname: str | None) -> str:
    """`Contact.sort_key`: surnames, then given names, in Spanish order."""
    return sort_key(_joined(first_surname, second_surname, given_names))[:SORT_KEY_LENGTH]


def _join(*parts: str | None) -> str:
    return " ".join(" ".join([part for part in parts if part]).split())


_joined = lru_cache(maxsize=4096)(_join)
"""For parts that many people share."""


# --- are two names of one person? -----------------------------------------------------------------------------------------

PARTICLES = frozenset(["de", "del", "la", "las", "los", "el", "y", "e", "da", "do", "das", "dos", "di", "van", "von", "der", "den"])
WORD = re.compile(r"\w+")
SOUNDS = str.maketrans({"z": "s", "v": "b", "y": "i", "x": "j", "h": None})
"""Letters that are often written one for another in a surname: González and Gonzales."""


def names_agree(one: Named, other: Named) -> bool:
    """Whether two names may be of one person: tolerant to a missing part, order, accents, initials and spelling of surnames.

    Once a name agreed it keeps agreeing while the other one's empty parts are filled, so that a second import of a file
    decides as the first one did.
    """
    if (one.given_names, one.first_surname) == (other.given_names, other.first_surname):
        return True
    given, surnames = _given(one), _surnames(one)
    other_given, other_surnames = _given(other), _surnames(other)
    straight = _share(given, other_given) and _share(_sounds(surnames), _sounds(other_surnames))
    return straight or bool(_crossed(given, other_surnames) and _crossed(surnames, other_given))


def same_names(one: Named, other: Named) -> bool:
    """Whether two names are the same, part by part, however accented or cased."""
    return all(
        search_key(a or "") == search_key(b or "")
        for a, b in (
            (one.given_names, other.given_names),
            (one.first_surname, other.first_surname),
            (one.second_surname, other.second_surname),
        )
    )


def _given(person: Named) -> frozenset[str]:
    return _words(person.given_names)


def _surnames(person: Named) -> frozenset[str]:
    return _words(f"{person.first_surname} {person.second_surname or ''}")


def _words(text: str) -> frozenset[str]:
    words = frozenset(WORD.findall(search_key(text)))
    return (words - PARTICLES) or words


def _sounds(words: frozenset[str]) -> frozenset[str]:
    return frozenset(word.translate(SOUNDS) or word for word in words)


def _share(some: frozenset[str], others: frozenset[str]) -> bool:
    """Whether two parts of a name have a word in common; a part that is missing contradicts nothing."""
    return not some or not others or _crossed(some, others)


def _crossed(some: frozenset[str], others: frozenset[str]) -> bool:
    return bool(some & others) or any(_is_initial(a, b) for a in some for b in others)


def _is_initial(one: str, other: str) -> bool:
    return one[0] == other[0] and (len(one) == 1 or len(other) == 1)
