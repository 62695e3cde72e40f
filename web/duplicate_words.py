"""Duplicates in Spanish: why two records may be of one person, and how sure that is."""

from collections.abc import Sequence

from crm.people.evidence import AGAINST, Grade, Match, Reason

GRADES = {
    Grade.CERTAIN: ("Casi seguro", "bad"),
    Grade.PROBABLE: ("Probable", "warn"),
    Grade.POSSIBLE: ("Posible", "off"),
}
"""How sure, with the colour of its mark."""
REASONS = {
    Reason.SAME_ADDRESS: "la misma dirección de correo",
    Reason.DOTTED_ADDRESS: "direcciones que solo difieren en puntos o signos",
    Reason.TYPED_DOMAIN: "direcciones que solo difieren en una letra del dominio",
    Reason.OTHER_DOMAIN: "el mismo usuario de correo en otro dominio",
    Reason.ALIKE_ADDRESS: "direcciones que difieren en una letra",
    Reason.ADDRESS_TELLS_NAME: "la dirección de una lleva el nombre de la otra",
    Reason.SAME_NAMES: "el mismo nombre",
    Reason.SWAPPED_SURNAMES: "el mismo nombre con los apellidos en otro orden",
    Reason.CROSSED_NAMES: "el nombre de una está en los apellidos de la otra",
    Reason.MISSING_SURNAME: "el mismo nombre, a una le falta un apellido",
    Reason.FEWER_GIVEN: "una tiene solo parte del nombre de la otra",
    Reason.TYPED_NAME: "nombres que difieren en una letra",
    Reason.NICKNAME: "una usa el nombre corto de la otra",
    Reason.INITIAL: "una escribe solo la inicial",
    Reason.SAME_PHONE: "el mismo teléfono",
    Reason.SAME_CITY: "la misma ciudad",
    Reason.OTHER_SURNAME: "un apellido distinto",
    Reason.OTHER_GIVEN: "un segundo nombre distinto",
    Reason.OTHER_PHONE: "teléfonos distintos",
    Reason.OTHER_CITY: "ciudades distintas",
}


def reasons_for(match: Match) -> list[str]:
    """What speaks for one person, the strongest first."""
    return [REASONS[one] for one in match.reasons if one not in AGAINST]


def reasons_against(match: Match) -> list[str]:
    """What speaks against it."""
    return [REASONS[one] for one in match.reasons if one in AGAINST]


def why(match: Match) -> str:
    """Both in one sentence without a full stop: «el mismo teléfono y la misma ciudad; en contra, un apellido distinto»."""
    against = reasons_against(match)
    return "; en contra, ".join(part for part in (_joined(reasons_for(match)), _joined(against)) if part)


def _joined(words: Sequence[str]) -> str:
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} y {words[-1]}"


def certainty(match: Match) -> str:
    """How sure as a share of a hundred, never quite all of it: `97 %`. A score of bits is read as odds."""
    share = 1 / (1 + 2**-match.score)
    return f"{min(99, max(1, round(share * 100)))} %"
