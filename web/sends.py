"""Envío y resultados: what the server accepted, who is behind each number, and what may be done about it."""

from dataclasses import dataclass
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Form, Path, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy.orm import Session

from crm import clock
from crm.mailing import audience, decisions, deliveries, previews, relays, results, sends
from crm.mailing.decisions import Decision
from crm.mailing.models import Delivery, DeliveryState, Send, SendMode, SendState
from crm.mailing.results import Cut
from crm.people.addresses import mask_address
from crm.people.countries import country_name
from crm.people.models import Language
from crm.staff.models import Account
from crm.staff.rights import Right
from web import samples
from web.asked import address
from web.dependencies import SessionOf, ViewerOf, settings_of
from web.headers import PREVIEW_POLICY
from web.pages import Viewer, page
from web.samples import Sample
from web.send_progress import curve_of, progress_of
from web.send_results import CUT_OF, NONE, results_of
from web.words import DELIVERY_STATES, PURPOSES, SEND_STATES, reason_words

PAGE_ROWS = 25
WIDTHS = {"computadora": ("Computadora", "device-desktop", "computer"), "telefono": ("Teléfono", "device-mobile", "phone")}
RESUMABLE = {SendState.PAUSED, SendState.HELD}
OVER = set(sends.OVER)

router = APIRouter()
SendId = Annotated[int, Path(ge=1, lt=2**31)]


@router.get("/envios/{send_id}")
def show(request: Request, session: SessionOf, viewer: ViewerOf, send_id: SendId, persona: int | None = None) -> Response:
    """The page of a send."""
    send = sends.get(session, send_id)
    people = _samples(session, send, persona)
    shown = people[0] if people else None
    width = request.query_params.get("ancho", "")
    context = {
        "samples": people,
        "shown": shown,
        "preview": previews.of_send(session, send, shown.id, settings_of(request)) if shown else None,
        "sender": settings_of(request).mail_from,
        "widths": WIDTHS,
        "width": width if width in WIDTHS else "computadora",
        "purpose": PURPOSES[send.purpose],
        "ordered_by": _who_ordered(session, send),
        **results_of(session, send, CUT_OF.get(request.query_params.get("por", ""), Cut.COUNTRY)),
    }
    return page(request, "sends/page.html", _live(request, session, send, viewer) | context)


@router.get("/envios/{send_id}/avance")
def progress(request: Request, session: SessionOf, viewer: ViewerOf, send_id: SendId, espera: str = "") -> Response:
    """The part of the page that moves, asked again every few seconds; a page that waited for the beginning is drawn anew."""
    send = sends.get(session, send_id)
    if espera and send.started_at:
        return Response(headers={"HX-Refresh": "true"})
    return page(request, "sends/live.html", _live(request, session, send, viewer))


def _live(request: Request, session: Session, send: Send, viewer: Viewer) -> dict[str, Any]:
    left_out = deliveries.skipped_by_reason(session, send.id)
    return {
        "send": send,
        "state_words": SEND_STATES[send.state],
        "sentence": sends.REASONS.get(send.reason) if send.reason else None,
        "progress": progress_of(session, send, settings_of(request)),
        "rests_until": relays.resting_until(session, settings_of(request)) if send.state is SendState.SENDING else None,
        "delivery_states": DELIVERY_STATES,
        "curve": curve_of(session, send),
        "left_out": [
            (reason, reason_words(reason), sends.SKIP_SENTENCES.get(reason, ""), people) for reason, people in left_out.items()
        ],
        "may_send": viewer.may(Right.SEND),
        "is_over": send.state in OVER,
        "may_resume": send.state in RESUMABLE,
        "may_edit": send.started_at is None and not send.may_have_left and send.state not in OVER,
        "seconds_left": _seconds_left(send),
        "is_due": send.starts_at <= clock.now(),
        "would_reach": send.would_reach if send.state is SendState.HELD else None,
    }


def _seconds_left(send: Send) -> int | None:
    """While an order for now can still be undone: how long."""
    if send.state is not SendState.SCHEDULED or send.mode is not SendMode.NOW:
        return None
    return max(0, round((send.starts_at - clock.now()).total_seconds())) or None


def _who_ordered(session: Session, send: Send) -> str | None:
    account = session.get(Account, send.ordered_by_id) if send.ordered_by_kind == "account" and send.ordered_by_id else None
    return account.name if account else None


# --- deeds -----------------------------------------------------------------------------------------------------------------


@router.post("/envios/{send_id}/pausar")
def pause(session: SessionOf, send_id: SendId) -> Response:
    """Let no more mails leave."""
    sends.pause(session, send_id)
    return _back(send_id)


@router.post("/envios/{send_id}/reanudar")
def resume(
    request: Request,
    session: SessionOf,
    send_id: SendId,
    aceptadas: Annotated[int | None, Form(ge=0, lt=2**31)] = None,
) -> Response:
    """Go on with those that wait; ``aceptadas`` is the number of people that the page showed. Held again if it grew since."""
    sends.resume(session, send_id, settings_of(request), aceptadas)
    return _back(send_id)


@router.post("/envios/{send_id}/cancelar")
def cancel(session: SessionOf, send_id: SendId) -> Response:
    """End it: what had not left will not leave."""
    sends.cancel(session, send_id)
    return _back(send_id)


def _back(send_id: int) -> Response:
    return RedirectResponse(f"/envios/{send_id}", status_code=303)


@router.post("/envios/{send_id}/sin-confirmar")
def decide(
    session: SessionOf,
    send_id: SendId,
    decision: Annotated[Decision, Form()],
    razon: Annotated[str, Form(max_length=500)] = "",
    todas: Annotated[str, Form(max_length=3)] = "",
    correo: Annotated[list[int] | None, Form(max_length=PAGE_ROWS)] = None,
) -> Response:
    """Say of mails in doubt, of all or of those chosen, that they are taken as sent or leave again."""
    moved = decisions.decide_doubt(session, send_id, decision, razon, None if todas else correo or [])
    return _told(send_id, DeliveryState.IN_DOUBT, f"hecho={moved}")


@router.post("/envios/{send_id}/reintentar")
def retry(
    session: SessionOf,
    send_id: SendId,
    razon: Annotated[str, Form(max_length=500)] = "",
    motivo: Annotated[str, Form(max_length=60)] = "",
    todas: Annotated[str, Form(max_length=3)] = "",
    correo: Annotated[list[int] | None, Form(max_length=PAGE_ROWS)] = None,
) -> Response:
    """Put failed mails back in the queue: those chosen, those of a reason, or all."""
    done = decisions.try_again(session, send_id, razon, reason=motivo or None, ids=None if todas else correo or [])
    return _told(send_id, DeliveryState.FAILED, f"hecho={done.again}&quedan={done.left}")


def _told(send_id: int, state: DeliveryState, done: str) -> Response:
    return RedirectResponse(f"/envios/{send_id}/personas?estado={state.value}&{done}", status_code=303)


@router.post("/envios/{send_id}/errata")
def erratum(session: SessionOf, send_id: SendId) -> Response:
    """A draft to exactly those who were sent this."""
    return RedirectResponse(f"/campanas/{decisions.write_erratum(session, send_id).id}/redactar", status_code=303)


# --- the people behind a number ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PersonRow:
    """One person of the ledger."""

    id: int
    """Of the delivery."""
    contact_id: int
    name: str
    address: str | None
    """Masked for who may not see it; None too when the person is blocked or gone."""
    is_here: bool
    place: str
    state: DeliveryState
    reason: str | None
    what: str | None
    """What happened and what to do, in Spanish."""
    reply: str | None
    at: Any

    @property
    def tone(self) -> int:
        return self.contact_id % 6


@router.get("/envios/{send_id}/personas")
def people(
    request: Request,
    session: SessionOf,
    viewer: ViewerOf,
    send_id: SendId,
    estado: DeliveryState | None = None,
    motivo: Annotated[str | None, Query(max_length=60, pattern=r"^[a-z0-9_]+$")] = None,
    pais: Annotated[str | None, Query(max_length=20, pattern=r"^[A-Za-z]+$")] = None,
    proveedor: Annotated[str | None, Query(max_length=254, pattern=r"^[^\x00-\x20]+$")] = None,
    hecho: Annotated[int | None, Query(ge=0, lt=2**31)] = None,
    quedan: Annotated[int | None, Query(ge=0, lt=2**31)] = None,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """Who is in a state of the ledger, and why; of one country or provider when it is told."""
    send = sends.get(session, send_id)
    cut = {Cut.COUNTRY: pais, Cut.PROVIDER: proveedor, Cut.REASON: motivo if motivo == NONE else None}
    parts = [results.condition(session, one, "" if key == NONE else key) for one, key in cut.items() if key]
    reason = None if motivo == NONE else motivo
    where = sa.and_(sa.true(), *parts)
    rows, following = deliveries.find(session, send_id, state=estado, reason=reason, where=where, cursor=cursor, limit=PAGE_ROWS)
    context = {
        "send": send,
        "counts": sends.counts(session, send),
        "state": estado,
        "reason": motivo,
        "reason_words": reason_words,
        "reasons": _reasons(session, send_id, estado),
        "delivery_states": DELIVERY_STATES,
        "only": _only(pais, proveedor),
        "page_url": _people_url(send_id, estado=estado, motivo=motivo, pais=pais, proveedor=proveedor),
        "done": hecho,
        "left": quedan,
        "after_restore": bool(rows) and rows[0].reason == deliveries.RESTORED,
        "decides": viewer.may(Right.SEND) and send.state is not SendState.CANCELLED,
        "rows": _people(session, rows, masked=not viewer.may(Right.VIEW_ADDRESSES)),
        "cursor": cursor,
        "following": following,
    }
    return page(request, "sends/people.html", context)


def _people_url(send_id: int, **told: str | None) -> str:
    return address(f"/envios/{send_id}/personas", **told)


def _only(country: str | None, provider: str | None) -> str | None:
    """Which part of a send is shown, in words."""
    if country:
        return "Sin país conocido" if country == NONE else country_name(country)
    return ("Sin dirección" if provider == NONE else provider) if provider else None


def _reasons(session: Session, send_id: int, state: DeliveryState | None) -> list[tuple[str, int]]:
    """Why the people of a state are in it, with how many they are."""
    if state is None:
        return []
    counted = sa.select(Delivery.reason, sa.func.count()).where(Delivery.send_id == send_id, Delivery.state == state)
    rows = session.execute(counted.where(Delivery.reason.is_not(None)).group_by(Delivery.reason).order_by(sa.func.count().desc()))
    return [(row[0] or "", row[1]) for row in rows]


def _people(session: Session, rows: list[Delivery], *, masked: bool) -> list[PersonRow]:
    named = samples.named(session, [row.contact_id for row in rows])
    return [_person(row, named.get(row.contact_id), masked=masked) for row in rows]


def _person(row: Delivery, named: Sample | None, *, masked: bool) -> PersonRow:
    state = DeliveryState.PENDING if row.state is DeliveryState.SENDING else row.state
    told = sends.SKIP_SENTENCES if state is DeliveryState.SKIPPED else sends.REASONS
    return PersonRow(
        id=row.id,
        contact_id=row.contact_id,
        name=named.name if named else "Persona que ya no está en la Red",
        address=_address(row, masked=masked) if named else None,
        is_here=named is not None,
        place=named.place if named else "",
        state=state,
        reason=row.reason,
        what=told.get(row.reason) if row.reason else None,
        reply=f"{row.smtp_code or ''} {row.smtp_reply or ''}".strip() if named and not masked else None,
        at=row.settled_at,
    )


def _address(row: Delivery, *, masked: bool) -> str | None:
    return mask_address(row.address) if masked and row.address else row.address


# --- the preview ---------------------------------------------------------------------------------------------------------------


@router.get("/envios/{send_id}/vista")
def preview(request: Request, session: SessionOf, send_id: SendId, contacto: Annotated[int, Query(ge=1, lt=2**31)]) -> Response:
    """The mail as a person gets it, with the links of no one, under a policy that lets it do nothing."""
    made = previews.of_send(session, sends.get(session, send_id), contacto, settings_of(request))
    return HTMLResponse(made.html, headers={"Content-Security-Policy": f"{PREVIEW_POLICY}; frame-ancestors 'self'"})


def _samples(session: Session, send: Send, wanted: int | None) -> list[Sample]:
    """People to see the mail as: the one asked for first, then a few of each language."""
    if send.started_at is None:
        return samples.in_order(session, wanted, samples.of_rules(session, audience.Rules.from_json(send.rule)))
    ids: list[int] = []
    for language in Language:
        made = sa.select(Delivery.contact_id).where(Delivery.send_id == send.id, Delivery.language == language)
        ids += session.scalars(made.where(Delivery.state != DeliveryState.SKIPPED).order_by(Delivery.id).limit(samples.SAMPLES))
    return samples.in_order(session, wanted, ids)
