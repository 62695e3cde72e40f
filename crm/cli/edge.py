"""What every command needs: settings, the database, a transaction, and how errors and results are told."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console
from sqlalchemy.orm import Session

from crm import logs, migration
from crm.config import Settings
from crm.database import Database
from crm.errors import CrmError
from crm.people import installation

WHY = "línea de comandos"
console = Console(stderr=True)
AsJson = Annotated[bool, typer.Option("--json", help="Salida en JSON, para otros programas.")]
FromStdin = Annotated[bool, typer.Option("--password-stdin", help="Lee la contraseña de la entrada estándar.")]


def read_settings(**changes: Any) -> Settings:
    """The settings of the environment; a sentence for each that is wrong, and exit code 2.

    From here on whatever this process writes is read by its owner alone: databases, mails and backups hold personal data.
    """
    os.umask(0o077)
    try:
        return Settings(**{name: value for name, value in changes.items() if value is not None})
    except ValidationError as error:
        for fault in error.errors(include_url=False, include_input=False):
            console.print(f"[red]{fault['msg']}[/red]")
        raise typer.Exit(2) from error


@contextmanager
def opened(settings: Settings) -> Iterator[Database]:
    """The migrated database of an installation; refused without the keys that it was written with (keys_missing)."""
    logs.configure()
    migration.upgrade(settings)
    database = installation.open_database(settings)
    try:
        yield database
    finally:
        database.dispose()


@contextmanager
def transaction() -> Iterator[Session]:
    """One transaction of a command; an error of the house is its sentence and exit code 1."""
    with told(), opened(read_settings()) as database, database.session(why=WHY) as session:
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
    """Say a result, as JSON for programs or in words."""
    typer.echo(json.dumps(data, ensure_ascii=False, default=str) if as_json else text())


def read_password(from_stdin: bool, *, is_new: bool) -> str:
    """A password from the standard input or from whoever is at the terminal; a new one is asked for twice."""
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    return str(typer.prompt("Contraseña", hide_input=True, confirmation_prompt=is_new))
