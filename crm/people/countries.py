"""Countries: their names in Spanish and English (Unicode CLDR, by Babel), and the code behind whatever people write."""

from functools import cache

from babel import Locale
from babel.core import get_global

from crm.people.gazetteer import key

_NO_COUNTRIES = frozenset(["AC", "CP", "CQ", "DG", "EA", "EU", "EZ", "IC", "QO", "TA", "UN", "XA", "XB", "ZZ"])
"""Two-letter codes of CLDR that are no country: unions, regions without people of their own, codes for tests."""

_ALSO: dict[str, str] = {
    "US": "EUA|EE. UU.|EEUU|EE UU A|USA|U.S.|Estados Unidos de América|Estados Unidos de Norteamérica|United States of America"
    "|The United States|America|Estados Unidos Americanos|E. U.",
    "GB": "UK|U.K.|Gran Bretaña|Great Britain|Britain|Inglaterra|England|Escocia|Scotland|Gales|Wales|Irlanda del Norte"
    "|Northern Ireland|Reino Unido de Gran Bretaña e Irlanda del Norte",
    "MX": "México|Mejico|Estados Unidos Mexicanos|República Mexicana",
    "NL": "Holanda|Holland|Nederland|The Netherlands",
    "DE": "Deutschland|República Federal de Alemania",
    "FR": "République française",
    "ES": "Reino de España|Espanya",
    "CH": "Schweiz|Suisse|Svizzera|Confederación Suiza",
    "BE": "Belgique|België",
    "AT": "Österreich",
    "BR": "Brazil",
    "AR": "República Argentina",
    "KR": "Corea|Korea|República de Corea|Republic of Korea",
    "KP": "República Popular Democrática de Corea",
    "CN": "República Popular China|PRC",
    "RU": "Federación Rusa|Federación de Rusia|Russian Federation",
    "CZ": "República Checa|Czech Republic|Checa",
    "DO": "RD|Rep. Dominicana|Dominicana",
    "AE": "EAU|UAE|Emiratos|Emiratos Árabes",
    "CI": "Costa de Marfil|Ivory Coast",
    "MM": "Birmania|Burma|Myanmar",
    "TR": "Turkey",
    "CD": "Congo Kinshasa|República Democrática del Congo|RDC|DRC",
    "CG": "Congo|Congo Brazzaville|República del Congo",
    "VA": "Vaticano|Santa Sede|Holy See",
    "HK": "Hong Kong",
    "MO": "Macao|Macau",
    "PS": "Palestina|Palestine|Cisjordania|Franja de Gaza",
    "MK": "Macedonia",
    "SZ": "Suazilandia|Swaziland",
    "CV": "Cabo Verde|Cape Verde",
    "TL": "Timor Oriental|East Timor",
    "BO": "Estado Plurinacional de Bolivia",
    "VE": "República Bolivariana de Venezuela",
    "TW": "República de China",
    "SA": "Arabia Saudita|Arabia Saudí",
    "NZ": "Nueva Zelandia|Nueva Zelanda",
    "PR": "P. R.",
    "SV": "Salvador",
    "FJ": "Fiyi|Fiji|Fidji",
    "KE": "Kenya|Kenia",
    "XK": "Kosovo",
}


def country_code(text: str | None) -> str | None:
    """The ISO 3166-1 alpha-2 code of a country written as people do: `US`, `USA`, `EE. UU.`, `Inglaterra`, `Países Bajos`.

    None when it names no country that we know.
    """
    return _codes().get(key(text)) if text else None


def country_name(code: str, language: str = "es") -> str:
    """The name of a country in Spanish of Mexico (`es`) or English (`en`); the code itself when there is none."""
    return _names(language).get(code, code)


def country_codes() -> list[str]:
    """Every country, in order of code."""
    return sorted(_names("es"))


@cache
def _names(language: str) -> dict[str, str]:
    territories = Locale.parse("en" if language == "en" else "es_MX").territories
    return {code: name for code, name in territories.items() if len(code) == 2 and code.isalpha() and code not in _NO_COUNTRIES}


@cache
def _codes() -> dict[str, str]:
    """What people write, as `gazetteer.key`, to the code. What is told last wins."""
    names = _names("es")
    codes = {
        key(alias): replaced[0]
        for alias, replaced in get_global("territory_aliases").items()
        if len(alias) == 3 and alias.isalpha() and len(replaced) == 1 and replaced[0] in names
    }
    for language in ("en", "es"):
        codes |= {key(name): code for code, name in _names(language).items()}
    codes |= {key(code): code for code in names}
    for code, written in _ALSO.items():
        codes |= {key(name): code for name in written.split("|")}
    return codes
