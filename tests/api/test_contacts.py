"""Contacts, cities, tags and suppressions over the API."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from crm.database import Database
from crm.mailing import joining
from tests.people.factories import contact

ANA = {
    "given_names": "Ana",
    "first_surname": "Núñez",
    "emails": ["ana@example.org"],
    "city": "Los Ángeles",
    "country": "US",
    "tags": ["taller"],
    "leader_sectors": ["academia"],
    "consents": [{"purpose": "electoral_information", "evidence": "Hoja de registro"}],
}
PEOPLE = [
    ANA,
    {
        "given_names": "Luz",
        "first_surname": "Ñáñez",
        "emails": ["luz@example.com"],
        "city": "Londres",
        "country": "GB",
        "language": "en",
    },
    {"given_names": "Raúl", "first_surname": "de la Cruz", "tags": ["Foro"], "country": "Canadá"},
    {"given_names": "Iris", "first_surname": "Zúñiga", "emails": ["iris@example.net"], "city": "San José"},
]


@pytest.fixture
def network(tool: TestClient) -> TestClient:
    answer = tool.post("/contacts/batch", json={"items": PEOPLE})
    assert [item["status"] for item in answer.json()["items"]] == ["created"] * 4, answer.text
    return tool


def names(tool: TestClient, **told: Any) -> list[str]:
    answer = tool.get("/contacts", params=told)
    assert answer.status_code == 200, answer.text
    return [item["given_names"] for item in answer.json()["items"]]


def test_answers_for_each_item_of_a_batch_in_order(network: TestClient) -> None:
    items = [
        ANA,
        {**ANA, "phone": "+1 555 0100"},
        {"given_names": "Pedro", "first_surname": "Otro", "emails": ["ana@example.org"]},
        {"emails": ["no es correo"]},
        {"given_names": 7},
        {"given_names": "Eva", "apellido": "Sol"},
        {"first_surname": "San José", "city": "San José"},
        {"given_names": "Nora", "first_surname": "Vega", "emails": ["nora@example.org"]},
    ]
    told = network.post("/contacts/batch", json={"items": items}).json()["items"]
    assert [(item["status"], item["error"], item["field"]) for item in told] == [
        ("unchanged", None, None),
        ("updated", None, None),
        ("refused", "address_of_other_person", None),
        ("refused", "address_invalid", None),
        ("refused", "value_invalid", "given_names"),
        ("refused", "field_unknown", "apellido"),
        ("created", None, None),
        ("created", None, None),
    ]
    assert told[0]["id"] == told[1]["id"] == 1
    assert told[6]["warnings"] == ["city_ambiguous"]


def test_refuses_a_batch_that_is_empty_or_too_long(tool: TestClient) -> None:
    assert tool.post("/contacts/batch", json={"items": []}).status_code == 422
    assert tool.post("/contacts/batch", json={"items": [{}] * 1001}).status_code == 422
    assert tool.post("/contacts/batch", json={"items": ["Ana"]}).status_code == 422


def test_lists_people_in_spanish_order_and_walks_the_pages(network: TestClient) -> None:
    assert names(network) == ["Raúl", "Luz", "Ana", "Iris"] or names(network) == ["Raúl", "Ana", "Luz", "Iris"]
    seen, cursor = [], None
    while True:
        page = network.get("/contacts", params={"limit": 1, **({"cursor": cursor} if cursor else {})}).json()
        seen += [item["given_names"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == names(network)


@pytest.mark.parametrize(
    ("told", "found"),
    [
        ({"q": "nunez"}, ["Ana"]),
        ({"q": "LUZ nañez"}, ["Luz"]),
        ({"country": "us"}, ["Ana"]),
        ({"country": ["US", "GB"]}, ["Ana", "Luz"]),
        ({"city": "LA"}, ["Ana"]),
        ({"city": "Londres, Reino Unido"}, ["Luz"]),
        ({"city": "Ninguna parte"}, []),
        ({"tag": "Taller"}, ["Ana"]),
        ({"tag": ["taller", "foro"]}, ["Raúl", "Ana"]),
        ({"language": "en"}, ["Luz"]),
        ({"leader_sector": "academia"}, ["Ana"]),
        ({"mail_state": "ok"}, ["Ana"]),
        ({"mail_state": "no_address"}, ["Raúl"]),
        ({"mail_state": ["ok", "no_address"], "country": "CA"}, ["Raúl"]),
    ],
)
def test_filters_people(network: TestClient, told: dict[str, Any], found: list[str]) -> None:
    assert names(network, **told) == found


@pytest.mark.parametrize("told", [{"limit": 0}, {"limit": 201}, {"language": "fr"}, {"mail_state": "x"}, {"q": "x" * 201}])
def test_refuses_a_filter_that_means_nothing(tool: TestClient, told: dict[str, Any]) -> None:
    assert tool.get("/contacts", params=told).status_code == 422


def test_creates_reads_and_changes_one_person(tool: TestClient) -> None:
    made = tool.post("/contacts", json=ANA)
    assert made.status_code == 201
    contact = made.json()
    assert contact["emails"] == [{"address": "ana@example.org", "preferred": True, "state": "ok"}]
    assert contact["city"]["zone"] == "America/Los_Angeles"
    assert contact["mail_state"] == "ok"
    assert tool.get(f"/contacts/{contact['id']}").json() == contact
    changed = tool.patch(f"/contacts/{contact['id']}", json={"tags": [], "city": "Chicago", "country": "US"}).json()
    assert (changed["tags"], changed["city"]["name"]) == ([], "Chicago")
    assert tool.patch(f"/contacts/{contact['id']}", json={"given_names": "", "first_surname": "", "emails": []}).status_code == 422
    assert tool.post("/contacts", json={**ANA, "given_names": "Otra"}).json()["code"] == "address_of_other_person"
    assert tool.get("/contacts/999").json()["code"] == "contact_not_found"


def test_suppresses_an_address_and_revives_nobody(network: TestClient) -> None:
    body = {"address": "Ana@Example.org", "reason": "unsubscribed", "happened_on": "2026-11-20", "proof": "Lo pidió por teléfono"}
    for _ in range(2):
        assert network.post("/suppressions", json=body).status_code == 201
    assert names(network, mail_state="unsubscribed") == ["Ana"]
    told = network.post("/contacts/batch", json={"items": [ANA]}).json()["items"][0]
    assert (told["status"], told["error"]) == ("refused", "suppressed")
    assert names(network, mail_state="ok") == []
    stranger = {**body, "address": "nadie@example.org", "reason": "complained"}
    assert network.post("/suppressions", json=stranger).status_code == 201
    fresh = network.post("/contacts", json={"given_names": "Nadie", "emails": ["nadie@example.org"], "consents": ANA["consents"]})
    assert (fresh.status_code, fresh.json().get("code")) == (409, "suppressed")


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"address": "nada"}, "address_invalid"),
        ({"reason": "erased"}, "invalid_input"),
        ({"happened_on": "2999-01-01"}, "date_future"),
        ({"proof": " "}, "invalid_input"),
        ({"message_id": "<nada@example.org>"}, "message_unknown"),
    ],
)
def test_refuses_a_suppression_without_address_reason_date_or_proof(tool: TestClient, wrong: dict[str, str], code: str) -> None:
    body = {"address": "ana@example.org", "reason": "bounced", "happened_on": "2026-11-20", "proof": "550 5.1.1"}
    refused = tool.post("/suppressions", json={**body, **wrong})
    assert (refused.status_code, refused.json()["code"]) == (422, code)


def test_finds_cities_and_tags(network: TestClient) -> None:
    cities = network.get("/cities", params={"q": "los ang", "country": "Estados Unidos"}).json()
    assert (cities["items"][0]["name"], cities["items"][0]["country_name"], cities["next"]) == (
        "Los Ángeles",
        "Estados Unidos",
        None,
    )
    assert len(network.get("/cities", params={"limit": 3}).json()["items"]) == 3
    listed = network.get("/tags").json()["items"]
    assert [(item["name"], item["contacts"]) for item in listed] == [("Foro", 1), ("taller", 1)]
    assert [item["name"] for item in network.get("/tags", params={"q": "TALL"}).json()["items"]] == ["taller"]


def test_a_joined_contact_is_gone_and_tells_which_is_kept(tool: TestClient, database: Database) -> None:
    with database.session() as session:
        kept, joined = (contact(session, number).id for number in (1, 2))
        joining.join(session, kept, joined, {})
    for answer in (tool.get(f"/contacts/{joined}"), tool.patch(f"/contacts/{joined}", json={"phone": None})):
        assert (answer.status_code, answer.json()["code"], answer.json()["kept_id"]) == (410, "contact_joined", kept)
    assert "kept_id" not in tool.get("/contacts/999999").json()
