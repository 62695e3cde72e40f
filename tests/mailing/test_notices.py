"""Whoever ordered a send is told once of what it comes to, by a mail that names nobody, and on Inicio."""

import multiprocessing
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from threading import Event

import pytest
import sqlalchemy as sa
import time_machine

from crm import clock
from crm.config import Settings
from crm.database import Database
from crm.errors import NotFound
from crm.history import Actor, ActorKind
from crm.keys import load_keys
from crm.mailing import handover, notices, relays, sends
from crm.mailing.drain import Way
from crm.mailing.models import Notice, NoticeMail, Relay, Send, SendState
from crm.staff import accounts
from crm.staff.models import Role
from tests.mailing.factories import begun, marker, move, way
from tests.mailing.mail_server import DROP, MailServer, running
from tests.people.factories import address_of

OWN = "laura@example.org"
PASSWORD = "una contraseña larga"


def ordered(database: Database, settings: Settings, count: int = 2) -> tuple[int, int]:
    """(send, account) of a send under way that a colleague ordered."""
    with database.session() as session:
        own = accounts.create(session, OWN, "Laura Guzmán", Role.COORDINATION, PASSWORD).id
        send = begun(session, settings, count)
        send.ordered_by_kind, send.ordered_by_id = ActorKind.ACCOUNT, own
        return send.id, own


def pause(database: Database, send_id: int, reason: str = "relay_closed") -> int:
    """Paused by the worker; returns the notice of it."""
    with database.session() as session:
        sends.pause_if_sending(session, send_id, reason)
        return session.scalars(sa.select(Notice.id).order_by(Notice.id.desc())).first() or 0


def deliver(database: Database, moving: Way) -> None:
    """As the tick does: all that is due."""
    with database.session(write=False) as session:
        told = notices.due(session)
    for notice_id, _ in told:
        notices.deliver(database, notice_id, moving, lambda _: None)


def mails(database: Database) -> list[NoticeMail]:
    with database.session(write=False) as session:
        return list(session.scalars(sa.select(Notice.mail).order_by(Notice.id)))


def well(database: Database) -> None:
    """As if the rest of the relay were over."""
    with database.session() as session:
        session.execute(sa.update(Relay).values(resting_until=None))


def test_tells_whoever_ordered_a_send_that_it_ended_and_names_no_one(database: Database, settings: Settings) -> None:
    settings = settings.model_copy(update={"base_url": "https://red.example.org"})
    send_id, _ = ordered(database, settings, 4)
    answers = {address_of(1): "550 5.1.1 no such user"}
    with running(MailServer(on_rcpt=answers.get, on_data=lambda address: DROP if address == address_of(2) else None)) as server:
        move(database, send_id, way(settings, server))
        well(database)
        move(database, send_id, way(settings, server))
        well(database)
        deliver(database, way(settings, server))
        deliver(database, way(settings, server))
    told = [mail for mail in server.accepted if mail.recipient == OWN]
    assert mails(database) == [NoticeMail.ACCEPTED]
    assert len(told) == 1
    mail, text = told[0].mail, told[0].text()
    assert mail["subject"] == "Terminó: «Prueba»"
    assert (mail["auto-submitted"], mail["list-unsubscribe"]) == ("auto-generated", None)
    assert "https://red.example.org/envios/" + str(send_id) in text
    assert "Asunto: Tu credencial, [nombre]" in text
    assert ("Aceptados por el servidor: 2" in text, "No se pudo: 1" in text, "Sin confirmar: 1" in text) == (True, True, True)
    assert "porque este envío está a su nombre" in text
    assert not any(word in text for number in range(4) for word in (marker(number), address_of(number)))
    assert max(map(len, told[0].content.split(b"\r\n"))) <= 998


def test_tells_why_a_send_paused(database: Database, settings: Settings) -> None:
    send_id, _ = ordered(database, settings)
    pause(database, send_id, "hard_bounces")
    with running() as server:
        deliver(database, way(settings, server))
    text = server.accepted[0].text()
    assert server.accepted[0].mail["subject"] == "En pausa: «Prueba»"
    assert sends.REASONS["hard_bounces"] in " ".join(text.split())
    assert "Pendientes: 2" in text


def test_one_mail_leaves_whoever_asks_and_however_often(database: Database, settings: Settings) -> None:
    notice_id = pause(database, ordered(database, settings)[0])
    with running() as server, ThreadPoolExecutor(4) as pool:
        moving = way(settings, server)
        list(pool.map(lambda _: notices.deliver(database, notice_id, moving, lambda _: None), range(8)))
    assert server.recipients == {OWN: 1}


def test_a_pause_that_two_workers_ask_for_is_one_event(database: Database, settings: Settings) -> None:
    send_id, _ = ordered(database, settings)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: pause(database, send_id), range(6)))
    assert len(mails(database)) == 1


def _deliver_and_die(settings: Settings, port: int, notice_id: int) -> None:
    database = Database(settings, load_keys(settings.data_dir))
    notices.deliver(database, notice_id, way(settings, MailServer(port)), lambda _: None)


def test_a_worker_killed_while_the_mail_leaves_sends_no_second_one(database: Database, settings: Settings) -> None:
    notice_id = pause(database, ordered(database, settings)[0])
    reached, killed = Event(), Event()

    def wait(_address: str) -> None:
        reached.set()
        killed.wait(20)

    with running(MailServer(on_data=wait)) as server:
        told = (settings, server.port, notice_id)
        worker = multiprocessing.get_context("spawn").Process(target=_deliver_and_die, args=told, daemon=True)
        worker.start()
        assert reached.wait(20)
        os.kill(worker.pid or 0, signal.SIGKILL)
        worker.join(10)
        killed.set()
        deliver(database, way(settings, server))
    assert mails(database) == [NoticeMail.LEAVING]
    assert server.recipients == {OWN: 1}


@pytest.mark.parametrize(("answer", "hours", "taken"), [("451 4.3.0 disk full", 80, 1), ("550 5.1.1 no such user", 80, 0)])
def test_tries_again_only_what_surely_did_not_leave(
    database: Database, settings: Settings, answer: str, hours: int, taken: int
) -> None:
    pause(database, ordered(database, settings)[0])
    with running(MailServer(on_rcpt=lambda _: answer)) as server:
        deliver(database, way(settings, server))
        assert mails(database) == [NoticeMail.WAITING if taken else NoticeMail.DROPPED]
        server.on_rcpt = lambda _: None
        well(database)
        deliver(database, way(settings, server))
        assert not server.accepted, "not before its time"
        with time_machine.travel(clock.now() + timedelta(hours=hours)):
            deliver(database, way(settings, server))
    assert len(server.accepted) == taken


def test_a_mail_in_doubt_is_not_sent_again(database: Database, settings: Settings) -> None:
    pause(database, ordered(database, settings)[0])
    with running(MailServer(on_data=lambda _: DROP)) as server:
        for hours in (0, 1, 30):
            with time_machine.travel(clock.now() + timedelta(hours=hours)):
                well(database)
                deliver(database, way(settings, server))
    assert server.recipients == {OWN: 1}
    assert mails(database) == [NoticeMail.DROPPED]


def test_a_pause_for_a_dead_relay_is_told_when_it_is_back_and_heals_it(database: Database, settings: Settings) -> None:
    send_id, _ = ordered(database, settings)
    with running() as server:
        living = way(settings, server)
    for _ in range(relays.TROUBLES_THAT_PAUSE):
        well(database)
        move(database, send_id, living)
    with database.session(write=False) as session:
        assert sends.get(session, send_id).reason == "relay_unreachable"
    deliver(database, living)
    assert mails(database) == [NoticeMail.WAITING], "the relay rests"
    well(database)
    deliver(database, living)
    with time_machine.travel(clock.now() + timedelta(minutes=16)), running(MailServer(server.port)) as back:
        deliver(database, living)
    assert back.recipients == {OWN: 1}
    with database.session(write=False) as session:
        relay = session.scalars(sa.select(Relay)).one()
        assert (relay.troubles, relay.trouble, relay.resting_until) == (0, None, None)


def test_says_nothing_that_is_no_longer_so(database: Database, settings: Settings) -> None:
    send_id, _ = ordered(database, settings)
    pause(database, send_id)
    with database.session() as session:
        sends.resume(session, send_id, settings)
    pause(database, send_id, "hard_bounces")
    with running() as server:
        deliver(database, way(settings, server))
    assert mails(database) == [NoticeMail.DROPPED, NoticeMail.ACCEPTED]
    assert sends.REASONS["hard_bounces"][:40] in server.accepted[0].text()


def test_tells_nobody_what_they_did_themselves_but_what_a_colleague_did(database: Database, settings: Settings) -> None:
    send_id, own = ordered(database, settings)
    for actor in (own, own + 1):
        with database.session(actor=Actor(ActorKind.ACCOUNT, actor)) as session:
            sends.pause(session, send_id)
            told = session.scalars(sa.select(Notice.state)).all()
            assert list(told) == ([] if actor == own else [SendState.PAUSED])
            sends.resume(session, send_id, settings)
    with database.session(actor=Actor(ActorKind.ACCOUNT, own + 1)) as session:
        sends.cancel(session, send_id)
    with running() as server:
        deliver(database, way(settings, server))
    assert [mail.mail["subject"] for mail in server.accepted] == ["Cancelado: «Prueba»"]


@pytest.mark.parametrize("orderer", ["client", "gone", "demo"])
def test_writes_to_no_one_but_an_active_account(database: Database, settings: Settings, orderer: str) -> None:
    send_id, own = ordered(database, settings)
    with database.session() as session:
        if orderer == "client":
            session.get_one(Send, send_id).ordered_by_kind = ActorKind.CLIENT
        elif orderer == "gone":
            accounts.disable(session, own)
        else:
            accounts.get(session, own).is_demo = True
    pause(database, send_id)
    with running() as server:
        local = way(settings, server)
        far = replace(local, address=local.address.model_copy(update={"host": "smtp.example.org"}))
        deliver(database, far if orderer == "demo" else local)
    assert mails(database) == ([] if orderer == "client" else [NoticeMail.DROPPED])
    assert not server.accepted


def test_goes_to_whoever_has_the_send_now(database: Database, settings: Settings) -> None:
    send_id, own = ordered(database, settings)
    pause(database, send_id)
    with database.session() as session:
        heir = accounts.create(session, "heredera@example.org", "Eva Sol", Role.COORDINATION, PASSWORD).id
        handover.give(session, own, heir)
    with running() as server:
        deliver(database, way(settings, server))
    assert server.recipients == {"heredera@example.org": 1}


def test_takes_its_place_under_the_limits_of_the_relay(database: Database, settings: Settings) -> None:
    send_id, _ = ordered(database, settings, 3)
    with running() as server:
        address = server.relay.model_copy(update={"per_day": 2, "per_minute": 60})
        url = {"smtp_url": f"smtp://127.0.0.1:{server.port}?tls=none&per_minute=60"}
        limited = replace(way(settings.model_copy(update=url), server), address=address)
        with database.session() as session:
            session.execute(sa.update(Send).values(by_catcher=False))
        pause(database, send_id)
        waited: list[float] = []
        with database.session() as session:
            relay_id = relays.row_of(session, limited.settings).id
            relays.take_slot(session, relay_id, 60, clock.now().timestamp())
        with database.session(write=False) as session:
            notice_id = notices.due(session)[0][0]
        notices.deliver(database, notice_id, limited, waited.append)
        assert server.recipients == {OWN: 1}
        assert waited[0] == pytest.approx(60 / 59, abs=0.3)
        with database.session() as session:
            assert relays.take_allowance(session, relay_id, address, 5) == 1
            sends.resume(session, send_id, limited.settings)
        pause(database, send_id, "hard_bounces")
        notices.deliver(database, notice_id + 1, limited, waited.append)
        with database.session() as session:
            sends.resume(session, send_id, limited.settings)
        pause(database, send_id, "relay_closed")
        notices.deliver(database, notice_id + 2, limited, waited.append)
    assert server.recipients == {OWN: 2}
    assert mails(database)[-1] is NoticeMail.WAITING


def test_nothing_leaves_unsigned_when_the_key_is_gone(database: Database, settings: Settings) -> None:
    pause(database, ordered(database, settings)[0], "dkim_key_invalid")
    unsigned = settings.model_copy(update={"dkim_keys": f"red=/{settings.data_dir}/gone.pem"})
    with running() as server:
        deliver(database, way(unsigned, server))
        deliver(database, way(settings, server))
        assert not server.accepted
        with time_machine.travel(clock.now() + timedelta(minutes=16)):
            deliver(database, way(settings, server))
    assert server.recipients == {OWN: 1}


def test_inicio_tells_an_end_until_the_person_knows(database: Database, settings: Settings) -> None:
    send_id, own = ordered(database, settings)
    with running() as server:
        move(database, send_id, way(settings, server))
    with database.session() as session:
        notice = notices.unseen(session, own)[0]
        assert (notice.send_id, notice.state, notice.send.campaign.name) == (send_id, SendState.DONE, "Prueba")
        assert not notices.unseen(session, own + 1)
        with pytest.raises(NotFound, match="send_notice_not_found"):
            notices.see(session, own + 1, notice.id)
        with pytest.raises(NotFound, match="send_notice_not_found"):
            notices.see(session, own, notice.id + 1)
        with time_machine.travel(clock.now() + timedelta(days=8)):
            assert not notices.unseen(session, own)
        notices.see(session, own, notice.id)
        assert not notices.unseen(session, own)
