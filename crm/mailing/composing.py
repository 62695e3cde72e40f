"""Compose: the blocks that staff wrote, on a template, become one compiled mail per language."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from crm.mailing import markdown, templates
from crm.mailing.compiling import Compiled, Marks, Piece, cut_header, cut_html, cut_plain, encode, holes_of, joined
from crm.mailing.encoding import base64_lines, file_name_parameter
from crm.mailing.schemas import (
    AnyBlock,
    AttachmentBlock,
    ButtonBlock,
    CoverBlock,
    FactBlock,
    ImageBlock,
    TextBlock,
    VariantIn,
    VideoBlock,
)

CONTENT_WIDTH = 536
"""Pixels between the margins of a mail 600 wide."""


@dataclass(frozen=True)
class Attached:
    """A material as a mail carries it."""

    title: str
    alt_text: str
    full_text: str
    body: bytes | None
    media_type: str
    file_name: str
    width: int | None = None
    link: str | None = None


@dataclass
class _Parts:
    """What one composition gathers on its way."""

    marks: Marks
    materials: Mapping[int, Attached]
    inline: list[tuple[str, Attached]] = field(default_factory=list)
    attachments: list[Attached] = field(default_factory=list)


def compose(template: str, variant: VariantIn, materials: Mapping[int, Attached], *, notice_url: str | None = None) -> Compiled:
    """The mail of one language, compiled. ``materials`` holds every material that the blocks name."""
    parts = _Parts(Marks(), materials)
    marks = parts.marks
    blocks = [made for block in variant.blocks if (made := _block(block, parts)) is not None]
    subject = templates.render(template, "subject.txt", subject=marks.mark_fields(variant.subject))
    shared: dict[str, Any] = {
        "language": variant.language.value,
        "words": templates.words(variant.language),
        "subject": subject,
        "preheader": marks.mark_fields(variant.preheader),
        "blocks": blocks,
        "unsubscribe": marks.mark_fields("{{ enlace_baja }}"),
        "notice_url": notice_url,
    }
    page = marks.put_texts(templates.to_html(templates.render(template, "body.mjml", **shared)))
    text = marks.put_texts(templates.render(template, "body.txt", **shared), escape=False)
    subject_pieces = cut_header(subject, marks)
    body = _mime(encode(cut_plain(text + "\n", marks)), encode(cut_html(page, marks)), parts)
    return Compiled(variant.language.value, subject_pieces, body, holes_of(subject_pieces, body))


# --- blocks ---------------------------------------------------------------------------------------------------------------


def _block(block: AnyBlock, parts: _Parts) -> dict[str, Any] | None:
    marks = parts.marks
    if isinstance(block, CoverBlock):
        return {"type": "cover", "title": marks.mark_fields(block.title), "kicker": marks.mark_fields(block.kicker)}
    if isinstance(block, TextBlock | FactBlock):
        return {"type": block.type, **_prose(marks.mark_fields(block.body))}
    if isinstance(block, ButtonBlock):
        link = {"link": marks.mark_text(block.link), "link_plain": marks.mark_fields(block.link)}
        return {"type": "button", "label": marks.mark_fields(block.label), **link}
    if isinstance(block, ImageBlock):
        return _picture(block.type, parts.materials[block.material], block.link, parts)
    if isinstance(block, VideoBlock):
        material = parts.materials[block.material]
        return _picture(block.type, material, material.link, parts)
    if isinstance(block, AttachmentBlock):
        parts.attachments.append(parts.materials[block.material])
        return None
    return {"type": "divider"}


def _prose(marked: str) -> dict[str, Any]:
    return {"html": Markup(markdown.to_html(marked)), "plain": markdown.to_plain(marked)}  # noqa: S704  # cleaned by nh3


def _picture(kind: str, material: Attached, link: str | None, parts: _Parts) -> dict[str, Any]:
    marks = parts.marks
    source = None
    if material.body is not None:
        source = f"{secrets.token_hex(8)}@red"
        parts.inline.append((source, material))
    # A text of the materials has no merge fields: braces in it are just braces.
    full = _prose(_without_fields(material.full_text)) if material.full_text else {"html": "", "plain": ""}
    return {
        "type": kind,
        "title": _without_fields(material.title),
        "source": source,
        "alt": marks.mark_text(_without_fields(material.alt_text)),
        "alt_plain": _without_fields(material.alt_text),
        "width": min(material.width or CONTENT_WIDTH, CONTENT_WIDTH),
        "link": marks.mark_text(link) if link else None,
        "link_plain": marks.mark_fields(link) if link else None,
        "full_text": full["html"],
        "full_text_plain": full["plain"],
    }


def _without_fields(text: str) -> str:
    return text.replace("{{", "{ {").replace("}}", "} }")


# --- MIME (RFC 2045, 2046, 2387) ------------------------------------------------------------------------------------------


def _mime(text: list[Piece], page: list[Piece], parts: _Parts) -> list[Piece]:
    plain_part = joined(_quoted_head("text/plain"), text)
    page_part = joined(_quoted_head("text/html"), page)
    if parts.inline:
        pictures = [_file_part(material, content_id=name) for name, material in parts.inline]
        page_part = _multipart("related", [page_part, *pictures], extra='; type="text/html"')
    whole = _multipart("alternative", [plain_part, page_part])
    if parts.attachments:
        whole = _multipart("mixed", [whole, *(_file_part(material) for material in parts.attachments)])
    return whole


def _quoted_head(media_type: str) -> str:
    return f"Content-Type: {media_type}; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"


def _multipart(kind: str, parts: Sequence[list[Piece]], extra: str = "") -> list[Piece]:
    boundary = "=_" + secrets.token_hex(12)
    lines: list[list[Piece] | str] = [f'Content-Type: multipart/{kind}; boundary="{boundary}"{extra}\r\n\r\n']
    for part in parts:
        lines += [f"--{boundary}\r\n", part, "\r\n"]
    return joined(*lines, f"--{boundary}--\r\n")


def _file_part(material: Attached, content_id: str | None = None) -> list[Piece]:
    disposition = f"Content-ID: <{content_id}>\r\nContent-Disposition: inline" if content_id else "Content-Disposition: attachment"
    head = (
        f"Content-Type: {material.media_type}\r\nContent-Transfer-Encoding: base64\r\n"
        f"{disposition};\r\n {file_name_parameter(material.file_name or 'archivo')}\r\n\r\n"
    )
    return [head + base64_lines(material.body or b"")]
