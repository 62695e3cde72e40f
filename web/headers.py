"""What every request and answer of the web door passes: security headers, and a bound to the size of a form."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PUBLIC_PREFIX = "/p/"
"""Where pages for people outside live: no cookie is read there, and a proxy may expose it alone."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; "
    "frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
PUBLIC_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; font-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
YEAR = 31_536_000
PREVIEW_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:"
"""Of a mail shown inside a page: it brings its own styles, and may do nothing."""


MAILBOX_POLICY = PREVIEW_POLICY.replace("sandbox;", "sandbox allow-popups allow-popups-to-escape-sandbox;")
"""Of a mail of the test mailbox: its links may be followed, as its reader would, each in a tab of its own."""


class SecurityHeaders:
    """Headers of every answer; a page that set one itself (a preview) keeps its own."""

    def __init__(self, app: ASGIApp, *, https: bool) -> None:
        self.app = app
        self.https = https

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                add_security_headers(MutableHeaders(scope=message), scope["path"], https=self.https)
            await send(message)

        await self.app(scope, receive, send_with_headers)


FORM_LIMIT = 64 * 1024
"""Most bytes of a form; no page of ours sends one that is near, but those of `LARGE_FORMS`."""
LARGE_FORMS = {"/campanas/": 4 * 2**20, "/importar": 16 * 2**20, "/materiales": 16 * 2**20}
"""Beginnings of paths whose forms carry long texts or a file, and their most bytes."""


class BoundedForms:
    """Forms of a bounded size: one that says that it is larger is refused unread, one that does not say it while it comes.

    HTTPException(413, form_too_large) is raised where the body is asked for, so that it becomes a page like any other error.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        declared = Headers(scope=scope).get("content-length", "0") if scope["type"] == "http" else "0"
        limit = _limit_of(scope.get("path", ""))
        told = int(declared) if declared.isascii() and declared.isdigit() and len(declared) < 19 else limit + 1
        came = 0

        async def receive_bounded() -> Message:
            nonlocal came
            message: Message = await receive() if told <= limit else {}
            came += len(message.get("body", b""))
            if max(told, came) > limit:
                raise HTTPException(413, "form_too_large")
            return message

        await self.app(scope, receive_bounded, send)


def _limit_of(path: str) -> int:
    return next((most for beginning, most in LARGE_FORMS.items() if path.startswith(beginning)), FORM_LIMIT)


def add_security_headers(headers: MutableHeaders, path: str, *, https: bool) -> None:
    """Add what is missing; what an answer set by itself stays."""
    public = path.startswith(PUBLIC_PREFIX)
    headers.setdefault("Content-Security-Policy", PUBLIC_POLICY if public else POLICY)
    headers.setdefault("Cache-Control", "no-store")
    headers.setdefault("X-Content-Type-Options", "nosniff")
    headers.setdefault("Referrer-Policy", "no-referrer" if public else "same-origin")
    headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
    headers.setdefault("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
    headers.setdefault("X-Robots-Tag", "noindex, nofollow")
    headers.add_vary_header("HX-Request")
    if https:
        headers.setdefault("Strict-Transport-Security", f"max-age={YEAR}")
