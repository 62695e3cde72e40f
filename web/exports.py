"""Exportar: the people of a view as a file, with the reason that the log keeps."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from fastapi import APIRouter, Request
from fastapi.responses import Response
from sqlalchemy.orm import Session
from starlette.datastructures import QueryParams

from crm import clock
from crm.config import Settings
from crm.errors import InvalidInput
from crm.mailing import audience, campaigns, relays, segments, sends, sent_in_period, usage
from crm.mailing.audience import Rules
from crm.mailing.models import Delivery, DeliveryState, SkipReason
from crm.mailing.sent_in_period import Period
from crm.outreach import materials
from crm.people import exports
from crm.people.contacts import visible
from crm.people.exports import Format
from crm.people.models import Contact, Language, Purpose, kept_id
from crm.staff.rights import Right
from web.asked import address, text_of, whole_number
from web.bulk_actions import Chosen
from web.contact_list import Filter, condition
from web.dependencies import Posted, SessionOf, ViewerOf, database_of, settings_of, writing
from web.pages import Viewer, attached, day, page
from web.sent_in_period import read_period
from web.words import DELIVERY_STATES, PURPOSES, reason_words

FORMATS = (
    (Format.XLSX, "Hoja de cálculo (.xlsx)", "Para revisar o imprimir."),
    (Format.CSV, "CSV (UTF-8)", "Para otra herramienta; se puede volver a importar."),
    (Format.VCARD, "vCard (.vcf)", "Para una libreta de direcciones."),
)
ROWS_IN_WORDS = 200

router = APIRouter()


@dataclass(frozen=True)
class View:
    """What is exported: whose people, in words for the log and the page, and where one came from."""

    condition: sa.ColumnElement[bool]
    words: str
    back: str

    @classmethod
    def read(cls, session: Session, query: QueryParams, viewer: Viewer, settings: Settings) -> "View":
        """From an address: the people of a send (in a state, for a reason), of an audience (who gets a mail, or for one reason does
        not), of a period, of a material, or those of Contactos: all of a filter or marked."""
        number = whole_number(query.get("envio", ""))
        if number:
            return cls._of_send(session, number, query)
        if query.get("todas"):
            told = Filter.read(query, finds_addresses=viewer.may(Right.VIEW_ADDRESSES))
            return cls(condition(session, told), _filter_words(session, told), told.url())
        if campaign := whole_number(query.get("campana", "")):
            return cls._of_campaign(session, campaign, query, settings)
        if segment := whole_number(query.get("audiencia", "")):
            return cls._of_segment(session, segment, query, settings)
        if query.get("periodo"):
            return cls._of_period(read_period(query))
        if material := whole_number(query.get("material", "")):
            return cls._of_material(session, material, whole_number(query.get("de_envio", "")))
        chosen = Chosen.read(session, query, viewer)
        return cls(Contact.id.in_(chosen.ids) if chosen.ids else sa.false(), "Personas marcadas en Contactos", "/contactos")

    @classmethod
    def _of_campaign(cls, session: Session, number: int, query: QueryParams, settings: Settings) -> "View":
        chosen = campaigns.chosen_people(session, campaigns.get(session, number), settings)
        return cls._behind(chosen, query, f"Campaña {number}", f"/campanas/{number}/personas")

    @classmethod
    def _of_segment(cls, session: Session, number: int, query: QueryParams, settings: Settings) -> "View":
        segment = segments.get(session, number)
        purpose = next((one for one in Purpose if one == query.get("finalidad")), Purpose.ELECTORAL_INFORMATION)
        is_local = relays.is_local(settings)
        chosen = audience.people(session, Rules([segment.rule], []), purpose, [Language.SPANISH], relay_is_local=is_local)
        words = f"Segmento «{segment.name}» para {PURPOSES[purpose].lower()}"
        return cls._behind(chosen, query, words, f"/segmentos/{number}/personas", finalidad=purpose.value)

    @classmethod
    def _behind(cls, chosen: sa.Select[Any], query: QueryParams, words: str, back: str, **told: str) -> "View":
        """Those of `audience.people` who get a mail, or who do not for one reason, as the page lists them."""
        reason = next((one for one in SkipReason if one == query.get("motivo")), None)
        rows = chosen.subquery()
        mine = sa.select(rows.c.contact_id).where(rows.c.reason.is_(None) if reason is None else rows.c.reason == reason.value)
        why = reason_words(reason.value) if reason else "Se les puede escribir"
        return cls(
            sa.and_(Contact.id.in_(mine), visible()), f"{words}, {why}", address(back, **told, motivo=reason and reason.value)
        )

    @classmethod
    def _of_period(cls, period: Period) -> "View":
        back = address("/campanas/enviado/personas", desde=period.first.isoformat(), hasta=period.last.isoformat())
        words = f"Personas a quienes llegó un correo del {day(period.first)} al {day(period.last)}"
        return cls(sa.and_(Contact.id.in_(sent_in_period.reached(period)), visible()), words, back)

    @classmethod
    def _of_material(cls, session: Session, number: int, send_id: int | None) -> "View":
        material = materials.get(session, number)
        words = f"Personas que recibieron el material «{material.title}»" + (f" en el envío {send_id}" if send_id else "")
        back = address(f"/materiales/{number}/personas", envio=send_id)
        return cls(sa.and_(Contact.id.in_(usage.reached(number, send_id)), visible()), words, back)

    @classmethod
    def _of_send(cls, session: Session, number: int, query: QueryParams) -> "View":
        send = sends.get(session, number)
        received = sa.select(kept_id()).join_from(Delivery, Contact, Contact.id == Delivery.contact_id)
        mine = received.where(Delivery.send_id == number)
        words = [f"Envío {number}"]
        state, reason = query.get("estado", ""), query.get("motivo", "")
        if state in set(DeliveryState):
            mine = mine.where(Delivery.state == DeliveryState(state))
            words.append(DELIVERY_STATES[DeliveryState(state)][0] if DeliveryState(state) in DELIVERY_STATES else state)
            if reason.replace("_", "").isalnum():
                mine = mine.where(Delivery.reason == reason)
                words.append(reason_words(reason))
        return cls(sa.and_(Contact.id.in_(mine), visible()), ", ".join(words), f"/envios/{send.id}/personas")

    def people(self, session: Session) -> int:
        counted_ones = sa.select(sa.func.count()).select_from(Contact).where(self.condition, visible())
        return session.scalar(counted_ones) or 0


def _filter_words(session: Session, told: Filter) -> str:
    """A filter for the log: what it is about, without what was typed into the search, which may be somebody's name."""
    parts = [("países", told.countries), ("sectores", told.sectors), ("correo", told.mail), ("etiquetas", told.tags)]
    words = [f"{name}: {', '.join(values)}" for name, values in parts if values]
    words += ["con una búsqueda"] if told.text else []
    words += [f"últimos siete días: {', '.join(told.lately)}"] if told.lately else []
    words += ["una ciudad"] if told.city is not None else []
    words += [f"segmento «{segments.get(session, told.segment).name}»"] if told.segment is not None else []
    return f"Contactos ({'; '.join(words)})"[:ROWS_IN_WORDS] if words else "Contactos, toda la Red"


@router.get("/exportar")
def ask(request: Request, session: SessionOf, viewer: ViewerOf) -> Response:
    """How many people, in what form and what for."""
    query = QueryParams(request.url.query)
    return _page(request, session, View.read(session, query, viewer, settings_of(request)), str(query))


def _page(
    request: Request,
    session: Session,
    view: View,
    query: str,
    *,
    typed: Mapping[str, str] | None = None,
    wrong: str = "",
    status: int = 200,
) -> Response:
    context = {
        "view": view,
        "people": view.people(session),
        "query": query,
        "formats": [(form.value, words, hint) for form, words, hint in FORMATS],
        "headers": exports.HEADERS,
        "typed": {"formato": Format.XLSX.value, "razon": ""} | dict(typed or {}),
        "wrong": wrong,
        "most": exports.REASON_LENGTH,
    }
    return page(request, "exports/page.html", context, status=status)


@router.post("/exportar")
def export(request: Request, viewer: ViewerOf, form: Posted) -> Response:
    """Give the file; how many were in it and why stays in the log. It is built with nobody kept from writing, then noted: what
    cannot be noted is not given."""
    query = text_of(form, "vista")
    typed = {name: text_of(form, name) for name in ("formato", "razon")}
    with database_of(request).session(write=False) as session:
        view = View.read(session, QueryParams(query), viewer, settings_of(request))
        try:
            made = _built(session, view, typed)
        except InvalidInput as error:
            return _page(request, session, view, query, typed=typed, wrong=error.sentence, status=422)
    with writing(request) as session:
        exports.note(session, made)
    name = f"red-{clock.institute_time(clock.now()):%Y-%m-%d}.{made.form.value}"
    return attached(made.body, exports.MEDIA_TYPES[made.form], name)


def _built(session: Session, view: View, typed: Mapping[str, str]) -> exports.Export:
    if typed["formato"] not in set(Format):
        raise InvalidInput("value_invalid", field="formato")
    return exports.build(session, view.condition, Format(typed["formato"]), reason=typed["razon"], view=view.words)
