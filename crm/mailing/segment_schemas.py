"""What comes in and goes out about segments."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints
from pydantic.config import JsonDict

from crm.people.schemas import ONE_LINE

SegmentName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=ONE_LINE)]

_RULE: JsonDict = {
    "all": [{"field": "country", "op": "in", "value": ["US", "CA"]}, {"not": {"field": "tag", "op": "is", "value": "taller"}}]
}


class SegmentIn(BaseModel):
    """A segment as it is written: its name, and its rule as `segment_rules` describes it."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"name": "Norteamérica sin taller", "rule": _RULE}})

    name: SegmentName
    rule: dict[str, Any]


class RuleIn(BaseModel):
    """A rule to try before it is saved."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"rule": _RULE}})

    rule: dict[str, Any]


class SegmentOut(BaseModel):
    id: int
    name: str
    rule: dict[str, Any]
    sentence: str
    created_at: datetime
    version: int


class PersonOut(BaseModel):
    id: int
    name: str
    """Surnames first, as lists are ordered."""


class PreviewOut(BaseModel):
    """Who a rule finds now."""

    count: int
    sample: list[PersonOut]
    """Up to five of them."""
    sentence: str
    warnings: list[str]
    """Sentences about values that find nobody: a tag that does not exist."""


class OperatorOut(BaseModel):
    name: str
    label: str
    takes: Literal["list", "one", "text", "date", "days", "truth", "never"]
    """What ``value`` must be: a list or one of the options, a text, a day as 2027-01-15, a number of days, true or false."""


class OptionOut(BaseModel):
    value: str | int | bool
    label: str


class SegmentFieldOut(BaseModel):
    """A field that rules may ask about."""

    name: str
    label: str
    operators: list[OperatorOut]
    options: list[OptionOut] | None
    """Values in use, in Spanish order, at most 1,000; null where any value of the kind may be written."""


class PartOut(BaseModel):
    """One part of a rule against one person."""

    kind: Literal["all", "any", "not", "condition"]
    holds: bool
    decided: bool
    """Whether the verdict rests on it: without it, it could have been another."""
    sentence: str
    parts: "list[PartOut]"


class Explanation(BaseModel):
    """Why a person is in a segment or out of it."""

    inside: bool
    sentence: str
    tree: PartOut
