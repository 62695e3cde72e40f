"""Segmentos: a rule built of rows and read as a sentence; who is in it now, who can be written to, why someone is or is not."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Form, Path, Query, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import ValidationError
from sqlalchemy.orm import Session
from starlette.datastructures import FormData

from crm import history
from crm.errors import SENTENCES, CrmError, NotFound
from crm.history import ActorKind
from crm.mailing import audience, relays, segments
from crm.mailing.audience import Rules
from crm.mailing.models import Segment, SkipReason
from crm.mailing.segment_fields import FIELDS, LIST_OPERATORS, OPERATOR_LABELS
from crm.mailing.segment_rules import Rule, to_json
from crm.mailing.segment_schemas import SegmentIn
from crm.mailing.segment_values import Value
from crm.people.models import Contact, Language, Purpose
from crm.people.names import display_name
from crm.staff.models import Account
from crm.staff.rights import Right
from web import samples
from web.asked import single_spaced
from web.contact_list import Filter
from web.contact_list import condition as people_of
from web.dependencies import Posted, ReadingOf, SessionOf, ViewerOf, database_of, settings_of, writing
from web.pages import Viewer, go, is_fragment, page
from web.segment_form import (
    FEW_OPTIONS,
    GROUP_WORDS,
    JOIN_WORDS,
    Draft,
    Group,
    Options,
    Row,
    checked,
    encoded,
    moved,
    new_row,
    of_rule,
    read,
    takes_of,
    taking_typed,
)
from web.words import PURPOSES, reason_words

SAVING = frozenset({"save", "mine"})
"""What a button of the form says to save; the others move its rows."""
SEGMENTS_MOST = 100
FOUND_MOST = 8
"""People whom the question «¿por qué?» offers to choose from."""

router = APIRouter()
SegmentId = Annotated[int, Path(ge=1, lt=2**31)]
Cursor = Annotated[str | None, Query(max_length=200)]


# --- the list ----------------------------------------------------------------------------------------------------------------


@router.get("/segmentos")
def show_all(request: Request, session: SessionOf, cursor: Cursor = None) -> Response:
    """Saved segments by name, each with its sentence and how many people it finds now."""
    found, following = segments.find(session, cursor=cursor, limit=SEGMENTS_MOST)
    counts = segments.counts(session, found)
    context = {
        "segments": [(segment, _sentence(session, segment), counts.get(segment.id)) for segment in found],
        "cursor": cursor,
        "following": following,
    }
    return page(request, "segments/list.html", context)


def _sentence(session: Session, segment: Segment) -> str:
    try:
        return segments.sentence(session, segments.parse(segment.rule))
    except CrmError as error:
        return error.sentence


# --- one ---------------------------------------------------------------------------------------------------------------------


@router.get("/segmentos/nuevo")
def begin(request: Request, session: SessionOf) -> Response:
    """The form with one row."""
    return _page(request, session, Draft("", (Group("all", (new_row(),)),)), Asked())


@router.post("/segmentos/nuevo")
def make(request: Request, form: Posted) -> Response:
    """Move the rows, or save."""
    with _transaction(request, form) as session:
        return _written(request, session, form, None)


def _transaction(request: Request, form: FormData) -> AbstractContextManager[Session]:
    """Only a saving writes: while one builds, everybody is counted at each step, which keeps nobody from writing."""
    return writing(request) if _deed(form) in SAVING else database_of(request).session(write=False)


def _deed(form: FormData) -> str:
    return str(form.get("deed", "save"))


@router.get("/segmentos/{segment_id}")
def show(request: Request, session: SessionOf, segment_id: SegmentId, finalidad: Purpose | None = None) -> Response:
    """The form of a segment; of a rule that the form does not show, its sentence."""
    segment = segments.get(session, segment_id)
    draft = of_rule(segment.name, segments.parse(segment.rule), segment.version)
    shown = draft or Draft(segment.name, (), version=segment.version)
    return _page(request, session, shown, Asked(segment, fixed=draft is None, purpose=finalidad or Purpose.ELECTORAL_INFORMATION))


@router.post("/segmentos/{segment_id}")
def write(request: Request, segment_id: SegmentId, form: Posted) -> Response:
    """Move the rows, or save; what cannot be saved keeps what was typed."""
    with _transaction(request, form) as session:
        return _written(request, session, form, segments.get(session, segment_id))


@dataclass(frozen=True)
class Asked:
    """What the page of a segment is made for."""

    segment: Segment | None = None
    fixed: bool = False
    """Whether the rule has groups inside groups: it is shown and kept, never written anew."""
    purpose: Purpose = Purpose.ELECTORAL_INFORMATION
    conflict: "Conflict | None" = None
    side_only: bool = False
    is_telling: bool = False
    """Whether what is not whole yet is told as a fault: after a saving, not while one builds."""
    status: int = 200


@dataclass(frozen=True)
class Conflict:
    """What someone else saved while this person was writing."""

    who: str
    at: datetime | None
    name: str
    sentence: str
    version: int


def _written(request: Request, session: Session, form: FormData, segment: Segment | None) -> Response:
    deed, draft = _deed(form), read(form)
    purpose = next((one for one in Purpose if one == form.get("purpose")), Purpose.ELECTORAL_INFORMATION)
    fixed = segment is not None and of_rule("", segments.parse(segment.rule)) is None
    asked = Asked(segment, fixed, purpose, side_only=deed == "side")
    if not fixed:
        draft = moved(taking_typed(draft, _options(session)), deed)
    if deed not in SAVING:
        return _page(request, session, draft, asked)
    return _saved(request, session, draft, replace(asked, is_telling=True), over=deed == "mine")


def _saved(request: Request, session: Session, draft: Draft, asked: Asked, *, over: bool) -> Response:
    segment = asked.segment
    if segment is not None and segment.version != draft.version and not over:
        told = replace(asked, conflict=_conflict(session, segment), status=409)
        return _page(request, session, draft, told)
    rule, draft = (segments.parse(segment.rule), draft) if segment and asked.fixed else checked(draft)
    if not draft.name.strip():
        draft = replace(draft, problems={**draft.problems, "name": "Escriba cómo se llama el segmento."})
    if rule is None or draft.problems:
        return _page(request, session, draft, replace(asked, status=422))
    try:
        with session.begin_nested():
            number = _store(session, segment, SegmentIn(name=draft.name, rule=to_json(_kept(segment, draft, rule))))
    except (CrmError, ValidationError) as error:
        sentence = error.sentence if isinstance(error, CrmError) else SENTENCES["field_too_long"].format(limit=200)
        return _page(request, session, replace(draft, problems={"name": sentence}), replace(asked, status=422))
    return go(request, f"/segmentos/{number}")


def _store(session: Session, segment: Segment | None, data: SegmentIn) -> int:
    return (segments.change(session, segment.id, data) if segment else segments.create(session, data)).id


def _kept(segment: Segment | None, draft: Draft, rule: Rule) -> Rule:
    """The rule to store: as it is stored already when the form says the same, so that a new name rewrites no rule."""
    stored = segments.parse(segment.rule) if segment else None
    before = of_rule(draft.name, stored) if stored is not None else None
    return stored if stored is not None and before is not None and before.rule == draft.rule else rule


def _conflict(session: Session, segment: Segment) -> Conflict:
    last = next(iter(history.changes_of(session, "segment", segment.id)), None)
    account = session.get(Account, last.actor_id) if last and last.actor_kind is ActorKind.ACCOUNT and last.actor_id else None
    who = account.name if account else "Otra herramienta, por la API,"
    return Conflict(who, last.at if last else None, segment.name, _sentence(session, segment), segment.version)


@router.post("/segmentos/{segment_id}/duplicar")
def duplicate(session: SessionOf, segment_id: SegmentId) -> Response:
    """A new segment of the same rule."""
    return RedirectResponse(f"/segmentos/{segments.duplicate(session, segment_id).id}", status_code=303)


@router.post("/segmentos/{segment_id}/borrar")
def remove(session: SessionOf, segment_id: SegmentId) -> Response:
    """Delete a segment that nothing uses."""
    segments.remove(session, segment_id)
    return RedirectResponse("/segmentos", status_code=303)


# --- the page ----------------------------------------------------------------------------------------------------------------


def _page(request: Request, session: Session, draft: Draft, asked: Asked) -> Response:
    segment = asked.segment
    rule, told = (segments.parse(segment.rule), draft) if segment and asked.fixed else checked(draft)
    options = _options(session)
    context = {
        "segment": segment,
        "draft": told if asked.is_telling else draft,
        "asked": asked,
        "groups": [_group_view(session, draft, number, options) for number in range(len(draft.groups))],
        "lists": {row.field: options[row.field].options for group in draft.groups for row in group.rows if _is_typed(row, options)},
        "fields": list(options.values()),
        "group_words": GROUP_WORDS,
        "join_words": JOIN_WORDS,
        "purposes": {purpose.value: words for purpose, words in PURPOSES.items()},
        "is_saved": segment is not None and rule is not None and to_json(_kept(segment, draft, rule)) == segment.rule,
        "found": _found(request, session, rule, asked.purpose) if rule is not None else None,
        "reason_words": reason_words,
        **_question_blank(),
    }
    if not is_fragment(request):
        return page(request, "segments/page.html", context, status=asked.status)
    return page(request, "segments/side.html" if asked.side_only else "segments/editor.html", context, status=asked.status)


def _options(session: Session) -> Options:
    return {field.name: field for field in segments.fields(session)}


def _is_typed(row: Row, options: Options) -> bool:
    """Whether the values of a row are typed and chosen from a list of suggestions."""
    return takes_of(row, options) == "list" and len(options[row.field].options or []) > FEW_OPTIONS


def _group_view(session: Session, draft: Draft, number: int, options: Options) -> dict[str, Any]:
    group = draft.groups[number]
    rows = [_row_view(session, row, options) for row in group.rows]
    return {"kind": group.kind, "rows": rows}


def _row_view(session: Session, row: Row, options: Options) -> dict[str, Any]:
    takes = takes_of(row, options)
    labels = {option.value: option.label for option in options[row.field].options or []}
    named = FIELDS[row.field].names(session, [value for value in row.values if value not in labels]) if takes == "list" else {}
    shown = {value: labels.get(value) or named.get(value) or str(value) for value in row.values}
    is_typed = _is_typed(row, options)
    return {
        "field": row.field,
        "op": row.op,
        "operators": [(name, OPERATOR_LABELS[name]) for name in _operators(row)],
        "takes": takes,
        "typed": row.typed or (str(row.values[0]) if row.values and takes in {"text", "date", "days"} else ""),
        "is_typed": is_typed,
        "values": [(encoded(value), words, value in row.values) for value, words in _offered(labels, shown, is_typed)],
    }


def _offered(labels: dict[Value, str], shown: dict[Value, str], is_typed: bool) -> Sequence[tuple[Value, str]]:
    """The values to tick or to choose from: those chosen, and unless one types them, all the others."""
    return list(shown.items()) if is_typed else list((labels | shown).items())


def _operators(row: Row) -> list[str]:
    """The relations that a form offers: where a list does, one value alone is not another relation."""
    operators = FIELDS[row.field].operators
    if FIELDS[row.field].kind == "truth":
        return [name for name in operators if name in {"is", row.op}]
    lists = [name for name in operators if name in LIST_OPERATORS]
    return [name for name in operators if not lists or name in {*lists, row.op}]


def _found(request: Request, session: Session, rule: Rule, purpose: Purpose) -> dict[str, Any]:
    """Who is in it now, and of them who can be written to for a purpose, and why the others cannot."""
    chosen = _people(request, session, rule, purpose)
    return {"preview": segments.preview(session, rule), "tally": audience.tally(session, chosen)}


def _people(request: Request, session: Session, rule: Rule, purpose: Purpose) -> sa.Select[Any]:
    is_local = relays.is_local(settings_of(request))
    return audience.people(session, Rules([to_json(rule)], []), purpose, [Language.SPANISH], relay_is_local=is_local)


@router.get("/segmentos/{segment_id}/personas")
def people(
    request: Request,
    session: SessionOf,
    viewer: ViewerOf,
    segment_id: SegmentId,
    finalidad: Purpose = Purpose.ELECTORAL_INFORMATION,
    motivo: SkipReason | None = None,
    cursor: Cursor = None,
) -> Response:
    """The people of a segment who can be written to for a purpose, or who cannot, for one reason."""
    segment = segments.get(session, segment_id)
    chosen = _people(request, session, segments.parse(segment.rule), finalidad)
    masked = not viewer.may(Right.VIEW_ADDRESSES)
    told = {"segment": segment, "purpose": finalidad, "purpose_words": PURPOSES[finalidad]}
    context = told | samples.behind(session, chosen, motivo, cursor, masked=masked)
    return page(request, "segments/people.html", context)


# --- why is this person in or out --------------------------------------------------------------------------------------------


@router.post("/segmentos/{segment_id}/porque")
def why(
    request: Request,
    session: ReadingOf,
    viewer: ViewerOf,
    segment_id: SegmentId,
    quien: Annotated[str, Form(max_length=200)] = "",
    persona: Annotated[int | None, Form(ge=1, lt=2**31)] = None,
) -> Response:
    """Find a person by name and say why the stored rule has them or not. A name is posted: it belongs in no address."""
    segment = segments.get(session, segment_id)
    context: dict[str, Any] = {"segment": segment, "viewer": viewer, **_question_blank(), "who": quien.strip()}
    if persona is not None:
        context |= _answer(session, segment, persona)
    elif quien.strip():
        context |= _candidates(session, segment, quien, viewer)
    if is_fragment(request):
        return page(request, "segments/question.html", context)
    return page(request, "segments/why.html", context)


def _question_blank() -> dict[str, Any]:
    return {"who": "", "people": None, "person": None, "explanation": None}


def _candidates(session: Session, segment: Segment, text: str, viewer: Viewer) -> dict[str, Any]:
    told = Filter(text=single_spaced(text), finds_addresses=viewer.may(Right.VIEW_ADDRESSES))
    statement = sa.select(Contact.id).where(people_of(session, told)).order_by(Contact.sort_key, Contact.id)
    ids = list(session.scalars(statement.limit(FOUND_MOST)))
    if len(ids) == 1:
        return _answer(session, segment, ids[0])
    named = samples.named(session, ids)
    return {"people": [named[number] for number in ids if number in named]}


def _answer(session: Session, segment: Segment, contact_id: int) -> dict[str, Any]:
    explanation = segments.explain(session, segments.parse(segment.rule), contact_id)
    contact = session.get(Contact, contact_id)
    if contact is None:
        raise NotFound("contact_not_found")
    return {"person": contact, "person_name": display_name(contact) or "Sin nombre", "explanation": explanation}
