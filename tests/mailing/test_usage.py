"""Who received a material: by the mail that each person got, not by what their send says to others."""

from io import BytesIO

import sqlalchemy as sa
from PIL import Image
from sqlalchemy.orm import Session

from crm.config import Settings
from crm.database import Database, Json
from crm.mailing import segments, usage
from crm.mailing.models import Delivery, DeliveryState, Send, SendContent, content_material
from crm.mailing.segment_schemas import SegmentIn
from crm.outreach import materials
from crm.outreach.models import MaterialKind
from crm.outreach.schemas import MaterialIn
from crm.people.models import Contact, Language
from tests.conftest import migrate
from tests.mailing.factories import TEXT, begun, network

RED, BLUE, GREEN = "#b3136a", "#234a9a", "#2d7a3a"


def material(session: Session, colour: str = "", **changes: str) -> int:
    """An infographic of one colour; without it a video by its link."""
    told = {"title": f"Material {colour}", "alt_text": "Tres pasos", "full_text": "Uno, dos, tres."} | changes
    if not colour:
        video = MaterialIn(kind=MaterialKind.VIDEO, link="https://example.org/ver?a=1&b=2", **told)
        return materials.create(session, video, body=None, file_name=None).id
    drawn = BytesIO()
    Image.new("RGB", (300, 200), colour).save(drawn, "PNG")
    made = materials.create(
        session, MaterialIn(kind=MaterialKind.INFOGRAPHIC, **told), body=drawn.getvalue(), file_name="credencial.png"
    )
    return made.id


def both_languages(session: Session, settings: Settings) -> tuple[Send, list[int]]:
    """Five people who read Spanish and three who read English: a picture for each language, one for the three of the eight who
    live in the United States, in Spanish only, and a video that is in all mails. Everybody's mail was accepted but the last's."""
    network(session, 5, language="es")
    network(session, 3, first=5, language="en")
    rule = {"all": [{"field": "country", "op": "in", "value": ["US"]}]}
    here = segments.create(session, SegmentIn.model_validate({"name": "Estados Unidos", "rule": rule})).id
    ids = [material(session, RED), material(session, BLUE, language="en"), material(session, GREEN), material(session)]
    spanish, english, some, video = ids
    told = {
        "es": [{"type": "image", "material": spanish}, {"type": "image", "material": some, "only_for": here}],
        "en": [{"type": "attachment", "material": english}],
    }
    every = [TEXT, {"type": "video", "material": video}]
    variants = [{"language": one, "subject": "x", "blocks": [*every, *blocks]} for one, blocks in told.items()]
    send = begun(session, settings, variants=variants)
    mine = Delivery.send_id == send.id
    session.execute(sa.update(Delivery).where(mine).values(state=DeliveryState.SENT))
    last = sa.select(sa.func.max(Delivery.id)).where(mine).scalar_subquery()
    session.execute(sa.update(Delivery).where(Delivery.id == last).values(state=DeliveryState.FAILED))
    return send, ids


def test_a_material_is_counted_by_the_mail_that_each_person_got(session: Session, settings: Settings) -> None:
    send, (spanish, english, some, video) = both_languages(session, settings)
    readers = dict(session.execute(sa.select(Contact.id, Contact.language)).all())
    in_states = set(session.scalars(sa.select(Contact.id).where(Contact.country == "US")))
    last = max(readers)
    expected = {
        spanish: {one for one, language in readers.items() if language is Language.SPANISH},
        english: {one for one, language in readers.items() if language is Language.ENGLISH} - {last},
        some: {one for one, language in readers.items() if language is Language.SPANISH and one in in_states},
        video: set(readers) - {last},
    }
    assert [len(people) for people in expected.values()] == [5, 2, 2, 7]
    for number, people in expected.items():
        told = usage.of_material(session, number)
        assert set(session.scalars(usage.reached(number))) == people
        assert (told.people, [(going.send.id, going.people) for going in told.sends]) == (len(people), [(send.id, len(people))])
        assert set(session.scalars(usage.reached(number, send.id + 1))) == set()
    one, other = sorted(expected[spanish])[:2]
    session.execute(sa.update(Contact).where(Contact.id == other).values(merged_into_id=one))
    told = usage.of_material(session, spanish)
    assert (told.people, told.sends[0].people) == (4, 4), "two records that were joined are one person"


def test_the_sends_so_far_are_told_by_what_their_mails_carry(database: Database, database_url: str, settings: Settings) -> None:
    stored = sa.select(content_material).order_by(*content_material.c)
    with database.session() as session:
        _, ids = both_languages(session, settings)
        before = session.execute(stored).all()
        assert session.scalar(sa.select(sa.func.count()).select_from(SendContent)) == 4
    migrate(database_url, "0013", down=True)
    with database.session(write=False) as session:
        materials_of_send = sa.select(sa.column("materials", Json)).select_from(sa.table("send"))
        assert session.scalars(materials_of_send).all() == [ids]
    migrate(database_url)
    with database.session(write=False) as session:
        assert session.execute(stored).all() == before
