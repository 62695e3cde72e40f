"""Rules in Spanish: a sentence for the whole, and what each condition says of one person.

Conditions are never unknown, so a negated group may be told by its negated parts: "no viven en X y no tienen Y".
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from crm.database import search_key
from crm.mailing import segment_names
from crm.mailing.segment_fields import FIELDS
from crm.mailing.segment_rules import AllOf, AnyOf, Condition, NotOf, Rule, conditions_of
from crm.mailing.segment_values import Value

LISTED = 12
"""Most values of a list that a sentence names; the rest are counted."""

EVERYONE = "Todas las personas de la Red"
NOBODY = "Ninguna persona"

NamesOf = Mapping[tuple[str, Value], str]
"""The words of each value of a rule, by field."""

_SOUNDS_I = re.compile(r"(?:i|hi)(?![aeou])|y(?![aeiou])(?=[a-z])")
_SOUNDS_O = re.compile(r"h?o|8|11(?!\d)")


def joined(parts: Sequence[str], word: str) -> str:
    """A list in Spanish: commas, and before the last one `y`, `o` or `ni`, which sound as the next word asks (`e`, `u`)."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} {_linked(word, parts[-1])} {parts[-1]}"


def _linked(word: str, following: str) -> str:
    heard = search_key(following).lstrip("«(“\"'¿¡ ")
    if word == "y" and _SOUNDS_I.match(heard):
        return "e"
    if word == "o" and _SOUNDS_O.match(heard):
        return "u"
    return word


def names_of(session: Session, rule: Rule) -> NamesOf:
    """The words of every value of a rule, one look-up for each field. Values of nothing that we know are missing."""
    wanted: dict[str, dict[Value, None]] = {}
    for condition in conditions_of(rule):
        if condition.test == "in":
            wanted.setdefault(condition.field, {}).update(dict.fromkeys(condition.values))
    return {
        (field, value): name for field, told in wanted.items() for value, name in FIELDS[field].names(session, list(told)).items()
    }


def warnings(rule: Rule, names: NamesOf) -> list[str]:
    """A sentence for each value that finds nobody because there is no such thing: a mistyped tag, a campaign from elsewhere."""
    told = ((condition.field, value) for condition in conditions_of(rule) if condition.test == "in" for value in condition.values)
    unknown = [pair for pair in dict.fromkeys(told) if pair not in names]
    return [
        f"{FIELDS[field].label}: no hay nada con el valor {segment_names.quote(str(value))}; esa parte no encuentra a nadie."
        for field, value in unknown
    ]


# --- one condition ------------------------------------------------------------------------------------------------------------


def said(condition: Condition, names: NamesOf, *, holds: bool, of_one: bool = False) -> str:
    """What is so when a condition holds or does not: `viven en Chile`, of one `no vive en Chile`."""
    words = FIELDS[condition.field].words
    positive = holds != condition.is_negative
    verb = words.one if of_one else words.many
    if words.never and condition.test == "in":
        return f"{verb} {words.never[1]}" if not positive else f"no {verb} {words.never[0]}"
    shown = joined(_shown(condition, names), "o" if positive else "ni")
    rest = words.rest[condition.test].replace("los últimos {} días", "el último día") if condition.values == (1,) else None
    phrase = f"{verb} {(rest or words.rest[condition.test]).replace('{}', shown)}"
    return phrase if positive else f"no {phrase}"


def _shown(condition: Condition, names: NamesOf) -> list[str]:
    if condition.test != "in":
        return [_shown_bound(condition)]
    shown = [names.get((condition.field, value), segment_names.quote(str(value))) for value in condition.values[:LISTED]]
    left = len(condition.values) - len(shown)
    return [*shown, f"{left:,} más"] if left else shown


def _shown_bound(condition: Condition) -> str:
    value = condition.values[0]
    if condition.test == "contains":
        return segment_names.quote(str(value))
    return f"{value:,}" if isinstance(value, int) else segment_names.day(str(value))


# --- the whole rule -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Group:
    """A rule without negated groups: conditions as phrases, groups of the other kind inside."""

    word: str
    parts: "tuple[_Group | str, ...]"


_EVERYONE = _Group("y", ())
_NOBODY = _Group("o", ())


def sentence(rule: Rule, names: NamesOf) -> str:
    """`Personas que viven en Estados Unidos o Canadá y tienen la etiqueta «taller»`."""
    told = _told(rule, names, holds=True)
    if isinstance(told, str):
        return f"Personas que {told}"
    if not told.parts:
        return EVERYONE if told == _EVERYONE else NOBODY
    return f"Personas que {_phrase(told)}"


def _told(rule: Rule, names: NamesOf, *, holds: bool) -> _Group | str:
    if isinstance(rule, Condition):
        return said(rule, names, holds=holds)
    if isinstance(rule, NotOf):
        return _told(rule.part, names, holds=not holds)
    every = isinstance(rule, AllOf) == holds
    return _grouped("y" if every else "o", [_told(part, names, holds=holds) for part in rule.parts])


def _grouped(word: str, parts: Sequence[_Group | str]) -> _Group | str:
    """Groups of the same kind become one; what changes nothing goes; what decides all stays alone."""
    kept: list[_Group | str] = []
    for part in parts:
        if isinstance(part, _Group) and part.word == word:
            kept += part.parts
        elif isinstance(part, _Group) and not part.parts:
            return part
        else:
            kept.append(part)
    kept = list(dict.fromkeys(kept))
    return kept[0] if len(kept) == 1 else _Group(word, tuple(kept))


def _phrase(group: _Group) -> str:
    parts = [part if isinstance(part, str) else f"({_phrase(part)})" for part in group.parts]
    if group.word == "o" and any(" o " in part or " u " in part for part in parts):
        return ", ".join([*parts[:-1], f"o {parts[-1]}"])
    return joined(parts, group.word)


# --- one person -------------------------------------------------------------------------------------------------------------------


def said_of_group(rule: AllOf | AnyOf | NotOf, *, holds: bool) -> str:
    """What a group found in one person."""
    if isinstance(rule, NotOf):
        return "Se pide que lo siguiente no se cumpla, y " + ("no se cumple" if holds else "se cumple")
    if not rule.parts:
        return "Sin condiciones: entra cualquier persona" if holds else "Sin opciones: no entra nadie"
    if isinstance(rule, AllOf):
        return "Se cumplen todas las condiciones" if holds else "No se cumplen todas las condiciones"
    return "Se cumple al menos una de las opciones" if holds else "No se cumple ninguna de las opciones"


def capitalized(text: str) -> str:
    return text[:1].upper() + text[1:]


def verdict(inside: bool, decisive: Sequence[str]) -> str:
    """`No está en el segmento: no tiene la etiqueta «taller».`"""
    start = "Está en el segmento" if inside else "No está en el segmento"
    shown = list(dict.fromkeys(decisive))
    named = shown[:LISTED] + ([f"{len(shown) - LISTED:,} condiciones más"] if len(shown) > LISTED else [])
    return f"{start}: {joined(named, 'y')}." if named else f"{start}."
