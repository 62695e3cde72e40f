"""Commands for people: lists that come in, places to review, who left, and the rules of consent."""

import os
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import sqlalchemy as sa
import typer
from rich.progress import Progress

from crm import clock
from crm.cli.edge import WHY, AsJson, FromStdin, console, opened, read_password, read_settings, show, told, transaction
from crm.database import Database
from crm.errors import NotSignedIn
from crm.history import Actor, ActorKind
from crm.mailing import links, segments
from crm.people import consent, exports, imports, places
from crm.people.models import Purpose, SuppressionReason
from crm.staff import accounts, rights

contacts = typer.Typer(no_args_is_help=True, help="Personas de la Red.")
suppressions = typer.Typer(no_args_is_help=True, help="Lista de exclusión.")
rules = typer.Typer(no_args_is_help=True, help="Reglas de consentimiento.")


@contacts.command("import")
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


@contacts.command("export")
def export_contacts(
    file: Annotated[Path, typer.Argument(dir_okay=False, help="Archivo .csv, .xlsx o .vcf que se crea.")],
    reason: Annotated[str, typer.Option(help="Para qué se exporta; queda en la bitácora.")] = "Línea de comandos",
    segment: Annotated[str | None, typer.Option(help="Solo las personas de un segmento, por su nombre.")] = None,
) -> None:
    """Exporta las personas de la Red a un archivo nuevo; la bitácora guarda para qué y cuántas fueron."""
    form = file.suffix.removeprefix(".").lower()
    if form not in set(exports.Format):
        console.print("[red]El archivo debe terminar en .csv, .xlsx o .vcf.[/red]")
        raise typer.Exit(2)
    if file.exists():
        console.print("[red]Ese archivo ya existe. Elija otro nombre.[/red]")
        raise typer.Exit(2)
    view = f"segmento «{segment}»" if segment else "toda la Red"
    with told(), opened(read_settings()) as database:
        with database.session(write=False) as session:
            rule = segments.parse(segments.by_name(session, segment).rule) if segment else None
            chosen = segments.condition(session, rule) if rule else sa.true()
            made = exports.build(session, chosen, exports.Format(form), reason=reason, view=f"crm contacts export, {view}")
        with database.session(why=WHY) as session:
            exports.note(session, made)
        write_new(file, made.body)
    console.print(f"{made.people:,} personas en {file.name}.", highlight=False)


def write_new(path: Path, body: bytes) -> None:
    """Write a file that only its owner reads; never over another."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(body)


def _show_check(database: Database, file: Path, basis: imports.Basis | None, as_json: bool) -> None:
    checked = imports.check(database, file, file.name, basis=basis)
    rows = [{"row": row.number, "status": row.status.value, "code": row.code, "sentence": row.sentence} for row in checked.rows]
    left_out = checked.coded - len(rows)

    def text() -> str:
        lines = [f"fila {row['row']}: {row['sentence']}" for row in rows]
        more = [f"Hay {left_out:,} filas más que revisar, que no se muestran aquí."] if left_out else []
        return "\n".join([*lines, *more, _counted(checked.counts), "Nada se guardó."])

    show({"counts": checked.counts, "rows": rows, "rows_left_out": left_out}, as_json, text)


def _import(database: Database, file: Path, basis: imports.Basis | None, as_json: bool) -> None:
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("Importando", total=None)
        with database.session() as session:
            begun = imports.begin(session, file, file.name, basis=basis).id
        done = imports.run(database, begun, file, progress=lambda rows: progress.update(task, completed=rows))
    show({"import": done.id, "counts": done.counts}, as_json, lambda: _counted(done.counts))


def _counted(counts: dict[str, int]) -> str:
    words = {
        "created": ("nueva", "nuevas"),
        "updated": ("actualizada", "actualizadas"),
        "unchanged": ("sin cambios", "sin cambios"),
        "refused": ("rechazada", "rechazadas"),
    }
    told = ((counts.get(status, 0), one, many) for status, (one, many) in words.items())
    return " · ".join(f"{number:,} {one if number == 1 else many}" for number, one, many in told)


@suppressions.command("add")
def add_suppression(
    address: str,
    reason: Annotated[SuppressionReason, typer.Option(help="unsubscribed (pidió baja), complained (queja), bounced (rebotó).")],
    proof: Annotated[str, typer.Option(help="Cómo consta: llamada, carta, oficio…")],
    on: Annotated[str | None, typer.Option(help="Fecha, AAAA-MM-DD; hoy si se omite.")] = None,
    message_id: Annotated[str | None, typer.Option(help="Message-ID del correo que rebotó o dio queja: prueba que salió.")] = None,
) -> None:
    """Anota que una dirección no debe recibir más correos."""
    day = date.fromisoformat(on) if on else clock.today()
    with transaction() as session:
        if message_id is not None:
            links.note_returned(session, message_id, address, reason)
        consent.suppress(session, address, reason, happened_on=day, proof=proof)
    console.print("Anotado. No se le volverá a escribir.")


# --- places to review -------------------------------------------------------------------------------------------------------


@contacts.command("review")
def review_places(
    limit: Annotated[int, typer.Option(min=1, max=200, help="Personas por página.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Continúa la lista anterior.")] = None,
    as_json: AsJson = False,
) -> None:
    """Lista a las personas cuya ciudad no se reconoció: su número, lo que se escribió y las ciudades posibles."""
    with transaction() as session:
        waiting, following = places.waiting_places(session, cursor=cursor, limit=limit)
    rows = [_told_waiting(one) for one in waiting]

    def text() -> str:
        lines = [f"{row['contact']:>6}  «{row['typed']}»: {_may_be(row['candidates'])}" for row in rows]
        return "\n".join([*lines, *([f"Siguen más: --cursor {following}"] if following else [])]) or "Nada por revisar."

    show({"items": rows, "next": following}, as_json, text)


def _told_waiting(one: places.Waiting) -> dict[str, Any]:
    candidates = [f"{place.name}, {place.region}, {place.country}" for place in one.candidates]
    return {"contact": one.contact_id, "typed": one.city_as_typed, "country": one.country, "candidates": candidates}


def _may_be(candidates: list[str]) -> str:
    return " | ".join(candidates) or "no conocemos esa ciudad"


# --- consent ----------------------------------------------------------------------------------------------------------------


class Answer(StrEnum):
    YES = "yes"
    NO = "no"


@rules.command("rule")
def set_rule(
    purpose: Purpose,
    legacy: Annotated[Answer, typer.Option(help="Si la finalidad llega a quienes no tienen ningún consentimiento registrado.")],
    ground: Annotated[str, typer.Option(help="Fundamento escrito; queda en la bitácora.")],
    by: Annotated[str, typer.Option(help="Correo de una cuenta con perfil de privacidad.")],
    password_stdin: FromStdin = False,
) -> None:
    """Decide si una finalidad llega a quienes no tienen consentimiento registrado. Lo decide el perfil de privacidad."""
    password = read_password(password_stdin, is_new=False)
    with transaction() as session:
        account = accounts.by_email(session, by)
        if not accounts.password_is_right(account, password) or account is None:
            raise NotSignedIn("sign_in_failed")
        rights.check_role(rights.needs(rights.Right.PRIVACY), account.role)
        session.info["actor"] = Actor(ActorKind.ACCOUNT, account.id)
        consent.set_purpose_rule(session, purpose, legacy is Answer.YES, ground)
    console.print("Regla guardada. Vale para los envíos que comiencen desde ahora.")
