"""Are two records of one person? The sum of what speaks for it and against it, in bits (Fellegi and Sunter, 1969), and why.

Sharing a rare surname says more than sharing García; what tells people of one household apart (given names, second surnames)
outweighs all that a household shares. A score of 0 is an even chance in a network of that size, 3 is nine in ten.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from itertools import product
from math import log2
from typing import Any, NamedTuple

from rapidfuzz.distance import OSA

from crm.database import search_key
from crm.people.full_names import split_full_name, split_surnames
from crm.people.name_words import GIVEN_SHARES, OF_TWO_WORDS, SUFFIXES, SURNAME_SHARES, USUAL, Shares, is_nickname, sound, words_of

Share = Callable[[str], float]
"""Bits that sharing a word is worth."""


class Grade(StrEnum):
    """How sure a match is, the surest first."""

    CERTAIN = "certain"
    PROBABLE = "probable"
    POSSIBLE = "possible"


GRADES = ((Grade.CERTAIN, 9.0), (Grade.PROBABLE, 3.0), (Grade.POSSIBLE, 0.0))
"""From how many bits on; below the last a pair is not worth anyone's time."""


class Reason(StrEnum):
    """What speaks for a match, and after it what speaks against it."""

    SAME_ADDRESS = "same_address"
    """One has or had the address of the other."""
    DOTTED_ADDRESS = "dotted_address"
    """Addresses that differ in dots, signs or what follows a plus: one mailbox at the large providers."""
    TYPED_DOMAIN = "typed_domain"
    """One address, and another letter in its domain: gmial.com."""
    OTHER_DOMAIN = "other_domain"
    ALIKE_ADDRESS = "alike_address"
    """Addresses that differ in one letter."""
    ADDRESS_TELLS_NAME = "address_tells_name"
    SAME_NAMES = "same_names"
    SWAPPED_SURNAMES = "swapped_surnames"
    CROSSED_NAMES = "crossed_names"
    """What one gives as given names the other gives as surnames."""
    MISSING_SURNAME = "missing_surname"
    FEWER_GIVEN = "fewer_given"
    TYPED_NAME = "typed_name"
    NICKNAME = "nickname"
    INITIAL = "initial"
    SAME_PHONE = "same_phone"
    SAME_CITY = "same_city"
    OTHER_SURNAME = "other_surname"
    OTHER_GIVEN = "other_given"
    OTHER_PHONE = "other_phone"
    OTHER_CITY = "other_city"


NAMESAKES = frozenset({Reason.SAME_NAMES, Reason.SAME_CITY})
"""Of the same whole name in one city, with nothing against it: worth a look, however common the name is."""
ALL_NAMESAKES_UP_TO = 20_000
"""People of a network in which such pairs are few enough to look at."""
AGAINST = frozenset({Reason.OTHER_SURNAME, Reason.OTHER_GIVEN, Reason.OTHER_PHONE, Reason.OTHER_CITY})


@dataclass(frozen=True, slots=True)
class Record:
    """What is compared of a person; see `record_of`."""

    given: tuple[str, ...] = ()
    surnames: tuple[str, ...] = ()
    """First and second, each of one piece: `("delacruz",)` is `("cruz",)`, particles aside."""
    called: tuple[str, ...] = ()
    """What the person wishes to be called."""
    suffixes: frozenset[str] = frozenset()
    addresses: tuple[str, ...] = ()
    """Keys of addresses, those no longer used too."""
    locals: frozenset[str] = frozenset()
    """What tells the mailboxes of the addresses: `bare_local` of each."""
    phone: str = ""
    """Its last ten digits."""
    place: object = None
    country: str | None = None

    @property
    def has_name(self) -> bool:
        return bool(self.given or self.surnames)


@dataclass(frozen=True, slots=True)
class Match:
    """How sure it is that two records are of one person, and why."""

    score: float
    reasons: tuple[Reason, ...]

    @property
    def grade(self) -> Grade:
        return next((grade for grade, least in GRADES if self.score >= least), Grade.POSSIBLE)


def record_of(
    given_names: str,
    first_surname: str,
    second_surname: str | None = None,
    *,
    preferred_name: str | None = None,
    addresses: Sequence[str] = (),
    phone: str | None = None,
    place: object = None,
    country: str | None = None,
) -> Record:
    """A record from the columns of a person; a whole name in one column is told apart."""
    if not (given_names and first_surname) and not second_surname:
        given_names, first_surname, second_surname = split_full_name((given_names or first_surname).replace("-", " "))
    elif first_surname and not second_surname and search_key(first_surname) not in OF_TWO_WORDS:
        first_surname, second_surname = split_surnames(first_surname.replace("-", " "))
    given = words_of(given_names)
    parts = [words_of(first_surname), words_of(second_surname or "")]
    suffixes = SUFFIXES.intersection(*[{*given, *parts[0], *parts[1]}])
    pieces = ("".join(word for word in words if word not in SUFFIXES) for words in parts)
    return Record(
        given=tuple(word for word in given if word not in SUFFIXES or len(given) == 1),
        surnames=tuple(piece for piece in pieces if piece),
        called=words_of(preferred_name or ""),
        suffixes=suffixes,
        addresses=tuple(addresses),
        locals=frozenset(map(bare_local, addresses)),
        phone=digits_of(phone),
        place=place,
        country=country,
    )


def digits_of(phone: str | None) -> str:
    """The last ten digits of a telephone, whatever country code or spaces it was typed with; empty for less than seven."""
    digits = re.sub(r"\D", "", phone or "")
    return digits[-10:] if len(digits) >= 7 else ""


def prior(people: int) -> float:
    """Bits against two people taken at random being one: of a hundred some four are there twice."""
    return -4.0 - log2(max(people, 200))


class Scales:
    """Weighs records of one network; what it weighed of names it remembers, since names come again and again."""

    REMEMBERED = 200_000
    """Pairs of names at most."""

    def __init__(self, people: int = 1_500, shares: Shares = USUAL, *, least: float = GRADES[-1][1]) -> None:
        self._people, self._shares, self._prior, self._least = people, shares, prior(people), least
        self._given: dict[tuple[tuple[str, ...], tuple[str, ...]], _Part | None] = {}
        self._surnames: dict[tuple[tuple[str, ...], tuple[str, ...]], _Part] = {}

    def weigh(self, one: Record, other: Record, *, sharing: int = 2) -> Match | None:
        """None when nothing worth telling speaks for one person. ``sharing`` is how many people have the telephone, if they
        share one."""
        if (other.given, other.surnames, other.called) < (one.given, one.surnames, one.called):
            one, other = other, one  # so that it hangs on no order
        names = self._weigh_names(one, other)
        if names is None or self._prior + names.bits + _most_beside(one, other) < self._least:
            return None
        phones = self._weigh_phones(one, other, sharing)
        parts = (names, _weigh_mailboxes(one, other), phones, self._weigh_places(one, other))
        score = self._prior + sum(part.bits for part in parts)
        reasons = {reason for part in parts for reason in part.reasons}
        if score < 0 and reasons == NAMESAKES and self._people <= ALL_NAMESAKES_UP_TO:
            score = 0.0
        if score < self._least:
            return None
        if not reasons - AGAINST - {Reason.SAME_CITY}:
            return None
        return Match(round(score, 1), tuple(sorted(reasons, key=_ORDER.__getitem__)))

    # --- names --------------------------------------------------------------------------------------------------------------------

    def _weigh_names(self, one: Record, other: Record) -> "_Part | None":
        """None when they are names of two people."""
        if not one.has_name or not other.has_name:
            return self._weigh_by_address_alone(one, other)
        given = self._weigh_given(one, other)
        if given is None:
            return self._cross(one, other)
        surnames = self._weigh_surnames(one.surnames, other.surnames)
        bits, reasons = given.bits + surnames.bits, {*given.reasons, *surnames.reasons}
        if one.suffixes != other.suffixes:
            bits, reasons = bits + OTHER_SUFFIX, reasons | {Reason.OTHER_GIVEN}
        is_whole = one.given and other.given and one.surnames and other.surnames
        return _Part(bits, frozenset(reasons or ({Reason.SAME_NAMES} if is_whole else ())))

    def _weigh_given(self, one: Record, other: Record) -> "_Part | None":
        pair = (one.given, other.given)
        if pair not in self._given:
            _make_room(self._given, self.REMEMBERED)
            self._given[pair] = _weigh_given(*pair, self._shares.of_given)
        found = self._given[pair]
        return found if found is not None or not (one.called or other.called) else self._weigh_called(one, other)

    def _weigh_called(self, one: Record, other: Record) -> "_Part | None":
        """What a person wishes to be called may be what the other record has for a name."""
        for called, given in ((one.called, other.given), (other.called, one.given)):
            found = _pair_words(called, given, self._shares.of_given, is_given=True)
            if found.hows and found.hows[0] != "initial":
                return _Part(max(0.5, found.bits - 2), frozenset({Reason.NICKNAME}))
        return None

    def _weigh_surnames(self, some: tuple[str, ...], others: tuple[str, ...]) -> "_Part":
        pair = (some, others)
        if pair not in self._surnames:
            _make_room(self._surnames, self.REMEMBERED)
            self._surnames[pair] = _weigh_surnames(some, others, self._shares.of_surname)
        return self._surnames[pair]

    def _cross(self, one: Record, other: Record) -> "_Part | None":
        """Given names where the surnames should be, and the other way round."""
        if set(one.given).isdisjoint(other.surnames) and set(other.given).isdisjoint(one.surnames):
            return None
        share = self._shares.of_surname
        there = _pair_words(one.given, other.surnames, share, is_given=True)
        if not there.hows:
            return None
        back = _pair_words(other.given, one.surnames, share, is_given=True)
        if not back.hows or "initial" in there.hows + back.hows:
            return None
        bits = there.bits + back.bits - 4 - 6 * (min(there.left) + min(back.left))
        return _Part(bits, frozenset({Reason.CROSSED_NAMES}))

    def _weigh_by_address_alone(self, one: Record, other: Record) -> "_Part":
        """One of the two has no name: its address may tell one."""
        nameless, named = (other, one) if one.has_name else (one, other)
        best = 0.0
        for address in nameless.addresses if named.has_name else ():
            words = [word for word in re.split(r"[^a-z]+", address.partition("@")[0]) if len(word) > 2]
            given = _pair_words(words, named.given, self._shares.of_given, is_given=True)
            surnames = _pair_words(words, named.surnames, self._shares.of_surname, is_given=False)
            if given.hows and surnames.hows and "initial" not in given.hows + surnames.hows:
                best = max(best, given.bits + surnames.bits - 1)
        return _Part(best, frozenset({Reason.ADDRESS_TELLS_NAME})) if best else NOTHING

    # --- telephone and place ------------------------------------------------------------------------------------------------------

    def _weigh_phones(self, one: Record, other: Record, sharing: int) -> "_Part":
        if not one.phone or not other.phone:
            return NOTHING
        if one.phone != other.phone:
            return _OTHER_PHONE
        bits = SAME_PHONE if sharing <= 3 else max(1.0, min(10.0, log2(self._people / sharing)))
        return _Part(bits, frozenset({Reason.SAME_PHONE}))

    def _weigh_places(self, one: Record, other: Record) -> "_Part":
        if one.place is not None and one.place == other.place:
            return _Part(self._shares.of_place(one.place), frozenset({Reason.SAME_CITY}))
        if one.place is not None and other.place is not None and isinstance(one.place, int) == isinstance(other.place, int):
            return _Part(-3.0 if one.country == other.country else -4.0, frozenset({Reason.OTHER_CITY}))
        return _Part(-3.0) if one.country and other.country and one.country != other.country else NOTHING


class _Part(NamedTuple):
    """What one kind of evidence adds."""

    bits: float
    reasons: frozenset[Reason] = frozenset()


NOTHING = _Part(0.0)
_OTHER_PHONE = _Part(-3.5, frozenset({Reason.OTHER_PHONE}))
SAME_MAILBOX, ALIKE_MAILBOX, SAME_PHONE, MOST_OF_PLACES = 18.0, 9.0, 13.0, 5.0


def _most_beside(one: Record, other: Record) -> float:
    """What all but the names can add at most, told at a glance: names that say clearly less need no more weighing."""
    most = MOST_OF_PLACES + (SAME_PHONE if one.phone and one.phone == other.phone else 0.0)
    return most + (ALIKE_MAILBOX if one.locals.isdisjoint(other.locals) else SAME_MAILBOX)


_ORDER = {reason: place for place, reason in enumerate(Reason)}


def _make_room(remembered: dict[Any, Any], most: int) -> None:
    if len(remembered) >= most:
        remembered.clear()


# --- words --------------------------------------------------------------------------------------------------------------------


_COST = {"same": 0.0, "sound": -0.7, "nickname": -2.5, "typed": -3.0}
_HOW_SURE = ("same", "sound", "nickname", "typed", "initial")
_TOLD = {"typed": Reason.TYPED_NAME, "nickname": Reason.NICKNAME, "initial": Reason.INITIAL}


@lru_cache(maxsize=262_144)
def _how(one: str, other: str, is_given: bool) -> str | None:
    """How two words are one: `same`, `sound`, `nickname`, `typed`, `initial`, or None."""
    if one == other:
        return "same"
    if one[0] == other[0] and (len(one) == 1 or len(other) == 1):
        return "initial"
    if is_given and is_nickname(one, other):
        return "nickname"
    if _are_two_names(one, other, is_given=is_given):
        return None
    if sound(one) == sound(other):
        return "sound"
    short = min(len(one), len(other))
    most = 2 if short >= 9 else 1
    has_slip = short >= 3 and len(one) + len(other) >= 7 and OSA.distance(one, other, score_cutoff=most) <= most
    return "typed" if has_slip else None


def _are_two_names(one: str, other: str, *, is_given: bool) -> bool:
    """Whether both are names of their own, and no slip of the finger: Mario and María, Rosas and Rojas, Fernanda and Fernando."""
    known = GIVEN_SHARES if is_given else SURNAME_SHARES
    if one in known and other in known:
        return True
    return is_given and one[:-1] == other[:-1] and {one[-1], other[-1]} == {"a", "o"}


def _bits(one: str, other: str, how: str, share: Share) -> float:
    return 2.0 if how == "initial" else max(0.5, min(share(one), share(other)) + _COST[how])


class _Paired(NamedTuple):
    bits: float
    hows: list[str]
    left: tuple[int, int]
    """Words of each that nothing of the other answers."""


def _pair_words(some: Sequence[str], others: Sequence[str], share: Share, *, is_given: bool) -> _Paired:
    """Pair each word with the likest free one of the other."""
    found = [(how, a, b) for a, b in product(range(len(some)), range(len(others))) if (how := _how(some[a], others[b], is_given))]
    bits, hows, used_a, used_b = 0.0, list[str](), set[int](), set[int]()
    for how, a, b in sorted(found, key=lambda told: _HOW_SURE.index(told[0])):
        if a not in used_a and b not in used_b:
            used_a.add(a)
            used_b.add(b)
            bits += _bits(some[a], others[b], how, share)
            hows.append(how)
    return _Paired(bits, hows, (len(some) - len(used_a), len(others) - len(used_b)))


# --- names --------------------------------------------------------------------------------------------------------------------


OTHER_SECOND_GIVEN, FEWER_GIVEN, OTHER_SUFFIX = -15.0, -1.5, -8.0
OTHER_FIRST_SURNAME, OTHER_SECOND_SURNAME, MISSING_SURNAME, SWAPPED = -9.0, -18.0, -1.0, -2.0


def _weigh_given(some: tuple[str, ...], others: tuple[str, ...], share: Share) -> _Part | None:
    """None when the given names are those of two people."""
    if not some or not others:
        return NOTHING
    if some != others and "".join(some) == "".join(others):
        return _Part(sum(map(share, some)))
    found = _pair_words(some, others, share, is_given=True)
    if not found.hows or (some != others and set(some) == set(others)):  # María José is not José María
        return None
    reasons = {_TOLD[how] for how in found.hows if how in _TOLD}
    bits = found.bits
    if all(found.left):
        bits, reasons = bits + OTHER_SECOND_GIVEN, reasons | {Reason.OTHER_GIVEN}
    elif any(found.left):
        bits, reasons = bits + FEWER_GIVEN * max(found.left), reasons | {Reason.FEWER_GIVEN}
    return _Part(bits, frozenset(reasons))


def _weigh_surnames(some: tuple[str, ...], others: tuple[str, ...], share: Share) -> _Part:
    if not some or not others:
        return NOTHING
    straight = _pair_surnames(some, others, share)
    if some[0] == others[0] or not _may_be_turned(some, others):
        return straight
    turned = _pair_surnames(some[::-1] if len(some) > 1 else ("", *some), others, share)
    if turned.bits + SWAPPED <= straight.bits:
        return straight
    return _Part(turned.bits + SWAPPED, turned.reasons | {Reason.SWAPPED_SURNAMES})


def _may_be_turned(some: tuple[str, ...], others: tuple[str, ...]) -> bool:
    """Whether the second surname of one is the first of the other."""
    return bool((len(others) > 1 and _how(some[0], others[1], False)) or (len(some) > 1 and _how(some[1], others[0], False)))


def _pair_surnames(some: tuple[str, ...], others: tuple[str, ...], share: Share) -> _Part:
    bits, reasons = _weigh_piece(some[0], others[0], OTHER_FIRST_SURNAME, share)
    if len(some) > 1 or len(others) > 1:
        second = _weigh_piece(some[1] if len(some) > 1 else "", others[1] if len(others) > 1 else "", OTHER_SECOND_SURNAME, share)
        return _Part(bits + second.bits, reasons | second.reasons if second.reasons else reasons)
    return _Part(bits, reasons)


def _weigh_piece(one: str, other: str, unlike: float, share: Share) -> _Part:
    """One surname of each; an empty one is missing."""
    if not one or not other:
        return _MISSING if one or other else NOTHING
    how = _how(one, other, False) or _partly(one, other)
    if how is None:
        return _UNLIKE[unlike]
    bits = _bits(one, other, how, share)
    return _Part(bits, _TOLD_ALONE[how]) if how in _TOLD_ALONE else _Part(bits)


_MISSING = _Part(MISSING_SURNAME, frozenset({Reason.MISSING_SURNAME}))
_UNLIKE = {bits: _Part(bits, frozenset({Reason.OTHER_SURNAME})) for bits in (OTHER_FIRST_SURNAME, OTHER_SECOND_SURNAME)}
_TOLD_ALONE = {how: frozenset({reason}) for how, reason in _TOLD.items()}


def _partly(one: str, other: str) -> str | None:
    """«Ponce de León» written as Ponce."""
    if one[:4] != other[:4]:
        return None
    short, whole = sorted((one, other), key=len)
    return "typed" if len(short) >= 4 and len(whole) - len(short) >= 3 and whole.startswith(short) else None


# --- addresses ----------------------------------------------------------------------------------------------------------------


SHARED_LOCALS = frozenset(
    {
        "info", "contacto", "contact", "hola", "ventas", "admin", "administracion", "direccion", "secretaria", "prensa", "oficina",
        "correo", "mail", "email", "buzon", "presidencia", "difusion", "cultura", "comunicacion", "familia", "consulado",
    }
)  # fmt: skip
"""Parts of addresses that say nothing of a person."""


@lru_cache(maxsize=131_072)
def bare_local(address: str) -> str:
    """What tells a mailbox: the part before the @ without dots, signs, and what follows a plus."""
    local = address.partition("@")[0].partition("+")[0]
    return re.sub(r"[^\w]|_", "", local)


def _weigh_mailboxes(one: Record, other: Record) -> _Part:
    if not one.addresses or not other.addresses:
        return NOTHING
    names = {*one.given, *one.surnames, *other.given, *other.surnames}
    weighed = [_weigh_addresses(a, b, names) for a, b in product(one.addresses, other.addresses)]
    best = max(weighed, key=lambda part: part.bits)
    return best if best.reasons else _Part(-1.7)


def _weigh_addresses(one: str, other: str, names: set[str]) -> _Part:
    if one == other:
        return _Part(SAME_MAILBOX, frozenset({Reason.SAME_ADDRESS}))
    local, another = bare_local(one), bare_local(other)
    if not local or not another or local in SHARED_LOCALS:
        return NOTHING
    if local == another:
        same_domain = _is_one_domain(one.partition("@")[2], other.partition("@")[2])
        if not same_domain:
            return _Part(_rarity(local, names), frozenset({Reason.OTHER_DOMAIN}))
        dotted = one.partition("@")[2] == other.partition("@")[2]
        return _Part(16.0, frozenset({Reason.DOTTED_ADDRESS if dotted else Reason.TYPED_DOMAIN}))
    if min(len(local), len(another)) >= 7 and _is_one_slip(local, another):
        same_domain = _is_one_domain(one.partition("@")[2], other.partition("@")[2])
        return _Part(ALIKE_MAILBOX if same_domain else 6.0, frozenset({Reason.ALIKE_ADDRESS}))
    return NOTHING


def _is_one_slip(local: str, another: str) -> bool:
    """A letter too many, too few or another; another digit may be another person (ana80, ana81)."""
    if OSA.distance(local, another, score_cutoff=1) > 1:
        return False
    one, other = _digits(local), _digits(another)
    return one == other or (len(one) != len(other) and min(len(one), len(other)) >= 3)


def _digits(text: str) -> str:
    return re.sub(r"\D", "", text)


@lru_cache(maxsize=16_384)
def _is_one_domain(one: str, other: str) -> bool:
    """The same domain, or one typed badly: gmial.com."""
    if one == other:
        return True
    return one[:1] == other[:1] and len(one) >= 8 and _is_slip(one, other)


def _is_slip(one: str, other: str) -> bool:
    return one.rpartition(".")[2] == other.rpartition(".")[2] and OSA.distance(one, other, score_cutoff=1) <= 1


def _rarity(local: str, names: set[str]) -> float:
    """How much it says that two addresses of different domains begin alike: little when it is but the name of the person."""
    letters, digits = re.sub(r"\d", "", local), _digits(local)
    rest = letters
    for name in sorted(names, key=len, reverse=True):
        rest = rest.replace(name, "", 1)
    return min(15.0, 4.0 + 3.0 * min(len(digits), 4) + 2.0 * max(0, len(rest) - 1))
