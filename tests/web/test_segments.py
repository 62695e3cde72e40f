"""Segmentos: rows that make a rule, never a rule rewritten; who is in it, who can be written to, and why someone is or is not."""

import html
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import FormData
from starlette.testclient import TestClient

from crm.database import Database
from crm.mailing import segments
from crm.mailing.segment_rules import parse
from crm.mailing.segment_schemas import SegmentIn
from crm.staff.models import Role
from tests.mailing.factories import RULE, campaign
from tests.mailing.factories import network as marked
from tests.web.conftest import Visitor, csrf_of
from web.segment_form import GROUPS_MOST, ROWS_MOST, checked, of_rule, read

FRAGMENT = {"HX-Request": "true", "HX-Request-Type": "partial"}
CANADA = {"field": "country", "op": "in", "value": ["CA"]}
WORKSHOP = {"field": "tag", "op": "in", "value": ["Taller"]}
NESTED = {"any": [{"all": [CANADA, {"any": [WORKSHOP, {"not": CANADA}]}]}]}


def saved(database: Database, rule: dict[str, Any], name: str = "Canadá") -> int:
    with database.session() as session:
        return segments.create(session, SegmentIn(name=name, rule=rule)).id


def rule_of(database: Database, segment_id: int) -> dict[str, Any]:
    with database.session(write=False) as session:
        return segments.get(session, segment_id).rule


def fields_of(page: str) -> list[tuple[str, str]]:
    """What the form of a page would post, in order."""
    page = page[page.index('<form id="segment"') :]
    page = page[: page.index("</form>")]
    found: list[tuple[str, str]] = []
    for tag in re.findall(r"<input[^>]+>", page, re.DOTALL):
        name, value = re.search(r'name="([^"]+)"', tag), re.search(r'value="([^"]*)"', tag)
        ticked = not re.search(r'type="(checkbox|radio)"', tag) or "checked" in tag
        if name and ticked:
            found.append((name[1], html.unescape(value[1] if value else "")))
    for name, options in re.findall(r'<select[^>]*name="([^"]+)"[^>]*>(.*?)</select>', page, re.DOTALL):
        chosen = re.search(r'value="([^"]*)" selected', options)
        found.append((name, html.unescape(chosen[1]) if chosen else ""))
    return found


def post(client: TestClient, path: str, fields: list[tuple[str, str]], deed: str, **changes: str) -> Any:
    told: dict[str, list[str]] = {}
    for name, value in fields:
        if name not in changes:
            told.setdefault(name, []).append(value)
    return client.post(path, data={**told, **changes, **csrf_of(client), "deed": deed})


def typed(client: TestClient, path: str, deed: str, **changes: str) -> Any:
    """A button pressed on the page as it stands."""
    return post(client, path, fields_of(client.get(path).text), deed, **changes)


# --- the form ----------------------------------------------------------------------------------------------------------------


def test_builds_a_rule_row_by_row_and_saves_it(visit: Visitor, database: Database, network: None) -> None:
    client, path = visit(Role.EDITING), "/segmentos/nuevo"
    answer = typed(client, path, "look", **{"0.0.typed": "canada"})
    assert "Personas que viven en Canadá." in answer.text
    answer = post(client, path, fields_of(answer.text), "group:none")
    answer = post(client, path, fields_of(answer.text), "look", **{"1.0.field": "tag"})
    fields = [*fields_of(answer.text), ("1.0.value", '"Taller"')]
    answer = post(client, path, fields, "look")
    assert "viven en Canadá y no tienen la etiqueta «Taller»" in answer.text
    assert answer.status_code == 200
    refused = post(client, path, fields_of(answer.text), "save")
    assert refused.status_code == 422
    assert "Escriba cómo se llama el segmento." in refused.text
    made = post(client, path, fields_of(refused.text), "save", name="Canadá sin taller")
    assert str(made.url).endswith("/segmentos/1")
    assert rule_of(database, 1) == {"all": [CANADA, {"not": {"any": [WORKSHOP]}}]}


def test_adds_and_takes_away_rows_and_groups(visit: Visitor, network: None) -> None:
    client, path = visit(Role.EDITING), "/segmentos/nuevo"
    answer = typed(client, path, "row:0")
    answer = post(client, path, fields_of(answer.text), "group:any")
    assert [dict(fields_of(answer.text))[name] for name in ("groups", "0.rows", "1.rows", "1.kind")] == ["2", "2", "1", "any"]
    answer = post(client, path, fields_of(answer.text), "drop:0.0")
    answer = post(client, path, fields_of(answer.text), "ungroup:1")
    assert [dict(fields_of(answer.text))[name] for name in ("groups", "0.rows")] == ["1", "1"]
    answer = post(client, path, fields_of(answer.text), "drop:0.0")
    assert "Sin condiciones: entran todas las personas" in answer.text


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("city", "xyzzy qwerty", "Personas que viven en la ciudad de «xyzzy qwerty»"),
        ("city", "estados unidos", "Hay varias"),
        ("country", "atlántida", "Ese valor no sirve"),
        ("created", "", "Escriba o elija un valor"),
    ],
)
def test_says_what_a_value_lacks_and_keeps_it(visit: Visitor, network: None, field: str, value: str, says: str) -> None:
    client, path = visit(Role.EDITING), "/segmentos/nuevo"
    answer = typed(client, path, "look", **{"0.0.field": field})
    answer = post(client, path, fields_of(answer.text), "look", **{"0.0.typed": value} if value else {})
    answer = post(client, path, fields_of(answer.text), "save", name="Prueba")
    assert says in answer.text or says in client.get("/segmentos/1").text
    assert not (answer.status_code == 422 and value) or f'value="{value}"' in answer.text


@pytest.mark.parametrize(
    "rule",
    [
        CANADA,
        {"all": []},
        {"any": []},
        {"not": CANADA},
        {"any": [CANADA, WORKSHOP]},
        {"any": [CANADA, {"all": [WORKSHOP, {"field": "leader", "op": "is", "value": True}]}]},
        {"all": [{"any": [CANADA, WORKSHOP]}, CANADA, {"not": {"any": [WORKSHOP]}}]},
        {"all": [{"field": "tag", "op": "is_not", "value": "Taller"}, {"field": "last_written", "op": "is", "value": "never"}]},
        {"all": [{"field": "created", "op": "within_days", "value": 30}, {"field": "text", "op": "contains", "value": "núñez"}]},
        {
            "all": [
                {"field": "last_written", "op": "before", "value": "2026-11-01"},
                {"field": "city", "op": "in", "value": [1, "LA"]},
            ]
        },
    ],
)
def test_posting_what_the_page_shows_rewrites_no_rule(
    visit: Visitor, database: Database, network: None, rule: dict[str, Any]
) -> None:
    number, client = saved(database, rule), visit(Role.EDITING)
    assert typed(client, f"/segmentos/{number}", "save", name="Otro nombre").status_code == 200
    assert rule_of(database, number) == rule
    with database.session(write=False) as session:
        assert segments.get(session, number).name == "Otro nombre"


def test_shows_a_deeper_rule_and_never_writes_it(visit: Visitor, database: Database, network: None) -> None:
    number, client = saved(database, NESTED), visit(Role.EDITING)
    page = client.get(f"/segmentos/{number}").text
    assert "Esta regla tiene grupos dentro de otros grupos" in page
    assert "Personas que " in page
    assert typed(client, f"/segmentos/{number}", "save", name="Con otro nombre", groups="0").status_code == 200
    assert rule_of(database, number) == NESTED


_conditions = st.sampled_from([CANADA, WORKSHOP, {"field": "leader", "op": "is", "value": False}])
_groups = st.one_of(
    _conditions,
    st.lists(_conditions, max_size=3).map(lambda parts: {"all": parts}),
    st.lists(_conditions, max_size=3).map(lambda parts: {"any": parts}),
    st.lists(_conditions, max_size=3).map(lambda parts: {"not": {"any": parts}}),
)


@given(st.sampled_from(["all", "any"]), st.lists(_groups, max_size=4))
def test_a_rule_of_groups_keeps_its_meaning_in_the_form(join: str, parts: list[dict[str, Any]]) -> None:
    draft = of_rule("Prueba", parse({join: parts}))
    assert draft is not None
    for answers in ({"country": a, "tag": b, "leader": c} for a in (0, 1) for b in (0, 1) for c in (0, 1)):
        assert _holds({join: parts}, answers) == _holds(draft.rule, answers)


def _holds(rule: Any, answers: dict[str, int]) -> bool:
    if "field" in rule:
        return bool(answers[rule["field"]]) == (rule["value"] is not False)
    [(name, inner)] = rule.items()
    if name == "not":
        return not _holds(inner, answers)
    return (all if name == "all" else any)(_holds(part, answers) for part in inner)


@given(
    st.dictionaries(
        st.sampled_from(["groups", "0.rows", "0.kind", "0.0.field", "0.0.op", "0.0.value", "0.0.typed", "join"]),
        st.text(max_size=12),
    )
)
def test_reads_any_form_without_a_fall(told: dict[str, str]) -> None:
    draft = read(FormData(told))
    checked(draft)
    assert len(draft.groups) <= GROUPS_MOST
    assert all(len(group.rows) <= ROWS_MOST for group in draft.groups)


# --- who -----------------------------------------------------------------------------------------------------------------------


def test_tells_who_can_be_written_to_and_opens_every_number(visit: Visitor, database: Database) -> None:
    with database.session() as session:
        marked(session, 5)
        number = campaign(session).include[0]
    client = visit(Role.COORDINATION)
    page = client.get(f"/segmentos/{number}?finalidad=newsletter").text
    assert "<strong>5</strong>" in page
    assert "Sin consentimiento para esta finalidad" in page
    assert "Marca00000x" in page
    door = f"/segmentos/{number}/personas?finalidad=newsletter&amp;motivo=no_consent"
    assert door in page
    assert client.get(html.unescape(door)).text.count('class="row"') == 5
    assert "Nadie" in client.get(f"/segmentos/{number}/personas?finalidad=newsletter").text


def test_says_why_a_person_is_in_or_out(visit: Visitor, database: Database, network: None) -> None:
    with database.session() as session:
        marked(session, 2, first=1000, city="Madrid", country="ES")
    number, client = saved(database, {"all": [{"field": "country", "op": "in", "value": ["ES"]}, WORKSHOP]}), visit(Role.READING)
    asked = client.post(f"/segmentos/{number}/porque", data={"quien": "marca", **csrf_of(client)})
    assert asked.text.count('name="persona"') == 2
    chosen = re.search(r'name="persona" value="(\d+)"', asked.text)
    assert chosen
    told = client.post(f"/segmentos/{number}/porque", data={"persona": chosen[1], **csrf_of(client)}, headers=FRAGMENT)
    assert "Está en el segmento" in told.text
    assert "Vive en España" in told.text
    assert "No encontramos a nadie" in client.post(f"/segmentos/{number}/porque", data={"quien": "zzyzx", **csrf_of(client)}).text


def test_lists_segments_with_their_sentence_and_count(visit: Visitor, database: Database, network: None) -> None:
    number, client = saved(database, {"all": [CANADA]}), visit(Role.READING)
    with database.session(write=False) as session:
        people = segments.count(session, parse({"all": [CANADA]}))
        assert segments.counts(session, [segments.get(session, number)]) == {number: people}
    page = client.get("/segmentos").text
    assert "Personas que viven en Canadá" in page
    assert f'<data value="{people}">' in page
    contacts = client.get(f"/contactos?segmento={number}").text
    assert f'<strong class="number">{people}</strong>' in contacts
    assert f'href="/contactos?segmento={number}" aria-current="page"' in contacts
    assert f"segmento={number}" in re.findall(r'id="page-after" href="([^"]+)"', contacts)[0]
    assert client.get("/contactos?segmento=99").status_code == 404


# --- change ---------------------------------------------------------------------------------------------------------------------


def test_names_who_saved_in_between_and_keeps_what_was_built(visit: Visitor, database: Database, network: None) -> None:
    number, client = saved(database, {"all": [CANADA]}), visit(Role.EDITING)
    path = f"/segmentos/{number}"
    form = fields_of(client.get(path).text)
    with database.session() as session:
        segments.change(session, number, SegmentIn(name="Taller", rule={"all": [WORKSHOP]}))
    answer = post(client, path, form, "save", name="Lo mío")
    assert answer.status_code == 409
    assert "«Taller»" in answer.text
    assert 'value="Lo mío"' in answer.text
    assert rule_of(database, number) == {"all": [WORKSHOP]}
    assert post(client, path, fields_of(answer.text), "mine").status_code == 200
    assert rule_of(database, number) == {"all": [CANADA]}


def test_refuses_a_name_that_is_taken(visit: Visitor, database: Database, network: None) -> None:
    saved(database, RULE, "Uno")
    number, client = saved(database, RULE, "Dos"), visit(Role.EDITING)
    answer = typed(client, f"/segmentos/{number}", "save", name="UNO")
    assert answer.status_code == 422
    assert "Ya hay un segmento con ese nombre" in answer.text


def test_duplicates_and_deletes_what_nothing_uses(visit: Visitor, database: Database) -> None:
    with database.session() as session:
        marked(session, 1)
        number = campaign(session).include[0]
    client = visit(Role.EDITING)
    for _ in range(2):
        assert client.post(f"/segmentos/{number}/duplicar", data=csrf_of(client)).status_code == 200
    with database.session(write=False) as session:
        assert [one.name for one in segments.find(session)[0]] == ["Copia de Taller", "Copia de Taller (2)", "Taller"]
    assert client.post(f"/segmentos/{number + 1}/borrar", data=csrf_of(client)).status_code == 200
    refused = client.post(f"/segmentos/{number}/borrar", data=csrf_of(client))
    assert refused.status_code == 409
    assert "«Prueba»" in refused.text
