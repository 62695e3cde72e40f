"""What a segment may ask about a person: each field with its operators, its SQL, its names and its words.

No condition is ever unknown: on a missing value it is false, and its negation true, alike on both engines. Each is an
EXISTS, an IN beside IS NOT NULL, or a COALESCE.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import InstrumentedAttribute, aliased

from crm.database import contains
from crm.mailing import consent_requests
from crm.mailing import segment_names as names
from crm.mailing import segment_values as values
from crm.mailing.consent_requests import Answer
from crm.mailing.models import Delivery, DeliveryState, Send
from crm.mailing.segment_names import Names, Options
from crm.mailing.segment_values import Reader
from crm.people import consent, places
from crm.people.gazetteer import gazetteer
from crm.people.gazetteer import key as region_key
from crm.people.models import (
    City,
    ConsentState,
    Contact,
    ImportRow,
    Language,
    LeaderRole,
    LeaderSector,
    Organization,
    Post,
    Purpose,
    RowStatus,
    Tag,
    contact_tag,
)
from crm.people.organizations import organization_key
from crm.people.tags import tag_key

LIST_OPERATORS = ("in", "not_in")
NEGATIVE_OPERATORS = ("not_in", "is_not")
CHOICE = ("in", "not_in", "is", "is_not")
DATES = ("before", "after", "within_days")
OPERATOR_LABELS = {
    "in": "es alguno de",
    "not_in": "no es ninguno de",
    "is": "es",
    "is_not": "no es",
    "contains": "contiene",
    "before": "antes del",
    "after": "después del",
    "within_days": "en los últimos días",
}

Told = Sequence[Any]
Matching = Callable[[str, Told], sa.ColumnElement[bool]]
"""SQL over Contact for a test (`in`, `contains`, `before`, `after`, `within_days`) and its values."""


@dataclass(frozen=True)
class Reading:
    """How one value is read, and what is asked for when it cannot be."""

    read: Reader
    expected: str


@dataclass(frozen=True)
class Words:
    """How a condition is said of many and of one: verb, then what follows it for each test. ``{}`` takes the values."""

    many: str
    one: str
    rest: dict[str, str]
    never: tuple[str, str] | None = None
    """What follows the verb, and what follows it negated, where the negation has other words."""


@dataclass(frozen=True)
class Field:
    """One field of the catalogue."""

    name: str
    label: str
    kind: str
    """What the form shows: `choice`, `number`, `text`, `date` or `truth`."""
    operators: tuple[str, ...]
    value: Reading
    matches: Matching
    words: Words
    names: Names = names.as_told
    """The words of its values; a value that is missing there is of nothing that we know."""
    options: Options | None = None

    def reading(self, op: str) -> Reading:
        """How a value is read under an operator."""
        return {"before": _DATE, "after": _DATE, "within_days": _DAYS}.get(op, self.value)


_DATE = Reading(values.read_date, "una fecha como 2027-01-15")
_DAYS = Reading(values.read_days, f"un número de días entre 1 y {values.DAYS_LIMIT:,}")


# --- SQL ------------------------------------------------------------------------------------------


def _one_of(column: Any) -> Matching:
    return lambda _, told: sa.and_(column.is_not(None), column.in_(told))


def _ids(column: Any, chosen: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """A list of ids that stands by itself, whatever tables the statement around it reads."""
    return sa.select(column).where(chosen).correlate(None)


def _in_city(chosen: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    return sa.and_(Contact.city_id.is_not(None), Contact.city_id.in_(_ids(City.id, chosen)))


def _exists(link: Any, *chosen: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    """Whether the person has a row; ``link`` is its column of Contact.id."""
    return sa.exists().where(link == Contact.id, *chosen).correlate(Contact)


def _region(_: str, told: Told) -> sa.ColumnElement[bool]:
    """`California`, `California, US`, `Cataluña`: by the gazetteer's code, or by name for a city added by hand."""
    chosen: list[sa.ColumnElement[bool]] = []
    for name, country in map(names.split_region, told):
        within = City.country == country if country else sa.true()
        found = [region for region in gazetteer().regions(region_key(name)) if country in (None, region.country)]
        codes = [sa.and_(City.country == region.country, City.region_code == region.code) for region in found]
        chosen += [*codes, sa.and_(City.region == name, within)]
    return _in_city(sa.or_(*chosen))


def _city(_: str, told: Told) -> sa.ColumnElement[bool]:
    """By our id, by the city that the gazetteer finds under a name, or by the name of a city added by hand."""
    ids = [value for value in told if isinstance(value, int)]
    found = {text: places.resolve(text).place for text in told if isinstance(text, str)}
    geonames = [place.geoname_id for place in found.values() if place]
    keys = [tag_key(text) for text, place in found.items() if place is None]
    by_hand = sa.and_(City.geoname_id.is_(None), City.search_key.in_(keys))
    return _in_city(sa.or_(City.id.in_(ids), City.geoname_id.in_(geonames), by_hand))


def _zone(_: str, told: Told) -> sa.ColumnElement[bool]:
    return _in_city(City.zone.in_(told))


def _tag(_: str, told: Told) -> sa.ColumnElement[bool]:
    keys = [tag_key(name) for name in told]
    return _exists(contact_tag.c.contact_id, contact_tag.c.tag_id.in_(_ids(Tag.id, Tag.key.in_(keys))))


def _leader(*_: object) -> sa.ColumnElement[bool]:
    return _exists(LeaderRole.contact_id, LeaderRole.until.is_(None))


def _sector(_: str, told: Told) -> sa.ColumnElement[bool]:
    return _exists(LeaderRole.contact_id, LeaderRole.until.is_(None), LeaderRole.sector.in_(told))


def _organization(_: str, told: Told) -> sa.ColumnElement[bool]:
    ids = [value for value in told if isinstance(value, int)]
    keys = [organization_key(value) for value in told if isinstance(value, str)]
    chosen = _ids(Organization.id, sa.or_(Organization.id.in_(ids), Organization.key.in_(keys)))
    return _exists(Post.contact_id, Post.until.is_(None), Post.organization_id.in_(chosen))


def _consent(_: str, told: Told) -> sa.ColumnElement[bool]:
    granted = [consent.standing(Purpose(purpose)) == ConsentState.GRANTED for purpose in told]
    return sa.or_(*(sa.func.coalesce(each, sa.false()) for each in granted))


@cache
def _state_of_mail() -> sa.ColumnElement[str]:
    """Built once: building it takes longer than asking it of a thousand people."""
    return consent.mail_state()


def _mail_state(_: str, told: Told) -> sa.ColumnElement[bool]:
    return _state_of_mail().in_(told)


@cache
def _answer() -> sa.ColumnElement[str | None]:
    return consent_requests.answer()


def _consent_request(_: str, told: Told) -> sa.ColumnElement[bool]:
    return sa.func.coalesce(_answer(), "").in_(told)


def _of_person(link: Any, *chosen: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    """As `_exists`, of the person or of a record that was joined into theirs."""
    joined = aliased(Contact)
    theirs = sa.select(joined.merged_into_id).join_from(joined, link.class_, link == joined.id)
    theirs = theirs.where(joined.merged_into_id.is_not(None), *chosen).correlate(None)
    return sa.or_(_exists(link, *chosen), Contact.id.in_(theirs))


def _sent(*chosen: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    """Whether the server accepted a mail to the person."""
    return _of_person(Delivery.contact_id, Delivery.state == DeliveryState.SENT, *chosen)


def _last_written(test: str, told: Told) -> sa.ColumnElement[bool]:
    if test == "in":
        return sa.not_(_sent())
    if test == "before":
        return sa.and_(_sent(), sa.not_(_sent(Delivery.settled_at >= values.start_of(told[0]))))
    return _sent(_since(Delivery.settled_at, test, told))


def _since(column: InstrumentedAttribute[Any], test: str, told: Told) -> sa.ColumnElement[bool]:
    return column >= (values.start_of(told[0], days_later=1) if test == "after" else values.days_ago(told[0]))


def _received(_: str, told: Told) -> sa.ColumnElement[bool]:
    return _sent(Delivery.send_id.in_(_ids(Send.id, Send.campaign_id.in_(told))))


def _sent_in(_: str, told: Told) -> sa.ColumnElement[bool]:
    """Whoever was sent it, and whoever may have been: a correction must reach both."""
    states = (DeliveryState.SENT, DeliveryState.IN_DOUBT)
    return _of_person(Delivery.contact_id, Delivery.send_id.in_(told), Delivery.state.in_(states))


def _imported(_: str, told: Told) -> sa.ColumnElement[bool]:
    """Whoever an import created or completed."""
    changed = (RowStatus.CREATED, RowStatus.UPDATED)
    return _of_person(ImportRow.contact_id, ImportRow.import_id.in_(told), ImportRow.status.in_(changed))


def _text(_: str, told: Told) -> sa.ColumnElement[bool]:
    return contains(Contact.search_key, told[0])


def _created(test: str, told: Told) -> sa.ColumnElement[bool]:
    if test == "before":
        return Contact.created_at < values.start_of(told[0])
    return _since(Contact.created_at, test, told)


# --- the catalogue ------------------------------------------------------------------------------------------

_NAME = Reading(values.read_text, "un texto de hasta 200 caracteres")
_ID = Reading(values.read_id, "el número de un registro")

_CATALOGUE = (
    Field(
        "country", "País", "choice", CHOICE,
        Reading(values.read_country, "un país, por su nombre o su clave de dos letras"),
        _one_of(Contact.country), Words("viven", "vive", {"in": "en {}"}), names.countries, names.country_options,
    ),
    Field(
        "region", "Estado o provincia", "choice", CHOICE, _NAME,
        _region, Words("viven", "vive", {"in": "en el estado o provincia de {}"}), names.regions, names.region_options,
    ),
    Field(
        "city", "Ciudad", "choice", CHOICE,
        Reading(values.read_city, "una ciudad, por su nombre o su número"),
        _city, Words("viven", "vive", {"in": "en la ciudad de {}"}), names.cities, names.city_options,
    ),
    Field(
        "zone", "Zona horaria", "choice", CHOICE,
        Reading(values.read_zone, "una zona horaria como America/Chicago"),
        _zone, Words("viven", "vive", {"in": "en la zona horaria {}"}), options=names.zone_options,
    ),
    Field(
        "tag", "Etiqueta", "choice", CHOICE, _NAME,
        _tag, Words("tienen", "tiene", {"in": "la etiqueta {}"}), names.tags, names.tag_options,
    ),
    Field(
        "leader", "Liderazgo", "truth", ("is", "is_not"),
        Reading(values.read_truth, "true o false"),
        _leader, Words("forman", "forma", {"in": "parte del liderazgo de la Red"}), options=names.fixed(names.TRUTHS),
    ),
    Field(
        "sector", "Sector de liderazgo", "choice", CHOICE,
        Reading(values.one_of(LeaderSector), "uno de los cuatro sectores: " + ", ".join(LeaderSector)),
        _sector, Words("ejercen", "ejerce", {"in": "liderazgo en {}"}), names.of(names.SECTORS), names.fixed(names.SECTORS),
    ),
    Field(
        "organization", "Organización", "choice", CHOICE,
        Reading(values.read_id_or_name, "una organización, por su nombre o su número"),
        _organization, Words("pertenecen", "pertenece", {"in": "a {}"}), names.organizations, names.organization_options,
    ),
    Field(
        "language", "Idioma", "choice", CHOICE,
        Reading(values.one_of(Language), "es o en"),
        _one_of(Contact.language), Words("tienen", "tiene", {"in": "como idioma {}"}),
        names.of(names.LANGUAGES), names.fixed(names.LANGUAGES),
    ),
    Field(
        "consent", "Consentimiento vigente", "choice", CHOICE,
        Reading(values.one_of(Purpose), "una de las finalidades: " + ", ".join(Purpose)),
        _consent, Words("dieron", "dio", {"in": "su consentimiento para {}"}),
        names.of(names.PURPOSES), names.fixed(names.PURPOSES),
    ),
    Field(
        "mail_state", "Estado del correo", "choice", CHOICE,
        Reading(values.one_of(consent.MAIL_STATES), "uno de los estados: " + ", ".join(consent.MAIL_STATES)),
        _mail_state, Words("están", "está", {"in": "{}"}), names.of(names.MAIL_STATES), names.fixed(names.MAIL_STATES),
    ),
    Field(
        "consent_request", "Solicitud de consentimiento", "choice", CHOICE,
        Reading(values.one_of(Answer), "una de las respuestas: " + ", ".join(Answer)),
        _consent_request, Words("tienen", "tiene", {"in": "la solicitud de consentimiento {}"}),
        names.of(names.CONSENT_ANSWERS), names.fixed(names.CONSENT_ANSWERS),
    ),
    Field(
        "last_written", "Último correo enviado", "date", ("is", "is_not", *DATES),
        Reading(values.read_never, "never (nunca)"),
        _last_written,
        Words(
            "tienen", "tiene",
            {
                "before": "su último correo enviado antes del {}",
                "after": "correos enviados después del {}",
                "within_days": "correos enviados en los últimos {} días",
            },
            never=("ningún correo enviado", "algún correo enviado"),
        ),
        options=names.fixed({values.NEVER: "nunca"}),
    ),
    Field(
        "received", "Campaña enviada", "choice", CHOICE, _ID,
        _received, Words("fueron destinatarias", "fue destinataria", {"in": "de la campaña {}"}),
        names.campaigns, names.campaign_options,
    ),
    Field(
        "sent_in", "Envío que recibió", "choice", CHOICE, _ID,
        _sent_in, Words("recibieron", "recibió", {"in": "o pudieron recibir el envío {}"}),
        names.sends, names.send_options,
    ),
    Field(
        "text", "Texto", "text", ("contains",),
        Reading(values.read_search, "un texto de hasta 200 caracteres"),
        _text, Words("tienen", "tiene", {"contains": "{} en su nombre, correo o cargo"}), names.quoted,
    ),
    Field(
        "created", "Entrada a la Red", "date", DATES, _DATE, _created,
        Words(
            "entraron", "entró",
            {
                "before": "a la Red antes del {}",
                "after": "a la Red después del {}",
                "within_days": "a la Red en los últimos {} días",
            },
        ),
    ),
    Field(
        "source", "Origen", "choice", CHOICE, _NAME,
        _one_of(Contact.source), Words("tienen", "tiene", {"in": "como origen {}"}), names.sources, names.source_options,
    ),
    Field(
        "import", "Importación", "choice", CHOICE, _ID,
        _one_of(Contact.import_id), Words("entraron", "entró", {"in": "con la importación {}"}),
        names.imports, names.import_options,
    ),
    Field(
        "imported", "Creada o actualizada por la importación", "choice", CHOICE, _ID,
        _imported, Words("figuran", "figura", {"in": "como altas o cambios en la importación {}"}),
        names.imports, names.import_options,
    ),
)  # fmt: skip

FIELDS = {each.name: each for each in _CATALOGUE}
