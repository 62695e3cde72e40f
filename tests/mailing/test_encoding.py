"""Values in the contexts of a mail, and the encodings of RFC 2045, 2047 and 2231."""

import html
import quopri
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm.errors import InvalidInput
from crm.mailing.encoding import (
    LINE,
    WHOLE_LINKS,
    Context,
    base64_lines,
    file_name_parameter,
    header_name,
    header_text,
    hole_value,
    in_context,
    plain_link,
    quoted_printable,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
HOSTILE = ("❤️", "cafe\u0301", "\"quotes\" 'and' more", "100 % %s %d", "line\nbreak", "<b>&amp;</b>", "\u00a0\u200f", "..", ".", "")


@given(TEXT)
def test_decodes_quoted_printable_back_to_the_text(text: str) -> None:
    encoded = quoted_printable(text)
    decoded = quopri.decodestring(encoded.encode()).decode().replace("\r\n", "\n")
    assert decoded == text.replace("\r\n", "\n").replace("\r", "\n")


@given(TEXT | st.text(". \n", max_size=400))
def test_keeps_lines_short_and_without_leading_dots(text: str) -> None:
    for line in quoted_printable(text).split("\r\n"):
        assert len(line) <= LINE
        assert not line.startswith(".")
        assert line.isascii()


@given(TEXT)
def test_decodes_a_subject_back_to_the_text(text: str) -> None:
    text = " ".join(text.split())
    if not text.isprintable():
        return
    written = header_text(text)
    assert all(len(line) <= LINE for line in written.split("\r\n"))
    assert str(make_header(decode_header(written.replace("\r\n", "")))) == text


@given(st.text(max_size=50), st.sampled_from("\r\n"), st.text(max_size=50))
def test_refuses_a_line_break_in_a_header(before: str, breaks: str, after: str) -> None:
    with pytest.raises(InvalidInput, match="header_refused"):
        header_text(before + breaks + after)
    with pytest.raises(InvalidInput, match="header_refused"):
        header_name(before + breaks + after)


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("context", [context for context in Context if context is not Context.HEADER])
def test_writes_hostile_values_safely_in_each_context(value: str, context: Context) -> None:
    plain = " ".join(value.split())
    written = in_context(value, context)
    if context in {Context.TEXT, Context.ATTRIBUTE}:
        assert html.unescape(written) == plain
        assert "<" not in written
    if context is Context.ATTRIBUTE:
        assert '"' not in written
    if context in {Context.URL_PART, Context.PLAIN_URL_PART}:
        assert unquote(html.unescape(written)) == plain
        assert written.isascii()
    decoded = quopri.decodestring(hole_value(value, context)).decode()
    assert decoded.strip("\r\n") == written


LIKELY = st.text(alphabet=st.sampled_from("abZ09 ,:;!?@/()*+._-='&<.\u00e1\U0001f5f3"), max_size=90)
LINKS = st.from_regex(r"https?://[a-z.-]{0,9}(:[0-9]{1,6})?[/a-z?&=. -]{0,80}", fullmatch=True)


@given(LIKELY | LINKS | st.text(max_size=90), st.sampled_from([context for context in Context if context is not Context.HEADER]))
def test_writes_any_value_on_lines_that_decode_to_it(value: str, context: Context) -> None:
    written = hole_value(value, context)
    assert quopri.decodestring(written).decode() == in_context(value, context)
    assert written.startswith(b"=\r\n")
    assert all(len(line) <= 76 and not line.startswith(b".") for line in written.split(b"\r\n"))


@given(LINKS | LIKELY, st.sampled_from(sorted(WHOLE_LINKS)))
def test_writes_a_plain_link_alike_in_every_place_of_a_whole_one(value: str, context: Context) -> None:
    written = plain_link(value)
    assert written is None or written == hole_value(value, context)


@pytest.mark.parametrize("length", range(70, 80))
@pytest.mark.parametrize("last", ["a", ".", "é", "="])
@pytest.mark.parametrize("first", ["<", "é", ""])
def test_leaves_room_for_the_soft_break_after_a_value(first: str, length: int, last: str) -> None:
    """A line of 76 and the sign of the soft break would be one too many (RFC 2045, 6.7 rule 5)."""
    value = first + "a" * (length - len(last)) + last
    written = hole_value(value, Context.PLAIN)
    assert all(len(line) <= LINE and not line.startswith(b".") for line in written.split(b"\r\n"))
    assert quopri.decodestring(written).decode() == value


@pytest.mark.parametrize("value", ["javascript:alert(1)", "data:text/html,x", "//example.org", "https://", "x", " javascript:1"])
def test_writes_no_link_of_another_kind(value: str) -> None:
    assert in_context(value, Context.URL) == ""


@pytest.mark.parametrize("value", ["https://example.org/a?b=1&c=2", "http://example.org", "mailto:ana@example.org"])
def test_writes_whole_links(value: str) -> None:
    assert html.unescape(in_context(value, Context.URL)) == value


@given(TEXT.filter(lambda text: text.strip() != "" and text.isprintable()))
def test_reads_names_and_file_names_back(name: str) -> None:
    disposition = f"Content-Disposition: attachment;\r\n {file_name_parameter('a é.png')}"
    head = f"To: {header_name(name)}\r\n <a@example.org>\r\n{disposition}\r\n\r\n"
    mail = message_from_bytes(head.encode(), policy=policy.default)
    read = mail["to"].addresses[0]
    assert read.addr_spec == "a@example.org"
    assert "".join(read.display_name.split()) == "".join(name.split())


def test_writes_base64_in_lines_of_76() -> None:
    assert max(len(line) for line in base64_lines(b"x" * 1000).split("\r\n")) == LINE
