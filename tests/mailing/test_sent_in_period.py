"""The sends of a period in figures that add up, different people once, and small cells for who may not see people."""

from datetime import date, timedelta

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from crm.config import Settings
from crm.mailing import sent_in_period
from crm.mailing.models import Delivery, DeliveryState, Send
from crm.mailing.sent_in_period import LEAST, Period, hide_small
from crm.people.contacts import visible
from crm.people.models import Contact
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


@pytest.mark.once
@given(st.lists(st.integers(0, 30), max_size=8))
def test_no_small_cell_can_be_read_or_reckoned(cells: list[int]) -> None:
    shown = hide_small(cells, total_is_shown=True)
    assert all(cell is None or cell == 0 or cell >= LEAST for cell in shown)
    assert all(cell is None or cell == true for cell, true in zip(shown, cells, strict=True))
    hidden = [true for cell, true in zip(shown, cells, strict=True) if cell is None]
    small = [true for true in cells if 0 < true < LEAST]
    if small and any(true >= LEAST for true in cells):
        assert len(hidden) >= 2, "one hidden cell would be the total less the others"
    assert hide_small(cells, total_is_shown=False).count(None) == len(small)
