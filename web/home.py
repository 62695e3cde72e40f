"""Inicio: the network in figures, what is leaving and what waits."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Path, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.orm import Session, joinedload

from crm import backup, clock
from crm.kept import kept
from crm.mailing import consent_requests, notices, sends
from crm.mailing.consent_requests import Answer
from crm.mailing.models import Campaign, Delivery, DeliveryState, Send, SendState
from crm.mailing.schemas import Counts
from crm.people import duplicates, tasks
from crm.people.models import LeaderSector
from crm.staff.rights import Right
from web import follow_ups
from web.campaigns import accepted
from web.contact_list import Filter, figures_of
from web.dependencies import SessionOf, ViewerOf
from web.pages import Viewer, counted, listed, moment, page
from web.settings_backup import HERE as BACKUPS
from web.settings_backup import MENDS, TROUBLES
from web.this_week import week
from web.words import PURPOSES, SEND_STATES

LIVE = (SendState.SENDING, SendState.PAUSED, SendState.HELD, SendState.SCHEDULED)
MOST = 8

router = APIRouter()


@router.get("/")
def show(request: Request, session: SessionOf, viewer: ViewerOf) -> Response:
    """The first page after signing in."""
    live = _sends(session, LIVE)
    finished = _sends(session, (SendState.DONE,))
    figures = figures_of(session, Filter())
    requests = kept(session, "consent_requests", lambda: consent_requests.progress(session))
    context = {
        "ended": ended(session, viewer),
        "needs": needs(session, viewer, unasked=requests[Answer.NOT_ASKED]),
        "week": week(session),
        "figures": figures,
        "requests": requests,
        "everyone": Filter(),
        "sectors": tuple(LeaderSector),
        "live": live,
        "finished": finished[:3],
        "drafts": _drafts(session),
        "accepted": accepted(session, [send.id for send in (*live, *finished)]),
        "states": SEND_STATES,
        "purposes": PURPOSES,
    }
    return page(request, "home/page.html", context)


@dataclass(frozen=True)
class Need:
    """Something that waits for a person: what, why, where it is done, and how pressing it is."""

    words: str
    why: str
    href: str
    tone: str = ""
    count: int = 1
    """How many such things it stands for."""


def needs(session: Session, viewer: Viewer, *, unasked: int) -> list[Need]:
    """What needs someone today, the most pressing first; ``unasked`` is how many people without consent were never asked."""
    masked = not viewer.may(Right.VIEW_ADDRESSES)
    found = [
        Need(f"«{send.campaign.name}» está {'en pausa' if send.state is SendState.PAUSED else 'detenido'}",
             sends.REASONS.get(send.reason or "", ""), f"/envios/{send.id}", "bad")
        for send in _sends(session, (SendState.PAUSED, SendState.HELD))
    ]  # fmt: skip
    found += [
        Need(f"{counted(people, 'correo', 'correos')} sin confirmar de «{name}»",
             "Decida si se dan por enviados o salen otra vez.", f"/envios/{send_id}/personas?estado=in_doubt", "warn")
        for send_id, name, people in _in_doubt(session)
    ]  # fmt: skip
    soon = clock.now() + timedelta(days=1)
    found += [
        Need(f"«{send.campaign.name}» sale pronto", moment(send.starts_at), f"/envios/{send.id}")
        for send in _sends(session, (SendState.SCHEDULED,))
        if send.starts_at < soon
    ]
    found += _tasks(session, viewer, masked=masked)
    if viewer.may(Right.SETTINGS) and (trouble := backup.status(session).trouble):
        found.insert(0, Need(TROUBLES[trouble], MENDS[trouble], BACKUPS, "bad"))
    twins = sum(duplicates.counts(session).values()) if viewer.may(Right.EDIT) else 0
    if twins:
        why = "Compare cada par y júntelo, o diga que son dos personas."
        found.append(Need(counted(twins, "posible duplicado", "posibles duplicados"), why, "/duplicados"))
    if unasked and viewer.may(Right.EDIT):
        why = "No se les puede escribir hasta que conste. La solicitud ya viene preparada."
        found.append(Need(f"{counted(unasked, 'persona', 'personas')} sin consentimiento", why, "/regularizar"))
    return found


def _tasks(session: Session, viewer: Viewer, *, masked: bool) -> list[Need]:
    """The tasks whose day has come: the most pressing ones each, the others as their number."""
    due, every = tasks.due(session, viewer.account_id, MOST)
    found = [
        Need(f"Tarea: {task.text[:80]}",
             f"{'Vence hoy' if task.due_on == clock.today() else 'Ya venció'}{f' · {task.person}' if task.person else ''}",
             f"/personas/{task.contact_id}#seguimiento" if task.contact_id else "/tareas",
             "warn" if task.is_late else "")
        for task in follow_ups.lines_of(session, due, masked=masked)
    ]  # fmt: skip
    if others := every - len(due):
        words = counted(others, "tarea más", "tareas más")
        found.append(Need(f"Y {words} para hoy o ya vencidas", "Todas están en Tareas.", "/tareas", count=others))
    return found


def _in_doubt(session: Session) -> list[tuple[int, str, int]]:
    """(send, name of its campaign, mails) of sends with mails of which nobody knows whether they arrived."""
    statement = sa.select(Send.id, Campaign.name, sa.func.count()).join(Campaign).join(Delivery, Delivery.send_id == Send.id)
    rows = session.execute(
        statement.where(Delivery.state == DeliveryState.IN_DOUBT)
        .group_by(Send.id, Campaign.name)
        .order_by(Send.id.desc())
        .limit(MOST)
    )
    return [(row[0], row[1], row[2]) for row in rows]


@dataclass(frozen=True)
class Ended:
    """A send of one's own that ended: how, when, and with what result."""

    notice_id: int
    send_id: int
    words: str
    why: str
    at: datetime


def ended(session: Session, viewer: Viewer) -> list[Ended]:
    """What the viewer ordered and ended lately, until they say that they know."""
    found = notices.unseen(session, viewer.account_id)
    return [
        Ended(
            notice_id=one.id,
            send_id=one.send_id,
            words=f"«{one.send.campaign.name}» {'terminó' if one.state is SendState.DONE else 'se canceló'}",
            why=_result_words(sends.counts(session, one.send)),
            at=one.at,
        )
        for one in found
    ]


def _result_words(counts: Counts) -> str:
    """`1,480 aceptados, 12 no se pudo y 3 sin confirmar`: what is none is not told, but for the first."""
    parts = [counted(counts.sent, "aceptado", "aceptados")]
    for people, one, many in (
        (counts.failed, "fallido", "fallidos"),
        (counts.in_doubt, "sin confirmar", "sin confirmar"),
        (counts.skipped, "a quien no se escribió", "a quienes no se escribió"),
    ):
        parts += [counted(people, one, many)] if people else []
    return listed(parts)


@router.post("/avisos/{notice_id}/visto")
def see(session: SessionOf, viewer: ViewerOf, notice_id: Annotated[int, Path(ge=1, lt=2**31)]) -> Response:
    """The viewer knows: Inicio tells it no more."""
    notices.see(session, viewer.account_id, notice_id)
    return RedirectResponse("/", status_code=303)


def _sends(session: Session, states: tuple[SendState, ...]) -> list[Send]:
    statement = sa.select(Send).options(joinedload(Send.campaign)).where(Send.state.in_(states))
    return list(session.scalars(statement.order_by(Send.id.desc()).limit(MOST)))


def _drafts(session: Session) -> list[Campaign]:
    """Campaigns that never went out, the last changed first."""
    never = ~sa.exists().where(Send.campaign_id == Campaign.id, ~Send.was_taken_back)
    return list(session.scalars(sa.select(Campaign).where(never).order_by(Campaign.changed_at.desc()).limit(MOST)))
