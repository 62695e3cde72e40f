"""Secrets that the database keeps for later use (the relay's password): sealed with a key that the database does not hold.

The key comes from ``CRM_SECRET_KEY`` or, where that is not set, from ``CRM_DATA_DIR/secret.key``, which is made on first
use and which only its owner reads. Whoever gets a copy of the database alone reads no secret.
"""

import secrets
from base64 import urlsafe_b64encode
from functools import lru_cache
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from crm.config import Settings
from crm.keys import write_private

SECRET_FILE = "secret.key"  # noqa: S105  # the name of the file


def seal(settings: Settings, secret: str) -> str:
    """A secret as ASCII text that only this installation opens, and that shows any change."""
    return _lock(settings.secret_key or _made_secret(settings.data_dir)).encrypt(secret.encode()).decode()


def unseal(settings: Settings, sealed: str) -> str | None:
    """The secret again; None when it was sealed with a key that this installation does not have (any more)."""
    for key in (settings.secret_key, _file_secret(settings.data_dir)):
        try:
            if key:
                return _lock(key).decrypt(sealed.encode()).decode()
        except InvalidToken:
            continue
    return None


@lru_cache(maxsize=4)
def _lock(key: str) -> Fernet:
    derived = HKDF(SHA256(), length=32, salt=None, info=b"red-voto-chilango sealed secrets").derive(key.encode())
    return Fernet(urlsafe_b64encode(derived))


def _file_secret(data_dir: Path) -> str | None:
    try:
        return (data_dir / SECRET_FILE).read_text(encoding="ascii").strip() or None
    except (OSError, ValueError):
        return None


def _made_secret(data_dir: Path) -> str:
    """The secret of the data directory, made on first use; of two processes at once, the first one's stands."""
    found = _file_secret(data_dir)
    if found is None:
        write_private(data_dir / SECRET_FILE, secrets.token_hex(32))
        found = _file_secret(data_dir)
    if found is None:
        raise OSError(f"{SECRET_FILE} cannot be read")
    return found
