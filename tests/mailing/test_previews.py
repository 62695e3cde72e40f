"""Previews and tests: the real mail, with the links of no one, to accounts only."""

import re
from datetime import timedelta

import pytest
from sqlalchemy.orm import Session

from crm import clock
from crm.config import Settings
from crm.database import Database, keys_of
from crm.errors import InvalidInput
from crm.mailing import campaigns, deliveries, links, previews, relays, sends
from crm.mailing.schemas import SendIn
from crm.people.models import Language, PrivacyNotice
from crm.staff import accounts
from tests.mailing.factories import NOW, TEXT, begun, campaign, marker, move, network, way
from tests.mailing.mail_server import MailServer, running

PASSWORD = "una clave larga de prueba"


def token_of(text: str) -> str:
    found = re.search(r"/p/baja/([\w-]+)", text)
    assert found is not None
    return found[1]


def test_shows_the_mail_as_a_person_with_links_of_no_one(session: Session, settings: Settings) -> None:
    first, second = network(session, 2)
    written = campaign(session)
    for contact_id, name in ((first, marker(0)), (second, marker(1))):
        seen = previews.of_campaign(session, written, contact_id, settings)
        assert seen.subject == f"Tu credencial, {name}"
        assert f"Hola, {name}:" in seen.html
        assert f"Hola, {name}:" in seen.text
        assert keys_of(session).read_link("delivery", token_of(seen.html)) == links.NO_ONE
        assert seen.size > len(seen.text)


def test_changes_nothing_through_a_link_of_no_one(session: Session, settings: Settings) -> None:
    contact_id = network(session, 1)[0]
    token = token_of(previews.of_campaign(session, campaign(session), contact_id, settings).text)
    assert links.peek(session, token).is_test
    assert links.leave(session, token).is_test
    assert campaigns.review(session, campaign(session), settings).recipients == 1


def test_is_the_mail_that_leaves_but_for_its_links(database: Database, settings: Settings) -> None:
    with database.session() as session:
        send = begun(session, settings, 1)
        contact_id = deliveries.find(session, send.id)[0][0].contact_id
        seen = previews.of_send(session, send, contact_id, settings)
    with running() as server:
        move(database, send.id, way(settings, server))
    left = server.accepted[0]
    assert left.text("html").replace(token_of(left.text()), "") == seen.html.replace(token_of(seen.text), "")
    assert left.text("plain").replace(token_of(left.text()), "") == seen.text.replace(token_of(seen.text), "")


def test_sends_a_test_to_an_account_and_to_nobody_else(database: Database, settings: Settings) -> None:
    with running() as server:
        told = settings.model_copy(update={"smtp_url": server.url})
        with database.session() as session:
            network(session, 2)
            accounts.create(session, "equipo@example.org", "Equipo", "coordination", PASSWORD)
            gone = accounts.create(session, "antes@example.org", "Antes", "coordination", PASSWORD)
            accounts.disable(session, gone.id)
            written = campaign(session)
            for address in ("persona0@example.org", "antes@example.org", "nadie@example.org"):
                with pytest.raises(InvalidInput, match="test_address_refused"):
                    previews.trial(session, written, address, told)
            mail = previews.trial(session, written, "Equipo@example.org", told)
        assert previews.to_out(previews.hand_over(mail, told)).accepted
    arrived = server.accepted[0]
    assert arrived.recipient == "equipo@example.org"
    for place in (str(arrived.mail["list-unsubscribe"]), arrived.text("html"), arrived.text("plain")):
        with database.session() as session:
            assert keys_of(session).read_link("delivery", token_of(place)) == links.NO_ONE


def test_says_why_a_test_did_not_leave(database: Database, settings: Settings) -> None:
    with running(MailServer(on_mail=lambda _: "550 5.7.60 not yours")) as server:
        told = settings.model_copy(update={"smtp_url": server.url})
        with database.session() as session:
            network(session, 1)
            accounts.create(session, "equipo@example.org", "Equipo", "coordination", PASSWORD)
            mail = previews.trial(session, campaign(session), "equipo@example.org", told)
        became = previews.to_out(previews.hand_over(mail, told))
    assert (became.accepted, became.reason) == (False, "sender_refused")
    assert "remitente" in became.sentence


def test_lists_what_to_mend_before_sending(session: Session, settings: Settings) -> None:
    network(session, 3)
    network(session, 1, first=5, city=None)
    bare = {"type": "text", "body": "Vive en {{ ciudad }}. [x](ejemplo)"}
    review = campaigns.review(
        session, campaign(session, bare, {"type": "button", "label": "Ir", "link": "www.example.org"}), settings
    )
    assert review.recipients == 4
    assert [problem.code for problem in review.problems if problem.blocking] == ["link_not_absolute", "link_not_absolute"]
    review = campaigns.review(session, campaign(session, {"type": "text", "body": "Vive en {{ ciudad }}."}), settings)
    problem = review.problems[0]
    assert (problem.code, problem.blocking, problem.language) == ("value_missing", False, Language.SPANISH)
    assert "«ciudad»: 1." in problem.sentence
    assert (
        campaigns.review(session, campaign(session, {"type": "text", "body": "En {{ ciudad | su ciudad }}."}), settings).problems
        == []
    )
    assert campaigns.review(session, campaign(session, TEXT), settings).bytes > 1000


def test_refuses_an_order_for_more_people_than_were_confirmed(session: Session, settings: Settings) -> None:
    network(session, 3)
    with pytest.raises(Exception, match="count_changed"):
        sends.order(session, campaign(session).id, SendIn(when=NOW, confirmed_count=2), settings)
    assert relays.is_local(settings)


def test_links_to_the_privacy_notice_in_force_and_to_none_that_is_not_kept(session: Session, settings: Settings) -> None:
    contact_id, written = network(session, 1)[0], campaign(session)
    seen = previews.of_campaign(session, written, contact_id, settings)
    assert "/p/aviso/" not in seen.html + seen.text
    today = clock.today()
    for version, days in (("2026 2", -10), ("2026-1", -300), ("2027-1", 10)):
        session.add(PrivacyNotice(version=version, text="Aviso", valid_from=today + timedelta(days=days)))
    session.add(PrivacyNotice(version="sin fecha", text="Aviso"))
    session.flush()
    address = f"{settings.public_url}/p/aviso/2026%202"
    seen = previews.of_campaign(session, written, contact_id, settings)
    assert f'href="{address}"' in seen.html
    assert address in seen.text
    order = sends.order(session, written.id, SendIn(when=NOW), settings)
    assert address in previews.of_send(session, order, contact_id, settings).text
