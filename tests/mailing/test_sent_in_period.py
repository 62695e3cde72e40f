"""The sends of a period in figures that add up, different people once, and small cells for who may not see people."""

from datetime import date, timedelta
from itertools import product

import pytest
import sqlalchemy as sa
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from crm.config import Settings
from crm.mailing import sent_in_period
from crm.mailing.models import CampaignVariant, Delivery, DeliveryState, Send, SendContent
from crm.mailing.sent_in_period import LEAST, Figure, Hidden, Period, SentRow, Told, different_people_told, told, total
from crm.people.contacts import visible
from crm.people.models import Contact, Language, Purpose
from tests.mailing import factories

JULY = Period(date(2026, 7, 1), date(2026, 7, 31))


def sent(session: Session, settings: Settings, begins: str, people: int, accepted: int) -> Send:
    send = factories.begun(session, settings, people)
    send.started_at = sent_in_period.Period(date.fromisoformat(begins), date.fromisoformat(begins)).begins
    ids = session.scalars(sa.select(Delivery.id).where(Delivery.send_id == send.id).order_by(Delivery.id)).all()
    session.execute(sa.update(Delivery).where(Delivery.id.in_(ids[:accepted])).values(state=DeliveryState.SENT))
    session.execute(
        sa.update(Delivery).where(Delivery.id.in_(ids[accepted:])).values(state=DeliveryState.SKIPPED, reason="unsubscribed")
    )
    session.flush()
    return send


def test_each_send_of_the_period_is_a_row_whose_parts_add_up(session: Session, settings: Settings) -> None:
    first = sent(session, settings, "2026-07-01", 9, 6)
    last = sent(session, settings, "2026-07-31", 0, 8)
    sent(session, settings, "2026-08-01", 0, 9)
    rows = sent_in_period.rows(session, JULY)
    assert [(row.send_id, row.on.day, row.people, row.accepted, dict(row.skipped)) for row in rows] == [
        (first.id, 1, 9, 6, {"unsubscribed": 3}),
        (last.id, 31, 9, 8, {"unsubscribed": 1}),
    ]
    assert all(sum(row.counts.values()) == row.people for row in rows)
    assert all(0 < row.countries <= 9 for row in rows)
    assert sent_in_period.different_people(session, JULY) == 8
    seen = session.scalars(sa.select(Contact.id).where(Contact.id.in_(sent_in_period.reached(JULY)), visible())).all()
    assert len(seen) == 8


def test_a_send_is_told_by_the_subject_that_it_left_with(session: Session, settings: Settings) -> None:
    send = sent(session, settings, "2026-07-01", 2, 2)
    subject = CampaignVariant.campaign_id == send.campaign_id
    session.execute(sa.update(CampaignVariant).where(subject).values(subject="Última semana para tu credencial"))
    assert [row.subject for row in sent_in_period.rows(session, JULY)] == ["Tu credencial, [nombre]"]
    spanish = session.scalars(sa.select(SendContent).where(SendContent.send_id == send.id)).one()
    english = dict(spanish.compiled) | {"language": "en", "subject": ["Your card, ", ["nombre", "friend", "header"], "! 🗳️"]}
    session.add(SendContent(send_id=send.id, language=Language.ENGLISH, compiled=english, sha256="0" * 64))
    session.flush()
    assert [row.subject for row in sent_in_period.rows(session, JULY)] == ["Tu credencial, [nombre]"]
    session.delete(spanish)
    session.flush()
    assert [row.subject for row in sent_in_period.rows(session, JULY)] == ["Your card, [nombre]! 🗳️"]


@pytest.mark.once
@pytest.mark.parametrize(
    ("day", "first", "last"),
    [
        ("2026-11-22", "2026-10-01", "2026-12-31"),
        ("2026-02-28", "2026-01-01", "2026-03-31"),
        ("2028-06-30", "2028-04-01", "2028-06-30"),
    ],
)
def test_a_quarter_is_three_whole_months(day: str, first: str, last: str) -> None:
    assert sent_in_period.quarter_of(date.fromisoformat(day)) == Period(date.fromisoformat(first), date.fromisoformat(last))
    assert Period(date(2026, 1, 1), date(2026, 1, 1)).ends - Period(date(2026, 1, 1), date(2026, 1, 1)).begins == timedelta(days=1)


STATES = (DeliveryState.SENT, DeliveryState.FAILED, DeliveryState.IN_DOUBT)


def row_of(parts: tuple[int, ...]) -> SentRow:
    """A send with so many people in three states, and left out for one reason."""
    counts = dict(zip(STATES, parts[:3], strict=True))
    return SentRow(
        1, date(2026, 7, 1), "", "", Purpose.ELECTORAL_INFORMATION, sum(parts), min(parts[0], 30), counts, {"no_consent": parts[3]}
    )


def parts_of(row: Told) -> list[Figure]:
    return [*(row.counts[state] for state in STATES), row.skipped["no_consent"]]


@pytest.mark.once
@given(st.lists(st.one_of(st.integers(0, LEAST), st.integers(0, 400)), min_size=4, max_size=4))
@example([299, 1, 0, 0])
@example([1, 1, 100, 0])
@example([1, 5, 0, 0])
@example([1, 1, 1, 1])
@example([4, 4, 0, 4])
def test_no_small_figure_can_be_read_or_reckoned(parts: list[int]) -> None:
    whole = row_of(tuple(parts))
    shown = told(whole, hides_small=True)
    for figure, true in zip(parts_of(shown), parts, strict=True):
        assert figure == (Hidden.SMALL if 0 < true < LEAST else true), "a large one is never told as small, nor hidden"
    may_be = [range(1, LEAST) if figure is Hidden.SMALL else (true,) for figure, true in zip(parts_of(shown), parts, strict=True)]
    possible = [one for one in product(*may_be) if told(row_of(one), hides_small=True) == shown]
    for place, figure in enumerate(parts_of(shown)):
        if figure is Hidden.SMALL:
            assert {one[place] for one in possible} == {1, 2, 3, 4}, "who knows the rule too learns nothing more of it"
    assert told(whole, hides_small=False) == Told(sum(parts), whole.countries, shown_counts(whole), whole.skipped)
    assert shown.hides == any(0 < true < LEAST for true in parts)
    assert total(700, [12, shown.people]) == (Hidden.WOULD_TELL if shown.hides else 700)
    assert different_people_told(700, [shown], hides_small=True) == (Hidden.WOULD_TELL if shown.hides else 700)


def shown_counts(row: SentRow) -> dict[DeliveryState, int]:
    return {state: row.counts.get(state, 0) for state in DeliveryState if state is not DeliveryState.SKIPPED}
