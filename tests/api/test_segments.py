"""Segments over the API."""

from typing import Any

import pytest
from starlette.testclient import TestClient

RULE = {"all": [{"field": "tag", "op": "in", "value": ["taller"]}]}


@pytest.fixture
def network(tool: TestClient) -> TestClient:
    people = [
        {"given_names": f"Ana{number}", "first_surname": "Sol", "tags": ["taller"] if number < 6 else []} for number in range(8)
    ]
    assert tool.post("/contacts/batch", json={"items": people}).status_code == 200
    return tool


def test_saves_reads_and_changes_a_segment(network: TestClient) -> None:
    made = network.post("/segments", json={"name": "Taller", "rule": RULE})
    assert made.status_code == 201
    segment = made.json()
    assert segment["rule"] == RULE
    path = f"/segments/{segment['id']}"
    assert network.get(path).json() == segment
    assert network.get("/segments").json() == {"items": [segment], "next": None}
    changed = network.put(path, json={"name": "Fuera", "rule": {"not": RULE}}, headers={"If-Match": made.headers["ETag"]})
    assert (changed.status_code, changed.json()["name"]) == (200, "Fuera")
    late = network.put(path, json={"name": "Otra", "rule": RULE}, headers={"If-Match": made.headers["ETag"]})
    assert (late.status_code, late.json()["code"]) == (412, "segment_changed")
    assert network.post("/segments", json={"name": "FUERA", "rule": RULE}).json()["code"] == "segment_exists"
    assert network.get("/segments/99").json()["code"] == "segment_not_found"


def test_previews_a_rule_with_a_count_five_people_and_a_sentence(network: TestClient) -> None:
    told = network.post("/segments/preview", json={"rule": RULE}).json()
    assert (told["count"], len(told["sample"])) == (6, 5)
    assert told["sample"][0] == {"id": 1, "name": "Sol, Ana0"}
    assert "«taller»" in told["sentence"]


def test_says_why_a_person_is_in_or_out(network: TestClient) -> None:
    network.post("/segments", json={"name": "Taller", "rule": RULE})
    inside, outside = (network.get(f"/segments/1/explain/{contact}").json() for contact in (1, 8))
    assert (inside["inside"], outside["inside"]) == (True, False)
    assert outside["tree"]["parts"][0]["decided"]
    assert network.get("/segments/1/explain/99").json()["code"] == "contact_not_found"
    assert network.get("/segments/9/explain/1").json()["code"] == "segment_not_found"


def test_lists_the_fields_of_rules(network: TestClient) -> None:
    told = {field["name"]: field for field in network.get("/segments/fields").json()["items"]}
    assert {"country", "city", "tag", "language"} <= told.keys()
    assert {"in", "not_in"} <= {operator["name"] for operator in told["tag"]["operators"]}


@pytest.mark.parametrize(
    ("rule", "field", "code"),
    [
        ({}, "rule", "segment_shape_invalid"),
        ({"all": [{"field": "shoe", "op": "in", "value": [1]}]}, "rule.all[0].field", "segment_field_unknown"),
        ({"field": "tag", "op": "<", "value": ["x"]}, "rule.op", "segment_operator_unknown"),
        ({"field": "tag", "op": "in", "value": []}, "rule.value", "segment_value_invalid"),
    ],
)
def test_tells_where_a_rule_is_wrong(tool: TestClient, rule: dict[str, Any], field: str, code: str) -> None:
    for refused in (
        tool.post("/segments/preview", json={"rule": rule}),
        tool.post("/segments", json={"name": "Mala", "rule": rule}),
    ):
        assert (refused.status_code, refused.json()["code"]) == (422, code)
        assert [error["field"] for error in refused.json()["errors"]] == [field]
