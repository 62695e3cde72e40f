"""The HTML door: pages of staff in Spanish, and the public pages under /p/."""

from fastapi import Depends, FastAPI
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from crm.config import Settings
from crm.database import Database
from web import (
    bulk_actions,
    campaigns,
    consent_requests,
    contacts,
    draft_code,
    drafting,
    duplicates,
    errors,
    exports,
    follow_ups,
    home,
    imports,
    mail_templates,
    mailbox,
    manual,
    materials,
    ordering,
    organizations,
    person,
    person_everything,
    person_form,
    public,
    search,
    segments,
    sends,
    sent_in_period,
    settings_backup,
    settings_keys,
    settings_mail,
    settings_notices,
    settings_people,
    settings_profile,
    sign_in,
)
from web.dependencies import guard
from web.headers import YEAR, BoundedForms, SecurityHeaders
from web.pages import STATIC, static_digest


def build(database: Database, settings: Settings) -> FastAPI:
    """The application of the web door; everything that it needs is handed to it."""
    app = FastAPI(
        title="Red Voto Chilango",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,  # it would lead to whatever host the request names
        dependencies=[Depends(guard)],
    )
    app.state.database = database
    app.state.settings = settings
    app.mount("/static", StaticAssets(directory=STATIC), name="static")
    for room in (
        sign_in,
        home,
        contacts,
        imports,
        duplicates,
        person_form,
        person,
        follow_ups,
        bulk_actions,
        exports,
        person_everything,
        consent_requests,
        segments,
        sent_in_period,
        campaigns,
        draft_code,
        drafting,
        ordering,
        sends,
        organizations,
        mail_templates,
        materials,
        settings_profile,
        settings_people,
        settings_mail,
        settings_keys,
        settings_notices,
        settings_backup,
        public,
        search,
        mailbox,
        manual,
    ):
        app.include_router(room.router)
    errors.add_handlers(app)
    app.add_middleware(BoundedForms)
    app.add_middleware(GZipMiddleware, minimum_size=500, compresslevel=6)
    app.add_middleware(SecurityHeaders, https=settings.is_https)
    return app


class StaticAssets(StaticFiles):
    """Static files under a digest of them all: kept for good by the browser, asked again when the product changes."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        digest, _, rest = path.partition("/")
        response = await super().get_response(rest, scope)
        current = digest == static_digest()
        response.headers["Cache-Control"] = f"public, max-age={YEAR}, immutable" if current else "no-cache"
        return response
