"""Segments over the API: the same rule that staff see as a form and read as a sentence."""

from fastapi import APIRouter, Response

from api.dependencies import (
    Cursor,
    IfMatch,
    Limit,
    OnlyOnce,
    Page,
    Reading,
    RowId,
    ThisCall,
    Writing,
    content,
    page,
    tag,
)
from api.errors import documented
from api.guard import GuardedRoute
from crm.mailing import segments
from crm.mailing.segment_schemas import Explanation, PreviewOut, RuleIn, SegmentFieldOut, SegmentIn, SegmentOut

router = APIRouter(tags=["segments"], route_class=GuardedRoute)


@router.get("/segments")
def list_segments(session: Reading, call: ThisCall, cursor: Cursor = None, limit: Limit = 50) -> Page[SegmentOut]:
    """Segments by name, each with its rule and the sentence that says it in Spanish."""
    found, following = segments.find(session, cursor=cursor, limit=limit)
    return page(call, [segments.to_out(session, segment) for segment in found], following)


@router.post("/segments", status_code=201, responses=documented(409, 413))
def create_segment(data: SegmentIn, session: Writing, once: OnlyOnce, response: Response) -> SegmentOut:
    """Save a rule under a name."""
    made = once(content(data), SegmentOut, lambda: segments.to_out(session, segments.create(session, data)))
    tag(response, made.version)
    return made


@router.get("/segments/fields")
def list_fields(session: Reading, call: ThisCall) -> Page[SegmentFieldOut]:
    """What a rule may ask about: each field with its operators, and the values in use."""
    return page(call, segments.fields(session), None)


@router.post("/segments/preview", responses=documented(413))
def preview_rule(data: RuleIn, session: Reading, call: ThisCall) -> PreviewOut:
    """Who a rule finds now, before it is saved: how many, five of them, and the rule in Spanish."""
    told = segments.preview(session, segments.parse(data.rule))
    call.rows = len(told.sample)
    return told


@router.get("/segments/{segment_id}", responses=documented(404))
def get_segment(segment_id: RowId, session: Reading, response: Response) -> SegmentOut:
    """One segment."""
    segment = segments.get(session, segment_id)
    tag(response, segment.version)
    return segments.to_out(session, segment)


@router.put("/segments/{segment_id}", responses=documented(404, 409, 412, 413))
def change_segment(segment_id: RowId, data: SegmentIn, session: Writing, response: Response, version: IfMatch) -> SegmentOut:
    """Replace its name and its rule. Sends that were confirmed keep the rule that they were confirmed with."""
    segment = segments.change(session, segment_id, data, version=version)
    tag(response, segment.version)
    return segments.to_out(session, segment)


@router.get("/segments/{segment_id}/explain/{contact_id}", responses=documented(404))
def explain_person(segment_id: RowId, contact_id: RowId, session: Reading) -> Explanation:
    """Why a person is in a segment or out of it: each condition, whether it holds, and which of them decided."""
    rule = segments.parse(segments.get(session, segment_id).rule)
    return segments.explain(session, rule, contact_id)
