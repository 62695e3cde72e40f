"""Signing in and out by the pages."""

import pytest
from starlette.testclient import TestClient

from crm.config import Settings
from crm.database import Database
from crm.staff import accounts
from crm.staff.models import Role
from tests.web.conftest import ADDRESS, PASSWORD, Visitor, csrf_of
from web.app import build
from web.sign_in import local_path


@pytest.fixture(autouse=True)
def account(database: Database) -> None:
    with database.session() as session:
        accounts.create(session, ADDRESS, "Laura Guzmán", Role.COORDINATION, PASSWORD)


def enter(client: TestClient, password: str = PASSWORD, following: str = "/contactos?pais=US") -> str:
    """Send the form and return where it leads, or the page that it gives back."""
    form = {"correo": ADDRESS, "contrasena": password, "siguiente": following}
    answer = client.post("/entrar", data=form, follow_redirects=False)
    return answer.headers.get("location") or answer.text


def test_signs_in_and_goes_where_it_was_going(anybody: TestClient) -> None:
    answer = anybody.get("/contactos?pais=US", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/entrar?siguiente=/contactos%3Fpais%3DUS")
    assert enter(anybody) == "/contactos?pais=US"
    assert "Laura Guzmán" in anybody.get("/contactos").text
    assert anybody.get("/entrar", follow_redirects=False).headers["location"] == "/"


def test_gives_the_form_back_with_its_text_when_refused(anybody: TestClient) -> None:
    page = enter(anybody, "otra contraseña")
    assert "El correo o la contraseña no son correctos" in page
    assert ADDRESS in page
    assert "otra contraseña" not in page
    assert 'value="/contactos?pais=US"' in page


def test_refuses_after_many_failures_and_remembers_them(anybody: TestClient) -> None:
    for _ in range(5):
        enter(anybody, "otra contraseña")
    assert "demasiados intentos" in enter(anybody)


def test_signs_in_anew_with_the_cookie_of_a_session_that_ended(visit: Visitor) -> None:
    client = visit(Role.EDITING)
    cookies = dict(client.cookies)
    client.post("/salir", data=csrf_of(client), follow_redirects=False)
    client.cookies.update(cookies)
    assert enter(client) == "/contactos?pais=US"


@pytest.mark.parametrize("elsewhere", ["https://example.com", "//example.com", "/\\example.com", "javascript:0", "", "/a\nb"])
def test_never_leads_to_another_site(elsewhere: str) -> None:
    assert local_path(elsewhere) == "/"


def test_the_cookie_is_shut_to_scripts_and_bound_to_https(database: Database, settings: Settings) -> None:
    secure = settings.model_copy(update={"base_url": "https://red.example.org"})
    client = TestClient(build(database, secure), base_url="https://red.example.org")
    answer = client.post("/entrar", data={"correo": ADDRESS, "contrasena": PASSWORD}, follow_redirects=False)
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-crm=")
    assert {"HttpOnly", "SameSite=lax", "Secure", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    assert "max-age" in answer.headers["strict-transport-security"]


def test_signs_out_for_good(visit: Visitor) -> None:
    client = visit(Role.EDITING)
    cookies = dict(client.cookies)
    assert client.post("/salir", data=csrf_of(client), follow_redirects=False).headers["location"] == "/entrar"
    client.cookies.update(cookies)
    assert client.get("/", follow_redirects=False).status_code == 303
