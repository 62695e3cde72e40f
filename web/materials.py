"""Materiales: infographics, leaflets, documents and videos with their texts, where each is used and who received it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import ValidationError
from sqlalchemy.orm import Session
from starlette.datastructures import FormData, UploadFile

from crm import clock
from crm.errors import SENTENCES, CrmError
from crm.mailing import sends, usage
from crm.outreach import materials
from crm.outreach.formats import PDF
from crm.outreach.materials import Version
from crm.outreach.models import Material, MaterialKind
from crm.outreach.schemas import MaterialIn, MaterialPatch
from crm.people.models import Language
from crm.staff.rights import Right
from web import samples
from web.asked import address, search_of, whole_number
from web.dependencies import Posted, SessionOf, ViewerOf, settings_of
from web.errors import status_of
from web.pages import page
from web.words import LANGUAGES, SEND_STATES

HERE = "/materiales"
PAGE_ROWS = 24
KINDS = {
    MaterialKind.INFOGRAPHIC: "Infografía",
    MaterialKind.LEAFLET: "Folleto",
    MaterialKind.VIDEO: "Video",
    MaterialKind.DOCUMENT: "Documento",
}
KIND_HINTS = {
    MaterialKind.INFOGRAPHIC: "Una imagen PNG, JPEG o WebP, o un PDF.",
    MaterialKind.LEAFLET: "Un PDF o una imagen, para adjuntar o imprimir.",
    MaterialKind.VIDEO: "Un enlace; el archivo es su miniatura.",
    MaterialKind.DOCUMENT: "Un PDF.",
}
MISSING = {"alt_text_missing": "Falta el texto alternativo", "full_text_missing": "Falta el texto completo"}
"""What a material lacks, in few words."""
FIELDS = {
    "kind": "tipo",
    "title": "titulo",
    "edition": "edicion",
    "language": "idioma",
    "valid_until": "vigencia",
    "alt_text": "alternativo",
    "full_text": "completo",
    "link": "enlace",
    "is_public": "publico",
    "file": "archivo",
}
"""Fields of a material as the form calls them."""
FIELD_WORDS = {
    "tipo": "Tipo",
    "titulo": "Título",
    "edicion": "Edición",
    "idioma": "Idioma",
    "vigencia": "Vale hasta",
    "alternativo": "Texto alternativo",
    "completo": "Texto completo",
    "enlace": "Enlace",
    "publico": "Enlace público",
    "archivo": "Archivo",
}
SHUT = {"Content-Security-Policy": "sandbox; default-src 'none'", "Cache-Control": "private, max-age=3600"}
"""Headers of a file: it may do nothing, and the browser keeps it for an hour."""

router = APIRouter()
MaterialId = Annotated[int, Path(ge=1, lt=2**31)]


@router.get(HERE)
def gallery(request: Request, session: SessionOf, cursor: Annotated[str | None, Query(max_length=200)] = None) -> Response:
    """The materials, newest first; by title, kind and language."""
    told = _Told.read(request.query_params)
    kind, language = MaterialKind(told.kind) if told.kind else None, Language(told.language) if told.language else None
    found, following = materials.find(session, kind=kind, language=language, text=told.text or None, cursor=cursor, limit=PAGE_ROWS)
    context = {
        "materials": [(material, _lacks(material), _is_past(material)) for material in found],
        "kinds": KINDS,
        "kind_options": [("", "Todos"), *((one.value, words) for one, words in KINDS.items())],
        "language_options": [("", "Todos"), *((one.value, words) for one, words in LANGUAGES.items())],
        "languages": LANGUAGES,
        "told": told,
        "cursor": cursor,
        "following": following,
    }
    return page(request, "materials/gallery.html", context)


@dataclass(frozen=True)
class _Told:
    """What the gallery is asked for."""

    text: str
    kind: str
    language: str

    @classmethod
    def read(cls, query: Mapping[str, str]) -> "_Told":
        """From an address; a value that the page does not offer is passed over."""
        kind, language = query.get("tipo", ""), query.get("idioma", "")
        text = search_of(query)
        return cls(text, kind if kind in set(MaterialKind) else "", language if language in set(Language) else "")

    @property
    def is_empty(self) -> bool:
        return not (self.text or self.kind or self.language)

    def url(self, cursor: str | None = None) -> str:
        return address(HERE, q=self.text, tipo=self.kind, idioma=self.language, cursor=cursor)


def _lacks(material: Material) -> list[str]:
    return [MISSING[code] for code in materials.missing_texts(material)]


def _is_past(material: Material) -> bool:
    """Whether its last day is over, by the calendar of Mexico City."""
    return material.valid_until is not None and material.valid_until < clock.today()


# --- adding and changing -----------------------------------------------------------------------------------------------------


@router.get(HERE + "/nuevo")
def begin(request: Request) -> Response:
    """The empty form."""
    return _form(request, None, {"tipo": "infographic", "idioma": "es"})


@router.post(HERE + "/nuevo")
def add(request: Request, session: SessionOf, form: Posted) -> Response:
    """Add a material; what is wrong comes back with its texts (a browser asks for the file again)."""
    typed = _typed(form)
    file = form.get("archivo")
    has_file = isinstance(file, UploadFile) and bool(file.filename)
    try:
        data = MaterialIn.model_validate(_values(typed))
        body = file.file.read() if isinstance(file, UploadFile) and has_file else None
        name = file.filename if isinstance(file, UploadFile) else None
        made = materials.create(session, data, body=body, file_name=name)
    except (ValidationError, CrmError) as error:
        return _form(request, None, typed, _wrong(error), _status(error), had_file=has_file)
    return RedirectResponse(f"{HERE}/{made.id}", status_code=303)


@router.get(HERE + "/{material_id}/editar")
def edit(request: Request, session: SessionOf, material_id: MaterialId) -> Response:
    """The form with what is stored. The file stays: another picture is another material, so that past sends stay true."""
    material = materials.get(session, material_id)
    stored = {form: getattr(material, name) for name, form in FIELDS.items() if name != "file"}
    typed = {name: "" if value is None or value is False else str(value) for name, value in stored.items()}
    return _form(request, material, typed)


@router.post(HERE + "/{material_id}/editar")
def change(request: Request, session: SessionOf, material_id: MaterialId, form: Posted) -> Response:
    """Save the texts of a material."""
    material, typed = materials.get(session, material_id), _typed(form)
    values = {name: value for name, value in _values(typed).items() if name != "kind"}
    try:
        materials.change(session, material_id, MaterialPatch.model_validate(values))
    except (ValidationError, CrmError) as error:
        session.expire(material)
        return _form(request, material, typed, _wrong(error), _status(error))
    return RedirectResponse(f"{HERE}/{material_id}", status_code=303)


def _typed(form: FormData) -> dict[str, str]:
    return {name: str(form.get(name, ""))[:30_000] for name in FIELDS.values() if name != "archivo"}


def _values(typed: Mapping[str, str]) -> dict[str, Any]:
    """The form as the schemas of a material take it; line breaks are the browser's."""
    told: dict[str, Any] = {name: typed[form].replace("\r\n", "\n") for name, form in FIELDS.items() if name != "file"}
    return told | {"is_public": bool(typed["publico"]), "valid_until": typed["vigencia"] or None}


def _wrong(error: ValidationError | CrmError) -> dict[str, str]:
    if isinstance(error, CrmError):
        return {FIELDS.get(error.field or "", "titulo"): error.sentence}
    told = {}
    for fault in error.errors(include_url=False, include_input=False):
        field = FIELDS.get(str(fault["loc"][0]), "titulo")
        told[field] = _sentence(fault["type"], fault.get("ctx", {}), field)
    return told


def _sentence(kind: str, context: Mapping[str, Any], field: str) -> str:
    if kind == "string_too_long":
        return SENTENCES["field_too_long"].format(limit=f"{context['max_length']:,}")
    if kind == "string_pattern_mismatch":
        return SENTENCES["field_control_characters"]
    return SENTENCES["date_invalid" if field == "vigencia" else "field_required"]


def _status(error: ValidationError | CrmError) -> int:
    return status_of(error) if isinstance(error, CrmError) else 422


def _form(
    request: Request,
    material: Material | None,
    typed: Mapping[str, str],
    wrong: Mapping[str, str] | None = None,
    status: int = 200,
    *,
    had_file: bool = False,
) -> Response:
    context = {
        "material": material,
        "typed": dict.fromkeys(FIELDS.values(), "") | dict(typed),
        "wrong": wrong or {},
        "kinds": KINDS,
        "kind_hints": KIND_HINTS,
        "language_options": [(one.value, words) for one, words in LANGUAGES.items()],
        "field_words": FIELD_WORDS,
        "had_file": had_file,
    }
    return page(request, "materials/form.html", context, status=status)


# --- one of them -------------------------------------------------------------------------------------------------------------


@router.get(HERE + "/{material_id}")
def show(request: Request, session: SessionOf, material_id: MaterialId) -> Response:
    """A material with its texts, where it is used and who received it."""
    material = materials.get(session, material_id)
    told = materials.to_out(session, material, settings_of(request))
    context = {
        "material": told,
        "has_picture": material.mail_sha256 is not None,
        "kind": KINDS[material.kind],
        "language": LANGUAGES[material.language],
        "lacks": [SENTENCES[code] for code in told.missing],
        "is_past": _is_past(material),
        "usage": usage.of_material(session, material_id),
        "states": SEND_STATES,
    }
    return page(request, "materials/page.html", context)


@router.get(HERE + "/{material_id}/personas")
def people(
    request: Request,
    session: SessionOf,
    viewer: ViewerOf,
    material_id: MaterialId,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """The different people who received a material, in any send or in one."""
    material = materials.get(session, material_id)
    number = whole_number(request.query_params.get("envio", ""))
    send = sends.get(session, number) if number else None
    reached = usage.reached(material_id, send.id if send else None)
    context = {
        "material": material,
        "send": send,
        "here": address(f"{HERE}/{material_id}/personas", envio=str(send.id) if send else ""),
        **samples.reached(session, reached, cursor, masked=not viewer.may(Right.VIEW_ADDRESSES)),
    }
    return page(request, "materials/people.html", context)


@router.get(HERE + "/{material_id}/archivo")
def give_file(session: SessionOf, material_id: MaterialId) -> Response:
    """Its file, whole, to be kept."""
    material = materials.get(session, material_id)
    stored = materials.file_of(session, material)
    name = quote(material.file_name or "material", safe="")
    headers = SHUT | {"Content-Disposition": f"attachment; filename*=UTF-8''{name}"}
    return Response(stored.body, media_type=stored.media_type, headers=headers)


@router.get(HERE + "/{material_id}/miniatura")
def give_thumbnail(session: SessionOf, material_id: MaterialId) -> Response:
    """Its picture, small; a PDF has none."""
    return _picture(session, material_id, Version.THUMBNAIL)


@router.get(HERE + "/{material_id}/imagen")
def give_picture(session: SessionOf, material_id: MaterialId) -> Response:
    """Its picture, as a mail carries it."""
    return _picture(session, material_id, Version.MAIL)


def _picture(session: Session, material_id: int, version: Version) -> Response:
    stored = materials.file_of(session, materials.get(session, material_id), version)
    disposition = "attachment" if stored.media_type == PDF else "inline"
    return Response(stored.body, media_type=stored.media_type, headers=SHUT | {"Content-Disposition": disposition})
