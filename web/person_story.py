"""The story of one person: every touch of the Red in one line of time, newest first."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm.errors import SENTENCES
from crm.history import Action, ActorKind, Change, ChangePersonal
from crm.mailing import sends
from crm.mailing.models import Campaign, Delivery, DeliveryState, Send
from crm.people.addresses import mask_address
from crm.people.consent import COPIED
from crm.people.models import (
    Channel,
    City,
    Consent,
    ConsentState,
    Contact,
    EmailAddress,
    Import,
    ImportRow,
    LeaderRole,
    Note,
    Organization,
    Post,
    Suppression,
    Task,
)
from crm.staff.models import Account, ApiClient
from web.pages import day
from web.person_words import (
    CHANNELS,
    OUTCOMES,
    ROW_STATES,
    SOURCES,
    SUPPRESSIONS,
    change_words,
    masked_text,
    proof_words,
    sector_words,
)
from web.words import DELIVERY_STATES, PURPOSES

KINDS = {
    "correos": "Correos",
    "consentimiento": "Consentimiento",
    "importaciones": "Importaciones",
    "notas": "Notas y tareas",
    "cambios": "Cambios",
    "exclusion": "Bajas y rebotes",
}
"""Kinds of touch, as the address of the page names them."""
MOST = 300
"""Touches of one kind that are read; the oldest beyond them are not told."""
TOGETHER = timedelta(seconds=2)
"""What one actor wrote within so long was one deed."""


@dataclass(frozen=True)
class Touch:
    """One touch: when, of what kind, what it was in words, its state with a colour, and what is known beside it."""

    at: datetime
    kind: str
    title: str
    state: tuple[str, str] | None = None
    details: Sequence[str] = ()
    who: str | None = None
    href: str | None = None
    """Where the mail is seen as it was sent."""


@dataclass
class Reader:
    """Reads the touches of one person for one viewer."""

    session: Session
    contact_id: int
    masked: bool
    ids: Sequence[int] = ()
    """The record and those that were joined into it: what either received is told of the one person."""
    names: dict[tuple[str, int], str] = field(default_factory=dict)

    def text(self, text: str) -> str:
        return masked_text(text) if self.masked else text

    def who(self, kind: str | None, number: int | None) -> str | None:
        """The name of who acted; None for the product itself."""
        if kind == ActorKind.CONTACT:
            return "la propia persona"
        if kind not in (ActorKind.ACCOUNT, ActorKind.CLIENT) or number is None:
            return None
        if (kind, number) not in self.names:
            model: Any = Account if kind == ActorKind.ACCOUNT else ApiClient
            found = self.session.get(model, number)
            self.names[kind, number] = found.name if found else "una cuenta que ya no existe"
        return self.names[kind, number]


def story_of(session: Session, contact_id: int, *, masked: bool) -> list[Touch]:
    """Every touch of a person, newest first; addresses are masked for who may not see them."""
    joined = session.scalars(sa.select(Contact.id).where(Contact.merged_into_id == contact_id))
    reader = Reader(session, contact_id, masked, ids=[contact_id, *joined])
    sources: tuple[Callable[[Reader], list[Touch]], ...] = (_mails, _consents, _imports, _notes, _changes, _suppressions)
    return sorted((touch for read in sources for touch in read(reader)), key=lambda touch: touch.at, reverse=True)


# --- mails -----------------------------------------------------------------------------------------------------------------


def _mails(reader: Reader) -> list[Touch]:
    statement = (
        sa.select(Delivery, Campaign.name, Send.starts_at, Send.purpose)
        .join(Send, Send.id == Delivery.send_id)
        .join(Campaign, Campaign.id == Send.campaign_id)
        .where(Delivery.contact_id.in_(reader.ids))
        .order_by(Delivery.id.desc())
        .limit(MOST)
    )
    return [_mail(reader, *row) for row in reader.session.execute(statement)]


def _mail(reader: Reader, row: Delivery, campaign: str, starts_at: datetime, purpose: Any) -> Touch:
    state = DeliveryState.PENDING if row.state is DeliveryState.SENDING else row.state
    told = sends.SKIP_SENTENCES if state is DeliveryState.SKIPPED else sends.REASONS
    reply = f"{row.smtp_code or ''} {row.smtp_reply or ''}".strip() if state is not DeliveryState.SENT else ""
    details = [
        told.get(row.reason or ""),
        reply if not reader.masked else None,
        OUTCOMES[row.outcome] + (f", el {day(row.outcome_at)}" if row.outcome_at else "") if row.outcome else None,
    ]
    return Touch(
        at=row.settled_at or starts_at,
        kind="correos",
        title=campaign,
        state=DELIVERY_STATES[state][1:],
        details=[PURPOSES[purpose], *(line for line in details if line)],
        href=None if state is DeliveryState.SKIPPED else f"/envios/{row.send_id}?persona={row.contact_id}#preview",
    )


# --- consents --------------------------------------------------------------------------------------------------------------


def _consents(reader: Reader) -> list[Touch]:
    statement = (
        sa.select(Consent, Import.file_name)
        .outerjoin(Import, Import.id == Consent.import_id)
        .where(Consent.contact_id.in_(reader.ids), *([Consent.source != COPIED] if len(reader.ids) > 1 else []))
        .order_by(Consent.id.desc())
        .limit(MOST)
    )
    said = groupby(reader.session.execute(statement), key=lambda row: _of_one_saying(row[0]))
    return [_consent(reader, list(rows)) for _, rows in said]


def _of_one_saying(row: Consent) -> tuple[Any, ...]:
    """What purposes that were told together have in common."""
    return row.state, row.channel, row.evidence, row.source, row.import_id, row.given_on, row.recorded_at.replace(microsecond=0)


def _consent(reader: Reader, rows: Sequence[Any]) -> Touch:
    said, file_name = rows[0]
    gave = said.state is ConsentState.GRANTED
    purposes = sorted(PURPOSES[row[0].purpose] for row in rows)
    by = "" if said.channel is Channel.EMAIL else f" por {CHANNELS[said.channel]}"
    day_said = f"Lo dijo el {day(said.given_on)}" if said.given_on else ""
    return Touch(
        at=said.recorded_at,
        kind="consentimiento",
        title=f"{'Dio su consentimiento' if gave else 'Revocó su consentimiento'}{by}: {', '.join(purposes)}",
        details=[line for line in (reader.text(said.evidence), day_said, source_words(said, file_name)) if line],
        who=reader.who(said.actor_kind, said.actor_id),
    )


def source_words(said: Consent, file_name: str | None) -> str:
    """How a consent came to be known: `Lo anotó la importación «red.xlsx»`."""
    return f"Lo anotó {f'la importación «{file_name}»' if file_name else SOURCES.get(said.source, said.source)}"


# --- imports ---------------------------------------------------------------------------------------------------------------


def _imports(reader: Reader) -> list[Touch]:
    statement = (
        sa.select(ImportRow, Import.file_name, Import.started_at)
        .join(Import, Import.id == ImportRow.import_id)
        .where(ImportRow.contact_id.in_(reader.ids))
        .order_by(ImportRow.id.desc())
        .limit(MOST)
    )
    return [
        Touch(
            at=started_at,
            kind="importaciones",
            title=f"Importación «{file_name}»",
            state=ROW_STATES[row.status],
            details=[f"Fila {row.number}", *([_sentence(row.code)] if row.code else [])],
        )
        for row, file_name, started_at in reader.session.execute(statement)
    ]


def _sentence(code: str) -> str:
    return SENTENCES.get(code, SENTENCES["invalid_input"]).format_map(defaultdict(str))


# --- notes and tasks -------------------------------------------------------------------------------------------------------


def _notes(reader: Reader) -> list[Touch]:
    """What the team wrote down, and each task when it was made or, once done, when that was."""
    told = sa.select(Note).where(Note.contact_id == reader.contact_id, Note.removed_at.is_(None)).order_by(Note.id.desc())
    asked = sa.select(Task).where(Task.contact_id == reader.contact_id, Task.removed_at.is_(None)).order_by(Task.id.desc())
    notes = [
        Touch(at=one.at, kind="notas", title="Nota", details=[reader.text(one.text)], who=reader.who("account", one.account_id))
        for one in reader.session.scalars(told.limit(MOST))
    ]
    tasks = [
        Touch(
            at=one.done_at or one.made_at,
            kind="notas",
            title="Tarea",
            state=("Hecha", "good") if one.done_at else ("Pendiente", "warn"),
            details=[reader.text(one.text), *([f"Para el {day(one.due_on)}"] if one.due_on else [])],
            who=reader.who("account", one.done_by_id if one.done_at else one.made_by_id),
        )
        for one in reader.session.scalars(asked.limit(MOST))
    ]
    return notes + tasks


# --- suppressions ----------------------------------------------------------------------------------------------------------


def _suppressions(reader: Reader) -> list[Touch]:
    statement = (
        sa.select(Suppression, EmailAddress.address)
        .join(EmailAddress, EmailAddress.suppression_hash == Suppression.address_hash)
        .where(EmailAddress.contact_id == reader.contact_id)
        .order_by(Suppression.id.desc())
        .limit(MOST)
    )
    return [
        Touch(
            at=row.recorded_at,
            kind="exclusion",
            title=f"{SUPPRESSIONS[row.reason][0]}: {mask_address(address) if reader.masked else address}",
            details=[f"Ocurrió el {day(row.happened_on)}", reader.text(proof_words(row.proof))],
            who=reader.who(row.actor_kind, row.actor_id),
        )
        for row, address in {one[0].id: one for one in reader.session.execute(statement)}.values()
    ]


# --- changes ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Parts:
    """Names of what the rows of a history point to."""

    cities: Mapping[int, str]
    addresses: Mapping[int, str]
    posts: Mapping[int, str]
    sectors: Mapping[int, str]


def _changes(reader: Reader) -> list[Touch]:
    statement = (
        sa.select(Change, ChangePersonal.fields)
        .outerjoin(ChangePersonal, ChangePersonal.change_id == Change.id)
        .where(Change.root == "contact", Change.root_id.in_(reader.ids), Change.action != Action.NOTE)
        .order_by(Change.id.desc())
        .limit(MOST)
    )
    rows = [(change, {**change.fields, **(personal or {})}) for change, personal in reader.session.execute(statement)]
    parts = _parts_of(reader, rows)
    touches = [_deed(reader, deed, parts) for deed in _deeds(rows)]
    return [touch for touch in touches if touch is not None]


def _deeds(rows: Sequence[tuple[Change, dict[str, Any]]]) -> list[list[tuple[Change, dict[str, Any]]]]:
    """Neighbours of one actor, written together."""
    deeds: list[list[tuple[Change, dict[str, Any]]]] = []
    for row in rows:
        last = deeds[-1][-1][0] if deeds else None
        one = row[0]
        same = last is not None and (last.actor_kind, last.actor_id) == (one.actor_kind, one.actor_id)
        if last is not None and same and last.at - one.at <= TOGETHER:
            deeds[-1].append(row)
        else:
            deeds.append([row])
    return deeds


def _deed(reader: Reader, deed: list[tuple[Change, dict[str, Any]]], parts: _Parts) -> Touch | None:
    """One deed in words. None for the first row of an import, which the import itself tells, and for what changed nothing seen."""
    change = deed[0][0]
    created = next((fields for one, fields in deed if one.entity == "contact" and one.action is Action.CREATE), None)
    lifted = next((fields for one, fields in deed if one.entity == "suppression"), None)
    if created is not None and created.get("import_id"):
        return None
    who = reader.who(change.actor_kind, change.actor_id)
    twins = next((one for one, _ in deed if one.entity in TWINS), None)
    if twins is not None:
        lines = [line for one, fields in reversed(deed) for line in _words(reader, one, fields, parts)]
        return _twin_deed(twins, dict(next(fields for one, fields in deed if one is twins)), who, list(dict.fromkeys(lines)))
    if lifted is not None:
        because = reader.text((lifted.get("lifted_because") or [None, ""])[1] or "")
        return Touch(change.at, "exclusion", "Se levantó el rebote", details=[because] if because else [], who=who)
    if created is not None:
        return Touch(change.at, "cambios", "Se registró en la Red", who=who)
    details = [line for one, fields in reversed(deed) for line in _words(reader, one, fields, parts)]
    return Touch(change.at, "cambios", "Cambió la ficha", details=list(dict.fromkeys(details)), who=who) if details else None


TWINS = ("joining", "duplicate_pair")


def _twin_deed(change: Change, fields: dict[str, Any], who: str | None, lines: list[str]) -> Touch | None:
    """What was decided of two records that may be of one person."""
    if change.entity == "joining":
        words = "Se juntó con otra ficha" if change.action is Action.CREATE else "Se separó de la ficha con que se había juntado"
        because = (fields.get("reason") or [None, None])[1]
        return Touch(change.at, "cambios", words, details=[*([because] if because else []), *lines], who=who)
    after = (fields.get("state") or [None, None])[1]
    told = {"set_aside": "Se anotó que no es la misma persona que otra ficha", "open": "Vuelve a revisarse como posible duplicado"}
    return Touch(change.at, "cambios", told[after], who=who) if after in told else None


def _words(reader: Reader, change: Change, fields: dict[str, Any], parts: _Parts) -> list[str]:
    number, begins = change.entity_id or 0, change.action is Action.CREATE
    if change.entity == "contact":
        return change_words(fields, parts.cities, masked=reader.masked)
    if change.entity == "email_address":
        return _address_words(parts.addresses.get(number, "una dirección"), fields, begins=begins)
    if change.entity == "leader_role":
        return [f"{'Liderazgo' if begins else 'Terminó su liderazgo'}: {parts.sectors.get(number, 'otro sector')}"]
    if change.entity == "post":
        return [f"{'Terminó su cargo' if 'until' in fields and not begins else 'Cargo'}: {parts.posts.get(number, 'otro')}"]
    return []


def _address_words(address: str, fields: dict[str, Any], *, begins: bool) -> list[str]:
    if begins:
        return [f"Correo agregado: {address}"]
    if "retired_at" in fields:
        return [f"Correo retirado: {address}"]
    return [f"Correo preferido: {address}"] if fields.get("is_preferred", [None, None])[1] else []


def _parts_of(reader: Reader, rows: Sequence[tuple[Change, dict[str, Any]]]) -> _Parts:
    session, ids = reader.session, reader.ids
    numbers = {number for _, fields in rows for number in fields.get("city_id") or () if number is not None}
    named = sa.select(City.id, City.name).where(City.id.in_(numbers))
    addresses = sa.select(EmailAddress.id, EmailAddress.address).where(EmailAddress.contact_id.in_(ids))
    held = sa.select(Post.id, Post.title, Organization.name).join(Organization).where(Post.contact_id.in_(ids))
    led = sa.select(LeaderRole.id, LeaderRole.sector).where(LeaderRole.contact_id.in_(ids))
    return _Parts(
        cities={row.id: row.name for row in session.execute(named)} if numbers else {},
        addresses={row.id: mask_address(row.address) if reader.masked else row.address for row in session.execute(addresses)},
        posts={row.id: ", ".join(part for part in (row.title, row.name) if part) for row in session.execute(held)},
        sectors={row.id: sector_words(row.sector) for row in session.execute(led)},
    )
