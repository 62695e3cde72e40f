"""Regularising, from a list without a basis to consents with their proof: by the pages, a real mail server, and the links in
the mails themselves."""

import re
import threading
from datetime import timedelta

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from crm import clock
from crm.config import Settings
from crm.database import Database, keys_of
from crm.mailing import campaigns, consent_requests, links, sends
from crm.mailing.consent_requests import Answer, Answers, answers_of
from crm.mailing.models import Campaign, Delivery, SendMode
from crm.mailing.schemas import SendIn, When
from crm.people import privacy_notices
from crm.people.models import Consent, Contact, EmailAddress, Purpose, SuppressionReason
from crm.people.suppression import suppress
from crm.people.taking_in import take_in_many
from crm.staff.models import Role
from tests.mailing import factories
from tests.mailing.mail_server import MailServer, running
from tests.people.factories import contact_in
from tests.web.conftest import Visitor, csrf_of

LEGACY = 6
LINK = re.compile(r"http://[^\s\"<>]*(/p/consentimiento/[\w-]+)")


def legacy(database: Database) -> None:
    """Six people of whom no consent is known, two of them readers of English, and a privacy notice."""
    with database.session() as session:
        languages = ["es"] * 4 + ["en"] * 2
        take_in_many(
            session,
            [
                contact_in(number, consents=[], language=one, emails=[f"persona{number}@example.org"])
                for number, one in enumerate(languages, start=1)
            ],
        )
        publish(database, session)


def publish(database: Database, session: object, version: str = "2027-1") -> None:
    today = clock.today()
    privacy_notices.publish(
        session,  # type: ignore[arg-type]  # a session
        version=version, valid_from=today, text="Aviso breve.", text_en="Short notice.", full_text="", url="",
    )  # fmt: skip


def ask(database: Database, settings: Settings, server: MailServer, visitor: TestClient) -> int:
    """Prepare the request by its page, order it and hand it over; the number of the send."""
    answer = visitor.post("/regularizar", data=csrf_of(visitor), follow_redirects=False)
    campaign_id = int(answer.headers["location"].split("/")[2])
    with database.session() as session:
        reviewed = campaigns.review(session, campaigns.get(session, campaign_id), settings)
        assert [problem.code for problem in reviewed.problems if problem.blocking] == []
        send_id = sends.order(session, campaign_id, SendIn(when=When(mode=SendMode.NOW)), settings).id
        sends.start(session, send_id, settings)
    factories.move(database, send_id, factories.way(settings, server))
    return send_id


def links_of(server: MailServer) -> dict[str, str]:
    found = {}
    for mail in server.accepted:
        plain = mail.mail.get_body(("plain",))
        assert plain is not None
        match = LINK.search(plain.get_content())
        assert match
        found[mail.recipient] = match[1]
    return found


def progress(database: Database) -> dict[Answer, int]:
    with database.session(write=False) as session:
        return {answer: people for answer, people in consent_requests.progress(session).items() if people}


def test_from_a_list_without_a_basis_to_consents(
    database: Database, settings: Settings, visit: Visitor, anybody: TestClient
) -> None:
    legacy(database)
    coordinator = visit(Role.COORDINATION)
    assert "6 personas sin consentimiento" in coordinator.get("/").text
    with running() as server:
        ask(database, settings, server, coordinator)
    by_person = links_of(server)
    assert len(by_person) == LEGACY
    assert progress(database) == {Answer.SILENT: LEGACY}
    yes, english, out = (by_person[f"persona{number}@example.org"] for number in (1, 5, 2))

    shown = anybody.get(yes).text
    assert "Aviso breve." in shown
    assert "versión 2027-1" in shown
    assert progress(database) == {Answer.SILENT: LEGACY}, "looking changes nothing"

    for _ in range(2):
        thanks = anybody.post(yes, data={"aviso": "2027-1"}, headers={"User-Agent": "Prueba/1\x07", "Sec-Fetch-Site": "cross-site"})
        assert "Gracias: quedó registrado" in thanks.text
    again = anybody.get(yes).text
    assert "Usted ya aceptó recibir los correos de la Red Voto Chilango, el" in again
    assert "Si no quiere, cierre esta página" not in again
    assert 'href="/p/baja/' in again
    assert "Short notice." in anybody.get(english).text
    assert "it is recorded" in anybody.post(english, data={"aviso": "2027-1"}).text
    assert f"agreed to receive the mails of the Red Voto Chilango, on {clock.today():%B %-d, %Y}." in anybody.get(english).text
    way_out = re.search(r'href="(/p/baja/[^"]+)"', anybody.get(out).text)
    assert way_out
    anybody.post(way_out[1])
    assert "Esta dirección pidió no recibir correos" in anybody.post(out, data={"aviso": "2027-1"}).text

    assert progress(database) == {Answer.GRANTED: 2, Answer.LEFT: 1, Answer.SILENT: 3}
    with database.session(write=False) as session:
        said = session.scalars(sa.select(Consent).order_by(Consent.id)).all()
        assert {one.purpose for one in said[:4]} == set(Purpose) - {Purpose.CONSENT_REQUEST, Purpose.INSTITUTIONAL_LIAISON}
        assert len(said) == 8
        assert all((one.notice_version, one.source, one.actor_kind) == ("2027-1", "page", "contact") for one in said)
        assert "p***@example.org" in said[0].evidence
        assert "Prueba/1." in said[0].evidence
    assert "3 respuestas: 2 aceptaron y 1 se dio de baja" in coordinator.get("/regularizar").text
    home = coordinator.get("/").text
    assert "Regularización de consentimientos" in home
    assert 'href="/contactos?solicitud=granted"' in home
    listed = coordinator.get("/contactos?solicitud=granted").text
    assert "1–2 de 2" in listed
    assert "Solicitud de consentimiento" in listed


def test_each_answer_to_a_request_is_counted_once_by_its_last_word(
    database: Database, settings: Settings, visit: Visitor, anybody: TestClient
) -> None:
    """A yes, a yes that was taken back by the link of the same mail, a complaint; a baja that was told by telephone answers no
    mail."""
    legacy(database)
    coordinator = visit(Role.COORDINATION)
    with running() as server:
        send_id = ask(database, settings, server, coordinator)
    assert "sin respuestas todavía" in coordinator.get("/regularizar").text
    by_person = links_of(server)
    for number in (1, 2):
        anybody.post(by_person[f"persona{number}@example.org"], data={"aviso": "2027-1"})
    shown = anybody.get(by_person["persona2@example.org"]).text
    way_out = re.search(r'href="(/p/baja/[^"]+)"', shown)
    assert way_out
    anybody.post(way_out[1])
    with database.session() as session:
        deliveries = {row.address: row.id for row in session.execute(sa.select(Delivery.address, Delivery.id))}
        domain = "example.org"
        complained = links.message_id(keys_of(session), deliveries[f"persona3@{domain}"], domain)
        links.note_returned(session, complained, f"persona3@{domain}", SuppressionReason.COMPLAINED)
        for number, reason in ((3, SuppressionReason.COMPLAINED), (4, SuppressionReason.UNSUBSCRIBED)):
            suppress(session, f"persona{number}@{domain}", reason, happened_on=clock.today(), proof="Constancia")
    with database.session(write=False) as session:
        assert consent_requests.answers_of(session, [send_id]) == {send_id: consent_requests.Answers(granted=1, left=2)}
    assert "3 respuestas: 1 aceptó y 2 se dieron de baja" in coordinator.get("/regularizar").text


def test_nobody_is_asked_twice_in_a_fortnight_nor_more_than_three_times(
    database: Database, settings: Settings, visit: Visitor
) -> None:
    legacy(database)
    coordinator = visit(Role.COORDINATION)
    with running() as server:
        for round_number in range(consent_requests.REQUESTS_MOST):
            ask(database, settings, server, coordinator)
            assert len(server.accepted) == (round_number + 1) * LEGACY
            if round_number == 0:
                with database.session() as session:
                    campaign_id = session.scalars(sa.select(Campaign.id)).one()
                    waits = campaigns.review(session, campaigns.get(session, campaign_id), settings)
                    assert waits.skipped == {"asked_enough": LEGACY}
            with database.session() as session:
                long_ago = clock.now() - consent_requests.REQUESTS_APART - timedelta(hours=1)
                session.execute(sa.update(Delivery).where(Delivery.settled_at > long_ago).values(settled_at=long_ago))
    assert progress(database) == {Answer.EXHAUSTED: LEGACY}
    assert "Preparar la solicitud" not in coordinator.get("/regularizar").text
    with database.session() as session:
        reviewed = campaigns.review(session, campaigns.get(session, 1), settings)
        assert reviewed.recipients == 0


def test_a_link_of_no_one_or_of_nothing_changes_nothing(anybody: TestClient, database: Database) -> None:
    legacy(database)
    with database.session(write=False) as session:
        test = links.consent_url(Settings(), keys_of(session), links.NO_ONE).partition("/p/")[2]
        way_out = keys_of(session).sign_link("delivery", 1)
    assert "Esto es una prueba" in anybody.get(f"/p/{test}").text
    assert "Era una prueba" in anybody.post(f"/p/{test}", data={"aviso": "2027-1"}).text
    for token in ("desconocido", way_out, "%00", "a" * 3000):
        answer = anybody.post(f"/p/consentimiento/{token}", data={"aviso": "2027-1"})
        assert answer.status_code == 200
        assert "Gracias: quedó registrado" in answer.text
    with database.session(write=False) as session:
        assert session.scalar(sa.select(sa.func.count(Consent.id))) == 0


def test_a_yes_stays_the_answer_to_its_mail_whatever_came_later(
    anybody: TestClient, database: Database, settings: Settings, visit: Visitor
) -> None:
    legacy(database)
    with running() as server:
        send_id = ask(database, settings, server, visit(Role.COORDINATION))
    by_person = links_of(server)
    for number in (1, 2):
        anybody.post(by_person[f"persona{number}@example.org"], data={"aviso": "2027-1"})
    with database.session() as session:
        for number, proof in ((1, f"{links.LEFT_BY}999"), (2, "Por teléfono")):
            address = f"persona{number}@example.org"
            suppress(session, address, SuppressionReason.UNSUBSCRIBED, happened_on=clock.today(), proof=proof)
    with database.session(write=False) as session:
        assert answers_of(session, [send_id]) == {send_id: Answers(granted=2)}


@pytest.mark.parametrize("version", ["", "2099-1", "x" * 41])
def test_a_yes_needs_the_version_that_was_shown(
    anybody: TestClient, database: Database, settings: Settings, visit: Visitor, version: str
) -> None:
    legacy(database)
    with running() as server:
        ask(database, settings, server, visit(Role.COORDINATION))
    link = next(iter(links_of(server).values()))
    assert anybody.post(link, data={"aviso": version}).status_code in {422, 503}
    assert progress(database) == {Answer.SILENT: LEGACY}


def test_a_blocked_person_is_not_brought_back(anybody: TestClient, database: Database, settings: Settings, visit: Visitor) -> None:
    legacy(database)
    with running() as server:
        ask(database, settings, server, visit(Role.COORDINATION))
    with database.session() as session:
        session.execute(sa.update(Contact).values(blocked_at=clock.now()))
    assert "pidió no recibir correos" in anybody.post(next(iter(links_of(server).values())), data={"aviso": "2027-1"}).text
    with database.session(write=False) as session:
        assert session.scalar(sa.select(sa.func.count(Consent.id))) == 0


def test_who_reads_an_address_that_is_no_longer_the_persons_speaks_for_nobody(
    anybody: TestClient, database: Database, settings: Settings, visit: Visitor
) -> None:
    legacy(database)
    with running() as server:
        ask(database, settings, server, visit(Role.COORDINATION))
    with database.session() as session:
        session.execute(sa.update(EmailAddress).where(EmailAddress.contact_id == 1).values(retired_at=clock.now()))
    link = links_of(server)["persona1@example.org"]
    assert "ya no está registrada" in anybody.post(link, data={"aviso": "2027-1"}).text
    with database.session(write=False) as session:
        assert session.scalar(sa.select(sa.func.count(Consent.id))) == 0


def test_two_requests_at_once_ask_everybody_once(database: Database, settings: Settings, visit: Visitor) -> None:
    legacy(database)
    coordinator = visit(Role.COORDINATION)
    with running() as server:
        ids = []
        for _ in range(3):
            answer = coordinator.post("/regularizar", data=csrf_of(coordinator), follow_redirects=False)
            with database.session() as session:
                campaign_id = int(answer.headers["location"].split("/")[2])
                ids.append(sends.order(session, campaign_id, SendIn(when=When(mode=SendMode.NOW)), settings).id)
                sends.start(session, ids[-1], settings)
        moving = [
            threading.Thread(target=factories.move, args=(database, send_id, factories.way(settings, server))) for send_id in ids
        ]
        for thread in moving:
            thread.start()
        for thread in moving:
            thread.join()
    assert len(server.accepted) == LEGACY


def test_a_request_with_the_page_needs_a_notice_and_one_without_it_is_told(database: Database, settings: Settings) -> None:
    button = {"type": "button", "label": "Sí", "link": "{{ enlace_consentimiento }}"}
    with database.session() as session:
        factories.network(session, 1)
        for blocks, code, blocking in (
            ([factories.TEXT, button], "notice_needed", True),
            ([factories.TEXT], "consent_link_missing", False),
        ):
            made = factories.campaign(session, *blocks, purpose=Purpose.CONSENT_REQUEST)
            told = {problem.code: problem.blocking for problem in campaigns.review(session, made, settings).problems}
            assert told[code] is blocking
