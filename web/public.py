"""What anybody may ask for, without sign-in, cookie or script: the way out of every mail, whose answer to a click is the same
whether its link is known or not; the privacy notice; and the files of public materials."""

import re
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import Response

from crm.mailing import links
from crm.outreach import materials
from crm.outreach.formats import PDF
from crm.people import consent
from web.dependencies import SessionOf
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
    notice = consent.get_notice(session, version if version.isprintable() else "")
    paragraphs = [part.strip() for part in re.split(r"\n\s*\n", notice.text) if part.strip()]
    return page(request, "public/notice.html", {"notice": notice, "paragraphs": paragraphs})
