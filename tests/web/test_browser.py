"""The pages in a real browser: accessible, quiet, light, and whole with scripts off."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from io import BytesIO
from typing import Any

import pytest
import sqlalchemy as sa
import uvicorn
from fastapi import FastAPI
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, expect
from sqlalchemy.orm import Session

from crm import clock
from crm.config import Settings
from crm.database import Database
from crm.mailing import import_results, relays, segments, sends
from crm.mailing.models import Notice, Send, SendState
from crm.mailing.segment_schemas import SegmentIn
from crm.outreach import materials
from crm.outreach.models import MaterialKind
from crm.outreach.schemas import MaterialIn
from crm.people import bulk_actions, comparing, privacy_notices, uploads
from crm.people.duplicate_models import DuplicatePair
from crm.people.evidence import Grade, Reason
from crm.people.imports import Layout
from crm.people.models import BulkKind, Contact, ImportRow
from crm.staff import accounts, clients, invitations
from crm.staff.models import Role
from tests.chromium import chromium
from tests.conftest import ENGINE, ROOT
from tests.people.test_imports import BASIS, DIRTY
from tests.web.conftest import ADDRESS, PASSWORD
from tests.web.network import build_network, build_send

pytestmark = [pytest.mark.browser, pytest.mark.once]

SIZES = {"desktop": (1440, 900), "phone": (390, 844)}
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
AXE = f"axe.run(document, {{iframes: false, runOnly: {json.dumps(RULES)}}}).then(found => found.violations.map(one => one.id))"
LOST_AT_THE_LEFT = """[...document.querySelectorAll("main :not(svg, svg *)")]
    .filter((one) => one.checkVisibility({contentVisibilityAuto: true}))
    .filter((one) => one.getBoundingClientRect().left < -20)
    .map((one) => one.outerHTML.slice(0, 90))"""
COLD_LIMIT = 150 * 1024
FRAGMENT_LIMIT = 10 * 1024


@dataclass(frozen=True)
class Site:
    """The product as a browser reaches it, with a network of 1,500 people and a paused send."""

    url: str
    send_id: int
    database: Database
    invitation: str = ""
    """The path of an invitation that is open."""

    @property
    def pages(self) -> list[str]:
        send = f"/envios/{self.send_id}"
        return [
            "/", "/contactos", "/contactos?q=zzyzx", "/contactos?pais=US&sector=academia&mapa=norteamerica", "/campanas",
            send, f"{send}?ancho=telefono", f"{send}/personas", f"{send}/personas?estado=skipped&motivo=no_consent",
            "/personas/7", "/personas/7?ver=correos", "/personas/7/editar", "/personas/nueva",
            "/campanas/nueva", "/campanas/1/redactar", "/campanas/1/revisar", "/campanas/1/personas?motivo=no_consent",
            "/materiales", "/materiales?q=zzyzx", "/materiales/nuevo", "/materiales/1", "/materiales/1/editar",
            "/materiales/plantillas", "/organizaciones", "/organizaciones?q=zzyzx", "/organizaciones/1", "/organizaciones/1/editar",
            "/ajustes/avisos", "/regularizar", "/tareas", "/lotes", "/lotes/nuevo?todas=1", "/lotes/nuevo", "/lotes/bajas",
            "/campanas/enviado", "/campanas/enviado/personas", "/exportar?todas=1", "/exportar?envio=1", "/materiales/1/personas",
            "/ajustes", "/ajustes/personas", "/ajustes/correo", "/ajustes/claves", "/ajustes/respaldo",
            self.invitation, "/entrar/invitacion/usada",
            "/segmentos", "/segmentos/nuevo", "/segmentos/1", "/segmentos/2", "/contactos?segmento=1", "/segmentos/1/personas",
            "/importar", "/importar/1", "/importar/2", "/importar/3", "/importar/3/filas", "/importar/3/filas?estado=refused",
            "/importar/3/filas/5", "/lotes/1/personas",
            "/duplicados", "/duplicados/1", "/duplicados?grado=aparte",
            "/no-existe", "/p/baja/desconocido", "/p/consentimiento/desconocido", "/p/aviso/2027-1",
        ]  # fmt: skip


def furnish(session: Session, own_id: int, send: Send) -> str:
    """A colleague with a waiting send, an invitation, a key and two materials; the token of the invitation."""
    colleague = accounts.create(session, "colega@example.org", "Íñigo Zúñiga", Role.COORDINATION, PASSWORD)
    send.ordered_by_kind, send.ordered_by_id = "account", colleague.id
    accounts.disable(session, accounts.create(session, "antes@example.org", "Eva Sol", Role.READING, PASSWORD).id)
    clients.create(session, "Sitio de registro", "Ana Paz", ["contacts:write", "segments:read"])
    today = clock.today()
    text = {"text": "Aviso breve.", "text_en": "Short notice.", "full_text": "Responsable\nEl Instituto", "url": ""}
    privacy_notices.publish(session, version="2027-1", valid_from=today, **text)
    drawn = BytesIO()
    Image.new("RGB", (900, 1400), "#b3136a").save(drawn, "PNG")
    for title, alt in (("¿Cómo saco mi credencial desde el extranjero?", "Tres pasos"), ("Calendario electoral", "")):
        told = MaterialIn(kind=MaterialKind.INFOGRAPHIC, title=title, alt_text=alt, full_text=alt, valid_until=date(2026, 1, 31))
        materials.create(session, told, body=drawn.getvalue(), file_name="a.png")
    return invitations.invite(session, "nueva@example.org", "editing", own_id)[1]


def lists(database: Database) -> None:
    """Two segments, one of them too deep for the form; a list uploaded, one checked, one taken in."""
    country = {"field": "country", "op": "in", "value": ["US", "CA"]}
    tag = {"field": "tag", "op": "in", "value": ["Taller"]}
    shown = {"all": [country, {"any": [tag, {"field": "city", "op": "in", "value": [1, 3]}]}, {"not": {"any": [tag]}}]}
    with database.session() as session:
        reasons = [Reason.OTHER_DOMAIN, Reason.MISSING_SURNAME, Reason.OTHER_CITY]
        comparing.write_keys(session, comparing.records(session, list(session.scalars(sa.select(Contact.id)))))
        session.add(DuplicatePair(low_id=7, high_id=8, score=4.2, grade=Grade.PROBABLE, reasons=reasons))
        bulk_actions.carry_out(session, BulkKind.NOTE, "Vino al taller", [7, 8], 1)
        segments.create(session, SegmentIn(name="Norteamérica con taller", rule=shown))
        segments.create(session, SegmentIn(name="Regla profunda", rule={"any": [{"all": [country, {"any": [tag, country]}]}]}))
        for name in ("nueva.csv", "revisada.csv", "hecha.csv"):
            uploads.describe(session, uploads.upload(session, DIRTY, name).id, Layout(), BASIS if name[0] == "r" else None)
    for number in (2, 3):
        uploads.try_out(database, number)
    with database.session() as session:
        uploads.confirm(session, 3, 1)
    import_results.carry_out(database, 3, lambda: False)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Shut before the next file begins: while it is open its event loop runs in this thread, where sending needs its own."""
    with chromium() as opened:
        yield opened


@pytest.fixture
def site(app: FastAPI, database: Database) -> Iterator[Site]:
    with database.session() as session:
        own = accounts.create(session, ADDRESS, "Laura Guzmán", Role.ADMINISTRATION, PASSWORD)
        build_network(session)
        send = build_send(session)
        send_id = send.id
        token = furnish(session, own.id, send)
    lists(database)
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    yield Site(f"http://127.0.0.1:{listening.getsockname()[1]}", send_id, database, f"/entrar/invitacion/{token}")
    server.should_exit = True
    thread.join(10)
    listening.close()


@dataclass
class Visit:
    """A page and everything that it said or asked for from outside."""

    page: Page
    noise: list[str]

    @classmethod
    def open(cls, context: BrowserContext, site: Site) -> "Visit":
        visit = cls(context.new_page(), [])
        visit.page.on("console", lambda said: visit.noise.append(said.text))
        visit.page.on("pageerror", lambda error: visit.noise.append(str(error)))
        visit.page.on("request", lambda asked: visit._note(asked.url, site))
        return visit

    def _note(self, url: str, site: Site) -> None:
        if not url.startswith((site.url, "data:")):
            self.noise.append(f"outside: {url}")

    def axe(self) -> Any:
        """What axe finds, from a world of its own, so that the page's policy stays as it is."""
        link = self.page.context.new_cdp_session(self.page)
        frame = link.send("Page.getFrameTree")["frameTree"]["frame"]["id"]
        world = link.send("Page.createIsolatedWorld", {"frameId": frame})["executionContextId"]
        source = (ROOT / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
        link.send("Runtime.evaluate", {"contextId": world, "expression": source})
        asked = {"contextId": world, "expression": AXE, "awaitPromise": True, "returnByValue": True}
        return link.send("Runtime.evaluate", asked)["result"]["value"]

    @property
    def sideways(self) -> int:
        """Pixels that the page is wider than the screen."""
        wider: int = self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        return wider


def signed_in(browser: Browser, site: Site, size: tuple[int, int] = SIZES["desktop"], *, scripts: bool = True) -> Visit:
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, locale="es-MX", java_script_enabled=scripts, base_url=site.url
    )
    context.set_default_timeout(15_000)
    visit = Visit.open(context, site)
    visit.page.goto("/entrar?siguiente=/contactos")
    visit.page.fill("#correo", ADDRESS)
    visit.page.fill("#contrasena", PASSWORD)
    visit.page.click("text=Entrar")
    visit.page.wait_for_url("**/contactos")
    return visit


looks = pytest.mark.skipif(
    ENGINE != "sqlite", reason="how a page looks does not depend on the database; what it says is tested on both"
)


@looks
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_every_page_is_accessible_and_quiet(browser: Browser, site: Site, size: tuple[int, int]) -> None:
    visit = signed_in(browser, site, size)
    for url in site.pages:
        visit.noise.clear()
        visit.page.goto(url)
        assert visit.axe() == [], url
        assert visit.sideways <= 0, url
        assert [said for said in visit.noise if "404" not in said] == [], url
    visit.page.context.close()
    alone = browser.new_page(base_url=site.url, viewport={"width": size[0], "height": size[1]})
    alone.goto("/entrar")
    assert Visit(alone, []).axe() == []
    alone.close()


@looks
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_tells_a_relay_in_trouble_and_a_send_that_ended_accessibly(
    browser: Browser, site: Site, settings: Settings, size: tuple[int, int]
) -> None:
    with site.database.session() as session:
        send = session.get_one(Send, site.send_id)
        send.state, send.ordered_by_id = SendState.DONE, 1
        session.add(Notice(send_id=send.id, state=SendState.DONE))
        relay_id = relays.row_of(session, settings).id
        for before in (10, 5, 0):  # minutes: each once the rest after the one before it was over
            relays.note_trouble(session, relay_id, clock.now() - timedelta(minutes=before), "relay_unreachable")
    visit = signed_in(browser, site, size)
    for url in ("/", "/ajustes/correo"):
        visit.page.goto(url)
        expect(visit.page.locator(".band [role=status]")).to_contain_text("El correo no está saliendo.")
        assert visit.axe() == [], url
        assert visit.sideways <= 0, url
    visit.page.goto("/")
    visit.page.get_by_role("button", name="Visto").click()
    expect(visit.page.get_by_role("button", name="Visto")).to_have_count(0)
    visit.page.context.close()


@looks
def test_nothing_scrolls_sideways_on_the_narrowest_phone(browser: Browser, site: Site) -> None:
    visit = signed_in(browser, site, (320, 700))
    for url in site.pages:
        visit.page.goto(url)
        assert visit.sideways <= 0, url
        assert visit.page.evaluate(LOST_AT_THE_LEFT) == [], url
    visit.page.context.close()


@looks
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_a_table_that_slides_says_so(browser: Browser, site: Site, size: tuple[int, int]) -> None:
    page = signed_in(browser, site, size).page
    page.goto("/campanas/enviado")
    slides = page.evaluate("(one => one.scrollWidth > one.clientWidth)(document.querySelector('.slides'))")
    assert slides == page.locator(".slide-hint").is_visible() == (size == SIZES["phone"])
    page.context.close()


def test_filters_in_place_and_keeps_the_chip_open(browser: Browser, site: Site) -> None:
    visit = signed_in(browser, site)
    page = visit.page
    page.click("#chip-pais summary")
    page.check("input[value=CA]")
    page.wait_for_url("**/contactos?pais=CA")
    assert page.locator("#chip-pais").get_attribute("open") is not None
    assert page.locator("#chip-pais summary b").inner_text() == "Canadá"
    assert page.evaluate("document.activeElement.value") == "CA"
    total = page.locator("[role=status] strong").inner_text()
    assert total == page.locator("#chip-pais label:has(input[value=CA]) data").inner_text()
    page.keyboard.press("Escape")
    assert page.locator("#chip-pais").get_attribute("open") is None
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
    page.keyboard.press("/")
    page.keyboard.type("nunez")
    page.wait_for_url("**/contactos?q=nunez&pais=CA")
    assert page.locator("#q").input_value() == "nunez"
    page.go_back()
    page.wait_for_url("**/contactos?pais=CA")
    expect(page.locator("#q")).to_have_value("")
    expect(page.locator("[role=status] strong")).to_have_text(total)
    page.keyboard.press("Control+k")
    assert page.evaluate("document.activeElement.id") == "search-everywhere"
    assert visit.noise == []
    page.context.close()


def test_turns_the_pages_of_the_list_in_place(browser: Browser, site: Site) -> None:
    page = signed_in(browser, site).page
    first = page.locator(".person b").first.inner_text()
    page.click("#page-after")
    expect(page.locator(".pagination > span").first).to_contain_text("21–40 de")
    assert "tras=" in page.url
    page.click("#page-before")
    expect(page.locator(".pagination > span").first).to_contain_text("1–20 de")
    expect(page.locator(".person b").first).to_have_text(first)
    page.context.close()


def test_finds_people_alike_while_one_types_and_keeps_what_was_typed(browser: Browser, site: Site) -> None:
    visit = signed_in(browser, site)
    page = visit.page
    page.goto("/personas/7/editar")
    names = [page.input_value(field) for field in ("#given_names", "#first_surname", "#second_surname")]
    page.goto("/personas/nueva")
    for field, name in zip(("#given_names", "#first_surname", "#second_surname"), names, strict=True):
        page.fill(field, name)
    expect(page.locator("#alike")).to_contain_text("tienen el mismo nombre")
    assert visit.axe() == []
    page.keyboard.press("Enter")
    expect(page.locator("#question-title")).to_be_visible()
    assert visit.axe() == []
    assert page.input_value("#given_names") == names[0]
    page.fill("#given_names", "Zoé")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text(f"Zoé {names[1]}")
    page.click("text=Pidió la baja, se quejó o rebotó")
    assert visit.axe() == []
    assert [said for said in visit.noise if "409" not in said] == []
    page.context.close()


def test_writes_a_campaign_that_saves_itself_and_shows_the_mail(browser: Browser, site: Site) -> None:
    visit = signed_in(browser, site)
    page = visit.page
    page.goto("/campanas/nueva")
    page.fill("#nombre", "Taller de registro")
    page.check("input[value=notice]")
    page.click("text=Empezar a escribir")
    page.wait_for_url("**/redactar")
    page.fill('[name="es.0.body"]', "")
    page.click("text=Datos de cada persona que puede insertar")
    page.focus('[name="es.0.body"]')
    page.click('[data-insert="{{ nombre }}"]')
    page.keyboard.type(", escriba a la Red.")
    expect(page.locator(".saved")).to_contain_text("Guardado a las")
    mail = page.frame_locator("#preview iframe")
    expect(mail.locator("body")).to_contain_text(", escriba a la Red.")
    expect(mail.locator("body")).not_to_contain_text("nombre }}")
    assert page.evaluate("document.activeElement.name") == "es.0.body"
    page.click('button[value="add:button"]')
    expect(page.locator("#block-1 h2")).to_have_text("2. Botón")
    page.click('button[value="up:1"]')
    expect(page.locator("#block-0 h2")).to_have_text("1. Botón")
    expect(page.locator('[name="es.1.body"]')).to_have_value("{{ nombre }}, escriba a la Red.")
    expect(page.locator("#draft-side")).to_contain_text("Un botón no tiene enlace")
    page.click('button[value="undo"]')
    expect(page.locator("#block-0 h2")).to_have_text("1. Texto")
    page.click(".switch label:has([value=text])")
    expect(page.locator("pre.plain-text")).to_contain_text(", escriba a la Red.")
    assert visit.axe() == []
    assert visit.noise == []
    page.context.close()


def test_builds_a_segment_while_one_looks(browser: Browser, site: Site) -> None:
    visit = signed_in(browser, site)
    page = visit.page
    page.goto("/segmentos/nuevo")
    page.select_option('[name="0.0.field"]', "tag")
    page.check("text=Taller")
    expect(page.locator("#segment-side")).to_contain_text("Personas que tienen la etiqueta «Taller».")
    page.click('button[value="group:any"]')
    page.fill('[name="1.0.typed"]', "canada")
    page.keyboard.press("Enter")
    expect(page.locator("#segment-side")).to_contain_text("viven en Canadá")
    expect(page.locator('[name="1.0.typed"]')).to_have_value("")
    assert page.evaluate("document.activeElement.name") == "1.0.typed"
    page.fill("#name", "Taller en Canadá")
    page.click('button[value="save"]')
    page.wait_for_url("**/segmentos/4")
    people = page.locator("#segment-side .big strong").first.inner_text()
    page.fill("#quien", "garcia")
    page.click("text=Preguntar")
    page.locator('[name="persona"]').first.click()
    expect(page.locator("#question")).to_contain_text("en el segmento")
    page.evaluate("scrollTo(0, 0)")
    assert visit.axe() == []
    page.click("text=Ver en Contactos")
    assert page.locator(".count strong").inner_text() == people
    assert visit.noise == []
    page.context.close()


def test_imports_a_list_with_scripts_off(browser: Browser, site: Site) -> None:
    page = signed_in(browser, site, scripts=False).page
    page.goto("/importar")
    page.set_input_files("#archivo", {"name": "lista.csv", "mimeType": "text/csv", "buffer": DIRTY})
    page.click("text=Subir y revisar")
    page.check("[name=basis][value=stated]")
    page.check("[name=purposes][value=electoral_information]")
    page.fill("#evidence", "Hoja de registro del taller")
    page.click("text=Revisar sin guardar")
    assert "La dirección de correo no es válida" in page.locator("#revision").inner_text()
    page.click("[value=import]")
    assert "Puede cerrar esta página" in page.locator("main").inner_text()
    number = int(page.url.partition("/importar/")[2].partition("?")[0].partition("#")[0])
    import_results.carry_out(site.database, number, lambda: False)
    page.click("text=Actualizar")
    assert f"Importación {number}: lista.csv" in page.locator("main").inner_text()
    page.context.close()


@looks
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_one_remark_of_a_row_stands_where_several_do(browser: Browser, site: Site, size: tuple[int, int]) -> None:
    page = signed_in(browser, site, size).page
    with site.database.session() as session:
        row = session.scalars(sa.select(ImportRow).where(ImportRow.import_id == 3, ImportRow.number == 5)).one()
        row.more = [["city_unknown", "city"]]
    page.goto("/importar/3/filas?estado=refused")
    left = "one => { const all = document.createRange(); all.selectNodeContents(one); return all.getBoundingClientRect().left; }"
    several = page.locator(".remarks li").first
    one = page.locator("td.why:not(:has(.remarks)) b").first
    assert several.evaluate(left) == one.evaluate(left)
    page.context.close()


@looks
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_a_column_that_is_not_imported_asks_nothing_of_those_who_are_known(
    browser: Browser, site: Site, size: tuple[int, int]
) -> None:
    visit = signed_in(browser, site, size, scripts=False)
    visit.page.goto("/importar/1")
    field, rule = visit.page.locator("[name='column.0']"), visit.page.locator("[name='rule.0']")
    expect(rule).to_be_visible()
    field.select_option("")
    expect(rule).to_be_hidden()
    expect(visit.page.locator("[name='rule.1']")).to_be_visible()
    field.select_option("given_names")
    expect(rule).to_be_visible()
    visit.page.context.close()


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_help_stands_beside_what_is_being_typed(browser: Browser, site: Site, size: tuple[int, int]) -> None:
    visit = signed_in(browser, site, size)
    page = visit.page
    page.goto("/personas/nueva")
    page.fill("#given_names", "Ana")
    page.click("#open-help")
    expect(page.locator("#help-title")).to_be_focused()
    expect(page.locator("#help")).to_contain_text("persona")
    assert visit.axe() == []
    page.keyboard.press("Escape")
    expect(page.locator("#help")).to_be_empty()
    expect(page.locator("#open-help")).to_be_focused()
    assert page.input_value("#given_names") == "Ana"


def test_a_colleague_is_invited_promoted_and_disabled(browser: Browser, site: Site) -> None:
    boss = signed_in(browser, site)
    boss.page.goto("/ajustes/personas")
    boss.page.fill("#correo", "nadia@example.org")
    boss.page.check('label:has-text("Consulta") input')
    boss.page.click("text=Hacer el enlace")
    link = boss.page.input_value("#enlace")
    assert boss.axe() == []
    context = browser.new_context(base_url=site.url, viewport={"width": 390, "height": 844})
    colleague = Visit.open(context, site)
    colleague.page.goto("/entrar/invitacion/" + link.rpartition("/")[2])
    colleague.page.fill("#nombre", "Nadia Ruiz")
    colleague.page.fill("#contrasena", PASSWORD)
    colleague.page.fill("#repetida", PASSWORD)
    colleague.page.click("text=Abrir mi cuenta")
    colleague.page.wait_for_url(site.url + "/")
    colleague.page.click(".bar-more summary")
    colleague.page.click(".bar-more >> text=Ajustes")
    assert colleague.page.locator(".tabs a").all_inner_texts() == ["Mi perfil", "Avisos de privacidad"]
    assert colleague.page.goto("/personas/nueva").status == 403  # type: ignore[union-attr]  # a page of ours always answers
    boss.page.goto("/ajustes/personas")
    row = boss.page.locator(".people-rows > li", has_text="Nadia Ruiz")
    row.locator("summary").click()
    row.locator("select").select_option("coordination")
    row.locator("button", has_text="Cambiar perfil").click()
    expect(boss.page.locator(".told")).to_contain_text("El perfil cambió")
    assert colleague.page.goto("/personas/nueva").status == 200  # type: ignore[union-attr]  # likewise
    row.locator("summary").click()
    row.locator("button.danger").click()
    expect(boss.page.locator(".told")).to_contain_text("sus sesiones se cerraron")
    colleague.page.goto("/contactos")
    assert "/entrar" in colleague.page.url
    assert boss.noise == []
    context.close()
    boss.page.context.close()


def test_shows_how_a_send_moves_without_a_reload(browser: Browser, site: Site) -> None:
    visit = signed_in(browser, site)
    visit.page.goto(f"/envios/{site.send_id}")
    visit.page.click("#cancel summary")
    before = visit.page.locator("#results").inner_text()
    with site.database.session() as session:
        sends.cancel(session, site.send_id)
    visit.page.wait_for_selector("text=No saldrá ninguno más")
    assert visit.page.locator("#cancel").count() == 0
    assert visit.page.locator("#live").get_attribute("hx-trigger") is None
    visit.page.wait_for_selector("#results:not([hx-trigger])")
    assert visit.page.locator("#results").inner_text() != before, "the table says it too"
    assert visit.noise == []
    visit.page.context.close()


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_everything_works_with_scripts_off(browser: Browser, site: Site, size: tuple[int, int]) -> None:
    page = signed_in(browser, site, size, scripts=False).page
    page.click("#chip-pais summary")
    page.check("input[value=ES]")
    page.click("#chip-pais summary")
    page.fill("#q", "madrid")
    page.click("text=Aplicar")
    page.wait_for_url("**/contactos?*pais=ES*")
    assert page.locator("#chip-pais summary b").inner_text() == "España"
    page.click("#page-after")
    assert "tras=" in page.url
    page.goto(f"/envios/{site.send_id}")
    page.click('button:has-text("Reanudar")')
    assert page.locator(".state").inner_text() == "Enviándose"
    page.locator(".metric", has_text="No se pudo").click()
    assert page.locator("h1").inner_text() == "No se pudo"
    page.context.close()


def test_a_cold_page_and_a_fragment_are_light(browser: Browser, site: Site) -> None:
    page = signed_in(browser, site).page
    for url in ("/contactos", f"/envios/{site.send_id}"):
        assert _bytes_of(page, url) < COLD_LIMIT, url
    headers = {"HX-Request": "true", "HX-Request-Type": "partial"}
    for url in ("/contactos", f"/envios/{site.send_id}/avance"):
        answer = page.request.get(url, headers=headers)
        assert answer.headers["content-encoding"] == "gzip"
        assert int(answer.headers["content-length"]) < FRAGMENT_LIMIT, url
    page.context.close()


def _bytes_of(page: Page, url: str) -> int:
    """What the network carries for a page with an empty cache."""
    link, carried = page.context.new_cdp_session(page), [0]
    link.send("Network.enable")
    link.send("Network.setCacheDisabled", {"cacheDisabled": True})
    link.on("Network.loadingFinished", lambda done: carried.append(int(done["encodedDataLength"])))
    page.goto(url, wait_until="networkidle")
    time.sleep(0.2)
    link.detach()
    return sum(carried)
