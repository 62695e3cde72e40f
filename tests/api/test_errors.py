"""Errors as problem+json: stable codes, Spanish sentences, never what was written."""

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import DataError, IntegrityError, OperationalError
from sqlalchemy.orm.exc import StaleDataError
from starlette.testclient import TestClient

from api import errors
from crm import errors as house
from crm.errors import SENTENCES, CrmError, InvalidInput

KINDS = [kind for kind in vars(house).values() if isinstance(kind, type) and issubclass(kind, CrmError)]


@pytest.mark.parametrize("kind", KINDS)
def test_maps_every_kind_of_error_to_a_status(kind: type[CrmError]) -> None:
    status, body = errors.of_error(kind("invalid_input"))
    assert status == body.status == errors.STATUS_OF_KIND[kind.kind]


@pytest.mark.parametrize("code", sorted(SENTENCES))
def test_tells_every_code_in_a_sentence(code: str) -> None:
    body = errors.problem(422, code)
    assert body.title.endswith((".", "?", "…"))
    assert body.detail.startswith(body.title.rstrip("."))


def test_names_each_field_that_is_wrong_and_repeats_nothing_that_was_written(tool: TestClient) -> None:
    answer = tool.post(
        "/contacts",
        json={"given_names": "secreto\n", "emails": ["secreto" * 60], "consents": [{"purpose": "secreto"}], "secreto": 1},
    )
    assert answer.status_code == 422
    assert answer.headers["Content-Type"] == "application/problem+json"
    told = answer.json()
    assert told["type"] == "/api/v1/docs#invalid_input"
    found = {error["field"]: error["code"] for error in told["errors"]}
    assert found["emails.0"] == "field_too_long"
    assert found["consents.0.evidence"] == "field_required"
    assert found["consents.0.purpose"] == "value_invalid"
    assert "254" in next(error["detail"] for error in told["errors"] if error["field"] == "emails.0")
    assert "secreto" not in answer.text.replace('"field":"secreto"', "")


def test_tells_a_hundred_fields_of_a_body_that_is_wrong_from_end_to_end(tool: TestClient) -> None:
    told = tool.post("/contacts", json={f"campo{number}": 1 for number in range(5_000)}).json()
    assert (told["code"], len(told["errors"])) == ("invalid_input", 100)


def test_refuses_a_body_of_many_thousand_fields_before_it_looks_at_each(tool: TestClient) -> None:
    for body in ({f"campo{number}": 1 for number in range(300_000)}, {"items": [1] * 300_000}):
        refused = tool.post("/contacts/batch", json=body)
        assert (refused.status_code, refused.json()["code"], refused.json()["errors"]) == (422, "body_too_wide", [])


def test_tells_unknown_routes_and_methods_alike(tool: TestClient) -> None:
    assert tool.get("/nada").json()["code"] == "route_not_found"
    refused = tool.delete("/contacts")
    assert (refused.status_code, refused.json()["code"]) == (405, "method_not_allowed")


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (OperationalError("select", {}, Exception("locked: ana@example.org")), 503, "database_busy"),
        (IntegrityError("insert", {}, Exception("dup: ana@example.org")), 409, "record_changed"),
        (DataError("insert", {}, Exception("range: ana@example.org")), 422, "body_not_storable"),
        (StaleDataError("ana@example.org"), 409, "record_changed"),
        (KeyError("ana@example.org"), 500, "internal_error"),
    ],
)
def test_tells_nothing_of_an_error_but_its_code(app: FastAPI, error: Exception, status: int, code: str) -> None:
    def fail() -> None:
        raise error

    app.add_api_route("/failing", fail)
    answer = TestClient(app, raise_server_exceptions=False).get("/failing")
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert "ana@example.org" not in answer.text
    assert ("Retry-After" in answer.headers) == (status == 503)


def test_tells_the_parts_of_an_error_of_several_fields() -> None:
    error = InvalidInput(
        "invalid_input", parts=[InvalidInput("field_required", field="name"), InvalidInput("date_future", field="on")]
    )
    _, body = errors.of_error(error)
    assert [(part.field, part.code) for part in body.errors] == [("name", "field_required"), ("on", "date_future")]


@given(st.dictionaries(st.sampled_from(["limit", "name", "scope", "min_length"]), st.text() | st.integers()))
def test_tells_an_error_of_pydantic_whatever_its_context(context: dict[str, object]) -> None:
    told = errors.field_errors([{"type": "string_too_long", "loc": ("body", "items", 0, "name"), "ctx": context}])
    assert told[0].field == "items.0.name"
