"""Commands that start the product and its parts."""

import gc
import os
import signal
import threading
from contextlib import ExitStack
from typing import Annotated

import structlog
import typer
import uvicorn
from rich.progress import Progress, SpinnerColumn, TextColumn

from crm import catcher, demo, jobs, migration, restoring, server
from crm.cli.edge import console, opened, read_settings, told
from crm.config import RelayAddress, Settings
from crm.database import Database
from crm.mailing import outgoing, relays
from crm.mailing.drain import Way
from crm.staff import accounts
from crm.staff.models import Role
from crm.staff.rights import ROLE_WORDS

app = typer.Typer()
log = structlog.get_logger(__name__)
Host = Annotated[str | None, typer.Option(help="Dirección en la que escucha.")]
Port = Annotated[int | None, typer.Option(help="Puerto.")]


@app.command()
def run(host: Host = None, port: Port = None) -> None:
    """Todo en un proceso: páginas, API, envíos y, si no hay servidor de correo, un buzón local de prueba."""
    settings = read_settings(host=host, port=port)
    with told(), jobs.only_one(settings.data_dir / "run.lock"), opened(settings) as database, ExitStack() as stack:
        way = Way(settings, _way_out(settings, stack))
        worker = jobs.Worker(database, settings, way, jobs.only_name(settings.data_dir))
        with database.session(write=False) as session:
            will_be_made = settings.demo and demo.is_empty(session)
            demo.may_listen_on(session, settings.host, is_wanted=will_be_made)
        jobs.stop_on_signals(worker)  # uvicorn hands its signal on at the end; without this SIGTERM would be a kill -9
        thread = threading.Thread(target=_work_or_end, args=(worker,), name="worker")
        thread.start()
        try:
            if will_be_made:
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


def _keep_what_is_loaded() -> None:
    """All that is loaded by now stays to the end: looking for garbage in it takes a twentieth of a send's time (measured), and
    makes a page wait now and then."""
    gc.collect()
    gc.freeze()


def _serve(database: Database, settings: Settings) -> None:
    with database.session(write=False) as session:
        demo.may_listen_on(session, settings.host)  # asked last of all: accounts of the demo may have been made meanwhile
    built = server.build(database, settings)
    _keep_what_is_loaded()
    uvicorn.run(
        built,
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
        has_relay = outgoing.effective(session, settings).relay is not None
    if is_demo and (access := demo.access(settings)) is not None:
        console.print("Datos de demostración. Inicie sesión con una de estas cuentas y la misma contraseña:")
        for email, role in access.accounts:
            console.print(f"  {email:<32} {ROLE_WORDS[Role(role)]}", highlight=False)
        console.print(f"  contraseña: [bold]{access.password}[/bold]", highlight=False)
        console.print("Para empezar sin datos: CRM_DEMO=0 y otra carpeta en CRM_DATA_DIR.")
    elif not people:
        console.print("Aún no hay cuentas. Cree la primera con: crm users add CORREO --role administration")
    if not has_relay:
        console.print("Sin servidor de correo: los correos se quedan en un buzón local de este equipo (CRM_SMTP_URL lo cambia).")


@app.command()
def web(host: Host = None, port: Port = None) -> None:
    """Solo páginas y API; los envíos los mueve `crm worker`."""
    settings = read_settings(host=host, port=port)
    os.environ["PGAPPNAME"] = restoring.WEB  # libpq's own way: a restore must see whoever serves, who holds the old keys
    with told(), opened(settings) as database:
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
        _keep_what_is_loaded()
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
