"""Composing and compiling: the mail that staff wrote becomes one person's bytes, safely in every context."""

import os
import re
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crm.errors import InvalidInput
from crm.mailing import markdown, templates
from crm.mailing.compiling import Compiled
from crm.mailing.composing import Attached, compose
from crm.mailing.schemas import VariantIn
from crm.mailing.splicing import Envelope, SenderLine, build
from crm.people.models import Language

SENDER = SenderLine("Red Voto Chilango <red@example.org>", "respuestas@example.org")
UNSUBSCRIBE = "https://crm.example.org/p/baja/" + "x" * 60
VALUES = {
    "nombre": 'José "Pepe" O\'Neil <b>&% ❤️ cafe\u0301',
    "saludo": "Hola, José:",
    "ciudad": "Los Ángeles / 100 %",
    "pais": "EE. UU. & más",
    "enlace_baja": UNSUBSCRIBE,
}
PICTURE = Attached(
    "Tres pasos", "Tres pasos: ❤️ \"cita\" <uno> & 'dos'", "Paso **uno**.", os.urandom(900), "image/png", "infografía.png", 600
)


def variant(*blocks: dict[str, Any], subject: str = "Tu credencial, {{ nombre }}", language: str = "es") -> VariantIn:
    return VariantIn.model_validate({"language": language, "subject": subject, "preheader": "{{ ciudad }}", "blocks": list(blocks)})


def mail_of(compiled: Compiled, values: dict[str, str] = VALUES, name: str = "José Núñez") -> tuple[bytes, EmailMessage]:
    envelope = Envelope(name, "ana@example.org", "abc@example.org", UNSUBSCRIBE, "c1:s1", datetime(2027, 1, 7, 18, tzinfo=UTC))
    raw = b"".join(build(compiled, values, envelope, SENDER))
    return raw, message_from_bytes(raw, policy=policy.default)


def body(mail: EmailMessage, kind: str) -> str:
    part = mail.get_body((kind,))
    assert part is not None
    return str(part.get_content())


EVERY_BLOCK = (
    {"type": "cover", "title": "5 < 6 & 7, {{ nombre }}", "kicker": "Taller"},
    {"type": "text", "body": "{{ saludo }}\n\n.{{ nombre }}. [liga](https://www.example.org/?n={{ nombre }}&b=1)\n\n- uno\n- dos"},
    {"type": "fact", "body": "**Jueves** en {{ ciudad }}"},
    {"type": "image", "material": 1, "link": "https://www.example.org/{{ ciudad }}"},
    {"type": "button", "label": "Ir ❤️", "link": "https://www.example.org/?p={{ pais }}"},
    {"type": "divider"},
    {"type": "attachment", "material": 2},
)
MATERIALS = {1: PICTURE, 2: Attached("Folleto", "", "", b"%PDF-1.7", "application/pdf", "folleto.pdf")}


@pytest.mark.parametrize("template", sorted(templates.all_templates()))
@pytest.mark.parametrize("language", ["es", "en"])
def test_composes_every_template_in_both_languages(template: str, language: str) -> None:
    raw, mail = mail_of(compose(template, variant(*EVERY_BLOCK, language=language), MATERIALS))
    page, text = body(mail, "html"), body(mail, "plain")
    assert mail["subject"] == f"Tu credencial, {VALUES['nombre']}"
    assert VALUES["nombre"] in text
    assert "Jos%C3%A9%20%22Pepe%22%20O%27Neil%20%3Cb%3E%26%25" in page
    assert 'José "Pepe" O\'Neil &lt;b&gt;&amp;% ❤️ cafe\u0301' in page
    assert 'alt="Tres pasos: ❤️ &quot;cita&quot; &lt;uno&gt; &amp; &#x27;dos&#x27;"' in page
    assert "5 &lt; 6 &amp; 7" in page
    assert "5 < 6 & 7" in text
    assert PICTURE.alt_text in text
    assert "Paso uno." in text
    assert "@media" in page
    assert UNSUBSCRIBE in page
    assert UNSUBSCRIBE in text
    assert "zq" not in page + text
    assert [mail.get_content_type(), list(mail.walk())[-1].get_content_type()] == ["multipart/mixed", "application/pdf"]
    assert all(len(line) <= 998 and not line.startswith(b".") for line in raw.split(b"\r\n"))
    assert b"\n" not in raw.replace(b"\r\n", b"")


def test_asks_nothing_of_the_outside_but_the_links_of_staff() -> None:
    _, mail = mail_of(compose("invitation", variant(*EVERY_BLOCK), MATERIALS))
    asked = re.findall(r"""(?:href|src|url|@import|background)\s*[=(]\s*["']?([^"'\s>)]+)""", body(mail, "html"))
    assert asked
    for address in asked:
        assert address.startswith(("https://www.example.org/", UNSUBSCRIBE, "cid:")), address
    assert "fonts.googleapis" not in body(mail, "html")


def test_writes_the_headers_that_mailbox_providers_ask_for() -> None:
    raw, mail = mail_of(compose("notice", variant({"type": "text", "body": "hola"}), {}))
    head = raw.split(b"\r\n\r\n")[0].decode()
    assert f"List-Unsubscribe: <{UNSUBSCRIBE}>\r\n" in head
    assert "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" in head
    assert mail["List-ID"] == "Red Voto Chilango <red-voto-chilango.example.org>"
    assert mail["Reply-To"] == "respuestas@example.org"
    assert mail["Message-ID"] == "<abc@example.org>"
    assert str(mail["To"]) == "José Núñez <ana@example.org>"
    assert not mail.defects
    assert all("=?" not in line for line in head.split("\r\n") if line.startswith("List-"))


def test_uses_the_text_of_staff_when_a_value_is_missing() -> None:
    compiled = compose("notice", variant({"type": "text", "body": "Hola, {{ nombre | amiga o amigo }}."}), {})
    assert "Hola, amiga o amigo." in body(mail_of(compiled, {"enlace_baja": UNSUBSCRIBE})[1], "plain")


def test_keeps_the_compiled_mail_through_the_database_form() -> None:
    compiled = compose("invitation", variant(*EVERY_BLOCK), MATERIALS)
    again = Compiled.from_json(compiled.to_json())
    assert mail_of(again)[0] == mail_of(compiled)[0]
    assert again.sha256 == compiled.sha256


@pytest.mark.parametrize(
    ("block", "code"),
    [
        ({"type": "text", "body": "{{ nobmre }}"}, "merge_field_unknown"),
        ({"type": "text", "body": "{{ nombre "}, "merge_field_malformed"),
        ({"type": "text", "body": "{% include 'x' %} {{ 7*7 }}"}, "merge_field_malformed"),
        ({"type": "button", "label": "Ir", "link": "{{ nombre }}"}, "merge_field_misplaced"),
        ({"type": "text", "body": "[x]({{ ciudad }}/a)"}, "merge_field_misplaced"),
    ],
)
def test_refuses_fields_that_cannot_work(block: dict[str, Any], code: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        compose("notice", variant(block), {})
    assert caught.value.code == code
    assert caught.value.sentence


def test_lets_the_personal_link_be_a_whole_address() -> None:
    compiled = compose("notice", variant({"type": "text", "body": "[Salir]({{ enlace_baja }})"}), {})
    assert f'<a href="{UNSUBSCRIBE}"' in body(mail_of(compiled)[1], "html")


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=200))
@settings(max_examples=60, deadline=None)
def test_carries_any_value_to_its_reader(value: str) -> None:
    value = " ".join(value.split())
    compiled = _plain_compiled()
    _, mail = mail_of(compiled, {"nombre": value, "enlace_baja": UNSUBSCRIBE}, name="")
    assert f"[{value or 'nadie'}]" in body(mail, "plain")


def _plain_compiled() -> Compiled:
    return compose("notice", variant({"type": "text", "body": "\\[{{ nombre | nadie }}\\]"}, subject="x"), {})


@given(st.text(max_size=300))
@settings(max_examples=80, deadline=None)
def test_composes_any_text_of_staff(text: str) -> None:
    cleaned = text.replace("\0", "").replace("{{", "").replace("}}", "")
    try:
        compiled = compose("notice", variant({"type": "text", "body": cleaned}, subject="x"), {})
    except InvalidInput as error:
        assert error.code in {"merge_field_malformed", "merge_field_unknown"}  # noqa: PT017  # braces that met when cut
        return
    raw, _ = mail_of(compiled)
    assert all(len(line) <= 998 for line in raw.split(b"\r\n"))


def test_cleans_html_and_links_of_other_kinds_from_markdown() -> None:
    page = markdown.to_html(
        "<script>x</script> [a](javascript:alert(1)) [b](https://www.example.org) ![i](https://www.example.org/i.png)"
    )
    assert "<script" not in page
    assert "javascript:" not in page.replace("[a](javascript:alert(1))", "")
    assert "<img" not in page
    assert Language.SPANISH
