"""Segments: rules read, compiled to one SELECT, said in Spanish and explained person by person."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from crm import clock
from crm.database import Database
from crm.errors import SENTENCES, Conflict, InvalidInput, NotFound
from crm.mailing import segment_words, segments
from crm.mailing.consent_requests import Answer
from crm.mailing.models import Campaign, ContentClass, Delivery, DeliveryState, Send, SendMode
from crm.mailing.segment_fields import FIELDS
from crm.mailing.segment_rules import CONDITION_LIMIT, DEPTH_LIMIT, LIST_LIMIT, conditions_of, to_json
from crm.mailing.segment_schemas import SegmentIn
from crm.people import consent, contacts
from crm.people.models import City, Contact, Import, Language, Purpose, SuppressionReason
from crm.people.schemas import ConsentIn, ContactIn

TODAY = clock.today()
TAG = {"field": "tag", "op": "is", "value": "a"}


def person(name: str, *, granted: tuple[Purpose, ...] = (), **told: Any) -> ContactIn:
    consents = [ConsentIn(purpose=purpose, evidence="Hoja de registro") for purpose in granted]
    return ContactIn(given_names=name, emails=told.pop("emails", [f"{name.casefold()}@example.org"]), consents=consents, **told)


PEOPLE = [
    person("Ana", first_surname="Núñez", city="Los Ángeles", tags=["taller"], leader_sectors=["academia"], source="Foro",
           granted=(Purpose.NEWSLETTER, Purpose.ELECTORAL_INFORMATION)),
    person("Beto", first_surname="Ochoa", city="Chicago", tags=["taller", "foro"], organization="Club Ñuu",
           language=Language.ENGLISH),
    person("Celia", first_surname="Ibarra", city="Madrid", leader_sectors=["culture", "business"], granted=(Purpose.NEWSLETTER,)),
    person("Dora", first_surname="Álvarez", country="CA"),
    person("Eva", first_surname="Pérez", city="Villa que nadie conoce", organization="Club Ñuu", source="100%"),
    person("Fidel", first_surname="Zúñiga", emails=[], city="Toronto", tags=["foro"]),
    person("Gil", first_surname="Baja", city="París", granted=(Purpose.NEWSLETTER,)),
    person("Hilda", first_surname="Bloqueada", city="Los Ángeles", tags=["taller"]),
    ContactIn(emails=["sin-nombre@example.org"], city="San José, Costa Rica"),
]  # fmt: skip


@dataclass(frozen=True)
class World:
    """Nine people of whom one is blocked, one campaign sent twice, one import."""

    session: Session
    campaign: int
    imported: int

    def found(self, rule: object) -> set[str]:
        """The given names of those whom a rule finds; the address for who has none."""
        chosen = segments.condition(self.session, segments.parse(rule))
        rows = self.session.execute(sa.select(Contact.given_names).where(chosen)).scalars().all()
        return {name or "?" for name in rows}

    def ask(self, field: str, op: str, value: object) -> set[str]:
        return self.found({"field": field, "op": op, "value": value})

    def ids(self) -> dict[str, int]:
        return {name or "?": number for number, name in self.session.execute(sa.select(Contact.id, Contact.given_names))}


EVERYONE = {"Ana", "Beto", "Celia", "Dora", "Eva", "Fidel", "Gil", "?"}


@pytest.fixture
def world(session: Session) -> World:
    imported = Import(file_name="lista.csv", sha256="0" * 64)
    session.add(imported)
    session.flush()
    taken = contacts.take_in_many(session, PEOPLE[:2], import_id=imported.id) + contacts.take_in_many(session, PEOPLE[2:])
    ids = [row.contact_id for row in taken]
    assert None not in ids
    session.execute(sa.update(Contact).where(Contact.given_names == "Hilda").values(blocked_at=clock.now()))
    session.execute(sa.update(Contact).where(Contact.given_names == "Ana").values(created_at=clock.now() - timedelta(days=400)))
    consent.suppress(session, "gil@example.org", SuppressionReason.UNSUBSCRIBED, happened_on=TODAY, proof="Lo pidió")
    campaign = _sent_campaign(session, [number for number in ids if number])
    return World(session, campaign, imported.id)


def _sent_campaign(session: Session, ids: list[int]) -> int:
    """To Ana 100 days ago and 3 days ago, to Beto 100 days ago; Celia's is in doubt."""
    campaign = Campaign(
        name="Invitación 2027", template="invitation", purpose=Purpose.NEWSLETTER, content_class=ContentClass.SERVICE
    )
    session.add(campaign)
    session.flush()
    for days, reached in ((100, {ids[0]: "sent", ids[1]: "sent", ids[2]: "in_doubt"}), (3, {ids[0]: "sent"})):
        instant = clock.now() - timedelta(days=days)
        send = Send(
            campaign_id=campaign.id, mode=SendMode.NOW, starts_at=instant, confirmed_count=1, include=[], exclude=[],
            rule={}, purpose=Purpose.NEWSLETTER,
        )  # fmt: skip
        session.add(send)
        session.flush()
        for contact_id, state in reached.items():
            session.add(
                Delivery(
                    send_id=send.id, contact_id=contact_id, language=Language.SPANISH, state=DeliveryState(state),
                    due_at=instant, settled_at=instant,
                )
            )  # fmt: skip
    session.flush()
    return campaign.id


# --- each field ------------------------------------------------------------------------------------------


FOUND: list[tuple[str, str, object, str]] = [
    ("country", "in", ["US", "Canadá"], "Ana Beto Dora Fidel"),
    ("country", "is_not", "US", "Celia Dora Eva Fidel Gil ?"),
    ("region", "in", ["California"], "Ana"),
    ("region", "in", ["illinois, US", "Ontario"], "Beto Fidel"),
    ("region", "is", "California, ES", ""),
    ("region", "not_in", ["California"], "Beto Celia Dora Eva Fidel Gil ?"),
    ("city", "in", ["LA", "Los Ángeles", "Chicago, Ill."], "Ana Beto"),
    ("city", "is", "San José, Costa Rica", "?"),
    ("city", "is", "Villa que nadie conoce", ""),
    ("city", "is_not", "Madrid", "Ana Beto Dora Eva Fidel Gil ?"),
    ("zone", "is", "America/Chicago", "Beto"),
    ("tag", "in", ["TALLER"], "Ana Beto"),
    ("tag", "not_in", ["taller", "nada"], "Celia Dora Eva Fidel Gil ?"),
    ("leader", "is", True, "Ana Celia"),
    ("leader", "is", False, "Beto Dora Eva Fidel Gil ?"),
    ("leader", "is_not", True, "Beto Dora Eva Fidel Gil ?"),
    ("leader", "is_not", False, "Ana Celia"),
    ("sector", "in", ["culture", "community_development"], "Celia"),
    ("organization", "is", "club nuu", "Beto Eva"),
    ("organization", "is_not", "Club Ñuu", "Ana Celia Dora Fidel Gil ?"),
    ("language", "is", "en", "Beto"),
    ("consent", "is", "newsletter", "Ana Celia"),
    ("consent", "in", ["electoral_information", "civic_education"], "Ana"),
    ("consent", "not_in", ["newsletter"], "Beto Dora Eva Fidel Gil ?"),
    ("mail_state", "in", ["ok", "no_address"], "Ana Celia Fidel"),
    ("mail_state", "is", "unsubscribed", "Gil"),
    ("mail_state", "is_not", "no_consent", "Ana Celia Fidel Gil"),
    ("consent_request", "in", ["not_asked", "silent"], "Beto Dora Eva ?"),
    ("consent_request", "is", "granted", ""),
    ("last_written", "is", "never", "Celia Dora Eva Fidel Gil ?"),
    ("last_written", "is_not", "never", "Ana Beto"),
    ("last_written", "within_days", 30, "Ana"),
    ("last_written", "before", (TODAY - timedelta(days=50)).isoformat(), "Beto"),
    ("last_written", "before", (TODAY - timedelta(days=500)).isoformat(), ""),
    ("last_written", "after", (TODAY - timedelta(days=150)).isoformat(), "Ana Beto"),
    ("last_written", "after", (TODAY - timedelta(days=2)).isoformat(), ""),
    ("last_written", "after", (TODAY - timedelta(days=5)).isoformat(), "Ana"),
    ("text", "contains", "NUNEZ ana", "Ana"),
    ("text", "contains", "%", ""),
    ("text", "contains", "example.org", "Ana Beto Celia Dora Eva Gil ?"),
    ("created", "before", (TODAY - timedelta(days=100)).isoformat(), "Ana"),
    ("created", "within_days", 1, "Beto Celia Dora Eva Fidel Gil ?"),
    ("created", "after", (TODAY + timedelta(days=2)).isoformat(), ""),
    ("source", "in", ["Foro", "100%"], "Ana Eva"),
    ("source", "is_not", "Foro", "Beto Celia Dora Eva Fidel Gil ?"),
]  # fmt: skip
"""Field, operator, value, and the given names of those whom it finds."""


def test_finds_people_by_each_field(world: World) -> None:
    for field, op, value, names in FOUND:
        assert world.ask(field, op, value) == set(names.split()), (field, op, value)
    assert {field for field, *_ in FOUND} | {"received", "sent_in", "import", "imported"} == FIELDS.keys()


def test_finds_people_by_campaign_import_and_ids(world: World) -> None:
    assert world.ask("received", "in", [world.campaign, 999]) == {"Ana", "Beto"}
    assert world.ask("received", "is_not", world.campaign) == EVERYONE - {"Ana", "Beto"}
    assert world.ask("import", "is", world.imported) == {"Ana", "Beto"}
    assert world.ask("import", "not_in", [world.imported]) == EVERYONE - {"Ana", "Beto"}
    madrid = world.session.scalars(sa.select(City.id).where(City.search_key == "madrid")).one()
    assert world.ask("city", "in", [madrid, "París"]) == {"Celia", "Gil"}


def test_finds_a_city_added_by_hand(world: World) -> None:
    city = City(
        name="Villa Ñ", search_key="villa n", country="MX", region="Región Ñ", latitude=0, longitude=0, zone="America/Tijuana"
    )
    world.session.add(city)
    world.session.flush()
    world.session.execute(sa.update(Contact).where(Contact.given_names == "Eva").values(city_id=city.id))
    assert world.ask("city", "is", "VILLA Ñ") == world.ask("region", "is", "Región Ñ") == {"Eva"}


def test_follows_the_last_word_on_consent(world: World) -> None:
    ana = world.ids()["Ana"]
    consent.record(world.session, ana, ConsentIn(purpose=Purpose.NEWSLETTER, state="revoked", evidence="Carta"), source="staff")
    assert world.ask("consent", "is", "newsletter") == {"Celia"}
    assert world.ask("consent", "is", "electoral_information") == {"Ana"}


def test_combines_with_all_any_and_not(world: World) -> None:
    us = {"field": "country", "op": "is", "value": "US"}
    workshop = {"field": "tag", "op": "is", "value": "taller"}
    forum = {"field": "tag", "op": "is", "value": "foro"}
    assert world.found({"all": []}) == EVERYONE
    assert world.found({"any": []}) == set()
    assert world.found({"not": {"any": []}}) == EVERYONE
    assert world.found({"not": {"all": []}}) == set()
    assert world.found({"all": [us, workshop, {"not": forum}]}) == {"Ana"}
    assert world.found({"any": [forum, {"not": {"any": [us, {"field": "leader", "op": "is", "value": False}]}}]}) == {
        "Beto",
        "Fidel",
        "Celia",
    }


def test_leaves_out_who_is_blocked_whatever_the_rule(world: World) -> None:
    rules: list[Any] = [{"all": []}, {"field": "tag", "op": "is", "value": "taller"}, {"not": TAG}]
    for rule in rules:
        assert "Hilda" not in world.found(rule)
    assert segments.count(world.session, segments.parse({"all": []})) == len(EVERYONE)
    with pytest.raises(NotFound, match="contact_not_found"):
        segments.explain(world.session, segments.parse({"all": []}), world.ids()["Hilda"])


def test_stands_in_a_statement_that_reads_the_same_tables(world: World) -> None:
    """A condition must mean the same in a SELECT that joins City, Delivery or EmailAddress."""
    rule = segments.parse({
        "all": [
            {"field": "city", "op": "is", "value": "Chicago"}, {"field": "tag", "op": "is", "value": "foro"},
            {"field": "received", "op": "is", "value": world.campaign}, {"field": "mail_state", "op": "is", "value": "no_consent"},
            {"field": "organization", "op": "is", "value": "Club Ñuu"}, {"field": "consent", "op": "is_not", "value": "newsletter"},
        ]
    })  # fmt: skip
    joined = (
        sa.select(Contact.given_names, City.name)
        .join(City, City.id == Contact.city_id)
        .join(Delivery, Delivery.contact_id == Contact.id)
        .join(Send, Send.id == Delivery.send_id)
        .where(segments.condition(world.session, rule))
    )
    assert [tuple(row) for row in world.session.execute(joined)] == [("Beto", "Chicago")]


# --- reading a rule ------------------------------------------------------------------------------------------


def fault(rule: object) -> tuple[str, str | None]:
    with pytest.raises(InvalidInput) as caught:
        segments.parse(rule)
    assert "{" not in caught.value.sentence
    return caught.value.code, caught.value.field


def nested(depth: int) -> Any:
    return {"all": []} if depth == 1 else {"not": nested(depth - 1)}


@pytest.mark.parametrize(
    ("rule", "code", "path"),
    [
        (None, "segment_shape_invalid", "rule"),
        ([], "segment_shape_invalid", "rule"),
        ({}, "segment_shape_invalid", "rule"),
        ({"all": [], "any": []}, "segment_shape_invalid", "rule"),
        ({"all": {}}, "segment_shape_invalid", "rule.all"),
        ({"all": [TAG, {"any": ["x"]}]}, "segment_shape_invalid", "rule.all[1].any[0]"),
        ({"not": [TAG]}, "segment_shape_invalid", "rule.not"),
        ({"field": "tag", "op": "is"}, "segment_shape_invalid", "rule"),
        (TAG | {"more": 1}, "segment_shape_invalid", "rule"),
        (TAG | {"field": "party"}, "segment_field_unknown", "rule.field"),
        (TAG | {"field": ["tag"]}, "segment_field_unknown", "rule.field"),
        ({"not": TAG | {"op": "before"}}, "segment_operator_unknown", "rule.not.op"),
        (TAG | {"op": {}}, "segment_operator_unknown", "rule.op"),
        ({"all": [TAG | {"op": "in", "value": "a"}]}, "segment_value_invalid", "rule.all[0].value"),
        (TAG | {"op": "in", "value": []}, "segment_value_invalid", "rule.value"),
        (TAG | {"value": ["a"]}, "segment_value_invalid", "rule.value"),
        (TAG | {"value": "a\0"}, "segment_value_invalid", "rule.value"),
        (TAG | {"value": "\ud800"}, "segment_value_invalid", "rule.value"),
        (TAG | {"value": "x" * 201}, "segment_value_invalid", "rule.value"),
        (TAG | {"value": None}, "segment_value_invalid", "rule.value"),
        ({"field": "country", "op": "is", "value": "Narnia"}, "segment_value_invalid", "rule.value"),
        ({"field": "zone", "op": "is", "value": "UTC+1"}, "segment_value_invalid", "rule.value"),
        ({"field": "city", "op": "is", "value": "San José"}, "segment_city_ambiguous", "rule.value"),
        ({"field": "city", "op": "is", "value": True}, "segment_value_invalid", "rule.value"),
        ({"field": "received", "op": "in", "value": [1, 2**31]}, "segment_value_invalid", "rule.value"),
        ({"field": "received", "op": "is", "value": 1.5}, "segment_value_invalid", "rule.value"),
        ({"field": "leader", "op": "is", "value": 1}, "segment_value_invalid", "rule.value"),
        ({"field": "sector", "op": "is", "value": "politics"}, "segment_value_invalid", "rule.value"),
        ({"field": "last_written", "op": "is", "value": "ever"}, "segment_value_invalid", "rule.value"),
        ({"field": "last_written", "op": "before", "value": "2026-02-30"}, "segment_value_invalid", "rule.value"),
        ({"field": "last_written", "op": "before", "value": "9999-12-31"}, "segment_value_invalid", "rule.value"),
        ({"field": "created", "op": "within_days", "value": 0}, "segment_value_invalid", "rule.value"),
        ({"field": "created", "op": "within_days", "value": True}, "segment_value_invalid", "rule.value"),
        ({"field": "text", "op": "contains", "value": " \u0301 "}, "segment_value_invalid", "rule.value"),
        (nested(DEPTH_LIMIT + 1), "segment_too_deep", "rule" + ".not" * DEPTH_LIMIT),
        ({"all": [TAG] * (CONDITION_LIMIT + 1)}, "segment_too_long", f"rule.all[{CONDITION_LIMIT}]"),
        ({"all": [{"any": []}] * CONDITION_LIMIT}, "segment_too_long", f"rule.all[{CONDITION_LIMIT - 1}]"),
        (TAG | {"op": "in", "value": ["a"] * (LIST_LIMIT + 1)}, "segment_too_many_values", "rule.value"),
        ({"all": [TAG | {"op": "in", "value": ["a"] * LIST_LIMIT}] * 11}, "segment_too_many_values", "rule.all[10].value"),
    ],
)  # fmt: skip
def test_refuses_a_rule_with_the_path_of_its_fault(rule: object, code: str, path: str) -> None:
    assert fault(rule) == (code, path)


def test_takes_a_rule_at_its_limits(world: World) -> None:
    values = [f"t{number}" for number in range(LIST_LIMIT)]
    long = {"any": [TAG] * (CONDITION_LIMIT - 10) + [TAG | {"op": "in", "value": values}] * 9}
    assert world.found(long) == set()
    assert world.found(nested(DEPTH_LIMIT)) == set()
    assert segments.explain(world.session, segments.parse(long), world.ids()["Ana"]).inside is False
    assert len(segments.sentence(world.session, segments.parse(long))) < 20_000


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["all", "any", "not", "field", "op", "value"]) | st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(JSON)
def test_reads_any_json_or_says_what_is_wrong(rule: object) -> None:
    try:
        read = segments.parse(rule)
    except InvalidInput as error:
        assert (error.field or "").startswith("rule"), error.code  # noqa: PT017  # either end is right
        return
    assert segments.parse(to_json(read)) == read


@settings(max_examples=400)
@given(st.sampled_from(sorted(FIELDS)), st.data(), JSON | st.lists(st.text(max_size=8), max_size=3))
def test_reads_any_value_or_says_what_is_wrong(field: str, data: st.DataObject, value: object) -> None:
    op = data.draw(st.sampled_from(FIELDS[field].operators))
    try:
        read = segments.parse({"field": field, "op": op, "value": value})
    except InvalidInput as error:
        assert error.field == "rule.value", error.sentence  # noqa: PT017  # either end is right
        return
    assert segments.parse(to_json(read)) == read


# --- for any rule and any person ------------------------------------------------------------------------------------------

VALUES: dict[str, list[Any]] = {
    "country": ["US", "CA", "ES", "JP"],
    "region": ["California", "Illinois", "Madrid", "Nada"],
    "city": ["Los Ángeles", "Madrid", "Villa que nadie conoce", 1, 2, 3],
    "zone": ["America/Chicago", "America/Toronto", "Europe/Madrid"],
    "tag": ["taller", "foro", "nada"],
    "leader": [True, False],
    "sector": ["academia", "culture", "business"],
    "organization": ["Club Ñuu", 1, 9],
    "language": ["es", "en"],
    "consent": ["newsletter", "electoral_information", "civic_education"],
    "mail_state": list(consent.MAIL_STATES),
    "consent_request": list(Answer),
    "last_written": ["never"],
    "received": [1, 2],
    "sent_in": [1, 2],
    "text": ["ana", "nunez", "example", "zz"],
    "source": ["Foro", "100%", "x"],
    "import": [1, 2],
    "imported": [1, 2],
}
DAYS = st.integers(-5, 120).map(lambda days: (TODAY - timedelta(days=days)).isoformat())


@st.composite
def single_conditions(draw: st.DrawFn) -> dict[str, Any]:
    field = draw(st.sampled_from(sorted(FIELDS)))
    op = draw(st.sampled_from(FIELDS[field].operators))
    by_operator = {"before": DAYS, "after": DAYS, "within_days": st.integers(1, 120)}
    told = by_operator[op] if op in by_operator else st.sampled_from(VALUES[field])
    value = st.lists(told, min_size=1, max_size=3) if op in ("in", "not_in") else told
    return {"field": field, "op": op, "value": draw(value)}


def groups(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    parts = st.lists(inner, max_size=3)
    return parts.map(lambda told: {"all": told}) | parts.map(lambda told: {"any": told}) | inner.map(lambda told: {"not": told})


RULES = st.recursive(single_conditions(), groups, max_leaves=6).map(segments.parse)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(RULES)
def test_agrees_with_its_negation_its_count_and_its_explanation(world: World, rule: Any) -> None:
    """Of every visible person: in the rule or in its negation, never in both or in neither; and explain says the same."""
    session = world.session
    negated = segments.parse({"not": to_json(rule)})
    inside, outside = (
        set(session.scalars(sa.select(Contact.id).where(segments.condition(session, each)))) for each in (rule, negated)
    )
    everyone = set(session.scalars(sa.select(Contact.id).where(Contact.blocked_at.is_(None))))
    assert inside | outside == everyone
    assert not inside & outside
    assert segments.count(session, rule) == len(inside)
    for contact_id in everyone:
        explained = segments.explain(session, rule, contact_id)
        assert explained.inside == (contact_id in inside)
        assert explained.tree.decided
    text = segments.sentence(session, rule)
    assert "{" not in text
    assert "  " not in text


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(RULES)
def test_rests_its_verdict_on_the_parts_that_it_marks(world: World, rule: Any) -> None:
    """With any answer to the conditions that are not marked, the verdict stays."""
    explained = segments.explain(world.session, rule, world.ids()["Ana"])

    def verdict(part: Any, others: bool) -> bool:
        if part.kind == "condition":
            return bool(part.holds if part.decided else others)
        inner = [verdict(each, others) for each in part.parts]
        return {"all": all(inner), "any": any(inner), "not": not (inner or [False])[0]}[part.kind]

    for others in (True, False):
        assert verdict(explained.tree, others) == explained.inside


def test_compiles_to_one_select(world: World, database: Database) -> None:
    rule = segments.parse(
        {"any": [{"not": TAG}, {"field": "city", "op": "is", "value": "LA"}, {"field": "leader", "op": "is", "value": True}]}
    )
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    sa.event.listen(database.engine, "before_cursor_execute", note)
    segments.count(world.session, rule)
    sa.event.remove(database.engine, "before_cursor_execute", note)
    assert len(seen) == 1
    assert seen[0].startswith("SELECT")


# --- in Spanish ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "word", "text"),
    [
        ([], "y", ""), (["Chile"], "y", "Chile"), (["Chile", "Perú"], "o", "Chile o Perú"),
        (["España", "Irlanda"], "y", "España e Irlanda"), (["hielo", "Hierro"], "y", "hielo y Hierro"),
        (["a", "Hiroshima"], "y", "a e Hiroshima"), (["a", "Ítaca"], "y", "a e Ítaca"), (["a", "yeso"], "y", "a y yeso"),
        (["Chicago", "Iowa"], "y", "Chicago y Iowa"), (["a", "«inglés»"], "y", "a e «inglés»"),
        (["Chile", "Honduras"], "o", "Chile u Honduras"), (["a", "Óscar"], "o", "a u Óscar"),
        (["a", "«Oaxaca»"], "o", "a u «Oaxaca»"),
        (["7", "8"], "o", "7 u 8"), (["10", "11"], "o", "10 u 11"), (["1", "110"], "o", "1 o 110"),
        (["a", "80 más"], "o", "a u 80 más"),
        (["a", "b", "c"], "ni", "a, b ni c"),
    ],
)  # fmt: skip
def test_joins_words_as_spanish_does(parts: list[str], word: str, text: str) -> None:
    assert segment_words.joined(parts, word) == text


def test_says_a_rule_in_spanish(world: World) -> None:
    country = {"field": "country", "op": "in", "value": ["US", "Canadá"]}
    tag = {"field": "tag", "op": "in", "value": ["TALLER"]}
    leader = {"field": "leader", "op": "is", "value": True}
    cities = ["LA", "San José, Costa Rica"]
    said: dict[str, Any] = {
        "Todas las personas de la Red": {"all": [{"not": {"any": []}}]},
        "Ninguna persona": {"all": [country, {"any": []}]},
        "Personas que viven en Estados Unidos o Canadá y tienen la etiqueta «taller»": {"all": [country, {"all": [tag]}]},
        "Personas que no viven en Estados Unidos ni Canadá o no tienen la etiqueta «taller»": {"not": {"all": [country, tag]}},
        "Personas que no viven en Honduras y (tienen la etiqueta «taller» o forman parte del liderazgo de la Red)": {
            "all": [{"field": "country", "op": "is_not", "value": "HN"}, {"any": [tag, leader]}]
        },
        "Personas que viven en la ciudad de Los Ángeles o San José": {"field": "city", "op": "in", "value": cities},
        "Personas que fueron destinatarias de la campaña «Invitación 2027»": {
            "field": "received", "op": "is", "value": world.campaign
        },
        "Personas que no tienen ningún correo enviado": {"field": "last_written", "op": "is", "value": "never"},
        "Personas que tienen algún correo enviado": {"not": {"field": "last_written", "op": "is", "value": "never"}},
        "Personas que tienen su último correo enviado antes del 1 de noviembre de 2026": {
            "field": "last_written", "op": "before", "value": "2026-11-01"
        },
        "Personas que no tienen correos enviados en los últimos 1,512 días": {
            "not": {"field": "last_written", "op": "within_days", "value": 1512}
        },
        "Personas que entraron a la Red en el último día": {"field": "created", "op": "within_days", "value": 1},
        "Personas que no dieron su consentimiento para boletín ni invitaciones a eventos": {
            "field": "consent", "op": "not_in", "value": ["newsletter", "event_invitation"]
        },
        "Personas que viven en Estados Unidos o Canadá, o forman parte del liderazgo de la Red": {"any": [country, leader]},
    }  # fmt: skip
    for text, rule in said.items():
        assert segments.sentence(world.session, segments.parse(rule)) == text


def test_names_a_dozen_values_and_counts_the_rest(world: World) -> None:
    rule = segments.parse({"field": "import", "op": "in", "value": [world.imported, *range(1000, 1020)]})
    text = segments.sentence(world.session, rule)
    assert f"importación {world.imported} («lista.csv»), «1000»" in text
    assert text.endswith(" o 9 más")


def test_previews_count_people_sentence_and_what_finds_nobody(world: World) -> None:
    rule = {"any": [{"field": "tag", "op": "in", "value": ["taller", "tallr"]}, {"field": "leader", "op": "is", "value": True}]}
    shown = segments.preview(world.session, segments.parse(rule))
    assert shown.count == 3
    assert [each.name for each in shown.sample] == ["Ibarra, Celia", "Núñez, Ana", "Ochoa, Beto"]
    assert len(shown.warnings) == 1
    assert "«tallr»" in shown.warnings[0]
    assert len(segments.sample(world.session, segments.parse({"all": []}))) == 5


def test_explains_what_decided(world: World) -> None:
    rule = segments.parse({
        "all": [
            {"field": "country", "op": "in", "value": ["US", "CA"]},
            {"any": [{"field": "tag", "op": "is", "value": "foro"}, {"field": "leader", "op": "is", "value": False}]},
            {"not": {"field": "last_written", "op": "within_days", "value": 30}},
        ]
    })  # fmt: skip
    out = segments.explain(world.session, rule, world.ids()["Ana"])
    country, tag, leader, written = (part for part in _flat(out.tree) if part.kind == "condition")
    assert not out.inside
    assert (country.holds, country.decided, country.sentence) == (True, False, "Vive en Estados Unidos o Canadá")
    assert (tag.holds, tag.decided, tag.sentence) == (False, True, "No tiene la etiqueta «foro»")
    assert (leader.holds, leader.decided, leader.sentence) == (False, True, "Forma parte del liderazgo de la Red")
    assert (written.holds, written.decided, written.sentence) == (True, True, "Tiene correos enviados en los últimos 30 días")
    assert out.sentence == (
        "No está en el segmento: no tiene la etiqueta «foro», forma parte del liderazgo de la Red "
        "y tiene correos enviados en los últimos 30 días."
    )
    inside = segments.explain(world.session, rule, world.ids()["Beto"])
    assert inside.inside
    assert inside.sentence.startswith("Está en el segmento: vive en Estados Unidos o Canadá, ")
    for number in (0, -1, 10**6, 2**40):
        with pytest.raises(NotFound, match="contact_not_found"):
            segments.explain(world.session, rule, number)


def _flat(part: Any) -> Iterator[Any]:
    yield part
    for inner in part.parts:
        yield from _flat(inner)


def test_lists_fields_with_operators_and_values_in_use(world: World) -> None:
    listed = {field.name: field for field in segments.fields(world.session)}
    assert list(listed) == list(FIELDS)
    countries = listed["country"].options or []
    assert [option.label for option in countries] == ["Canadá", "Costa Rica", "España", "Estados Unidos", "Francia"]
    assert [option.value for option in listed["tag"].options or []] == ["foro", "taller"]
    assert listed["text"].options is None
    assert {operator.name: operator.takes for operator in listed["last_written"].operators} == {
        "is": "never", "is_not": "never", "before": "date", "after": "date", "within_days": "days",
    }  # fmt: skip
    for field in listed.values():
        for option in field.options or []:
            segments.parse({"field": field.name, "op": "is", "value": option.value})


def test_finds_people_by_every_value_offered(world: World) -> None:
    """What the form offers as in use finds somebody."""
    for field in segments.fields(world.session):
        if field.name in ("city", "region", "country", "zone", "tag", "organization", "source", "import", "received", "sent_in"):
            for option in field.options or []:
                assert world.ask(field.name, "is", option.value), (field.name, option)


# --- saved ------------------------------------------------------------------------------------------


def test_saves_finds_and_changes_a_segment(session: Session) -> None:
    made = [segments.create(session, SegmentIn(name=name, rule={"all": []})) for name in ("Ñandú", "Zona norte", "Nube")]
    assert segments.by_name(session, "nandu").id == made[0].id
    first, cursor = segments.find(session, limit=2)
    rest, end = segments.find(session, cursor=cursor, limit=2)
    assert ([each.name for each in first + rest], end) == (["Ñandú", "Nube", "Zona norte"], None)
    rule = {"field": "country", "op": "is", "value": "Estados Unidos"}
    changed = segments.change(session, made[0].id, SegmentIn(name="Ñandúes", rule=rule), version=1)
    out = segments.to_out(session, changed)
    assert (out.rule["value"], out.version) == ("US", 2)
    assert out.sentence == "Personas que viven en Estados Unidos"


def test_refuses_a_segment_of_a_taken_name_an_old_version_or_a_bad_rule(session: Session) -> None:
    first = segments.create(session, SegmentIn(name="Taller", rule={"all": []}))
    second = segments.create(session, SegmentIn(name="Foro", rule={"all": []}))
    with pytest.raises(Conflict, match="segment_exists"):
        segments.create(session, SegmentIn(name="TALLÉR", rule={"all": []}))
    with pytest.raises(Conflict, match="segment_exists"):
        segments.change(session, second.id, SegmentIn(name="taller", rule={"all": []}))
    with pytest.raises(Conflict, match="segment_changed"):
        segments.change(session, first.id, SegmentIn(name="Taller", rule={"all": []}), version=7)
    with pytest.raises(InvalidInput, match="segment_shape_invalid"):
        segments.create(session, SegmentIn(name="Otro", rule={}))
    for number in (0, 99, 2**40):
        with pytest.raises(NotFound, match="segment_not_found"):
            segments.get(session, number)
    with pytest.raises(NotFound, match="segment_not_found"):
        segments.by_name(session, "no\0existe")
    assert {"segment_exists", "segment_changed"} <= SENTENCES.keys()
    assert list(conditions_of(segments.parse(first.rule))) == []
