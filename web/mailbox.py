"""Buzón de prueba: the mails that the local catcher kept, when the installation has no relay."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi import Path as InPath
from fastapi.responses import HTMLResponse, Response

from crm.catcher import MAILS
from crm.config import Settings
from crm.errors import NotFound
from crm.mailing.previews import read_mail
from web.dependencies import settings_of
from web.headers import MAILBOX_POLICY
from web.pages import page

PAGE_ROWS = 25
HEAD_BYTES = 16 * 1024
"""As much of a mail as its headers take."""

router = APIRouter()
Number = Annotated[int, InPath(ge=1, lt=10**7)]


@dataclass(frozen=True)
class Kept:
    """A mail in the test mailbox."""

    number: int
    to: str
    subject: str
    at: datetime


@router.get("/buzon")
def show(request: Request, antes: Annotated[int | None, Query(ge=1, lt=10**7)] = None) -> Response:
    """The newest mails first."""
    folder = _folder(settings_of(request))
    numbers = sorted((int(path.stem) for path in folder.glob("[0-9]*.eml")), reverse=True)
    shown = [number for number in numbers if antes is None or number < antes][:PAGE_ROWS]
    context = {
        "mails": [_head(folder, number) for number in shown],
        "whole": len(numbers),
        "following": shown[-1] if shown and shown[-1] > numbers[-1] else None,
        "is_first": antes is None,
    }
    return page(request, "mailbox/list.html", context)


@router.get("/buzon/{number}")
def read(request: Request, number: Number) -> Response:
    """One mail: its envelope, as a mail program shows it, and its text."""
    folder = _folder(settings_of(request))
    mail = _open(folder, number)
    context = {"mail": _head(folder, number), "sender": str(mail["From"]), "text": read_mail(mail.as_bytes(), "").text}
    return page(request, "mailbox/mail.html", context)


@router.get("/buzon/{number}/vista")
def view(request: Request, number: Number) -> Response:
    """The HTML of a mail under a policy that lets it do nothing but open its links in another tab."""
    made = read_mail(_open(_folder(settings_of(request)), number).as_bytes(), "")
    html = made.html.replace("<head>", '<head><base target="_blank">', 1)
    return HTMLResponse(html, headers={"Content-Security-Policy": f"{MAILBOX_POLICY}; frame-ancestors 'self'"})


def _folder(settings: Settings) -> Path:
    """Where the catcher keeps mails; NotFound(mail_not_found) when mails go to a real relay."""
    if settings.relay is not None:
        raise NotFound("mail_not_found")
    return settings.data_dir / MAILS


def _open(folder: Path, number: int) -> EmailMessage:
    try:
        return message_from_bytes((folder / f"{number:07}.eml").read_bytes(), policy=policy.default)
    except FileNotFoundError as error:
        raise NotFound("mail_not_found") from error


def _head(folder: Path, number: int) -> Kept:
    path = folder / f"{number:07}.eml"
    try:
        with path.open("rb") as file:
            head = message_from_bytes(
                re.split(rb"\r?\n\r?\n", file.read(HEAD_BYTES), maxsplit=1)[0] + b"\r\n\r\n", policy=policy.default
            )
        at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except FileNotFoundError as error:
        raise NotFound("mail_not_found") from error
    return Kept(number, str(head["X-Envelope-To"] or ""), str(head["Subject"] or ""), at)
