"""Privacy notices: each version as it was shown, and which one is in force. What was shown is never rewritten."""

import re
import unicodedata
from collections.abc import Sequence
from datetime import date
from typing import TypedDict, Unpack

import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm import clock
from crm.errors import Conflict, InvalidInput, NotFound
from crm.people.models import Language, PrivacyNotice

TEXT_LENGTH = 20_000
_VERSION = re.compile(r"[0-9A-Za-zÁÉÍÓÚÜÑáéíóúüñ]([0-9A-Za-zÁÉÍÓÚÜÑáéíóúüñ._-]| (?! ))*(?<! )")
"""Letters that look like nothing else, since the version stands in an address and people tell versions apart by eye."""
_UNFILLED = re.compile(r"\[[^\[\]]*\]")

FULL_TEXT = """Responsable
[Nombre y domicilio del Instituto y de la unidad que lleva la Red]

Sistema de datos personales
[Nombre con el que está inscrito]

Fundamento legal
[Artículos que facultan el tratamiento]

Datos que se recaban
Nombre, correo electrónico, ciudad y país de residencia; de forma optativa teléfono, alcaldía de origen, organización y cargo. No se
piden datos sensibles: ni partido, ni sentido del voto, ni situación migratoria, ni CURP, ni clave de elector.

Finalidades que requieren consentimiento
Enviar información electoral, educación cívica, invitaciones y boletines.

Finalidades que no lo requieren
[Las que la ley permite sin consentimiento, o «ninguna»]

Transferencias
[A quién y para qué, o «no se transfieren»]

Cómo negarse o retirar el consentimiento
Con el enlace de baja de cada correo, o por escrito a la Unidad de Transparencia.

Derechos de acceso, rectificación, cancelación y oposición
[Medios para ejercerlos; domicilio, correo y teléfono de la Unidad de Transparencia]

Cambios a este aviso
Cada versión se publica con su fecha; la vigente se enlaza al pie de cada correo.
"""
"""What a complete notice says (Ley General de Protección de Datos Personales en Posesión de Sujetos Obligados, on the aviso
integral): brackets are left for who answers for it, and nothing with a bracket is published."""


def newest(session: Session) -> PrivacyNotice | None:
    """The privacy notice in force today, by the calendar of Mexico City; None when none is kept."""
    in_force = PrivacyNotice.valid_from.is_(None) | (PrivacyNotice.valid_from <= clock.today())
    by_age = (PrivacyNotice.valid_from.desc().nulls_last(), PrivacyNotice.id.desc())
    return session.scalars(sa.select(PrivacyNotice).where(in_force).order_by(*by_age).limit(1)).first()


def get(session: Session, version: str) -> PrivacyNotice:
    """The privacy notice of a version, as it was shown; NotFound(notice_not_found)."""
    found = session.scalar(sa.select(PrivacyNotice).where(PrivacyNotice.version == version))
    if found is None:
        raise NotFound("notice_not_found")
    return found


def find(session: Session) -> Sequence[PrivacyNotice]:
    """Every version, the newest first."""
    by_age = (PrivacyNotice.valid_from.desc().nulls_last(), PrivacyNotice.id.desc())
    return session.scalars(sa.select(PrivacyNotice).order_by(*by_age)).all()


class Told(TypedDict):
    """A version of the notice as it is typed."""

    version: str
    valid_from: date
    text: str
    text_en: str
    full_text: str
    url: str


def draft(session: Session, told: Told) -> PrivacyNotice:
    """A new version that nothing keeps yet: its short text as it is shown beside a form, in Spanish and (if any) in English, and
    the complete one.

    It holds from ``valid_from`` on, today at the earliest: what was in force yesterday cannot be written today.
    InvalidInput with one part for each fault: notice_version_invalid, notice_version_taken, notice_text_required,
    notice_unfilled, notice_day_past, link_invalid, field_too_long.
    """
    version, url = unicodedata.normalize("NFC", told["version"]).strip(), told["url"].strip()
    texts = {"text": _tidy(told["text"]), "text_en": _tidy(told["text_en"]), "full_text": _tidy(told["full_text"])}
    faults = [*_version_faults(session, version), *_text_faults(texts)]
    if told["valid_from"] < clock.today():
        faults.append(InvalidInput("notice_day_past", field="valid_from"))
    if url and not re.fullmatch(r"https://[^\s<>\"]{1,490}", url):
        faults.append(InvalidInput("link_invalid", field="url"))
    if faults:
        raise InvalidInput("invalid_input", parts=faults)
    return PrivacyNotice(version=version, valid_from=told["valid_from"], url=url or None, **texts)


def publish(session: Session, **told: Unpack[Told]) -> PrivacyNotice:
    """Keep a new version; errors: those of `draft`."""
    made = draft(session, told)
    session.add(made)
    session.flush()
    return made


def withdraw(session: Session, version: str) -> None:
    """Take back a version that is not in force yet; Conflict(notice_in_force), NotFound(notice_not_found)."""
    found = get(session, version)
    if not is_to_come(found):
        raise Conflict("notice_in_force")
    session.delete(found)
    session.flush()


def is_to_come(notice: PrivacyNotice) -> bool:
    """Whether nobody was shown it yet, because its day has not come."""
    return notice.valid_from is not None and notice.valid_from > clock.today()


def text_in(notice: PrivacyNotice, language: Language) -> tuple[str, Language]:
    """The short text in a language, and the language that it is in: Spanish where there is no other."""
    if language is Language.ENGLISH and notice.text_en:
        return notice.text_en, Language.ENGLISH
    return notice.text, Language.SPANISH


def _version_faults(session: Session, version: str) -> list[InvalidInput]:
    if len(version) > 40 or not _VERSION.fullmatch(version):
        return [InvalidInput("notice_version_invalid", field="version")]
    taken = session.scalar(sa.select(PrivacyNotice.id).where(PrivacyNotice.version == version))
    return [InvalidInput("notice_version_taken", field="version")] if taken else []


def _text_faults(told: dict[str, str]) -> list[InvalidInput]:
    faults = [] if told["text"] else [InvalidInput("notice_text_required", field="text")]
    for field, text in told.items():
        if len(text) > TEXT_LENGTH:
            faults.append(InvalidInput("field_too_long", field=field, limit=TEXT_LENGTH))
        elif (left := _UNFILLED.search(text)) is not None:
            faults.append(InvalidInput("notice_unfilled", field=field, words=left[0][:60]))
    return faults


def _tidy(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\x00", "").strip()
