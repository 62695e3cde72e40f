"""The form of a segment: groups of rows, read from a rule and from what a browser posts, and made a rule again.

Every name says where its value belongs: ``0.kind`` (how the rows of the first group are joined), ``0.rows`` (how many they
are), ``0.2.field``, ``0.2.op``, ``0.2.value`` (a value chosen, as JSON) and ``0.2.typed`` of its third row.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from starlette.datastructures import FormData

from crm.database import search_key
from crm.errors import InvalidInput
from crm.mailing.segment_fields import FIELDS, LIST_OPERATORS
from crm.mailing.segment_rules import AllOf, AnyOf, Condition, NotOf, Rule, parse
from crm.mailing.segment_schemas import OptionOut, SegmentFieldOut
from crm.mailing.segment_values import Value
from web.asked import number_of, text_of, whole_number

GROUP_WORDS = {"all": "todas estas condiciones", "any": "cualquiera de estas condiciones", "none": "ninguna de estas condiciones"}
"""How the rows of a group are joined, after «Cumplen»."""
JOIN_WORDS = {"all": "Y además", "any": "O bien"}
"""How groups are joined."""
GROUPS_MOST = 12
ROWS_MOST = 40
FEW_OPTIONS = 12
"""Up to so many, every option is shown to be ticked; of more, one types and chooses."""

Options = Mapping[str, SegmentFieldOut]


@dataclass(frozen=True)
class Row:
    """One condition as the form holds it, whole or not yet."""

    field: str
    op: str
    values: tuple[Value, ...] = ()
    typed: str = ""


@dataclass(frozen=True)
class Group:
    """Rows, and how they are joined: `all`, `any` or `none`."""

    kind: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Draft:
    """A segment as the form shows it; whatever was typed is here, right or wrong."""

    name: str
    groups: tuple[Group, ...]
    join: str = "all"
    version: int = 0
    problems: Mapping[str, str] = field(default_factory=dict)
    """Name of a field to what is wrong with it."""

    @property
    def rule(self) -> dict[str, Any]:
        """The rule that the form says, as it is stored; it may be wrong. The first group of the kind of the whole is not nested."""
        parts: list[Any] = []
        for number, group in enumerate(self.groups):
            own = [_condition(row) for row in group.rows]
            inner = {"not": {"any": own}} if group.kind == "none" else {group.kind: own}
            parts += own if number == 0 and group.kind == self.join else [inner]
        if len(self.groups) == 1 and self.groups[0].kind != self.join:
            only: dict[str, Any] = parts[0]
            return only
        return {self.join: parts}


def _condition(row: Row) -> dict[str, Any]:
    value: Any = list(row.values) if row.op in LIST_OPERATORS else row.values[0] if row.values else None
    return {"field": row.field, "op": row.op, "value": value}


# --- from a rule --------------------------------------------------------------------------------------------------------------


def new_row(name: str = "country") -> Row:
    """A row that asks nothing yet."""
    operators = FIELDS[name].operators
    return Row(name, operators[0], (True,) if FIELDS[name].kind == "truth" else ())


def of_rule(name: str, rule: Rule, version: int = 0) -> Draft | None:
    """The form of a rule; None when the rule has groups inside groups, which the form does not show."""
    join = "any" if isinstance(rule, AnyOf) and not all(isinstance(part, Condition) for part in rule.parts) else "all"
    parts = rule.parts if isinstance(rule, AllOf) or (join == "any" and isinstance(rule, AnyOf)) else (rule,)
    own = tuple(_row(part) for part in parts if isinstance(part, Condition))
    groups = [_group(part) for part in parts if not isinstance(part, Condition)]
    if len(groups) >= GROUPS_MOST or any(group is None or len(group.rows) > ROWS_MOST for group in groups) or len(own) > ROWS_MOST:
        return None
    first = [Group(join, own)] if own else []
    return Draft(name, tuple(first + [group for group in groups if group]), join, version)


def _row(part: Condition) -> Row:
    return Row(part.field, part.op, part.values)


def _group(part: Rule) -> Group | None:
    inner = part.part if isinstance(part, NotOf) else part
    if isinstance(inner, Condition):
        return Group("none", (_row(inner),))
    if isinstance(inner, NotOf) or not all(isinstance(each, Condition) for each in inner.parts):
        return None
    if isinstance(part, NotOf) and isinstance(inner, AllOf) and len(inner.parts) != 1:
        return None
    kind = "none" if isinstance(part, NotOf) else "all" if isinstance(inner, AllOf) else "any"
    return Group(kind, tuple(_row(each) for each in inner.parts if isinstance(each, Condition)))


# --- from a form --------------------------------------------------------------------------------------------------------------


def read(form: FormData) -> Draft:
    """What a browser posted. A row whose field was changed begins anew under it."""
    count = min(number_of(form, "groups") or 0, GROUPS_MOST)
    groups = tuple(_read_group(form, number) for number in range(count))
    join = text_of(form, "join")
    return Draft(text_of(form, "name"), groups, join if join in JOIN_WORDS else "all", number_of(form, "version") or 0)


def _read_group(form: FormData, number: int) -> Group:
    kind = text_of(form, f"{number}.kind")
    rows = [_read_row(form, f"{number}.{row}") for row in range(min(number_of(form, f"{number}.rows") or 0, ROWS_MOST))]
    return Group(kind if kind in GROUP_WORDS else "all", tuple(row for row in rows if row))


def _read_row(form: FormData, place: str) -> Row | None:
    name, op = text_of(form, f"{place}.field"), text_of(form, f"{place}.op")
    if name not in FIELDS:
        return None
    if name != (text_of(form, f"{place}.was") or name):
        return new_row(name)
    if op not in FIELDS[name].operators:
        op = FIELDS[name].operators[0]
    values = tuple(_value(text) for text in form.getlist(f"{place}.value") if isinstance(text, str))
    typed = text_of(form, f"{place}.typed").strip()
    told = tuple(dict.fromkeys(value for value in values if value is not None))
    return Row(name, op, told if op in LIST_OPERATORS else told[:1], typed)


def _value(text: str) -> Value | None:
    """A value that our own page wrote."""
    try:
        value = json.loads(text) if len(text) < 1000 else None
    except ValueError:
        return None
    if isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
        return None
    return value if isinstance(value, str | int | bool) else None


def encoded(value: Value) -> str:
    """A value as the form carries it."""
    return json.dumps(value, ensure_ascii=False)


# --- what was typed -----------------------------------------------------------------------------------------------------------


def taking_typed(draft: Draft, options: Options) -> Draft:
    """The draft with what was typed made values; what cannot be told stays typed, with its problem."""
    problems = dict(draft.problems)
    groups = []
    for number, group in enumerate(draft.groups):
        rows = []
        for place, row in enumerate(group.rows):
            taken, wrong = _taking(row, options)
            if wrong:
                problems[f"{number}.{place}.typed"] = wrong
            rows.append(taken)
        groups.append(replace(group, rows=tuple(rows)))
    return replace(draft, groups=tuple(groups), problems=problems)


def _taking(row: Row, options: Options) -> tuple[Row, str | None]:
    takes = takes_of(row, options)
    if not row.typed:
        return (replace(row, values=()) if takes in {"text", "date", "days"} else row), None
    if takes == "days":
        if not (row.typed.isascii() and row.typed.isdigit() and len(row.typed) < 7):
            return replace(row, values=()), "Escriba un número de días, por ejemplo 30."
        return replace(row, values=(int(row.typed),)), None
    if takes in {"text", "date"}:
        return replace(row, values=(row.typed,)), None
    value, wrong = _meant(row, options[row.field].options or [])
    if value is None:
        return row, wrong
    values = (*row.values, value) if row.op in LIST_OPERATORS else (value,)
    return replace(row, values=tuple(dict.fromkeys(values)), typed=""), None


def _meant(row: Row, options: Sequence[OptionOut]) -> tuple[Value | None, str | None]:
    """The option that a text names: by its whole label, or as the only one that holds its words; else the text itself, where
    the field understands it."""
    told = search_key(row.typed)
    same = [option for option in options if search_key(option.label) == told]
    found = same or [option for option in options if all(word in search_key(option.label) for word in told.split())]
    if len(found) == 1:
        return found[0].value, None
    if found:
        shown = "; ".join(option.label for option in found[:4])
        return None, f"Hay varias: {shown}{'…' if len(found) > 4 else ''}. Escriba más o elija una de la lista."
    try:
        parsed = parse({"field": row.field, "op": "in", "value": [row.typed]})
    except InvalidInput as error:
        return None, error.sentence
    return (parsed.values[0] if isinstance(parsed, Condition) else None), None


def takes_of(row: Row, options: Options) -> str:
    """What the operator of a row takes: `list`, `one`, `text`, `date`, `days`, `truth` or `never`."""
    return next(operator.takes for operator in options[row.field].operators if operator.name == row.op)


# --- buttons ------------------------------------------------------------------------------------------------------------------


def moved(draft: Draft, deed: str) -> Draft:
    """The draft after a button: ``row:0`` adds a row to a group, ``drop:0.2`` takes one away, ``group:any`` adds a group,
    ``ungroup:1`` takes one away. A deed that means nothing changes nothing."""
    what, _, which = deed.partition(":")
    groups = list(draft.groups)
    if what == "group" and which in GROUP_WORDS and len(groups) < GROUPS_MOST:
        return replace(draft, groups=(*groups, Group(which, (new_row(),))))
    place, _, row = which.partition(".")
    number = whole_number(place)
    if number is None or number >= len(groups):
        return draft
    group = groups[number]
    if what == "ungroup":
        del groups[number]
    elif what == "row" and len(group.rows) < ROWS_MOST:
        groups[number] = replace(group, rows=(*group.rows, new_row(group.rows[-1].field if group.rows else "country")))
    elif what == "drop":
        rows = tuple(each for index, each in enumerate(group.rows) if index != whole_number(row))
        groups[number : number + 1] = [replace(group, rows=rows)] if rows else []
    return replace(draft, groups=tuple(groups))


# --- what is wrong ------------------------------------------------------------------------------------------------------------


def checked(draft: Draft) -> tuple[Rule | None, Draft]:
    """The rule of the form, or None and the draft with a problem for each row that is not whole."""
    problems = dict(draft.problems)
    for number, group in enumerate(draft.groups):
        for place, row in enumerate(group.rows):
            wrong = _wrong(row)
            if wrong:
                problems.setdefault(f"{number}.{place}.typed", wrong)
    if any(name != "name" for name in problems):
        return None, replace(draft, problems=problems)
    try:
        return parse(draft.rule), replace(draft, problems=problems)
    except InvalidInput as error:
        return None, replace(draft, problems={**problems, "": error.sentence})


def _wrong(row: Row) -> str | None:
    if not row.values:
        return "Escriba o elija un valor."
    try:
        parse(_condition(row))
    except InvalidInput as error:
        return error.sentence
    return None
