"""Headers matched by their synonyms, and rows built into contacts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm.errors import SENTENCES, CrmError, InvalidInput
from crm.people.columns import Built, build, field_of, forbidden, limit_of, match
from crm.people.full_names import split_full_name, split_surnames
from crm.people.models import Language, LeaderSector, Purpose, Treatment
from crm.people.schemas import ConsentIn, ContactIn


def built(**cells: str) -> Built:
    """A row of one cell per header."""
    return build(match(list(cells)), list(cells.values()))


def contact(**cells: str) -> ContactIn:
    row = built(**cells)
    assert row.data is not None, (row.code, row.field)
    return row.data


# --- headers ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "field"),
    [
        ("Nombre(s)", "given_names"),
        ("NOMBRES", "given_names"),
        ("First name", "given_names"),
        ("Primer apellido", "first_surname"),
        ("Apellido_Paterno", "first_surname"),
        ("Apellido materno (opcional)", "second_surname"),
        ("  segundo   APELLIDO ", "second_surname"),
        ("Apellidos", "surnames"),
        ("Last Name", "surnames"),
        ("Nombre completo", "full_name"),
        ("Correo electrónico", "emails"),
        ("CORREO ELECTRONICO 2", "emails"),
        ("E-mail", "emails"),
        ("e-mail (1)", "emails"),
        ("Correo alterno", "emails"),
        ("Ciudad de residencia", "city"),
        ("País", "country"),
        ("Pais", "country"),
        ("Estado / Provincia", "region"),
        ("State", "region"),
        ("Idioma", "language"),
        ("Etiquetas", "tags"),
        ("¿Es líder?", "leader_sectors"),
        ("Sector", "leader_sectors"),
        ("Organización", "organization"),
        ("Cargo", "post"),
        ("Job title", "post"),
        ("Teléfono", "phone"),
        ("Alcaldía de origen", "home_borough"),
        ("Trato", "treatment"),
        ("Título", "academic_title"),
        ("given_names", "given_names"),
        ("leader_sectors", "leader_sectors"),
        ("Notas", None),
        ("", None),
        ("2", None),
    ],
)
def test_matches_a_header_by_its_synonyms(header: str, field: str | None) -> None:
    assert field_of(header) == field


def test_tells_which_headers_it_did_not_understand() -> None:
    columns = match(["Nombre", "Apellidos", "Notas", "", "Correo", "Correo 2"])
    assert columns.matched == {"given_names": "Nombre", "surnames": "Apellidos", "emails": "Correo, Correo 2"}
    assert columns.unmatched == ["Notas"]


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ([], "no_header"),
        (["", " "], "no_header"),
        (["Ana", "Núñez", "ana@example.org"], "no_header"),
        (["Ciudad", "País"], "no_person_column"),
        (["Correo", "Ciudad", "CIUDAD "], "column_repeated"),
    ],
)
def test_refuses_headers_that_name_nobody(headers: list[str], code: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        match(headers)
    assert raised.value.code == code
    assert "{" not in raised.value.sentence


def test_takes_the_same_header_twice_for_addresses() -> None:
    row = build(match(["Correo", "Correo"]), ["ana@example.org", "ana@example.net"])
    assert row.data is not None
    assert row.data.emails == ["ana@example.org", "ana@example.net"]


# --- rows ------------------------------------------------------------------------------------------------------------------


def test_builds_a_whole_row() -> None:
    row = contact(
        **{
            "Nombre(s)": " María  José ",
            "Primer apellido": "de la Cruz",
            "Segundo apellido": "Nu\u0301n\u0303ez",
            "Correo": "maria@example.org; mj@example.net",
            "Ciudad": "Los Ángeles",
            "Estado": "California",
            "País": "Estados Unidos",
            "Idioma": "Inglés",
            "Etiquetas": "taller; Credencialización, TALLER",
            "Sector": "Academia / Negocios",
            "Organización": "Casa de la Ciudad",
            "Cargo": "Presidenta",
            "Teléfono": "5555550100",
            "Alcaldía": "Iztapalapa",
            "Trato": "Estimada",
            "Título": "Dra.",
        }
    )
    assert row == ContactIn(
        given_names="María José",
        first_surname="de la Cruz",
        second_surname="Núñez",
        emails=["maria@example.org", "mj@example.net"],
        city="Los Ángeles, California",
        country="Estados Unidos",
        language=Language.ENGLISH,
        tags=["TALLER", "Credencialización"],
        leader_sectors=[LeaderSector.ACADEMIA, LeaderSector.BUSINESS],
        organization="Casa de la Ciudad",
        post="Presidenta",
        phone="5555550100",
        home_borough="Iztapalapa",
        treatment=Treatment.ESTIMADA,
        academic_title="Dra.",
    )


@pytest.mark.parametrize(
    ("cell", "addresses"),
    [
        ("ana@example.org", ["ana@example.org"]),
        ("Ana Núñez <ana@example.org>", ["ana@example.org"]),
        ("mailto:ana@example.org", ["ana@example.org"]),
        ("ana@example.org / a@example.net", ["ana@example.org", "a@example.net"]),
        ("ana@example.org,\na@example.net", ["ana@example.org", "a@example.net"]),
        ("\u200bana@example.org", ["ana@example.org"]),
        ("ana arroba example.org", ["ana", "arroba", "example.org"]),
        ("no tiene", []),
        ("N/A", []),
    ],
)
def test_reads_the_addresses_of_a_cell(cell: str, addresses: list[str]) -> None:
    assert contact(Nombre="Ana", Correo=cell).emails == addresses


@pytest.mark.parametrize(
    ("cells", "code", "field"),
    [
        ({"Nombre": "", "Correo": "-", "Ciudad": "Chicago"}, "row_without_person", "given_names"),
        ({"Nombre": "Ana", "Idioma": "klingon"}, "language_unknown", "language"),
        ({"Nombre": "Ana", "Sector": "astrología"}, "sector_unknown", "leader_sectors"),
        ({"Nombre": "Ana", "Teléfono": "5" * 41}, "field_too_long", "phone"),
        ({"Nombre": "Ana\x07", "Apellidos": "Núñez"}, "field_control_characters", "given_names"),
        (
            {"Nombre": "Ana", "Correo": "a@example.org " * 9 + " ".join(f"{n}@example.org" for n in range(21))},
            "too_many_values",
            "emails",
        ),
    ],
)
def test_tells_the_fault_of_a_row(cells: dict[str, str], code: str, field: str) -> None:
    row = built(**cells)
    assert (row.data, row.code, row.field) == (None, code, field)


@pytest.mark.parametrize(
    ("cells", "warning"),
    [
        ({"Nombre": "Ana", "Trato": "Sra."}, ("treatment_unknown", "treatment")),
        ({"Nombre": "Ana", "Es líder": "Sí"}, ("leader_without_sector", "leader_sectors")),
        ({"Nombre": "Ana", "Teléfono": "5550100", "Celular": "5550101"}, ("second_value_unused", "phone")),
        ({"Nombre completo": "PÉREZ PÉREZ JOSÉ"}, ("name_seems_turned", "given_names")),
        ({"Nombre completo": "García López Juan Carlos"}, ("name_seems_turned", "given_names")),
        ({"Nombre completo, apellidos primero": "José García López"}, ("name_seems_straight", "given_names")),
    ],
)
def test_takes_a_row_with_something_to_review(cells: dict[str, str], warning: tuple[str, str]) -> None:
    row = built(**cells)
    assert row.data is not None
    assert list(row.warnings) == [warning]
    assert warning[0] in SENTENCES


@pytest.mark.parametrize(
    "name", ["Ana Núñez López", "Núñez López, Ana", "Guadalupe Reyes Ángel", "Santiago Cruz Martín", "Ana", "李 小龙"]
)
def test_doubts_no_name_that_may_be_as_it_was_read(name: str) -> None:
    assert list(built(**{"Nombre completo": name}).warnings) == []


@pytest.mark.parametrize("name", ["TOTAL", "Total: 6", "Subtotal 12", "12345", "--"])
def test_takes_no_row_of_sums_for_a_person(name: str) -> None:
    assert built(Nombre=name).code == "row_without_person"
    assert built(Nombre=name, Correo="ana@example.org").data is not None


def test_reads_a_sector_only_of_who_is_a_leader() -> None:
    assert contact(Nombre="Ana", Sector="Cultura", **{"Es líder": "Sí"}).leader_sectors == [LeaderSector.CULTURE]
    assert contact(Nombre="Ana", Sector="Cultura", **{"Es líder": "No"}).leader_sectors == []


def test_the_sectors_are_told_in_words_that_a_list_may_use() -> None:
    told = SENTENCES["sector_unknown"].removeprefix("El sector debe ser ").removesuffix(".").replace(" o ", ", ").split(", ")
    assert [contact(Nombre="Ana", Sector=words).leader_sectors for words in told] == [[sector] for sector in LeaderSector]


def test_takes_the_first_phone_that_is_filled() -> None:
    row = built(Nombre="Ana", Teléfono="", Celular="5550101")
    assert row.data is not None
    assert (row.data.phone, list(row.warnings)) == ("5550101", [])


def test_gives_everyone_the_consents_of_the_file() -> None:
    said = ConsentIn(purpose=Purpose.NEWSLETTER, evidence="Hoja de registro")
    row = build(match(["Correo"]), ["ana@example.org"], [said])
    assert row.data is not None
    assert row.data.consents == [said]


def test_keeps_a_row_as_it_came() -> None:
    columns = match(["Nombre", "Notas", "Notas", ""])
    assert columns.values(["Ana", "a", "b", "c", "d"]) == {"Nombre": "Ana", "Notas": "a", "Notas (3)": "b", "(4)": "c", "(5)": "d"}


def test_names_the_column_at_fault() -> None:
    columns = match(["Nombre completo", "Estado", "Correo", "E-mail"])
    told = [columns.header_of(field) for field in ("first_surname", "city", "emails", "phone", None)]
    assert told == ["Nombre completo", "Estado", "Correo", None, None]


@given(
    headers=st.lists(
        st.sampled_from(["Nombre", "Apellidos", "Nombre completo", "Correo", "País", "Sector", "Idioma", "Trato", "Etiquetas"])
    ),
    cells=st.lists(st.text()),
)
def test_never_raises_for_a_row(headers: list[str], cells: list[str]) -> None:
    columns = match(["E-mail 2", *dict.fromkeys(headers)])
    row = build(columns, cells)
    assert (row.data is None) == (row.code is not None)
    assert row.code is None or row.code in SENTENCES
    columns.values(cells)


def test_knows_the_limit_of_each_text() -> None:
    assert {name: limit_of(name) for name in ("phone", "given_names", "organization", "emails", "tags", "treatment")} == {
        "phone": 40, "given_names": 200, "organization": 300, "emails": 254, "tags": 80, "treatment": None,
    }  # fmt: skip


# --- names -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Ana", ("Ana", "", None)),
        ("Ana Núñez", ("Ana", "Núñez", None)),
        ("Ana Núñez López", ("Ana", "Núñez", "López")),
        ("Ana María Núñez", ("Ana María", "Núñez", None)),
        ("Núñez López, Ana María", ("Ana María", "Núñez", "López")),
        ("María José de la Cruz Núñez", ("María José", "de la Cruz", "Núñez")),
        ("José de Jesús Pérez López", ("José de Jesús", "Pérez", "López")),
        ("María del Carmen Núñez", ("María del Carmen", "Núñez", None)),
        ("Ana De León Ortega y Gasset", ("Ana", "De León", "Ortega y Gasset")),
        ("Juan Pablo Luis San Martín Ruiz", ("Juan Pablo Luis", "San Martín", "Ruiz")),
        ("Mary Jane Watson", ("Mary Jane", "Watson", None)),
        ("de la", ("de la", "", None)),
        (", Ana", ("Ana", "", None)),
    ],
)
def test_splits_a_full_name(text: str, parts: tuple[str, str, str | None]) -> None:
    assert split_full_name(text) == parts


def test_splits_two_surnames_and_leaves_the_rest_whole() -> None:
    assert split_surnames("de la Cruz Núñez") == ("de la Cruz", "Núñez")
    assert split_surnames("Núñez") == ("Núñez", None)
    assert split_surnames("Smith Jones Brown") == ("Smith Jones Brown", None)
    assert contact(**{"Nombre": "Ana", "Apellidos": "Núñez López"}).second_surname == "López"
    assert contact(**{"Nombre": "Ana Núñez López"}).first_surname == "Núñez"


@given(st.lists(st.sampled_from(["Ana", "María", "José", "Núñez", "de", "la", "del", "y", "San", "Cruz", "López"])))
def test_loses_no_word_of_a_name(words: list[str]) -> None:
    given_names, first, second = split_full_name(" ".join(words))
    assert " ".join(part for part in (given_names, first, second) if part) == " ".join(words)


def test_every_code_of_this_room_has_a_sentence() -> None:
    for code in ("value_invalid", "too_many_values", "field_too_long", "row_without_person", "second_value_unused"):
        assert CrmError(code, limit=1).sentence


@pytest.mark.parametrize(
    ("meant", "read"), [("utf-8", "cp1252"), ("utf-8", "cp850"), ("mac-roman", "cp1252"), ("cp850", "latin-1")]
)
@pytest.mark.parametrize("header", ["Intención de voto", "Situación migratoria"])
def test_reads_no_forbidden_column_though_its_letters_are_misread(header: str, meant: str, read: str) -> None:
    assert forbidden(["Nombre", header.encode(meant).decode(read)], []) == {1}
    assert forbidden(["Año", "Región", "Cónsul"], []) == frozenset()


def test_tells_a_wrong_address_beside_another_fault_of_the_row() -> None:
    row = built(Nombre="Olga", Correo="olga@@example.org", Teléfono="5.55E+09")
    assert row.code == "phone_in_exponent"
    assert list(row.more) == [("address_invalid", "emails")]
