"""What the columns of a spreadsheet mean, and a row of it as the `ContactIn` that both doors take in.

Headers are matched by Spanish and English synonyms, without accents, case, spaces or punctuation: «E-mail (1)» is `email1`.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import permutations
from typing import Any

from pydantic import ValidationError

from crm import sheets
from crm.database import search_key
from crm.errors import InvalidInput
from crm.people.addresses import read_address
from crm.people.encodings import ENCODINGS, as_read_in
from crm.people.full_names import seems_turned, split_full_name, split_surnames, split_surnames_first
from crm.people.models import Language, LeaderSector, Treatment
from crm.people.schemas import ConsentIn, ContactIn

_SYNONYMS = """
given_names: nombres nombredepila primernombre givenname givennames firstname firstnames forename
name: nombre name
first_surname: primerapellido apellidopaterno paterno apellido1 firstsurname firstlastname
second_surname: segundoapellido apellidomaterno materno apellido2 secondsurname secondlastname
surnames: apellidos apellido surname surnames lastname lastnames familyname
full_name: nombrecompleto nombreyapellidos nombreyapellido nombresyapellidos nombredelapersona persona contacto fullname
    contactname contact person
surnames_first: nombrecompletoapellidosprimero nombrecompletoporapellidos
    apellidosynombres apellidosynombre apellidoynombre apellidosnombres apellidosnombre nombreporapellidos
    lastnamefirstname surnameandname
preferred_name: nombrepreferido nombredeuso comoprefierequelellamen comoquierequelellamen apodo preferredname nickname
treatment: trato tratamiento saludo treatment salutation
academic_title: titulo tituloacademico gradoacademico grado title academictitle
emails: correo correos correoelectronico correoselectronicos email emails mail direcciondecorreo direcciondecorreoelectronico
    correoprincipal correoalterno correoalternativo correosecundario otrocorreo correopersonal correodetrabajo
    correoinstitucional emailaddress primaryemail secondaryemail workemail personalemail
phone: telefono telefonos tel celular movil whatsapp telefonocelular telefonomovil numerodetelefono phone phonenumber mobile
    cellphone
city: ciudad localidad ciudadderesidencia ciudaddondevive ciudaddondereside ciudadestadopais ciudadestadoypais ciudadypais
    ciudadpais ciudadyestado ciudadestado city town cityofresidence citystatecountry citystate
region: estado provincia region entidad entidadfederativa estadoprovincia provinciaestado estadooprovincia state province
    stateprovince stateorprovince
country: pais paisderesidencia paisdondevive paisdondereside clavedelpais country countryofresidence countrycode
language: idioma idiomapreferido lengua language preferredlanguage
home_borough: alcaldia alcaldiadeorigen delegacion delegaciondeorigen municipiodeorigen borough homeborough
tags: etiqueta etiquetas grupo grupos tag tags label labels
leader_sectors: sector sectores liderazgo liderazgos lider eslider sectordeliderazgo sectorliderazgo sectordelider sectorlider
    tipodeliderazgo leader leadership leadersector leadersectors isleader sectors
organization: organizacion organizaciones nombredelaorganizacion asociacion agrupacion federacion club institucion empresa
    organization organisation company institution
post: cargo puesto funcion post position jobtitle role job
source: fuente origendelcontacto comonosconocio source
"""
"""Fields and, after the colon, the headers that name them, without accents, spaces or punctuation."""
_FIELDS = {word: name for name, words in re.findall(r"^(\w+):([^:]*)(?=^\w|\Z)", _SYNONYMS, re.MULTILINE) for word in words.split()}
MANY = frozenset({"emails", "tags", "leader_sectors"})
"""Fields that hold several values; of any other one, the first column that is filled counts."""
_PERSON = frozenset({"given_names", "first_surname", "second_surname", "surnames", "full_name", "surnames_first", "emails"})
_INVISIBLE = re.compile("[\u200b\u200e\u200f\u2060\ufeff\u00ad]")
_NOTHING = frozenset({"-", "--", "---", "–", "—", "n/a", "#n/a", "s/d", "s/n"})
_LONGEST_NOTHING = max(map(len, _NOTHING))
_BETWEEN_ADDRESSES = re.compile(r"[;,\s]+")
_BETWEEN_TAGS = re.compile(r"[;,|]")
_BETWEEN_SECTORS = re.compile(r"[;,|/]")
_NO_ADDRESS = frozenset({"no tiene", "ninguno", "ninguna", "sin correo", "no", "x", "pendiente"})

_LANGUAGES = dict.fromkeys(("es", "esp", "espanol", "castellano", "spanish", "es-mx"), Language.SPANISH) | dict.fromkeys(
    ("en", "ing", "ingles", "english", "en-us"), Language.ENGLISH
)
_TREATMENTS = {
    "estimada": Treatment.ESTIMADA,
    "estimado": Treatment.ESTIMADO,
    "neutral": Treatment.NEUTRAL,
    "neutro": Treatment.NEUTRAL,
}
_SECTORS = {
    LeaderSector.COMMUNITY_DEVELOPMENT: "community_development|community development|desarrollo comunitario|comunitario|comunidad"
    "|desarrollo de la comunidad|community",
    LeaderSector.BUSINESS: "business|negocios|negocio|empresarial|empresa|empresas|comercio",
    LeaderSector.ACADEMIA: "academia|academico|academica|academic|educacion|universidad",
    LeaderSector.CULTURE: "culture|cultura|cultural|arte|artes|arte y cultura",
}
_SECTOR_OF = {word: sector for sector, words in _SECTORS.items() for word in words.split("|")}
_FORBIDDEN = re.compile(
    r"\bcurp\b|\bclave unica\b|\b(clave|cve) (\w+ ){0,2}(elec\w*|ine|ife)\b|\bvoter\b"
    r"|\b(ine|ife) (vigente|vencida|folio|numero|num|no)\b|^(ine|ife|ocr|cic)( ine| ife)?( \d+)?$"
    r"|\b(credencial|folio|numero|num|no|nro|registro|seccion|vigencia) (\w+ ){0,2}(ine|ife|elector|electoral|votar)\b"
    r"|\b(intencion|sentido|modalidad|preferencia|tendencia) (\w+ ){0,2}(voto|votacion|electoral|politica)\b"
    r"|^(el |su )?(voto|votos|vote|votacion)( (en )?\d+)?$|\bpor quien (voto|vota|votaria)\b|\bvot(o|aste|aria) por\b|\bvoting\b"
    r"|\bpartidos?\b|\bpart(y|isan)\b|\bmilitan\w*|\bsimpatizantes?\b|\bpartidistas?\b|\bafiliacion (politica|electoral)\b"
    r"|\b(estatus|status|situacion|condicion|calidad|estado|estancia) (\w+ )?(migratori[ao]|(in)?migrante|legal|visa)\b"
    r"|\bmigratory\b|\bimmigration\b|\bvisa\b|\bindocumentad[ao]s?\b|\bundocumented\b|\bgreen ?card\b|\bresidencia permanente\b"
)
"""Headers of what the Red must not hold: documents of voters, party, vote, migratory status (Ley General de Protección de Datos
Personales en Posesión de Sujetos Obligados: sensitive, or more than the purpose needs). In small letters,
words parted by one space."""
_CONSENT = re.compile(r"consent|\bacept|\bautoriz|\bsuscri|\bopt.?in\b|\bagree")
"""Headers that seem to say who agreed."""
_SUMS = re.compile(r"\s*(sub|gran )?total(es)?\b[\W\d]*$")
"""What stands for a name where a list is summed up: "TOTAL", "Total: 6"."""
_DOCUMENT = re.compile(r"[A-ZÑ]{4}\d{6}[HMX][A-ZÑ]{5}[A-Z\d]\d|[A-ZÑ]{6}\d{8}[HM]\d{3}")
"""A CURP or a clave de elector: each has 18 signs."""
_DIGITS = re.compile(r"\d\W{0,3}\d\W{0,3}\d")
_SIGNS = re.compile(r"[\W_]+")
_IN_EXPONENT = re.compile(r"[+-]?\d+(?:[.,]\d+)?[eE]\+?\d{1,3}")
_YES = frozenset({"si", "yes", "y", "s", "true", "verdadero", "1", "x", "lider", "leader"})
_NO = frozenset({"no", "n", "false", "falso", "0", "ninguno", "ninguna", "none"})


@dataclass(frozen=True)
class Columns:
    """Which columns feed which fields. ``indexes`` counts columns from 0; ``unmatched`` are the headers not understood."""

    headers: list[str]
    indexes: dict[str, list[int]]
    unmatched: list[str]
    forbidden: frozenset[int] = frozenset()
    """Columns that are not read, whatever a person says of them."""

    @property
    def not_read(self) -> list[str]:
        """The headers of the columns that must not be read."""
        return [self.headers[index] or f"Columna {index + 1}" for index in sorted(self.forbidden)]

    def header_of(self, field_name: str | None) -> str | None:
        """The header to show for a field of `ContactIn`: that of the column that fed it."""
        for name in fed_by(field_name):
            if name in self.indexes:
                return self.headers[self.indexes[name][0]]
        return None

    def values(self, cells: Sequence[str]) -> dict[str, str]:
        """A row as it came, under the names of `labels`. What must not be read is not kept either."""
        labels = self.labels
        told = ((index, cell) for index, cell in enumerate(cells) if cell and index not in self.forbidden and not is_document(cell))
        return {labels.get(index, f"({index + 1})"): cell for index, cell in told}

    @property
    def labels(self) -> dict[int, str]:
        """Under which name `values` tells each column that may be kept: its header; one without, or with that of another, has its
        number too."""
        labels: dict[int, str] = {}
        for index, header in enumerate(self.headers):
            if index not in self.forbidden:
                labels[index] = header if header and header not in labels.values() else f"{header} ({index + 1})".strip()
        return labels

    @property
    def matched(self) -> dict[str, str]:
        """``{"field": "header"}``; several headers are joined by a comma."""
        return {name: ", ".join(self.headers[index] for index in indexes) for name, indexes in self.indexes.items()}


_FED_BY = {
    "given_names": ("given_names", "full_name", "surnames_first"),
    "first_surname": ("first_surname", "surnames", "full_name", "surnames_first"),
    "second_surname": ("second_surname", "surnames", "full_name", "surnames_first"),
    "city": ("city", "region"),
}


def fed_by(field_name: str | None) -> tuple[str, ...]:
    """The fields of columns that feed a field of `ContactIn`, the most telling first."""
    return _FED_BY.get(field_name or "", (field_name or "",))


@dataclass(frozen=True)
class Built:
    """One row understood, or the code and field that say why not, and ``more`` of these. ``warnings`` are (code, field) to
    review."""

    data: ContactIn | None
    code: str | None = None
    field: str | None = None
    warnings: Sequence[tuple[str, str]] = ()
    more: Sequence[tuple[str, str]] = ()


class _RowFault(Exception):
    def __init__(self, code: str, field_name: str) -> None:
        self.code, self.field = code, field_name


# --- headers ---------------------------------------------------------------------------------------------------------------


FIELD_NAMES = tuple(name for name in re.findall(r"^(\w+):", _SYNONYMS, re.MULTILINE) if name != "name")
"""Every field that a column may hold."""


HEADER_WITHIN = 20
"""A header is looked for among so many first rows that hold something; above it stand titles."""


def header_at(rows: Sequence[Sequence[str]]) -> int:
    """Which of the first rows, counted from 0, names the columns: the first one that names two fields, a person's among them, else
    the first that names a person's, else the first of all."""
    people = [place for place, cells in enumerate(rows[:HEADER_WITHIN]) if _names_person(cells)]
    return next((place for place in people if fields_named(rows[place]) > 1), people[0] if people else 0)


def fields_named(cells: Sequence[str]) -> int:
    """How many different fields a row names."""
    return len({field_of(_tidy(cell)) for cell in cells} - {None})


def _names_person(cells: Sequence[str]) -> bool:
    return any(field_of(_tidy(cell)) in _PERSON | {"name"} for cell in cells)


def is_somebody(cells: Sequence[str]) -> bool:
    """Whether a row that was taken for the header is a person of a list without one: it holds an address and names no field."""
    return any("@" in cell for cell in cells) and not fields_named(cells)


def forbidden(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> frozenset[int]:
    """The columns, counted from 0, that must not be read: their header says so, or most of their first cells are documents."""
    found = {index for index, header in enumerate(headers) if _is_forbidden(header)}
    for index in range(max(map(len, rows), default=0)):
        cells = [row[index] for row in rows if index < len(row) and row[index].strip()]
        if 2 * sum(map(is_document, cells)) > len(cells):
            found.add(index)
    return frozenset(found)


def _is_forbidden(header: str) -> bool:
    """Whether a header says so, also one whose letters were read in a wrong encoding: «IntenciÃ³n de voto»."""
    words = (" ".join(re.findall(r"\w+", search_key(_tidy(one)).replace("_", " "))) for one in _spellings(header))
    return any(_FORBIDDEN.search(one) for one in words)


def _spellings(header: str) -> Iterator[str]:
    """A header as it was read, and as its bytes would read in the other encodings."""
    yield header
    if not header.isascii():
        for read, meant in permutations(ENCODINGS, 2):
            yield as_read_in(header, ENCODINGS[read], meant) or ""


def tells_consent(header: str) -> bool:
    """Whether a column seems to say who agreed: it is not read, since each consent needs its purpose and its proof."""
    return _CONSENT.search(search_key(header)) is not None


def is_document(cell: str) -> bool:
    """Whether a cell holds a CURP or a clave de elector, however it is parted or in what it is wrapped."""
    if len(cell) < 18 or _DIGITS.search(cell) is None:
        return False
    return _DOCUMENT.search(_SIGNS.sub("", unicodedata.normalize("NFKC", cell).upper())) is not None


def shown_header(cell: str) -> str:
    """A header as it may be shown and kept: a row of the list that was taken for one may hold a document."""
    return "" if is_document(cell) else _tidy(cell)


def guess(headers: Sequence[str], not_read: frozenset[int] = frozenset()) -> list[str | None]:
    """What each header seems to name, for a person to correct; never raises."""
    indexes: dict[str, list[int]] = {}
    for index, header in enumerate(headers):
        name = field_of(_tidy(header))
        if name is not None and index not in not_read:
            indexes.setdefault(name, []).append(index)
    _settle_name(indexes)
    told = {index: name for name, places in indexes.items() for index in places}
    return [told.get(index) for index in range(len(headers))]


def match(headers: Sequence[str], chosen: Sequence[str | None] | None = None, not_read: frozenset[int] = frozenset()) -> Columns:
    """Tell what each column holds, as ``chosen`` says column by column, else as the headers do; those of `forbidden` hold nothing.

    Errors: no_header, no_person_column, column_repeated (names the headers), column_field_unknown.
    """
    shown = [shown_header(header) for header in headers]
    if chosen is not None:
        return _as_chosen(shown, chosen, not_read)
    indexes: dict[str, list[int]] = {}
    for index, header in enumerate(shown):
        name = field_of(header)
        if name is not None and index not in not_read:
            indexes.setdefault(name, []).append(index)
    if not indexes:
        raise InvalidInput("no_header", field="file")
    _settle_name(indexes)
    for name, places in indexes.items():
        if name not in MANY and len({search_key(shown[place]) for place in places}) < len(places):
            raise InvalidInput("column_repeated", field="file", headers=", ".join(f"«{shown[place]}»" for place in places))
    if not indexes.keys() & _PERSON:
        raise InvalidInput("no_person_column", field="file")
    used = {index for places in indexes.values() for index in places}
    return Columns(shown, indexes, _others(shown, used | not_read), not_read)


def _as_chosen(shown: list[str], chosen: Sequence[str | None], not_read: frozenset[int]) -> Columns:
    indexes: dict[str, list[int]] = {}
    for index, name in enumerate(chosen[: len(shown)]):
        if name is not None and name not in FIELD_NAMES:
            raise InvalidInput("column_field_unknown", field="file")
        if name is not None and index not in not_read:
            indexes.setdefault(name, []).append(index)
    if not indexes.keys() & _PERSON:
        raise InvalidInput("no_person_column", field="file")
    used = {index for places in indexes.values() for index in places}
    # A column without a header is named by its place: it has to be called somehow where a row is told.
    shown = [header or (f"Columna {index + 1}" if index in used else "") for index, header in enumerate(shown)]
    return Columns(shown, indexes, _others(shown, used | not_read), not_read)


def _others(shown: list[str], told: frozenset[int] | set[int]) -> list[str]:
    return [header for index, header in enumerate(shown) if header and index not in told]


def _settle_name(indexes: dict[str, list[int]]) -> None:
    """A column «Nombre» holds the given names when surnames have a column of their own; alone, it holds the whole name."""
    places = indexes.pop("name", None)
    if places:
        has_surnames = indexes.keys() & {"first_surname", "second_surname", "surnames"}
        name = "given_names" if has_surnames or indexes.keys() & {"full_name", "surnames_first"} else "full_name"
        indexes[name] = indexes.get(name, []) + places


def field_of(header: str) -> str | None:
    """The field that a header names, or None. Numbers at the end tell apart columns of the same field: «Correo 2»."""
    word = _word(header)
    found = _FIELDS.get(word) or _FIELDS.get(word.rstrip("0123456789"))
    if found is None and word.endswith("opcional"):
        return _FIELDS.get(word.removesuffix("opcional"))
    return found


def _word(header: str) -> str:
    """A header without accents, case, spaces or punctuation."""
    return re.sub(r"[\W_]+", "", search_key(header))


# --- rows ------------------------------------------------------------------------------------------------------------------


def build(columns: Columns, cells: Sequence[str], consents: Sequence[ConsentIn] = ()) -> Built:
    """A row as `ContactIn`, with the consents that the file states for everyone. Never raises: a fault is told in `Built`."""
    warnings: list[tuple[str, str]] = []
    faults: list[tuple[str, str]] = []
    values = _values(_texts(columns, cells, warnings), warnings, faults)
    if not values.get("emails") and not _is_name(f"{values.get('given_names') or ''} {values.get('first_surname') or ''}"):
        faults.append(("row_without_person", "given_names"))
    try:
        data = ContactIn(**values, consents=list(consents))
    except ValidationError as error:
        faults += _faults_of(error)
    if faults:
        faults += _faults_of_addresses(values["emails"])  # of a row that is understood they are told when it is taken in
        first, *more = dict.fromkeys(faults)
        return Built(None, *first, warnings, more)
    return Built(data, warnings=warnings)


def _faults_of_addresses(emails: Sequence[str]) -> Iterator[tuple[str, str]]:
    for text in emails:
        try:
            read_address(text)
        except InvalidInput as error:
            yield error.code, "emails"


def _is_name(text: str) -> bool:
    """Whether a name may be somebody's, rather than the number of a row or the word of a row of sums."""
    return any(letter.isalpha() for letter in text) and not _SUMS.match(search_key(text))


def _texts(columns: Columns, cells: Sequence[str], warnings: list[tuple[str, str]]) -> dict[str, list[str]]:
    """The cells that say something, by field."""
    count = len(cells)
    texts: dict[str, list[str]] = {}
    for name, places in columns.indexes.items():
        for index in places:
            text = cells[index] if index < count else ""
            if not text:
                continue
            text = _tidy(text)
            if is_document(text):
                warnings.append(("document_not_kept", name))
                continue
            if text and (len(text) > _LONGEST_NOTHING or text.lower() not in _NOTHING):
                texts.setdefault(name, []).append(text)
    return texts


def _tidy(text: str) -> str:
    """One line, single spaces, composed letters, nothing invisible; without the guard of a list that the Red wrote itself."""
    text = sheets.unguarded(text)
    if not text.isascii():
        text = unicodedata.normalize("NFC", _INVISIBLE.sub("", text))
    return " ".join(text.split())


def _values(texts: dict[str, list[str]], warnings: list[tuple[str, str]], faults: list[tuple[str, str]]) -> dict[str, Any]:
    """The values that `ContactIn` takes, but those that cannot be understood: these are added to ``faults``."""
    values: dict[str, Any] = {"emails": [], "tags": [], "leader_sectors": []}  # given, so that pydantic copies no default
    for name, found in texts.items():
        if len(found) > 1 and name not in MANY and len(set(found)) > 1:
            warnings.append(("second_value_unused", name))
        read = _READERS.get(name)
        try:
            value = read(found, warnings) if read else found[0]
        except _RowFault as fault:
            faults.append((fault.code, fault.field))
            continue
        if value is not None:
            values[name] = value
    _name_parts(values, warnings)
    region = values.pop("region", None)
    if region:
        values["city"] = f"{values['city']}, {region}" if values.get("city") else region
    return values


def _name_parts(values: dict[str, Any], warnings: list[tuple[str, str]]) -> None:
    """Fold «Apellidos» and «Nombre completo» into the three parts; columns of their own win."""
    surnames, full_name, reversed_name = (values.pop(name, None) for name in ("surnames", "full_name", "surnames_first"))
    if surnames and not values.get("first_surname"):
        first, second = split_surnames(surnames)
        values |= {"first_surname": first, "second_surname": values.get("second_surname") or second}
    if (full_name or reversed_name) and not values.get("given_names") and not values.get("first_surname"):
        given, first, second = split_full_name(full_name) if full_name else split_surnames_first(reversed_name)
        if seems_turned(full_name or reversed_name, surnames_first=not full_name):
            warnings.append(("name_seems_turned" if full_name else "name_seems_straight", "given_names"))
        values |= {"given_names": given, "first_surname": first, "second_surname": values.get("second_surname") or second}


def _addresses(found: list[str], _warnings: list[tuple[str, str]]) -> list[str] | None:
    """Each address of the cells, once: several in a cell, «Ana <ana@example.org>» and mailto: are understood."""
    addresses: dict[str, None] = {}
    for text in found:
        if "@" in text or search_key(text) not in _NO_ADDRESS:
            inside = re.findall(r"<([^<>]*@[^<>]*)>", text) if "<" in text else None
            for address in inside or _BETWEEN_ADDRESSES.split(text):
                address = address.removeprefix("mailto:").strip("<>/|")
                if address:
                    addresses[address] = None
    return list(addresses) or None


def _tags(found: list[str], _warnings: list[tuple[str, str]]) -> list[str] | None:
    tags = [tag for text in found for tag in map(str.strip, _BETWEEN_TAGS.split(text)) if tag]
    return list({_folded(tag): tag for tag in tags}.values()) or None


def _sectors(found: list[str], warnings: list[tuple[str, str]]) -> list[LeaderSector] | None:
    """Sectors of a leader. A column may answer only sí or no: no means that the sector told beside is not of a leader."""
    words = [_folded(word) for text in found for word in _BETWEEN_SECTORS.split(text) if word.strip()]
    sectors = list(dict.fromkeys(_sector(word) for word in words if word not in _YES and word not in _NO))
    if any(word in _NO for word in words):
        return None
    if not sectors and words:
        warnings.append(("leader_without_sector", "leader_sectors"))
    return sectors or None


def _sector(word: str) -> LeaderSector:
    sector = _SECTOR_OF.get(word)
    if sector is None:
        raise _RowFault("sector_unknown", "leader_sectors")
    return sector


@lru_cache(4096)
def _folded(text: str) -> str:
    """`search_key` of a value of which a file holds few different ones."""
    return search_key(text)


def _language(found: list[str], _warnings: list[tuple[str, str]]) -> Language:
    language = _LANGUAGES.get(_folded(found[0]))
    if language is None:
        raise _RowFault("language_unknown", "language")
    return language


def _treatment(found: list[str], warnings: list[tuple[str, str]]) -> Treatment | None:
    treatment = _TREATMENTS.get(_folded(found[0]))
    if treatment is None:
        warnings.append(("treatment_unknown", "treatment"))
    return treatment


def _phone(found: list[str], _warnings: list[tuple[str, str]]) -> str:
    """As it came, but for a number of which a spreadsheet kept only the first digits: `5.55E+09`."""
    if _IN_EXPONENT.fullmatch(found[0].replace(" ", "")):
        raise _RowFault("phone_in_exponent", "phone")
    return found[0]


_READERS: dict[str, Callable[[list[str], list[tuple[str, str]]], Any]] = {
    "emails": _addresses,
    "tags": _tags,
    "leader_sectors": _sectors,
    "language": _language,
    "treatment": _treatment,
    "phone": _phone,
}


# --- faults ----------------------------------------------------------------------------------------------------------------

_CODES = {
    "string_too_long": "field_too_long",
    "string_pattern_mismatch": "field_control_characters",
    "too_long": "too_many_values",
    "name_required": "row_without_person",
}


def _faults_of(error: ValidationError) -> list[tuple[str, str]]:
    told = error.errors(include_url=False, include_input=False)
    return [(_CODES.get(one["type"], "value_invalid"), str(one["loc"][0]) if one["loc"] else "given_names") for one in told]


@cache
def limit_of(field_name: str) -> int | None:
    """Most characters of a field of `ContactIn`, for the sentence of field_too_long."""
    long = "x" * 10_000
    try:
        ContactIn.model_validate({field_name: [long] if field_name in MANY else long})
    except ValidationError as error:
        return next((told["ctx"]["max_length"] for told in error.errors() if told["type"] == "string_too_long"), None)
    return None
