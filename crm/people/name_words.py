"""The words of a Spanish name as they are compared: folded, written out, without particles, with how common each is.

Shares are of people who bear a word, by order of commonness in Mexico (Zipf's law over hand-kept lists, commonest first); a
network in which a word is commoner than that says so by `Shares`.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from math import log2

from crm.database import search_key
from crm.people.names import PARTICLES

_WORD = re.compile(r"[^\W_]+")
_MARKS = re.compile(r"[’'`´.]+")
_SOUND = (("ph", "f"), ("ll", "y"), ("qu", "k"), ("gue", "ge"), ("gui", "gi"), ("ce", "se"), ("ci", "si"))
_LETTERS = str.maketrans({"z": "s", "v": "b", "y": "i", "x": "j", "h": None, "w": "u", "c": "k"})
_TWICE = re.compile(r"(.)\1+")
SUFFIXES = frozenset({"jr", "junior", "hijo", "sr", "senior", "ii", "iii", "padre"})
"""Words that tell a father from his son."""
OF_TWO_WORDS = frozenset({"montes de oca", "ponce de leon", "diaz de leon", "ladron de guevara", "perez de leon", "de la o"})
"""One surname, where others of that form are two (García de la Cruz)."""
SHORT = {
    "ma": "maria", "jma": "jose maria", "mjose": "maria jose", "gpe": "guadalupe", "fco": "francisco", "fca": "francisca",
    "fdo": "fernando", "jse": "jose", "ant": "antonio", "ale": "alejandro", "mtz": "martinez", "mtnez": "martinez",
    "hdz": "hernandez", "hdez": "hernandez", "hndez": "hernandez", "glz": "gonzalez", "gzz": "gonzalez", "glez": "gonzalez",
    "gonz": "gonzalez", "rdz": "rodriguez", "rgz": "rodriguez", "rguez": "rodriguez", "rodz": "rodriguez", "snz": "sanchez",
    "schz": "sanchez", "shez": "sanchez", "lpz": "lopez", "prz": "perez", "pz": "perez", "grz": "garza", "gtz": "gutierrez",
    "gtrz": "gutierrez", "gutz": "gutierrez", "rmz": "ramirez", "rmrz": "ramirez", "jmz": "jimenez", "jmnz": "jimenez",
    "vzq": "vazquez", "vqz": "vazquez", "vazqz": "vazquez", "alvz": "alvarez", "mdz": "mendez", "dmgz": "dominguez",
    "dgz": "dominguez", "fdz": "fernandez", "fdez": "fernandez", "frnz": "fernandez", "gmz": "gomez", "mnz": "munoz",
    "grcia": "garcia", "gcia": "garcia", "vlzq": "velazquez",
}  # fmt: skip
"""Abbreviations that forms of Mexico are full of."""
_NICKNAMES = """
    jose pepe joe chepe joseph pepito che | francisco paco pancho frank kiko curro francis | ignacio nacho
    | antonio tono anthony tony
    | guillermo memo william bill willy | eduardo lalo eddie edward | jesus chuy chucho | enrique quique henry kike
    | alberto beto albert | roberto beto robert bob rober | gilberto beto | humberto beto | heriberto beto
    | rafael rafa | javier javi | salvador chava salva | luis lucho louis lewis | manuel manolo manny meno | miguel mike michael
    | juan john juancho | carlos charly charlie charles carlitos | jorge george coque | pedro peter perico | rodrigo rodri
    | sebastian sebas | nicolas nico nicholas | santiago santi | fernando fer nando | fernanda fer | alejandro alex ale jandro
    | alejandra alex ale | andres andy andrew | daniel dani dany danny | daniela dani dany | gabriel gabo gaby | gabriela gaby gabi
    | patricia paty pati patty | leticia lety leti | veronica vero | monica moni | carolina caro | susana susi susy susan
    | rosario chayo charo | guadalupe lupita lupe | graciela chela | concepcion concha conchita | dolores lola | mercedes meche
    | teresa tere tete | socorro coco | consuelo chelo | isabel isa chabela chabe elizabeth | elizabeth eli liz betty
    | josefina jose chepina
    | maria mari mary marie | eugenia maru | beatriz bety betty | silvia chivis | cecilia ceci | ximena xime jimena
    | valeria vale | mariana mari | margarita mago magui margaret | lourdes lulu | esperanza lancha espe | refugio cuca cuco
    | arturo arthur tury | ricardo richard ricky rick richi | ramon moncho | raimundo mundo | gerardo gera jerry | hector tito
    | victor vic | vicente chente | ernesto neto | gregorio goyo | martin tincho | alfredo fredy fredo | federico fede kiko
    | rosa rosy rosi rosita | laura lau | adriana adri | andrea andy | claudia clau | ana anita annie ann | alicia licha
    | catalina cata | natalia nat naty | paola pao | sofia sofi | renata rena | regina regi | lucia lucy luci | julieta juli
    | benjamin benja ben | joaquin quino joaco | leonardo leo | mauricio mau | emiliano emi | cuauhtemoc temoc cuau | ulises uli
    | david dave | tomas tom thomas | pablo paul | esteban steve stephen | diego dieguito | marco marcos mark | mario mayito
"""
_SURNAMES = """
    hernandez garcia martinez lopez gonzalez perez rodriguez sanchez ramirez cruz flores gomez morales vazquez reyes jimenez torres
    diaz gutierrez ruiz mendoza aguilar ortiz moreno castillo romero alvarez mendez chavez rivera juarez ramos dominguez herrera
    medina castro vargas guzman velazquez munoz rojas contreras salazar luna ortega guerrero santiago bautista cortes estrada soto
    alvarado espinoza lara rios avila silva delgado nunez carrillo solis cervantes marquez vega sandoval fernandez leon miranda
    campos pena santos fuentes cabrera rosas acosta navarro valdez robles cardenas zuniga ibarra salinas ochoa mejia montes trejo
    maldonado padilla rosales serrano corona ayala nava cisneros macias orozco olvera tapia zamora villanueva escobar camacho bravo
    quiroz pacheco franco molina suarez valencia rosa angel torre meza galvan arellano villarreal garza trevino cantu zavala vera
    rangel barrera rubio hidalgo gallegos rocha lozano duran paredes osorio cano valenzuela montoya murillo rico cuevas nieto
    ponce ocampo barcenas escobedo patino smith johnson williams brown jones miller davis wilson anderson taylor
"""
_GIVEN = """
    maria jose juan guadalupe luis ana jesus miguel carlos antonio francisco alejandro fernando javier martha angel jorge rosa
    manuel ricardo eduardo daniel roberto laura patricia carmen margarita elizabeth veronica alberto pedro gabriela leticia
    alejandra victor david raul sergio arturo mario claudia rafael fernanda adriana silvia sofia oscar hector andrea teresa
    enrique gerardo daniela diana karla monica isabel elena sandra juana julio cesar diego gloria cristina alma norma irma
    yolanda alicia beatriz lucia mariana paola ivan hugo ruben jaime armando salvador ramon andres valeria ximena regina
    araceli rocio carolina susana lourdes graciela angeles ignacio marco gustavo alfredo gonzalo cecilia natalia camila renata
    emiliano santiago mateo sebastian leonardo john michael david james robert mary joseph
"""
UNKNOWN_SURNAME, UNKNOWN_GIVEN = 0.001, 0.002


def _zipf(text: str, top: float) -> dict[str, float]:
    return {word: top * 11 / (place + 11) for place, word in reversed(list(enumerate(text.split())))}


SURNAME_SHARES = _zipf(_SURNAMES, 0.045)
GIVEN_SHARES = _zipf(_GIVEN, 0.07)
NICKNAMES: dict[str, frozenset[str]] = {}
"""What each word may stand for, itself included."""
for _group in _NICKNAMES.split("|"):
    _whole, *_others = _group.split()
    for _word in _others:
        NICKNAMES[_word] = NICKNAMES.get(_word, frozenset({_word})) | {_whole}


@dataclass(frozen=True)
class Shares:
    """How common words and places are in one network, where they are commoner there than among people at large."""

    people: int = 0
    """Of how many people the counts are."""
    given: Counter[str] = field(default_factory=Counter)
    surnames: Counter[str] = field(default_factory=Counter)
    places: Counter[object] = field(default_factory=Counter)

    def of_given(self, word: str) -> float:
        """Bits that sharing a given name is worth."""
        return -log2(max(GIVEN_SHARES.get(word, UNKNOWN_GIVEN), self._seen(self.given[word])))

    def of_surname(self, word: str) -> float:
        return -log2(max(SURNAME_SHARES.get(word, UNKNOWN_SURNAME), self._seen(self.surnames[word])))

    def of_place(self, place: object) -> float:
        """Bits that sharing a city is worth: little in Los Ángeles, where so many live."""
        seen = self._seen(self.places[place])
        return min(5.0, max(0.5, -log2(seen))) if seen else 4.0 if self.people else 3.0

    def _seen(self, count: int) -> float:
        """A share; who is seen once or twice may be one person twice."""
        return count / self.people if count > 2 and self.people >= 100 else 0.0


USUAL = Shares()
"""Of a network of which nothing is known."""


@lru_cache(maxsize=65_536)
def words_of(text: str) -> tuple[str, ...]:
    """`words_of("Ma. de los Ángeles") == ("maria", "angeles")`: particles stay when nothing else is left."""
    folded = _MARKS.sub(" ", search_key(_glued(text)))
    words = tuple(part for word in _WORD.findall(folded) for part in SHORT.get(word, word).split())
    return tuple(word for word in words if word not in PARTICLES) or words


def _glued(text: str) -> str:
    """Signs inside a name part nothing: O'Connor is one word."""
    return re.sub(r"(?<=\w)['’`´](?=\w)", "", text)


@lru_cache(maxsize=65_536)
def sound(word: str) -> str:
    """What two spellings of one word share: `sound("gonzales") == sound("gonzalez")`, Ximena and Jimena, Yáñez and Llánez."""
    for letters, heard in _SOUND:
        word = word.replace(letters, heard)
    word = _TWICE.sub(r"\1", word.translate(_LETTERS))
    return word or "h"


@lru_cache(maxsize=65_536)
def is_nickname(one: str, other: str) -> bool:
    """Whether one stands for the other, or both for a third: Pepe and José, Lupe and Lupita."""
    return one != other and bool(NICKNAMES.get(one, frozenset({one})) & NICKNAMES.get(other, frozenset({other})))


def shares_of(people: Iterable[tuple[tuple[str, ...], tuple[str, ...], object]]) -> Shares:
    """How common words are among some (given names, surnames, place)."""
    count, given, surnames, places = 0, Counter[str](), Counter[str](), Counter[object]()
    for given_words, surname_words, place in people:
        count += 1
        given.update(set(given_words))
        surnames.update(set(surname_words))
        places.update([place] if place is not None else [])
    return Shares(count, given, surnames, places)
