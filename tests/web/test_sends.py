"""Envío y resultados, Campañas and Inicio: numbers that add up, doors to people, and deeds that need a right."""

import re
from datetime import timedelta

import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from starlette.testclient import TestClient

from crm import clock
from crm.database import Database
from crm.mailing import faults, outgoing, relays, sends
from crm.mailing.models import Delivery, DeliveryState, Send, SendState
from crm.people.models import Contact
from crm.staff.models import Role
from tests.mailing.factories import begun
from tests.web.conftest import Visitor, csrf_of
from tests.web.network import build_send
from web.pages import lasting
from web.send_progress import curve_of
from web.words import DELIVERY_STATES, SEND_STATES, SKIP_REASONS, reason_words

TOLD = outgoing.Told(
    "Red", "red@example.org", has_relay=True, host="127.0.0.1", port="25", tls="none", per_minute="30", per_day="4"
)
FRAGMENT = {"HX-Request": "true", "HX-Request-Type": "partial"}


@pytest.fixture
def send_id(database: Database, network: None) -> int:
    """A paused send of three hundred people, two hundred of whom the server accepted."""
    with database.session() as session:
        return build_send(session, accepted=200).id


def state_of(database: Database, send_id: int) -> SendState:
    with database.session(write=False) as session:
        return session.scalars(sa.select(Send.state).where(Send.id == send_id)).one()


def test_every_state_and_reason_has_words() -> None:
    assert set(SEND_STATES) == set(SendState)
    assert set(DELIVERY_STATES) == set(DeliveryState) - {DeliveryState.SENDING}
    assert set(SKIP_REASONS) == set(sends.SKIP_SENTENCES)
    assert "Otra causa" not in {reason_words(reason) for reason in (*faults.SENTENCES, *sends.SKIP_SENTENCES)}
    assert reason_words("relay_closed") == "El servidor de correo cerró la conexión"


def test_counts_what_the_server_accepted_and_never_says_delivered(visit: Visitor, send_id: int, database: Database) -> None:
    page = visit(Role.READING).get(f"/envios/{send_id}").text
    with database.session(write=False) as session:
        counts = sends.counts(session, sends.get(session, send_id))
    assert f"<strong>{counts.sent}</strong> de {counts.total - counts.skipped} correos aceptados por el servidor" in page
    assert not re.search("entregad", page, re.IGNORECASE)
    assert counts.total == 300


def test_every_number_leads_to_as_many_people(visit: Visitor, send_id: int) -> None:
    client = visit(Role.EDITING)
    page = client.get(f"/envios/{send_id}").text
    doors = re.findall(r'<a class="metric[^"]*" href="([^"]+)">.*?<data value="(\d+)"', page, re.DOTALL)
    assert len(doors) == 6
    for href, number in doors:
        assert count_people(client, href.replace("&amp;", "&")) == int(number), href


def count_people(client: TestClient, url: str) -> int:
    """Walk every page of a list."""
    people = 0
    while url:
        page = client.get(url).text
        people += page.count('class="person-cell"')
        following = re.search(r'id="page-after" href="([^"]+)"', page)
        url = following[1].replace("&amp;", "&") if following else ""
    return people


def test_tells_who_is_left_out_and_what_to_do(visit: Visitor, send_id: int) -> None:
    client = visit(Role.EDITING)
    page = client.get(f"/envios/{send_id}").text
    for reason in ("no_consent", "unsubscribed", "no_address"):
        assert SKIP_REASONS[reason] in page
        assert sends.SKIP_SENTENCES[reason] in page
        assert client.get(f"/envios/{send_id}/personas?estado=skipped&motivo={reason}").text.count('class="person-cell"') > 0


def test_masks_addresses_and_replies_for_who_only_reads(visit: Visitor, send_id: int) -> None:
    url = f"/envios/{send_id}/personas?estado=failed"
    masked, whole = visit(Role.READING).get(url).text, visit(Role.EDITING).get(url).text
    assert "no such user" in whole
    assert re.search(r"persona\d+@example\.org", whole)
    assert "no such user" not in masked
    assert re.search(r"persona\d+@example\.org", masked) is None


@pytest.mark.parametrize(
    ("deed", "expected"), [("pausar", SendState.PAUSED), ("reanudar", SendState.SENDING), ("cancelar", SendState.CANCELLED)]
)
def test_pauses_resumes_and_cancels_twice_alike(
    visit: Visitor, send_id: int, database: Database, deed: str, expected: SendState
) -> None:
    client = visit(Role.COORDINATION)
    for _ in range(2):
        answer = client.post(f"/envios/{send_id}/{deed}", data=csrf_of(client), follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, f"/envios/{send_id}")
        assert state_of(database, send_id) is expected


def test_offers_no_deed_without_the_right(visit: Visitor, send_id: int, database: Database) -> None:
    client = visit(Role.EDITING)
    assert "/cancelar" not in client.get(f"/envios/{send_id}").text
    assert client.post(f"/envios/{send_id}/cancelar", data=csrf_of(client)).status_code == 403
    assert state_of(database, send_id) is SendState.PAUSED


def test_asks_again_only_while_the_send_goes(visit: Visitor, send_id: int) -> None:
    client = visit(Role.COORDINATION)
    assert 'hx-trigger="every 5s"' in client.get(f"/envios/{send_id}/avance", headers=FRAGMENT).text
    client.post(f"/envios/{send_id}/reanudar", data=csrf_of(client))
    assert 'hx-trigger="every 2s"' in client.get(f"/envios/{send_id}/avance", headers=FRAGMENT).text
    client.post(f"/envios/{send_id}/cancelar", data=csrf_of(client))
    assert "hx-trigger" not in client.get(f"/envios/{send_id}/avance", headers=FRAGMENT).text


def test_says_in_days_how_long_a_send_takes_by_the_limits(app: FastAPI, visit: Visitor, database: Database) -> None:
    with database.session() as session:
        outgoing.save(session, app.state.settings, TOLD)
        limited = outgoing.effective(session, app.state.settings)
        waiting = begun(session, limited, 31).id
        written = sends.get(session, waiting).campaign_id
    client = visit(Role.COORDINATION)
    page = " ".join(client.get(f"/envios/{waiting}/avance", headers=FRAGMENT).text.split())
    assert "Faltan unos 8 días · hasta 4 al día · cada persona lo recibe una sola vez" in page
    assert "Tardará <b>unos 8 días</b> en salir a 31 personas" in client.get(f"/campanas/{written}/revisar").text
    with database.session() as session:
        relays.row_of(session, limited).resting_until = clock.now() + timedelta(hours=30)
    page = " ".join(client.get(f"/envios/{waiting}/avance", headers=FRAGMENT).text.split())
    assert re.search(r"sigue solo el [^.]*\. Terminará en unos 9 días · hasta 4 al día", page)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (1, "cerca de 1 minuto"), (61, "unos 2 minutos"), (89 * 60, "unos 89 minutos"), (91 * 60, "unas 2 horas"),
        (36 * 3600, "unas 36 horas"), (36 * 3600 + 1, "unos 2 días"), (7 * 86400 + 60, "unos 8 días"),
    ],
)  # fmt: skip
def test_says_how_long_as_people_do(seconds: int, words: str) -> None:
    assert lasting(timedelta(seconds=seconds)) == words


def test_draws_a_curve_that_ends_at_what_was_accepted(send_id: int, database: Database) -> None:
    with database.session(write=False) as session:
        send = sends.get(session, send_id)
        curve = curve_of(session, send)
        accepted = sends.counts(session, send).sent
    assert curve is not None
    assert curve.points[0].accepted == 0
    assert curve.points[-1].accepted == accepted
    assert [one.accepted for one in curve.points] == sorted(one.accepted for one in curve.points)
    assert "<svg" in curve.drawing


def test_previews_as_a_person_with_the_links_of_no_one(visit: Visitor, send_id: int, database: Database) -> None:
    with database.session(write=False) as session:
        row = session.scalars(sa.select(Delivery).where(Delivery.state == DeliveryState.SENT)).first()
        assert row is not None
    client = visit(Role.READING)
    answer = client.get(f"/envios/{send_id}/vista?contacto={row.contact_id}")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:")
    link = re.search(r"/p/baja/[\w-]+", answer.text)
    assert link is not None
    assert "Esto es una prueba" in client.get(link[0]).text or "This is a test" in client.get(link[0]).text
    assert client.get(f"/envios/{send_id}/vista?contacto=999999").status_code == 404


def test_lists_campaigns_and_their_sends_in_words(visit: Visitor, send_id: int) -> None:
    client = visit(Role.READING)
    for url in ("/", "/campanas"):
        page = client.get(url).text
        assert "Invitación al Taller de credencialización" in page
        assert f'href="/envios/{send_id}"' in page
        assert "En pausa" in page
    assert "no cargue datos reales" in client.get("/").text


def test_a_campaign_that_went_out_opens_its_results_and_its_editor_says_so(
    visit: Visitor, send_id: int, database: Database
) -> None:
    title = f'<h2 id="campaign-1"><a href="/envios/{send_id}">Invitación al Taller de credencialización</a></h2>'
    client = visit(Role.EDITING)
    assert title in client.get("/campanas").text
    assert title in visit(Role.READING).get("/campanas").text
    said = "Esta campaña ya se envió"
    assert said not in client.get("/campanas/1/redactar").text, "it is on its way, and the page says that"
    with database.session() as session:
        session.get_one(Send, send_id).state = SendState.DONE
    written = client.get("/campanas/1/redactar").text
    assert said in written
    assert f'<a href="/envios/{send_id}">vea sus resultados</a>' in written
    client.post("/campanas/1/duplicar", data=csrf_of(client))
    assert '<h2 id="campaign-2"><a href="/campanas/2/redactar">' in client.get("/campanas").text, "a draft opens its editor"
    assert said not in client.get("/campanas/2/redactar").text


@pytest.mark.usefixtures("network")
def test_every_link_of_a_page_leads_to_a_page(visit: Visitor, send_id: int) -> None:
    client = visit(Role.COORDINATION)
    pages = ["/", "/contactos", "/campanas", f"/envios/{send_id}", f"/envios/{send_id}/personas?estado=skipped"]
    links = {href for url in pages for href in re.findall(r'<a [^>]*href="([^"]*)"', client.get(url).text)}
    assert not {href for href in links if href.startswith("#") and href != "#content"}
    for href in links - {"#content"}:
        assert client.get(href.replace("&amp;", "&")).status_code == 200, href


def test_tells_no_address_of_a_person_who_is_blocked(visit: Visitor, send_id: int, database: Database) -> None:
    with database.session() as session:
        row = session.scalars(sa.select(Delivery).where(Delivery.state == DeliveryState.FAILED)).first()
        assert row is not None
        session.execute(sa.update(Contact).where(Contact.id == row.contact_id).values(blocked_at=clock.now()))
    for role in (Role.READING, Role.PRIVACY):
        page = visit(role).get(f"/envios/{send_id}/personas?estado=failed").text
        cell = page[page.index("Persona que ya no está en la Red") :].partition("</tr>")[0]
        assert "@" not in cell
        assert "550" not in cell


def hold(database: Database, send_id: int, *, confirmed: int, would_reach: int) -> None:
    with database.session() as session:
        held = {"state": SendState.HELD, "reason": "audience_grew", "confirmed_count": confirmed, "would_reach": would_reach}
        session.execute(sa.delete(Delivery))
        session.execute(sa.update(Send).where(Send.id == send_id).values(started_at=None, **held))


def test_resumes_for_the_number_that_the_page_shows_and_no_more(visit: Visitor, send_id: int, database: Database) -> None:
    hold(database, send_id, confirmed=3, would_reach=203)
    client = visit(Role.COORDINATION)
    page = client.get(f"/envios/{send_id}").text
    assert "Se confirmó para 3 personas y ahora llegaría a 203." in page
    assert "Reanudar y enviar a 203 personas" in page
    assert '<input type="hidden" name="aceptadas" value="203">' in page
    with database.session() as session:
        everybody = {"include": [{"all": [{"field": "country", "op": "in", "value": ["US"]}]}], "exclude": []}
        session.execute(sa.update(Send).values(rule=everybody, purpose="consent_request"))
    client.post(f"/envios/{send_id}/reanudar", data=csrf_of(client) | {"aceptadas": "4"})
    assert state_of(database, send_id) is SendState.HELD
    now = int(re.findall(r'name="aceptadas" value="(\d+)"', client.get(f"/envios/{send_id}").text)[0])
    assert now > 4
    client.post(f"/envios/{send_id}/reanudar", data=csrf_of(client) | {"aceptadas": str(now)})
    assert state_of(database, send_id) is SendState.SENDING
    for wrong in ("-1", "x", str(2**31)):
        assert client.post(f"/envios/{send_id}/reanudar", data=csrf_of(client) | {"aceptadas": wrong}).status_code == 422


def test_speaks_of_one_in_singular(visit: Visitor, send_id: int, database: Database) -> None:
    with database.session() as session:
        ids = session.scalars(sa.select(Delivery.id).order_by(Delivery.id)).all()
        session.execute(sa.delete(Delivery).where(Delivery.id.in_(ids[2:])))
        session.execute(sa.update(Delivery).where(Delivery.id == ids[0]).values(state=DeliveryState.SENT))
        session.execute(sa.update(Delivery).where(Delivery.id == ids[1]).values(state=DeliveryState.PENDING))
    client = visit(Role.COORDINATION)
    page = client.get(f"/envios/{send_id}").text
    assert "Al reanudar sale el que falta. 1 ya salió y no se repite." in page
    assert "1 persona ya no recibirá este correo. 1 ya salió." in page
    client.post(f"/envios/{send_id}/reanudar", data=csrf_of(client))
    page = client.get(f"/envios/{send_id}").text
    assert "1 ya salió y no se puede recuperar; 1 esperará hasta que reanude" in page


def test_every_number_of_the_cuts_leads_to_as_many_people(visit: Visitor, send_id: int) -> None:
    client = visit(Role.EDITING)
    for cut in ("pais", "proveedor", "motivo"):
        page = client.get(f"/envios/{send_id}?por={cut}").text
        table = page[page.index('class="figures wide"') :]
        doors = re.findall(r'<td><a href="([^"]+)">([\d,]+)</a></td>', table[: table.index("</table>")])
        assert doors
        for href, number in doors[:12]:
            assert count_people(client, href.replace("&amp;", "&")) == int(number.replace(",", "")), href


def test_decides_of_mails_in_doubt_and_of_failed_ones(visit: Visitor, send_id: int, database: Database) -> None:
    client = visit(Role.COORDINATION)
    with database.session() as session:
        ids = session.scalars(sa.select(Delivery.id).where(Delivery.state == DeliveryState.SENT).limit(2)).all()
        session.execute(sa.update(Delivery).where(Delivery.id.in_(ids)).values(state=DeliveryState.IN_DOUBT))
    where = f"/envios/{send_id}/sin-confirmar"
    assert client.post(where, data={"decision": "send_again", "todas": "si", **csrf_of(client)}).status_code == 422
    told = {"decision": "take_as_sent", "razon": "Llamó", "correo": str(ids[0]), **csrf_of(client)}
    page = client.post(where, data=told).text
    assert "1 correo decidido" in page
    page = client.post(f"/envios/{send_id}/reintentar", data={"razon": "Se corrigió", "todas": "si", **csrf_of(client)}).text
    assert "a la fila" in page
    assert visit(Role.EDITING).post(where, data=told).status_code == 403


def test_begins_a_correction(visit: Visitor, send_id: int) -> None:
    client = visit(Role.EDITING)
    page = client.post(f"/envios/{send_id}/errata", data=csrf_of(client))
    assert str(page.url).endswith("/redactar")
    assert "Fe de erratas" in page.text
