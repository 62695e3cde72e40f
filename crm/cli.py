"""The command line: it starts the doors and the worker, and does by hand what the pages do."""

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer
import uvicorn
from pydantic import ValidationError
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn
from sqlalchemy.orm import Session

from crm import catcher, clock, demo, jobs, logs, migration, server
from crm.config import RelayAddress, Settings
from crm.database import Database
from crm.errors import CrmError
from crm.keys import load_keys
from crm.mailing import campaigns, deliveries, previews, relays, segments, sends
from crm.mailing.models import SendMode, SendState
from crm.mailing.schemas import SendIn, When
from crm.mailing.sending import Way
from crm.people import consent, imports
from crm.people.models import Purpose, SuppressionReason
from crm.staff import accounts, clients
from crm.staff.models import Role
from web.pages import ROLE_WORDS

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help="Red Voto Chilango: el CRM de la Red.")
users_app = typer.Typer(no_args_is_help=True, help="Cuentas del equipo.")
clients_app = typer.Typer(no_args_is_help=True, help="Sistemas que usan la API.")
contacts_app = typer.Typer(no_args_is_help=True, help="Personas de la Red.")
segments_app = typer.Typer(no_args_is_help=True, help="Segmentos.")
campaigns_app = typer.Typer(no_args_is_help=True, help="Campañas y envíos.")
suppressions_app = typer.Typer(no_args_is_help=True, help="Lista de exclusión.")
for name, group in {
    "users": users_app,
    "clients": clients_app,
    "contacts": contacts_app,
    "segments": segments_app,
    "campaigns": campaigns_app,
    "suppressions": suppressions_app,
}.items():
    app.add_typer(group, name=name)

console = Console(stderr=True)
log = structlog.get_logger(__name__)
AsJson = Annotated[bool, typer.Option("--json", help="Salida en JSON, para otros programas.")]


# --- what every command needs ------------------------------------------------------------------------------------------


def read_settings(**changes: Any) -> Settings:
    """The settings of the environment; a sentence for each that is wrong, and exit code 2."""
    try:
        return Settings(**{name: value for name, value in changes.items() if value is not None})
    except ValidationError as error:
        for fault in error.errors(include_url=False, include_input=False):
            console.print(f"[red]{fault['msg']}[/red]")
        raise typer.Exit(2) from error


@contextmanager
def opened(settings: Settings) -> Iterator[Database]:
    """The migrated database of an installation."""
    logs.configure()
    migration.upgrade(settings)
    database = Database(settings, load_keys(settings.data_dir))
    try:
        yield database
    finally:
        database.dispose()


@contextmanager
def transaction() -> Iterator[Session]:
    """One transaction of a command; an error of the house is its sentence and exit code 1."""
    with told(), opened(read_settings()) as database, database.session(why="línea de comandos") as session:
        yield session


@contextmanager
def told() -> Iterator[None]:
    """Say an error of the house as a sentence."""
    try:
        yield
    except CrmError as error:
        console.print(f"[red]{error.sentence}[/red]", highlight=False)
        raise typer.Exit(1) from error


def show(data: Any, as_json: bool, text: Callable[[], str]) -> None:
    typer.echo(json.dumps(data, ensure_ascii=False, default=str) if as_json else text())


# --- run ------------------------------------------------------------------------------------------------------------------


@app.command()
def run(
    host: Annotated[str | None, typer.Option(help="Dirección en la que escucha.")] = None,
    port: Annotated[int | None, typer.Option(help="Puerto.")] = None,
) -> None:
    """Todo en un proceso: páginas, API, envíos y, si no hay servidor de correo, un buzón local de prueba."""
    settings = read_settings(host=host, port=port)
    with told(), jobs.only_one(settings.data_dir / "run.lock"), opened(settings) as database, ExitStack() as stack:
        way = Way(settings, _way_out(settings, stack))
        worker = jobs.Worker(database, settings, way)
        with database.session(write=False) as session:
            demo.may_listen_on(session, settings.host)
            empty = demo.is_empty(session)
        thread = threading.Thread(target=_work_or_end, args=(worker,), name="worker")
        thread.start()
        try:
            if settings.demo and empty:
                _make_demo(database, settings)
            _welcome(database, settings)
            _serve(database, settings)
        finally:
            worker.stopping.set()
            thread.join()


def _work_or_end(worker: jobs.Worker) -> None:
    """The worker's thread: if it cannot work, the whole process ends and says so, rather than take orders in vain."""
    try:
        jobs.work(worker)
    except Exception as error:
        log.error("worker_failed", error=type(error).__name__)
        os.kill(os.getpid(), signal.SIGTERM)


def _way_out(settings: Settings, stack: ExitStack) -> RelayAddress:
    """The relay, or a local catcher that lives as long as the stack."""
    if settings.relay is not None:
        return settings.relay
    local = catcher.Catcher(settings.data_dir)
    local.start()
    stack.callback(local.stop)
    return relays.catcher(local.port)


def _serve(database: Database, settings: Settings) -> None:
    uvicorn.run(
        server.build(database, settings),
        host=settings.host,
        port=settings.port,
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=10,
    )


def _make_demo(database: Database, settings: Settings) -> None:
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), console=console, transient=True) as progress:
        task = progress.add_task("Preparando la red de demostración…")
        demo.build(database, settings, progress=lambda text: progress.update(task, description=text))


def _welcome(database: Database, settings: Settings) -> None:
    """Say where it is and how to sign in."""
    console.print(f"\n[bold]Red Voto Chilango[/bold] en [bold]{settings.public_url}[/bold]", highlight=False)
    console.print("Versión de evaluación: no cargue datos reales sin visto bueno de protección de datos.")
    with database.session(write=False) as session:
        is_demo, people = demo.is_demo(session), accounts.find(session)
    if is_demo and (access := demo.access(settings)) is not None:
        console.print("Datos de demostración. Inicie sesión con una de estas cuentas y la misma contraseña:")
        for email, role in access.accounts:
            console.print(f"  {email:<32} {ROLE_WORDS[Role(role)]}", highlight=False)
        console.print(f"  contraseña: [bold]{access.password}[/bold]", highlight=False)
        console.print("Para empezar sin datos: CRM_DEMO=0 y otra carpeta en CRM_DATA_DIR.")
    elif not people:
        console.print("Aún no hay cuentas. Cree la primera con: crm users add CORREO --role administration")
    if settings.relay is None:
        console.print("Sin servidor de correo: los correos se quedan en un buzón local de este equipo (CRM_SMTP_URL lo cambia).")


@app.command()
def web(
    host: Annotated[str | None, typer.Option(help="Dirección en la que escucha.")] = None,
    port: Annotated[int | None, typer.Option(help="Puerto.")] = None,
) -> None:
    """Solo páginas y API; los envíos los mueve `crm worker`."""
    settings = read_settings(host=host, port=port)
    with told(), opened(settings) as database:
        with database.session(write=False) as session:
            demo.may_listen_on(session, settings.host)
        _serve(database, settings)


@app.command()
def worker() -> None:
    """Solo los envíos: para separar el trabajo en varias máquinas con PostgreSQL."""
    settings = read_settings()
    with told(), ExitStack() as stack:
        if settings.uses_sqlite:
            stack.enter_context(jobs.only_one(settings.data_dir / "run.lock"))
        database = stack.enter_context(opened(settings))
        moving = jobs.Worker(database, settings, Way(settings, _way_out(settings, stack)))
        jobs.stop_on_signals(moving)
        jobs.work(moving)


@app.command()
def migrate() -> None:
    """Crea o actualiza las tablas de la base de datos."""
    settings = read_settings()
    migration.upgrade(settings)
    console.print("La base de datos está al día.")


@app.command("demo")
def make_demo() -> None:
    """Crea la red sintética en una base vacía."""
    settings = read_settings()
    with told(), opened(settings) as database:
        _make_demo(database, settings)
        console.print("Listo. Inicie con: crm run")


# --- people ---------------------------------------------------------------------------------------------------------------


@users_app.command("add")
def add_user(
    email: str,
    role: Annotated[str, typer.Option(help="reading, editing, coordination, privacy o administration.")],
    name: Annotated[str, typer.Option(help="Nombre de la persona.")] = "",
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="Lee la contraseña de la entrada estándar.")] = False,
    as_json: AsJson = False,
) -> None:
    """Crea la cuenta de una persona del equipo."""
    if password_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = typer.prompt("Contraseña", hide_input=True, confirmation_prompt=True)
    with transaction() as session:
        account = accounts.create(session, email, name or email.partition("@")[0], role, password)
        created = {"id": account.id, "role": account.role.value}
    show(created, as_json, lambda: "Cuenta creada.")


@clients_app.command("add")
def add_client(
    name: str,
    scope: Annotated[list[str], typer.Option(help="Alcance, por ejemplo contacts:write; se puede repetir.")],
    responsible: Annotated[str, typer.Option(help="Persona que responde por el sistema.")] = "sin indicar",
    days: Annotated[int, typer.Option(help="Días de vigencia.")] = 365,
    as_json: AsJson = False,
) -> None:
    """Da una clave de API a un sistema. La clave se muestra una sola vez."""
    with transaction() as session:
        client, key = clients.create(session, name, responsible, scope, days)
        created = {"id": client.id, "key": key, "expires_at": client.expires_at}
    show(created, as_json, lambda: f"{key}\nGuárdela ahora: no se volverá a mostrar.")


@contacts_app.command("import")
def import_contacts(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False)],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Muestra qué pasaría, sin guardar.")] = False,
    purpose: Annotated[list[Purpose] | None, typer.Option("--consent", help="Finalidad que consintieron.")] = None,
    evidence: Annotated[str, typer.Option(help="Cómo consta ese consentimiento.")] = "",
    agreed_on: Annotated[str | None, typer.Option(help="Fecha del consentimiento, AAAA-MM-DD.")] = None,
    notice_version: Annotated[str | None, typer.Option(help="Versión del aviso de privacidad que vieron.")] = None,
    as_json: AsJson = False,
) -> None:
    """Importa personas de un archivo .xlsx o .csv."""
    day = date.fromisoformat(agreed_on) if agreed_on else None
    with told():
        basis = imports.Basis(purpose, evidence, day, notice_version) if purpose else None
        with opened(read_settings()) as database:
            if dry_run:
                _show_check(database, file, basis, as_json)
            else:
                _import(database, file, basis, as_json)


def _show_check(database: Database, file: Path, basis: imports.Basis | None, as_json: bool) -> None:
    with database.session() as session:
        checked = imports.check(session, file, file.name, basis=basis)
    faults = [row for row in checked.rows if row.code]
    rows = [{"row": row.number, "status": row.status.value, "code": row.code, "sentence": row.sentence} for row in faults]

    def text() -> str:
        lines = [f"fila {row['row']}: {row['sentence']}" for row in rows]
        return "\n".join([*lines, _counted(checked.counts), "Nada se guardó."])

    show({"counts": checked.counts, "rows": rows}, as_json, text)


def _import(database: Database, file: Path, basis: imports.Basis | None, as_json: bool) -> None:
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("Importando", total=None)
        with database.session() as session:
            begun = imports.begin(session, file, file.name, basis=basis).id
        done = imports.run(database, begun, file, progress=lambda rows: progress.update(task, completed=rows))
    show({"import": done.id, "counts": done.counts}, as_json, lambda: _counted(done.counts))


def _counted(counts: dict[str, int]) -> str:
    words = {"created": "nuevas", "updated": "actualizadas", "unchanged": "sin cambios", "refused": "rechazadas"}
    return " · ".join(f"{counts.get(status, 0):,} {word}" for status, word in words.items())


@suppressions_app.command("add")
def add_suppression(
    address: str,
    reason: Annotated[SuppressionReason, typer.Option(help="unsubscribed (pidió baja), complained (queja), bounced (rebotó).")],
    proof: Annotated[str, typer.Option(help="Cómo consta: llamada, carta, oficio…")],
    on: Annotated[str | None, typer.Option(help="Fecha, AAAA-MM-DD; hoy si se omite.")] = None,
) -> None:
    """Anota que una dirección no debe recibir más correos."""
    day = date.fromisoformat(on) if on else clock.institute_time(clock.now()).date()
    with transaction() as session:
        consent.suppress(session, address, reason, happened_on=day, proof=proof)
    console.print("Anotado. No se le volverá a escribir.")


# --- mailing ------------------------------------------------------------------------------------------------------------


@segments_app.command("count")
def count_segment(which: str, as_json: AsJson = False) -> None:
    """Cuenta a las personas de un segmento, por su nombre o por una regla en un archivo .json."""
    with transaction() as session:
        path = Path(which)
        stored = json.loads(path.read_text(encoding="utf-8")) if path.suffix == ".json" else segments.by_name(session, which).rule
        rule = segments.parse(stored)
        count, sentence = segments.count(session, rule), segments.sentence(session, rule)
    show({"count": count, "sentence": sentence}, as_json, lambda: f"{count:,} · {sentence}")


@campaigns_app.command("send")
def send_campaign(
    campaign_id: int,
    wait: Annotated[bool, typer.Option("--wait", help="Espera a que termine; los envíos los mueve crm run o crm worker.")] = False,
    confirm: Annotated[int | None, typer.Option(help="Número de personas que usted revisó.")] = None,
    as_json: AsJson = False,
) -> None:
    """Ordena el envío de una campaña, ahora."""
    settings = read_settings()
    with told(), opened(settings) as database:
        with database.session(why="línea de comandos") as session:
            order = SendIn(when=When(mode=SendMode.NOW), confirmed_count=confirm)
            send_id = sends.order(session, campaign_id, order, settings).id
        if wait:
            _wait(database, send_id)
        _show_send(database, send_id, as_json)


def _wait(database: Database, send_id: int) -> None:
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("Aceptados por el servidor", total=None)
        pause = threading.Event()
        while True:
            with database.session(write=False) as session:
                send = sends.get(session, send_id)
                counts = sends.counts(session, send)
            progress.update(task, completed=counts.sent, total=counts.total - counts.skipped)
            if send.state not in (SendState.SCHEDULED, SendState.SENDING):
                return
            pause.wait(0.5)


@campaigns_app.command("test")
def try_campaign(
    campaign_id: int,
    to: Annotated[str, typer.Option(help="Correo de una cuenta del equipo.")],
    contact_id: Annotated[int | None, typer.Option("--as", help="Persona con cuyos datos se escribe.")] = None,
    as_json: AsJson = False,
) -> None:
    """Envía una prueba a una cuenta del equipo, con enlaces de nadie."""
    settings = read_settings()
    with told(), opened(settings) as database:
        with database.session(write=False) as session:
            mail = previews.trial(session, campaigns.get(session, campaign_id), to, settings, contact_id)
        became = previews.to_out(previews.hand_over(mail, settings))
    show(became.model_dump(), as_json, lambda: became.sentence)
    if not became.accepted:
        raise typer.Exit(1)


@campaigns_app.command("status")
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


if __name__ == "__main__":
    app()
