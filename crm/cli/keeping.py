"""Commands that keep an installation whole: a backup, its way back, and what is wrong."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from crm import backup, clock, doctor, logs, restoring
from crm.cli.edge import AsJson, read_settings, show, told
from crm.doctor import Finding, State
from crm.restoring import Restored

app = typer.Typer()


@app.command("backup")
def back_up(file: Annotated[Path, typer.Argument(help="Archivo nuevo, terminado en .zip.")], as_json: AsJson = False) -> None:
    """Respalda la base de datos, los archivos y las claves en un solo archivo, también con el sistema en marcha."""
    settings = read_settings()
    logs.configure()
    with told(), backup.telling_the_disk():
        made = backup.write(settings, file)
    rows = made.manifest.rows
    data = {
        "file": str(made.path.resolve()),
        "bytes": made.size,
        "sha256": made.sha256,
        "made_at": made.manifest.made_at,
        "rows": rows,
    }

    def text() -> str:
        return "\n".join(
            [
                f"Respaldo completo y comprobado: {made.path}",
                f"{made.size / 2**20:,.1f} MB · {_counted(rows)}",
                "Lleva datos personales y las claves: guárdelo cifrado y en otro lugar que este equipo.",
            ]
        )

    show(data, as_json, text)


@app.command("restore")
def bring_back(
    file: Annotated[Path, typer.Argument(help="Archivo de un respaldo.")],
    replace: Annotated[bool, typer.Option("--replace", help="Sustituye lo que hay; antes lo respalda.")] = False,
    as_json: AsJson = False,
) -> None:
    """Restaura un respaldo. Ningún envío sale después hasta que una persona lo reanude."""
    settings = read_settings()
    logs.configure()
    with told():
        done = restoring.restore(settings, file, replace=replace)
    data = asdict(done) | {"made_at": done.made_at.isoformat(), "previous": str(done.previous) if done.previous else None}
    show(data, as_json, lambda: _in_words(done))


def _counted(rows: Mapping[str, int]) -> str:
    people, mails, files = (rows.get(name, 0) for name in ("contact", "delivery", "stored_file"))
    return f"{people:,} personas · {mails:,} correos · {files:,} archivos"


def _in_words(done: Restored) -> str:
    held, when = done.held, clock.institute_time(done.made_at).strftime("%d/%m/%Y a las %H:%M")
    lines = [
        f"Restaurado: la Red como estaba el {when} h (CDMX).",
        _counted(done.rows),
    ]
    if done.previous:
        lines.append(f"Lo que había antes quedó en {done.previous}")
    if done.suppressions:
        lines.append(f"Bajas, rebotes, revocaciones y bloqueos posteriores al respaldo que se recuperaron: {done.suppressions:,}")
    lines += ["", f"Envíos detenidos hasta que una persona los reanude: {held.sends:,}"]
    for count, words in (
        (held.to_come, "con su hora por venir: reanude los que todavía deban salir"),
        (held.may_have_left, "cuya hora ya pasó: pudieron salir completos; al reanudar cada persona queda sin confirmar"),
        (held.begun, f"que habían comenzado: {held.in_doubt:,} correos quedan sin confirmar"),
    ):
        lines += [f"  {count:,} {words}"] if count else []
    lines += [
        "",
        "Lo que no se puede saber: los envíos ordenados después del respaldo, a quién llegaron, y los cambios de esas horas.",
        "Antes de enviar de nuevo, compare con el registro del servidor de correo.",
        "Siguen fuera quienes pidieron la baja, revocaron o fueron bloqueados; de quien no tiene correo, anótelo de nuevo.",
        "Vuelva a desactivar las cuentas y a revocar las claves de la API que se quitaron después del respaldo.",
    ]
    return "\n".join(lines)


_COLOURS = {State.GOOD: "green", State.ATTENTION: "yellow", State.BAD: "red"}


@app.command("doctor")
def examine(
    deep: Annotated[bool, typer.Option("--deep", help="Revisa cada archivo y cada página de la base de datos.")] = False,
    as_json: AsJson = False,
) -> None:
    """Revisa la instalación y dice qué anda mal y cómo se arregla. No cambia nada ni envía correos. Falla (1) si algo está mal."""
    settings = read_settings()
    logs.configure()
    found = doctor.examine(settings, deep=deep)
    if as_json:
        show([asdict(one) for one in found], True, str)
    for one in [] if as_json else found:
        _say(one)
    if any(one.state is State.BAD for one in found):
        raise typer.Exit(1)


def _say(one: Finding) -> None:
    colour = _COLOURS[one.state]
    typer.secho(f"{one.state.value:<9}", fg=colour, nl=False)
    typer.echo(f" {one.what}: {one.words}")
    if one.mend:
        typer.echo(f"{'':<9} → {one.mend}")
