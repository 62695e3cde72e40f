"""What every page says around its own content: a relay that is in trouble, until it is well again."""

from datetime import timedelta

import pytest
import sqlalchemy as sa
import time_machine
from starlette.testclient import TestClient

from crm import clock
from crm.config import Settings
from crm.database import Database
from crm.mailing import relays, sends
from crm.mailing.models import Notice, Relay, Send, SendState
from crm.staff.models import Role
from tests.mailing.factories import begun, move, way
from tests.mailing.mail_server import MailServer, running
from tests.web.conftest import Visitor, csrf_of

SAYS = "El correo no está saliendo."
NOON = clock.now().replace(hour=18, minute=0, second=0, microsecond=0)  # of Mexico City, by the clock of UTC


@pytest.fixture
def send_id(database: Database, settings: Settings) -> int:
    with database.session() as session:
        return begun(session, settings, 3).id


def troubled(database: Database, settings: Settings, times: int, reason: str) -> None:
    with database.session() as session:
        relay_id = relays.row_of(session, settings).id
        for before in range(times - 1, -1, -1):  # each once the rest after the one before it was over
            relays.note_trouble(session, relay_id, clock.now() - timedelta(minutes=5 * before), reason)


def text(client: TestClient, path: str = "/contactos") -> str:
    return " ".join(client.get(path).text.split())


def test_is_silent_of_one_stumble_and_speaks_of_two(visit: Visitor, database: Database, settings: Settings, send_id: int) -> None:
    with time_machine.travel(NOON - timedelta(hours=2)):  # not now: by noon a session of midnight has ended
        client = visit(Role.READING)
        assert SAYS not in text(client)
    with time_machine.travel(NOON - timedelta(hours=1)):
        troubled(database, settings, 1, "relay_unreachable")
        assert SAYS not in text(client)
    with time_machine.travel(NOON, tick=False):
        troubled(database, settings, 3, "relay_unreachable")
        said = text(client)
    assert SAYS in said
    assert "No pudimos conectar con el servidor de correo. Se intenta" in said
    assert "Avise a quien administra el sistema." in said
    assert "Se intenta de nuevo solo a las 12:00 h (CDMX)." in said
    assert "Revisar y probar" not in said, "who may not change it is not led there"
    with time_machine.travel(NOON + timedelta(hours=1)):
        assert "Se está intentando de nuevo." in text(client)


def test_says_a_refused_sign_in_at_once_and_where_to_mend_it(
    visit: Visitor, database: Database, settings: Settings, send_id: int
) -> None:
    troubled(database, settings, 1, "sign_in_refused")
    said = text(visit(Role.ADMINISTRATION), "/")
    assert "El servidor de correo no aceptó el usuario o la contraseña." in said
    assert '<a href="/ajustes/correo">Revisar y probar</a>' in said


def test_says_what_waits_and_goes_away_when_the_relay_works(
    visit: Visitor, database: Database, settings: Settings, send_id: int
) -> None:
    client = visit(Role.COORDINATION)
    with running() as server:
        moving = way(settings, server)
    for _ in range(relays.TROUBLES_THAT_PAUSE):
        with database.session() as session:
            session.execute(sa.update(Relay).values(resting_until=None))
        move(database, send_id, moving)
    said = text(client)
    assert "1 envío espera en pausa" in said
    assert "Se volverá a intentar con el próximo correo." in said
    with database.session() as session:
        sends.resume(session, send_id, settings)
    with running(MailServer(server.port)):
        assert move(database, send_id, moving) == 3
    assert SAYS not in text(client)


def test_a_test_that_arrives_heals_it(visit: Visitor, database: Database, settings: Settings, send_id: int) -> None:
    client = visit(Role.ADMINISTRATION)
    troubled(database, settings, 3, "relay_closed")
    with running() as server:
        settings.data_dir.joinpath(relays.CATCHER_PORT).write_text(str(server.port))
        assert SAYS in text(client)
        assert SAYS not in client.post("/ajustes/correo/prueba", data=csrf_of(client)).text
    assert SAYS not in text(client)


def test_says_nothing_of_a_limit_that_was_reached(visit: Visitor, database: Database, settings: Settings, send_id: int) -> None:
    with database.session() as session:
        relays.row_of(session, settings)
        session.execute(sa.update(Relay).values(resting_until=clock.now() + timedelta(hours=5)))
    assert SAYS not in text(visit(Role.READING))


def test_inicio_tells_the_end_of_ones_own_send_until_it_is_seen(
    visit: Visitor, database: Database, settings: Settings, send_id: int
) -> None:
    client, other = visit(Role.COORDINATION), visit(Role.READING)
    with database.session() as session:
        session.get_one(Send, send_id).ordered_by_kind, session.get_one(Send, send_id).ordered_by_id = "account", 1
    with running(MailServer(on_rcpt=lambda address: "550 5.1.1 no" if "1@" in address else None)) as server:
        move(database, send_id, way(settings, server))
    assert "«Prueba» terminó" in text(client, "/")
    assert "2 aceptados y 1 fallido" in text(client, "/")
    assert "«Prueba» terminó" not in text(other, "/")
    with database.session(write=False) as session:
        assert sends.get(session, send_id).state is SendState.DONE
        notice_id = session.scalars(sa.select(Notice.id)).one()
    assert other.post(f"/avisos/{notice_id}/visto", data=csrf_of(other)).status_code == 404
    assert "«Prueba» terminó" in text(client, "/")
    client.post(f"/avisos/{notice_id}/visto", data=csrf_of(client))
    assert "«Prueba» terminó" not in text(client, "/")
