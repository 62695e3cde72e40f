"""A whole name told apart into given names and surnames, with the care that Spanish names ask for.

Nothing is lost or reordered: joined again, the parts read as the name was written.
"""

from crm.database import search_key
from crm.people.name_words import GIVEN_SHARES, SURNAME_SHARES, words_of

_PARTICLE_WORDS = "de del la las lo los y e i da das do dos di du le van von der den ter zu san santa mac mc al el bin ibn ben"
_PARTICLES = frozenset(_PARTICLE_WORDS.split())
_DEVOTIONS = frozenset(
    {
        "de jesus", "del carmen", "de los angeles", "del rosario", "de guadalupe", "de lourdes", "de la luz", "del pilar",
        "del socorro", "del refugio", "de fatima", "del consuelo", "de los dolores", "de la concepcion", "de la soledad",
        "de las mercedes", "del sagrado corazon", "de dios",
    }
)  # fmt: skip
"""Second parts of given names (María del Carmen, José de Jesús) that look like surnames with a particle."""
_SECOND_GIVEN = """
    maria jose luis juan carlos antonio miguel angel angeles alberto alejandro alejandra alfredo alicia ana andres andrea
    araceli arturo beatriz carmen carolina cecilia cristina cristobal daniel daniela david diego eduardo elena elizabeth emilio
    enrique ernesto esteban eugenia eugenio fernanda fernando francisco gabriel gabriela gerardo gloria graciela guadalupe
    guillermo gustavo hector ignacio ines irene isabel ivan javier jesus joaquin jorge josefina julia julieta julio laura
    leonardo leticia lourdes lucia luisa luz manuel manuela margarita mariana mario marta martha mauricio mercedes monica
    octavio pablo patricia paola pedro rafael ramon raquel raul regina ricardo roberto rocio rodrigo rosa rosario ruben salvador
    sara sergio silvia sofia susana teresa valeria vicente victor victoria ximena yolanda ann anne james jane john lee lynn
    marie mary michael paul robert thomas william
"""
"""Given names common enough as the second of two that the third word is taken for the only surname."""
_SECONDS = _DEVOTIONS | frozenset(_SECOND_GIVEN.split())


def split_full_name(text: str) -> tuple[str, str, str | None]:
    """Given names, first surname and second surname of a name as written, "Ana Núñez López" or "Núñez López, Ana"."""
    text = text.strip(" ,")
    before, comma, after = text.partition(",")
    if comma:
        return (" ".join(after.split()), *split_surnames(before))
    parts = _parts(text)
    if len(parts) < 2:
        return " ".join(parts), "", None
    given = _given_count(parts)
    surnames = parts[given:]
    return " ".join(parts[:given]), surnames[0], surnames[1] if len(surnames) > 1 else None


def split_surnames_first(text: str) -> tuple[str, str, str | None]:
    """As `split_full_name`, of a name that begins with its surnames: "Núñez López Ana María", with or without a comma."""
    if "," in text.strip(" ,"):
        return split_full_name(text)
    parts = _parts(text)
    count = 1 if len(parts) < 3 or (len(parts) == 3 and search_key(parts[1]) in _SECONDS) else 2
    surnames, given = parts[:count], parts[count:]
    return " ".join(given), surnames[0] if surnames else "", surnames[1] if len(surnames) > 1 else None


def seems_turned(text: str, *, surnames_first: bool = False) -> bool:
    """Whether a name is likelier written the other way round than it was read: "Núñez López Ana" as if Núñez were her name. Told by
    how common its first and last words are as given names and as surnames; of a word that is in neither list nothing is told."""
    words = words_of(text)
    if "," in text.strip(" ,") or len(words) < 2:
        return False
    first, last = (words[-1], words[0]) if surnames_first else (words[0], words[-1])
    return _is_rather_surname(first) and _is_rather_given(last)


def _is_rather_given(word: str) -> bool:
    return GIVEN_SHARES.get(word, 0.0) > SURNAME_SHARES.get(word, 0.0)


def _is_rather_surname(word: str) -> bool:
    return SURNAME_SHARES.get(word, 0.0) > GIVEN_SHARES.get(word, 0.0)


def split_surnames(text: str) -> tuple[str, str | None]:
    """First and second surname, when there are exactly two ("de la Cruz Núñez"); else all of it is the first."""
    parts = _parts(text)
    if len(parts) == 2:
        return parts[0], parts[1]
    return " ".join(parts), None


def _given_count(parts: list[str]) -> int:
    """How many parts, of two or more, are given names: in Mexico nearly everyone has two surnames."""
    if len(parts) == 3:
        return 2 if search_key(parts[1]) in _SECONDS else 1
    return max(1, len(parts) - 2)


def _parts(text: str) -> list[str]:
    """Words, each with the particles before it; «Ortega y Gasset» is one part."""
    parts: list[str] = []
    held: list[str] = []
    joins = False
    for word in text.split():
        key = search_key(word).rstrip(".")
        if key in _PARTICLES and (parts or held or key not in {"san", "santa", "el"}):
            joins = joins or (key in {"y", "e", "i"} and not held and bool(parts))
            held.append(word)
            continue
        whole = " ".join([*held, word])
        if joins:
            parts[-1] += " " + whole
        else:
            parts.append(whole)
        held, joins = [], False
    if held:
        parts = [*parts[:-1], " ".join([*parts[-1:], *held])]
    return parts
