"""People with errors of other kinds than the demo's, to try the search for duplicates on what it was not made from.

Names come from Faker's Mexican and US lists (not the lists that `name_words.py` keeps), every seed is another network, and who is
hard to tell apart is there on purpose: brothers and sisters, couples, sons named as their fathers, namesakes in one city.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from faker import Faker

from crm.database import search_key

NICKNAMES = {
    "José": "Pepe", "Francisco": "Paco", "Guadalupe": "Lupita", "Ignacio": "Nacho", "Antonio": "Toño", "Guillermo": "Memo",
    "Eduardo": "Lalo", "Enrique": "Quique", "Alberto": "Beto", "Rafael": "Rafa", "Leticia": "Lety", "Patricia": "Paty",
    "Gabriela": "Gaby", "Teresa": "Tere", "Rosario": "Chayo", "Graciela": "Chela", "Miguel": "Mike", "Juan": "John",
}  # fmt: skip
SHORT = {"María": "Ma.", "Francisco": "Fco.", "Guadalupe": "Gpe.", "Hernández": "Hdz.", "Martínez": "Mtz.", "González": "Glz."}
DOMAINS = ("gmail.example.com", "hotmail.example.com", "yahoo.example.net", "correo.example.org", "outlook.example.com")
CITIES = 60
FIRST_AND_SECOND = (
    ("María", "José"),
    ("José", "Luis"),
    ("Ana", "María"),
    ("Juan", "Carlos"),
    ("María", "Fernanda"),
    ("José", "María"),
)


@dataclass(frozen=True)
class Stranger:
    """A record, and which person it is of."""

    person: int
    given: str
    first: str
    second: str
    address: str
    phone: str
    city: int | None


class Crowd:
    """People, some of them twice, and their look-alikes."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self._fake = Faker(["es_MX", "es_MX", "es_MX", "en_US"])
        self._fake.seed_instance(seed)
        self._weights = [1 / (place + 3) for place in range(CITIES)]
        self._count = 0

    def make(self, people: int, twice: float = 0.06) -> list[Stranger]:
        """So many people, with look-alikes among them, and a share of them twice."""
        chance, everyone = self.chance, list[Stranger]()
        while len(everyone) < people:
            one = self._person()
            everyone.append(one)
            for share, relative in RELATIVES:
                if chance.random() < share:
                    everyone.append(relative(self, one))
        copies = [self._again(one) for one in chance.sample(everyone, int(people * twice))]
        return chance.sample(everyone + copies, len(everyone) + len(copies))

    # --- who they are ---

    def _person(self) -> Stranger:
        self._count += 1
        given = self._given()
        first, second = self._fake.last_name(), self._fake.last_name() if self.chance.random() < 0.85 else ""
        city = self.chance.choices(range(CITIES), self._weights)[0] if self.chance.random() < 0.85 else None
        phone = self._phone() if self.chance.random() < 0.45 else ""
        return Stranger(self._count, given, first, second, self._address(given, first), phone, city)

    def _given(self) -> str:
        if self.chance.random() < 0.2:
            return " ".join(self.chance.choice(FIRST_AND_SECOND))
        return self._fake.first_name()

    def _phone(self) -> str:
        return f"+52 55 5{self.chance.randrange(10**7):07}"

    def _address(self, given: str, first: str) -> str:
        if self.chance.random() < 0.15:
            return ""
        one, two = search_key(given).split()[0], search_key(first).replace(" ", "")
        made = (f"{one}.{two}", f"{one}{two}", f"{one[0]}{two}", f"{two}.{one}", self._fake.user_name())
        number = self.chance.choice(("", str(self.chance.randrange(60, 100)), str(self.chance.randrange(1960, 2005))))
        return f"{self.chance.choice(made)}{number}@{self.chance.choice(DOMAINS)}".lower()

    def _new(self, one: Stranger, **changes: object) -> Stranger:
        """Somebody else, like another."""
        self._count += 1
        made = replace(one, person=self._count, **changes)  # type: ignore[arg-type]
        return replace(made, address=self._address(made.given, made.first))

    def sibling(self, one: Stranger) -> Stranger:
        return self._new(one, given=self._other_given(one.given), phone=one.phone if self.chance.random() < 0.5 else self._phone())

    def spouse(self, one: Stranger) -> Stranger:
        first = one.first if self.chance.random() < 0.3 else self._fake.last_name()
        return self._new(one, given=self._other_given(one.given), first=first, second="")

    def son(self, one: Stranger) -> Stranger:
        return self._new(one, second=self._fake.last_name(), phone=one.phone if self.chance.random() < 0.5 else "")

    def namesake(self, one: Stranger) -> Stranger:
        """Of the same first names, without a second surname or with another; in the same city or not."""
        city = one.city if self.chance.random() < 0.3 else self.chance.randrange(CITIES)
        second = "" if self.chance.random() < 0.2 else self._fake.last_name()
        return self._new(one, second=second, phone=self._phone() if self.chance.random() < 0.5 else "", city=city)

    def _other_given(self, given: str) -> str:
        while True:
            other = self._given()
            if not set(search_key(other).split()) & set(search_key(given).split()):
                return other

    # --- who they are again ---

    def _again(self, one: Stranger) -> Stranger:
        """A second record of a person: another hand, another day."""
        copy = self._write_address(one)
        for mistake in self.chance.sample(MISTAKES, self.chance.choice((1, 1, 2, 2, 3))):
            copy = mistake(self, copy)
        return copy

    def _write_address(self, one: Stranger) -> Stranger:
        """The address that they gave this time."""
        local, at, domain = one.address.partition("@")
        if not at:
            return replace(one, address=self._address(one.given, one.first))
        place = self.chance.randrange(1, len(local))
        written = (
            f"{local[:place]}.{local[place:]}@{domain}", f"{local}+red@{domain}", f"{local}@{self.chance.choice(DOMAINS)}",
            f"{self._slip(local)}@{domain}", f"{local}@{self._slip(domain[:5])}{domain[5:]}",
            self._address(one.given, one.first), "",
        )  # fmt: skip
        return replace(one, address=self.chance.choice(written))

    def _slip(self, text: str) -> str:
        """One slip of the finger, not in the first letter."""
        if len(text) < 4:
            return text
        place, letters = self.chance.randrange(1, len(text) - 1), "abcdefghilmnoprstuz"
        letter = self.chance.choice(letters)
        return self.chance.choice(
            (
                text[:place] + text[place + 1 :], text[:place] + letter + text[place:], text[:place] + letter + text[place + 1 :],
                text[:place] + text[place + 1] + text[place] + text[place + 2 :],
            )
        )  # fmt: skip

    def slip_in_name(self, one: Stranger) -> Stranger:
        part = self.chance.choice(("given", "first", "second"))
        return replace(one, **{part: self._slip(getattr(one, part))})  # type: ignore[arg-type]  # the three are text

    def drop_second(self, one: Stranger) -> Stranger:
        return replace(one, second="")

    def swap_surnames(self, one: Stranger) -> Stranger:
        return replace(one, first=one.second, second=one.first) if one.second else one

    def cross(self, one: Stranger) -> Stranger:
        return replace(one, given=f"{one.first} {one.second}".strip(), first=one.given, second="")

    def plain(self, one: Stranger) -> Stranger:
        return replace(
            one, given=search_key(one.given).upper(), first=search_key(one.first).upper(), second=search_key(one.second).upper()
        )

    def shorten(self, one: Stranger) -> Stranger:
        return replace(
            one,
            given=" ".join(SHORT.get(word, word) for word in one.given.split()),
            first=SHORT.get(one.first, one.first),
            second=SHORT.get(one.second, f"{one.second[:1]}." if one.second and self.chance.random() < 0.3 else one.second),
        )

    def nickname(self, one: Stranger) -> Stranger:
        return replace(one, given=" ".join(NICKNAMES.get(word, word) for word in one.given.split()[:1]))

    def first_given_only(self, one: Stranger) -> Stranger:
        return replace(one, given=one.given.split()[0])

    def move(self, one: Stranger) -> Stranger:
        return replace(one, city=self.chance.randrange(CITIES))

    def forget_city(self, one: Stranger) -> Stranger:
        return replace(one, city=None)

    def forget_phone(self, one: Stranger) -> Stranger:
        return replace(one, phone="")

    def joined(self, one: Stranger) -> Stranger:
        """The whole name in one column."""
        return replace(one, given=f"{one.given} {one.first} {one.second}".strip(), first="", second="")


RELATIVES: tuple[tuple[float, Callable[[Crowd, Stranger], Stranger]], ...] = (
    (0.06, Crowd.sibling), (0.05, Crowd.spouse), (0.01, Crowd.son), (0.02, Crowd.namesake),
)  # fmt: skip
MISTAKES: list[Callable[[Crowd, Stranger], Stranger]] = [
    Crowd.slip_in_name, Crowd.slip_in_name, Crowd.drop_second, Crowd.swap_surnames, Crowd.cross, Crowd.plain, Crowd.plain,
    Crowd.shorten, Crowd.nickname, Crowd.first_given_only, Crowd.move, Crowd.forget_city, Crowd.forget_phone, Crowd.joined,
]  # fmt: skip
