"""What one row that comes in does to one person: a rule per kind of data, without asking the database.

An empty cell never erases. What is told of somebody who is known fills what is empty, replaces what differs, or is passed over,
as a rule for each kind of data says (`Rules`). Only the first row of a file replaces; later rows of it only fill what is empty, so
that a second import of the file changes nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from crm.database import search_key
from crm.people.addresses import Address
from crm.people.models import Channel, ConsentState, LeaderSector, Purpose, Treatment
from crm.people.organizations import organization_key
from crm.people.schemas import ConsentIn, ContactIn
from crm.people.tags import tag_key

NAMES = ("given_names", "first_surname", "second_surname")
SIMPLE = ("preferred_name", "treatment", "academic_title", "language", "phone", "home_borough", "source")
PLACE = ("city_id", "city_as_typed", "country")
COLUMNS = NAMES + SIMPLE + PLACE
"""Columns of `contact` that a row may give."""


class Rule(StrEnum):
    """What a row does to what is known of a person."""

    FILL = "fill"
    REPLACE = "replace"
    KEEP = "keep"
    """Nothing: it speaks only of people who are new."""


_KIND = dict.fromkeys(("given_names", "first_surname", "second_surname", "surnames", "full_name", "surnames_first"), "names")
_KIND |= dict.fromkeys(("city", "region", "country"), "place") | dict.fromkeys(("organization", "post"), "organization")


@dataclass(frozen=True)
class Rules:
    """A rule for each kind of data: names and place are one kind each, since their parts mean nothing alone."""

    usual: Rule = Rule.REPLACE
    others: Mapping[str, Rule] = field(default_factory=dict)

    @classmethod
    def told(cls, by_field: Mapping[str, str]) -> "Rules":
        """Of what a person chose for the columns of a list, by the field of each; of several for one kind the most careful one."""
        careful = [Rule.KEEP, Rule.FILL, Rule.REPLACE]
        others: dict[str, Rule] = {}
        for name, word in by_field.items():
            kind = _KIND.get(name, name)
            others[kind] = min(Rule(word), others.get(kind, Rule(word)), key=careful.index)
        return cls(Rule.FILL, others)

    def replaces(self, person: "Person", kind: str) -> bool:
        return not person.is_told and self.others.get(kind, self.usual) is Rule.REPLACE

    def passes_over(self, person: "Person", kind: str) -> bool:
        return person.id is not None and self.others.get(kind) is Rule.KEEP


REPLACING = Rules()
"""As another tool of the Institute tells what it knows, the names apart, which are only completed."""


class Row(NamedTuple):
    """A row that came in, with its addresses checked."""

    data: ContactIn
    addresses: list[Address]
    hashes: list[str]


@dataclass(eq=False, slots=True)
class HeldPost:
    """A current post in an organization, stored (with its id) or new."""

    organization: str
    title: str | None
    id: int | None = None
    title_before: str | None = None


@dataclass(eq=False, slots=True)
class Person:
    """What is known of one person while rows are taken in, and what they added."""

    id: int | None = None
    given_names: str = ""
    first_surname: str = ""
    second_surname: str | None = None
    preferred_name: str | None = None
    treatment: Treatment | None = None
    academic_title: str | None = None
    language: Any = None
    phone: str | None = None
    city_id: int | None = None
    city_as_typed: str | None = None
    country: str | None = None
    home_borough: str | None = None
    source: str | None = None
    before: dict[str, Any] = field(default_factory=dict)
    """The columns as they are stored, when they are."""
    is_blocked: bool = False
    has_left: bool = False
    is_told: bool = False
    """An earlier row of the same file spoke of this person."""
    addresses: dict[str, str] = field(default_factory=dict)
    """Active ones: key to spelling."""
    hashes: list[str] = field(default_factory=list)
    """Of all stored addresses, retired ones too: whoever left by one of them left."""
    preferred: tuple[int, str] | None = None
    """Id and hash of the stored address that is written to."""
    retired: set[str] = field(default_factory=set)
    """Keys of addresses that were retired; no row brings them back."""
    new_addresses: list[tuple[Address, str]] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    """Key to spelling."""
    new_tags: dict[str, str] = field(default_factory=dict)
    sectors: set[LeaderSector] = field(default_factory=set)
    new_sectors: list[LeaderSector] = field(default_factory=list)
    posts: dict[str, HeldPost] = field(default_factory=dict)
    """By `organization_key`."""
    consents: dict[tuple[Purpose, Channel], ConsentState] = field(default_factory=dict)
    copied: set[tuple[Purpose, Channel]] = field(default_factory=set)
    """What of them was only copied from a record that was joined."""
    new_consents: list[ConsentIn] = field(default_factory=list)

    @property
    def has_new_parts(self) -> bool:
        new_posts = any(post.id is None or post.title != post.title_before for post in self.posts.values())
        return bool(self.new_addresses or self.new_tags or self.new_sectors or self.new_consents or new_posts)

    @property
    def changed_columns(self) -> list[str]:
        return [column for column in COLUMNS if getattr(self, column) != self.before[column]]


class Spot(NamedTuple):
    """Where a row says that a person lives: a city's row, or the words as typed; the country; and what to review."""

    city_id: int | None
    city_as_typed: str | None
    country: str | None
    warnings: Sequence[str]


Place = Callable[[str | None, str | None], Spot]


def merge(person: Person, row: Row, place: Place, rules: Rules = REPLACING) -> tuple[bool, list[str]]:
    """Give a row to its person: whether something changed, and codes of what to review."""
    data = row.data
    warnings: list[str] = []
    changed = not rules.passes_over(person, "names") and _merge_names(person, data, rules)
    changed |= _merge_simple(person, data, rules)
    if (data.city or data.country) and not rules.passes_over(person, "place"):
        changed |= _merge_place(person, place(data.city, data.country), rules, warnings)
    changed |= not rules.passes_over(person, "emails") and _merge_addresses(person, row)
    changed |= not rules.passes_over(person, "tags") and _merge_tags(person, data.tags)
    changed |= not rules.passes_over(person, "leader_sectors") and _merge_sectors(person, data.leader_sectors)
    changed |= not rules.passes_over(person, "organization") and _merge_post(person, data, rules, warnings)
    changed |= _merge_consents(person, data.consents, warnings)
    person.is_told = True
    return changed, warnings


def _merge_names(person: Person, data: ContactIn, rules: Rules) -> bool:
    """Complete the names; a second surname only behind the same first one. They are replaced only where somebody said so.

    Only the first row of a file does, or the first that names the person at all: were names to grow with every row, a
    second import would judge by `names_agree` otherwise than the first one.
    """
    if person.is_told and (person.given_names or person.first_surname or person.second_surname):
        return False
    before = person.given_names, person.first_surname, person.second_surname
    if "names" in rules.others and rules.replaces(person, "names"):
        person.given_names, person.first_surname = data.given_names or before[0], data.first_surname or before[1]
        person.second_surname = data.second_surname or before[2]
    person.given_names, person.first_surname = person.given_names or data.given_names, person.first_surname or data.first_surname
    same_surname = search_key(data.first_surname) == search_key(person.first_surname)
    if data.second_surname and not person.second_surname and same_surname:
        person.second_surname = data.second_surname
    return before != (person.given_names, person.first_surname, person.second_surname)


def _merge_simple(person: Person, data: ContactIn, rules: Rules) -> bool:
    changed = False
    for column in SIMPLE:
        told = getattr(data, column)
        if told is not None and not rules.passes_over(person, column):
            known = getattr(person, column)
            if known is None or (known != told and rules.replaces(person, column)):
                setattr(person, column, told)
                changed = True
    return changed


def _merge_place(person: Person, told: Spot, rules: Rules, warnings: list[str]) -> bool:
    """City, spelling and country change together; a country alone never erases a city."""
    warnings += told.warnings
    before = (person.city_id, person.city_as_typed, person.country)
    differs = bool(told.country and person.country and told.country != person.country)
    only_fills = not rules.replaces(person, "place")
    if told.city_id is not None or told.city_as_typed:
        # What was typed of an unknown city settles nothing against a city that is known now.
        typed = person.city_as_typed is not None and (told.city_id is None or person.is_told)
        is_settled = person.city_id is not None or typed or differs
        if not (is_settled and only_fills):
            person.city_id = told.city_id
            person.city_as_typed = None if told.city_id is not None else told.city_as_typed
            person.country = told.country or (person.country if told.city_id is None else None)
    elif differs and person.city_id is not None:
        warnings.append("country_differs_from_city")
    elif told.country and (person.country is None or not only_fills):
        person.country = told.country
    return before != (person.city_id, person.city_as_typed, person.country)


def _merge_addresses(person: Person, row: Row) -> bool:
    changed = False
    for address, address_hash in zip(row.addresses, row.hashes, strict=True):
        if address.key not in person.addresses and address.key not in person.retired:
            person.addresses[address.key] = address.text
            person.new_addresses.append((address, address_hash))
            changed = True
    return changed


def _merge_tags(person: Person, names: list[str]) -> bool:
    fresh = {key: name for key, name in ((tag_key(name), name) for name in names) if key not in person.tags}
    person.tags |= fresh
    person.new_tags |= fresh
    return bool(fresh)


def _merge_sectors(person: Person, sectors: list[LeaderSector]) -> bool:
    fresh = [sector for sector in dict.fromkeys(sectors) if sector not in person.sectors]
    person.sectors.update(fresh)
    person.new_sectors += fresh
    return bool(fresh)


def _merge_post(person: Person, data: ContactIn, rules: Rules, warnings: list[str]) -> bool:
    if not data.organization:
        if data.post:
            warnings.append("post_without_organization")
        return False
    key = organization_key(data.organization)
    held = person.posts.get(key)
    if held is None:
        person.posts[key] = HeldPost(data.organization, data.post)
        return True
    if data.post and held.title != data.post and (held.title is None or rules.replaces(person, "organization")):
        held.title = data.post
        return True
    return False


def _merge_consents(person: Person, consents: list[ConsentIn], warnings: list[str]) -> bool:
    """Add what says something new; a revocation is never overridden."""
    changed = False
    for consent in consents:
        mark = (consent.purpose, consent.channel)
        said = person.consents.get(mark)
        if said is consent.state and mark not in person.copied:
            continue
        if said is ConsentState.REVOKED and consent.state is ConsentState.GRANTED:
            warnings.append("consent_revoked_kept")
            continue
        person.consents[mark] = consent.state
        person.copied.discard(mark)
        person.new_consents.append(consent)
        changed = True
    return changed


def grants_mail(consents: list[ConsentIn]) -> bool:
    return any(consent.state is ConsentState.GRANTED and consent.channel is Channel.EMAIL for consent in consents)
