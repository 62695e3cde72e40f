"""A synthetic network for the tests of pages: direct rows, a fixed seed, addresses of example.org only."""

import random
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm import clock
from crm.config import Settings
from crm.database import keys_of, search_key
from crm.mailing import campaigns
from crm.mailing.models import Campaign, Delivery, Send, SendContent, SendState
from crm.mailing.schemas import CampaignIn, VariantIn
from crm.people import names
from crm.people.models import (
    Channel,
    City,
    Consent,
    ConsentState,
    Contact,
    EmailAddress,
    LeaderRole,
    LeaderSector,
    Organization,
    Post,
    Purpose,
    Suppression,
    SuppressionReason,
    Tag,
    contact_tag,
)

PLACES = """Los Ángeles|US|California|34.05|-118.24|America/Los_Angeles|110
Nueva York|US|New York|40.71|-74.01|America/New_York|95
Chicago|US|Illinois|41.88|-87.63|America/Chicago|85
Houston|US|Texas|29.76|-95.37|America/Chicago|70
Dallas|US|Texas|32.78|-96.80|America/Chicago|65
Phoenix|US|Arizona|33.45|-112.07|America/Phoenix|40
Las Vegas|US|Nevada|36.17|-115.14|America/Los_Angeles|38
San Diego|US|California|32.72|-117.16|America/Los_Angeles|30
Toronto|CA|Ontario|43.65|-79.38|America/Toronto|34
Montreal|CA|Quebec|45.50|-73.57|America/Toronto|26
Vancouver|CA|British Columbia|49.28|-123.12|America/Vancouver|20
Madrid|ES|Madrid|40.42|-3.70|Europe/Madrid|62
Barcelona|ES|Catalunya|41.39|2.17|Europe/Madrid|36
Londres|GB|England|51.51|-0.13|Europe/London|36
Berlín|DE|Berlin|52.52|13.40|Europe/Berlin|26
Múnich|DE|Bayern|48.14|11.58|Europe/Berlin|16
París|FR|Île-de-France|48.86|2.35|Europe/Paris|30
Ámsterdam|NL|Noord-Holland|52.37|4.90|Europe/Amsterdam|16
Ginebra|CH|Genève|46.20|6.14|Europe/Zurich|12
Roma|IT|Lazio|41.90|12.50|Europe/Rome|10
Sídney|AU|New South Wales|-33.87|151.21|Australia/Sydney|12
Tokio|JP|Tokyo|35.68|139.69|Asia/Tokyo|12
Buenos Aires|AR|Buenos Aires|-34.60|-58.38|America/Argentina/Buenos_Aires|10
São Paulo|BR|São Paulo|-23.55|-46.63|America/Sao_Paulo|4
Johannesburgo|ZA|Gauteng|-26.20|28.04|Africa/Johannesburg|2"""
GIVEN = ["Guadalupe", "Sofía", "Ximena", "Valeria", "Regina", "Itzel", "Citlali", "José", "Miguel", "Héctor", "Óscar", "Íñigo"]
SURNAMES = ["Hernández", "García", "Núñez", "Ñáñez", "Álvarez", "Ibarra", "Muñoz", "Zúñiga", "Ocampo", "Bárcenas", "De la O"]
TAGS = ("Taller", "Consulado", "Ruta Chilanga")


def build_network(session: Session, people: int = 1500) -> None:
    """Fill a database with people in 25 cities, 121 leaders, and everything that a mail's state may be."""
    chance = random.Random(2027)
    cities = _cities(session)
    weights = [int(line.split("|")[6]) for line in PLACES.splitlines()]
    tags = [Tag(name=name, key=search_key(name)) for name in TAGS]
    organizations = [
        Organization(name=f"Club Chilango de {city.name}", key=search_key(f"Club Chilango de {city.name}")) for city in cities
    ]
    session.add_all([*tags, *organizations])
    session.flush()
    contacts, homes = [], []
    for number in range(people):
        home = chance.choices(range(len(cities)), weights)[0] if chance.random() > 0.03 else None
        contacts.append(_contact(chance, number, cities[home] if home is not None else None))
        homes.append(home)
    ids = list(
        session.connection().execute(sa.insert(Contact).returning(Contact.id, sort_by_parameter_order=True), contacts).scalars()
    )
    _addresses(session, chance, ids)
    _leaders(session, chance, ids, homes, organizations)
    _insert(session, contact_tag, [{"contact_id": one, "tag_id": chance.choice(tags).id} for one in ids if chance.random() < 0.2])
    session.flush()


def _cities(session: Session) -> list[City]:
    cities = []
    for line in PLACES.splitlines():
        name, country, region, latitude, longitude, zone, _ = line.split("|")
        cities.append(
            City(
                name=name,
                search_key=search_key(name),
                country=country,
                region=region,
                latitude=float(latitude),
                longitude=float(longitude),
                zone=zone,
            )
        )
    session.add_all(cities)
    session.flush()
    return cities


def _contact(chance: random.Random, number: int, city: City | None) -> dict[str, Any]:
    given = chance.choice(GIVEN) if chance.random() > 0.05 else f"{chance.choice(GIVEN)} {chance.choice(GIVEN)}"
    first, second = chance.choice(SURNAMES), chance.choice(SURNAMES) if chance.random() > 0.07 else None
    now = clock.now() - timedelta(days=chance.randint(0, 900))
    return {
        "given_names": given,
        "first_surname": first,
        "second_surname": second,
        "city_id": city.id if city else None,
        "country": city.country if city else "US",
        "city_as_typed": None if city else "Springfield",
        "sort_key": names.order_key(given, first, second),
        "search_key": search_key(f"{given} {first} {second or ''} {address_of(number)}"),
        "language": "en" if chance.random() < 0.1 else "es",
        "created_at": now,
        "changed_at": now,
        "version": 1,
    }


def address_of(number: int) -> str:
    return f"persona{number}@example.org"


def _addresses(session: Session, chance: random.Random, ids: list[int]) -> None:
    keys, now = keys_of(session), clock.now()
    addresses: list[dict[str, Any]] = []
    consents: list[dict[str, Any]] = []
    suppressions: list[dict[str, Any]] = []
    for number, contact_id in enumerate(ids):
        if chance.random() < 0.02:
            continue
        address = address_of(number)
        mark = keys.suppression_hash(address)
        addresses.append(
            {
                "contact_id": contact_id,
                "address": address,
                "key": address,
                "suppression_hash": mark,
                "is_preferred": True,
                "created_at": now,
            }
        )
        luck = chance.random()
        if luck < 0.06:
            reason = chance.choice(
                [SuppressionReason.BOUNCED, SuppressionReason.BOUNCED, SuppressionReason.UNSUBSCRIBED, SuppressionReason.COMPLAINED]
            )
            suppressions.append(
                {
                    "address_hash": mark,
                    "key_fingerprint": keys.suppression_fingerprint,
                    "reason": reason,
                    "happened_on": now.date(),
                    "proof": "",
                    "recorded_at": now,
                }
            )
        if luck < 0.92:
            consents.append(
                {
                    "contact_id": contact_id,
                    "purpose": Purpose.ELECTORAL_INFORMATION,
                    "channel": Channel.EMAIL,
                    "state": ConsentState.GRANTED,
                }
                | {"evidence": "taller", "source": "import", "recorded_at": now}
            )
    _insert(session, EmailAddress, addresses)
    _insert(session, Consent, consents)
    _insert(session, Suppression, suppressions)


def _leaders(
    session: Session, chance: random.Random, ids: list[int], homes: list[int | None], organizations: list[Organization]
) -> None:
    chosen = chance.sample(range(len(ids)), min(121, len(ids)))
    roles = [{"contact_id": ids[place], "sector": chance.choices(list(LeaderSector), [54, 24, 26, 17])[0]} for place in chosen]
    _insert(session, LeaderRole, roles)
    posts = [
        {"contact_id": ids[place], "organization_id": organizations[homes[place] or 0].id, "title": "Presidencia"}
        for place in chosen
    ]
    _insert(session, Post, posts)


def _insert(session: Session, table: Any, rows: list[dict[str, Any]]) -> None:
    if rows:
        session.connection().execute(sa.insert(table), rows)


# --- a send in the middle ------------------------------------------------------------------------------------------------------


def build_send(session: Session, state: SendState = SendState.PAUSED, accepted: int = 900) -> Send:
    """A send to the whole network with people in every state of the ledger; `accepted` mails over ten minutes."""
    campaign = _campaign(session)
    begun = clock.now() - timedelta(minutes=12)
    send = Send(
        campaign_id=campaign.id, state=state, reason="by_person" if state is SendState.PAUSED else None, mode="now",
        starts_at=begun, started_at=begun, confirmed_count=1400, include=[], exclude=[],
        rule={"include": [], "exclude": []},
        purpose=campaign.purpose, ordered_by_kind="account", ordered_by_id=1,
    )  # fmt: skip
    session.add(send)
    session.flush()
    for (language, shown), compiled in campaigns.compile_variants(session, campaign, Settings()).items():
        session.add(
            SendContent(send_id=send.id, language=language, shown=shown, compiled=compiled.to_json(), sha256=compiled.sha256)
        )
    people = session.execute(
        sa.select(Contact.id, Contact.language, EmailAddress.address, EmailAddress.suppression_hash)
        .outerjoin(EmailAddress, EmailAddress.contact_id == Contact.id)
        .order_by(Contact.id)
    ).all()
    _insert(session, Delivery, [_delivery(send, number, person, accepted, begun) for number, person in enumerate(people)])
    session.flush()
    return send


def _campaign(session: Session) -> Campaign:
    variants = [
        VariantIn.model_validate(
            {
                "language": language,
                "subject": subject,
                "blocks": [{"type": "cover", "title": subject}, {"type": "text", "body": body}],
            }
        )
        for language, subject, body in (
            ("es", "Taller de credencialización", "{{ saludo }}\n\nLe invitamos al **taller en línea** del 10 de diciembre."),
            ("en", "Voter card workshop", "{{ saludo }}\n\nYou are invited to the **online workshop** of 10 December."),
        )
    ]
    data = CampaignIn(
        name="Invitación al Taller de credencialización", template="invitation", purpose=Purpose.EVENT_INVITATION, variants=variants
    )
    return campaigns.create(session, data)


def _delivery(send: Send, number: int, person: Any, accepted: int, begun: datetime) -> dict[str, Any]:
    state, reason, reply = _fate(number, person, accepted)
    settled = begun + timedelta(seconds=600 * min(number, accepted) / accepted) if state != "pending" else None
    return {
        "send_id": send.id, "contact_id": person.id, "address": person.address, "address_hash": person.suppression_hash,
        "language": person.language, "state": state, "reason": reason, "due_at": begun, "attempts": 1, "settled_at": settled,
        "smtp_code": int(reply[:3]) if reply else None, "smtp_reply": reply[4:] if reply else None,
    }  # fmt: skip


def _fate(number: int, person: Any, accepted: int) -> tuple[str, str | None, str | None]:
    if person.address is None:
        return "skipped", "no_address", None
    if number % 20 == 0:
        return "skipped", ("no_consent", "unsubscribed", "suppressed")[number // 20 % 3], None
    if number % 71 == 0:
        return "failed", "mailbox_unknown", f"550 5.1.1 <{person.address}>: no such user"
    if number % 97 == 0:
        return "deferred", "mailbox_full", "452 4.2.2 mailbox full"
    if number % 301 == 0:
        return "in_doubt", "no_clear_answer", None
    return ("sent", None, "250 2.0.0 accepted") if number < accepted * 1.1 else ("pending", None, None)
