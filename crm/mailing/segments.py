"""Segments: rules that say who is meant, evaluated when they are used, never kept as lists."""

from collections.abc import Iterator, Sequence
from itertools import chain
from itertools import count as numbers

import sqlalchemy as sa
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import StaleDataError

from crm.database import keyset_page, search_key
from crm.errors import Conflict, InvalidInput, NotFound
from crm.mailing import segment_names, segment_words
from crm.mailing.models import Campaign, CampaignVariant, Segment, Send
from crm.mailing.segment_fields import FIELDS, OPERATOR_LABELS, Field
from crm.mailing.segment_rules import AllOf, AnyOf, Condition, NotOf, Rule, conditions_of, to_json
from crm.mailing.segment_rules import parse as parse
from crm.mailing.segment_schemas import (
    Explanation,
    OperatorOut,
    OptionOut,
    PartOut,
    PersonOut,
    PreviewOut,
    SegmentFieldOut,
    SegmentIn,
    SegmentOut,
)
from crm.mailing.segment_values import ID_LIMIT
from crm.people.contacts import visible
from crm.people.models import Contact
from crm.people.names import list_name

KEY_LENGTH = 200
SAMPLE = 5
"""People that a form shows beside the count."""


# --- saved segments ------------------------------------------------------------------------------------------


def create(session: Session, data: SegmentIn) -> Segment:
    """Save a rule under a name; InvalidInput(segment_*) for the rule, Conflict(segment_exists) for the name."""
    segment = Segment(name=data.name, key=_key(data.name), rule=to_json(parse(data.rule)))
    _check_free(session, segment.key, but=None)
    session.add(segment)
    session.flush()
    return segment


def change(session: Session, segment_id: int, data: SegmentIn, *, version: int | None = None) -> Segment:
    """Replace name and rule. ``version``, when given, must be the one that was read: Conflict(segment_changed).

    Also NotFound(segment_not_found), and what `create` raises.
    """
    segment = get(session, segment_id)
    if version is not None and segment.version != version:
        raise Conflict("segment_changed")
    rule = to_json(parse(data.rule))
    _check_free(session, _key(data.name), but=segment_id)
    segment.name, segment.key, segment.rule = data.name, _key(data.name), rule
    try:
        session.flush()
    except StaleDataError as error:
        raise Conflict("segment_changed") from error
    return segment


def ensure(session: Session, name: str, rule: dict[str, object]) -> Segment:
    """The segment of a rule, made if there is none. It is known by its rule: a person may have given it another name."""
    return of_rule(session, rule) or create(session, SegmentIn(name=_free_name(session, name), rule=rule))


def of_rule(session: Session, rule: dict[str, object]) -> Segment | None:
    """The segment that has this very rule."""
    stored = to_json(parse(rule))
    return next((one for one in session.scalars(sa.select(Segment).order_by(Segment.id)) if one.rule == stored), None)


def _free_name(session: Session, name: str) -> str:
    """A name that no segment has: numbered, if it must be."""
    taken, name = set(session.scalars(sa.select(Segment.key))), name[: KEY_LENGTH - 10]
    return next(one for one in chain([name], (f"{name} ({number})" for number in numbers(2))) if _key(one) not in taken)


def get(session: Session, segment_id: int) -> Segment:
    """One segment; NotFound(segment_not_found)."""
    segment = session.get(Segment, segment_id) if 0 < segment_id < ID_LIMIT else None
    if segment is None:
        raise NotFound("segment_not_found")
    return segment


def by_name(session: Session, name: str) -> Segment:
    """One segment by its name, whatever its accents or case; NotFound(segment_not_found)."""
    segment = session.scalar(sa.select(Segment).where(Segment.key == _key(name)))
    if segment is None:
        raise NotFound("segment_not_found")
    return segment


def find(session: Session, *, cursor: str | None = None, limit: int = 50) -> tuple[list[Segment], str | None]:
    """Segments in order of name, and the cursor of the next page."""
    rows, following = keyset_page(session, sa.select(Segment), [Segment.key, Segment.id], cursor=cursor, limit=limit)
    return [row[0] for row in rows], following


def duplicate(session: Session, segment_id: int) -> Segment:
    """A new segment of the same rule, under the name «Copia de …»; NotFound(segment_not_found)."""
    segment = get(session, segment_id)
    return create(session, SegmentIn(name=_free_name(session, f"Copia de {segment.name}"), rule=segment.rule))


def remove(session: Session, segment_id: int) -> None:
    """Delete a segment that no campaign and no send names; Conflict(segment_in_use) tells which does.

    Also NotFound(segment_not_found).
    """
    segment = get(session, segment_id)
    campaigns = session.execute(sa.select(Campaign.name, Campaign.include, Campaign.exclude).order_by(Campaign.id.desc()))
    used_by = {name for name, *chosen in campaigns if any(segment_id in some for some in chosen)}
    past = sa.select(Campaign.name, Send.include, Send.exclude).join(Campaign, Campaign.id == Send.campaign_id)
    used_by |= {name for name, *chosen in session.execute(past) if any(segment_id in some for some in chosen)}
    written = sa.select(Campaign.name, CampaignVariant.blocks).join(Campaign, Campaign.id == CampaignVariant.campaign_id)
    used_by |= {name for name, blocks in session.execute(written) if any(block.get("only_for") == segment_id for block in blocks)}
    if used_by:
        names = [segment_names.quote(name) for name in sorted(used_by)]
        raise Conflict("segment_in_use", names=segment_words.joined(names[:3] + ["otras"] * (len(names) > 3), "y"))
    session.delete(segment)
    session.flush()


def to_out(session: Session, segment: Segment) -> SegmentOut:
    """A segment as the doors show it."""
    return SegmentOut(
        id=segment.id,
        name=segment.name,
        rule=segment.rule,
        sentence=sentence(session, parse(segment.rule)),
        created_at=segment.created_at,
        version=segment.version,
    )


def _key(name: str) -> str:
    return (search_key(name) or name).replace("\0", "")[:KEY_LENGTH]


def _check_free(session: Session, key: str, *, but: int | None) -> None:
    taken = session.scalar(sa.select(Segment.id).where(Segment.key == key))
    if taken not in (None, but):
        raise Conflict("segment_exists", field="name")


# --- who is in ------------------------------------------------------------------------------------------


def condition(_session: Session, rule: Rule) -> sa.ColumnElement[bool]:
    """The rule as SQL over Contact, to stand in one SELECT. Never unknown; nobody who is blocked is in."""
    return sa.and_(visible(), _compiled(rule))


def _compiled(rule: Rule) -> sa.ColumnElement[bool]:
    if isinstance(rule, Condition):
        asked = FIELDS[rule.field].matches(rule.test, rule.values)
        return sa.not_(asked) if rule.is_negative else asked
    if isinstance(rule, NotOf):
        return sa.not_(_compiled(rule.part))
    parts = [_compiled(part) for part in rule.parts]
    return sa.and_(sa.true(), *parts) if isinstance(rule, AllOf) else sa.or_(sa.false(), *parts)


def count(session: Session, rule: Rule) -> int:
    """How many people the rule finds now."""
    found = sa.select(sa.func.count()).select_from(Contact).where(condition(session, rule))
    return session.scalar(found) or 0


def counts(session: Session, chosen: Sequence[Segment]) -> dict[int, int]:
    """How many people each segment finds now, by its id, in one walk over the people; one whose rule is not understood any more
    is missing."""
    columns: list[sa.ColumnElement[int]] = []
    for segment in chosen:
        try:
            inside = _compiled(parse(segment.rule))
        except InvalidInput:
            continue
        columns.append(sa.func.count(sa.case((inside, 1))).label(str(segment.id)))
    if not columns:
        return {}
    row = session.execute(sa.select(*columns).select_from(Contact).where(visible())).one()
    return {int(name): number for name, number in row._mapping.items()}


def sample(session: Session, rule: Rule, limit: int = SAMPLE) -> list[PersonOut]:
    """The first people that the rule finds, by surname, under the names that lists show."""
    return _counted_sample(session, rule, limit)[1]


def _counted_sample(session: Session, rule: Rule, limit: int) -> tuple[int, list[PersonOut]]:
    """How many people the rule finds and the first of them, in one SELECT."""
    found = (
        sa.select(Contact, sa.func.count().over())
        .where(condition(session, rule))
        .order_by(Contact.sort_key, Contact.id)
        .limit(max(limit, 1))
    )
    rows = session.execute(found).all()
    people = [PersonOut(id=contact.id, name=list_name(contact)) for contact, _ in rows]
    return (rows[0][1] if rows else 0), people[:limit]


def sentence(session: Session, rule: Rule) -> str:
    """The rule in Spanish: `Personas que viven en Estados Unidos o Canadá y tienen la etiqueta «taller»`."""
    return segment_words.sentence(rule, segment_words.names_of(session, rule))


def warnings(session: Session, rule: Rule) -> list[str]:
    """Sentences about values that find nobody because there is no such tag, city, campaign, ..."""
    return segment_words.warnings(rule, segment_words.names_of(session, rule))


def preview(session: Session, rule: Rule) -> PreviewOut:
    """All that a form shows of a rule before it is saved."""
    found, people = _counted_sample(session, rule, SAMPLE)
    names = segment_words.names_of(session, rule)
    return PreviewOut(
        count=found,
        sample=people,
        sentence=segment_words.sentence(rule, names),
        warnings=segment_words.warnings(rule, names),
    )


# --- what may be asked ------------------------------------------------------------------------------------------


def fields(session: Session) -> list[SegmentFieldOut]:
    """Every field that rules may ask about, with its operators and the values in use."""
    return [
        SegmentFieldOut(
            name=field.name,
            label=field.label,
            operators=[OperatorOut(name=op, label=OPERATOR_LABELS[op], takes=_takes(field, op)) for op in field.operators],
            options=[OptionOut(value=value, label=label) for value, label in field.options(session)] if field.options else None,
        )
        for field in FIELDS.values()
    ]


def _takes(field: Field, op: str) -> str:
    by_operator = {"in": "list", "not_in": "list", "before": "date", "after": "date", "within_days": "days", "contains": "text"}
    by_kind = {"truth": "truth", "date": "never"}
    return by_operator.get(op) or by_kind.get(field.kind, "one")


# --- why is this person in or out ------------------------------------------------------------------------------------------


def explain(session: Session, rule: Rule, contact_id: int) -> Explanation:
    """Why a person is in or out: each condition, whether it holds of the person, and which of them decided.

    NotFound(contact_not_found), also for who is blocked. Agrees with `condition` for everyone else.
    """
    answers = _answers(session, rule, contact_id)
    names = segment_words.names_of(session, rule)
    tree = _weighed(rule, iter(answers), names)
    _mark(tree)
    decisive = [part.sentence[:1].lower() + part.sentence[1:] for part in _leaves(tree) if part.decided]
    return Explanation(inside=tree.holds, sentence=segment_words.verdict(tree.holds, decisive), tree=tree)


def _answers(session: Session, rule: Rule, contact_id: int) -> list[bool]:
    """Whether each condition of the rule holds of one person, in order, by one SELECT."""
    asked = [_compiled(each).label(f"part_{number}") for number, each in enumerate(conditions_of(rule))]
    statement = sa.select(Contact.id, *asked).where(Contact.id == contact_id, visible())
    row = session.execute(statement).first() if 0 < contact_id < ID_LIMIT else None
    if row is None:
        raise NotFound("contact_not_found")
    return [bool(value) for value in row[1:]]


def _weighed(rule: Rule, answers: Iterator[bool], names: segment_words.NamesOf) -> PartOut:
    if isinstance(rule, Condition):
        holds = next(answers)
        text = segment_words.capitalized(segment_words.said(rule, names, holds=holds, of_one=True))
        return PartOut(kind="condition", holds=holds, decided=False, sentence=text, parts=[])
    inner = (rule.part,) if isinstance(rule, NotOf) else rule.parts
    parts = [_weighed(part, answers, names) for part in inner]
    holds = _holds(rule, [part.holds for part in parts])
    kind = "not" if isinstance(rule, NotOf) else "all" if isinstance(rule, AllOf) else "any"
    text = segment_words.said_of_group(rule, holds=holds)
    return PartOut(kind=kind, holds=holds, decided=False, sentence=text, parts=parts)


def _holds(rule: AllOf | AnyOf | NotOf, parts: list[bool]) -> bool:
    if isinstance(rule, NotOf):
        return not parts[0]
    return all(parts) if isinstance(rule, AllOf) else any(parts)


def _mark(part: PartOut) -> None:
    """Mark what the verdict rests on: of a group whose verdict some parts alone give, those; else all of them."""
    part.decided = True
    alone = {"all": False, "any": True}.get(part.kind)
    for inner in part.parts:
        if part.kind == "not" or part.holds != alone or inner.holds == alone:
            _mark(inner)


def _leaves(part: PartOut) -> Iterator[PartOut]:
    if part.kind == "condition":
        yield part
    for inner in part.parts:
        yield from _leaves(inner)
