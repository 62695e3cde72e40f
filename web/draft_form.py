"""The form of Redactar: rows of blocks with a text in each language, read from what a browser posts, errors tied to fields.

A row holds the blocks of one position, Spanish and English side by side. Every name says where its value belongs:
``es.subject``, ``es.3.body`` (the body of the fourth block in Spanish), ``es.3.type``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import ValidationError
from starlette.datastructures import FormData

from crm.errors import SENTENCES, CrmError, InvalidInput
from crm.mailing import templates
from crm.mailing.schemas import CampaignIn
from crm.people.models import Language
from web.asked import number_of, text_of, whole_number

SPANISH, ENGLISH = Language.SPANISH.value, Language.ENGLISH.value
ROWS_MOST = 60

BLOCK_WORDS = {
    "cover": "Portada",
    "text": "Texto",
    "image": "Infografía",
    "button": "Botón",
    "fact": "Dato del evento",
    "video": "Video",
    "attachment": "Archivo adjunto",
    "divider": "Separador",
}
"""Kinds of block and what they are called."""
BLOCK_PARTS: dict[str, tuple[str, ...]] = {
    "cover": ("kicker", "title"),
    "text": ("body",),
    "image": ("material", "link"),
    "button": ("label", "link"),
    "fact": ("body",),
    "video": ("material",),
    "attachment": ("material",),
    "divider": (),
}
PART_WORDS = {
    "kicker": "Línea pequeña",
    "title": "Título",
    "body": "Texto",
    "material": "Material",
    "label": "Palabras del botón",
    "link": "Enlace",
    "only_for": "Mostrar a",
}
MATERIAL_KINDS = {"image": ("infographic",), "video": ("video",), "attachment": ("document", "infographic", "leaflet")}

Cell = dict[str, str]
"""One block as the form holds it: its type and its texts."""


@dataclass(frozen=True)
class Draft:
    """A campaign as the form shows it; whatever was typed is here, right or wrong."""

    name: str
    template: str
    purpose: str
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    languages: tuple[str, ...]
    subjects: Mapping[str, str]
    preheaders: Mapping[str, str]
    rows: Sequence[Mapping[str, Cell]]
    version: int
    problems: Mapping[str, str] = field(default_factory=dict)
    """Name of a field to what is wrong with it."""

    @property
    def has_english(self) -> bool:
        return ENGLISH in self.languages

    def content(self) -> CampaignIn:
        """The campaign that the form says; InvalidInput or pydantic's ValidationError."""
        return CampaignIn.model_validate(
            {
                "name": self.name,
                "template": self.template,
                "purpose": self.purpose,
                "audience": {"include": list(self.include), "exclude": list(self.exclude)},
                "variants": [
                    {
                        "language": language,
                        "subject": self.subjects.get(language, ""),
                        "preheader": self.preheaders.get(language, ""),
                        "blocks": [_block(row[language]) for row in self.rows if language in row],
                    }
                    for language in self.languages
                ],
            }
        )


def _block(cell: Cell) -> dict[str, Any]:
    known = {"type": cell["type"]} | {part: cell.get(part, "") for part in BLOCK_PARTS[cell["type"]]}
    if cell["type"] == "image" and not known["link"]:
        del known["link"]
    return known | ({"only_for": cell["only_for"]} if cell.get("only_for") else {})


# --- from a campaign, from a form --------------------------------------------------------------------------------------------


def of_campaign(content: CampaignIn, version: int) -> Draft:
    """The form of a stored campaign."""
    blocks = {
        variant.language.value: [_cell(block.model_dump(mode="json")) for block in variant.blocks] for variant in content.variants
    }
    longest = max(len(cells) for cells in blocks.values())
    return Draft(
        name=content.name,
        template=content.template,
        purpose=content.purpose.value,
        include=tuple(str(number) for number in content.audience.include),
        exclude=tuple(str(number) for number in content.audience.exclude),
        languages=tuple(sorted(blocks, reverse=True)),
        subjects={variant.language.value: variant.subject for variant in content.variants},
        preheaders={variant.language.value: variant.preheader for variant in content.variants},
        rows=[
            {language: cells[position] for language, cells in blocks.items() if position < len(cells)}
            for position in range(longest)
        ],
        version=version,
    )


def _cell(block: Mapping[str, Any]) -> Cell:
    return {name: "" if value is None else str(value) for name, value in block.items()}


def read(form: FormData) -> Draft:
    """What a browser posted, line breaks as the product writes them."""
    languages = (SPANISH, ENGLISH) if text_of(form, "en.on") else (SPANISH,)
    count = min(number_of(form, "rows") or 0, ROWS_MOST)
    return Draft(
        name=text_of(form, "name"),
        template=text_of(form, "template"),
        purpose=text_of(form, "purpose"),
        include=_numbers(form, "include"),
        exclude=_numbers(form, "exclude"),
        languages=languages,
        subjects={language: text_of(form, f"{language}.subject") for language in languages},
        preheaders={language: text_of(form, f"{language}.preheader") for language in languages},
        rows=[row for position in range(count) if (row := _row(form, position, languages))],
        version=number_of(form, "version") or 0,
    )


def _row(form: FormData, position: int, languages: Sequence[str]) -> dict[str, Cell]:
    return {
        language: {"type": kind}
        | {part: text_of(form, f"{language}.{position}.{part}") for part in (*BLOCK_PARTS[kind], "only_for")}
        for language in languages
        if (kind := text_of(form, f"{language}.{position}.type")) in BLOCK_PARTS
    }


def _numbers(form: FormData, name: str) -> tuple[str, ...]:
    return tuple(value for value in form.getlist(name) if isinstance(value, str) and whole_number(value) is not None)


# --- changes of the order -----------------------------------------------------------------------------------------------------


def moved(draft: Draft, deed: str, materials: Mapping[tuple[str, str], str]) -> Draft:
    """The draft after a button: ``add:text``, ``up:2``, ``down:2``, ``remove:2``, ``english:on``, ``english:off``.

    ``materials`` names, for a kind of block and a language, the material that a new one begins with. A deed that means nothing
    changes nothing.
    """
    what, _, which = deed.partition(":")
    rows = list(draft.rows)
    if what == "add" and which in BLOCK_PARTS and len(rows) < ROWS_MOST:
        return replace(draft, rows=[*rows, {language: _new(which, language, materials) for language in draft.languages}])
    if what == "english":
        return _with_english(draft) if which == "on" else replace(draft, languages=(SPANISH,), rows=_without_english(rows))
    place = whole_number(which)
    if place is None or place >= len(rows):
        return draft
    if what == "remove":
        del rows[place]
    elif what == "up" and place > 0:
        rows[place - 1], rows[place] = rows[place], rows[place - 1]
    elif what == "down" and place < len(rows) - 1:
        rows[place + 1], rows[place] = rows[place], rows[place + 1]
    return replace(draft, rows=rows)


def _new(kind: str, language: str, materials: Mapping[tuple[str, str], str]) -> Cell:
    return {"type": kind} | {part: materials.get((kind, language), "") if part == "material" else "" for part in BLOCK_PARTS[kind]}


def _with_english(draft: Draft) -> Draft:
    """English beside each Spanish block: the same kind, its pictures and links taken over, its words to be written; or those of
    the template, while the Spanish ones are as it has them too."""
    rows = [
        {**row, ENGLISH: row.get(ENGLISH) or _in_english(draft.template, row[SPANISH])} if SPANISH in row else row
        for row in draft.rows
    ]
    return replace(draft, languages=(SPANISH, ENGLISH), rows=rows, subjects=_english_subject(draft) | dict(draft.subjects))


def _english_subject(draft: Draft) -> dict[str, str]:
    """That of the template, while the Spanish one is as it has it."""
    told = templates.all_templates().get(draft.template)
    is_as_begun = told is not None and draft.subjects.get(SPANISH) == told.starters[Language.SPANISH].subject
    return {ENGLISH: told.starters[Language.ENGLISH].subject} if told is not None and is_as_begun else {}


def _in_english(template: str, spanish: Cell) -> Cell:
    if template in (every := templates.all_templates()):
        begun, told = (
            [_cell(block.model_dump(mode="json")) for block in every[template].starters[language].blocks] for language in Language
        )
        same = next((place for place, cell in enumerate(begun) if _said(cell) == _said(spanish)), None)
        if same is not None:
            return told[same]
    kept = ("type", "material", "link", "only_for")
    return {name: value if name in kept else "" for name, value in spanish.items()}


def _said(cell: Cell) -> Cell:
    return {name: value for name, value in cell.items() if value}


def _without_english(rows: Sequence[Mapping[str, Cell]]) -> list[Mapping[str, Cell]]:
    return [{SPANISH: row[SPANISH]} for row in rows if SPANISH in row]


# --- what is wrong ------------------------------------------------------------------------------------------------------------


def faults(draft: Draft, error: ValidationError | CrmError) -> dict[str, str]:
    """What is wrong, by the name of its field in the form; what belongs to no field stands under an empty name."""
    if isinstance(error, ValidationError):
        return {_name(draft, fault["loc"]): _sentence(fault) for fault in error.errors(include_url=False, include_input=False)}
    parts = error.parts if isinstance(error, InvalidInput) else [error]
    return {_name(draft, _path(part.field or "")): part.sentence for part in parts}


def _path(told: str) -> tuple[int | str, ...]:
    return tuple(int(part) if part.isdecimal() else part for part in told.split(".") if part)


def _name(draft: Draft, path: Sequence[int | str]) -> str:
    """``variants.0.blocks.2.text.body`` as the name of that field in the form."""
    if not path or path[0] != "variants" or len(path) < 2 or not isinstance(path[1], int):
        return str(path[0]) if path and path[0] in {"name", "purpose", "template"} else "include" if path else ""
    language = draft.languages[path[1]]
    if len(path) > 3 and path[2] == "blocks" and isinstance(path[3], int):
        places = [position for position, row in enumerate(draft.rows) if language in row]
        part = next((str(step) for step in reversed(path[4:]) if step in PART_WORDS), "")
        kind = draft.rows[places[path[3]]][language]["type"]
        return f"{language}.{places[path[3]]}.{part or (BLOCK_PARTS[kind] or ('type',))[0]}"
    return f"{language}.{path[2]}" if len(path) > 2 and path[2] in {"subject", "preheader"} else f"{language}.subject"


def _sentence(fault: Any) -> str:
    codes = {"string_too_long": "field_too_long", "missing": "field_required", "string_too_short": "field_required"}
    if fault["type"] == "string_pattern_mismatch":
        return SENTENCES["link_invalid" if "link" in fault["loc"] else "field_control_characters"]
    if "only_for" in fault["loc"]:
        return SENTENCES["segment_not_found"]
    if "material" in fault["loc"]:
        return "Elija un material de la lista."
    code = codes.get(fault["type"], "value_invalid")
    return SENTENCES[code].format(limit=fault.get("ctx", {}).get("max_length", ""))
