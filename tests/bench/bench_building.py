"""What one mail costs to build and to sign, in microseconds, beside the standard library's `EmailMessage` and a bare signature."""

import os
import secrets
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from email.message import EmailMessage
from email.policy import SMTP
from functools import partial
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from crm import clock
from crm.keys import Keys
from crm.mailing import fields, links, signing
from crm.mailing.compiling import Compiled
from crm.mailing.signing import Signer
from crm.mailing.splicing import Envelope, SenderLine, build
from crm.people import names
from crm.people.models import Language
from tests.bench import crowd

Deed = Callable[[int], object]
"""For the person of a number."""
ROUNDS = 7
KEYS = Keys(secrets.token_bytes(32), (secrets.token_bytes(32),))
SENDER = SenderLine("Red Voto Chilango <red@example.org>")
SIZES = (("4 KB", 4096), ("400 KB", 400_000))


def rows() -> list[dict[str, Any]]:
    return [row for words, size in SIZES for row in (*_building(words, size), *_signing(words, size))]


def _building(words: str, size: int) -> Iterator[dict[str, Any]]:
    compiled, picture = crowd.content(size), os.urandom(max(0, (size - crowd.WITH_PICTURE) * 3 // 4))
    subjects: dict[str, Deed] = {
        "ours": lambda number: _ours(compiled, number),
        "EmailMessage": lambda number: _by_library(size, picture, number),
    }
    yield from _beside(f"building, {words}", subjects, "EmailMessage", {"ours": 2000, "EmailMessage": 60})


def _ours(compiled: Compiled, number: int) -> list[bytes]:
    person = fields.Known(*crowd.named(number), None, None, "Chicago", "US", None, None)
    values = fields.values(person, Language.SPANISH, compiled.sources)
    unsubscribe = f"https://red.example.org/p/baja/{KEYS.sign_link('delivery', number)}"
    message_id = links.message_id(KEYS, number, SENDER.domain)
    to_address = f"persona{number}@example.org"
    envelope = Envelope(names.display_name(person), to_address, message_id, unsubscribe, "c1:s1", clock.now())
    return build(compiled, {**values, "enlace_baja": unsubscribe}, envelope, SENDER)


def _by_library(size: int, picture: bytes, number: int) -> bytes:
    given, first, second = crowd.named(number)
    filler = crowd.FILLER * ((min(size, crowd.WITH_PICTURE) - crowd.WITHOUT_FILLER) // 2 // len(crowd.FILLER))
    link = f"https://red.example.org/p/baja/{number:024x}"
    mail = EmailMessage(policy=SMTP)
    mail["From"], mail["To"] = SENDER.address, f"{given} {first} {second} <persona{number}@example.org>"
    mail["Subject"] = f"Tu credencial desde el extranjero, {given}"
    mail["List-Unsubscribe"], mail["List-Unsubscribe-Post"] = f"<{link}>", "List-Unsubscribe=One-Click"
    mail.set_content(f"Hola, {given}:\n\nDesde Chicago (Estados Unidos) puede votar. {filler}\n\nPara no recibir más: {link}\n")
    mail.add_alternative(f'<p>Hola, {given}:</p><p>{filler}</p><a href="{link}">No recibir más correos</a>', subtype="html")
    if picture:
        mail.add_attachment(picture, maintype="image", subtype="png", filename="infografia.png")
    return bytes(mail)


def _signing(words: str, size: int) -> Iterator[dict[str, Any]]:
    mail = _ours(crowd.content(size), 7)
    body, head = b"".join(mail[1:]), mail[0]
    for kind, key in (("RSA-2048", rsa.generate_private_key(65537, 2048)), ("Ed25519", ed25519.Ed25519PrivateKey.generate())):
        signer = Signer("bench", key)
        bare, ours = f"bare {kind} + SHA-256", f"ours DKIM {kind}"
        subjects: dict[str, Deed] = {
            ours: partial(_signed, mail, signer),
            bare: partial(_bare, head, body, signer),
        }
        yield from _beside(f"signing, {words}", subjects, bare, {ours: 150, bare: 150})


def _signed(mail: list[bytes], signer: Signer, _number: int) -> object:
    return signing.signed(mail, SENDER.domain, [signer])


def _bare(head: bytes, body: bytes, signer: Signer, _number: int) -> object:
    return sha256(body).digest(), signer.sign(head)


def _beside(
    case: str, subjects: Mapping[str, Callable[[int], object]], peer: str, times: dict[str, int]
) -> Iterator[dict[str, Any]]:
    """Turn by turn, the median of the rounds; the ratio is of microseconds, so that less is better."""
    taken: dict[str, list[float]] = {name: [] for name in subjects}
    for _ in range(ROUNDS):
        for name, deed in subjects.items():
            began = time.perf_counter()
            for number in range(times[name]):
                deed(number)
            taken[name].append((time.perf_counter() - began) / times[name] * 1e6)
    for name, each in taken.items():
        ratios = [one / other for one, other in zip(each, taken[peer], strict=True)]
        yield {
            "case": case,
            "subject": name,
            "unit": "µs",
            "median": round(statistics.median(each), 1),
            "min": round(min(each), 1),
            "max": round(max(each), 1),
            "ratio_to": peer,
            "ratio": round(statistics.median(ratios), 4),
            "ratio_min": round(min(ratios), 4),
            "ratio_max": round(max(ratios), 4),
        }


if __name__ == "__main__":
    for row in rows():
        print(row)
