"""An import confirmed on a page, in the running product: the worker takes it in, whole, also when the process is killed."""

import time
from pathlib import Path

import httpx
import pytest

from crm.config import Settings
from tests.people.test_imports import people, sheet
from tests.product import Product, product
from tests.test_main_job import _database

ADDRESS, PASSWORD = "laura@example.org", "una frase larga de prueba"


def signed_in(running: Product) -> tuple[httpx.Client, str]:
    """A browser without scripts, and the token that its forms carry."""
    client = httpx.Client(base_url=running.url, headers={"Sec-Fetch-Site": "same-origin"}, timeout=60, follow_redirects=True)
    client.post("/entrar", data={"correo": ADDRESS, "contrasena": PASSWORD})
    page = client.get("/importar").text
    return client, page.split('name="csrf" value="')[1].split('"')[0]


def told(client: httpx.Client, words: str, seconds: float = 120) -> str:
    """The page of the import once it says something."""
    until = time.monotonic() + seconds
    while words not in (page := client.get("/importar/1").text):
        assert time.monotonic() < until, page[-3000:]
        time.sleep(0.2)
    return page


@pytest.mark.slow
def test_takes_in_a_list_whole_when_the_process_is_killed(settings: Settings, tmp_path: Path) -> None:
    count = 6_000
    with product(tmp_path / "data", **_database(settings)) as running:
        running.command("users", "add", ADDRESS, "--role", "coordination", "--password-stdin", typed=PASSWORD)
        running.start()
        client, csrf = signed_in(running)
        client.post("/importar", data={"csrf": csrf}, files={"archivo": ("red.csv", sheet(people(count)))})
        for deed in ("check", "import"):
            assert client.post("/importar/1", data={"csrf": csrf, "deed": deed}).status_code == 200
        told(client, "000</strong> de 6,000 filas")
        running.kill()
        running.start()
        page = told(client, "Importación 1: red.csv")  # its segment, made at the very end
        assert "Concluida" in page
        assert f'<data value="{count}">' in page
        assert client.get("/contactos").text.count(f"{count:,}") > 0
        running.stop()
