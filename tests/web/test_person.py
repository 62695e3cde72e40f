"""Ficha: who a person is, their consent with its proof, one story, notes of who left, and a form that keeps what was typed."""

import html
import re
from datetime import date, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from crm import clock
from crm.database import Database
from crm.history import Actor, ActorKind
from crm.mailing.models import Delivery, DeliveryState
from crm.people import consent, contacts
from crm.people.models import Contact, EmailAddress, LeaderSector, Purpose, Suppression, SuppressionReason
from crm.people.schemas import ContactPatch
from crm.staff.models import Account, Role
from tests.people.factories import address_of, consent_in, contact, contact_in, revoke
from tests.web.conftest import Visitor, csrf_of
from tests.web.network import build_network, build_send
from web.person_story import KINDS
from web.person_typed import AS_TYPED

BOUNCED, UNSUBSCRIBED = SuppressionReason.BOUNCED, SuppressionReason.UNSUBSCRIBED
NEWSLETTER = Purpose.NEWSLETTER
TODAY = clock.today()
DEED = {"motivo": "baja", "direccion": "todas", "fecha": "2026-11-20", "prueba": "Llamada del 20 de noviembre"}


def add(database: Database, number: int = 0, **changes: Any) -> int:
    with database.session() as session:
        return contact(session, number, **changes).id


def bounce(database: Database, address: str) -> None:
    with database.session() as session:
        consent.suppress(session, address, BOUNCED, happened_on=date(2026, 11, 1), proof=f"550 5.1.1 <{address}> no existe")


def shown(client: TestClient, url: str) -> str:
    """A page without its marks, as it is read."""
    answer = client.get(url)
    assert answer.status_code == 200, url
    return read(answer.text)


def read(page: str) -> str:
    main = page.partition("<main")[2].partition("</main>")[0]
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", main)))


# --- the Ficha -------------------------------------------------------------------------------------------------------------


def test_tells_who_the_person_is(visit: Visitor, database: Database) -> None:
    told: dict[str, Any] = {"preferred_name": "Anita", "treatment": "estimada", "academic_title": "Dra.", "phone": "+1 555 0101"}
    told |= {"tags": ["Taller"], "leader_sectors": [LeaderSector.ACADEMIA], "organization": "Club Sintético", "post": "Presidencia"}
    one = add(database, 0, home_borough="Tlalpan", source="Taller 2026", **told)
    page = shown(visit(Role.EDITING), f"/personas/{one}")
    for words in (
        "Dra. Ana Núñez López", "Los Ángeles, California, Estados Unidos", "h ahora ahí", address_of(0), "+1 555 0101", "Anita",
        "Estimada", "Español", "Tlalpan", "Presidencia, Club Sintético", "Academia", "Taller", "Taller 2026",
    ):  # fmt: skip
        assert words in page, words


def test_shows_the_consent_with_its_proof(visit: Visitor, database: Database) -> None:
    said = [consent_in(NEWSLETTER, evidence="Hoja del taller", given_on="2026-01-15"), consent_in(Purpose.CIVIC_EDUCATION)]
    with database.session(actor=Actor(ActorKind.CLIENT, 1)) as session:
        one = contacts.create(session, contact_in(0, consents=said)).id
        revoke(session, one, Purpose.CIVIC_EDUCATION)
    page = shown(visit(Role.EDITING), f"/personas/{one}")
    assert "Se le puede escribir por: boletín." in page
    assert re.search(r"Boletín +Dio su consentimiento +15 ene 2026: prueba +Hoja del taller +Lo anotó otro sistema", page)
    assert re.search(r"Educación cívica +Lo revocó .*?Página de preferencias", page)
    assert re.search(r"Invitación a un evento +No consta", page)


@pytest.mark.parametrize(
    ("changes", "sentence", "step"),
    [
        ({}, "Solo se le puede escribir para pedir su consentimiento", "Pedir su consentimiento"),
        ({"emails": []}, "No se le escribe: no hay dirección de correo.", "Conseguir su correo"),
        ({"consents": (NEWSLETTER,), "city": "Zzyzx"}, "Se le puede escribir por: boletín.", "Revisar su ciudad"),
        ({"consents": (NEWSLETTER,)}, "Se le puede escribir por: boletín.", "Nada pendiente"),
    ],
)
def test_says_how_mail_stands_and_what_comes_next(
    visit: Visitor, database: Database, changes: dict[str, Any], sentence: str, step: str
) -> None:
    page = shown(visit(Role.EDITING), f"/personas/{add(database, **changes)}")
    assert sentence in page
    assert f"Siguiente paso {step}" in page


def test_tells_every_touch_in_one_story_that_can_be_narrowed(visit: Visitor, database: Database, network: None) -> None:
    with database.session() as session:
        build_send(session, accepted=200)
        one = session.scalars(sa.select(Delivery.contact_id).where(Delivery.state == DeliveryState.SENT)).first()
        assert one is not None
        consent.record(session, one, consent_in(Purpose.INSTITUTIONAL_LIAISON, evidence="Oficio 12"), source="staff")
        contacts.change(session, one, ContactPatch(phone="+1 555 0102"))
        address = session.scalars(sa.select(EmailAddress.address).where(EmailAddress.contact_id == one)).first()
        consent.suppress(session, address or "", BOUNCED, happened_on=TODAY, proof="550")
    client = visit(Role.EDITING)
    page = client.get(f"/personas/{one}").text
    told = read(page)
    for words in (
        "Aceptado por el servidor",
        "Vinculación institucional",
        "Oficio 12",
        "Teléfono: sin dato → +1 555 0102",
        "Rebotó: ",
    ):
        assert words in told, words
    whens = re.findall(r'class="touch-when"><time datetime="([^"]+)"', page)
    assert whens == sorted(whens, reverse=True)
    counts = {kind: client.get(f"/personas/{one}?ver={kind}").text.count('class="touch ') for kind in KINDS}
    assert sum(counts.values()) == page.count('class="touch ') == len(whens)
    assert counts["correos"] == 1
    assert client.get(f"/personas/{one}?ver=otra").text.count('class="touch ') == len(whens)
    mail = re.search(r'href="(/envios/[^"]+)">Ver el correo', page)
    assert mail
    sent = client.get(html.unescape(mail[1]).partition("#")[0]).text
    assert f"vista?contacto={one}" in sent


def test_folds_what_is_beyond_the_first_ten(visit: Visitor, database: Database) -> None:
    one = add(database)
    for number in range(12):
        with database.session(actor=Actor(ActorKind.CLIENT, number)) as session:
            contacts.change(session, one, ContactPatch(phone=f"+1 555 01{number:02}"))
    assert "Ver 3 anteriores" in shown(visit(Role.EDITING), f"/personas/{one}")


def test_masks_what_the_reading_role_may_not_see(visit: Visitor, database: Database) -> None:
    one = add(database, phone="+1 555 0177")
    with database.session() as session:
        contacts.change(session, one, ContactPatch(emails=["nueva@example.org"], phone="+1 555 0178"))
    bounce(database, "nueva@example.org")
    page = visit(Role.READING).get(f"/personas/{one}").text
    for hidden in ("nueva@", "persona0@", "555 0177", "555 0178", "/editar", "Anotar"):
        assert hidden not in page, hidden
    assert "n***@example.org" in page
    assert "***78" in page


def test_shows_nobody_who_is_blocked(visit: Visitor, database: Database) -> None:
    one = add(database)
    with database.session() as session:
        session.get_one(Contact, one).blocked_at = clock.now()
    client = visit(Role.ADMINISTRATION)
    for url in (f"/personas/{one}", f"/personas/{one}/editar", "/personas/999", "/personas/x"):
        assert client.get(url).status_code == 404, url


def test_lists_lead_to_the_ficha(visit: Visitor, database: Database, network: None) -> None:
    with database.session() as session:
        send_id = build_send(session).id
    client = visit(Role.EDITING)
    for url in ("/contactos", f"/envios/{send_id}/personas"):
        assert client.get(re.findall(r'href="(/personas/\d+)"', client.get(url).text)[0]).status_code == 200
    assert 'href="/personas/nueva"' in client.get("/contactos").text
    assert 'href="/personas/nueva"' not in visit(Role.READING).get("/contactos").text


# --- who left --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("deed", "reason"), [("baja", UNSUBSCRIBED), ("queja", SuppressionReason.COMPLAINED), ("rebote", BOUNCED)])
def test_notes_who_left_with_day_and_proof(visit: Visitor, database: Database, deed: str, reason: SuppressionReason) -> None:
    one = add(database, 0, emails=["uno@example.org", "dos@example.org"], consents=(NEWSLETTER,))
    client = visit(Role.EDITING)
    answer = client.post(f"/personas/{one}/exclusion", data={**csrf_of(client), **DEED, "motivo": deed})
    assert answer.url.path == f"/personas/{one}"
    assert "Llamada del 20 de noviembre" in answer.text
    with database.session(write=False) as session:
        rows = session.scalars(sa.select(Suppression)).all()
        assert {(row.reason, row.happened_on, row.actor_kind) for row in rows} == {(reason, date(2026, 11, 20), "account")}
        assert len(rows) == 2


def test_notes_one_address_alone(visit: Visitor, database: Database) -> None:
    one = add(database, 0, emails=["uno@example.org", "dos@example.org"])
    with database.session(write=False) as session:
        second = session.scalars(sa.select(EmailAddress.id).where(EmailAddress.address == "dos@example.org")).one()
    client = visit(Role.EDITING)
    client.post(f"/personas/{one}/exclusion", data={**csrf_of(client), **DEED, "motivo": "rebote", "direccion": str(second)})
    with database.session(write=False) as session:
        states = {row.address: consent.address_state(row) for row in contacts.get(session, one).addresses}
    assert states == {"uno@example.org": "ok", "dos@example.org": "bounced"}


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"motivo": ""}, "Qué pasó : Escriba este dato"),
        ({"prueba": " "}, "Cómo consta : Escriba cómo consta"),
        ({"prueba": "x" * 4001}, "Cómo consta : Este dato es demasiado largo"),
        ({"fecha": "2026-02-30"}, "Fecha : Esa fecha no existe"),
        ({"fecha": str(TODAY + timedelta(days=2))}, "Fecha : Esa fecha aún no llega"),
        ({"direccion": "999"}, "Dirección : Esta persona no tiene"),
    ],
)
def test_keeps_what_was_typed_when_a_note_is_refused(
    visit: Visitor, database: Database, changes: dict[str, str], wrong: str
) -> None:
    one, client = add(database), visit(Role.EDITING)
    answer = client.post(f"/personas/{one}/exclusion", data={**csrf_of(client), **DEED, **changes})
    assert answer.status_code == 422
    assert wrong in read(answer.text)
    assert "Llamada del 20 de noviembre" in answer.text or "prueba" in changes
    with database.session(write=False) as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Suppression)) == 0


def test_lifts_a_bounce_with_a_reason_and_tells_it(visit: Visitor, database: Database) -> None:
    one = add(database, 0, consents=(NEWSLETTER,))
    bounce(database, address_of(0))
    with database.session(write=False) as session:
        address = str(session.scalars(sa.select(EmailAddress.id)).one())
    client = visit(Role.COORDINATION)
    url, form = f"/personas/{one}/rebote/levantar", {**csrf_of(client), "direccion": address}
    assert "Levantar un rebote" in client.get(f"/personas/{one}").text
    refused = client.post(url, data={**form, "razon": " "})
    assert refused.status_code == 422
    assert "Escriba por qué se levanta el rebote" in refused.text
    page = read(client.post(url, data={**form, "razon": "Confirmó su buzón"}).text)
    assert "Se levantó el rebote" in page
    assert "Confirmó su buzón" in page
    assert "Se le puede escribir por: boletín." in page
    assert client.post(url, data={**form, "razon": "Otra vez"}).status_code == 409


def test_does_not_offer_to_bring_back_who_left(visit: Visitor, database: Database) -> None:
    one = add(database)
    with database.session() as session:
        consent.suppress(session, address_of(0), UNSUBSCRIBED, happened_on=TODAY, proof="Llamada")
        address = str(session.scalars(sa.select(EmailAddress.id)).one())
    client = visit(Role.COORDINATION)
    assert "Levantar un rebote" not in client.get(f"/personas/{one}").text
    data = {**csrf_of(client), "direccion": address, "razon": "Se insiste"}
    answer = client.post(f"/personas/{one}/rebote/levantar", data=data)
    assert answer.status_code == 409
    assert "no se puede levantar" in answer.text


# --- the form --------------------------------------------------------------------------------------------------------------

PERSON = {
    "given_names": "Zoé", "first_surname": "Quiroz", "second_surname": "", "preferred_name": "", "treatment": "",
    "academic_title": "", "language": "es", "phone": "+1 555 0109", "emails": "zoe@example.org\r\nzoe.q@example.net",
    "city": "Chicago", "country": "EE. UU.", "home_borough": "Tlalpan", "tags": "Taller, Ruta Chilanga",
    "organization": "Club Sintético", "post": "Presidencia", "leader_sectors": ["culture", "business"],
}  # fmt: skip


def fill(client: TestClient, url: str, **changes: Any) -> Any:
    """Open a form, change some of its fields, and send it, as a browser would."""
    page = client.get(url).text
    form: dict[str, Any] = {**csrf_of(client)}
    for tag in re.findall(r"<input[^>]*>", page.partition('class="person-form"')[2].partition("</form>")[0], re.DOTALL):
        told = {name: html.unescape(value) for name, value in re.findall(r'\b(name|value|type)="([^"]*)"', tag)}
        if told.get("type") in {"checkbox", "radio"}:
            if re.search(r"\bchecked\b", tag):
                form.setdefault(told["name"], []).append(told["value"])
        elif "name" in told:
            form[told["name"]] = told.get("value", "")
    for name, value in re.findall(r'<textarea id="\w+" name="(\w+)"[^>]*>([^<]*)</textarea>', page):
        form[name] = html.unescape(value)
    for name, options in re.findall(r'<select id="\w+" name="(\w+)"[^>]*>(.*?)</select>', page, re.DOTALL):
        chosen = re.search(r'value="([^"]*)" selected', options)
        form[name] = chosen[1] if chosen else ""
    return client.post(url, data={**form, **changes})


def test_adds_a_person_by_the_form(visit: Visitor, database: Database) -> None:
    client = visit(Role.EDITING)
    given = {"purposes": ["newsletter", "civic_education"], "evidence": "Hoja del taller", "given_on": "2026-01-15"}
    answer = fill(client, "/personas/nueva", **PERSON, **given)
    assert answer.status_code == 200, read(answer.text)
    with database.session(write=False) as session:
        told = contacts.to_out(contacts.get(session, int(answer.url.path.rpartition("/")[2])))
    assert [row.address for row in told.emails] == ["zoe@example.org", "zoe.q@example.net"]
    assert told.emails[0].preferred
    assert (told.city and told.city.name, told.country, told.organization, told.post) == (
        "Chicago",
        "US",
        "Club Sintético",
        "Presidencia",
    )
    assert told.tags == ["Ruta Chilanga", "Taller"]
    assert told.leader_sectors == [LeaderSector.BUSINESS, LeaderSector.CULTURE]
    assert told.mail_state == "ok"
    assert "Hoja del taller" in answer.text
    assert "15 ene 2026" in answer.text


@pytest.mark.parametrize(
    ("changes", "field", "sentence"),
    [
        ({"given_names": "", "first_surname": "", "emails": ""}, "given_names", "Escriba al menos el nombre"),
        ({"given_names": "Z" * 201}, "given_names", "admite hasta 200 caracteres"),
        ({"phone": "1\x02"}, "phone", "caracteres que no se ven"),
        ({"emails": "zoe@example.org\nzoe@"}, "emails", "Dirección 2: La dirección de correo no es válida"),
        ({"country": "Narnia"}, "country", "No conocemos ese país"),
        ({"organization": ""}, "organization", "falta la organización"),
        ({"purposes": ["newsletter"]}, "evidence", "Escriba cómo consta"),
        ({"evidence": "Hoja"}, "purposes", "Elija para qué"),
        ({"purposes": ["newsletter"], "evidence": "Hoja", "given_on": "mañana"}, "given_on", "Esa fecha no existe"),
    ],
)
def test_keeps_the_text_and_leads_to_each_fault(
    visit: Visitor, database: Database, changes: dict[str, Any], field: str, sentence: str
) -> None:
    client = visit(Role.EDITING)
    answer = fill(client, "/personas/nueva", **{**PERSON, **changes})
    assert answer.status_code == 422
    assert f'<a href="#{field}">' in answer.text
    assert f'id="{field}"' in answer.text
    assert sentence in html.unescape(answer.text)
    assert 'value="Ruta Chilanga' in answer.text or 'value="Taller, Ruta Chilanga"' in answer.text
    with database.session(write=False) as session:
        assert session.scalar(sa.select(sa.func.count(Contact.id))) == 0


def test_asks_before_it_adds_somebody_alike(visit: Visitor, database: Database) -> None:
    client = visit(Role.EDITING)
    one = add(database, 0, given_names="Zoé", first_surname="Quiroz", second_surname="Ibarra")
    answer = fill(client, "/personas/nueva", **PERSON)
    assert answer.status_code == 409
    assert f'href="/personas/{one}"' in answer.text
    assert "tienen el mismo nombre" in answer.text
    assert "Guardar de todos modos" in answer.text
    assert 'value="Zoé"' in answer.text
    assert fill(client, "/personas/nueva", **PERSON, sure="1").url.path != "/personas/nueva"
    with database.session(write=False) as session:
        assert session.scalar(sa.select(sa.func.count(Contact.id))) == 2


def test_shows_people_alike_while_one_types(visit: Visitor, database: Database) -> None:
    one, client = add(database), visit(Role.EDITING)
    told = client.post("/personas/parecidas", data={**csrf_of(client), "emails": "otra@example.org, " + address_of(0)})
    assert "<html" not in told.text
    assert f'href="/personas/{one}"' in told.text
    assert "casi seguro, tienen la misma dirección" in told.text
    assert client.post("/personas/parecidas", data={**csrf_of(client), "given_names": "Ana"}).text.strip() == ""


def test_an_address_of_somebody_else_leads_to_them(visit: Visitor, database: Database) -> None:
    one, client = add(database), visit(Role.EDITING)
    answer = fill(client, "/personas/nueva", **{**PERSON, "emails": address_of(0)}, sure="1")
    assert answer.status_code == 409
    assert "Esa dirección ya es de otra persona" in answer.text
    assert f'href="/personas/{one}"' in answer.text


def test_offers_the_cities_of_one_name(visit: Visitor, database: Database) -> None:
    client = visit(Role.EDITING)
    told = {**PERSON, "city": "San José", "country": ""}
    asked = fill(client, "/personas/nueva", **told)
    assert asked.status_code == 422
    offered = re.findall(r'name="place" value="(\d+)"[^>]*><span>([^<]+)', asked.text)
    assert len(offered) > 2
    chosen = next(number for number, words in offered if "Costa Rica" in words)
    for place, city, country in ((chosen, "San José", "CR"), (AS_TYPED, None, None)):
        made = fill(client, "/personas/nueva", **{**told, "emails": f"zoe{place}@example.org"}, place=place, sure="1")
        with database.session(write=False) as session:
            contact_out = contacts.to_out(contacts.get(session, int(made.url.path.rpartition("/")[2])))
        assert (contact_out.city.name if contact_out.city else None, contact_out.country) == (city, country)


def test_changes_only_what_was_changed(visit: Visitor, database: Database) -> None:
    one = add(database, 0, tags=["taller"], organization="Club Sintético", post="Presidencia", leader_sectors=["academia"])
    client = visit(Role.EDITING)
    with database.session(write=False) as session:
        before = contacts.to_out(contacts.get(session, one)).model_dump(exclude={"changed_at", "version", "phone"})
    same = fill(client, f"/personas/{one}/editar")
    assert "Cambió la ficha" not in same.text
    answer = fill(client, f"/personas/{one}/editar", phone="+1 555 0110")
    assert "Teléfono: sin dato → +1 555 0110" in html.unescape(answer.text)
    with database.session(write=False) as session:
        after = contacts.to_out(contacts.get(session, one))
    assert after.model_dump(exclude={"changed_at", "version", "phone"}) == before
    assert after.phone == "+1 555 0110"


def test_replaces_addresses_tags_and_post(visit: Visitor, database: Database) -> None:
    one = add(database, 0, tags=["taller"], organization="Club Sintético", post="Presidencia", leader_sectors=["academia"])
    changes = {
        "emails": "nueva@example.org",
        "tags": "consulado",
        "organization": "",
        "post": "",
        "leader_sectors": [],
        "city": "Madrid",
        "country": "España",
    }
    client = visit(Role.EDITING)
    page = read(fill(client, f"/personas/{one}/editar", **changes).text)
    with database.session(write=False) as session:
        told = contacts.to_out(contacts.get(session, one))
    assert ([row.address for row in told.emails], told.tags, told.organization, told.leader_sectors) == (
        ["nueva@example.org"],
        ["consulado"],
        None,
        [],
    )
    assert told.city is not None
    assert told.city.name == "Madrid"
    for words in (
        "Correo retirado: persona0@example.org",
        "Etiquetas: taller → consulado",
        "Ciudad: Los Ángeles → Madrid",
        "Terminó su cargo: Presidencia, Club Sintético",
        "Terminó su liderazgo: Academia",
    ):
        assert words in page, words


def test_names_who_changed_the_person_meanwhile_and_keeps_both(visit: Visitor, database: Database) -> None:
    one, client = add(database), visit(Role.EDITING)
    url = f"/personas/{one}/editar"
    with database.session(write=False) as session:
        contacts.get(session, one)
    page = client.get(url).text
    with database.session() as session:
        who = session.scalars(sa.select(Account.id)).first()
    with database.session(actor=Actor(ActorKind.ACCOUNT, who)) as session:
        contacts.change(session, one, ContactPatch(phone="+1 555 0120", preferred_name="Anita"))
    stale = {
        name: html.unescape(value)
        for name, value in re.findall(r'<input type="hidden" name="(version|shown)" value="([^"]*)"', page)
    }
    answer = fill(client, url, **stale, preferred_name="Ani", phone="", home_borough="Tlalpan")
    assert answer.status_code == 409
    told = read(answer.text)
    assert re.search(r"Laura Guzmán cambió esta ficha el \d+ \w+ \d{4}, \d\d:\d\d h", told)
    assert "Teléfono : ahora dice «+1 555 0120»; ya está en el formulario." in told
    assert "ahora dice «Anita» y usted escribió «Ani»" in told
    assert 'value="Tlalpan"' in answer.text
    with database.session(write=False) as session:
        assert contacts.get(session, one).preferred_name == "Anita"


def test_keeps_a_revoked_consent_revoked(visit: Visitor, database: Database) -> None:
    one = add(database, 0, consents=(NEWSLETTER,))
    with database.session() as session:
        revoke(session, one, NEWSLETTER)
    client = visit(Role.EDITING)
    url = f"/personas/{one}/editar"
    answer = fill(client, url, purposes=["newsletter"], evidence="Insiste")
    assert answer.status_code == 422
    assert "revocó su consentimiento para: boletín" in answer.text
    assert fill(client, url, purposes=["civic_education"], evidence="Carta").url.path == f"/personas/{one}"


def test_refuses_a_form_that_is_not_ours(visit: Visitor, database: Database) -> None:
    one, client = add(database), visit(Role.EDITING)
    for broken in ("", "{", "[]", '{"given_names": 1}'):
        answer = client.post(f"/personas/{one}/editar", data={**csrf_of(client), **PERSON, "version": "1", "shown": broken})
        assert answer.status_code == 422


def test_the_page_of_a_busy_person_asks_few_questions(visit: Visitor, database: Database) -> None:
    with database.session() as session:
        build_network(session, 50)
        build_send(session, accepted=20)
    client, asked = visit(Role.EDITING), []
    sa.event.listen(database.engine, "before_cursor_execute", lambda *_: asked.append(1))
    assert client.get("/personas/7").status_code == 200
    assert len(asked) < 40
