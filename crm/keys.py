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
from functools import lru_cache
from pathlib import Path

from crm.disk import sync_folder
from crm.errors import Unavailable

KEYS_FILE = "keys.json"
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
        return _fingerprint(self.suppression)

    @property
    def links_fingerprints(self) -> tuple[str, ...]:
        """The same of each key of the ring, the newest first."""
        return tuple(map(_fingerprint, self.links))

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


def _fingerprint(key: bytes) -> str:
    return hashlib.sha256(b"fingerprint:" + key).hexdigest()[:16]


def _spelled(raw: bytes) -> str:
    """The one spelling of a token; other spellings that decode to the same bytes are refused."""
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _mac(key: bytes, purpose: str, body: bytes) -> bytes:
    made = _keyed(key, purpose).copy()
    made.update(body)
    return made.digest()[:MAC_BYTES]


@lru_cache(maxsize=64)
def _keyed(key: bytes, purpose: str) -> "hmac.HMAC":
    """A key set up once for each purpose: `hmac.digest` does it every time, and lets other threads run meanwhile, which costs a
    mail ten times what its hash does (measured: 42 us for 3)."""
    return hmac.new(key, purpose.encode() + b"\0", hashlib.sha256)


def read_keys(data_dir: Path) -> Keys | None:
    """The keys of this installation, or None when it has none; Unavailable(keys_missing) when the file cannot be read."""
    try:
        stored = json.loads((data_dir / KEYS_FILE).read_text(encoding="ascii"))
        keys = Keys(bytes.fromhex(stored["suppression"]), tuple(bytes.fromhex(key) for key in stored["links"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise Unavailable("keys_missing") from error
    if len(keys.suppression) < KEY_BYTES or not keys.links or min(map(len, keys.links)) < KEY_BYTES:
        raise Unavailable("keys_missing")
    return keys


def load_keys(data_dir: Path) -> Keys:
    """Read the keys, making them when there are none: only for a database that nothing was written to (see `read_keys`)."""
    keys = read_keys(data_dir)
    if keys is None:
        fresh = {"suppression": secrets.token_hex(KEY_BYTES), "links": [secrets.token_hex(KEY_BYTES)]}
        write_private(data_dir / KEYS_FILE, json.dumps(fresh, indent=1))
        keys = read_keys(data_dir)
    if keys is None:
        raise Unavailable("keys_missing")
    return keys


def write_private(path: Path, text: str) -> None:
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
    sync_folder(path.parent)
