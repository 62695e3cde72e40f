"""Redactar: a campaign written in blocks, with the real mail beside it as a chosen person would get it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Form, Path, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import ValidationError
from sqlalchemy.orm import Session
from starlette.datastructures import FormData

from crm import clock
from crm.errors import CrmError
from crm.mailing import audience, campaigns, fields, previews, relays, revisions, segments, sends, templates
from crm.mailing.models import Campaign, Segment, Send
from crm.mailing.previews import Preview
from crm.mailing.schemas import Audience, CampaignIn, Problem, VariantIn
from crm.outreach import materials
from crm.outreach.models import Material, MaterialKind
from crm.people.models import Language
from crm.staff.models import Account
from web import samples
from web.asked import whole_number
from web.dependencies import Posted, SessionOf, ViewerOf, database_of, settings_of, writing
from web.draft_form import BLOCK_PARTS, BLOCK_WORDS, MATERIAL_KINDS, PART_WORDS, Draft, faults, moved, of_campaign, read
from web.headers import PREVIEW_POLICY
from web.pages import Viewer, go, is_fragment, page
from web.samples import Sample
from web.words import LANGUAGES, PURPOSES

WIDTHS = {"computer": "Computadora", "phone": "Teléfono", "text": "Texto"}
MATERIALS_MOST = 200
SEGMENTS_MOST = 200

router = APIRouter()
CampaignId = Annotated[int, Path(ge=1, lt=2**31)]


# --- a new one ---------------------------------------------------------------------------------------------------------------


@router.get("/campanas/nueva")
def begin(
    request: Request,
    session: SessionOf,
    plantilla: str = "",
    segmento: Annotated[int | None, Query(ge=1, lt=2**31)] = None,
) -> Response:
    """Which template, and what to call it; ``segmento`` is to whom, when one comes from there."""
    return _new_page(request, session, "", plantilla, segmento)


@router.post("/campanas/nueva")
def make(
    request: Request,
    session: SessionOf,
    nombre: Annotated[str, Form()] = "",
    plantilla: Annotated[str, Form()] = "",
    segmento: Annotated[int | None, Form(ge=1, lt=2**31)] = None,
) -> Response:
    """Write the draft that a template begins with."""
    if not nombre.strip():
        wrong = "Escriba cómo se llama la campaña, para encontrarla después."
        return _new_page(request, session, nombre, plantilla, segmento, wrong)
    try:
        begun = _with_material(session, templates.starter(plantilla, nombre.strip()[:200]))
        include = [segment.id] if (segment := _segment(session, segmento)) else []
        made = campaigns.create(session, begun.model_copy(update={"audience": Audience(include=include)}))
    except (CrmError, ValidationError):
        wrong = "Elija una de las plantillas y revise el nombre."
        return _new_page(request, session, nombre, plantilla, segmento, wrong)
    return RedirectResponse(f"/campanas/{made.id}/redactar", status_code=303)


def _with_material(session: Session, begun: CampaignIn) -> CampaignIn:
    """The draft with the newest material that its template has a place for, if there is one in its language."""
    told = templates.get(begun.template).material
    if told is None:
        return begun
    block, kind, place = told
    first = _first_materials(session, MaterialKind(kind))
    variants = []
    for variant in begun.variants:
        blocks = [block.model_dump() for block in variant.blocks]
        if number := first.get((block, variant.language.value)):
            blocks.insert(place, {"type": block, "material": int(number)})
        variants.append(VariantIn.model_validate(variant.model_dump() | {"blocks": blocks}))
    return begun.model_copy(update={"variants": variants})


def _new_page(
    request: Request, session: Session, name: str, chosen: str, segment_id: int | None, wrong: str | None = None
) -> Response:
    every = templates.all_templates()
    context = {
        "templates": list(every.values()),
        "purposes": PURPOSES,
        "name": name,
        "chosen": chosen if chosen in every else next(iter(every)),
        "segment": _segment(session, segment_id),
        "wrong": wrong,
    }
    return page(request, "drafting/new.html", context, status=422 if wrong else 200)


def _segment(session: Session, segment_id: int | None) -> Segment | None:
    """The segment that one came from; None when it is not there (any more)."""
    return session.get(Segment, segment_id) if segment_id else None


@router.post("/campanas/{campaign_id}/duplicar")
def duplicate(session: SessionOf, campaign_id: CampaignId) -> Response:
    """A new draft with the content of a campaign."""
    return RedirectResponse(f"/campanas/{campaigns.duplicate(session, campaign_id).id}/redactar", status_code=303)


# --- writing -----------------------------------------------------------------------------------------------------------------


@router.get("/campanas/{campaign_id}/redactar")
def show(
    request: Request,
    session: SessionOf,
    campaign_id: CampaignId,
    persona: Annotated[int | None, Query(ge=1, lt=2**31)] = None,
    ancho: str = "computer",
) -> Response:
    """The editor with what is stored."""
    campaign = campaigns.get(session, campaign_id)
    stored = Stored(of_campaign(campaigns.content_of(campaign), campaign.version))
    return _editor(request, session, campaign, stored, View(persona, ancho if ancho in WIDTHS else "computer"))


@router.post("/campanas/{campaign_id}/redactar")
def write(request: Request, viewer: ViewerOf, campaign_id: CampaignId, form: Posted) -> Response:
    """Save, after moving, adding or taking away a block if a button said so; what cannot be saved keeps its text.

    The page counts its whole audience: it is made after the saving, which every few seconds of writing asks for, is committed.
    """
    deed, view = str(form.get("deed", "save")), View.read(form)
    with writing(request) as session:
        stored = _stored(session, viewer, campaign_id, form, deed)
    if deed == "review" and stored.saved:
        return go(request, f"/campanas/{campaign_id}/revisar")
    side_only = deed == "autosave" and stored.conflict is None
    with database_of(request).session(write=False) as session:
        return _editor(request, session, campaigns.get(session, campaign_id), stored, view, side_only=side_only)


def _stored(session: Session, viewer: Viewer, campaign_id: int, form: FormData, deed: str) -> "Stored":
    campaign, draft = campaigns.get(session, campaign_id), read(form)
    conflict = None if form.get("mine") else _conflict(session, campaign, draft, viewer)
    if conflict:
        return Stored(draft, conflict=conflict, status=409)
    if deed == "undo":
        undone = campaigns.undo(session, campaign.id)
        return Stored(of_campaign(campaigns.content_of(undone), undone.version), saved=True)
    draft = moved(draft, deed, _first_materials(session))
    try:
        with session.begin_nested():
            campaign = campaigns.change(session, campaign_id, draft.content()) if _differs(campaign, draft) else campaign
    except (ValidationError, CrmError) as error:
        return Stored(replace(draft, problems=faults(draft, error)), status=422)
    return Stored(replace(draft, version=campaign.version), saved=True)


def _differs(campaign: Campaign, draft: Draft) -> bool:
    """Whether there is anything to save: looking at it as another person is no change."""
    written = draft.content()
    stored = campaigns.content_of(campaign)
    return written != stored.model_copy(update={"content_class": written.content_class})


def _first_materials(session: Session, only: MaterialKind | None = None) -> dict[tuple[str, str], str]:
    """For each kind of block with a material and each language, the newest one that fits: of that language, if there is any."""
    first = {}
    for kind, found in _materials(session).items():
        for language in Language:
            fits = [material for material in found if only is None or material.kind is only]
            own = [material for material in fits if material.language is language] or fits
            if own:
                first[kind, language.value] = str(own[0].id)
    return first


def _materials(session: Session) -> dict[str, list[Material]]:
    every, _ = materials.find(session, limit=MATERIALS_MOST)
    return {
        block: [material for material in every if material.kind in {MaterialKind(kind) for kind in kinds}]
        for block, kinds in MATERIAL_KINDS.items()
    }


# --- two people at once -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Conflict:
    """What someone else saved while this person was writing."""

    who: str
    at: datetime
    differences: Sequence[tuple[str, str, str]]
    version: int


def _conflict(session: Session, campaign: Campaign, draft: Draft, viewer: Viewer) -> Conflict | None:
    """Whether somebody else saved since the form was given out; one's own savings are no conflict."""
    later = revisions.since(session, campaign.id, draft.version)
    others = [revision for revision in later if revision.account_id != viewer.account_id]
    if not others:
        return None
    last = others[-1]
    account = session.get(Account, last.account_id) if last.account_id else None
    seen = revisions.at_version(session, campaign.id, draft.version)
    changed = revisions.differences(seen, campaigns.content_of(campaign)) if seen else []
    return Conflict(account.name if account else "Otra herramienta, por la API,", last.at, changed, campaign.version)


# --- the page ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class View:
    """As whom and how wide the mail is shown."""

    person: int | None
    width: str

    @classmethod
    def read(cls, form: Any) -> "View":
        person, width = str(form.get("view.person", "")), str(form.get("view.width", ""))
        return cls(whole_number(person), width if width in WIDTHS else "computer")


@dataclass(frozen=True)
class Stored:
    """A draft as the page shows it, and what became of its saving."""

    draft: Draft
    conflict: Conflict | None = None
    saved: bool = False
    status: int = 200


def _editor(
    request: Request, session: Session, campaign: Campaign, stored: Stored, view: View, *, side_only: bool = False
) -> Response:
    context = {
        "campaign": campaign,
        "draft": stored.draft,
        "conflict": stored.conflict,
        "saved": stored.saved,
        "now": clock.now(),
        "ordered": _newest_send(session, campaign, Send.state.not_in(sends.OVER)),
        "sent": _newest_send(session, campaign, Send.state.in_(sends.OVER) & ~Send.was_taken_back),
        "stopped": whole_number(request.query_params.get("detenido", "")),
        "languages": {language.value: words for language, words in LANGUAGES.items()},
        **_choices(session),
        **_side(request, session, campaign, view),
    }
    if not is_fragment(request):
        return page(request, "drafting/page.html", context, status=stored.status)
    return page(request, "drafting/side.html" if side_only else "drafting/editor.html", context, status=stored.status)


def _newest_send(session: Session, campaign: Campaign, told: sa.ColumnElement[bool]) -> Send | None:
    """The newest send of a campaign that is so: what is written now does not change its mails."""
    found = sa.select(Send).where(Send.campaign_id == campaign.id, told).order_by(Send.id.desc())
    return session.scalars(found.limit(1)).first()


def _choices(session: Session) -> dict[str, Any]:
    return {
        "segments": segments.find(session, limit=SEGMENTS_MOST)[0],
        "materials": _materials(session),
        "purposes": {purpose.value: words for purpose, words in PURPOSES.items()},
        "templates": templates.all_templates(),
        "chosen_first": chosen_first,
        "block_words": BLOCK_WORDS,
        "block_parts": BLOCK_PARTS,
        "part_words": PART_WORDS,
        "fields": fields.CATALOGUE.values(),
    }


def chosen_first(every: Sequence[Segment], chosen: Sequence[str]) -> list[Segment]:
    """Segments with those that are marked before the others, so that none is marked out of sight."""
    return sorted(every, key=lambda segment: str(segment.id) not in chosen)


def _side(request: Request, session: Session, campaign: Campaign, view: View) -> dict[str, Any]:
    """The mail as it is stored, and what to mend or to know."""
    rules = audience.rules_of(session, campaign.include, campaign.exclude)
    skipped = audience.skip_reason(session, campaign.purpose, relay_is_local=relays.is_local(settings_of(request)))
    people = samples.in_order(session, view.person, samples.of_rules(session, rules, skipped))
    shown = people[0] if people else None
    reviewed = campaigns.review(session, campaign, settings_of(request))
    return {
        "samples": people,
        "shown": shown,
        "view": view,
        "widths": WIDTHS,
        "preview": _preview(request, session, campaign, shown),
        "problems": [_told(problem) for problem in reviewed.problems],
        "review": reviewed,
        "sender": settings_of(request).mail_from,
    }


def _preview(request: Request, session: Session, campaign: Campaign, shown: Sample | None) -> Preview | None:
    try:
        return previews.of_campaign(session, campaign, shown.id, settings_of(request)) if shown else None
    except CrmError:
        return None


def _told(problem: Problem) -> dict[str, Any]:
    """A problem with the place in the form that it speaks of."""
    where = ""
    if problem.language is not None and problem.block is not None:
        where = f"#block-{problem.block}"
    told = {"sentence": problem.sentence, "blocking": problem.blocking, "where": where, "block": problem.block}
    return told | {"language": problem.language.value if problem.language else None}


@router.get("/campanas/{campaign_id}/vista")
def preview(
    request: Request,
    session: SessionOf,
    campaign_id: CampaignId,
    contacto: Annotated[int, Query(ge=1, lt=2**31)],
    idioma: Language | None = None,
) -> Response:
    """The mail as a person would get it, with the links of no one, under a policy that lets it do nothing."""
    made = previews.of_campaign(session, campaigns.get(session, campaign_id), contacto, settings_of(request), idioma)
    return HTMLResponse(made.html, headers={"Content-Security-Policy": f"{PREVIEW_POLICY}; frame-ancestors 'self'"})
