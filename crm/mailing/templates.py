"""Template folders of mails: trusted Jinja and MJML that ship with the product, never written by staff.

A folder ``templates/email/<name>/`` holds template.toml (title, purpose, content class), subject.txt, body.mjml and
body.txt over ``_base``. Every folder serves both languages: the words of the house are in ``_base/strings.toml``.
"""

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import mrml
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from crm.errors import InvalidInput, NotFound
from crm.mailing import fields
from crm.mailing.models import ContentClass
from crm.mailing.schemas import CampaignIn, TemplateOut, VariantIn
from crm.people.models import Language, Purpose

FOLDER = Path(__file__).parent.parent.parent / "templates" / "email"


_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
"""Characters that XML has no place for (XML 1.0, 2.2): nobody sees them, and MJML would not parse."""


@dataclass(frozen=True)
class Template:
    """What a folder says of itself."""

    name: str
    title: str
    description: str
    purpose: Purpose
    content_class: ContentClass
    starters: dict[Language, VariantIn]
    """What a text begins with in each language."""
    material: tuple[str, str, int] | None = None
    """The kind of block and of material that belong in it, and the place: put there when there is such a material."""

    @property
    def starter(self) -> VariantIn:
        """What a new draft begins with, in Spanish."""
        return self.starters[Language.SPANISH]


@cache
def all_templates() -> dict[str, Template]:
    """Every template of the product by name."""
    found = {}
    for path in sorted(FOLDER.glob("[a-z]*/template.toml")):
        told = tomllib.loads(path.read_text(encoding="utf-8"))
        name = path.parent.name
        purpose, content_class = Purpose(told["purpose"]), ContentClass(told["content_class"])
        begun = {
            language: VariantIn.model_validate({"language": language, **told[part]})
            for language, part in ((Language.SPANISH, "starter"), (Language.ENGLISH, "starter_en"))
        }
        material = (told["block"], told["material"], told["material_at"]) if "material" in told else None
        found[name] = Template(name, told["title"], told["description"], purpose, content_class, begun, material)
    return found


def get(name: str) -> Template:
    """One template; NotFound(template_unknown)."""
    template = all_templates().get(name)
    if template is None:
        raise NotFound("template_unknown", field="template")
    return template


def starter(name: str, campaign_name: str) -> CampaignIn:
    """A new draft of a template, with English where it is whole as it begins (nothing of it waits to be written).

    NotFound(template_unknown), or pydantic's ValidationError for the name.
    """
    template = get(name)
    variants = list(template.starters.values()) if template.purpose is Purpose.CONSENT_REQUEST else [template.starter]
    return CampaignIn(name=campaign_name, template=template.name, purpose=template.purpose, variants=variants)


def to_out(template: Template) -> TemplateOut:
    return TemplateOut(
        name=template.name,
        title=template.title,
        description=template.description,
        languages=list(Language),
        purpose=template.purpose,
        content_class=template.content_class,
        fields=fields.catalogue(),
    )


@cache
def words(language: Language) -> dict[str, str]:
    """The words of the house in a language."""
    strings: dict[str, dict[str, str]] = tomllib.loads((FOLDER / "_base" / "strings.toml").read_text(encoding="utf-8"))
    return strings[language.value]


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=select_autoescape(["mjml"], default=False, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(name: str, part: str, **values: Any) -> str:
    """One part of a template (``subject.txt``, ``body.mjml``, ``body.txt``) with its values, which are already marked."""
    return _environment().get_template(f"{get(name).name}/{part}").render(**values).strip()


def render_own(folder: str, part: str, **values: Any) -> str:
    """One part of a mail of the house to its own staff, in a folder that no campaign can choose (it begins with ``_``)."""
    return _environment().get_template(f"{folder}/{part}").render(**values).strip()


def to_html(mjml: str) -> str:
    """MJML as the HTML of a mail; InvalidInput(template_broken). Nothing is fetched: no include loader is given."""
    try:
        return str(mrml.to_html(_NOT_XML.sub("", mjml)).content)
    except Exception as error:  # mrml raises bare exceptions of its parser
        raise InvalidInput("template_broken") from error
