"""Each mail read back by two parsers that are not ours, Python's ``email`` and postal-mime on node: whatever a person is called and
whatever staff wrote, both read this very person's values and nothing else."""

import json
import re
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes, policy
from html.parser import HTMLParser
from typing import IO, Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from crm.errors import InvalidInput
from crm.mailing.compiling import Compiled
from crm.mailing.composing import compose
from crm.mailing.encoding import header_name, header_text
from crm.mailing.schemas import VariantIn
from crm.mailing.splicing import Envelope, SenderLine, build, subject_of
from tests.conftest import ROOT

SENDER = SenderLine('"Red «Voto» Chilango, IECM" <red@example.org>', "respuestas@example.org")
WHEN = datetime(2027, 1, 7, 18, tzinfo=UTC)
ON_NODE = """
const { default: PostalMime } = require('postal-mime');
const lines = require('readline').createInterface({ input: process.stdin });
lines.on('line', async line => {
  const mail = await PostalMime.parse(Buffer.from(line, 'base64'));
  const { subject, from, to, text, html, messageId, headers } = mail;
  process.stdout.write(JSON.stringify({ subject, from, to, text, html, messageId, headers }) + '\\n');
});
"""
"""Mails come in base64, one a line; each is answered by a line."""

HOSTILE = (
    'José "Pepe" O\'Neil',
    "Ana, Núñez <otra@example.org>",
    "❤️👩‍👩‍👧‍👦🏳️‍🌈",
    "cafe\u0301 a\u0300\u0316\u0334",
    "مرحبا \u202eabc\u202c עברית",
    "uno\u00a0dos\u2007tres\u202fcuatro",
    "C:\\temp\\{{ nombre }}",
    "{{ nombre }} {% if x %} {{7*7}}",
    "=?utf-8?B?aG9sYQ==?= =?utf-8?Q?x?=",
    "From quien sea",
    ".",
    ".. .punto",
    "=3D =20 100 % %s %00",
    "a" * 500,
    "ñ" * 500,
    "palabra " * 62 + "fin",
    "<script>alert(1)</script>&lt;b&gt;",
    "](https://mala.example.net) [x",
    "*negritas* _y_ `código` # no",
    "--=_frontera",
    "zq000000000000f0z",
    "undisclosed-recipients:;",
    "(comentario) @ ; :",
    "𝒜𝓷𝓪 ﷽ \ufb01",
)
LETTERS = st.characters(exclude_categories=["Cs", "Cc", "Cn", "Co", "Zl", "Zp"])
WORDS = st.text(LETTERS, max_size=80) | st.text("\"\\<>,;:=?._{}@()&%' aé", max_size=200)
VALUES = st.sampled_from(HOSTILE) | WORDS.filter(str.strip)
LINK = "https://www.example.org/a?n={{ nombre | x }}&b=1#{{ ciudad | y }}"
BODY = "{{ saludo | Hola }}\n\nEs: \\[{{ nombre | nadie }}\\]\n{{ organizacion | . }}\n\n[ir](" + LINK + ")"
BLOCKS = (
    {"type": "cover", "title": "Para {{ nombre | nadie }}", "kicker": ".{{ ciudad | y }}"},
    {"type": "text", "body": BODY},
    {"type": "button", "label": "{{ organizacion | Ir }}", "link": "https://www.example.org/b/{{ organizacion | z }}"},
    {"type": "text", "body": "[Salir]({{ enlace_baja }})"},
)


@dataclass(frozen=True)
class Read:
    """What a parser makes of a mail."""

    subject: str
    sender: tuple[str, str]
    to: list[tuple[str, str]]
    unsubscribe: str
    message_id: str
    text: str
    html: str


class Node:
    """A process that reads mails with postal-mime."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._in: IO[bytes] = process.stdin
        self._out: IO[bytes] = process.stdout

    def read(self, mail: bytes) -> Read:
        self._in.write(b64encode(mail) + b"\n")
        self._in.flush()
        told: dict[str, Any] = json.loads(self._out.readline())
        headers = {one["key"]: one["value"] for one in told["headers"]}
        return Read(
            told["subject"],
            (told["from"]["name"], told["from"]["address"]),
            [(one["name"], one["address"]) for one in told["to"]],
            headers["list-unsubscribe"],
            told["messageId"],
            told["text"],
            told["html"],
        )


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    command = [str(ROOT / ".venv" / "bin" / "node"), "-e", ON_NODE]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as process:
        yield Node(process)
        assert process.stdin is not None
        process.stdin.close()


def by_python(raw: bytes) -> Read:
    mail = message_from_bytes(raw, policy=policy.default)
    assert not mail.defects
    bodies = {kind: mail.get_body((kind,)) for kind in ("plain", "html")}
    [sender] = mail["from"].addresses
    return Read(
        str(mail["subject"]),
        (sender.display_name, sender.addr_spec),
        [(one.display_name, one.addr_spec) for one in mail["to"].addresses],
        str(mail["list-unsubscribe"]),
        str(mail["message-id"]),
        *(str(part.get_content()) for part in bodies.values() if part is not None),
    )


class Page(HTMLParser):
    """What a reader sees of an HTML text, and where its links lead."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.words: list[str] = []
        self._hidden = 0
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in {"script", "b"}, "a value became a tag"
        self._hidden += tag in {"style", "title"}
        self.links += [value or "" for name, value in attrs if name == "href"]

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in {"style", "title"}

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


@pytest.fixture(scope="module")
def compiled() -> Compiled:
    variant = {
        "language": "es",
        "subject": "{{ nombre | nadie }}: tu {{ ciudad | ciudad }}",
        "preheader": "{{ nombre | n }}",
        "blocks": BLOCKS,
    }
    return compose("invitation", VariantIn.model_validate(variant), {})


def one_line(value: str) -> str:
    return " ".join(value.split())


def is_well_formed(raw: bytes) -> None:
    """RFC 5322 2.1.1, RFC 2045 6.7, RFC 5321 4.5.2: each line as every server takes it."""
    assert raw.isascii()
    assert b"\0" not in raw
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", raw), "a bare CR or LF"
    head, _, body = raw.partition(b"\r\n\r\n")
    assert all(len(line) <= 998 for line in raw.split(b"\r\n"))
    assert [line for line in body.split(b"\r\n") if len(line) > 76 and not line.startswith(b"Content-")] == []
    assert not any(line.startswith(b".") for line in raw.split(b"\r\n"))
    assert all(line.strip() for line in head.split(b"\r\n")), "a header line of blanks ends the header for some"


def both_read(node: Node, compiled: Compiled, name: str, told: dict[str, str | None]) -> None:
    """Build the mail of a person so called and have both parsers read their own values in it."""
    link = "https://crm.example.org/p/baja/AbC_-1.x"
    values = {"enlace_baja": link} | {field: value for field, value in told.items() if value is not None}
    raw = b"".join(
        build(compiled, values, Envelope(name, "ana.o'neil+x@example.org", "abc@example.org", link, "c1:s1", WHEN), SENDER)
    )
    is_well_formed(raw)
    seen = by_python(raw), node.read(raw)
    for read in seen:
        assert one_line(read.subject) == one_line(subject_of(compiled, values))
        assert read.sender == ("Red «Voto» Chilango, IECM", "red@example.org")
        [(to_name, to_address)] = read.to
        assert to_address == "ana.o'neil+x@example.org"
        assert "".join(to_name.split()) == "".join(name.split())
        assert (read.unsubscribe, read.message_id) == (f"<{link}>", "<abc@example.org>")
        holds_the_values(read, values)
    assert one_line(seen[1].to[0][0]) == one_line(name)  # Python keeps the blank between encoded words, against RFC 2047, 6.2
    assert tidy(seen[0].text) == tidy(seen[1].text)
    assert tidy(seen[0].html) == tidy(seen[1].html)


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: ascii(value)[:20])
def test_two_parsers_read_a_hostile_value_back(node: Node, compiled: Compiled, value: str) -> None:
    both_read(node, compiled, value, {"nombre": value, "ciudad": value, "organizacion": value})


@given(name=VALUES, given_name=VALUES, city=VALUES | st.none(), company=VALUES | st.none())
@hypothesis_settings(max_examples=100)
def test_two_parsers_read_each_persons_own_values(
    node: Node, compiled: Compiled, name: str, given_name: str, city: str | None, company: str | None
) -> None:
    both_read(node, compiled, name, {"nombre": given_name, "ciudad": city, "organizacion": company})


def tidy(text: str) -> str:
    return text.replace("\r\n", "\n").strip("\n")


def holds_the_values(read: Read, values: dict[str, str]) -> None:
    nombre, ciudad = one_line(values["nombre"]) or "nadie", one_line(values.get("ciudad", "y"))
    company = one_line(values.get("organizacion", "."))
    page = Page(read.html)
    for text in (one_line(read.text), page.text):
        assert f"[{nombre}]" in text
        assert f"Para {nombre}" in text
        assert company in text
    assert values["enlace_baja"] in read.text
    assert values["enlace_baja"] in page.links
    own = [link for link in page.links if link.startswith("https://www.example.org/a")]
    assert [unquote(link) for link in own] == [f"https://www.example.org/a?n={nombre}&b=1#{ciudad}"]
    assert own[0].isascii()
    assert [unquote(one) for one in page.links if one.startswith("https://www.example.org/b/")]
    assert all(link.startswith(("https://www.example.org/", values["enlace_baja"])) for link in page.links), page.links


@given(VALUES, st.sampled_from(["\r\nBcc: todos@example.org", "\n", "\r", "\r\n\r\n<b>cuerpo</b>"]), st.booleans())
@hypothesis_settings(max_examples=30)
def test_no_value_begins_a_line_of_the_header(compiled: Compiled, value: str, breaks: str, before: bool) -> None:
    broken = breaks + value if before else value + breaks + "x"
    values = {"nombre": broken, "enlace_baja": "https://crm.example.org/p/baja/x"}
    for write in (header_text, header_name):
        with pytest.raises(InvalidInput, match="header_refused"):
            write(broken)
    with pytest.raises(InvalidInput, match="header_refused"):
        build(compiled, values, Envelope("Ana", "ana@example.org", "x@example.org", values["enlace_baja"], "c1:s1", WHEN), SENDER)
