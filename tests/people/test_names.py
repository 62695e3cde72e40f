"""Names in Spanish: shown, ordered, greeted, and told apart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm.people.models import Language, Treatment
from crm.people.names import display_name, greeting, list_name, names_agree, order_key, wished_name
from crm.people.schemas import ContactIn

SPANISH, ENGLISH = Language.SPANISH, Language.ENGLISH
PARTS = st.text(st.sampled_from("aáñ Nz.-'"), max_size=8)
PEOPLE = st.builds(
    ContactIn,
    given_names=PARTS,
    first_surname=PARTS,
    second_surname=st.none() | PARTS,
    preferred_name=st.none() | PARTS,
    treatment=st.none() | st.sampled_from(Treatment),
    emails=st.just(["a@example.org"]),
)


def person(given: str = "", first: str = "", second: str | None = None, **more: object) -> ContactIn:
    values = {"given_names": given, "first_surname": first, "second_surname": second, "emails": ["a@example.org"]}
    return ContactIn.model_validate(values | more)


@pytest.mark.parametrize(
    ("given", "first", "second", "shown", "listed"),
    [
        ("Ana", "Núñez", "López", "Ana Núñez López", "Núñez López, Ana"),
        ("José de Jesús", "De León", "de la Cruz", "José de Jesús De León de la Cruz", "De León de la Cruz, José de Jesús"),
        ("Mary", "Smith", None, "Mary Smith", "Smith, Mary"),
        ("Citlalli", "", None, "Citlalli", "Citlalli"),
        ("", "Núñez", None, "Núñez", "Núñez"),
        ("", "", None, "", ""),
    ],
)
def test_shows_and_lists_a_name(given: str, first: str, second: str | None, shown: str, listed: str) -> None:
    assert display_name(person(given, first, second)) == shown
    assert list_name(person(given, first, second)) == listed


@pytest.mark.parametrize(
    ("who", "language", "expected"),
    [
        (person("Ana", "Núñez"), SPANISH, "Hola, Ana:"),
        (person("Ana", "Núñez", preferred_name="Anita"), SPANISH, "Hola, Anita:"),
        (person("Ana", "Núñez", treatment="estimada"), SPANISH, "Estimada Ana:"),
        (person("Ana", "Núñez", treatment="estimado"), SPANISH, "Estimado Ana:"),
        (person("Ana", "Núñez", treatment="neutral"), SPANISH, "Reciba un cordial saludo, Ana Núñez:"),
        (person("", "Núñez", treatment="estimada"), SPANISH, "Hola:"),
        (person(treatment="neutral"), SPANISH, "Hola:"),
        (person(), SPANISH, "Hola:"),
        (person("Ana", "Núñez", treatment="estimada"), ENGLISH, "Hello Ana,"),
        (person(), ENGLISH, "Hello,"),
    ],
)
def test_greets_without_inferring_gender(who: ContactIn, language: Language, expected: str) -> None:
    assert greeting(who, language) == expected


@given(PEOPLE, st.sampled_from(Language))
def test_greeting_never_leaves_a_hole(who: ContactIn, language: Language) -> None:
    text = greeting(who, language)
    assert text.endswith((":", ","))
    assert "  " not in text
    assert " :" not in text
    assert "None" not in text
    assert ", :" not in text
    name = wished_name(who)
    assert not name or who.treatment is Treatment.NEUTRAL or f"{name}:" in text or f"{name}," in text


@given(PEOPLE)
def test_names_never_have_double_spaces(who: ContactIn) -> None:
    for text in (display_name(who), list_name(who), wished_name(who)):
        assert text == " ".join(text.split())


def test_orders_by_surname_with_enye_after_ene() -> None:
    people = [
        ("Ana", "Ñáñez", None),
        ("Zoé", "Nunez", None),
        ("Ana", "Núñez", None),
        ("Ana", "Nunez", None),
        ("Eva", "Álvarez", "Paz"),
    ]
    people += [("Luz", "de la Cruz", None), ("Luz", "Oropeza", None), ("Eva", "Alvarez", "Ríos")]
    assert sorted(people, key=lambda one: order_key(*one)) == [
        ("Eva", "Álvarez", "Paz"),
        ("Eva", "Alvarez", "Ríos"),
        ("Luz", "de la Cruz", None),
        ("Ana", "Nunez", None),
        ("Zoé", "Nunez", None),
        ("Ana", "Núñez", None),
        ("Ana", "Ñáñez", None),
        ("Luz", "Oropeza", None),
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (person("Ana", "Núñez", "López"), person("ANA", "NUNEZ")),
        (person("Ana", "Núñez"), person("Ana María", "Núñez", "López")),
        (person("A.", "Núñez"), person("Ana", "Núñez")),
        (person("Ana", "González"), person("Ana", "Gonzales")),
        (person("Ana", "Núñez"), person("Núñez", "Ana")),
        (person("Núñez López Ana"), person("Ana", "Núñez", "López")),
        (person("Ana", "de la Cruz"), person("Ana", "Cruz")),
        (person("Ana", "López"), person("Ana", "Núñez", "López")),
        (person("Ana"), person("Ana", "Núñez")),
        (person(), person("Ana", "Núñez")),
    ],
)
def test_agrees_on_names_of_one_person(one: ContactIn, other: ContactIn) -> None:
    assert names_agree(one, other)
    assert names_agree(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (person("Ana", "Núñez", "López"), person("Luis", "Núñez", "López")),
        (person("Mario", "Pérez"), person("María", "Pérez")),
        (person("Ana", "Núñez"), person("Ana", "Ibarra")),
        (person("Luz", "de la Cruz"), person("Luz", "de la Rosa")),
        (person("Ana", "Núñez"), person("Óscar", "Peña")),
    ],
)
def test_tells_other_names_apart(one: ContactIn, other: ContactIn) -> None:
    assert not names_agree(one, other)
    assert not names_agree(other, one)


@given(PEOPLE, PEOPLE)
def test_agreement_is_mutual(one: ContactIn, other: ContactIn) -> None:
    assert names_agree(one, one)
    assert names_agree(one, other) == names_agree(other, one)
