"""Settings: the only module that reads the environment. Each is described in docs/operations/settings.md."""

import re
from datetime import date
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, Self
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

Tls = Literal["starttls", "implicit", "none"]
DEFAULT_PER_MINUTE = 30
"""Mails per minute through a relay beyond this machine, unless its address says otherwise (Exchange Online's limit)."""


SELECTOR = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\Z")
"""A label of a DKIM selector (RFC 6376, 3.1)."""


TENANT = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,98}[A-Za-z0-9])?\Z")
"""The directory of an organization in Entra ID: its number or one of its domains."""
EXCHANGE_SCOPE = "https://outlook.office365.com/.default"
"""What an application asks for that sends through Exchange Online."""


class OAuthClient(BaseModel):
    """Who asks for access tokens, and where (OAuth 2.0 client credentials, RFC 6749, 4.4)."""

    model_config = ConfigDict(frozen=True)

    token_url: str
    client_id: str
    secret_file: Path
    scope: str


class RelayAddress(BaseModel):
    """Where mails are handed over, read from ``CRM_SMTP_URL``."""

    model_config = ConfigDict(frozen=True)

    host: str
    port: int
    username: str | None = Field(default=None, repr=False)
    password: str | None = Field(default=None, repr=False)
    oauth: OAuthClient | None = Field(default=None, repr=False)
    """Who asks for the token that signs the user in; no password is used then."""
    tls: Tls = "starttls"
    per_minute: int | None = Field(default=DEFAULT_PER_MINUTE, ge=2)
    per_hour: int | None = Field(default=None, ge=1)
    per_day: int | None = Field(default=None, ge=1)
    warm_up_since: date | None = Field(default=None, ge=date(2000, 1, 1), le=date(9000, 1, 1))
    """The first day on which a new server or domain sends; see `crm.mailing.pace`."""

    @property
    def is_local(self) -> bool:
        """Whether the relay is on this machine, so that nothing leaves it by our hand."""
        return is_loopback(self.host)

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read ``smtp://user:pass@host:port?tls=starttls|implicit|none&per_minute=30&per_day=10000``; ValueError says what
        is wrong."""
        parts = urlsplit(url)
        if parts.scheme not in {"smtp", "smtps"} or not parts.hostname:
            raise ValueError("CRM_SMTP_URL must look like smtp://user:password@host:587?tls=starttls")
        query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        local = is_loopback(parts.hostname)
        tls = query.get("tls", "implicit" if parts.scheme == "smtps" else "none" if local else "starttls")
        if tls not in {"starttls", "implicit", "none"}:
            raise ValueError("CRM_SMTP_URL: tls must be starttls, implicit or none")
        if tls == "none" and not local:
            raise ValueError("CRM_SMTP_URL: tls=none is only for a relay on this machine")
        limits = {name: int(query[name]) for name in ("per_hour", "per_day") if query.get(name)}
        per_minute, since = query.get("per_minute"), query.get("warm_up_since")
        return cls(
            host=parts.hostname,
            port=parts.port or (465 if tls == "implicit" else 25 if local else 587),
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            tls=tls,
            per_minute=int(per_minute) if per_minute else None if local else DEFAULT_PER_MINUTE,
            warm_up_since=date.fromisoformat(since) if since else None,
            **limits,
        )


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Settings(BaseSettings):
    """Everything an installation may be told, read once at start and never changed."""

    model_config = SettingsConfigDict(env_prefix="CRM_", frozen=True, extra="ignore", hide_input_in_errors=True)

    data_dir: Path = Path("data")
    database_url: str | None = Field(default=None, repr=False)
    base_url: str | None = None
    secret_key: str | None = Field(default=None, repr=False)
    smtp_url: str | None = Field(default=None, repr=False)
    smtp_oauth_tenant: str | None = None
    smtp_oauth_client_id: str | None = None
    smtp_oauth_secret_file: Path | None = None
    smtp_oauth_token_url: str | None = None
    smtp_oauth_scope: str = EXCHANGE_SCOPE
    mail_from: str = "Red Voto Chilango <votochilango@example.org>"
    mail_reply_to: str | None = None
    dkim_keys: str = ""
    imap_url: str | None = Field(default=None, repr=False)
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    demo: bool = False

    @field_validator("smtp_url")
    @classmethod
    def _relay_is_readable(cls, value: str | None) -> str | None:
        if value is not None:
            RelayAddress.parse(value)
        return value

    @field_validator("smtp_oauth_tenant")
    @classmethod
    def _tenant_is_a_name(cls, value: str | None) -> str | None:
        if value is not None and not TENANT.match(value):
            raise ValueError("CRM_SMTP_OAUTH_TENANT must be the number or a domain of the organization in Entra ID")
        return value

    @field_validator("smtp_oauth_token_url")
    @classmethod
    def _tokens_travel_encrypted(cls, value: str | None) -> str | None:
        parts = urlsplit(value or "https://none.invalid")
        local = parts.scheme == "http" and is_loopback(parts.hostname or "")
        if not parts.hostname or (parts.scheme != "https" and not local):
            raise ValueError("CRM_SMTP_OAUTH_TOKEN_URL must begin with https:// (http only on this machine)")
        return value

    @field_validator("dkim_keys")
    @classmethod
    def _keys_have_selectors(cls, value: str) -> str:
        if any(not SELECTOR.match(one.partition("=")[0]) or not one.partition("=")[2] for one in value.split(",") if one):
            raise ValueError("CRM_DKIM_KEYS must look like selector=/path/of/key.pem,other=/path/of/other.pem")
        return value

    @model_validator(mode="after")
    def _oauth_is_whole(self) -> Self:
        where = self.smtp_oauth_token_url or self.smtp_oauth_tenant
        told = [bool(one) for one in (self.smtp_oauth_client_id, self.smtp_oauth_secret_file, where)]
        if any(told) and not all(told):
            raise ValueError(
                "CRM_SMTP_OAUTH_CLIENT_ID, CRM_SMTP_OAUTH_SECRET_FILE and CRM_SMTP_OAUTH_TENANT (or CRM_SMTP_OAUTH_TOKEN_URL) "
                "are told together or not at all"
            )
        if any(told) and self.smtp_url and not RelayAddress.parse(self.smtp_url).username:
            raise ValueError("CRM_SMTP_URL must name the mailbox that signs in by OAuth2: smtp://red%40example.org@host:587")
        return self

    @model_validator(mode="after")
    def _many_machines_share_a_key(self) -> Self:
        if not self.uses_sqlite and not self.secret_key:
            raise ValueError("CRM_SECRET_KEY must be set, equal on all machines, when CRM_DATABASE_URL is PostgreSQL")
        return self

    @property
    def dkim_key_files(self) -> dict[str, Path]:
        """The files of the keys that sign mails, by their selectors."""
        return {one.partition("=")[0]: Path(one.partition("=")[2]) for one in self.dkim_keys.split(",") if one}

    @property
    def uses_sqlite(self) -> bool:
        return self.sqlalchemy_url.startswith("sqlite")

    @property
    def sqlalchemy_url(self) -> str:
        """The address of the database as SQLAlchemy reads it, psycopg 3 for PostgreSQL."""
        if self.database_url is None:
            return f"sqlite:///{self.data_dir.resolve() / 'app.db'}"
        for prefix in ("postgresql://", "postgres://"):
            if self.database_url.startswith(prefix):
                return "postgresql+psycopg://" + self.database_url.removeprefix(prefix)
        return self.database_url

    @property
    def public_url(self) -> str:
        """What links in mails begin with, without a final slash."""
        if self.base_url:
            return self.base_url.rstrip("/")
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def is_https(self) -> bool:
        return self.public_url.startswith("https://")

    @property
    def relay(self) -> RelayAddress | None:
        """The relay beyond the local catcher; None means that mails stay in the local catcher."""
        if not self.smtp_url:
            return None
        address = RelayAddress.parse(self.smtp_url)
        return address.model_copy(update={"oauth": self.oauth}) if address.username else address

    @property
    def oauth(self) -> OAuthClient | None:
        """Who asks for access tokens; None: the relay takes a password, or nothing."""
        if not self.smtp_oauth_client_id or self.smtp_oauth_secret_file is None:
            return None
        url = f"https://login.microsoftonline.com/{self.smtp_oauth_tenant}/oauth2/v2.0/token"
        return OAuthClient(
            token_url=self.smtp_oauth_token_url or url,
            client_id=self.smtp_oauth_client_id,
            secret_file=self.smtp_oauth_secret_file,
            scope=self.smtp_oauth_scope,
        )
