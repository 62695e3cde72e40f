"""The demo: who is in it, what became of each row, who may sign in, and that nothing of it leaves this machine."""

import re
import smtplib
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm import catcher, demo
from crm.config import Settings
from crm.database import Database, search_key
from crm.demo import drawings, network, texts
from crm.demo.access import ACCESS_FILE, FOLDER
from crm.errors import Conflict
from crm.keys import load_keys
from crm.mailing import audience, campaigns, segments, sends
from crm.mailing.models import Campaign, SendState
from crm.outreach import materials
from crm.people import consent, places
from crm.people.models import Contact, EmailAddress, Import, Language, LeaderRole, Organization, Post, Tag, contact_tag
from crm.staff import accounts, sign_in
from crm.staff.models import Account, Role
from tests.conftest import Server

NAMED_IN_THE_SEEDS = (
    ("María", "Reyes"),
    ("Mauricio", "Huesca"),
    ("Enrique", "Perret"),
    ("Ernesto", "Ramos"),
    ("Reyna", "Torres"),
    ("Erika", "Estrada"),
    ("Rodrigo", "Meléndez"),
    ("Rodrigo", "Meléndrez"),
    ("Clemente", "Romero"),
)
"""Everybody whom the reports behind the product name: given name and first surname."""
OURS = re.compile(r"[^@\s]+@example\.(org|com|net)")
FAR_RELAY = "smtp://relay.example.org:587"


@pytest.fixture(scope="module")
def built(
    server: Server, template: str, worker: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Database, Settings]]:
    """The demo, built once for the tests that only look at it."""
    name = f"crm_demo_{worker}"
    data_dir = tmp_path_factory.mktemp("demo")
    settings = Settings(database_url=server.create(name, template), data_dir=data_dir, secret_key="a secret of the tests")
    database = Database(settings, load_keys(data_dir))
    demo.build(database, settings)
    yield database, settings
    database.dispose()
    server.drop(name)


@pytest.fixture
def look(built: tuple[Database, Settings]) -> Iterator[Session]:
    with built[0].session(write=False) as session:
        yield session


# --- who is in it -----------------------------------------------------------------------------------------------------------


def test_invents_the_same_people_each_time() -> None:
    def rows() -> list[tuple[object, ...]]:
        return [(one.name, one.address, one.city, one.organization) for one in network.invent().with_basis]

    assert rows() == rows()


def test_counts_people_cities_countries_and_leaders_as_the_seed_says(look: Session) -> None:
    assert places.count_places(look) == places.PlaceCounts(people=1500, cities=77, countries=25)
    by_sector = look.execute(sa.select(LeaderRole.sector, sa.func.count()).group_by(LeaderRole.sector)).all()
    assert dict(by_sector) == {"community_development": 54, "academia": 26, "business": 24, "culture": 17}
    assert look.scalar(sa.select(sa.func.count(sa.distinct(LeaderRole.contact_id)))) == 121


def test_gives_each_leader_an_organization_and_each_large_country_a_leader(look: Session) -> None:
    leads = sa.select(LeaderRole.contact_id)
    assert look.scalar(sa.select(sa.func.count(sa.distinct(Post.contact_id))).where(Post.contact_id.in_(leads))) == 121
    people = network.invent().people
    led = {one.home.country for one in people if one.sector}
    assert {code for code, count in Counter(one.home.country for one in people).items() if count > 8} <= led
    assert sum(one.home.country == "US" for one in people if one.sector) == 85


def test_names_nobody_of_the_seeds(look: Session) -> None:
    known = {(search_key(given), search_key(surname)) for given, surname in NAMED_IN_THE_SEEDS}
    for given, first, second in look.execute(sa.select(Contact.given_names, Contact.first_surname, Contact.second_surname)):
        words, surnames = search_key(given).split(), (search_key(first), search_key(second or ""))
        assert not {(word, surname) for word in words for surname in surnames} & known
    assert not set(look.scalars(sa.select(Organization.name))) & {
        "Federación de la Ciudad de México en Las Vegas",
        "Asociación de Ex Becarios Chevening en México",
        "Club de Chilangos en Los Ángeles",
        "Club Chilangos de California",
    }


def test_writes_names_as_they_are_in_mexico() -> None:
    people = network.invent().people
    assert sum(not one.name.second for one in people) == pytest.approx(105, abs=15)  # a duplicate may lose its second surname
    whole = " | ".join(" ".join(one.name[:3]) for one in people)
    for expected in ("ñ", "María José", "José de Jesús", "de la Cruz", "De León", "Ñáñez", "O'Connor"):
        assert expected in whole
    assert sum(one.language == "inglés" for one in people) == 150


def test_uses_only_addresses_and_telephones_that_nobody_owns(look: Session) -> None:
    addresses = list(look.scalars(sa.select(EmailAddress.address)))
    assert all(OURS.fullmatch(address) for address in addresses)
    assert sum(not address.isascii() for address in addresses) == network.LETTERS
    phones = look.scalars(sa.select(Contact.phone).where(Contact.phone.is_not(None)))
    assert all(re.fullmatch(r"\+1 555 01\d\d", phone or "") for phone in phones)


def test_tags_everyone_as_synthetic(look: Session) -> None:
    tagged = (
        sa.select(contact_tag.c.contact_id)
        .join(Tag, Tag.id == contact_tag.c.tag_id)
        .where(Tag.key == search_key(audience.SYNTHETIC_TAG))
    )
    assert network.TAG == audience.SYNTHETIC_TAG
    assert look.scalar(sa.select(sa.func.count(Contact.id)).where(Contact.id.not_in(tagged))) == 0


# --- what became of each row ----------------------------------------------------------------------------------------------


def test_accounts_for_each_row_that_was_imported(look: Session) -> None:
    main, legacy = look.scalars(sa.select(Import).order_by(Import.id))
    assert main.counts == {"created": 1395, "updated": network.REPEATED, "unchanged": 0, "refused": 2}
    assert legacy.counts == {"created": network.LEGACY, "updated": 0, "unchanged": 0, "refused": 0}
    assert main.purposes == ["electoral_information", "event_invitation", "newsletter"]
    assert legacy.purposes == []


def test_plans_the_dirt_of_a_real_list(look: Session) -> None:
    people = network.invent().people
    assert sum("+" in one.address for one in people) == network.DUPLICATES // 3
    assert sum(one.address.startswith("rebote.") for one in people) == network.HARD
    assert sum(one.address.startswith("lleno.") for one in people) == network.SOFT
    nowhere = sa.select(sa.func.count(Contact.id)).where(Contact.city_id.is_(None), Contact.city_as_typed.is_(None))
    assert look.scalar(nowhere) == network.WITHOUT_CITY + network.WITHOUT_PLACE
    strange = sa.select(sa.func.count(Contact.id)).where(Contact.city_as_typed.is_not(None))
    assert look.scalar(strange) == network.UNKNOWN_TOWN
    assert look.scalar(sa.select(sa.func.count(Contact.id)).where(Contact.blocked_at.is_not(None))) == network.BLOCKED
    state = consent.mail_state()
    states = dict(look.execute(sa.select(state, sa.func.count()).select_from(Contact).group_by(state)).all())
    assert (states["unsubscribed"], states["complained"], states["no_consent"]) == (30, 2, 120)


# --- what happened -----------------------------------------------------------------------------------------------------------


def test_orders_the_invitation_and_leaves_a_draft(look: Session, built: tuple[Database, Settings]) -> None:
    ordered, _ = sends.find(look)
    assert [(send.campaign.name, send.state) for send in ordered] == [
        ("Taller de credencialización y registro", SendState.SCHEDULED)
    ]
    review = campaigns.review(look, campaigns.get(look, ordered[0].campaign_id), built[1])
    assert not [problem for problem in review.problems if problem.blocking]
    assert review.recipients == ordered[0].confirmed_count > 1200
    assert {"no_consent", "unsubscribed"} <= review.skipped.keys()
    assert look.scalar(sa.select(sa.func.count(Campaign.id))) == 2
    assert [(segment.name, segments.count(look, segments.parse(segment.rule)) > 100) for segment in segments.find(look)[0]] == [
        ("Estados Unidos y Canadá", True),
        ("Europa en español", True),
        ("Liderazgos", True),
    ]


def test_draws_materials_that_may_be_sent(look: Session) -> None:
    made, _ = materials.find(look)
    assert {material.language for material in made} == set(Language)
    for material in made:
        assert not materials.missing_texts(material)
        body, media_type = materials.image_for_mail(look, material)
        assert media_type == "image/png"
        assert len(body) < 100_000


def test_writes_accents_on_pictures() -> None:
    told = texts.DRAWN[Language.SPANISH]
    marked, plain = (drawings.draw(replace(told, foot=foot)) for foot in ("demostración", "demostracion"))
    assert marked != plain


def test_keeps_bad_mailboxes_from_the_first_two_hundred(look: Session, built: tuple[Database, Settings]) -> None:
    """Over 5 % of hard bounces among the first 200 would pause the send of the demo."""
    send = sends.find(look)[0][0]
    chosen = audience.people(
        look, audience.Rules.from_json(send.rule), send.purpose, list(Language), relay_is_local=True
    ).subquery()
    rows = look.execute(sa.select(chosen.c.address).where(chosen.c.reason.is_(None)).order_by(chosen.c.contact_id).limit(230))
    assert sum(address.startswith("rebote.") for (address,) in rows) == 0


def test_skips_everyone_when_the_relay_is_beyond_this_machine(look: Session, built: tuple[Database, Settings]) -> None:
    campaign = campaigns.get(look, sends.find(look)[0][0].campaign_id)
    here = campaigns.review(look, campaign, built[1])
    far = campaigns.review(look, campaign, Settings(data_dir=built[1].data_dir, smtp_url=FAR_RELAY))
    assert far.recipients == 0
    assert far.skipped["synthetic"] == here.recipients


def test_leaves_the_invitation_a_draft_when_the_relay_is_beyond_this_machine(database: Database, settings: Settings) -> None:
    demo.build(database, settings.model_copy(update={"smtp_url": FAR_RELAY}))
    with database.session(write=False) as session:
        assert sends.find(session) == ([], None)
        assert session.scalar(sa.select(sa.func.count(Campaign.id))) == 2


def test_plays_mailboxes_that_refuse(tmp_path: Path) -> None:
    local = catcher.Catcher(tmp_path)
    local.start()
    try:
        with smtplib.SMTP("127.0.0.1", local.port) as client:
            client.ehlo()
            client.mail("red@example.org")
            assert client.rcpt("rebote.001@example.org")[0] == 550
            assert client.rcpt("lleno.001@example.org")[0] == 452
            assert client.rcpt("lleno.001@example.org")[0] == 250
            assert client.rcpt("lleno.001@example.org")[0] == 452
            assert client.rcpt("rebote@example.org")[0] == 250
    finally:
        local.stop()


# --- who may sign in, and from where ----------------------------------------------------------------------------------------


def test_opens_one_account_per_role_with_one_password(built: tuple[Database, Settings]) -> None:
    database, settings = built
    access = demo.access(settings)
    assert access is not None
    assert [role for _, role in access.accounts] == list(Role)
    with database.session() as session:
        assert all(account.is_demo for account in session.scalars(sa.select(Account)))
        for email, role in access.accounts:
            account = accounts.by_email(session, email)
            assert account is not None
            assert account.role == role
    for email, _ in access.accounts:
        assert sign_in.sign_in(database, email, access.password, "127.0.0.1")[0].account_id


def test_keeps_the_password_from_other_people_of_the_machine(built: tuple[Database, Settings]) -> None:
    path = built[1].data_dir / FOLDER / ACCESS_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    access = demo.access(built[1])
    assert access is not None
    assert access.password in path.read_text(encoding="utf-8")
    assert access.password not in repr(access)


def test_knows_no_access_before_it_is_built(settings: Settings) -> None:
    assert demo.access(settings) is None


def test_refuses_to_build_over_anything(built: tuple[Database, Settings]) -> None:
    database, settings = built
    with pytest.raises(Conflict) as refused:
        demo.build(database, settings)
    assert refused.value.code == "demo_not_empty"
    assert refused.value.sentence


def test_is_empty_until_somebody_puts_something_in(session: Session) -> None:
    assert demo.is_empty(session)
    accounts.create(session, "ana@example.org", "Ana", "reading", "una contraseña larga")
    assert not demo.is_empty(session)
    assert not demo.is_demo(session)
    demo.may_listen_on(session, "0.0.0.0")  # noqa: S104  # nothing listens: the rule is asked


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "red.example.org"])  # noqa: S104
def test_refuses_to_listen_beyond_this_machine(look: Session, host: str) -> None:
    assert demo.is_demo(look)
    with pytest.raises(Conflict) as refused:
        demo.may_listen_on(look, host)
    assert refused.value.code == "demo_not_beyond"
    assert "CRM_DEMO=0" in refused.value.sentence
    for here in ("127.0.0.1", "localhost", "::1"):
        demo.may_listen_on(look, here)
