"""Campaigns and templates over the API."""

from typing import Any

import pytest
from starlette.testclient import TestClient

VARIANT = {"language": "es", "subject": "Aviso, {{ nombre }}", "blocks": [{"type": "text", "body": "Hola, {{ nombre }}:"}]}
CAMPAIGN = {
    "name": "Aviso",
    "template": "notice",
    "purpose": "consent_request",
    "audience": {"include": [1]},
    "variants": [VARIANT],
}


@pytest.fixture
def network(tool: TestClient) -> TestClient:
    tool.post("/contacts", json={"given_names": "Ana", "emails": ["ana@example.org"], "tags": ["taller"]})
    rule = {"all": [{"field": "tag", "op": "in", "value": ["taller"]}]}
    assert tool.post("/segments", json={"name": "Taller", "rule": rule}).status_code == 201
    return tool


def test_lists_templates_with_their_merge_fields(tool: TestClient) -> None:
    told = {template["name"]: template for template in tool.get("/templates").json()["items"]}
    assert {"invitation", "infographic", "newsletter", "notice"} <= told.keys()
    assert told["infographic"]["languages"] == ["es", "en"]
    assert told["infographic"]["content_class"] == "electoral_information"
    fields = {field["name"]: field for field in told["notice"]["fields"]}
    assert fields["nombre"]["example"]
    assert {field["kind"] for field in fields.values()} == {"text", "link"}


def test_writes_reads_and_changes_a_campaign(network: TestClient) -> None:
    made = network.post("/campaigns", json=CAMPAIGN)
    assert made.status_code == 201, made.text
    campaign = made.json()
    path = f"/campaigns/{campaign['id']}"
    read = network.get(path)
    assert read.json() == campaign
    assert network.get("/campaigns").json()["items"] == [campaign]
    changed = network.put(path, json={**CAMPAIGN, "name": "Otro aviso"}, headers={"If-Match": read.headers["ETag"]})
    assert (changed.status_code, changed.json()["name"]) == (200, "Otro aviso")
    late = network.put(path, json=CAMPAIGN, headers={"If-Match": read.headers["ETag"]})
    assert (late.status_code, late.json()["code"]) == (412, "campaign_changed")
    assert network.get("/campaigns/99").json()["code"] == "campaign_not_found"
    assert network.put("/campaigns/99", json=CAMPAIGN).status_code == 404


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"template": "no_hay"}, 404, "template_unknown"),
        ({"audience": {"include": [99]}}, 422, "segment_not_found"),
        ({"variants": []}, 422, "invalid_input"),
        ({"variants": [{**VARIANT, "language": "en"}]}, 422, "spanish_required"),
        ({"variants": [{**VARIANT, "subject": "Hola, {{ apodo }}"}]}, 422, "merge_field_unknown"),
        ({"variants": [{**VARIANT, "subject": "Hola\nBcc: otra@example.org"}]}, 422, "invalid_input"),
        ({"variants": [{**VARIANT, "blocks": [{"type": "image", "material": 99}]}]}, 422, "material_not_found"),
        ({"variants": [{**VARIANT, "blocks": [{"type": "script", "body": "x"}]}]}, 422, "invalid_input"),
        ({"purpose": "party_propaganda"}, 422, "invalid_input"),
        ({"extra": 1}, 422, "invalid_input"),
    ],
)
def test_refuses_a_campaign_that_could_never_be_sent(network: TestClient, changes: dict[str, Any], status: int, code: str) -> None:
    refused = network.post("/campaigns", json={**CAMPAIGN, **changes})
    assert (refused.status_code, refused.json()["code"]) == (status, code), refused.text


def test_reviews_and_refuses_to_send_what_is_not_ready(network: TestClient) -> None:
    draft = {**CAMPAIGN, "variants": [{"language": "es", "subject": "", "blocks": []}]}
    campaign = network.post("/campaigns", json=draft).json()["id"]
    review = network.get(f"/campaigns/{campaign}/review").json()
    assert review["recipients"] == 1
    assert {"subject_missing", "blocks_missing"} <= {problem["code"] for problem in review["problems"] if problem["blocking"]}
    refused = network.post(f"/campaigns/{campaign}/sends", json={"when": {"mode": "now"}})
    assert (refused.status_code, refused.json()["code"]) == (409, "campaign_not_ready")


@pytest.mark.parametrize(
    ("order", "code"),
    [
        ({"when": {"mode": "at"}}, "instant_required"),
        ({"when": {"mode": "at", "at": "2020-01-07T10:00:00-06:00"}}, "instant_past"),
        ({"when": {"mode": "at", "at": "2999-01-07T10:00:00"}}, "invalid_input"),
        ({"when": {"mode": "soon"}}, "invalid_input"),
        ({"when": {"mode": "local_hour"}}, "mode_not_offered"),
        ({}, "invalid_input"),
    ],
)
def test_refuses_an_order_without_a_clear_hour(network: TestClient, order: dict[str, Any], code: str) -> None:
    campaign = network.post("/campaigns", json=CAMPAIGN).json()["id"]
    refused = network.post(f"/campaigns/{campaign}/sends", json=order)
    assert (refused.status_code, refused.json()["code"]) == (422, code)


def test_shows_a_campaign_as_a_person_and_tests_it_only_to_staff(network: TestClient) -> None:
    campaign = network.post("/campaigns", json=CAMPAIGN).json()["id"]
    seen = network.post(f"/campaigns/{campaign}/preview", json={"contact_id": 1}).json()
    assert seen["subject"] == "Aviso, Ana"
    assert "Hola, Ana:" in seen["text"]
    assert network.post(f"/campaigns/{campaign}/preview", json={"contact_id": 9}).json()["code"] == "contact_not_found"
    refused = network.post(f"/campaigns/{campaign}/tests", json={"to": "ana@example.org"})
    assert (refused.status_code, refused.json()["code"]) == (422, "test_address_refused")


def test_knows_no_other_send(tool: TestClient) -> None:
    for path in ("/sends/7", "/sends/7/deliveries"):
        assert tool.get(path).json()["code"] == "send_not_found"
    for deed in ("pause", "resume", "cancel"):
        assert tool.post(f"/sends/7/{deed}").json()["code"] == "send_not_found"
