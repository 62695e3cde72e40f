"""Organizaciones: the list with its counts, the people of each, and a name that changes for everybody."""

import pytest

from crm.database import Database
from crm.people import contacts
from crm.people.models import Organization
from crm.people.taking_in import take_in_many
from crm.staff.models import Role
from tests.people.factories import contact_in
from tests.web.conftest import Visitor, csrf_of

CLUB = "Club Chilango de Tacoma"


@pytest.fixture
def members(database: Database) -> list[int]:
    """Three people of a club, one of whom is blocked, and one of a consulate."""
    with database.session() as session:
        told = [(CLUB, "Presidenta"), (CLUB, None), (CLUB, None), ("Consulado en Tacoma", "Cónsul")]
        people = [contact_in(number, organization=name, post=post) for number, (name, post) in enumerate(told)]
        ids = [one.contact_id or 0 for one in take_in_many(session, people)]
        contacts.get(session, ids[2]).blocked_at = contacts.get(session, ids[2]).created_at
    return ids


def form(**changes: str) -> dict[str, str]:
    return {"nombre": CLUB, "tipo": "hometown_association", "ciudad": "", "pais": "", **changes}


def test_lists_organizations_with_the_people_that_they_have_now(visit: Visitor, members: list[int]) -> None:
    client = visit(Role.READING)
    page = client.get("/organizaciones").text
    assert "2 organizaciones" in page
    assert '<data value="2">' in page
    found = client.get("/organizaciones?q=consul tacoma").text
    assert "Consulado en Tacoma" in found
    assert CLUB not in found
    assert "Ninguna organización" in client.get("/organizaciones?q=nada").text
    assert "Ninguna organización" in client.get("/organizaciones?tipo=university").text


def test_shows_the_people_and_posts_of_an_organization(visit: Visitor, members: list[int]) -> None:
    page = visit(Role.READING).get("/organizaciones/1").text
    assert "2 personas" in page
    assert "Presidenta" in page
    assert f'href="/personas/{members[0]}"' in page
    assert f'href="/personas/{members[2]}"' not in page
    assert visit(Role.EDITING).get("/organizaciones/99").status_code == 404


def test_renames_an_organization_for_everybody(visit: Visitor, members: list[int], database: Database) -> None:
    client = visit(Role.EDITING)
    told = form(nombre="Casa Jacaranda", tipo="cultural_group", ciudad="Tacoma", pais="Estados Unidos")
    page = client.post("/organizaciones/1/editar", data=told | csrf_of(client)).text
    assert "Casa Jacaranda" in page
    assert "Grupo cultural · Tacoma, Estados Unidos" in page
    assert "Casa Jacaranda" in client.get(f"/personas/{members[0]}").text
    with database.session(write=False) as session:
        assert "casa jacaranda" in contacts.get(session, members[0]).search_key
        assert "chilango" not in contacts.get(session, members[0]).search_key
    emptied = client.post("/organizaciones/1/editar", data=form(nombre="Casa Jacaranda") | csrf_of(client)).text
    assert "Tacoma, Estados Unidos</p>" not in emptied


@pytest.mark.parametrize(
    ("changes", "status", "sentence"),
    [
        ({"nombre": " "}, 422, "necesario"),
        ({"nombre": "CONSULADO en tacoma"}, 409, "Ya hay una organización"),
        ({"tipo": "club"}, 422, "no está en el catálogo"),
        ({"ciudad": "Springfield", "pais": "Estados Unidos"}, 422, "Hay varias ciudades"),
        ({"ciudad": "Xyzzyburgo"}, 422, "No conocemos esa ciudad"),
        ({"ciudad": "Tacoma", "pais": "Narnia"}, 422, "No conocemos ese país"),
    ],
)
def test_refuses_what_is_wrong_and_keeps_the_text(
    visit: Visitor, members: list[int], database: Database, changes: dict[str, str], status: int, sentence: str
) -> None:
    client = visit(Role.EDITING)
    answer = client.post("/organizaciones/1/editar", data=form(**changes) | csrf_of(client))
    assert answer.status_code == status
    assert sentence in answer.text
    for value in changes.values():
        assert f'value="{value}"' in answer.text or value == "club"
    with database.session(write=False) as session:
        stored = session.get_one(Organization, 1)
        assert (stored.name, stored.kind.value, stored.city_id) == (CLUB, "other", None)
