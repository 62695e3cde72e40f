"""Access tokens that sign in to the mail server (XOAUTH2), from a token server by client credentials (RFC 6749, 4.4).

A token lives in the memory of the process only, until shortly before it ends. The secret is read from its file each time, so a
new one needs no restart.
"""

import asyncio
import json
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import structlog

from crm import clock
from crm.config import OAuthClient

log = structlog.get_logger(__name__)

TOKEN_SECONDS = 20.0
"""Longest wait for a token, from the first knock to the last byte."""
ANSWER_LIMIT = 64 * 1024
"""Most bytes of an answer; Exchange's tokens have about 2 KB."""
EARLY = timedelta(minutes=5)
"""How long before its end a token is renewed, or a tenth of its life if that is less."""
USUAL_LIFE = 300
"""Seconds that a token is kept whose server does not say how long it lives."""
LONGEST_LIFE = 24 * 3600
_AS_IT_IS = {"Accept": "application/json", "Accept-Encoding": "identity"}
_REFUSES_US = {400, 401, 403}
_CODES = re.compile(r"AADSTS\d{4,8}")
"""The number that Entra ID gives to a refusal: all of its words that are logged."""


class NoToken(Exception):
    """There is no token; ``reason`` is a code of `faults.SENTENCES`."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


@dataclass(frozen=True)
class Token:
    words: str = field(repr=False)
    until: datetime
    """When a new one is asked for."""


_kept: dict[OAuthClient, Token] = {}


def kept(client: OAuthClient) -> Token | None:
    """The token at hand, if it may still be used."""
    token = _kept.get(client)
    return token if token is not None and clock.now() < token.until else None


def forget(client: OAuthClient, token: Token) -> None:
    """A token that the mail server refused is not used again; one that came after it stays."""
    if _kept.get(client) is token:
        del _kept[client]


async def renew(client: OAuthClient, seconds: float = TOKEN_SECONDS) -> Token:
    """A new token, kept for others; two connections that open at once may each ask for one. NoToken(token_secret_unreadable,
    token_unavailable, token_client_refused)."""
    secret = _secret(client.secret_file)
    try:
        async with asyncio.timeout(min(seconds, TOKEN_SECONDS)):  # of the whole answer: a slow server cannot drip for ever
            status, told = await _ask(client, secret)
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError, RecursionError) as error:
        log.warning("token_unavailable", error=type(error).__name__)
        raise NoToken("token_unavailable") from None  # the request, in its error, has the secret
    if status in _REFUSES_US:
        log.warning("token_client_refused", status=status, codes=_codes(told))
        raise NoToken("token_client_refused")
    token = _token(told) if status == 200 else None
    if token is None:
        log.warning("token_unavailable", status=status)
        raise NoToken("token_unavailable")
    _kept[client] = token
    return token


def _secret(path: Path) -> str:
    try:
        secret = path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        secret = ""
    if not secret:
        raise NoToken("token_secret_unreadable")
    return secret


async def _ask(client: OAuthClient, secret: str) -> tuple[int, dict[str, Any]]:
    """Status and words of the token server; redirects are not followed, so that the secret reaches nobody else."""
    form = {"grant_type": "client_credentials", "client_id": client.client_id, "client_secret": secret, "scope": client.scope}
    async with (
        httpx2.AsyncClient(timeout=TOKEN_SECONDS) as http,
        http.stream("POST", client.token_url, data=form, headers=_AS_IT_IS) as answer,
    ):
        body = b""
        async for piece in answer.aiter_raw():
            body += piece
            if len(body) > ANSWER_LIMIT:
                raise ValueError("an answer without end")
        told = json.loads(body) if answer.status_code in {200, *_REFUSES_US} else {}
        return answer.status_code, told if isinstance(told, dict) else {}


def _token(told: dict[str, Any]) -> Token | None:
    """The token of an answer (RFC 6749, 5.1); None when it holds none that can be used."""
    words, kind = told.get("access_token"), told.get("token_type", "Bearer")
    if not isinstance(words, str) or not re.fullmatch(r"[\x21-\x7e]+", words) or str(kind).lower() != "bearer":
        return None
    try:
        life = timedelta(seconds=max(0, min(float(told.get("expires_in", USUAL_LIFE)), LONGEST_LIFE)))
    except (TypeError, ValueError, OverflowError):
        life = timedelta(seconds=USUAL_LIFE)
    return Token(words, clock.now() + life - min(EARLY, life / 10))


def _codes(told: dict[str, Any]) -> list[str]:
    return _CODES.findall(str(told.get("error_description", "")))[:3]
