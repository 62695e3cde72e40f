"""Acciones en lote: something done to the people who are marked in Contactos, or to all of a filter; and how it is undone."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.orm import Session
from starlette.datastructures import FormData, QueryParams

from crm import clock
from crm.errors import Forbidden, InvalidInput
from crm.people import bulk_actions, pasted_addresses, tasks
from crm.people.contacts import visible
from crm.people.models import BulkAction, BulkKind, Contact, SuppressionReason, Tag
from crm.people.names import display_name
from crm.people.pasted_addresses import Pasted
from crm.staff.models import Account
from crm.staff.rights import Right
from web import follow_ups, samples
from web.asked import text_of, whole_number
from web.contact_list import Filter, condition
from web.dependencies import Posted, SessionOf, ViewerOf, database_of, writing
from web.pages import Viewer, counted, page
from web.person import NEVER_AGAIN, PROOF_LENGTH, read_day
from web.person_words import SUPPRESSIONS
from web.words import LANGUAGES

NAMES_SHOWN = 8
TAGS_OFFERED = 500
ACTIONS = {
    "etiquetar": BulkKind.ADD_TAG,
    "desetiquetar": BulkKind.REMOVE_TAG,
    "idioma": BulkKind.LANGUAGE,
    "tarea": BulkKind.TASK,
    "nota": BulkKind.NOTE,
    "bloquear": BulkKind.BLOCK,
}
"""What can be done, as the address of the page names it."""
WORDS = {
    BulkKind.ADD_TAG: "Se puso la etiqueta «{value}»",
    BulkKind.REMOVE_TAG: "Se quitó la etiqueta «{value}»",
    BulkKind.LANGUAGE: "Se cambió el idioma a {value}",
    BulkKind.TASK: "Se agregó la tarea «{value}»",
    BulkKind.NOTE: "Se anotó «{value}»",
    BulkKind.BLOCK: "Se bloquearon los datos",
}
UNDONE = {BulkKind.TASK: "Se agregó una tarea", BulkKind.NOTE: "Se escribió una nota"}
"""What is told without its text once it was undone."""

router = APIRouter()
ActionId = Annotated[int, Path(ge=1, lt=2**31)]


@dataclass(frozen=True)
class Chosen:
    """The people of a selection: those that were marked, or all of a filter."""

    ids: list[int]
    filter: str | None
    """The query of Contactos whose people all are meant; None when they were marked one by one."""

    @classmethod
    def read(cls, session: Session, query: QueryParams, viewer: Viewer) -> "Chosen":
        if query.get("todas"):
            told = Filter.read(query, finds_addresses=viewer.may(Right.VIEW_ADDRESSES))
            wanted = condition(session, told)
            return cls(list(session.scalars(sa.select(Contact.id).where(wanted))), told.url().partition("?")[2])
        marked = [number for text in query.getlist("id") if (number := whole_number(text))]
        return cls(list(session.scalars(sa.select(Contact.id).where(Contact.id.in_(marked), visible()))), None)

    @property
    def query(self) -> str:
        """The address that names the same selection."""
        if self.filter is not None:
            return "&".join(part for part in ("todas=1", self.filter) if part)
        return "&".join(f"id={number}" for number in self.ids)


@router.get("/lotes/nuevo")
def choose(request: Request, session: SessionOf, viewer: ViewerOf) -> Response:
    """Who is meant, and what may be done to them."""
    return _choose_page(request, session, viewer, Chosen.read(session, request.query_params, viewer))


def _choose_page(
    request: Request,
    session: Session,
    viewer: Viewer,
    chosen: Chosen,
    *,
    typed: Mapping[str, str] | None = None,
    wrong: Mapping[str, str] | None = None,
    status: int = 200,
) -> Response:
    shown = session.scalars(sa.select(Contact).where(Contact.id.in_(chosen.ids[:NAMES_SHOWN])).order_by(Contact.sort_key)).all()
    context = {
        "chosen": chosen,
        "names": [(one.id, display_name(one) or "Sin nombre") for one in shown],
        "tags": list(session.scalars(sa.select(Tag.name).order_by(Tag.key).limit(TAGS_OFFERED))),
        "languages": [(language.value, words) for language, words in LANGUAGES.items()],
        "owners": follow_ups.owners(session),
        "may_edit": viewer.may(Right.EDIT),
        "may_block": viewer.may(Right.PRIVACY),
        "typed": {"que": "", "valor": "", "para": "", "quien": str(viewer.account_id)} | dict(typed or {}),
        "wrong": wrong or {},
        "days": bulk_actions.UNDO_DAYS,
    }
    return page(request, "bulk_actions/choose.html", context, status=status)


@router.post("/lotes/nuevo")
def carry_out(request: Request, session: SessionOf, viewer: ViewerOf, form: Posted) -> Response:
    """Do it to them all, if they are still as many as the page said."""
    chosen = Chosen.read(session, QueryParams(text_of(form, "seleccion")), viewer)
    typed = {name: text_of(form, name) for name in ("que", "valor", "para", "quien")}
    if text_of(form, "cuantas") != str(len(chosen.ids)):
        wrong = {"": "La lista cambió mientras decidía: revise a cuántas personas llega ahora y confirme de nuevo."}
        return _choose_page(request, session, viewer, chosen, typed=typed, wrong=wrong, status=409)
    try:
        done = _carry_out(session, viewer, chosen, typed)
    except InvalidInput as error:
        wrong = {f"{typed['que']}.{_FIELDS.get(error.field or '', 'valor')}": error.sentence}
        return _choose_page(request, session, viewer, chosen, typed=typed, wrong=wrong, status=422)
    return RedirectResponse(f"/lotes?hecha={done.id}", status_code=303)


_FIELDS = {"due_on": "para", "account_id": "quien", "people": ""}


def _carry_out(session: Session, viewer: Viewer, chosen: Chosen, typed: Mapping[str, str]) -> BulkAction:
    kind = ACTIONS.get(typed["que"])
    if kind is None:
        raise InvalidInput("value_invalid", field="que")
    _check(kind, viewer)
    due_on, owner_id = None, None
    if kind is BulkKind.TASK:
        due_on, owner_id = _day(typed["para"]), whole_number(typed["quien"])
        tasks.check_owner(session, owner_id)
    return bulk_actions.carry_out(session, kind, typed["valor"], chosen.ids, viewer.account_id, due_on=due_on, owner_id=owner_id)


def _right(kind: BulkKind) -> Right:
    """What it takes to do it and to undo it: to block data is for the privacy role, everything else for who edits."""
    return Right.PRIVACY if kind is BulkKind.BLOCK else Right.EDIT


def _check(kind: BulkKind, viewer: Viewer) -> None:
    if not viewer.may(_right(kind)):
        raise Forbidden("forbidden")


def _day(text: str) -> date | None:
    try:
        told = date.fromisoformat(text) if text else None
    except ValueError as error:
        raise InvalidInput("date_invalid", field="due_on") from error
    if told is not None and told > tasks.LATEST:
        raise InvalidInput("date_too_far", field="due_on")
    return told


@router.get("/lotes")
def show(
    request: Request,
    session: SessionOf,
    viewer: ViewerOf,
    hecha: str = "",
    deshecha: str = "",
    cursor: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """The actions, newest first, who did them, and the way back of each."""
    found, following = bulk_actions.find(session, cursor)
    names = {account.id: account.name for account in session.scalars(sa.select(Account))}
    now = clock.now()
    context = {
        "actions": [
            (
                done,
                _words(done),
                names.get(done.account_id, "otra cuenta"),
                _may_undo(done, viewer) and now < bulk_actions.until(done),
            )
            for done in found
        ],
        "fresh": whole_number(hecha) or whole_number(deshecha),
        "days": bulk_actions.UNDO_DAYS,
        "cursor": cursor,
        "following": following,
    }
    return page(request, "bulk_actions/list.html", context)


def deed_words(done: BulkAction) -> str:
    """What was done, in words; the text of a task or note only until it was undone."""
    value = dict(LANGUAGES).get(done.value, done.value) if done.kind is BulkKind.LANGUAGE else done.value  # type: ignore[call-overload]  # keys are words
    short = value if len(value) <= 80 else value[:79] + "…"
    words = UNDONE.get(done.kind) if done.undone_at else None
    return words or WORDS[done.kind].format(value=short)


def _words(done: BulkAction) -> str:
    return f"{deed_words(done)} a {counted(done.people, 'persona', 'personas')}"


def _may_undo(done: BulkAction, viewer: Viewer) -> bool:
    return done.undone_at is None and viewer.may(_right(done.kind))


@router.get("/lotes/{action_id}/personas")
def people(
    request: Request,
    session: SessionOf,
    viewer: ViewerOf,
    action_id: ActionId,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """Whom an action changed."""
    done = bulk_actions.get(session, action_id)
    listed = samples.reached(session, bulk_actions.changed(action_id), cursor, masked=not viewer.may(Right.VIEW_ADDRESSES))
    kept = bulk_actions.left_by_undoing(session, done, [number for number, _, _ in listed["people"]])
    who = session.get(Account, done.account_id)
    context = {
        "done": done,
        "words": deed_words(done),
        "who": who.name if who is not None else "otra cuenta",
        "here": f"/lotes/{action_id}/personas",
        "marks": dict.fromkeys(kept, "Cambió después"),
        **listed,
    }
    return page(request, "bulk_actions/people.html", context)


@router.post("/lotes/{action_id}/deshacer")
def undo(session: SessionOf, viewer: ViewerOf, action_id: ActionId) -> Response:
    """Take it back from who is still as it left them."""
    _check(bulk_actions.get(session, action_id).kind, viewer)
    bulk_actions.undo(session, action_id)
    return RedirectResponse(f"/lotes?deshecha={action_id}", status_code=303)


# --- addresses to take out ---------------------------------------------------------------------------------------------------

_LEAVING = ("direcciones", "motivo", "fecha", "prueba", "numero")


@router.get("/lotes/bajas")
def ask_addresses(request: Request, session: SessionOf) -> Response:
    """A box to paste addresses into."""
    return _leaving_page(request, session, {"fecha": clock.today().isoformat(), "motivo": "baja"})


@router.post("/lotes/bajas")
def take_out(request: Request, form: Posted) -> Response:
    """First show what each address is, which keeps nobody from writing, then take them out once their number is typed."""
    is_last = text_of(form, "paso") == "hacer"
    with writing(request) if is_last else database_of(request).session(write=False) as session:
        return _take_out(request, session, form, is_last=is_last)


def _take_out(request: Request, session: Session, form: FormData, *, is_last: bool) -> Response:
    typed = {name: text_of(form, name).strip() for name in _LEAVING}
    wrong: dict[str, str] = {}
    happened_on = read_day(typed["fecha"], wrong, "fecha")
    if typed["motivo"] not in NEVER_AGAIN:
        wrong["motivo"] = "Elija qué pasó."
    if not typed["prueba"] or len(typed["prueba"]) > PROOF_LENGTH:
        wrong["prueba"] = "Escriba cómo consta: llamada, carta, correo, con fecha y hora si las sabe."
    reason = NEVER_AGAIN.get(typed["motivo"], SuppressionReason.UNSUBSCRIBED)
    try:
        told = pasted_addresses.look(session, typed["direcciones"], reason)
    except InvalidInput as error:
        return _leaving_page(request, session, typed, wrong={"direcciones": error.sentence}, status=422)
    fresh = [one for one in told if one.is_valid and not one.has_left]
    if not any(one.is_valid for one in told):
        wrong["direcciones"] = "No hay ninguna dirección de correo en lo que pegó. Revise que tengan la forma nombre@dominio."
    if wrong or happened_on is None:
        return _leaving_page(request, session, typed, wrong=wrong, status=422)
    if not is_last:
        return _leaving_page(request, session, typed, told=told)
    if typed["numero"].replace(",", "") != str(len(fresh)):
        wrong["numero"] = f"Escriba {len(fresh)}, el número de direcciones, para confirmar."
        return _leaving_page(request, session, typed, told=told, wrong=wrong, status=422)
    done = pasted_addresses.take_out(session, told, reason, happened_on=happened_on, proof=typed["prueba"])
    words = (
        f"{SUPPRESSIONS[reason][0]}: {counted(done, 'dirección quedó fuera', 'direcciones quedaron fuera')} de todos los envíos."
    )
    typed = {"fecha": typed["fecha"], "motivo": typed["motivo"]}
    not_read = [one for one in told if not one.is_valid]
    return _leaving_page(request, session, typed, done=words, gone=fresh, not_read=not_read)


def _leaving_page(
    request: Request,
    session: Session,
    typed: Mapping[str, str],
    *,
    told: list[Pasted] | None = None,
    wrong: Mapping[str, str] | None = None,
    done: str = "",
    gone: list[Pasted] | None = None,
    not_read: list[Pasted] | None = None,
    status: int = 200,
) -> Response:
    owners = {one.contact_id for one in [*(told or ()), *(gone or ())] if one.contact_id}
    people = session.scalars(sa.select(Contact).where(Contact.id.in_(owners))).all()
    context = {
        "typed": dict.fromkeys(_LEAVING, "") | dict(typed),
        "told": told,
        "fresh": sum(one.is_valid and not one.has_left for one in told or ()),
        "names": {one.id: display_name(one) or "Sin nombre" for one in people},
        "reasons": [(name, SUPPRESSIONS[reason][0]) for name, reason in NEVER_AGAIN.items()],
        "wrong": wrong or {},
        "done": done,
        "gone": gone or [],
        "not_read": not_read or [],
        "most": 60_000,
        "proof_most": PROOF_LENGTH,
    }
    return page(request, "bulk_actions/leaving.html", context, status=status)
