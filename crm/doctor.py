"""What is wrong with an installation, in words, with the mend. Changes nothing, sends nothing, and speaks also when the database
cannot be opened."""

import asyncio
import hashlib
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryFile
from urllib.parse import urlsplit

import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm import backup, clock, migration
from crm.backup import Trouble
from crm.config import RelayAddress, Settings, is_loopback
from crm.database import Database, defects, sqlite_file
from crm.errors import CrmError, Unavailable
from crm.files import StoredFile
from crm.jobs import DEAD_AFTER
from crm.keys import Keys, read_keys
from crm.mailing import outgoing, relays, sends, signing, smtp
from crm.mailing.exchange import Timeouts
from crm.mailing.faults import SENTENCES, judge
from crm.mailing.models import IS_OPEN, Delivery, DeliveryState, Send, SendState, Worker
from crm.people.models import Installation
from crm.people.suppression import journal_differences

VENDOR = migration.ROOT / "web" / "static" / "vendor"
ASSETS = ("htmx.min.js", "icons.svg", "world.svg", "inter-latin.woff2")
DISK_LOW, DISK_OUT = 2 * 2**30, 200 * 2**20
FILES_SAMPLE = 50
"""Stored files read without `deep`: the newest."""
KNOCK_SECONDS = 20.0
STUCK_AFTER = timedelta(minutes=15)
CLOCK_APART = timedelta(seconds=5)
RELAY = "Servidor de correo"
_START = "Enciéndalo: crm run, o crm worker donde se separa."


class State(StrEnum):
    GOOD = "bien"
    ATTENTION = "atención"
    BAD = "mal"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    state: State
    words: str
    mend: str = ""


def examine(settings: Settings, *, deep: bool = False) -> list[Finding]:
    """Look at everything, the ground first; ``deep`` reads every stored file and every page of the database."""
    return [*_ground(settings), *_database(settings, deep=deep)]


def _found(what: str, wrong: str, words: str, mend: str = "", *, state: State = State.BAD) -> Finding:
    """Good in these words, unless something is wrong, which has its own."""
    return Finding(what, state, wrong, mend) if wrong else Finding(what, State.GOOD, words)


# --- without the database --------------------------------------------------------------------------------------------------


def _ground(settings: Settings) -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    old = "" if (3, 11) <= sys.version_info[:2] <= (3, 13) else f"esta es la {version}"
    yield _found("Python", old, version, "Instale Python 3.11, 3.12 o 3.13 y repita make setup.")
    missing = [name for name in ASSETS if not (VENDOR / name).is_file()]
    lacks = f"faltan {', '.join(missing)}" if missing else ""
    yield _found("Archivos de las páginas", lacks, "completos", "Ejecute make setup.")
    yield from _folder(settings)
    yield _keys(settings)
    yield from _address(settings)
    yield _signing(settings)


def _folder(settings: Settings) -> Iterator[Finding]:
    folder = settings.data_dir
    if not folder.is_dir():
        yield Finding("Carpeta de datos", State.ATTENTION, f"{folder} aún no existe", "Se crea al encender por primera vez.")
        return
    try:
        with TemporaryFile(dir=folder) as file:
            file.write(b"x")
        wrong = ""
    except OSError:
        wrong = f"no se puede escribir en {folder.resolve()}"
    yield _found("Carpeta de datos", wrong, f"{folder.resolve()}", "Dé permiso de escritura a la cuenta que ejecuta el sistema.")
    free = shutil.disk_usage(folder).free
    words = f"quedan {free / 2**30:,.1f} GB libres"
    low = words if free < DISK_LOW else ""
    yield _found("Disco", low, words, "Libere espacio.", state=State.BAD if free < DISK_OUT else State.ATTENTION)


def _keys(settings: Settings) -> Finding:
    mend = "Restaure keys.json del respaldo. No borre nada: con claves nuevas se escribiría a quienes pidieron la baja."
    try:
        keys = read_keys(settings.data_dir)
    except Unavailable:
        return Finding("Claves", State.BAD, "keys.json no se puede leer o está dañado", mend)
    if keys is None:
        return Finding(
            "Claves", State.ATTENTION, "aún no hay keys.json", "Se crea al encender por primera vez; si ya había, restáurelo."
        )
    return Finding("Claves", State.GOOD, "keys.json está completo")


def _address(settings: Settings) -> Iterator[Finding]:
    """Where links in mails lead: for readers beyond this machine it must be https and not this machine."""
    beyond = settings.relay is not None and not settings.relay.is_local
    own = is_loopback(urlsplit(settings.public_url).hostname or "")
    wrong = ""
    if own and beyond:
        wrong = f"los enlaces de los correos llevan a {settings.public_url}, que solo existe en este equipo"
    elif not own and not settings.is_https:
        wrong = f"{settings.public_url} no va cifrada"
    yield _found(
        "Dirección pública", wrong, settings.public_url, "Ponga en CRM_BASE_URL la dirección https con la que entra la gente."
    )


def _signing(settings: Settings) -> Finding:
    try:
        count = len(signing.signers(settings))
    except CrmError as error:
        return Finding("Firma DKIM", State.BAD, error.sentence, "Revise CRM_DKIM_KEYS y los permisos de sus archivos.")
    return Finding("Firma DKIM", State.GOOD, f"{count} llaves" if count else "la pone el servidor de correo, o nadie")


# --- the database ----------------------------------------------------------------------------------------------------------


def _database(settings: Settings, *, deep: bool) -> Iterator[Finding]:
    what = "Base de datos"
    if settings.uses_sqlite and not sqlite_file(settings).exists():
        yield Finding(what, State.ATTENTION, "aún no existe", "Se crea al encender por primera vez; si ya había, crm restore.")
        yield from _relay(settings)
        return
    try:
        keys = read_keys(settings.data_dir)
    except CrmError:
        keys = None
    database, told = Database(settings, keys or Keys(b"", ())), set()
    try:
        with database.session(write=False) as session:
            for one in _inside(session, settings, keys, deep=deep):
                told.add(one.what)
                yield one
    except Exception as error:  # also of the driver itself, when the file is no database at all
        mend = "Vea que su servidor esté encendido y que CRM_DATABASE_URL sea la correcta; si el archivo está dañado, crm restore."
        yield Finding(what, State.BAD, f"no se pudo abrir o leer ({type(error).__name__}); lo demás de ella no se revisó", mend)
    finally:
        database.dispose()
    if RELAY not in told:
        yield from _relay(settings)


def _inside(session: Session, settings: Settings, keys: Keys | None, *, deep: bool) -> Iterator[Finding]:
    revision = session.scalar(sa.text("SELECT version_num FROM alembic_version"))
    if not migration.knows(str(revision)):
        mend = "Use la versión del programa que la escribió, o una más nueva."
        yield Finding("Base de datos", State.BAD, f"es de una versión más nueva ({revision})", mend)
        return
    if revision != migration.newest():
        mend = "Ejecute crm migrate, o encienda el sistema."
        yield Finding("Base de datos", State.ATTENTION, "es de una versión anterior; lo que sigue no se revisó", mend)
        return
    wrong = "; ".join(defects(session, deep=deep))
    yield _found(
        "Base de datos", wrong, "abierta, al día y entera", "Detenga el sistema y restaure el último respaldo: crm restore."
    )
    yield _fits(session, keys)
    yield _clock(session)
    if keys is not None:
        yield _journal(session)
    yield _files(session, deep=deep)
    now = outgoing.effective(session, settings)
    yield from _relay(now, stored_is_lost=_password_is_lost(session, settings))
    yield from _movement(session, now)
    yield _backups(session)


def _fits(session: Session, keys: Keys | None) -> Finding:
    row = session.get(Installation, 1)
    wrong = ""
    if row is not None and keys is None:
        wrong = "faltan las claves con las que se escribió"
    elif row is not None and keys is not None:
        same = row.suppression_fingerprint == keys.suppression_fingerprint and row.links_fingerprint in keys.links_fingerprints
        wrong = "" if same else "keys.json es de otra instalación"
    return _found("Claves de esta base", wrong, "son las suyas", "Restaure keys.json del respaldo de esta base de datos.")


def _clock(session: Session) -> Finding:
    told: datetime | None = session.scalar(sa.select(sa.func.now())) if session.get_bind().dialect.name == "postgresql" else None
    apart = abs(clock.now() - told) if told else timedelta()
    wrong = f"difiere {apart.total_seconds():.0f} s del de la base de datos" if apart > CLOCK_APART else ""
    return _found("Reloj", wrong, f"{clock.institute_time(clock.now()):%d/%m/%Y %H:%M} h (CDMX)", "Sincronice los relojes (NTP).")


def _journal(session: Session) -> Finding:
    forgotten, unwritten = journal_differences(session)
    parts = [f"{forgotten:,} bajas o rebotes faltan en la base de datos"] if forgotten else []
    parts += [f"{unwritten:,} faltan en suppressions.jsonl"] if unwritten else []
    mend = "Reinicie el sistema: al encender se igualan los dos, antes de que salga ningún correo."
    return _found("Lista de exclusión", " y ".join(parts), "la base y su diario coinciden", mend, state=State.ATTENTION)


def _files(session: Session, *, deep: bool) -> Finding:
    chosen = sa.select(StoredFile.sha256).order_by(StoredFile.stored_at.desc())
    names = session.scalars(chosen if deep else chosen.limit(FILES_SAMPLE)).all()
    broken = 0
    for name in names:
        body = session.scalar(sa.select(StoredFile.body).where(StoredFile.sha256 == name)) or b""
        broken += hashlib.sha256(body).hexdigest() != name
    wrong = f"{broken:,} de {len(names):,} archivos revisados están dañados" if broken else ""
    return _found(
        "Archivos guardados", wrong, f"{len(names):,} revisados", "Súbalos de nuevo en Materiales o restaure el respaldo."
    )


# --- what leaves -----------------------------------------------------------------------------------------------------------


def _password_is_lost(session: Session, settings: Settings) -> bool:
    row = outgoing.stored(session)
    return row is not None and not outgoing.fixed(settings).relay and outgoing.password_is_lost(settings, row)


def _relay(settings: Settings, *, stored_is_lost: bool = False) -> Iterator[Finding]:
    what, address = RELAY, settings.relay
    if address is None:
        mend = "Dígalo en Ajustes, Correo saliente, o en CRM_SMTP_URL."
        yield Finding(what, State.ATTENTION, "no hay: los correos se quedan en este equipo", mend)
        return
    if stored_is_lost:
        yield Finding(
            what, State.BAD, "su contraseña ya no se puede leer: la clave de la instalación cambió", "Escríbala en Ajustes."
        )
        return
    reason = asyncio.run(_knock(address))
    words = f"{address.host}:{address.port} contestó" + (" e inició sesión" if address.username else "")
    sentence, _, mend = SENTENCES.get(reason, reason).partition(". ")
    yield _found(what, sentence if reason else "", words, mend or "Revise Ajustes, Correo saliente.")
    domain = sends.sender_of(settings).domain
    invented = not address.is_local and domain.rpartition("example.")[1] == "example."
    wrong = f"{domain} es un dominio de ejemplo" if invented else ""
    yield _found("Remitente", wrong, settings.mail_from, "Ponga una dirección del Instituto en Ajustes, Correo saliente.")


async def _knock(address: RelayAddress) -> str:
    """Why the mail server could not be used; "" when it could. At most `KNOCK_SECONDS`."""
    try:
        async with asyncio.timeout(KNOCK_SECONDS):
            reply = await smtp.knock(address, timeouts=Timeouts(step=KNOCK_SECONDS / 2, message=KNOCK_SECONDS / 2))
    except TimeoutError:
        return "relay_unreachable"
    return judge(reply).reason if reply else ""


def _movement(session: Session, settings: Settings) -> Iterator[Finding]:
    seen = session.scalar(sa.select(sa.func.max(Worker.seen_at)))
    lives = seen is not None and clock.now() - seen < DEAD_AFTER
    late = clock.now() - STUCK_AFTER
    overdue = _count(session, Send.state == SendState.SCHEDULED, Send.starts_at < late)
    waiting = sa.exists().where(Delivery.send_id == Send.id, IS_OPEN, Delivery.due_at < late)
    rests = relays.resting_until(session, settings) is not None
    stuck = 0 if rests else _count(session, Send.state == SendState.SENDING, waiting)
    asleep = "" if lives else "nadie los mueve ahora"
    yield _found("Envíos", asleep, "hay quien los mueva", _START, state=State.BAD if overdue or stuck else State.ATTENTION)
    if overdue or stuck:
        mend = _START if not lives else "Vea en su página qué los detiene; reinicie el sistema si no dice nada."
        yield Finding("Envíos a su hora", State.BAD, f"{overdue + stuck:,} debían estar saliendo desde hace 15 minutos", mend)
    held = _count(session, Send.state.in_((SendState.HELD, SendState.PAUSED)))
    words = f"{held:,} esperan a que una persona los reanude" if held else ""
    yield _found("Envíos detenidos", words, "ninguno", "Cada uno dice por qué en Campañas.", state=State.ATTENTION)
    doubtful = session.scalar(sa.select(sa.func.count()).select_from(Delivery).where(Delivery.state == DeliveryState.IN_DOUBT)) or 0
    words = f"{doubtful:,} esperan una decisión" if doubtful else ""
    yield _found("Correos sin confirmar", words, "ninguno", "Decídalos en la página de su envío.", state=State.ATTENTION)


def _count(session: Session, *conditions: sa.ColumnElement[bool]) -> int:
    return session.scalar(sa.select(sa.func.count(Send.id)).where(*conditions)) or 0


_BACKUPS = {
    Trouble.NEVER: (State.ATTENTION, "todavía no hay ninguno"),
    Trouble.OLD: (State.ATTENTION, "el último bueno tiene más de dos días"),
    Trouble.FAILED: (State.BAD, "el último no se pudo hacer"),
}


def _backups(session: Session) -> Finding:
    status = backup.status(session)
    mend = "Hágalo ahora en Ajustes, Respaldo, o con crm backup ARCHIVO."
    if status.trouble:
        return Finding("Respaldos", *_BACKUPS[status.trouble], mend)
    path = Path(status.good.path or "") if status.good else None
    words = (
        f"el último, del {clock.institute_time(status.good.finished_at):%d/%m/%Y %H:%M} h"
        if status.good and status.good.finished_at
        else ""
    )
    gone = words and path and not path.exists() and status.good and status.good.machine == backup.machine()
    return _found("Respaldos", "el archivo del último ya no está" if gone else "", words or "aún no hace falta", mend)
