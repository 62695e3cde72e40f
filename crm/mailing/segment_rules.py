"""The rule of a segment as a tree, and reading it from JSON.

    {"all": [rule, ...]}    every part holds; without parts: everyone
    {"any": [rule, ...]}    at least one part holds; without parts: nobody
    {"not": rule}           the part does not hold
    {"field": name, "op": operator, "value": value}

What is wrong is told with its path: ``rule.all[0].value``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from crm.errors import InvalidInput
from crm.mailing.segment_fields import FIELDS, LIST_OPERATORS, NEGATIVE_OPERATORS, Field
from crm.mailing.segment_values import AmbiguousCity, Value

DEPTH_LIMIT = 8
CONDITION_LIMIT = 200
"""Most conditions of a rule, and most groups."""
LIST_LIMIT = 1_000
VALUE_LIMIT = 10_000
"""Most values of a whole rule: both engines bound the parameters of one SELECT (SQLite 32,766; PostgreSQL 65,535)."""


@dataclass(frozen=True, slots=True)
class AllOf:
    parts: "tuple[Rule, ...]"


@dataclass(frozen=True, slots=True)
class AnyOf:
    parts: "tuple[Rule, ...]"


@dataclass(frozen=True, slots=True)
class NotOf:
    part: "Rule"


@dataclass(frozen=True, slots=True)
class Condition:
    """One question about a person. ``values`` holds one value, or those of a list."""

    field: str
    op: str
    values: tuple[Value, ...]

    @property
    def is_negative(self) -> bool:
        """Whether it asks that something be not so: then it is the negation of the same question."""
        return (self.op in NEGATIVE_OPERATORS) != (self.values == (False,))

    @property
    def test(self) -> str:
        """The question behind the operator: `in`, `contains`, `before`, `after` or `within_days`."""
        return "in" if self.op in (*LIST_OPERATORS, "is", "is_not") else self.op


Rule = AllOf | AnyOf | NotOf | Condition


def conditions_of(rule: Rule) -> Iterator[Condition]:
    """Every condition of a rule, in order."""
    if isinstance(rule, Condition):
        yield rule
    elif isinstance(rule, NotOf):
        yield from conditions_of(rule.part)
    else:
        for part in rule.parts:
            yield from conditions_of(part)


def to_json(rule: Rule) -> dict[str, Any]:
    """The rule as it is stored and sent; `parse` reads it back to an equal rule."""
    if isinstance(rule, AllOf):
        return {"all": [to_json(part) for part in rule.parts]}
    if isinstance(rule, AnyOf):
        return {"any": [to_json(part) for part in rule.parts]}
    if isinstance(rule, NotOf):
        return {"not": to_json(rule.part)}
    value = list(rule.values) if rule.op in LIST_OPERATORS else rule.values[0]
    return {"field": rule.field, "op": rule.op, "value": value}


def parse(rule: object) -> Rule:
    """Read a rule; InvalidInput(segment_*) with the path of the first fault in ``field``."""
    return _Reading().read(rule, "rule", 1)


class _Reading:
    """One reading of one rule: what was counted so far."""

    def __init__(self) -> None:
        self.conditions = 0
        self.groups = 0
        self.values = 0

    def read(self, rule: object, path: str, depth: int) -> Rule:
        if not isinstance(rule, dict):
            raise InvalidInput("segment_shape_invalid", field=path)
        if depth > DEPTH_LIMIT:
            raise InvalidInput("segment_too_deep", field=path, limit=DEPTH_LIMIT)
        if rule.keys() == {"field", "op", "value"}:
            return self._condition(rule, path)
        if len(rule) != 1 or not rule.keys() <= {"all", "any", "not"}:
            raise InvalidInput("segment_shape_invalid", field=path)
        self.groups += 1
        self._check_length(path)
        [(name, inner)] = rule.items()
        if name == "not":
            return NotOf(self.read(inner, f"{path}.not", depth + 1))
        if not isinstance(inner, list):
            raise InvalidInput("segment_shape_invalid", field=f"{path}.{name}")
        parts = tuple(self.read(part, f"{path}.{name}[{number}]", depth + 1) for number, part in enumerate(inner))
        return AllOf(parts) if name == "all" else AnyOf(parts)

    def _condition(self, rule: dict[str, object], path: str) -> Condition:
        self.conditions += 1
        self._check_length(path)
        name, op = rule["field"], rule["op"]
        field = FIELDS.get(name) if isinstance(name, str) else None
        if field is None:
            raise InvalidInput("segment_field_unknown", field=f"{path}.field")
        if not isinstance(op, str) or op not in field.operators:
            raise InvalidInput("segment_operator_unknown", field=f"{path}.op", operators=", ".join(field.operators))
        return Condition(field.name, op, self._values(field, op, rule["value"], f"{path}.value"))

    def _values(self, field: Field, op: str, told: object, path: str) -> tuple[Value, ...]:
        if op not in LIST_OPERATORS:
            self.values += 1
            return (_read_value(field, op, told, path),)
        if not isinstance(told, list) or not told:
            raise InvalidInput("segment_value_invalid", field=path, expected="una lista con al menos un valor")
        self.values += len(told)
        if len(told) > LIST_LIMIT or self.values > VALUE_LIMIT:
            raise InvalidInput("segment_too_many_values", field=path, limit=f"{LIST_LIMIT:,}", total=f"{VALUE_LIMIT:,}")
        return tuple(dict.fromkeys(_read_value(field, op, value, path) for value in told))

    def _check_length(self, path: str) -> None:
        if max(self.conditions, self.groups) > CONDITION_LIMIT:
            raise InvalidInput("segment_too_long", field=path, limit=CONDITION_LIMIT)


def _read_value(field: Field, op: str, told: object, path: str) -> Value:
    reading = field.reading(op)
    try:
        return reading.read(told)
    except AmbiguousCity as error:
        raise InvalidInput("segment_city_ambiguous", field=path) from error
    except ValueError as error:
        raise InvalidInput("segment_value_invalid", field=path, expected=reading.expected) from error
