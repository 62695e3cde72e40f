"""Materials over the API: infographics, leaflets and documents by file, videos by link."""

import hashlib
from datetime import date
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, File, Form, Query, Response, UploadFile

from api.dependencies import Cursor, Limit, OnlyOnce, Page, Reading, RowId, TheSettings, ThisCall, Writing, page
from api.errors import documented
from api.guard import GuardedRoute
from crm.outreach import materials
from crm.outreach.materials import Version
from crm.outreach.models import MaterialKind
from crm.outreach.schemas import AltText, Edition, FullText, Link, MaterialIn, MaterialOut, Title
from crm.people.models import Language

router = APIRouter(tags=["materials"], route_class=GuardedRoute)

FILE_TYPES = ("image/png", "image/jpeg", "image/webp", "application/pdf")
EXAMPLE = {
    "multipart/form-data": {
        "example": {
            "file": "@infografia.png",
            "kind": "infographic",
            "title": "¿Cómo saco mi credencial?",
            "alt_text": "Tres pasos para tramitar la credencial en el consulado.",
            "full_text": "1. Haga una cita. 2. Lleve sus documentos. 3. Reciba su credencial.",
            "language": "es",
        }
    }
}


@router.post("/materials", status_code=201, responses=documented(409, 413), openapi_extra={"requestBody": {"content": EXAMPLE}})
def create_material(
    session: Writing,
    once: OnlyOnce,
    settings: TheSettings,
    kind: Annotated[MaterialKind, Form()],
    title: Annotated[Title, Form()],
    file: Annotated[
        UploadFile | None, File(description="PNG, JPEG, WebP or PDF of at most 15 MB; of a video, its thumbnail.")
    ] = None,
    edition: Annotated[Edition, Form()] = None,
    language: Annotated[Language, Form()] = Language.SPANISH,
    alt_text: Annotated[AltText, Form()] = "",
    full_text: Annotated[FullText, Form()] = "",
    link: Annotated[Link, Form()] = None,
    is_public: Annotated[bool, Form()] = False,
    valid_until: Annotated[date | None, Form()] = None,
) -> MaterialOut:
    """Add a material. It is not sent until it has an alternative text and its full text."""
    data = MaterialIn(
        kind=kind,
        title=title,
        edition=edition,
        language=language,
        alt_text=alt_text,
        full_text=full_text,
        link=link,
        is_public=is_public,
        valid_until=valid_until,
    )
    body = file.file.read() if file is not None else None
    asked = f"{data.model_dump_json()}\n{hashlib.sha256(body or b'').hexdigest()}"

    def make() -> MaterialOut:
        made = materials.create(session, data, body=body, file_name=file.filename if file is not None else None)
        return materials.to_out(session, made, settings)

    return once(asked, MaterialOut, make)


@router.get("/materials")
def list_materials(
    session: Reading,
    call: ThisCall,
    settings: TheSettings,
    q: Annotated[str | None, Query(max_length=200, description="Words of the title, without regard to accents.")] = None,
    kind: MaterialKind | None = None,
    language: Language | None = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[MaterialOut]:
    """Materials, the newest first."""
    found, following = materials.find(session, kind=kind, language=language, text=q, cursor=cursor, limit=limit)
    return page(call, materials.to_out_many(session, found, settings), following)


@router.get("/materials/{material_id}", responses=documented(404))
def get_material(material_id: RowId, session: Reading, settings: TheSettings) -> MaterialOut:
    """One material."""
    return materials.to_out(session, materials.get(session, material_id), settings)


@router.get(
    "/materials/{material_id}/file",
    response_class=Response,
    responses={**documented(404), 200: {"description": "The file.", "content": {kind: {} for kind in FILE_TYPES}}},
)
def get_material_file(material_id: RowId, session: Reading, version: Version = Version.WHOLE) -> Response:
    """The file of a material: whole, as it goes in a mail, or its thumbnail."""
    material = materials.get(session, material_id)
    stored = materials.file_of(session, material, version)
    headers = {
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(material.file_name or 'material', safe='')}",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox; default-src 'none'",
    }
    return Response(stored.body, media_type=stored.media_type, headers=headers)
