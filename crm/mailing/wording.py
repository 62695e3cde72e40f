"""Lenguaje ciudadano e incluyente: what could be said better, as advice that never keeps a mail from leaving.

After the guides of the field: collectives and abstracts first (la ciudadanía, quienes residen), then doubling; short sentences,
verbs before nouns, words of every day (INE, Manual de lenguaje ciudadano e incluyente).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from crm.mailing import fields, markdown
from crm.people.models import Language

WORDS_MOST = 30
"""Words of a sentence: a longer one is read twice."""
TOLD_MOST = 6
"""Pieces of advice on one text: more than that nobody reads."""


class Kind(StrEnum):
    INCLUSIVE = "inclusive_language"
    PLAIN = "plain_language"
    LINK = "link_words"


@dataclass(frozen=True)
class Advice:
    """What stands in a text and what would be better, in Spanish."""

    kind: Kind
    found: str
    better: str

    @property
    def sentence(self) -> str:
        if self.kind is Kind.LINK:
            return f"Un enlace dice «{self.found}»: {self.better}."
        name = "Lenguaje incluyente" if self.kind is Kind.INCLUSIVE else "Lenguaje ciudadano"
        return f"{name}: «{self.found}»; mejor {self.better}."


_PAIRED = r"(?<!las y )(?<!todas y )(?<!a las y )"
"""Not after the feminine: «las y los ciudadanos» is said well."""
_INCLUSIVE = {
    r"(los|el) ciudadanos?(?! (y|e) ciudadanas?)": "«la ciudadanía»",
    r"los (mexicanos|connacionales|paisanos)": "«las y los mexicanos» o «la comunidad mexicana»",
    r"los (chilangos|capitalinos)": "«las y los chilangos» o «la comunidad chilanga»",
    r"los (votantes|electores)": "«las personas votantes» o «el electorado»",
    r"los (migrantes|inmigrantes|emigrantes)": "«las personas migrantes»",
    r"los (residentes|que residen|que viven)": "«quienes residen»",
    r"los (interesados|asistentes|participantes|invitados|usuarios|beneficiarios)": "«las personas interesadas», «quienes asistan»",
    r"los (líderes|dirigentes)": "«los liderazgos» o «las personas líderes»",
    r"los (consejeros|funcionarios|representantes|diputados)": "«las consejerías», «el funcionariado», «la representación»",
    r"los (jóvenes|niños|adultos mayores|ancianos)": "«la juventud», «la niñez», «las personas mayores»",
    r"(todos|todos ustedes|a todos)(?= (los|ustedes|están|estén|pueden|juntos|[,.!]|$))": "«todas las personas»",
    r"bienvenidos?": "«le damos la bienvenida»",
    r"estimad[oa]s?(/[oa]s?)?(?=[ ,:/])": "«{{ saludo }}», que saluda a cada quien como eligió",
    r"[a-záéíóúñ]+[@](?=[\s,.;:!?)]|s\b)s?": "nombrar a las personas sin arroba",
    r"(tod|amig|ciudadan|chilang|mexican|unid|bienvenid|estimad)[xe]s": "un colectivo («la ciudadanía») en lugar de x o e",
    r"(discapacitados?|minusválidos?|personas con capacidades diferentes)": "«personas con discapacidad»",
    r"(ilegales|indocumentados|mojados)": "«personas en situación migratoria irregular»",
    r"el hombre(?= (moderno|de hoy|y la naturaleza))": "«la humanidad»",
}
_PLAIN = {
    r"(a|con el) (efecto|objeto|fin) de( que)?|con la finalidad de": "«para»",
    r"en virtud de( que)?|toda vez que|derivado de": "«porque» o «por»",
    r"de conformidad con|con fundamento en": "«según»",
    r"llev(ar|amos|aremos|ará) a cabo|efectu(ar|amos|aremos|ará)|realizar la celebración": "«hacer» o el verbo mismo",
    r"d(ar|aremos|amos) inicio": "«empezar»",
    r"h(acer|acemos) (de su|del) conocimiento": "«le informamos»",
    r"el día de hoy": "«hoy»",
    r"a la brevedad( posible)?": "una fecha, o «pronto»",
    r"mism[oa]s? que (?=\w)": "«que»",
    r"coadyuv\w+": "«ayudar»",
    r"requisitar": "«llenar»",
    r"aperturar": "«abrir»",
    r"(asimismo|cabe señalar que|es menester|no omito|sin otro particular)": "quitarlo",
    r"(e-?mail|mail)s?": "«correo»",
    r"desuscrib\w+": "«darse de baja»",
    r"password": "«contraseña»",
    r"log ?in|loguear\w*": "«iniciar sesión»",
    r"clickear|cliquear|dar click": "«abrir» o «usar el enlace»",
}
_BARE_LINK = re.compile(
    r"((haga |da |de |dé |hacer )?(clic|click) ?(en )?)?(aquí|este enlace|este link|here|ver más|más)|(haga )?clic|click( here)?",
    re.IGNORECASE,
)
_LINK = re.compile(
    r"(haga |da |de |dé |hacer )?(clic|click)?( en)? ?(aquí|este enlace|este link|here|click here|ver más|más)", re.IGNORECASE
)
_LINK = re.compile(r"(?<!!)\[([^\[\]]{1,120})\]\(")
_SENTENCE = re.compile(r"[^.!?…:\n]+")
_SHOUTED = re.compile(r"\b(?:[A-ZÁÉÍÓÚÑ]{2,}[\s,]+){3,}[A-ZÁÉÍÓÚÑ]{2,}\b")


@cache
def _rules() -> tuple[tuple[Kind, re.Pattern[str], str], ...]:
    inclusive = [(Kind.INCLUSIVE, rf"{_PAIRED}\b(?:{told})", better) for told, better in _INCLUSIVE.items()]
    plain = [(Kind.PLAIN, rf"\b(?:{told})\b", better) for told, better in _PLAIN.items()]
    return tuple((kind, re.compile(told, re.IGNORECASE), better) for kind, told, better in (*inclusive, *plain))


def advice(text: str, language: Language) -> list[Advice]:
    """What could be said better in a text that staff wrote, at most `TOLD_MOST`, each thing once.

    Words are judged in Spanish only; the words of links in both languages.
    """
    told = list(_about_links(text))
    if language is Language.SPANISH:
        plain = fields.named(markdown.to_plain(text))
        told += _about_words(plain)
        told += _about_sentences(plain)
    return list(dict.fromkeys(told))[:TOLD_MOST]


def _about_words(text: str) -> Iterator[Advice]:
    for kind, pattern, better in _rules():
        match = pattern.search(text)
        if match is not None and not _is_in_an_address(text, match):
            yield Advice(kind, match[0].strip(), better)


def _is_in_an_address(text: str, match: re.Match[str]) -> bool:
    """Whether it stands in a link or an address of mail: «contacto@…» is no arroba of gender."""
    word = re.search(r"\S*$", text[: match.start()])[0] + match[0] + re.match(r"\S*", text[match.end() :])[0]  # type: ignore[index]  # both always match
    return "://" in word or re.search(r"\S@\S+\.\S", word) is not None


def _about_sentences(text: str) -> Iterator[Advice]:
    for sentence in _SENTENCE.findall(text):
        words = sentence.split()
        if len(words) > WORDS_MOST:
            yield Advice(Kind.PLAIN, " ".join(words[:6]) + "…", f"partir la oración: tiene {len(words)} palabras")
    shouted = _SHOUTED.search(text)
    if shouted is not None:
        yield Advice(Kind.PLAIN, shouted[0][:40], "con minúsculas: en mayúsculas se lee peor y los filtros lo castigan")


def _about_links(text: str) -> Iterator[Advice]:
    for match in _LINK.finditer(text):
        words = match[1].strip(" *_.")
        if _BARE_LINK.fullmatch(words):
            yield Advice(Kind.LINK, words, "que diga a dónde lleva, para quien lo oye con un lector de pantalla")
