"""PDFs made safe to hand on: nothing in them acts, and nothing says who made them. Pages are never drawn here."""

from collections.abc import Iterator
from io import BytesIO
from typing import Any

from pypdf import PdfReader, PdfWriter
from pypdf.generic import ArrayObject, DictionaryObject, IndirectObject

from crm.errors import InvalidInput

OBJECT_LIMIT = 300_000
"""Most objects of a document that are looked at."""

_ACTIVE_KEYS = frozenset({"/JS", "/JavaScript", "/EF", "/EmbeddedFiles", "/XFA", "/RichMediaContent", "/RichMediaSettings"})
_ACTIVE_ACTIONS = frozenset(
    {"/JavaScript", "/Launch", "/SubmitForm", "/ImportData", "/GoToE", "/GoToR", "/Rendition", "/Movie", "/Sound"}
    | {"/RichMediaExecute", "/GoTo3DView"}
)
_ACTIVE_KINDS = frozenset({"/EmbeddedFile", "/FileAttachment", "/RichMedia", "/Movie", "/Sound", "/Screen", "/3D"})
_LINK_SCHEMES = ("javascript:", "vbscript:", "file:", "data:")
_METADATA = ("/Metadata", "/PieceInfo", "/LastModified")


def clean(body: bytes) -> bytes:
    """The document written anew: what its pages reach and nothing else, without metadata, older versions or bytes behind it.

    Errors: file_broken, pdf_encrypted, pdf_active_content (programs, launch actions, attached files).
    """
    try:
        reader = PdfReader(BytesIO(body))
        if reader.is_encrypted:
            raise InvalidInput("pdf_encrypted", field="file")
        for found in _dictionaries(reader.root_object):
            if _acts(found):
                raise InvalidInput("pdf_active_content", field="file")
            for key in _METADATA:
                found.pop(key, None)
        return _written(reader)
    except InvalidInput:
        raise
    except Exception as error:  # a parser of foreign bytes fails in every way there is, and each means one thing
        raise InvalidInput("file_broken", field="file") from error


def _written(reader: PdfReader) -> bytes:
    if len(reader.pages) == 0:
        raise InvalidInput("file_broken", field="file")
    writer = PdfWriter()
    writer.clone_reader_document_root(reader)
    writer.pdf_header = reader.pdf_header
    target = BytesIO()
    writer.write(target)
    return target.getvalue()


def _dictionaries(root: DictionaryObject) -> Iterator[DictionaryObject]:
    """Every dictionary that the document reaches, each once; streams are dictionaries too."""
    seen: set[tuple[int, int]] = set()
    waiting: list[Any] = [root]
    for _ in range(OBJECT_LIMIT):
        if not waiting:
            return
        found = waiting.pop()
        if isinstance(found, IndirectObject):
            if (found.idnum, found.generation) in seen:
                continue
            seen.add((found.idnum, found.generation))
            found = found.get_object()
        if isinstance(found, DictionaryObject):
            yield found
            waiting.extend(value for value in found.values() if _holds_more(value))
        elif isinstance(found, ArrayObject):
            waiting.extend(value for value in found if _holds_more(value))
    raise InvalidInput("file_broken", field="file")


def _holds_more(value: object) -> bool:
    return isinstance(value, IndirectObject | DictionaryObject | ArrayObject)


def _acts(found: DictionaryObject) -> bool:
    """Whether a dictionary runs something, opens something beyond the document or carries another file."""
    if not _ACTIVE_KEYS.isdisjoint(found):
        return True
    if found.get("/S") in _ACTIVE_ACTIONS or found.get("/Type") in _ACTIVE_KINDS or found.get("/Subtype") in _ACTIVE_KINDS:
        return True
    return _link_of(found).startswith(_LINK_SCHEMES)


def _link_of(found: DictionaryObject) -> str:
    link = found.get("/URI", "")
    text = link.decode("latin-1") if isinstance(link, bytes) else str(link)
    return "".join(text.split()).casefold()
