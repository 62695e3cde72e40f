"""How the values of a rule are called in Spanish, and the values that a form offers."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from typing import Any

import sqlalchemy as sa
from babel.dates import format_date
from sqlalchemy.orm import Session

from crm.database import sort_key
from crm.mailing.models import Campaign, Send
from crm.mailing.segment_values import Value
from crm.people import places
from crm.people.gazetteer import gazetteer
from crm.people.gazetteer import key as region_key
from crm.people.models import City, Contact, Import, Language, Organization, Tag, visible
from crm.people.organizations import organization_key
from crm.people.tags import tag_key
from crm.people.words import PURPOSE_WORDS, SECTOR_WORDS

Names = Callable[[Session, Sequence[Any]], Mapping[Any, str]]
"""The words of each value that means something; a value that is missing there finds nobody."""
Options = Callable[[Session], list[tuple[Value, str]]]
"""Values that a form offers with their words, in Spanish order."""

OPTION_LIMIT = 1_000

SECTORS = {sector.value: words.lower() for sector, words in SECTOR_WORDS.items()}
LANGUAGES = {Language.SPANISH.value: "español", Language.ENGLISH.value: "inglés"}
PURPOSES = {purpose.value: words for purpose, words in PURPOSE_WORDS.items()}
MAIL_STATES = {
    "ok": "en condiciones de recibir correo",
    "no_consent": "sin consentimiento registrado",
    "unsubscribed": "de baja",
    "bounced": "con un buzón que rebotó",
    "complained": "con una queja por correo no deseado",
    "no_address": "sin dirección de correo",
}
CONSENT_ANSWERS = {
    "not_asked": "por preguntar",
    "silent": "sin respuesta",
    "exhausted": "sin respuesta tras tres solicitudes",
    "granted": "aceptó",
    "left": "pidió la baja",
    "unreached": "no le llegó",
}
TRUTHS = {True: "sí", False: "no"}


def as_told(_: Session, told: Sequence[Any]) -> Mapping[Any, str]:
    """Each value in its own words."""
    return {value: str(value) for value in told}


def quoted(_: Session, told: Sequence[Any]) -> Mapping[Any, str]:
    return {value: quote(str(value)) for value in told}


def quote(text: str) -> str:
    return f"«{text}»"


def of(labels: Mapping[str, str]) -> Names:
    """The names of a closed list."""
    return lambda _, told: {value: labels[value] for value in told}


def fixed(labels: Mapping[Any, str]) -> Options:
    """The options of a closed list, in its own order."""
    return lambda _: [(value, label) for value, label in labels.items()]


def day(text: str) -> str:
    """`1 de noviembre de 2026`."""
    return format_date(date.fromisoformat(text), "d 'de' MMMM 'de' y", locale="es_MX")


def _in_order(options: Iterable[tuple[Value, str]]) -> list[tuple[Value, str]]:
    return sorted(options, key=lambda option: (sort_key(option[1]), str(option[0])))[:OPTION_LIMIT]


def _distinct(session: Session, column: Any) -> list[Any]:
    statement = sa.select(column).where(column.is_not(None), column != "", visible())
    return list(session.scalars(statement.distinct().limit(OPTION_LIMIT)))


# --- where people live ------------------------------------------------------------------------------------------


def countries(_: Session, told: Sequence[Any]) -> Mapping[Any, str]:
    return {code: places.country_name(code) for code in told}


def country_options(session: Session) -> list[tuple[Value, str]]:
    return _in_order((code, places.country_name(code)) for code in _distinct(session, Contact.country))


def split_region(text: str) -> tuple[str, str | None]:
    """`California, US` as its name and country; a name alone is of any country."""
    name, comma, tail = text.rpartition(",")
    country = places.country_code(tail) if comma else None
    return (name.strip(), country) if country and name.strip() else (text, None)


def regions(session: Session, told: Sequence[Any]) -> Mapping[Any, str]:
    split = {text: split_region(text) for text in told}
    by_hand = set(session.scalars(sa.select(City.region).where(City.region.in_([name for name, _ in split.values()])).distinct()))
    known = {}
    for text, (name, country) in split.items():
        found = [region for region in gazetteer().regions(region_key(name)) if country in (None, region.country)]
        if found or name in by_hand:
            shown = found[0].name if len({region.name for region in found}) == 1 else name
            known[text] = f"{shown} ({places.country_name(country)})" if country else shown
    return known


def region_options(session: Session) -> list[tuple[Value, str]]:
    rows = session.execute(
        sa.select(City.region, City.country)
        .join(Contact, Contact.city_id == City.id)
        .where(City.region != "", visible())
        .distinct()
    )
    return _in_order((f"{region}, {country}", f"{region} ({places.country_name(country)})") for region, country in rows)


def cities(session: Session, told: Sequence[Any]) -> Mapping[Any, str]:
    """Short names; with region and country where two of them are called alike."""
    short, long = {}, {}
    rows = {city.id: city for city in session.scalars(sa.select(City).where(City.id.in_(_numbers(told))))}
    keys = {tag_key(text): text for text in _texts(told)}
    by_hand = {
        city.search_key: city
        for city in session.scalars(sa.select(City).where(City.geoname_id.is_(None), City.search_key.in_(keys)))
    }
    for value in told:
        found = rows.get(value) if isinstance(value, int) else places.resolve(value).place or by_hand.get(tag_key(value))
        if found is not None:
            short[value] = found.name
            long[value] = f"{found.name} ({', '.join(filter(None, (found.region, places.country_name(found.country))))})"
    alike = Counter(short.values())
    return {value: name if alike[name] == 1 else long[value] for value, name in short.items()}


def city_options(session: Session) -> list[tuple[Value, str]]:
    rows = session.execute(
        sa.select(City.id, City.name, City.region, City.country)
        .join(Contact, Contact.city_id == City.id)
        .where(visible())
        .distinct()
    )
    return _in_order(
        (number, f"{name} ({', '.join(filter(None, (region, places.country_name(country))))})")
        for number, name, region, country in rows
    )


def zone_options(session: Session) -> list[tuple[Value, str]]:
    rows = session.scalars(sa.select(City.zone).join(Contact, Contact.city_id == City.id).where(visible()).distinct())
    return _in_order((zone, zone) for zone in rows)


# --- what they are in the Red ------------------------------------------------------------------------------------------


def _numbers(told: Sequence[Any]) -> list[int]:
    return [value for value in told if isinstance(value, int)]


def _texts(told: Sequence[Any]) -> list[str]:
    return [value for value in told if isinstance(value, str)]


def tags(session: Session, told: Sequence[Any]) -> Mapping[Any, str]:
    keys = {name: tag_key(name) for name in told}
    rows = dict(session.execute(sa.select(Tag.key, Tag.name).where(Tag.key.in_(keys.values()))).all())
    return {name: quote(rows[key]) for name, key in keys.items() if key in rows}


def tag_options(session: Session) -> list[tuple[Value, str]]:
    return _in_order((name, name) for name in session.scalars(sa.select(Tag.name).order_by(Tag.key).limit(OPTION_LIMIT)))


def organizations(session: Session, told: Sequence[Any]) -> Mapping[Any, str]:
    keys = {name: organization_key(name) for name in _texts(told)}
    chosen = sa.or_(Organization.id.in_(_numbers(told)), Organization.key.in_(keys.values()))
    rows = session.execute(sa.select(Organization.id, Organization.key, Organization.name).where(chosen)).all()
    found: dict[Any, str] = {row.id: row.name for row in rows} | {row.key: row.name for row in rows}
    wanted = {value: keys.get(value, value) for value in told}
    return {value: quote(found[key]) for value, key in wanted.items() if key in found}


def organization_options(session: Session) -> list[tuple[Value, str]]:
    rows = session.execute(sa.select(Organization.id, Organization.name).order_by(Organization.key).limit(OPTION_LIMIT))
    return _in_order((number, name) for number, name in rows)


def campaigns(session: Session, told: Sequence[Any]) -> Mapping[Any, str]:
    rows = session.execute(sa.select(Campaign.id, Campaign.name).where(Campaign.id.in_(told)))
    return {number: quote(name) for number, name in rows}


def campaign_options(session: Session) -> list[tuple[Value, str]]:
    """Newest first."""
    rows = session.execute(sa.select(Campaign.id, Campaign.name).order_by(Campaign.id.desc()).limit(OPTION_LIMIT))
    return [(number, name) for number, name in rows]


def sends(session: Session, told: Sequence[Any]) -> Mapping[Any, str]:
    rows = session.execute(sa.select(Send.id, Campaign.name).join(Campaign).where(Send.id.in_(told)))
    return {number: f"{number} ({quote(name)})" for number, name in rows}


def send_options(session: Session) -> list[tuple[Value, str]]:
    """Newest first."""
    rows = session.execute(sa.select(Send.id, Campaign.name).join(Campaign).order_by(Send.id.desc()).limit(OPTION_LIMIT))
    return [(number, f"{number} ({name})") for number, name in rows]


def sources(session: Session, told: Sequence[Any]) -> Mapping[Any, str]:
    rows = session.scalars(sa.select(Contact.source).where(Contact.source.in_(told)).distinct())
    return {name: quote(name) for name in rows if name is not None}


def source_options(session: Session) -> list[tuple[Value, str]]:
    return _in_order((name, name) for name in _distinct(session, Contact.source))


def imports(session: Session, told: Sequence[Any]) -> Mapping[Any, str]:
    rows = session.execute(sa.select(Import.id, Import.file_name).where(Import.id.in_(told)))
    return {number: f"{number} ({quote(name)})" for number, name in rows}


def import_options(session: Session) -> list[tuple[Value, str]]:
    """Newest first."""
    rows = session.execute(sa.select(Import.id, Import.file_name).order_by(Import.id.desc()).limit(OPTION_LIMIT))
    return [(number, f"{number} ({name})") for number, name in rows]
