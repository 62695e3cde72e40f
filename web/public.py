"""The way out of every mail: no sign-in, no cookie, no script, and the same answer to a click whether its link is known or not."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from crm.mailing import links
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
