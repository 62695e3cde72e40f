"""What anybody may ask for, without sign-in, cookie or script: the way out of every mail, whose answer to a click is the same
whether its link is known or not; the privacy notice; and the files of public materials."""

import re
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Form, Request
from fastapi.responses import Response

from crm.mailing import consent_answers, links
from crm.mailing.consent_answers import Asked
from crm.outreach import materials
from crm.outreach.formats import PDF
from crm.people import privacy_notices
from crm.people.models import PrivacyNotice
from web.dependencies import SessionOf, network_of
from web.pages import page

router = APIRouter()


@router.get("/p/baja/{token}")
def ask(request: Request, session: SessionOf, token: str) -> Response:
    """A page with a button; looking at it changes nothing, so that a scanner of mails takes nobody out.

    Of a known link it shows the address masked (`a***@example.org`), so that whoever has several knows which one leaves:
    looking does tell a known link from an unknown one. Only whoever holds a mail has its link, which cannot be guessed.
    """
    return _shown(request, links.peek(session, token), done=False)


@router.post("/p/baja/{token}")
def leave(request: Request, session: SessionOf, token: str) -> Response:
    """Take the person out: by the button, or by the one click of a mail program (RFC 8058). Twice is the same as once.

    The answer is the same for a known link and an unknown one, in the same language (Spanish when it is not known). That of
    no one, in previews and tests, says that nothing changed.
    """
    return _shown(request, links.leave(session, token), done=True)


def _shown(request: Request, leaving: links.Leaving, *, done: bool) -> Response:
    return page(request, "public/leave.html", {"leaving": leaving, "done": done, "language": leaving.language.value})


@router.get("/p/consentimiento/{token}")
def ask_for_consent(request: Request, session: SessionOf, token: str) -> Response:
    """A page with a button and the privacy notice; looking at it changes nothing, so that a scanner of mails agrees to nothing."""
    return _consent_page(request, consent_answers.peek(session, token), done=False)


@router.post("/p/consentimiento/{token}")
def agree(request: Request, session: SessionOf, token: str, aviso: Annotated[str, Form(max_length=40)] = "") -> Response:
    """The person says yes: recorded with the version of the notice that the page showed. Twice is the same as once."""
    agent, network = request.headers.get("user-agent", ""), network_of(request)
    asked = consent_answers.accept(session, token, aviso, network=network, agent=agent)
    return _consent_page(request, asked, done=True)


def _consent_page(request: Request, asked: Asked, *, done: bool) -> Response:
    notice, language = asked.notice, asked.language
    text, text_language = privacy_notices.text_in(notice, language) if notice else ("", language)
    context = {
        "asked": asked,
        "done": done,
        "language": language.value,
        "paragraphs": _paragraphs(text),
        "text_language": text_language.value,
    }
    return page(request, "public/consent.html", context)


@router.get("/p/materiales/{public_name}")
def give_material(session: SessionOf, public_name: str) -> Response:
    """The whole file of a public material. A PDF is saved, not shown: in the sandbox that it is given in, viewers stay empty."""
    material = materials.public(session, public_name)
    stored = materials.file_of(session, material)
    disposition = "attachment" if stored.media_type == PDF else "inline"
    headers = {
        "Content-Disposition": f"{disposition}; filename*=UTF-8''{quote(material.file_name or 'material', safe='')}",
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "Cache-Control": "private, max-age=3600",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(stored.body, media_type=stored.media_type, headers=headers)


@router.get("/p/aviso/{version}")
def show_notice(request: Request, session: SessionOf, version: str) -> Response:
    """A version of the privacy notice, as it is kept."""
    notice = privacy_notices.get(session, version if version.isprintable() else "")
    return page(request, "public/notice.html", as_read(notice))


def as_read(notice: PrivacyNotice, *, is_preview: bool = False) -> dict[str, Any]:
    """What the page of a version of the privacy notice shows."""
    told = {"paragraphs": notice.text, "english": notice.text_en, "complete": notice.full_text}
    return {"notice": notice, "is_preview": is_preview} | {name: _paragraphs(text) for name, text in told.items()}


def _paragraphs(text: str) -> list[str]:
    return [part.strip() for part in re.split(r"\n\s*\n", text) if part.strip()]
