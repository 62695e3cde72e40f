"""Ajustes: invitations that open once, roles that cannot be lost, sessions that end, mail that leaves as told, keys shown once."""

import re
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
import time_machine
from fastapi import FastAPI
from starlette.testclient import TestClient

from crm import clock, jobs, sealing
from crm.config import Settings
from crm.database import Database
from crm.mailing import outgoing, relays, sending, sends
from crm.mailing.drain import Way
from crm.mailing.models import MailSettings, Send
from crm.mailing.schemas import SendIn
from crm.staff import accounts, clients, sign_in
from crm.staff.models import Account, ApiClient, Invitation, Role, StaffSession
from tests.mailing.factories import NOW, begun, campaign, network
from tests.mailing.mail_server import running
from tests.mailing.rude_server import RudeServer, serving
from tests.mailing.token_server import TokenServer
from tests.web.conftest import PASSWORD, Visitor, csrf_of
from web.app import build
from web.dependencies import cookie_name

NEW = "otra frase larga y distinta"


def invite(client: TestClient, email: str = "nueva@example.org", role: str = "coordination") -> str:
    """The path of a fresh invitation."""
    answer = client.post("/ajustes/personas/invitar", data={"correo": email, "perfil": role, **csrf_of(client)})
    assert answer.status_code == 200, answer.text
    found = re.search(r'value="http[^"]*(/entrar/invitacion/[^"]+)"', answer.text)
    assert found, answer.text
    return found[1]


def account_of(database: Database, email: str) -> Account:
    with database.session(write=False) as session:
        found = accounts.by_email(session, email)
        assert found is not None
        return found


# --- personas y permisos ------------------------------------------------------------------------------------------------------


def test_invites_a_colleague_who_sets_the_password_once(visit: Visitor, anybody: TestClient, database: Database) -> None:
    path = invite(visit(Role.ADMINISTRATION))
    for _ in range(2):
        seen = anybody.get(path)
        assert "nueva@example.org" in seen.text
        assert seen.headers["referrer-policy"] == "no-referrer"
    form = {"nombre": "Nadia Ruiz", "contrasena": NEW, "repetida": NEW}
    entered = anybody.post(path, data=form, follow_redirects=False)
    assert (entered.status_code, entered.headers["location"]) == (303, "/")
    assert anybody.get("/ajustes").status_code == 200
    made = account_of(database, "nueva@example.org")
    assert (made.name, made.role) == ("Nadia Ruiz", Role.COORDINATION)
    again = anybody.post(path, data=form)
    assert again.status_code == 404
    assert "ya se usó" in again.text
    with database.session(write=False) as session:
        stored = session.scalars(sa.select(Invitation.token_hash)).one()
    assert path.rpartition("/")[2] not in stored


def test_gives_the_invitation_back_with_what_was_typed(visit: Visitor, anybody: TestClient, database: Database) -> None:
    path = invite(visit(Role.ADMINISTRATION))
    for form, sentence in (
        ({"nombre": "Nadia", "contrasena": "corta", "repetida": "corta"}, "al menos 12"),
        ({"nombre": "Nadia", "contrasena": NEW, "repetida": PASSWORD}, "no son iguales"),
    ):
        answer = anybody.post(path, data=form)
        assert answer.status_code == 422
        assert sentence in answer.text
        assert 'value="Nadia"' in answer.text
        assert NEW not in answer.text
    assert anybody.post(path, data={"contrasena": NEW, "repetida": NEW}).status_code == 422
    with database.session(write=False) as session:
        assert accounts.by_email(session, "nueva@example.org") is None


@pytest.mark.parametrize("ending", ["withdrawn", "expired", "replaced", "inviter_disabled"])
def test_an_invitation_that_ended_opens_nothing(visit: Visitor, anybody: TestClient, database: Database, ending: str) -> None:
    client = visit(Role.ADMINISTRATION)
    path, later = invite(client), timedelta(0)
    if ending == "withdrawn":
        client.post("/ajustes/personas/invitaciones/1/retirar", data=csrf_of(client))
    elif ending == "expired":
        later = timedelta(days=7, minutes=1)
    elif ending == "replaced":
        assert invite(client) != path
    else:
        with database.session() as session:
            accounts.create(session, "jefa@example.org", "Inés", "administration", PASSWORD)
        other = TestClient(client.app, headers={"Sec-Fetch-Site": "same-origin"})
        other.post("/entrar", data={"correo": "jefa@example.org", "contrasena": PASSWORD})
        token = re.search(r'name="csrf" value="([^"]+)"', other.get("/ajustes").text)
        assert token
        other.post("/ajustes/personas/1/desactivar", data={"csrf": token[1]})
    with time_machine.travel(clock.now() + later, tick=False):
        assert anybody.get(path).status_code == 404
        assert anybody.post(path, data={"nombre": "Eva", "contrasena": NEW, "repetida": NEW}).status_code == 404


def test_refuses_to_invite_whom_it_should_not(visit: Visitor) -> None:
    client = visit(Role.ADMINISTRATION)
    for email, role, status in (
        ("no es correo", "editing", 422),
        ("a@example.org", "jefa", 422),
        ("administration@example.org", "reading", 409),
    ):
        answer = client.post("/ajustes/personas/invitar", data={"correo": email, "perfil": role, **csrf_of(client)})
        assert answer.status_code == status
        assert f'value="{email}"' in answer.text


def test_a_disabled_colleague_is_out_at_once_and_the_sends_are_handed_over(
    visit: Visitor, database: Database, settings: Settings
) -> None:
    boss, colleague = visit(Role.ADMINISTRATION), visit(Role.COORDINATION)
    leaving = account_of(database, "coordination@example.org").id
    with database.session() as session:
        network(session, 3)
        send = sends.order(session, campaign(session).id, SendIn(when=NOW), settings)
        send.ordered_by_kind, send.ordered_by_id = "account", leaving
        send_id = send.id
    page = boss.get("/ajustes/personas").text
    assert "1 envío que ordenó pasa" in page
    assert colleague.get("/contactos").status_code == 200
    done = boss.post(f"/ajustes/personas/{leaving}/desactivar", data=csrf_of(boss))
    assert "1 envío pasó a su nombre" in done.text
    assert colleague.get("/contactos", follow_redirects=False).status_code == 303
    with database.session(write=False) as session:
        assert session.get_one(Send, send_id).ordered_by_id == account_of(database, "administration@example.org").id
    boss.post(f"/ajustes/personas/{leaving}/activar", data=csrf_of(boss))
    assert account_of(database, "coordination@example.org").disabled_at is None
    assert colleague.get("/contactos", follow_redirects=False).status_code == 303


def test_a_changed_role_holds_from_the_next_page(visit: Visitor, database: Database) -> None:
    boss, colleague = visit(Role.ADMINISTRATION), visit(Role.READING)
    assert colleague.get("/personas/nueva").status_code == 403
    number = account_of(database, "reading@example.org").id
    boss.post(f"/ajustes/personas/{number}/perfil", data={"perfil": "editing", **csrf_of(boss)})
    assert colleague.get("/personas/nueva").status_code == 200


def test_nobody_takes_rights_from_oneself_and_somebody_always_administers(visit: Visitor, database: Database) -> None:
    boss = visit(Role.ADMINISTRATION)
    own = account_of(database, "administration@example.org").id
    for deed in ("perfil", "desactivar"):
        answer = boss.post(f"/ajustes/personas/{own}/{deed}", data={"perfil": "reading", **csrf_of(boss)})
        assert answer.status_code == 409
        assert "su propia cuenta" in answer.text
    with database.session() as session, pytest.raises(Exception, match="last_administration"):
        accounts.disable(session, own)
    assert account_of(database, "administration@example.org").role is Role.ADMINISTRATION


def test_tells_when_each_account_was_last_used(visit: Visitor, database: Database) -> None:
    visit(Role.READING)
    assert account_of(database, "reading@example.org").last_seen_at is not None


# --- mi perfil -----------------------------------------------------------------------------------------------------------------


def test_changes_the_own_name(visit: Visitor, database: Database) -> None:
    client = visit(Role.READING)
    assert "Eva Sol" in client.post("/ajustes/nombre", data={"nombre": " Eva  Sol ", **csrf_of(client)}).text
    empty = client.post("/ajustes/nombre", data={"nombre": " ", **csrf_of(client)})
    assert empty.status_code == 422
    assert account_of(database, "reading@example.org").name == "Eva Sol"


def test_changes_the_password_of_who_knows_the_present_one(
    visit: Visitor, database: Database, app: FastAPI, settings: Settings
) -> None:
    client = visit(Role.EDITING)
    _, token = sign_in.sign_in(database, "editing@example.org", PASSWORD, "203.0.113.8")
    other = TestClient(app, cookies={cookie_name(settings): token})
    for form, status in (
        ({"actual": "no es esta frase", "nueva": NEW, "repetida": NEW}, 422),
        ({"actual": PASSWORD, "nueva": NEW, "repetida": "x"}, 422),
        ({"actual": PASSWORD, "nueva": "corta", "repetida": "corta"}, 422),
    ):
        answer = client.post("/ajustes/contrasena", data={**form, **csrf_of(client)})
        assert answer.status_code == status
        assert PASSWORD not in answer.text
    assert other.get("/contactos", follow_redirects=False).status_code == 200
    changed = client.post("/ajustes/contrasena", data={"actual": PASSWORD, "nueva": NEW, "repetida": NEW, **csrf_of(client)})
    assert "Su contraseña cambió" in changed.text
    assert other.get("/contactos", follow_redirects=False).status_code == 303
    assert sign_in.sign_in(database, "editing@example.org", NEW, "203.0.113.9")


def test_guesses_at_the_present_password_are_throttled(visit: Visitor) -> None:
    client = visit(Role.EDITING)
    form = {"actual": "no es esta frase", "nueva": NEW, "repetida": NEW, **csrf_of(client)}
    assert [client.post("/ajustes/contrasena", data=form).status_code for _ in range(6)][-1] == 429


def test_ends_one_session_or_all_others_but_not_those_of_others(visit: Visitor, database: Database) -> None:
    client, stranger = visit(Role.EDITING), visit(Role.READING)
    for _ in range(2):
        sign_in.sign_in(database, "editing@example.org", PASSWORD, "203.0.113.8")
    with database.session(write=False) as session:
        own = [one.id for one in sign_in.sessions_of(session, account_of(database, "editing@example.org").id)]
        foreign = sign_in.sessions_of(session, account_of(database, "reading@example.org").id)[0].id
    client.post(f"/ajustes/sesiones/{foreign}/cerrar", data=csrf_of(client))
    assert stranger.get("/contactos", follow_redirects=False).status_code == 200
    assert client.post(f"/ajustes/sesiones/{min(own)}/cerrar", data=csrf_of(client)).status_code == 409
    assert "Esa sesión se cerró" in client.post(f"/ajustes/sesiones/{max(own)}/cerrar", data=csrf_of(client)).text
    client.post("/ajustes/sesiones/cerrar-otras", data=csrf_of(client))
    with database.session(write=False) as session:
        left = session.scalars(sa.select(StaffSession.id)).all()
    assert sorted(left) == sorted([min(own), foreign])


# --- correo saliente -------------------------------------------------------------------------------------------------------------

MAIL = {
    "version": "0",
    "nombre": "Red Voto, Chilango",
    "correo": "red@example.org",
    "responder": "respuestas@example.org",
    "servicio": "own",
    "servidor": "mail.example.org",
    "puerto": "587",
    "cifrado": "starttls",
    "usuario": "red@example.org",
    "contrasena": "secreto del buzón",
    "ritmo": "120",
}


def save(client: TestClient, **changes: str) -> "tuple[int, str]":
    answer = client.post("/ajustes/correo", data={**MAIL, **changes, **csrf_of(client)})
    return answer.status_code, answer.text


def now(database: Database, settings: Settings) -> Settings:
    with database.session(write=False) as session:
        return outgoing.effective(session, settings)


def test_mail_leaves_as_told_on_the_page(visit: Visitor, database: Database, settings: Settings) -> None:
    status, page = save(visit(Role.ADMINISTRATION))
    assert status == 200
    assert "Guardado" in page
    told = now(database, settings)
    assert told.relay is not None
    assert (told.relay.host, told.relay.port, told.relay.tls, told.relay.per_minute) == ("mail.example.org", 587, "starttls", 120)
    assert (told.relay.username, told.relay.password) == ("red@example.org", "secreto del buzón")
    assert told.mail_from == '"Red Voto, Chilango" <red@example.org>'
    assert told.mail_reply_to == "respuestas@example.org"
    assert settings.relay is None


def test_the_password_is_sealed_and_never_shown(visit: Visitor, database: Database, settings: Settings) -> None:
    client = visit(Role.ADMINISTRATION)
    save(client)
    assert "secreto" not in client.get("/ajustes/correo").text
    with database.session(write=False) as session:
        row = session.get_one(MailSettings, 1)
        assert "secreto" not in (row.sealed_password or "")
        assert not any("secreto" in str(line) for line in session.execute(sa.text("SELECT * FROM change")).all())
    refused = save(client, version="1", servidor="no es servidor")
    assert refused[0] == 422
    assert "secreto" not in refused[1]


def test_keeps_the_password_for_its_own_server_only(visit: Visitor, database: Database, settings: Settings) -> None:
    client = visit(Role.ADMINISTRATION)
    save(client)
    assert save(client, version="1", contrasena="", nombre="Red")[0] == 200
    kept = now(database, settings).relay
    assert kept is not None
    assert kept.password == "secreto del buzón"
    status, page = save(client, version="2", contrasena="", servidor="otro.example.com")
    assert status == 422
    assert "Escriba la contraseña" in page


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"servidor": "mail example"}, "nombre del servidor"),
        ({"servidor": ""}, "nombre del servidor"),
        ({"puerto": "70000"}, "de 1 a 65,535"),
        ({"cifrado": "none"}, "debe ir cifrada"),
        ({"ritmo": "1"}, "de 2 a 10,000"),
        ({"ritmo": ""}, "de 2 a 10,000"),
        ({"correo": "red@"}, "no es válida"),
        ({"responder": "nadie"}, "no es válida"),
        ({"nombre": " "}, "nombre con el que llegan"),
        ({"contrasena": ""}, "Escriba la contraseña"),
        ({"version": "7"}, "Otra persona cambió"),
    ],
)
def test_refuses_what_would_not_work_and_keeps_the_text(visit: Visitor, changes: dict[str, str], sentence: str) -> None:
    status, page = save(visit(Role.ADMINISTRATION), **changes)
    assert status in {409, 422}
    assert sentence in page
    assert 'value="respuestas@example.org"' in page or "responder" in changes


def test_a_known_service_brings_its_own_server(visit: Visitor, database: Database, settings: Settings) -> None:
    assert save(visit(Role.ADMINISTRATION), servicio="microsoft365", servidor="", puerto="", ritmo="")[0] == 200
    relay = now(database, settings).relay
    assert relay is not None
    assert (relay.host, relay.port, relay.tls, relay.per_minute) == ("smtp.office365.com", 587, "starttls", 30)


def test_a_new_server_warms_up_from_today_or_from_its_first_day(visit: Visitor, database: Database, settings: Settings) -> None:
    client, today = visit(Role.ADMINISTRATION), clock.today()
    page = save(client, servicio="new", ritmo="")[1]
    relay = now(database, settings).relay
    assert relay is not None
    assert (relay.warm_up_since, relay.per_minute) == (today, 30)
    assert "hasta 50 al día (calentamiento, semana 1 de 8)" in page
    third = (today - timedelta(days=15)).isoformat()
    page = save(client, servicio="new", calentamiento=third, por_dia="1,000", version="1")[1]
    assert "hasta 200 al día (calentamiento, semana 3 de 5)" in page
    assert f'value="{third}"' in page
    assert re.search(r'value="new"\s+checked', page)
    refused = save(client, servicio="new", calentamiento="2999-01-01", version="2")
    assert (refused[0], "hoy o una fecha anterior" in refused[1]) == (422, True)
    assert "calentamiento, semana" not in save(client, version="2")[1], "an empty day ends it"


def test_the_environment_wins_and_is_shown_without_its_secret(database: Database, settings: Settings) -> None:
    told = {"smtp_url": "smtp://u:zanahoria@fijo.example.org:587?tls=starttls", "mail_from": "Fija <fija@example.org>"}
    with database.session() as session:
        outgoing.save(session, settings, outgoing.Told("Otra", "otra@example.org", has_relay=False))
        accounts.create(session, "jefa@example.org", "Inés", "administration", PASSWORD)
    fixed = settings.model_copy(update=told)
    assert now(database, fixed).relay == fixed.relay
    assert now(database, fixed).mail_from == "Fija <fija@example.org>"
    client = TestClient(build(database, fixed), headers={"Sec-Fetch-Site": "same-origin"})
    client.post("/entrar", data={"correo": "jefa@example.org", "contrasena": PASSWORD})
    page = client.get("/ajustes/correo").text
    assert "fijo.example.org" in page
    assert "CRM_SMTP_URL" in page
    assert "zanahoria" not in page
    assert 'name="servidor"' not in page


def with_oauth(settings: Settings, granting: TokenServer, **changes: str) -> Settings:
    told = {"smtp_oauth_client_id": "una-aplicacion", "smtp_oauth_secret_file": granting.secret_file}
    return settings.model_copy(update=told | {"smtp_oauth_token_url": granting.url} | changes)


def test_microsoft_signs_in_by_oauth_and_no_other_server_sees_its_token(
    visit: Visitor, app: FastAPI, database: Database, settings: Settings, tmp_path: Path
) -> None:
    client = visit(Role.ADMINISTRATION)
    with serving(TokenServer(tmp_path)) as granting:
        told = app.state.settings = with_oauth(settings, granting)
        assert "deje vacía la contraseña" in client.get("/ajustes/correo").text
        assert save(client, servicio="microsoft365", contrasena="")[0] == 200
        relay = now(database, told).relay
        assert relay is not None
        assert (relay.host, relay.username, relay.password, relay.oauth) == (
            "smtp.office365.com",
            MAIL["usuario"],
            None,
            told.oauth,
        )
        assert "OAuth2, con el buzón" in client.get("/ajustes/correo").text
        assert save(client, version="1", servicio="own", contrasena="")[0] == 422
        assert save(client, version="1", servicio="own", contrasena="secreto")[0] == 200
        relay = now(database, told).relay
        assert relay is not None
        assert (relay.password, relay.oauth) == ("secreto", None)


@pytest.mark.parametrize("is_well", [True, False])
def test_the_trial_says_what_oauth_lacks(visit: Visitor, app: FastAPI, settings: Settings, tmp_path: Path, is_well: bool) -> None:
    client = visit(Role.ADMINISTRATION)
    with serving(TokenServer(tmp_path)) as granting, serving(RudeServer(knows=granting.knows)) as server:
        url = f"smtp://red%40example.org@127.0.0.1:{server.server_address[1]}"
        app.state.settings = with_oauth(settings, granting, smtp_url=url)
        granting.secret = granting.secret if is_well else "vencido"
        page = client.post("/ajustes/correo/prueba", data=csrf_of(client)).text
        assert ("El servidor la aceptó" in page) == is_well
        assert ("que el secreto no haya vencido" in page) == (not is_well)
        assert granting.asked[0]["client_secret"] not in page


def test_a_row_that_cannot_be_read_holds_mails_and_never_keeps_them_local(database: Database, settings: Settings) -> None:
    with database.session() as session:
        session.add(MailSettings(id=1, mail_from="nada", host="mal host", port=0, tls="quizá", per_minute=30))
    told = now(database, settings)
    assert told.relay is not None
    assert told.relay.host == "relay.invalid"
    with database.session() as session:
        row = session.get_one(MailSettings, 1)
        row.host, row.port, row.tls, row.username = "mail.example.org", 587, "starttls", "u"
        row.sealed_password = sealing.seal(settings.model_copy(update={"secret_key": "otra clave"}), "x")
    relay = now(database, settings).relay
    assert relay is not None
    assert (relay.host, relay.username, relay.password) == ("mail.example.org", None, None)


def test_seals_with_a_key_of_the_data_directory_where_none_is_set(settings: Settings) -> None:
    own = settings.model_copy(update={"secret_key": None})
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    sealed = sealing.seal(own, "ñandú")
    assert sealing.unseal(own, sealed) == "ñandú"
    assert sealing.unseal(settings, sealed) == "ñandú"
    assert (settings.data_dir / sealing.SECRET_FILE).stat().st_mode & 0o777 == 0o600
    assert sealing.unseal(settings, sealed[:-4] + "AAAA") is None


def test_the_test_button_says_what_became_of_it(visit: Visitor) -> None:
    client = visit(Role.ADMINISTRATION)
    with running() as server:
        local = {"servidor": "127.0.0.1", "puerto": str(server.port), "cifrado": "none", "usuario": "", "ritmo": ""}
        assert save(client, **local)[0] == 200
        answer = client.post("/ajustes/correo/prueba", data=csrf_of(client))
        assert "El servidor la aceptó" in answer.text
        assert [mail.recipient for mail in server.accepted] == ["administration@example.org"]
    answer = client.post("/ajustes/correo/prueba", data=csrf_of(client))
    assert answer.status_code == 200
    assert 'class="result bad"' in answer.text


def test_a_send_under_way_leaves_by_what_is_told_meanwhile(visit: Visitor, database: Database, settings: Settings) -> None:
    began = Way(settings, relays.catcher(1))
    worker = jobs.Worker(database, settings, began)
    with database.session(write=False) as session:
        assert jobs.way_now(session, worker) == began
    with running() as server, database.session() as session:
        told = outgoing.Told("Red", "red@example.org", has_relay=True, host="127.0.0.1", port=str(server.port), tls="none")
        outgoing.save(session, settings, told)
        send_id = begun(session, outgoing.effective(session, settings), 2).id
        way = jobs.way_now(session, worker)
        session.commit()
        assert sending.drain(database, send_id, way) == 2
        assert {mail.sender for mail in server.accepted} == {"red@example.org"}


# --- claves de API ----------------------------------------------------------------------------------------------------------------


def test_makes_a_key_shown_once_and_revokes_it(visit: Visitor, database: Database) -> None:
    client = visit(Role.ADMINISTRATION)
    form = {"nombre": "Sitio", "responsable": "Ana Paz", "alcances": ["contacts:write"], "dias": "30", **csrf_of(client)}
    made = client.post("/ajustes/claves", data=form)
    key = re.search(r'value="(rvc_[^"]+)"', made.text)
    assert key
    with database.session(write=False) as session:
        assert clients.authenticate(session, key[1]).name == "Sitio"
    listed = client.get("/ajustes/claves").text
    assert key[1] not in listed
    assert "Agregar y cambiar personas" in listed
    assert "Revocada" in client.post("/ajustes/claves/1/revocar", data=csrf_of(client)).text
    with database.session(write=False) as session:
        assert clients.state(session.get_one(ApiClient, 1)) == "revoked"


def test_gives_the_form_of_a_key_back_with_what_was_typed(visit: Visitor) -> None:
    client = visit(Role.ADMINISTRATION)
    for changes, sentence in (({"alcances": []}, "necesario"), ({"dias": "900"}, "de 1 a 365"), ({"nombre": ""}, "necesario")):
        form = {
            "nombre": "Sitio",
            "responsable": "Ana Paz",
            "alcances": ["contacts:read"],
            "dias": "30",
            **changes,
            **csrf_of(client),
        }
        answer = client.post("/ajustes/claves", data=form)
        assert answer.status_code == 422
        assert sentence in answer.text
        assert 'value="Ana Paz"' in answer.text
