"""The API as one ASGI app: other tools of the Institute come in here. `crm.server` mounts it at /api/v1."""

from fastapi import FastAPI

from api import campaigns, cities, contacts, docs, errors, imports, materials, segments, sends, suppressions, tags, templates
from api.errors import documented
from api.guard import Pace, Recorder
from crm.config import Settings
from crm.database import Database

ROUTERS = (
    contacts.router,
    imports.router,
    cities.router,
    tags.router,
    suppressions.router,
    segments.router,
    materials.router,
    templates.router,
    campaigns.router,
    sends.router,
)


def build(database: Database, settings: Settings) -> FastAPI:
    """The API over a database. Every route asks for the scope that `crm.staff.rights.API` names; none runs without a row."""
    app = FastAPI(
        title="Red Voto Chilango API",
        version="1",
        description=docs.DESCRIPTION,
        servers=[{"url": "/api/v1"}],
        root_path_in_servers=False,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        separate_input_output_schemas=False,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.database, app.state.settings, app.state.pace = database, settings, Pace()
    app.add_middleware(Recorder, database=database)
    errors.install(app)
    for router in ROUTERS:
        app.include_router(router, responses=documented(401, 403, 422, 429, 503))
    docs.install(app)
    return app
