"""Duplicados: the list, two records side by side, joined and parted, and where else they are told."""

import re
from typing import Any

import pytest

from crm.database import Database
from crm.people import contacts, duplicates
from crm.people.schemas import ContactPatch
from crm.staff.models import Role
from tests.people.factories import address_of, contact, phone_of
from tests.web.conftest import Visitor, csrf_of

TWICE: dict[str, Any] = {"given_names": "Zoé", "first_surname": "Xolalpa", "city": "Chicago", "country": "US"}


@pytest.fixture
def pair(database: Database) -> tuple[int, int, int]:
    """(pair, the fuller record, the other one)."""
    with database.session() as session:
        one = contact(session, 1, **TWICE, second_surname="Quiroz", phone=phone_of(1), tags=["taller"])
        other = contact(session, 2, **TWICE | {"given_names": "ZOE"}, second_surname=None, tags=["consulado"])
        return duplicates.find(session)[0][0].id, one.id, other.id


def versions(database: Database, *ids: int) -> dict[str, str]:
    with database.session(write=False) as session:
        told = [str(contacts.get(session, number).version) for number in ids]
    return {"version_kept": told[0], "version_joined": told[1], "queda": str(ids[0])}


def test_lists_pairs_with_how_sure_and_why(visit: Visitor, pair: tuple[int, int, int]) -> None:
    client = visit(Role.EDITING)
    page = client.get("/duplicados").text
    assert "Zoé Xolalpa Quiroz" in page
    assert "ZOE Xolalpa" in page
    assert "a una le falta un apellido" in page
    assert f'href="/duplicados/{pair[0]}"' in page
    assert "1 posible duplicado" in client.get("/").text
    assert f'href="/duplicados/{pair[0]}"' in client.get(f"/personas/{pair[1]}").text
    assert visit(Role.READING).get("/duplicados").status_code == 403


def test_says_that_they_are_two_people_and_takes_it_back(visit: Visitor, pair: tuple[int, int, int]) -> None:
    client = visit(Role.EDITING)
    page = client.post(f"/duplicados/{pair[0]}/aparte", data=csrf_of(client)).text
    assert "son dos personas distintas" in page
    assert f'action="/duplicados/{pair[0]}/revisar"' in page
    assert "ZOE Xolalpa" in client.get("/duplicados?grado=aparte").text
    assert client.post(f"/duplicados/{pair[0]}/aparte", data=csrf_of(client)).status_code == 409
    assert "¿Son la misma persona?" in client.post(f"/duplicados/{pair[0]}/revisar", data=csrf_of(client)).text


def test_joins_with_the_values_that_were_chosen_and_parts_again(
    visit: Visitor, database: Database, pair: tuple[int, int, int]
) -> None:
    client, (number, kept, joined) = visit(Role.EDITING), pair
    page = client.get(f"/duplicados/{number}").text
    assert re.search(r'name="given_names" value="kept" checked', page)
    assert f'name="queda" value="{kept}"' in page
    assert f'value="{joined}"' in client.get(f"/duplicados/{number}?queda={joined}").text
    told = {"given_names": "joined", "second_surname": "kept", "reason": "Lo confirmó"} | versions(database, kept, joined)
    page = client.post(f"/duplicados/{number}/juntar", data=told | csrf_of(client)).text
    assert "Listo: quedó una sola ficha." in page
    assert "ZOE Xolalpa Quiroz" in page
    assert address_of(2) in page
    assert "Se juntó con otra ficha" in page
    assert "Lo confirmó" in page
    assert str(client.get(f"/personas/{joined}").url).endswith(f"/personas/{kept}")
    assert str(client.get(f"/duplicados/{number}").url).endswith(f"/personas/{kept}")
    undo = re.search(r'action="(/uniones/\d+/deshacer)"', page)
    assert undo is not None
    page = client.post(undo[1], data=csrf_of(client)).text
    assert "cada una con lo suyo" in page
    assert "Zoé Xolalpa Quiroz" in page
    assert "Se separó de la ficha" in page
    assert client.get(f"/personas/{joined}").status_code == 200
    assert client.post(undo[1], data=csrf_of(client)).status_code == 409


def test_who_was_overtaken_sees_what_changed_and_loses_nothing(
    visit: Visitor, database: Database, pair: tuple[int, int, int]
) -> None:
    client, (number, kept, joined) = visit(Role.EDITING), pair
    told = {"given_names": "joined", "reason": "porque sí"} | versions(database, kept, joined)
    with database.session() as session:
        contacts.change(session, joined, ContactPatch(phone=phone_of(2)))
    answer = client.post(f"/duplicados/{number}/juntar", data=told | csrf_of(client))
    assert answer.status_code == 409
    assert "Alguien cambió una de las dos fichas" in answer.text
    assert phone_of(2) in answer.text
    assert 'value="porque sí"' in answer.text
    assert re.search(r'name="given_names" value="joined" checked', answer.text)
    with database.session() as session:
        duplicates.find(session)[0][0].low.blocked_at = None
        first = versions(database, kept, joined)
    client.post(f"/duplicados/{number}/juntar", data=first | csrf_of(client))
    assert client.post(f"/duplicados/{number}/juntar", data=first | csrf_of(client)).status_code == 409


def test_asks_that_everybody_be_compared_again(visit: Visitor, pair: tuple[int, int, int]) -> None:
    client = visit(Role.EDITING)
    assert "Se compara a todos en un momento" in client.post("/duplicados/buscar", data=csrf_of(client)).text


def test_saving_all_the_same_says_that_they_are_two(visit: Visitor, database: Database, pair: tuple[int, int, int]) -> None:
    client = visit(Role.EDITING)
    told = {"given_names": "Zoé", "first_surname": "Xolalpa", "emails": "otra@example.org", "language": "es"}
    assert client.post("/personas/nueva", data=told | csrf_of(client)).status_code == 409
    assert client.post("/personas/nueva", data=told | {"sure": "1"} | csrf_of(client)).status_code == 200
    with database.session(write=False) as session:
        assert [one.id for one in duplicates.find(session)[0]] == [pair[0]]
