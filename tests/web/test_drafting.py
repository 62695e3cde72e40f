"""Redactar, Revisar y enviar: texts that are never lost, two people at once, a test to oneself, and an order that is meant."""

import re
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
import time_machine
from starlette.testclient import TestClient

from crm import clock
from crm.config import Settings
from crm.database import Database
from crm.mailing import campaigns, revisions, segments, sends, templates
from crm.mailing.models import Delivery, DeliveryState, Send, SendMode, SendState, Trial
from crm.mailing.schemas import CampaignIn
from crm.mailing.segment_schemas import SegmentIn
from crm.people.models import Contact, Language
from crm.staff.models import Role
from tests.mailing.factories import campaign, network
from tests.mailing.mail_server import MailServer, running
from tests.people.factories import contact
from tests.web.conftest import Visitor, csrf_of

FRAGMENT = {"HX-Request": "true", "HX-Request-Type": "partial"}


@pytest.fixture
def written(database: Database) -> int:
    """A campaign to twelve people."""
    with database.session() as session:
        network(session, 12)
        return campaign(session).id


def form_of(client: TestClient, campaign_id: int) -> dict[str, Any]:
    """What the page's form would post: every field as the page shows it."""
    return fields_of(client.get(f"/campanas/{campaign_id}/redactar").text)


def fields_of(page: str) -> dict[str, Any]:
    page = page[page.index('<form id="draft"') :]
    found: dict[str, Any] = {}
    for tag in re.findall(r"<input[^>]+>", page):
        name, value = re.search(r'name="([^"]+)"', tag), re.search(r'value="([^"]*)"', tag)
        if name and not ("type=" in tag and re.search(r'type="(checkbox|radio)"', tag) and "checked" not in tag):
            found[name[1]] = _plain(value[1] if value else "")
    for name, body in re.findall(r'<textarea[^>]*name="([^"]+)"[^>]*>\n?(.*?)</textarea>', page, re.DOTALL):
        found[name] = _plain(body)
    for name, options in re.findall(r'<select[^>]*name="([^"]+)"[^>]*>(.*?)</select>', page, re.DOTALL):
        chosen = re.search(r'value="([^"]*)" selected', options)
        found[name] = chosen[1] if chosen else ""
    return found


def _plain(text: str) -> str:
    return text.replace("&#34;", '"').replace("&#39;", "'").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def content(database: Database, campaign_id: int) -> CampaignIn:
    with database.session(write=False) as session:
        return campaigns.content_of(campaigns.get(session, campaign_id))


def test_begins_a_campaign_from_a_template(visit: Visitor, database: Database) -> None:
    client = visit(Role.EDITING)
    answer = client.post("/campanas/nueva", data={"nombre": "Taller de marzo", "plantilla": "invitation", **csrf_of(client)})
    assert answer.status_code == 200
    assert str(answer.url).endswith("/campanas/1/redactar")
    made = content(database, 1)
    assert [block.type for block in made.variants[0].blocks] == ["cover", "text", "fact", "button"]
    empty = client.post("/campanas/nueva", data={"nombre": " ", "plantilla": "invitation", **csrf_of(client)})
    assert empty.status_code == 422
    assert 'value="invitation" checked' in empty.text


def test_posting_what_the_page_shows_changes_nothing(visit: Visitor, database: Database, written: int) -> None:
    client, before = visit(Role.EDITING), content(database, written)
    form = form_of(client, written)
    assert client.post(f"/campanas/{written}/redactar", data={**form, "deed": "save"}).status_code == 200
    assert content(database, written) == before
    with database.session(write=False) as session:
        assert revisions.since(session, written, campaigns.get(session, written).version) == []


def test_moves_adds_and_takes_away_blocks_and_undoes_each(visit: Visitor, database: Database, written: int) -> None:
    client, first = visit(Role.EDITING), content(database, written)
    for deed in ("add:text", "up:1", "add:divider", "remove:0"):
        answer = client.post(f"/campanas/{written}/redactar", data={**form_of(client, written), "deed": deed})
        assert answer.status_code == 200, deed
    kinds = [block.type for block in content(database, written).variants[0].blocks]
    assert kinds == ["text", "divider"] or kinds[-1] == "divider"
    for _ in range(4):
        assert client.post(f"/campanas/{written}/redactar", data={**form_of(client, written), "deed": "undo"}).status_code == 200
    assert content(database, written) == first
    answer = client.post(f"/campanas/{written}/redactar", data={**form_of(client, written), "deed": "undo"})
    assert answer.status_code == 409
    assert "No hay más cambios" in answer.text


def test_writes_english_beside_spanish(visit: Visitor, database: Database, written: int) -> None:
    client = visit(Role.EDITING)
    client.post(f"/campanas/{written}/redactar", data={**form_of(client, written), "deed": "english:on"})
    form = form_of(client, written) | {"en.subject": "Your card, {{ nombre }}", "en.0.body": "Hello, {{ nombre }}:"}
    assert client.post(f"/campanas/{written}/redactar", data={**form, "deed": "save"}).status_code == 200
    spanish, english = content(database, written).variants
    assert english.subject == "Your card, {{ nombre }}"
    assert [block.type for block in english.blocks] == [block.type for block in spanish.blocks]


def test_shows_a_block_to_a_part_of_the_audience(visit: Visitor, database: Database, written: int) -> None:
    client = visit(Role.COORDINATION)
    with database.session() as session:
        rule = {"all": [{"field": "country", "op": "in", "value": ["US"]}]}
        segment = segments.create(session, SegmentIn(name="Estados Unidos", rule=rule)).id
    form = form_of(client, written) | {"deed": "add:text"}
    client.post(f"/campanas/{written}/redactar", data=form)
    form = form_of(client, written) | {"es.1.body": "Solo allá.", "es.1.only_for": str(segment), "deed": "save"}
    assert client.post(f"/campanas/{written}/redactar", data=form).status_code == 200
    assert [block.only_for for block in content(database, written).variants[0].blocks] == [None, segment]
    assert form_of(client, written)["es.1.only_for"] == str(segment), "what the page shows is what is stored"
    assert "llega a 4 de 12 personas" in client.get(f"/campanas/{written}/revisar").text
    wrong = client.post(f"/campanas/{written}/redactar", data=form | {"es.1.only_for": "999"})
    assert wrong.status_code == 422
    assert 'id="es.1.only_for-says"' in wrong.text


def test_keeps_what_was_typed_when_it_cannot_be_saved(visit: Visitor, database: Database, written: int) -> None:
    client, before = visit(Role.EDITING), content(database, written)
    form = form_of(client, written) | {"es.0.body": "Hola, {{ nobre }}: «texto» <b>", "name": ""}
    answer = client.post(f"/campanas/{written}/redactar", data={**form, "deed": "save"})
    assert answer.status_code == 422
    again = fields_of(answer.text)
    assert again["es.0.body"] == "Hola, {{ nobre }}: «texto» <b>"
    assert 'href="#name"' in answer.text
    mended = again | {"name": "Con nombre"}
    answer = client.post(f"/campanas/{written}/redactar", data={**mended, "deed": "save"})
    assert answer.status_code == 422
    assert 'href="#es.0.body"' in answer.text or 'href="#es.subject"' in answer.text
    assert content(database, written) == before


def test_tells_who_changed_what_meanwhile_and_loses_neither(visit: Visitor, database: Database, written: int) -> None:
    ana, luis = visit(Role.EDITING), visit(Role.COORDINATION)
    mine, theirs = form_of(ana, written), form_of(luis, written)
    luis.post(f"/campanas/{written}/redactar", data={**theirs, "es.subject": "Otro asunto", "deed": "save"})
    answer = ana.post(f"/campanas/{written}/redactar", data={**mine, "es.subject": "El mío", "deed": "save"})
    assert answer.status_code == 409
    assert "asunto en español" in answer.text
    assert "Otro asunto" in answer.text
    kept = fields_of(answer.text)
    assert kept["es.subject"] == "El mío"
    assert content(database, written).variants[0].subject == "Otro asunto"
    ana.post(f"/campanas/{written}/redactar", data={**kept, "mine": "1"})
    assert content(database, written).variants[0].subject == "El mío"


def test_undoes_nothing_that_a_colleague_saved_meanwhile(visit: Visitor, database: Database, written: int) -> None:
    ana, luis = visit(Role.EDITING), visit(Role.COORDINATION)
    stale = form_of(ana, written)
    luis.post(f"/campanas/{written}/redactar", data={**form_of(luis, written), "es.subject": "De Luis", "deed": "save"})
    assert ana.post(f"/campanas/{written}/redactar", data={**stale, "deed": "undo"}).status_code == 409
    assert content(database, written).variants[0].subject == "De Luis"


def test_saves_by_itself_and_answers_with_the_side_alone(visit: Visitor, database: Database, written: int) -> None:
    client = visit(Role.EDITING)
    form = form_of(client, written) | {"es.subject": "Se guarda solo"}
    answer = client.post(f"/campanas/{written}/redactar", data={**form, "deed": "autosave"}, headers=FRAGMENT)
    assert answer.text.lstrip().startswith('<aside class="stack draft-side"')
    assert content(database, written).variants[0].subject == "Se guarda solo"
    version = re.search(r'name="version" value="(\d+)"', answer.text)
    assert version
    assert int(version[1]) > int(form["version"])
    again = client.post(f"/campanas/{written}/redactar", data={**form, "es.subject": "Dos ventanas", "deed": "autosave"})
    assert again.status_code == 200, "one's own savings are no conflict"


def test_finds_a_campaign_without_its_accents(visit: Visitor, database: Database) -> None:
    with database.session() as session:
        campaign(session).name = "Invitación a la función de otoño"
    client = visit(Role.READING)
    assert "Invitación a la función" in client.get("/campanas?q=FUNCION+otono").text
    assert "Invitación a la función" not in client.get("/campanas?q=funcion+invierno").text


def test_duplicates_a_campaign(visit: Visitor, database: Database, written: int) -> None:
    client = visit(Role.EDITING)
    client.post(f"/campanas/{written}/duplicar", data=csrf_of(client))
    copy, whole = content(database, written + 1), content(database, written)
    assert copy == whole.model_copy(update={"name": f"Copia de {whole.name}"})


def test_writes_a_campaign_as_code_and_says_where_it_is_wrong(visit: Visitor, database: Database, written: int) -> None:
    client = visit(Role.ADMINISTRATION)
    before = content(database, written)
    page = client.get(f"/campanas/{written}/codigo").text
    version = re.search(r'name="version" value="(\d+)"', page)
    assert version
    form = {"version": version[1], **csrf_of(client)}
    where = f"/campanas/{written}/codigo"
    broken = client.post(where, data={**form, "codigo": '{"name": "x"'})
    assert broken.status_code == 422
    assert "{&#34;name&#34;: &#34;x&#34;" in broken.text
    unknown = before.model_dump_json().replace('"type":"text"', '"type":"marquee"', 1)
    assert "variants.0.blocks" in client.post(where, data={**form, "codigo": unknown}).text
    assert content(database, written) == before
    renamed = before.model_copy(update={"name": "Desde el código"})
    assert client.post(where, data={**form, "codigo": renamed.model_dump_json()}).status_code == 200
    assert content(database, written).name == "Desde el código"
    assert client.post(where, data={**form, "codigo": renamed.model_dump_json()}).status_code == 409
    assert visit(Role.EDITING).get(where).status_code == 403


def test_no_template_that_nobody_filled_in_can_leave(visit: Visitor, database: Database, written: int) -> None:
    client = visit(Role.COORDINATION)
    include = content(database, written).audience.include[0]
    for name in ("invitation", "infographic", "newsletter", "notice"):
        told = {"nombre": name, "plantilla": name, "segmento": str(include), **csrf_of(client)}
        where = str(client.post("/campanas/nueva", data=told).url).replace("redactar", "revisar")
        page = client.get(where).text
        assert "Enviar a 12 personas" not in page, name
        assert "escriba aquí" in page, name
        assert ("Un botón no tiene enlace" in page) == (name == "invitation")


def test_a_blank_english_text_is_told_with_its_language_and_block(visit: Visitor, written: int) -> None:
    client = visit(Role.COORDINATION)
    form = form_of(client, written) | {"deed": "english:on"}
    client.post(f"/campanas/{written}/redactar", data=form)
    page = client.get(f"/campanas/{written}/revisar").text
    assert "En inglés: Escriba el asunto." in page
    assert re.search(r"En inglés:\s*<a [^>]+>bloque 1</a>\. Un bloque no dice nada", page)
    assert "Enviar a 12 personas" not in page


# --- Revisar y enviar ----------------------------------------------------------------------------------------------------------


def order(client: TestClient, campaign_id: int, **told: str) -> Any:
    page = client.get(f"/campanas/{campaign_id}/revisar").text
    version = re.search(r'name="version" value="(\d+)"', page)
    assert version
    form = {"version": version[1], "cuando": "now", "numero": "12", **told, **csrf_of(client)}
    return client.post(f"/campanas/{campaign_id}/enviar", data=form, follow_redirects=False)


def sends_of(database: Database) -> list[Send]:
    with database.session(write=False) as session:
        return list(session.scalars(sa.select(Send).order_by(Send.id)))


def test_sends_only_when_the_number_is_typed_as_it_is(visit: Visitor, database: Database, written: int) -> None:
    client = visit(Role.COORDINATION)
    page = client.get(f"/campanas/{written}/revisar").text
    assert "Enviar a 12 personas" in page
    for wrong in ("", "doce", "11", "1500"):
        answer = order(client, written, numero=wrong)
        assert answer.status_code == 422, wrong
        assert "No se envió nada" in answer.text
    assert sends_of(database) == []
    answer = order(client, written, numero=" 12 ")
    assert answer.status_code == 303
    [send] = sends_of(database)
    assert (send.state, send.confirmed_count) == (SendState.SCHEDULED, 12)
    assert timedelta(seconds=50) < send.starts_at - clock.now() <= timedelta(seconds=60)


def test_takes_back_an_order_and_keeps_its_hour(visit: Visitor, database: Database, written: int) -> None:
    client = visit(Role.COORDINATION)
    tomorrow = clock.institute_time(clock.now() + timedelta(days=1))
    day = tomorrow.strftime("%Y-%m-%d")
    where = order(client, written, cuando="at", fecha=day, hora="18:30").headers["location"]
    assert "Detener y editar" in client.get(where).text
    assert "Lo que cambie aquí no lo cambia" in client.get(f"/campanas/{written}/redactar").text
    answer = client.post(f"{where}/editar", data=csrf_of(client))
    assert answer.url.path == f"/campanas/{written}/redactar"
    assert "no salió ningún correo" in answer.text
    [send] = sends_of(database)
    assert (send.state, send.mode) == (SendState.CANCELLED, SendMode.AT)
    page = client.get(f"/campanas/{written}/revisar").text
    assert f'value="{day}"' in page
    assert 'value="18:30"' in page
    assert 'value="at" checked' in page


def test_undoes_within_the_minute(visit: Visitor, database: Database, written: int) -> None:
    client = visit(Role.COORDINATION)
    where = order(client, written).headers["location"]
    page = client.get(where).text
    assert re.search(r"Saldrá en \d\d segundos", page)
    client.post(f"{where}/editar", data=csrf_of(client))
    assert sends_of(database)[0].state is SendState.CANCELLED
    with database.session() as session:
        assert sends.hour_kept(session, written) is None


def test_tells_how_many_received_it_before_it_is_sent_again(visit: Visitor, database: Database, written: int) -> None:
    client = visit(Role.COORDINATION)
    assert "Enviarla otra vez" not in client.get(f"/campanas/{written}/revisar").text
    order(client, written)
    [send] = sends_of(database)
    assert "De 12 personas, ninguna la ha recibido todavía" in client.get(f"/campanas/{written}/revisar").text
    told = "De 12 personas, 2 ya la recibieron y la recibirían de nuevo"
    with database.session() as session:
        people = list(session.scalars(sa.select(Contact.id).order_by(Contact.id)))
        gone = contact(session, 70)
        states = [DeliveryState.SENT, DeliveryState.FAILED, DeliveryState.SKIPPED]
        for number, state in zip([*people[:3], gone.id], [*states, DeliveryState.SENT], strict=True):
            kept = {"language": Language.SPANISH, "state": state, "due_at": clock.now()}
            session.add(Delivery(send_id=send.id, contact_id=number, **kept))
        gone.merged_into_id = people[5]  # a record that was joined since: the same person
    assert told in client.get(f"/campanas/{written}/revisar").text


def test_asks_before_it_sends_again_and_refuses_what_was_changed(visit: Visitor, database: Database, written: int) -> None:
    client = visit(Role.COORDINATION)
    assert order(client, written).status_code == 303
    again = order(client, written)
    assert again.status_code == 409
    assert 'id="otra_vez"' in again.text
    assert order(client, written, otra_vez="si").status_code == 303
    assert order(client, written, version="99", otra_vez="si").status_code == 409
    assert len(sends_of(database)) == 2
    with time_machine.travel(clock.now() + timedelta(hours=3)):
        late = order(client, written)
        assert late.status_code == 409, "at whatever hour: who got it would get it again"
        assert "Marque «Enviarla otra vez»" in late.text
    assert len(sends_of(database)) == 2


@pytest.mark.parametrize(("day", "hour"), [("2020-01-01", "10:00"), ("", ""), ("9999-12-31", "23:59"), ("x", "y")])
def test_refuses_an_hour_that_cannot_be_and_keeps_it(visit: Visitor, database: Database, written: int, day: str, hour: str) -> None:
    answer = order(visit(Role.COORDINATION), written, cuando="at", fecha=day, hora=hour)
    assert answer.status_code == 422
    assert 'href="#fecha"' in answer.text
    assert sends_of(database) == []


def test_sends_a_test_only_to_the_staff_and_tells_who_received_it(visit: Visitor, database: Database, written: int) -> None:
    client = visit(Role.COORDINATION)
    settings = client.app.state.settings  # type: ignore[attr-defined]  # the application of this browser
    with running(MailServer()) as server:
        client.app.state.settings = settings.model_copy(update={"smtp_url": server.url})  # type: ignore[attr-defined]
        refused = client.post(f"/campanas/{written}/prueba", data={"correo": "persona@example.org", **csrf_of(client)})
        assert refused.status_code == 422
        page = client.post(f"/campanas/{written}/prueba", data={"correo": "coordination@example.org", **csrf_of(client)}).text
        assert list(server.recipients) == ["coordination@example.org"]
    assert "El servidor aceptó la prueba para Laura Guzmán" in page
    with database.session(write=False) as session:
        assert [trial.accepted for trial in session.scalars(sa.select(Trial))] == [True]


def test_every_number_of_the_review_leads_to_its_people(visit: Visitor, written: int) -> None:
    client = visit(Role.READING)
    page = client.get(f"/campanas/{written}/personas").text
    assert page.count('class="row" href="/personas/') == 12
    assert "p***@" in page or "***@example" in page, "masked for who only reads"
    assert client.get(f"/campanas/{written}/personas?motivo=no_consent").status_code == 200
    assert client.get(f"/campanas/{written}/personas?motivo=inventado").status_code == 422


def test_english_of_a_template_comes_while_the_spanish_is_as_it_came(visit: Visitor, database: Database) -> None:
    client = visit(Role.EDITING)
    told = {"nombre": "Tríptico", "plantilla": "leaflet"}
    made = client.post("/campanas/nueva", data=csrf_of(client) | told, follow_redirects=False)
    number = int(made.headers["location"].split("/")[2])
    client.post(f"/campanas/{number}/redactar", data={**form_of(client, number), "deed": "english:on"})
    form = form_of(client, number)
    begun = templates.get("leaflet").starters[Language.ENGLISH]
    assert form["en.subject"] == begun.subject
    assert [form[f"en.{place}.body"] for place in (1, 2)] == [block.body for block in begun.blocks[1:] if block.type == "text"]
    with database.session(write=False) as session:
        codes = {problem.code for problem in campaigns.review(session, campaigns.get(session, number), Settings()).problems}
    assert {"placeholder_left", "template_material_missing"} <= codes


def test_a_date_that_nobody_filled_in_does_not_leave(visit: Visitor, database: Database) -> None:
    client = visit(Role.EDITING)
    told = {"nombre": "Fecha", "plantilla": "save_the_date"}
    made = client.post("/campanas/nueva", data=csrf_of(client) | told, follow_redirects=False)
    number = int(made.headers["location"].split("/")[2])
    with database.session(write=False) as session:
        problems = campaigns.review(session, campaigns.get(session, number), Settings()).problems
    assert {problem.block for problem in problems if problem.code == "placeholder_left"} == {None, 0, 1, 2}
