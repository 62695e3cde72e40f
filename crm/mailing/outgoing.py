"""How mails leave: what the environment tells and, for what it leaves open, what was told on the page Correo saliente.

`effective` is asked at the start of each run and each request, so that a change holds at once, on every machine.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from email.utils import parseaddr, quote
from urllib.parse import quote as percent

import structlog
from email_validator import EmailNotValidError, validate_email
from sqlalchemy.orm import Session

from crm import clock
from crm.config import RelayAddress, Settings, is_loopback
from crm.database import keys_of
from crm.errors import Conflict, InvalidInput
from crm.mailing import composing, links, sends
from crm.mailing.models import MailSettings
from crm.mailing.previews import Trial
from crm.mailing.schemas import TextBlock, VariantIn
from crm.mailing.splicing import Envelope, build
from crm.people.models import Language
from crm.sealing import seal, unseal

log = structlog.get_logger(__name__)

NOWHERE = "smtp://relay.invalid:587?tls=starttls"
"""Where mails go when what is stored cannot be read: to no server (RFC 6761), so that sends wait and say it, never to the
local catcher, where they would count as accepted."""
EXCHANGE_HOST = "smtp.office365.com"
"""The one server told on the page that gets an access token: else whoever may write there could have it sent to a server of
their own. Others are told by CRM_SMTP_URL."""
PER_MINUTE_MOST = 10_000
LIMIT_MOST = 10_000_000
FIRST_WARM_UP = date(2000, 1, 1)
TEXT_MOST = 254
_HOST = re.compile(r"(?=.{1,253}\Z)(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.?)+|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*")
_SPECIALS = re.compile(r'[][\\()<>@,:;".]')


@dataclass(frozen=True)
class Fixed:
    """Which parts the environment tells; the page shows them and does not change them. Who tells the sender tells the address
    for answers with it."""

    relay: bool
    mail_from: bool
    reply_to: bool


@dataclass(frozen=True)
class Told:
    """What a person told on the page. A ``password`` of None keeps the stored one."""

    sender_name: str
    from_address: str
    reply_to: str = ""
    has_relay: bool = False
    """Otherwise mails stay in the local catcher."""
    host: str = ""
    port: str = ""
    tls: str = "starttls"
    username: str = ""
    password: str | None = None
    per_minute: str = ""
    per_hour: str = ""
    per_day: str = ""
    warm_up_since: str = ""
    """A day, as `date.isoformat` writes it."""


def fixed(settings: Settings) -> Fixed:
    told = settings.model_fields_set
    return Fixed(settings.smtp_url is not None, "mail_from" in told, bool({"mail_from", "mail_reply_to"} & told))


def stored(session: Session) -> MailSettings | None:
    return session.get(MailSettings, 1)


def effective(session: Session, settings: Settings) -> Settings:
    """The settings that mails leave with now. ``settings`` are those of the environment; it never fails for what is stored."""
    row, told = stored(session), fixed(settings)
    if row is None:
        return settings
    changes: dict[str, str | None] = {}
    if not told.relay and row.host is not None:
        changes["smtp_url"] = _readable_url(settings, row)
        if not is_by_token(settings, row.host):
            changes["smtp_oauth_client_id"] = None
    if not told.mail_from and parseaddr(row.mail_from)[1]:
        changes["mail_from"] = row.mail_from
    if not told.reply_to:
        changes["mail_reply_to"] = row.reply_to
    return settings.model_copy(update=changes)


def is_by_token(settings: Settings, host: str) -> bool:
    """Whether the user of a server told on the page signs in by OAuth2, without a password."""
    return settings.oauth is not None and host == EXCHANGE_HOST


def password_is_lost(settings: Settings, row: MailSettings) -> bool:
    """Whether the stored password was sealed with another key: a person has to write it again."""
    if is_by_token(settings, row.host or ""):
        return False
    return row.sealed_password is not None and unseal(settings, row.sealed_password) is None


def _readable_url(settings: Settings, row: MailSettings) -> str:
    password = unseal(settings, row.sealed_password) if row.sealed_password else None
    limits = {"per_minute": row.per_minute, "per_hour": row.per_hour, "per_day": row.per_day, "warm_up_since": row.warm_up_since}
    if is_by_token(settings, row.host or ""):
        password = ""
    url = _url(row.host or "", row.port, row.tls or "", row.username, password, limits)
    try:
        RelayAddress.parse(url)
    except ValueError:
        log.error("mail_settings_unreadable")
        return NOWHERE
    return url


def _url(
    host: str, port: int | None, tls: str, username: str | None, password: str | None, limits: Mapping[str, int | date | None]
) -> str:
    """As CRM_SMTP_URL. Without its password there is no user either: the server then says that it wants one."""
    who = f"{percent(username, safe='')}:{percent(password, safe='')}@" if username and password is not None else ""
    pace = "".join(f"&{name}={most}" for name, most in limits.items() if most)
    return f"smtp://{who}{f'[{host}]' if ':' in host else host}:{port}?tls={tls}{pace}"


# --- telling it ------------------------------------------------------------------------------------------------------------


def save(session: Session, settings: Settings, told: Told, version: int | None = None) -> MailSettings:
    """Keep what was told, but for what the environment fixes.

    InvalidInput with a part per field that is wrong; Conflict(mail_settings_changed) when another person saved meanwhile.
    """
    row = stored(session)
    if version is not None and (row.version if row else 0) != version:
        raise Conflict("mail_settings_changed")
    faults: list[InvalidInput] = []
    by_environment = fixed(settings)
    sender = None if by_environment.mail_from else _sender(told, faults)
    relay = None if by_environment.relay else _relay(told, settings, row, faults) if told.has_relay else _Kept()
    if faults:
        raise InvalidInput(faults[0].code, field=faults[0].field, parts=faults, **faults[0].details)
    if row is None:
        row = MailSettings(id=1, mail_from=settings.mail_from)
        session.add(row)
    if sender is not None:
        row.mail_from, row.reply_to = sender
    if relay is not None:
        row.host, row.port, row.tls, row.username = relay.host, relay.port, relay.tls, relay.username
        row.sealed_password, row.per_minute = relay.sealed_password, relay.per_minute
        row.per_hour, row.per_day, row.warm_up_since = relay.per_hour, relay.per_day, relay.warm_up_since
    session.flush()
    return row


@dataclass(frozen=True)
class _Kept:
    """The columns of a relay; all empty: the local catcher."""

    host: str | None = None
    port: int | None = None
    tls: str | None = None
    username: str | None = None
    sealed_password: str | None = None
    per_minute: int | None = None
    per_hour: int | None = None
    per_day: int | None = None
    warm_up_since: date | None = None


def _sender(told: Told, faults: list[InvalidInput]) -> tuple[str, str | None]:
    name = " ".join(told.sender_name.split())
    if not name or len(name) > 100 or not name.isprintable():
        faults.append(InvalidInput("sender_name_invalid", field="sender_name"))
    address = _address(told.from_address, "from_address", faults)
    reply_to = _address(told.reply_to, "reply_to", faults) if told.reply_to.strip() else None
    shown = f'"{quote(name)}"' if _SPECIALS.search(name) else name
    return f"{shown} <{address}>", reply_to


def _address(text: str, field: str, faults: list[InvalidInput]) -> str:
    try:
        return validate_email(text.strip(), check_deliverability=False, allow_smtputf8=False).normalized
    except EmailNotValidError:
        faults.append(InvalidInput("address_invalid", field=field))
        return ""


def _relay(told: Told, settings: Settings, row: MailSettings | None, faults: list[InvalidInput]) -> _Kept:
    host = told.host.strip().strip("[]").rstrip(".").lower()
    local = is_loopback(host)
    if not _HOST.fullmatch(host):
        faults.append(InvalidInput("relay_host_invalid", field="host"))
    if told.tls not in {"starttls", "implicit", "none"} or (told.tls == "none" and not local):
        faults.append(InvalidInput("relay_tls_required", field="tls"))
    port = _number(told.port, "port", 1, 65535, "relay_port_invalid", faults)
    pace = None
    if told.per_minute.strip() or not local:
        pace = _number(told.per_minute, "per_minute", 2, PER_MINUTE_MOST, "relay_pace_invalid", faults)
    hour = _number(told.per_hour, "per_hour", 1, LIMIT_MOST, "relay_limit_invalid", faults) if told.per_hour.strip() else None
    day = _number(told.per_day, "per_day", 1, LIMIT_MOST, "relay_limit_invalid", faults) if told.per_day.strip() else None
    username = told.username.strip() or None
    if username and (len(username) > TEXT_MOST or not username.isprintable()):
        faults.append(InvalidInput("field_too_long", field="username", limit=TEXT_MOST))
    sealed = _password(told, settings, row, host, faults) if username else None
    since = _first_day(told.warm_up_since, faults) if told.warm_up_since.strip() else None
    return _Kept(host, port, told.tls, username, sealed, pace, hour, day, since)


def _first_day(text: str, faults: list[InvalidInput]) -> date | None:
    try:
        told = date.fromisoformat(text.strip())
    except ValueError:
        faults.append(InvalidInput("warm_up_invalid", field="warm_up_since"))
        return None
    if not FIRST_WARM_UP <= told <= clock.today():
        faults.append(InvalidInput("warm_up_invalid", field="warm_up_since"))
    return told


def _number(text: str, field: str, least: int, most: int, code: str, faults: list[InvalidInput]) -> int:
    typed = text.strip().replace(",", "")
    number = int(typed) if typed.isascii() and typed.isdigit() and len(typed) < 9 else 0
    if not least <= number <= most:
        faults.append(InvalidInput(code, field=field, least=least, most=f"{most:,}"))
    return number


def _password(told: Told, settings: Settings, row: MailSettings | None, host: str, faults: list[InvalidInput]) -> str | None:
    """The password sealed. One that is kept goes to the very server that it was written for, never to another."""
    if is_by_token(settings, host):
        return None
    if told.password:
        if len(told.password) > 1000:
            faults.append(InvalidInput("field_too_long", field="password", limit=1000))
        return seal(settings, told.password)
    same = row is not None and (row.host, row.username) == (host, told.username.strip()) and told.tls != "none"
    if row is None or not same or row.sealed_password is None or password_is_lost(settings, row):
        faults.append(InvalidInput("relay_password_required", field="password"))
        return None
    return row.sealed_password


# --- trying it out ---------------------------------------------------------------------------------------------------------


def trial(session: Session, to_address: str, settings: Settings) -> Trial:
    """A test mail to an account of the staff, ready for `previews.hand_over`: built as every other mail is."""
    body = "Esta es una prueba de «Correo saliente». Si la lee, el servidor la entregó.\n\nNo hay que contestarla."
    variant = VariantIn(
        language=Language.SPANISH, subject="Prueba del correo saliente", preheader="", blocks=[TextBlock(type="text", body=body)]
    )
    compiled = composing.compose("notice", variant, {}, notice_url=None)
    sender, keys = sends.sender_of(settings), keys_of(session)
    personal = links.personal(settings, keys, links.NO_ONE, compiled.sources)
    envelope = Envelope(
        to_name="",
        to_address=to_address,
        message_id=links.message_id(keys, links.NO_ONE, sender.domain),
        unsubscribe=personal["enlace_baja"],
        feedback="prueba:correo",
        date=clock.now(),
    )
    return Trial(to_address, b"".join(build(compiled, personal, envelope, sender)))
