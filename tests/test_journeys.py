"""From a list to its first campaign and a correction, in a real browser against the running product: no command line but for
the first account."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from crm import clock
from crm.config import Settings
from tests.chromium import chromium
from tests.mailing.mail_server import MailServer, running
from tests.product import Product, product

pytestmark = [pytest.mark.browser, pytest.mark.slow]

NAME = "Taller de registro"
PASSWORD = "una frase larga de prueba"
LIST = "Nombre,Primer apellido,Correo,Ciudad,Etiquetas\r\n" + "".join(
    f"Persona {letter},Núñez,{letter}@example.org,Chicago,taller\r\n" for letter in "abcde"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


def test_goes_from_a_list_to_its_first_campaign_and_corrects_a_wrong_one(
    settings: Settings, tmp_path: Path, browser: Browser
) -> None:
    with running() as server, installed(settings, tmp_path, server, "coordination") as red:
        page = signed_in(browser, red, "coordination@example.org")
        import_list(page)
        page.click("text=Escribirles una campaña")
        write(page, NAME, "Nos vemos el martes 7")
        send_now(page, 5)
        expect(page.locator(".state")).to_have_text("Concluido", timeout=60_000)
        page.click("text=Escribir fe de erratas")
        page.fill('[name="es.0.body"]', "El taller es el miércoles 8, no el martes 7.")
        expect(page.locator(".saved")).to_contain_text("Guardado a las")
        page.click("text=Revisar y enviar")
        send_now(page, 5)
        expect(page.locator(".state")).to_have_text("Concluido", timeout=60_000)
        reads_that_it_ended(page, server)
    by_person: dict[str, list[str]] = {recipient: [] for recipient in server.recipients}
    for mail in server.accepted:
        by_person[mail.recipient].append(str(mail.mail["subject"]))
    assert by_person.pop("coordination@example.org") == [f"Terminó: «{name}»" for name in (NAME, f"Fe de erratas: {NAME}")]
    assert set(by_person) == {f"{letter}@example.org" for letter in "abcde"}
    assert all(subjects == ["Nos vemos el martes 7", "Fe de erratas"] for subjects in by_person.values())


def reads_that_it_ended(page: Page, server: MailServer) -> None:
    """One mail of each send to whoever ordered it, and a line on Inicio until they say that they know."""
    page.goto("/")
    expect(page.get_by_role("button", name="Visto")).to_have_count(2)
    page.get_by_role("button", name="Visto").first.click()
    expect(page.get_by_role("button", name="Visto")).to_have_count(1)
    for _ in range(60):
        if server.recipients["coordination@example.org"] == 2:
            break
        page.wait_for_timeout(500)


def import_list(page: Page) -> None:
    page.goto("/importar")
    page.set_input_files("#archivo", {"name": "taller.csv", "mimeType": "text/csv", "buffer": LIST.encode()})
    page.click("text=Subir y revisar")
    page.check("[name=basis][value=stated]")
    page.check("[name=purposes][value=electoral_information]")
    page.fill("#evidence", "Hoja de registro del taller")
    page.click("text=Revisar sin guardar")
    page.click("[value=import]")
    expect(page.locator("main")).to_contain_text("5", timeout=60_000)
    expect(page.locator("main")).to_contain_text("Escribirles una campaña", timeout=60_000)


def write(page: Page, name: str, subject: str) -> None:
    page.fill("#nombre", name)
    page.check("input[value=notice]")
    page.click("text=Empezar a escribir")
    page.wait_for_url("**/redactar")
    page.fill('[name="es.subject"]', subject)
    page.fill('[name="es.0.body"]', "{{ saludo }}\n\nEl taller es el martes 7.")
    expect(page.locator(".saved")).to_contain_text("Guardado a las")
    page.click("text=Revisar y enviar")


def send_now(page: Page, people: int) -> None:
    """At the minute that has just begun: what the form calls a date, without the 60 seconds to undo."""
    page.wait_for_url("**/revisar")
    expect(page.locator(".reach")).to_contain_text(f"{people} personas")
    page.check('[name="cuando"][value="at"]')
    now = clock.institute_time(clock.now())
    page.fill("#fecha", now.strftime("%Y-%m-%d"))
    page.fill("#hora", now.strftime("%H:%M"))
    page.fill("#numero", str(people))
    page.click(f"text=Programar para {people} personas")
    page.wait_for_url(re.compile(r"/envios/\d+$"))


def installed(settings: Settings, tmp_path: Path, server: MailServer, role: str) -> "Opened":
    return Opened(settings, tmp_path, server, role)


class Opened:
    """A running product with one account of a role."""

    def __init__(self, settings: Settings, tmp_path: Path, server: MailServer, role: str) -> None:
        told = {"CRM_SMTP_URL": server.url}
        if settings.database_url and not settings.uses_sqlite:
            told["CRM_DATABASE_URL"] = settings.database_url.replace("postgresql+psycopg://", "postgresql://")
            told["CRM_SECRET_KEY"] = "x" * 32
        self._made = product(tmp_path / "data", **told)
        self._role = role

    def __enter__(self) -> Product:
        red = self._made.__enter__()
        red.command("users", "add", f"{self._role}@example.org", "--role", self._role, "--password-stdin", typed=PASSWORD)
        red.start()
        return red

    def __exit__(self, *told: object) -> None:
        self._made.__exit__(*told)  # type: ignore[arg-type]  # handed on as it came


def signed_in(browser: Browser, red: Product, address: str) -> Page:
    context = browser.new_context(base_url=red.url, locale="es-MX", viewport={"width": 1440, "height": 900})
    context.set_default_timeout(20_000)
    page = context.new_page()
    page.goto("/entrar")
    sign_in(page, address)
    return page


def sign_in(page: Page, address: str) -> None:
    page.fill("#correo", address)
    page.fill("#contrasena", PASSWORD)
    page.click("text=Entrar")
