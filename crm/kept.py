"""Answers that a connection keeps until anything in the database changes (docs/decisions/kept-answers.md)."""

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import Session

KEPT_MOST = 50
"""Answers of a connection."""

T = TypeVar("T")


def kept(session: Session, question: Hashable, ask: Callable[[], T]) -> T:
    """What ``ask`` reads from the database, or what it read before if nothing at all has changed since.

    A connection keeps the answers of one state of the database, at most `KEPT_MOST`; a session that may write keeps none. What
    hangs on today's date as well must not be asked this way.
    """
    if not session.info.get("reads"):
        return ask()
    connection = session.connection()
    state, answers = connection.info.get("kept", (None, {}))
    now = _state(connection)
    if state != now or (len(answers) >= KEPT_MOST and question not in answers):
        answers = {}
        connection.info["kept"] = (now, answers)
    if question not in answers:
        answers[question] = ask()
    answer: T = answers[question]
    return answer


def _state(connection: sa.Connection) -> tuple[Any, ...]:
    """Something that is another once anything was committed: by others or by this connection on SQLite, by anyone on PostgreSQL."""
    if connection.dialect.name == "postgresql":
        return (connection.scalar(sa.select(sa.cast(sa.func.pg_current_snapshot(), sa.String))),)
    driver: Any = connection.connection.driver_connection
    return (connection.exec_driver_sql("PRAGMA data_version").scalar(), driver.total_changes)
