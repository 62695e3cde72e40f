"""API clients: systems of the Institute that call the API with a key, and the person who answers for each.

A key is ``rvc_<prefix>_<secret>``: the prefix finds its row, and only the SHA-256 of the whole is stored.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from datetime import timedelta

from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session

from crm import clock
from crm.errors import InvalidInput, NotFound, NotSignedIn
from crm.staff.models import ApiAnswer, ApiCall, ApiClient
from crm.staff.rights import SCOPES

KEY_DAYS = 365
"""Most days that a key lives."""
KEY_MARK = "rvc"
USE_NOTED_EVERY = timedelta(minutes=1)
NAME_MOST = 200
ANSWERS_KEPT = timedelta(days=1)
"""How long a creation under an Idempotency-Key is remembered."""


def create(session: Session, name: str, responsible: str, scopes: Iterable[str], days: int = KEY_DAYS) -> tuple[ApiClient, str]:
    """A new client and its key, which is told this once. InvalidInput: field_required, scope_unknown, days_invalid."""
    if not 1 <= days <= KEY_DAYS:
        raise InvalidInput("days_invalid", field="days", limit=KEY_DAYS)
    prefix = secrets.token_hex(6)
    key = f"{KEY_MARK}_{prefix}_{secrets.token_urlsafe(32)}"
    now = clock.now()
    client = ApiClient(
        name=_text("name", name),
        responsible=_text("responsible", responsible),
        scopes=_scopes(scopes),
        key_prefix=prefix,
        key_hash=_digest(key),
        created_at=now,
        expires_at=now + timedelta(days=days),
    )
    session.add(client)
    session.flush()
    return client, key


def authenticate(session: Session, key: str) -> ApiClient:
    """The client of a key that is neither expired nor revoked; NotSignedIn(key_invalid), without telling which. It only reads."""
    mark, _, rest = key.partition("_")
    prefix = rest.partition("_")[0]
    client = None
    if mark == KEY_MARK and prefix.isascii() and prefix.isalnum():
        client = session.scalar(select(ApiClient).where(ApiClient.key_prefix == prefix))
    if client is None or not hmac.compare_digest(client.key_hash, _digest(key)):
        raise NotSignedIn("key_invalid")
    if state(client) != "active":
        raise NotSignedIn("key_invalid")
    return client


def get(session: Session, client_id: int) -> ApiClient:
    """The client, living or not; NotFound(client_not_found)."""
    client = session.get(ApiClient, client_id)
    if client is None:
        raise NotFound("client_not_found")
    return client


def find(session: Session) -> list[ApiClient]:
    """Every client, by name."""
    return list(session.scalars(select(ApiClient).order_by(ApiClient.name, ApiClient.id)))


def revoke(session: Session, client_id: int) -> ApiClient:
    """Shut a client: its next call is refused. Twice is the same as once."""
    client = get(session, client_id)
    client.revoked_at = client.revoked_at or clock.now()
    session.flush()
    return client


def state(client: ApiClient) -> str:
    """`active`, `expired` or `revoked`."""
    if client.revoked_at is not None:
        return "revoked"
    return "expired" if client.expires_at <= clock.now() else "active"


def log_call(session: Session, client_id: int, method: str, route: str, status: int, rows: int | None) -> None:
    """Note a call: its route's template (never the address with its values), its status and how many rows went in or out.

    The client's last use is written at most once a minute.
    """
    now = clock.now()
    session.add(ApiCall(client_id=client_id, at=now, method=method, route=route, status=status, rows=rows))
    session.execute(
        update(ApiClient)
        .where(ApiClient.id == client_id)
        .where(or_(ApiClient.last_used_at.is_(None), ApiClient.last_used_at < now - USE_NOTED_EVERY))
        .values(last_used_at=now)
        .execution_options(synchronize_session=False)
    )
    session.flush()


def forget_answers(session: Session) -> None:
    """Delete the kept answers of creations that are more than `ANSWERS_KEPT` old: they hold what people told."""
    session.execute(delete(ApiAnswer).where(ApiAnswer.at < clock.now() - ANSWERS_KEPT))


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()


def _text(field: str, text: str) -> str:
    text = " ".join(text.split())
    if not text or len(text) > NAME_MOST:
        raise InvalidInput("field_too_long" if text else "field_required", field=field, limit=NAME_MOST)
    return text


def _scopes(scopes: Iterable[str]) -> list[str]:
    chosen = sorted(set(scopes))
    for unknown in set(chosen) - SCOPES:
        raise InvalidInput("scope_unknown", field="scopes", scope=unknown[:60])
    if not chosen:
        raise InvalidInput("field_required", field="scopes")
    return chosen
