"""Lenguaje ciudadano e incluyente: what is told, what is said well and left alone, and that it never blocks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from crm.config import Settings
from crm.mailing import campaigns, templates, wording
from crm.mailing.wording import Kind, advice
from crm.people.models import Language
from tests.mailing import factories

ES, EN = Language.SPANISH, Language.ENGLISH
once = pytest.mark.once


@once
@pytest.mark.parametrize(
    ("text", "kind", "found"),
    [
        ("Invitamos a los ciudadanos a registrarse.", Kind.INCLUSIVE, "los ciudadanos"),
        ("Bienvenidos todos.", Kind.INCLUSIVE, "Bienvenidos"),
        ("Estimados amigos:", Kind.INCLUSIVE, "Estimados"),
        ("Hola a tod@s.", Kind.INCLUSIVE, "tod@s"),
        ("Apoyo a minusválidos.", Kind.INCLUSIVE, "minusválidos"),
        ("Con la finalidad de informarle.", Kind.PLAIN, "Con la finalidad de"),
        ("Responda a este email.", Kind.PLAIN, "email"),
        ("Haga [clic aquí](https://example.org).", Kind.LINK, "clic aquí"),
        ("ATENCIÓN ESTO ES MUY IMPORTANTE hoy.", Kind.PLAIN, "ATENCIÓN ESTO ES MUY IMPORTANTE"),
        (" ".join(["palabra"] * 31) + ".", Kind.PLAIN, "palabra palabra palabra palabra palabra palabra…"),
    ],
)
def test_tells_what_could_be_said_better(text: str, kind: Kind, found: str) -> None:
    assert (kind, found) in [(one.kind, one.found) for one in advice(text, ES)]


@once
@pytest.mark.parametrize(
    "text",
    [
        "Las y los ciudadanos de la Ciudad de México.",
        "La ciudadanía que reside fuera puede votar.",
        "Escriba a contacto@example.org o a [la página del registro](https://example.org/los-ciudadanos).",
        "{{ saludo }}\n\nLe invitamos al taller del jueves.",
        "Quienes residen en {{ ciudad | el extranjero }} pueden votar.",
        "Puede responder a este correo.",
    ],
)
def test_leaves_alone_what_is_said_well(text: str) -> None:
    assert advice(text, ES) == []


@once
def test_english_is_judged_by_its_links_alone() -> None:
    assert [one.kind for one in advice("Los ciudadanos: [click here](https://example.org)", EN)] == [Kind.LINK]


@once
@given(st.text(max_size=400))
def test_no_text_breaks_it_and_advice_is_bounded(text: str) -> None:
    told = advice(text.replace("{{", "").replace("}}", ""), ES)
    assert len(told) <= wording.TOLD_MOST
    assert all(one.sentence for one in told)


@once
def test_the_house_follows_its_own_advice() -> None:
    """What a new draft begins with."""
    told = {
        (name, one.sentence)
        for name, template in templates.all_templates().items()
        for language, begun in template.starters.items()
        for block in begun.blocks
        for one in advice(getattr(block, "body", ""), language)
    }
    assert told == set()


def test_it_never_blocks(session: Session, settings: Settings) -> None:
    factories.network(session, 1)
    made = factories.campaign(session, {"type": "text", "body": "{{ saludo }} Bienvenidos los ciudadanos."})
    told = [problem for problem in campaigns.review(session, made, settings).problems if problem.code == Kind.INCLUSIVE.value]
    assert told
    assert not any(problem.blocking for problem in told)
    assert {problem.block for problem in told} == {0}
