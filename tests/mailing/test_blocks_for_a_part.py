"""Blocks for a part of the audience: each person gets those that are for them, as the rules stood when the send was confirmed."""

from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm.config import Settings
from crm.database import Database
from crm.errors import Conflict, InvalidInput
from crm.mailing import campaigns, previews, segments, sends
from crm.mailing.models import Campaign, Delivery, Segment, SendContent
from crm.mailing.schemas import SendIn
from crm.mailing.segment_schemas import SegmentIn
from crm.people.models import Contact
from tests.mailing.factories import NOW, campaign, move, network, way
from tests.mailing.mail_server import running
from tests.people.factories import address_of

FOR_ALL = {"type": "text", "body": "Para todas las personas, {{ nombre }}."}


def segment(session: Session, name: str, *countries: str) -> Segment:
    return segments.create(
        session, SegmentIn(name=name, rule={"all": [{"field": "country", "op": "in", "value": list(countries)}]})
    )


def only(segment_: Segment, word: str) -> dict[str, Any]:
    return {"type": "text", "body": f"Solo para {word}.", "only_for": segment_.id}


@pytest.fixture
def written(session: Session) -> Campaign:
    """To six people, of whom two live in the United States, one in Canada and one in Spain."""
    network(session, 6)
    america, spain = segment(session, "Norteamérica", "US", "CA"), segment(session, "España", "ES")
    return campaign(session, FOR_ALL, only(america, "América"), only(spain, "Madrid"), only(america, "el norte"))


def test_each_person_gets_the_blocks_that_are_for_them(database: Database, settings: Settings) -> None:
    with database.session() as session:
        network(session, 6)
        america, spain = segment(session, "Norteamérica", "US", "CA"), segment(session, "España", "ES")
        made = campaign(session, FOR_ALL, only(america, "América"), only(spain, "Madrid"))
        send = sends.order(session, made.id, SendIn(when=NOW), settings)
        segments.change(session, spain.id, SegmentIn(name="España", rule=america.rule))  # what was confirmed stays
        send_id = sends.start(session, send.id, settings).id
        assert session.scalar(sa.select(sa.func.count()).select_from(SendContent)) == 4
    with running() as server:
        assert move(database, send_id, way(settings, server)) == 6
    for mail in server.accepted:
        number = [address_of(one) for one in range(6)].index(mail.recipient)
        for kind in ("plain", "html"):
            assert "Para todas las personas" in mail.text(kind)
            assert ("Solo para América" in mail.text(kind)) == (number < 3)
            assert ("Solo para Madrid" in mail.text(kind)) == (number == 3)


def test_the_preview_is_that_persons_mail(session: Session, settings: Settings, written: Campaign) -> None:
    ids = session.scalars(sa.select(Contact.id).order_by(Contact.id)).all()
    drafts = [previews.of_campaign(session, written, number, settings).text for number in ids]
    assert [text.count("Solo para") for text in drafts] == [2, 2, 2, 1, 0, 0]
    send = sends.order(session, written.id, SendIn(when=NOW), settings)
    before = [previews.of_send(session, send, number, settings).text for number in ids]
    sends.start(session, send.id, settings)
    assert before == [previews.of_send(session, send, number, settings).text for number in ids] == drafts


def test_the_review_says_how_many_see_each(session: Session, settings: Settings, written: Campaign) -> None:
    review = campaigns.review(session, written, settings)
    assert [(one.name, one.people) for one in review.only_for] == [("Norteamérica", 3), ("España", 1)]
    assert not review.problems


def test_refuses_a_mail_that_is_empty_for_some(session: Session, settings: Settings) -> None:
    network(session, 2)
    nobody = segment(session, "Japón", "JP")
    made = campaign(session, {"type": "divider"}, only(nobody, "Tokio"))
    problems = {one.code: one.blocking for one in campaigns.review(session, made, settings).problems}
    assert problems == {"everybodys_text_missing": True, "block_for_nobody": False}
    with pytest.raises(Conflict, match="campaign_not_ready"):
        sends.order(session, made.id, SendIn(when=NOW), settings)


def test_refuses_what_cannot_be(session: Session) -> None:
    some = [segment(session, f"S{number}", code) for number, code in enumerate(("US", "CA", "ES", "GB", "DE"))]
    with pytest.raises(InvalidInput, match="too_many_conditions"):
        campaign(session, FOR_ALL, *(only(one, one.name) for one in some))
    with pytest.raises(InvalidInput, match="segment_not_found") as caught:
        campaign(session, FOR_ALL, {**FOR_ALL, "only_for": 999})
    assert caught.value.field == "variants.0.blocks.1.only_for"
    campaign(session, FOR_ALL, only(some[0], "S0"))
    with pytest.raises(Conflict, match="segment_in_use"):
        segments.remove(session, some[0].id)


def test_a_language_without_such_blocks_serves_everybody(session: Session, settings: Settings) -> None:
    network(session, 10)  # the tenth reads English
    america = segment(session, "Norteamérica", "US", "CA")
    texts = {"es": [FOR_ALL, only(america, "América")], "en": [{"type": "text", "body": "For everybody."}]}
    made = campaign(session, variants=[{"language": one, "subject": "x", "blocks": blocks} for one, blocks in texts.items()])
    send = sends.start(session, sends.order(session, made.id, SendIn(when=NOW), settings).id, settings)
    assert set(sends.contents(session, send.id)) >= {(row.language, row.shown) for row in session.scalars(sa.select(Delivery))}
