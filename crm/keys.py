"""Keys made once per installation: the suppression hash and the ring that signs public links.

They live in ``CRM_DATA_DIR/keys.json`` (mode 0600), never in the database that they protect, and do not depend on
``CRM_SECRET_KEY``, so that changing that setting neither revives anyone who left nor breaks an old link.
"""

import hashlib
import hmac
import json
import os
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from pathlib import Path

KEYS_FILE = "keys.json"
SIGNING_FILE = "secret.key"
KEY_BYTES = 32
MAC_BYTES = 10


@dataclass(frozen=True)
class Keys:
    """The keys in memory. ``links`` is a ring: the first signs, all verify, so that old links work for good."""

    suppression: bytes = field(repr=False)
    links: tuple[bytes, ...] = field(repr=False)

    def suppression_hash(self, address_key: str) -> str:
        """Keyed hash (HMAC-SHA256, hex, 64 characters) of a casefolded address: tells that it left, never who it was."""
        return hmac.new(self.suppression, address_key.encode(), hashlib.sha256).hexdigest()

    @property
    def suppression_fingerprint(self) -> str:
        """Tells one suppression key from another without revealing it."""
        return hashlib.sha256(b"fingerprint:" + self.suppression).hexdigest()[:16]

    def sign_link(self, purpose: str, number: int) -> str:
        """An opaque, unforgeable token of at most 24 characters for a row's number, bound to what the link is for."""
        body = number.to_bytes(8, "big").lstrip(b"\0") or b"\0"
        return _spelled(_mac(self.links[0], purpose, body) + body)

    def read_link(self, purpose: str, token: str) -> int | None:
        """The number that `sign_link` signed, or None for anything else."""
        try:
            raw = urlsafe_b64decode(token + "=" * (-len(token) % 4))
        except ValueError:
            return None
        mac, body = raw[:MAC_BYTES], raw[MAC_BYTES:]
        if not 0 < len(body) <= 8 or _spelled(raw) != token:
            return None
        if any(hmac.compare_digest(mac, _mac(key, purpose, body)) for key in self.links):
            return int.from_bytes(body, "big")
        return None


def _spelled(raw: bytes) -> str:
    """The one spelling of a token; other spellings that decode to the same bytes are refused."""
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _mac(key: bytes, purpose: str, body: bytes) -> bytes:
    return hmac.new(key, purpose.encode() + b"\0" + body, hashlib.sha256).digest()[:MAC_BYTES]


def load_keys(data_dir: Path) -> Keys:
    """Read the keys of this installation, making them on the first run."""
    path = data_dir / KEYS_FILE
    if not path.exists():
        fresh = {"suppression": secrets.token_hex(KEY_BYTES), "links": [secrets.token_hex(KEY_BYTES)]}
        _write_private(path, json.dumps(fresh, indent=1))
    stored = json.loads(path.read_text(encoding="ascii"))
    return Keys(bytes.fromhex(stored["suppression"]), tuple(bytes.fromhex(key) for key in stored["links"]))


def load_secret_key(data_dir: Path, configured: str | None) -> str:
    """``CRM_SECRET_KEY``, or the one made in the data directory on the first run."""
    if configured:
        return configured
    path = data_dir / SIGNING_FILE
    if not path.exists():
        _write_private(path, secrets.token_hex(KEY_BYTES))
    return path.read_text(encoding="ascii").strip()


def _write_private(path: Path, text: str) -> None:
    """Write a file that only its owner reads; of two processes that begin at once, the first one's file stands."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(f".{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
