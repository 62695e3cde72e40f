"""Who signs in to the demo, and where it may listen: one account per role, one random password per installation."""

import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm.config import Settings, is_loopback
from crm.errors import Conflict
from crm.staff import accounts
from crm.staff.models import Account, Role

FOLDER = "demo"
"""Folder of the data directory with the spreadsheets and the password."""
ACCESS_FILE = "acceso.txt"
_PASSWORD_LINE = "contraseña: "  # noqa: S105  # the words before it in the file
_ACCOUNTS = (
    ("lectura@example.org", "Cuenta de consulta", Role.READING),
    ("edicion@example.org", "Cuenta de edición", Role.EDITING),
    ("coordinacion@example.org", "Cuenta de coordinación", Role.COORDINATION),
    ("privacidad@example.org", "Cuenta de privacidad", Role.PRIVACY),
    ("administracion@example.org", "Cuenta de administración", Role.ADMINISTRATION),
)


@dataclass(frozen=True)
class DemoAccess:
    """How to sign in: (email, role) of each account, and the password of all of them."""

    accounts: list[tuple[str, str]]
    password: str = field(repr=False)


def access(settings: Settings) -> DemoAccess | None:
    """The access that was written when the demo was built, or None."""
    path = _path(settings)
    if not path.exists():
        return None
    lines = path.read_text(encoding="utf-8").splitlines()
    password = next((line.removeprefix(_PASSWORD_LINE) for line in lines if line.startswith(_PASSWORD_LINE)), None)
    return _access(password) if password else None


def open_accounts(session: Session, settings: Settings) -> DemoAccess:
    """Make one account per role. The password is kept first, so that nobody is left with accounts that no one can open."""
    made = access(settings) or _keep(_path(settings), _access(secrets.token_urlsafe(12)))
    for email, name, role in _ACCOUNTS:
        accounts.create(session, email, name, role.value, made.password, is_demo=True)
    return made


def is_demo(session: Session) -> bool:
    """Whether any account of the demo exists, disabled or not."""
    return session.scalar(sa.select(sa.exists().where(Account.is_demo))) or False


def may_listen_on(session: Session, host: str, *, is_wanted: bool = False) -> None:
    """Conflict(demo_not_beyond) when the server would be reached from other machines while accounts of the demo exist.

    ``is_wanted``: the demo is about to be made.
    """
    if not is_loopback(host) and (is_wanted or is_demo(session)):
        raise Conflict("demo_not_beyond")


def _path(settings: Settings) -> Path:
    return settings.data_dir / FOLDER / ACCESS_FILE


def _access(password: str) -> DemoAccess:
    return DemoAccess([(email, role.value) for email, _, role in _ACCOUNTS], password)


def _keep(path: Path, made: DemoAccess) -> DemoAccess:
    """Write a file that only its owner reads."""
    people = "".join(f"{email}  {role}\n" for email, role in made.accounts)
    text = f"Datos de demostración. Todas las cuentas tienen la misma contraseña.\n\n{people}\n{_PASSWORD_LINE}{made.password}\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    return made
