"""What comes in and goes out of outreach: materials."""

from datetime import date, datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints
from pydantic.config import JsonDict

from crm.outreach.models import MaterialKind
from crm.people.models import Language
from crm.people.schemas import ONE_LINE, SEVERAL_LINES


def _none_if_empty(text: str | None) -> str | None:
    return text or None


def _on_one_line(text: str) -> str:
    return " ".join(text.split())


Title = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=ONE_LINE)]
Edition = Annotated[
    Annotated[str, StringConstraints(strip_whitespace=True, max_length=60, pattern=ONE_LINE)] | None, AfterValidator(_none_if_empty)
]
AltText = Annotated[str, StringConstraints(max_length=2_000, pattern=SEVERAL_LINES), AfterValidator(_on_one_line)]
FullText = Annotated[str, StringConstraints(strip_whitespace=True, max_length=20_000, pattern=SEVERAL_LINES)]
Link = Annotated[
    Annotated[str, StringConstraints(strip_whitespace=True, max_length=1_000, pattern=ONE_LINE)] | None,
    AfterValidator(_none_if_empty),
]

_EXAMPLE: JsonDict = {
    "kind": "infographic",
    "title": "¿Cómo saco mi credencial desde el extranjero?",
    "edition": "2027",
    "language": "es",
    "alt_text": "Tres pasos para tramitar la credencial en el consulado.",
    "full_text": "1. Haga una cita. 2. Lleve sus documentos. 3. Reciba su credencial por mensajería.",
}


class MaterialIn(BaseModel):
    """A material as it is told; its file comes beside it. Texts may be added later, but it is not sent without them."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": _EXAMPLE})

    kind: MaterialKind
    title: Title
    edition: Edition = None
    language: Language = Language.SPANISH
    alt_text: AltText = ""
    """What the picture says, in a sentence; line breaks become spaces."""
    full_text: FullText = ""
    """The whole text of the picture, document or video."""
    link: Link = None
    """https only. Where a video is watched; nothing is ever fetched from it."""
    is_public: bool = False
    """Whether its file may be had without signing in, by its unguessable name."""
    valid_until: date | None = None
    """The last day on which what it says holds."""


class MaterialPatch(BaseModel):
    """Changes of one material: only the fields that are present."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"full_text": "1. Haga una cita."}})

    title: Title | None = None
    edition: Edition = None
    language: Language | None = None
    alt_text: AltText | None = None
    full_text: FullText | None = None
    link: Link = None
    is_public: bool | None = None
    valid_until: date | None = None


class FileOut(BaseModel):
    name: str
    media_type: str
    size: int
    """Bytes, as it is stored: without metadata."""


class MaterialOut(BaseModel):
    id: int
    kind: MaterialKind
    title: str
    edition: str | None
    language: Language
    alt_text: str
    full_text: str
    file: FileOut | None
    width: int | None
    """Pixels of the picture for mail; null for a PDF."""
    height: int | None
    link: str | None
    link_host: str | None
    """The site that the link leads to, to be shown beside it."""
    is_public: bool
    public_name: str | None
    """Name of its file on the public path; null unless it is public."""
    public_url: str | None
    """Where anybody may have its file, without signing in; null unless it is public and has one."""
    valid_until: date | None
    """The last day on which what it says holds; null when none was told."""
    missing: list[str]
    """What it lacks before it can be sent: `alt_text_missing`, `full_text_missing`."""
    created_at: datetime
