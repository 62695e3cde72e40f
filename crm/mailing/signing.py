"""DKIM signatures (RFC 6376; Ed25519: RFC 8463), for a relay that does not sign by itself. The keys come by file.

Headers are canonicalized as *relaxed*, bodies as *simple*: ours are quoted-printable and base64, in which no relay has white
space to tidy, and a body is then hashed as it stands.
"""

import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from crm import clock
from crm.config import Settings
from crm.errors import InvalidInput

RSA_LEAST = 2048
"""Bits of a key that receivers still believe (RFC 8301 asks for 1024, and recommends this)."""
SIGNED = (
    b"from", b"from", b"to", b"subject", b"date", b"message-id", b"reply-to", b"list-id", b"list-unsubscribe",
    b"list-unsubscribe-post", b"feedback-id", b"mime-version", b"content-type", b"content-language", b"content-transfer-encoding",
)  # fmt: skip
"""Headers that are signed: those of RFC 6376, 5.4.1, and what one click needs (RFC 8058, 4). ``From`` twice, so that nobody can
put another one above it."""
_SPACE = re.compile(rb"[ \t]*\r\n[ \t]+|[ \t]+")
_HEADER_END = re.compile(rb"\r\n(?![ \t])")
_LINE = 72
_FOLD = ":\r\n  "


@dataclass(frozen=True)
class Signer:
    """A key and the name under which its public half is published: ``<selector>._domainkey.<domain>``."""

    selector: str
    key: RSAPrivateKey | Ed25519PrivateKey

    @property
    def algorithm(self) -> str:
        return "rsa-sha256" if isinstance(self.key, RSAPrivateKey) else "ed25519-sha256"

    @property
    def record(self) -> str:
        """The TXT record to publish (RFC 6376, 3.6.1)."""
        public = self.key.public_key()
        if isinstance(self.key, RSAPrivateKey):
            told = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
            return f"v=DKIM1; k=rsa; p={b64encode(told).decode()}"
        told = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return f"v=DKIM1; k=ed25519; p={b64encode(told).decode()}"

    def sign(self, data: bytes) -> bytes:
        if isinstance(self.key, RSAPrivateKey):
            return self.key.sign(data, padding.PKCS1v15(), hashes.SHA256())
        return self.key.sign(sha256(data).digest())  # RFC 8463, 3: of the hash


def signers(settings: Settings) -> tuple[Signer, ...]:
    """The keys that the settings name; none: the relay signs, or nobody does. InvalidInput(dkim_key_invalid)."""
    return tuple(_signer(selector, path) for selector, path in settings.dkim_key_files.items())


@lru_cache(maxsize=16)
def _signer(selector: str, path: Path) -> Signer:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise InvalidInput("dkim_key_invalid", name=path.name) from error
    if isinstance(key, Ed25519PrivateKey) or (isinstance(key, RSAPrivateKey) and key.key_size >= RSA_LEAST):
        return Signer(selector, key)
    raise InvalidInput("dkim_key_invalid", name=path.name)


def signed(mail: list[bytes], domain: str, with_keys: Sequence[Signer]) -> list[bytes]:
    """A mail in parts (CRLF lines; the first holds the whole header) with a signature of each key above it."""
    if not with_keys:
        return mail
    head, _, body = mail[0].partition(b"\r\n\r\n")
    fields = _relaxed(head)
    present = [name for name in SIGNED if name in fields]
    digest = b64encode(_body_hash([body, *mail[1:]])).decode()
    data = _last_first(fields, present)
    now = int(clock.now().timestamp())
    return [*(_signature(one, domain, present, digest, data, now) for one in with_keys), *mail]


def _body_hash(parts: list[bytes]) -> bytes:
    """SHA-256 of a body whose empty lines at the end count as one (RFC 6376, 3.4.3)."""
    while parts and not (last := parts[-1].rstrip(b"\r\n")):
        parts = parts[:-1]
    hashed = sha256()
    for part in parts[:-1]:
        hashed.update(part)
    hashed.update((last if parts else b"") + b"\r\n")
    return hashed.digest()


def _signature(signer: Signer, domain: str, present: Sequence[bytes], digest: str, data: bytes, now: int) -> bytes:
    opening = (
        f"v=1; a={signer.algorithm}; c=relaxed/simple; d={domain}; s={signer.selector};\r\n"
        f" t={now}; bh={digest};\r\n h={_folded(tuple(present))};\r\n b="
    ).encode()
    told = b64encode(signer.sign(data + b"dkim-signature:" + _SPACE.sub(b" ", opening).strip())).decode()
    folded = "\r\n  ".join(told[start : start + _LINE] for start in range(0, len(told), _LINE))
    return b"DKIM-Signature: " + opening + folded.encode() + b"\r\n"


@lru_cache(maxsize=64)
def _folded(present: tuple[bytes, ...]) -> str:
    return _FOLD.join(b":".join(present[start : start + 5]).decode() for start in range(0, len(present), 5))


def _relaxed(head: bytes) -> dict[bytes, list[bytes]]:
    """Each header's values in the relaxed form (RFC 6376, 3.4.2), by its name in small letters, in order."""
    fields: dict[bytes, list[bytes]] = {}
    for line in _HEADER_END.split(head):
        name, value = _canonical(line)
        fields.setdefault(name, []).append(value)
    return fields


@lru_cache(maxsize=256)
def _canonical(line: bytes) -> tuple[bytes, bytes]:
    """Most headers of a mail are everybody's."""
    name, _, value = line.partition(b":")
    return name.strip().lower(), _SPACE.sub(b" ", value).strip()


def _last_first(fields: dict[bytes, list[bytes]], present: Sequence[bytes]) -> bytes:
    """The signed headers one after another; a name that stands again means the header above (RFC 6376, 5.4.2)."""
    left = {name: list(values) for name, values in fields.items()}
    return b"".join(b"%b:%b\r\n" % (name, left[name].pop()) for name in present if left[name])
