"""Materials: infographics, leaflets and documents by file, videos by link. Files are checked, cleaned and stored as rows."""

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm import files
from crm.config import Settings
from crm.database import keyset_page, titled
from crm.errors import InvalidInput, NotFound, TooLarge
from crm.files import FILE_LIMIT, StoredFile
from crm.outreach import pdf, pictures
from crm.outreach.formats import ENDINGS, PDF, recognise
from crm.outreach.models import Material, MaterialKind
from crm.outreach.pictures import Encoded
from crm.outreach.schemas import FileOut, MaterialIn, MaterialOut, MaterialPatch
from crm.people.models import Language

NAME_LENGTH = 200
ID_LIMIT = 2**31
"""Ids are 32-bit integers; PostgreSQL refuses to compare them with larger ones."""

_PUBLIC_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Version(StrEnum):
    """Which of the stored files of a material."""

    WHOLE = "whole"
    MAIL = "mail"
    THUMBNAIL = "thumbnail"


@dataclass(frozen=True)
class Upload:
    """A file that was checked and cleaned; a PDF has no pictures."""

    name: str
    media_type: str
    body: bytes
    mail: Encoded | None = None
    thumbnail: Encoded | None = None


# --- adding and changing ------------------------------------------------------------------------------------------


def create(session: Session, data: MaterialIn, *, body: bytes | None, file_name: str | None) -> Material:
    """Add a material. ``body`` is its file (for a video, its thumbnail); ``file_name`` only names it.

    Errors: file_required, link_required, link_invalid, and those of `check`.
    """
    if data.kind is MaterialKind.VIDEO and not data.link:
        raise InvalidInput("link_required", field="link")
    if data.kind is not MaterialKind.VIDEO and body is None:
        raise InvalidInput("file_required", field="file")
    if data.link:
        host_of(data.link)
    material = Material(**data.model_dump(), public_name=secrets.token_urlsafe(24))
    if body is not None:
        _keep(session, material, check(body, file_name, data.kind))
    session.add(material)
    session.flush()
    return material


def change(session: Session, material_id: int, patch: MaterialPatch) -> Material:
    """Change what the patch names; null empties an edition, a last day or the link of what is no video; the rest stays."""
    material = get(session, material_id)
    told = patch.model_dump(exclude_unset=True)
    if "link" in told:
        _check_link(material.kind, told["link"])
    for name, value in told.items():
        if value is not None or name in ("edition", "link", "valid_until"):
            setattr(material, name, value)
    session.flush()
    return material


def _check_link(kind: MaterialKind, link: str | None) -> None:
    if link:
        host_of(link)
    elif kind is MaterialKind.VIDEO:
        raise InvalidInput("link_required", field="link")


def check(body: bytes, file_name: str | None, kind: MaterialKind) -> Upload:
    """What a file truly is, cleaned. Its size is judged first, its type by content, its pixels before they are decoded.

    Errors: file_empty, file_too_large, file_type_refused, file_not_what_it_says, file_broken, picture_too_large,
    picture_animated, pdf_active_content, pdf_encrypted, material_kind_takes_pdf, material_kind_takes_picture.
    """
    if not body:
        raise InvalidInput("file_empty", field="file")
    if len(body) > FILE_LIMIT:
        raise TooLarge("file_too_large", field="file", limit=FILE_LIMIT // 2**20)
    media_type = recognise(body, file_name)
    _check_kind(kind, media_type)
    name = _tidy_name(file_name, media_type)
    if media_type == PDF:
        return Upload(name, PDF, pdf.clean(body))
    picture = pictures.prepare(body, media_type)
    return Upload(name, media_type, picture.whole.body, picture.mail, picture.thumbnail)


def _check_kind(kind: MaterialKind, media_type: str) -> None:
    if kind is MaterialKind.DOCUMENT and media_type != PDF:
        raise InvalidInput("material_kind_takes_pdf", field="file")
    if kind is MaterialKind.VIDEO and media_type == PDF:
        raise InvalidInput("material_kind_takes_picture", field="file")


def _tidy_name(file_name: str | None, media_type: str) -> str:
    """The name without folders or unseen characters, with the ending of what it is."""
    ending = ENDINGS[media_type][0]
    last = (file_name or "").replace("\\", "/").rsplit("/", 1)[-1]
    name = "".join(letter for letter in last if letter.isprintable())
    stem = name[: -len(found)] if (found := _known_ending(name, media_type)) else name
    return (stem.strip(" .")[: NAME_LENGTH - len(ending)] or "material") + ending


def _known_ending(name: str, media_type: str) -> str | None:
    return next((ending for ending in ENDINGS[media_type] if name.casefold().endswith(ending)), None)


def _keep(session: Session, material: Material, upload: Upload) -> None:
    material.file_sha256 = files.store(session, upload.body, upload.media_type).sha256
    material.file_name = upload.name
    if upload.mail and upload.thumbnail:
        material.mail_sha256 = files.store(session, upload.mail.body, upload.mail.media_type).sha256
        material.thumbnail_sha256 = files.store(session, upload.thumbnail.body, upload.thumbnail.media_type).sha256
        material.width, material.height = upload.mail.width, upload.mail.height


def host_of(link: str) -> str:
    """The site of an https link, in ASCII so that no look-alike letters hide in it; InvalidInput(link_invalid)."""
    try:
        parts = urlsplit(link)
        host = (parts.hostname or "").encode("idna").decode()
        port_is_fine = parts.port is None or parts.port > 0
    except ValueError as error:
        raise InvalidInput("link_invalid", field="link") from error
    clean = not any(letter.isspace() or letter in '\\"<>' for letter in link)
    if parts.scheme != "https" or "." not in host.strip(".") or "@" in parts.netloc or not port_is_fine or not clean:
        raise InvalidInput("link_invalid", field="link")
    return host


# --- looking up ----------------------------------------------------------------------------------------------------


def get(session: Session, material_id: int) -> Material:
    """One material; NotFound(material_not_found)."""
    material = session.get(Material, material_id) if 0 < material_id < ID_LIMIT else None
    if material is None:
        raise NotFound("material_not_found")
    return material


def find(
    session: Session,
    *,
    kind: MaterialKind | None = None,
    language: Language | None = None,
    text: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> tuple[list[Material], str | None]:
    """Materials, newest first, and the cursor of the next page. ``text`` is looked for in the titles, without accents."""
    statement = sa.select(Material)
    if kind is not None:
        statement = statement.where(Material.kind == kind)
    if language is not None:
        statement = statement.where(Material.language == language)
    if text:
        statement = statement.where(Material.id.in_([number for number, _ in titled(session, Material.id, Material.title, text)]))
    rows, following = keyset_page(session, statement, [Material.id], cursor=cursor, limit=limit, descending=True)
    return [row[0] for row in rows], following


def missing_texts(material: Material) -> list[str]:
    """What a material lacks before it may be sent: codes of sentences in `errors.py`; empty when it is ready."""
    texts = {"alt_text_missing": material.alt_text, "full_text_missing": material.full_text}
    return [code for code, text in texts.items() if not text.strip()]


# --- its files ----------------------------------------------------------------------------------------------------


def image_for_mail(session: Session, material: Material) -> tuple[bytes, str]:
    """The picture resized for mail and its media type (PNG or JPEG); InvalidInput(material_has_no_picture)."""
    if material.mail_sha256 is None:
        raise InvalidInput("material_has_no_picture", field="material")
    stored = files.read(session, material.mail_sha256)
    return stored.body, stored.media_type


def file_of(session: Session, material: Material, version: Version = Version.WHOLE) -> StoredFile:
    """One of the stored files of a material; NotFound(file_not_found) for what it does not have."""
    names = {
        Version.WHOLE: material.file_sha256,
        Version.MAIL: material.mail_sha256,
        Version.THUMBNAIL: material.thumbnail_sha256,
    }
    sha256 = names[version]
    if sha256 is None:
        raise NotFound("file_not_found")
    return files.read(session, sha256)


def public(session: Session, public_name: str) -> Material:
    """A public material by its unguessable name; NotFound(file_not_found) for all else, alike."""
    asked = public_name if _PUBLIC_NAME.fullmatch(public_name) else ""
    material = session.scalar(sa.select(Material).where(Material.public_name == asked, Material.is_public))
    if material is None:
        raise NotFound("file_not_found")
    return material


def public_url(settings: Settings, material: Material) -> str | None:
    """Where anybody may have the file of a material; None unless it is public and has one."""
    return f"{settings.public_url}/p/materiales/{material.public_name}" if material.is_public and material.file_sha256 else None


def to_out(session: Session, material: Material, settings: Settings) -> MaterialOut:
    """A material as the doors show it."""
    return to_out_many(session, [material], settings)[0]


def to_out_many(session: Session, materials: Sequence[Material], settings: Settings) -> list[MaterialOut]:
    """Materials as the doors show them, their files read in one query."""
    wanted = {material.file_sha256 for material in materials if material.file_sha256}
    rows = session.execute(
        sa.select(StoredFile.sha256, StoredFile.media_type, StoredFile.size).where(StoredFile.sha256.in_(wanted))
    )
    stored = {sha256: (media_type, size) for sha256, media_type, size in rows}
    return [_to_out(material, stored.get(material.file_sha256 or ""), public_url(settings, material)) for material in materials]


def _to_out(material: Material, stored: tuple[str, int] | None, url: str | None) -> MaterialOut:
    file = FileOut(name=material.file_name or "", media_type=stored[0], size=stored[1]) if stored else None
    return MaterialOut(
        id=material.id,
        kind=material.kind,
        title=material.title,
        edition=material.edition,
        language=material.language,
        alt_text=material.alt_text,
        full_text=material.full_text,
        file=file,
        width=material.width,
        height=material.height,
        link=material.link,
        link_host=host_of(material.link) if material.link else None,
        is_public=material.is_public,
        public_name=material.public_name if material.is_public else None,
        public_url=url,
        valid_until=material.valid_until,
        missing=missing_texts(material),
        created_at=material.created_at,
    )
