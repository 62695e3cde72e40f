"""Addresses of electronic mail: what is valid, which spellings are one mailbox, how they are masked."""

import re
import unicodedata
from typing import NamedTuple

from email_validator import EmailNotValidError, validate_email

from crm.errors import InvalidInput

ADDRESS_LENGTH = 254
PLAIN_LENGTH = 64
"""Up to here no part of an address can be too long."""
PLAIN_ADDRESS = re.compile(
    r"[a-z0-9_+-]+(?:\.[a-z0-9_+-]+)*@(?:[a-z0-9]+(?:-[a-z0-9]+)*\.)+(?!(?:arpa|invalid|local|localhost|onion|test)\Z)[a-z]{2,}"
)
"""Addresses so plain that `email-validator` (50 µs each) can only agree; a test holds the two together."""


class Address(NamedTuple):
    """An address as it is shown and the key that tells its mailbox."""

    text: str
    key: str


def read_address(text: str) -> Address:
    """Check and normalize an address; InvalidInput(address_invalid)."""
    text = text.strip()
    plain = text.lower() if text.isascii() else ""
    if len(plain) <= PLAIN_LENGTH and PLAIN_ADDRESS.fullmatch(plain):
        local, _, domain = text.partition("@")
        return Address(f"{local}@{domain.lower()}", plain)
    try:
        checked = validate_email(text, check_deliverability=False)
    except EmailNotValidError as error:
        raise InvalidInput("address_invalid", field="emails") from error
    return Address(checked.normalized, _key(checked.local_part, checked.ascii_domain))


def _key(local: str, ascii_domain: str) -> str:
    key = f"{_folded(local)}@{ascii_domain.casefold()}"
    if len(key) > ADDRESS_LENGTH:
        raise InvalidInput("address_invalid", field="emails")
    return key


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def address_key(text: str) -> str:
    """What tells a mailbox: casefolded, the domain in ASCII; InvalidInput(address_invalid)."""
    return read_address(text).key


def mask_address(text: str) -> str:
    """An address for who may not see it whole: `a***@example.org`."""
    local, at, domain = text.rpartition("@")
    return f"{local[:1]}***@{domain}" if at else "***"
