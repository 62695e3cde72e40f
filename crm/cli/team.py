"""Commands for who may come in: accounts of the team and keys of other systems."""

from typing import Annotated, Any

import typer
from sqlalchemy.orm import Session

from crm.cli.edge import AsJson, FromStdin, console, read_password, show, transaction
from crm.errors import NotFound
from crm.staff import accounts, clients
from crm.staff.models import Account, ApiClient
from crm.staff.rights import ROLE_WORDS

users = typer.Typer(no_args_is_help=True, help="Cuentas del equipo.")
keys = typer.Typer(no_args_is_help=True, help="Sistemas que usan la API.")


# --- accounts ---------------------------------------------------------------------------------------------------------------


@users.command("add")
def add_user(
    email: str,
    role: Annotated[str, typer.Option(help="reading, editing, coordination, privacy o administration.")],
    name: Annotated[str, typer.Option(help="Nombre de la persona.")] = "",
    password_stdin: FromStdin = False,
    as_json: AsJson = False,
) -> None:
    """Crea la cuenta de una persona del equipo."""
    password = read_password(password_stdin, is_new=True)
    with transaction() as session:
        account = accounts.create(session, email, name or email.partition("@")[0], role, password)
        created = {"id": account.id, "role": account.role.value}
    show(created, as_json, lambda: "Cuenta creada.")


@users.command("list")
def list_users(as_json: AsJson = False) -> None:
    """Muestra las cuentas, también las desactivadas."""
    with transaction() as session:
        rows = [_told_account(account) for account in accounts.find(session)]
    show(rows, as_json, lambda: "\n".join(_account_line(row) for row in rows) or "Aún no hay cuentas.")


def _told_account(account: Account) -> dict[str, Any]:
    told = {name: getattr(account, name) for name in ("id", "email", "name", "role", "is_demo", "created_at")}
    return told | {"disabled": account.disabled_at is not None}


def _account_line(row: dict[str, Any]) -> str:
    return f"{row['email']:<40} {ROLE_WORDS[row['role']]}" + ("  (desactivada)" if row["disabled"] else "")


@users.command("disable")
def disable_user(email: str) -> None:
    """Desactiva una cuenta y cierra sus sesiones de inmediato."""
    with transaction() as session:
        accounts.disable(session, account_of(session, email).id)
    console.print("Cuenta desactivada. Sus sesiones se cerraron.")


@users.command("role")
def change_user_role(email: str, role: Annotated[str, typer.Argument(help="reading, editing, coordination, privacy…")]) -> None:
    """Da otro perfil a una cuenta."""
    with transaction() as session:
        accounts.change_role(session, account_of(session, email).id, role)
    console.print("Perfil cambiado.")


@users.command("password")
def change_user_password(email: str, password_stdin: FromStdin = False) -> None:
    """Da otra contraseña a una cuenta y cierra sus sesiones."""
    password = read_password(password_stdin, is_new=True)
    with transaction() as session:
        accounts.change_password(session, account_of(session, email).id, password)
    console.print("Contraseña cambiada. Sus sesiones se cerraron.")


def account_of(session: Session, email: str) -> Account:
    """The account of an address; NotFound(account_not_found)."""
    account = accounts.by_email(session, email)
    if account is None:
        raise NotFound("account_not_found")
    return account


# --- keys of the API --------------------------------------------------------------------------------------------------------


@keys.command("add")
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


@keys.command("list")
def list_clients(as_json: AsJson = False) -> None:
    """Muestra los sistemas con clave, quién responde por cada uno y si su clave vive."""
    with transaction() as session:
        rows = [_told_client(client) for client in clients.find(session)]
    show(rows, as_json, lambda: "\n".join(_client_line(row) for row in rows) or "Ningún sistema tiene clave.")


def _told_client(client: ApiClient) -> dict[str, Any]:
    names = ("id", "name", "responsible", "scopes", "created_at", "expires_at", "last_used_at", "revoked_at")
    return {name: getattr(client, name) for name in names} | {"state": clients.state(client)}


def _client_line(row: dict[str, Any]) -> str:
    words = {"active": f"vence {row['expires_at']:%d/%m/%Y}", "expired": "vencida", "revoked": "revocada"}
    return f"{row['id']:>4}  {row['name']} ({row['responsible']}): {', '.join(row['scopes'])}; {words[row['state']]}"


@keys.command("revoke")
def revoke_client(client_id: int) -> None:
    """Revoca la clave de un sistema: su siguiente llamada se rechaza."""
    with transaction() as session:
        clients.revoke(session, client_id)
    console.print("Clave revocada.")
