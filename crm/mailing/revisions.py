"""What a campaign said at each saving: to undo a step, and to tell who changed what meanwhile."""

from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm import clock
from crm.history import SYSTEM, Actor, ActorKind
from crm.mailing.models import Campaign, CampaignRevision
from crm.mailing.schemas import CampaignIn

KEPT = 100
"""Savings of one campaign that can be undone; older ones are forgotten."""

PARTS = {
    "name": "nombre",
    "template": "plantilla",
    "purpose": "finalidad",
    "content_class": "clase de contenido",
    "audience": "audiencia",
    "subject": "asunto",
    "preheader": "resumen",
}
LANGUAGES = {"es": "español", "en": "inglés"}


def keep(session: Session, campaign: Campaign, content: CampaignIn, *, restores: int | None = None) -> None:
    """Keep what a campaign says now, under its version; ``restores`` is the version that an undo brought back."""
    actor: Actor = session.info.get("actor", SYSTEM)
    session.add(
        CampaignRevision(
            campaign_id=campaign.id,
            version=campaign.version,
            content=content.model_dump(mode="json"),
            restores=restores,
            account_id=actor.id if actor.kind is ActorKind.ACCOUNT else None,
            at=clock.now(),
        )
    )
    old = sa.delete(CampaignRevision).where(
        CampaignRevision.campaign_id == campaign.id, CampaignRevision.version <= campaign.version - KEPT
    )
    session.execute(old.execution_options(synchronize_session=False))
    session.flush()


def before(session: Session, campaign: Campaign) -> CampaignRevision | None:
    """What one undo brings back: the saving before the present one, or before the one that the present one brought back."""
    present = session.scalars(
        _of(campaign.id).where(CampaignRevision.version <= campaign.version).order_by(CampaignRevision.version.desc()).limit(1)
    ).first()
    if present is None:
        return None
    seen = present.restores or present.version
    earlier = _of(campaign.id).where(CampaignRevision.version < seen, CampaignRevision.restores.is_(None))
    return session.scalars(earlier.order_by(CampaignRevision.version.desc()).limit(1)).first()


def since(session: Session, campaign_id: int, version: int) -> list[CampaignRevision]:
    """The savings after a version, oldest first."""
    later = _of(campaign_id).where(CampaignRevision.version > version)
    return list(session.scalars(later.order_by(CampaignRevision.version)))


def at_version(session: Session, campaign_id: int, version: int) -> CampaignIn | None:
    """What a campaign said at a version; None when that is forgotten."""
    found = session.scalars(_of(campaign_id).where(CampaignRevision.version == version)).first()
    return CampaignIn.model_validate(found.content) if found else None


def _of(campaign_id: int) -> sa.Select[CampaignRevision]:
    return sa.select(CampaignRevision).where(CampaignRevision.campaign_id == campaign_id)


# --- differences ------------------------------------------------------------------------------------------------------------


def differences(old: CampaignIn, new: CampaignIn) -> list[tuple[str, str, str]]:
    """What differs, as (what it is called, before, after), in Spanish."""
    before_, after = old.model_dump(mode="json"), new.model_dump(mode="json")
    found = [
        (PARTS[name], _words(before_[name]), _words(after[name]))
        for name in ("name", "template", "purpose", "content_class", "audience")
        if before_[name] != after[name]
    ]
    olds = {variant["language"]: variant for variant in before_["variants"]}
    news = {variant["language"]: variant for variant in after["variants"]}
    for language in sorted(olds.keys() | news.keys(), reverse=True):
        found += _of_variant(LANGUAGES[language], olds.get(language, {}), news.get(language, {}))
    return found


def _of_variant(language: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    for name in ("subject", "preheader"):
        if old.get(name) != new.get(name):
            yield f"{PARTS[name]} en {language}", _words(old.get(name)), _words(new.get(name))
    for number, (one, other) in enumerate(zip_longest(old.get("blocks", []), new.get("blocks", [])), start=1):
        if one != other:
            yield f"bloque {number} en {language}", _words(one), _words(other)


def _words(value: Any) -> str:
    """A value as a person reads it."""
    if value is None or value == "":
        return "(nada)"
    if isinstance(value, dict):
        told = [str(each) for name, each in value.items() if each and name not in {"type", "only_for"}] or ["(separador)"]
        return " · ".join([*told, *([f"solo para el segmento {value['only_for']}"] if value.get("only_for") else [])])
    return str(value)
