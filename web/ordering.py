"""Revisar y enviar: the last look before a campaign leaves, a test to one's own mailbox, and the order itself."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Form, Path, Query, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import ValidationError
from sqlalchemy.orm import Session

from crm import clock
from crm.errors import CrmError
from crm.mailing import audience, campaigns, link_checks, previews, relays, sends
from crm.mailing.link_checks import Checked
from crm.mailing.models import Campaign, SendMode, SkipReason, Trial
from crm.mailing.schemas import SendIn, When
from crm.people.countries import country_name
from crm.staff import accounts
from crm.staff.models import Account
from crm.staff.rights import Right
from web import samples
from web.asked import whole_number
from web.dependencies import SessionOf, ViewerOf, database_of, settings_of, writing
from web.errors import status_of
from web.pages import Viewer, is_fragment, page
from web.send_progress import limit_words
from web.words import PURPOSES, reason_words

UNDO_SECONDS = 60
COUNTRIES_TOLD = 5
TRIALS_TOLD = 5

router = APIRouter()
CampaignId = Annotated[int, Path(ge=1, lt=2**31)]


@dataclass(frozen=True)
class Chosen:
    """When it is to leave, as the form tells it: now, or a day and an hour of Mexico City."""

    mode: str
    day: str
    hour: str

    @classmethod
    def read(cls, told: Mapping[str, Any], kept: datetime | None) -> "Chosen":
        """From a form or an address; at first the hour that a stopped order had, else tomorrow at ten."""
        begun = clock.institute_time(kept or clock.now() + timedelta(days=1))
        day = str(told.get("fecha") or begun.strftime("%Y-%m-%d"))
        hour = str(told.get("hora") or (begun.strftime("%H:%M") if kept else "10:00"))
        mode = str(told.get("cuando") or ("at" if kept else "now"))
        return cls(mode if mode in {"now", "at"} else "now", day[:10], hour[:5])

    def instant(self) -> datetime | None:
        """When the first mail may leave; None when the day or the hour is none."""
        if self.mode == "now":
            return clock.now() + timedelta(seconds=UNDO_SECONDS)
        try:
            told = datetime.strptime(f"{self.day} {self.hour}", "%Y-%m-%d %H:%M").replace(tzinfo=clock.INSTITUTE_ZONE)
            return told.astimezone(UTC)
        except (ValueError, OverflowError):
            return None

    def when(self) -> When:
        instant = self.instant()
        return When(mode=SendMode.NOW) if self.mode == "now" else When(mode=SendMode.AT, at=instant)


@router.get("/campanas/{campaign_id}/revisar")
def show(request: Request, session: SessionOf, viewer: ViewerOf, campaign_id: CampaignId) -> Response:
    """The page; with htmx only the hours, when another moment is chosen."""
    campaign = campaigns.get(session, campaign_id)
    chosen = Chosen.read(request.query_params, sends.hour_kept(session, campaign_id))
    if is_fragment(request):
        return page(request, "ordering/hours.html", _hours(request, session, campaign, chosen))
    return _page(request, session, campaign, viewer, chosen)


def _page(
    request: Request,
    session: Session,
    campaign: Campaign,
    viewer: Viewer,
    chosen: Chosen,
    *,
    wrong: Mapping[str, str] | None = None,
    typed: str = "",
    checked: Sequence[Checked] | None = None,
    status: int = 200,
) -> Response:
    reviewed = campaigns.review(session, campaign, settings_of(request))
    people = campaigns.chosen_people(session, campaign, settings_of(request))
    countries = audience.by_country(session, people)
    known = [(code, count) for code, count in countries if code]
    already = _already(session, campaign)
    context = {
        "campaign": campaign,
        "review": reviewed,
        "blocking": [problem for problem in reviewed.problems if problem.blocking],
        "advice": [problem for problem in reviewed.problems if not problem.blocking],
        "left_out": [
            (reason, reason_words(reason), sends.SKIP_SENTENCES.get(reason, ""), count)
            for reason, count in sorted(reviewed.skipped.items(), key=lambda one: -one[1])
        ],
        "countries": [(country_name(code), count) for code, count in known[:COUNTRIES_TOLD]],
        "more_countries": known[COUNTRIES_TOLD:],
        "without_country": sum(count for code, count in countries if not code),
        "purpose": PURPOSES[campaign.purpose],
        "trials": _trials(session, campaign),
        "links": link_checks.links_of(campaigns.content_of(campaign).variants),
        "checked": checked,
        "own_address": accounts.get(session, viewer.account_id).email,
        "may_send": viewer.may(Right.SEND),
        "already": already,
        "received": audience.received_before(session, people, campaign.id) if already else 0,
        "lasts": relays.time_left(session, settings_of(request), reviewed.recipients),
        "limits": limit_words(settings_of(request).relay, clock.now()),
        "wrong": wrong or {},
        "typed": typed,
        **_hours(request, session, campaign, chosen),
    }
    return page(request, "ordering/page.html", context, status=status)


def _hours(request: Request, session: Session, campaign: Campaign, chosen: Chosen) -> dict[str, Any]:
    """What hour it will be for those who read it first and last, and whom it would find at night."""
    instant = chosen.instant()
    people = campaigns.chosen_people(session, campaign, settings_of(request))
    told, unknown = audience.hours(session, people, instant) if instant else ([], 0)
    return {
        "campaign": campaign,
        "chosen": chosen,
        "instant": instant,
        "zones": told,
        "night": sum(one.people for one in told if one.is_night),
        "unknown_zone": unknown,
    }


def _already(session: Session, campaign: Campaign) -> list[Any]:
    """The sends of this campaign, newest first: whoever sends again should know."""
    found, _ = sends.find(session, campaign_id=campaign.id, limit=3)
    return [sends.to_out(session, send) for send in found if not send.was_taken_back or send.may_have_left]


# --- the test mail -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TrialTold:
    """A test as the page tells it."""

    who: str
    at: datetime
    accepted: bool
    sentence: str
    is_of_this_version: bool


def _trials(session: Session, campaign: Campaign) -> list[TrialTold]:
    found = sa.select(Trial, Account.name).join(Account, Account.id == Trial.account_id).where(Trial.campaign_id == campaign.id)
    rows = session.execute(found.order_by(Trial.id.desc()).limit(TRIALS_TOLD))
    return [
        TrialTold(name, trial.at, trial.accepted, sends.REASONS.get(trial.reason, ""), trial.version == campaign.version)
        for trial, name in rows
    ]


@router.post("/campanas/{campaign_id}/prueba")
def try_out(
    request: Request, viewer: ViewerOf, campaign_id: CampaignId, correo: Annotated[str, Form(max_length=254)] = ""
) -> Response:
    """Send a test in each language to an account of the staff. No transaction waits for the mail server."""
    try:
        with database_of(request).session(write=False) as session:
            campaign = campaigns.get(session, campaign_id)
            spoken = [variant.language for variant in campaign.variants]
            settings = settings_of(request)
            mails = [previews.trial(session, campaign, correo.strip(), settings, language=language) for language in spoken]
            account = accounts.by_email(session, mails[0].to_address)
            version = campaign.version
        judged = [previews.to_out(previews.hand_over(mail, settings)) for mail in mails]
    except CrmError as error:
        with database_of(request).session(write=False) as session:
            campaign = campaigns.get(session, campaign_id)
            wrong = {"correo": error.sentence}
            return _page(request, session, campaign, viewer, Chosen.read({}, None), wrong=wrong, status=status_of(error))
    with writing(request) as session:
        kept = {"version": version, "account_id": account.id if account else viewer.account_id}
        session.add_all(Trial(campaign_id=campaign_id, accepted=one.accepted, reason=one.reason, **kept) for one in judged)
    return RedirectResponse(f"/campanas/{campaign_id}/revisar#trial-title", status_code=303)


@router.post("/campanas/{campaign_id}/enlaces")
def check_links(request: Request, viewer: ViewerOf, campaign_id: CampaignId) -> Response:
    """Ask the sites of its links whether they are there. No transaction waits for them."""
    with database_of(request).session(write=False) as session:
        campaign = campaigns.get(session, campaign_id)
        links = link_checks.links_of(campaigns.content_of(campaign).variants)
    try:
        checked, wrong = link_checks.check(links), {}
    except CrmError as error:
        checked, wrong = None, {"links-title": error.sentence}
    with database_of(request).session(write=False) as session:
        campaign = campaigns.get(session, campaign_id)
        chosen = Chosen.read({}, sends.hour_kept(session, campaign_id))
        return _page(request, session, campaign, viewer, chosen, checked=checked, wrong=wrong, status=409 if wrong else 200)


# --- the order -----------------------------------------------------------------------------------------------------------------


@router.post("/campanas/{campaign_id}/enviar")
def order(
    request: Request,
    session: SessionOf,
    viewer: ViewerOf,
    campaign_id: CampaignId,
    numero: Annotated[str, Form(max_length=20)] = "",
    cuando: Annotated[str, Form(max_length=10)] = "now",
    fecha: Annotated[str, Form(max_length=10)] = "",
    hora: Annotated[str, Form(max_length=5)] = "",
    version: Annotated[int, Form(ge=1, lt=2**31)] = 1,
    otra_vez: Annotated[str, Form(max_length=5)] = "",
) -> Response:
    """Order the send, once the number of people was typed as the page showed it; else the page again with what to mend."""
    campaign = campaigns.get(session, campaign_id)
    chosen = Chosen(cuando if cuando in {"now", "at"} else "now", fecha, hora)
    typed = whole_number(re.sub(r"[\s,.]", "", numero))
    if chosen.instant() is None:
        told = {"fecha": "Elija un día y una hora."}
        return _page(request, session, campaign, viewer, chosen, wrong=told, typed=numero, status=422)
    if typed is None:
        told = {"numero": "Escriba con cifras cuántas personas lo recibirán."}
        return _page(request, session, campaign, viewer, chosen, wrong=told, typed=numero, status=422)
    recipients = audience.tally(session, campaigns.chosen_people(session, campaign, settings_of(request))).recipients
    if typed != recipients:
        told = {"numero": f"Usted escribió {typed:,} y lo recibirían {recipients:,}. Revise a quién se escribe."}
        return _page(request, session, campaign, viewer, chosen, wrong=told, typed=numero, status=422)
    if not otra_vez and _already(session, campaign):
        told = {"otra_vez": "Esta campaña ya tiene un envío. Marque «Enviarla otra vez» si de verdad debe salir de nuevo."}
        return _page(request, session, campaign, viewer, chosen, wrong=told, typed=numero, status=409)
    try:
        with session.begin_nested():
            data = SendIn(
                when=chosen.when(),
                confirmed_count=recipients,
                undo_seconds=UNDO_SECONDS if chosen.mode == "now" else 0,
                version=version,
                again=bool(otra_vez),
            )
            made = sends.order(session, campaign_id, data, settings_of(request))
    except (CrmError, ValidationError) as error:
        sentence = error.sentence if isinstance(error, CrmError) else "Revise el día y la hora."
        field = "fecha" if isinstance(error, ValidationError) or error.field == "when.at" else "otra_vez"
        status = status_of(error) if isinstance(error, CrmError) else 422
        told = {field: sentence}
        return _page(request, session, campaigns.get(session, campaign_id), viewer, chosen, wrong=told, typed=numero, status=status)
    return RedirectResponse(f"/envios/{made.id}", status_code=303)


@router.post("/envios/{send_id}/editar")
def stop_and_edit(session: SessionOf, send_id: Annotated[int, Path(ge=1, lt=2**31)]) -> Response:
    """Take the order back and go on writing; its hour waits in Revisar y enviar."""
    send = sends.stop_and_edit(session, send_id)
    return RedirectResponse(f"/campanas/{send.campaign_id}/redactar?detenido={send_id}", status_code=303)


# --- the people behind the numbers -----------------------------------------------------------------------------------------------


@router.get("/campanas/{campaign_id}/personas")
def people(
    request: Request,
    session: SessionOf,
    viewer: ViewerOf,
    campaign_id: CampaignId,
    motivo: SkipReason | None = None,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """Who would get a campaign if it left now, or who would not, for one reason."""
    campaign = campaigns.get(session, campaign_id)
    chosen = campaigns.chosen_people(session, campaign, settings_of(request))
    masked = not viewer.may(Right.VIEW_ADDRESSES)
    context = {"campaign": campaign, **samples.behind(session, chosen, motivo, cursor, masked=masked)}
    return page(request, "ordering/people.html", context)
