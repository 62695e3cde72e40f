"""Names of people who do not exist: lists written by hand of names that are common in Mexico, and how they are put together.

Surnames of the people that the seed reports name (Reyes, Huesca, Perret, Ramos, Torres, Estrada, Meléndrez, Romero...) are left
out on purpose, so that no invented person bears the name of one of them; a test holds it.
"""

from collections.abc import Callable
from random import Random
from typing import NamedTuple

from crm.database import search_key

_FEMININE = """
    Guadalupe|Sofía|Ximena|Fernanda|Valeria|Regina|Leticia|Itzel|Citlalli|Margarita|Alejandra|Verónica|Gabriela|Adriana|Patricia
    Rosa|Elena|Lucía|Mariana|Daniela|Andrea|Paola|Silvia|Norma|Beatriz|Araceli|Rocío|Yolanda|Teresa|Carolina|Mónica|Susana
    Claudia|Alicia|Irma|Graciela|Ángeles|Nayeli|Xóchitl|Abril|Zoé|Inés|Julieta|Renata|Camila|Natalia|Isabel|Cecilia|Lourdes
    Begoña|Zyanya|Yunuén|María José|María Fernanda|María del Carmen|María de los Ángeles|Ana Laura|Ana Sofía|Luz María
    Rosa María|María Guadalupe|Martha Elena|Blanca Estela|Laura Elena|María Teresa|Ana Paola|María del Rocío|Dulce María
"""
_MASCULINE = """
    José|Luis|Miguel|Emiliano|Héctor|Óscar|Íñigo|Cuauhtémoc|Javier|Fernando|Alejandro|Ricardo|Jorge|Raúl|Arturo|Gerardo
    Salvador|Rubén|Ramón|Andrés|Joaquín|Tomás|Martín|Iván|César|Ángel|Víctor|Adrián|Gustavo|Alfredo|Gonzalo|Ulises|Saúl
    Nicolás|Sebastián|Mateo|Diego|Santiago|Leonardo|Tonatiuh|Hugo|Ignacio|Eduardo|Manuel|Rafael|Alberto|Benjamín|Efraín
    Tenoch|José de Jesús|José Luis|Juan Carlos|Miguel Ángel|José María|Luis Fernando|Juan Pablo|José Antonio|Marco Antonio
    Carlos Alberto|José Manuel|Luis Ángel|Juan José|Francisco Javier|Pedro Pablo|José Guadalupe|Víctor Manuel|Jesús Ángel
"""
_NEITHER = "Ariel|Guadalupe|Jesús|Trinidad|Cruz|Refugio|Alexis|Rosario"
_SURNAMES = """
    Hernández|García|Martínez|López|González|Pérez|Rodríguez|Sánchez|Ramírez|Cruz|Flores|Gómez|Morales|Vázquez|Jiménez|Díaz
    Mendoza|Ruiz|Aguilar|Ortiz|Moreno|Castillo|Álvarez|Méndez|Chávez|Rivera|Juárez|Domínguez|Herrera|Medina|Castro|Vargas
    Guzmán|Velázquez|Muñoz|Rojas|Contreras|Salazar|Luna|de la Cruz|Ortega|Guerrero|Santiago|Bautista|Cortés|Soto|Alvarado
    Espinoza|Lara|Ríos|Ávila|Silva|Delgado|Núñez|Carrillo|Solís|Cervantes|Márquez|Vega|Sandoval|Miranda|Campos|Peña|Santos
    Fuentes|Cabrera|León|Rosas|Acosta|Navarro|Valdez|Robles|Cárdenas|Zúñiga|Ibarra|Salinas|Ochoa|Mejía|Montes|Trejo|Maldonado
    Padilla|Rosales|Serrano|Corona|Ayala|Nava|Cisneros|Macías|Orozco|Olvera|Tapia|Zamora|Villanueva|Escobar|Camacho|Bravo
    Quiroz|De León|de la Rosa|del Río|del Ángel|de la O|de la Torre|de los Santos|Montes de Oca|Ponce de León|Ocampo|Bárcenas
    Escobedo|Patiño|Ñáñez|Yáñez|Ibáñez|Ordóñez|Castañeda|Argüello|Güemes|Xolalpa|Tlapale|Cuautle|Tecuapetla|Quiñones|Cañedo
"""
_FOREIGN = """
    Miller|O'Connor|Dubois|Schmidt|Rossi|van der Berg|Johansson|Nakamura|Taylor|Meyer|Lefèvre|Bianchi|Fitzgerald|Ferreira
    Nguyen|Kowalski|Hansen|McKenzie|Keller|Moreau|Walker|Fischer|Lindqvist|Silveira|Kim
"""


class Name(NamedTuple):
    """Who an invented person is. ``treatment`` is the one that the person is said to have chosen, if any."""

    given: str
    first: str
    second: str
    treatment: str

    @property
    def key(self) -> str:
        """What tells two names apart, whatever their accents."""
        return search_key(f"{self.given} {self.first} {self.second}")


class Namer:
    """Gives a different name each time; the same `Random` gives the same names in the same order."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self._given = {"estimada": _split(_FEMININE), "estimado": _split(_MASCULINE), "neutral": _split(_NEITHER)}
        self._surnames, self._foreign = _split(_SURNAMES), _split(_FOREIGN)
        self._weights = [1 / (place + 12) for place in range(len(self._surnames))]
        self._used: set[str] = set()

    def two_surnames(self) -> Name:
        return self._new(self._surname, self._surname)

    def one_surname(self) -> Name:
        return self._new(self._surname, lambda: "")

    def foreign_surname(self) -> Name:
        return self._new(lambda: self._chance.choice(self._foreign), lambda: "")

    def _new(self, first: Callable[[], str], second: Callable[[], str]) -> Name:
        while True:
            treatment = self._chance.choices(("estimada", "estimado", "neutral"), (52, 46, 2))[0]
            name = Name(self._chance.choice(self._given[treatment]), first(), second(), treatment)
            if name.key not in self._used and name.first != name.second:
                self._used.add(name.key)
                return name

    def _surname(self) -> str:
        return self._chance.choices(self._surnames, self._weights)[0]


def _split(text: str) -> list[str]:
    return [name.strip() for line in text.strip().splitlines() for name in line.split("|")]
