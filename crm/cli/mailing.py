"""Commands for mail: how many a segment holds; a campaign sent, tried, and how it goes."""

import json
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from crm.cli.edge import WHY, AsJson, console, opened, read_settings, show, told, transaction
from crm.config import Settings
from crm.database import Database
from crm.errors import Conflict
from crm.mailing import campaigns, deliveries, outgoing, previews, segments, sends, signing
from crm.mailing.models import SendMode, SendState
from crm.mailing.schemas import SendIn, When

app = typer.Typer()
segments_group = typer.Typer(no_args_is_help=True, help="Segmentos.")
campaigns_group = typer.Typer(no_args_is_help=True, help="Campañas y envíos.")
UNDO_SECONDS = 60
"""How long whoever ordered a send at a terminal has to take it back."""


@segments_group.command("count")
def count_segment(which: str, as_json: AsJson = False) -> None:
    """Cuenta a las personas de un segmento, por su nombre o por una regla en un archivo .json."""
    with transaction() as session:
        path = Path(which)
        stored = json.loads(path.read_text(encoding="utf-8")) if path.suffix == ".json" else segments.by_name(session, which).rule
        rule = segments.parse(stored)
        count, sentence = segments.count(session, rule), segments.sentence(session, rule)
    show({"count": count, "sentence": sentence}, as_json, lambda: f"{count:,} · {sentence}")


@app.command()
def dkim(as_json: AsJson = False) -> None:
    """Muestra los registros DNS de las llaves que firman los correos (CRM_DKIM_KEYS)."""
    settings = read_settings()
    with told():
        domain = sends.sender_of(settings).domain
        records = {f"{one.selector}._domainkey.{domain}": one.record for one in signing.signers(settings)}
    show(records, as_json, lambda: "\n".join(f'{name}. TXT "{record}"' for name, record in records.items()) or "No hay llaves.")


@campaigns_group.command("send")
def send_campaign(
    campaign_id: int,
    wait: Annotated[bool, typer.Option("--wait", help="Espera a que termine; falla (1) si no termina bien.")] = False,
    confirm: Annotated[int | None, typer.Option(min=0, help="Número de personas que usted revisó.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Envía otra vez una campaña que ya se envió.")] = False,
    as_json: AsJson = False,
) -> None:
    """Ordena el envío de una campaña. En una terminal muestra antes qué saldrá y a cuántas personas, y pide confirmarlo."""
    with told(), opened(read_settings()) as database:
        settings = _settings_now(database)
        order = SendIn(when=When(mode=SendMode.NOW), confirmed_count=confirm, again=again)
        if sys.stdin.isatty():
            order = _confirmed(database, campaign_id, settings, order)
        with database.session(why=WHY) as session:
            send_id = sends.order(session, campaign_id, order, settings).id
        if order.undo_seconds:
            console.print(f"Sale en {order.undo_seconds} segundos. Para detenerlo, cancele el envío {send_id} en Campañas.")
        state = _wait(database, send_id) if wait else None
        _show_send(database, send_id, as_json)
    if wait and state is not SendState.DONE:
        raise typer.Exit(1)


def _settings_now(database: Database) -> Settings:
    with database.session(write=False) as session:
        return outgoing.effective(session, read_settings())


def _confirmed(database: Database, campaign_id: int, settings: Settings, order: SendIn) -> SendIn:
    """Show what would leave and take the number of people from whoever looks at it; Conflict(count_changed) if it differs.

    The order is for exactly what was shown, and can be taken back for a minute.
    """
    with database.session(write=False) as session:
        campaign = campaigns.get(session, campaign_id)
        review = campaigns.review(session, campaign, settings)
        lines = [f"Campaña {campaign.id}: {campaign.name}"]
        lines += [f"Asunto ({variant.language.value}): {variant.subject}" for variant in campaign.variants]
    lines += [f"Remitente: {settings.mail_from}", f"Llega a {review.recipients:,} personas"]
    lines += [f"en {review.cities:,} ciudades de {review.countries:,} países."]
    lines += [
        f"  no se escribe a {count:,}: {sends.SKIP_SENTENCES.get(reason, reason)}" for reason, count in review.skipped.items()
    ]
    console.print("\n".join(lines), markup=False, highlight=False)
    if blocking := [problem.sentence for problem in review.problems if problem.blocking]:
        raise Conflict("campaign_not_ready", problems=" ".join(dict.fromkeys(blocking)))
    typed = order.confirmed_count
    if typed is None:
        typed = int(typer.prompt("Para enviar, escriba el número de personas", type=int, err=True))
    if typed != review.recipients:
        raise Conflict("count_changed", now=review.recipients, confirmed=typed)
    return order.model_copy(update={"confirmed_count": typed, "version": campaign.version, "undo_seconds": UNDO_SECONDS})


def _wait(database: Database, send_id: int) -> SendState:
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("Aceptados por el servidor", total=None)
        pause = threading.Event()
        while True:
            with database.session(write=False) as session:
                send = sends.get(session, send_id)
                counts = sends.counts(session, send)
            progress.update(task, completed=counts.sent, total=counts.total - counts.skipped)
            if send.state not in (SendState.SCHEDULED, SendState.SENDING):
                return send.state
            pause.wait(0.5)


@campaigns_group.command("test")
def try_campaign(
    campaign_id: int,
    to: Annotated[str, typer.Option(help="Correo de una cuenta del equipo.")],
    contact_id: Annotated[int | None, typer.Option("--as", help="Persona con cuyos datos se escribe.")] = None,
    as_json: AsJson = False,
) -> None:
    """Envía una prueba a una cuenta del equipo, con enlaces de nadie."""
    with told(), opened(read_settings()) as database:
        settings = _settings_now(database)
        with database.session(write=False) as session:
            mail = previews.trial(session, campaigns.get(session, campaign_id), to, settings, contact_id)
        became = previews.to_out(previews.hand_over(mail, settings))
    show(became.model_dump(), as_json, lambda: became.sentence)
    if not became.accepted:
        raise typer.Exit(1)


@campaigns_group.command("status")
def campaign_status(campaign_id: int, as_json: AsJson = False) -> None:
    """Dice cómo va el último envío de una campaña."""
    with told(), opened(read_settings()) as database:
        with database.session(write=False) as session:
            found, _ = sends.find(session, campaign_id=campaign_id, limit=1)
        if not found:
            console.print("Esta campaña no se ha enviado.")
            return
        _show_send(database, found[0].id, as_json)


def _show_send(database: Database, send_id: int, as_json: bool) -> None:
    with database.session(write=False) as session:
        told_send = sends.to_out(session, sends.get(session, send_id))
        reasons = deliveries.skipped_by_reason(session, send_id)

    def text() -> str:
        counts = told_send.counts
        lines = [
            f"envío {told_send.id}: {told_send.state.value}" + (f" ({told_send.sentence})" if told_send.sentence else ""),
            f"aceptados por el servidor {counts.sent:,} · pendientes {counts.pending:,} · por reintentar {counts.deferred:,}",
            f"no se pudo {counts.failed:,} · sin confirmar {counts.in_doubt:,} · no se les escribe {counts.skipped:,}",
        ]
        return "\n".join(lines + [f"  {count:,} {sends.SKIP_SENTENCES.get(reason, reason)}" for reason, count in reasons.items()])

    show(told_send.model_dump(mode="json") | {"skipped_by_reason": reasons}, as_json, text)
