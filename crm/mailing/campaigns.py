"""Campaigns: what is said, to whom, and whether it is ready to leave."""

import re
from collections.abc import Iterable, Sequence
from email.utils import parseaddr
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa
from sqlalchemy.orm import Session, selectinload

from crm import clock, files
from crm.config import Settings, is_loopback
from crm.database import keyset_page
from crm.errors import Conflict, InvalidInput, NotFound
from crm.mailing import audience, composing, fields, links, markdown, relays, revisions, segments, templates, wording
from crm.mailing.compiling import Compiled
from crm.mailing.composing import Attached
from crm.mailing.models import Campaign, CampaignVariant, Delivery, DeliveryState, Send, SendState
from crm.mailing.schemas import (
    CONDITIONS_MOST,
    AnyBlock,
    Audience,
    ButtonBlock,
    CampaignIn,
    CampaignOut,
    CoverBlock,
    FactBlock,
    ImageBlock,
    Problem,
    Review,
    ShownTo,
    TextBlock,
    VariantIn,
    VariantOut,
)
from crm.mailing.segment_rules import conditions_of
from crm.outreach import materials
from crm.outreach.models import Material
from crm.people import privacy_notices
from crm.people.models import Language, Purpose

CLIP_BYTES = 100_000
"""Gmail cuts a mail whose HTML is larger and hides its foot, where the way out is."""
UNDER_WAY = (SendState.SENDING, SendState.PAUSED)
_PLACEHOLDER = re.compile(
    r"escr[ií]ba(la|lo)? aquí|write here|\bd[ií]a de mes\b|\bmes de año\b|\bmonth day\b|\bmonth and year\b", re.IGNORECASE
)
"""How the templates of the product stand in for what staff must write."""
SIZE_LIMIT = 10 * 1024 * 1024
"""Largest mail that common servers take."""

PROBLEMS: dict[str, str] = {
    "subject_missing": "Escriba el asunto.",
    "blocks_missing": "El correo está vacío: agregue al menos un texto.",
    "alt_text_missing": "Falta el texto alternativo de una imagen: quien no la ve no sabrá qué dice.",
    "full_text_missing": "Falta el texto completo de una infografía: sin él no se puede leer con lector de pantalla.",
    "text_version_missing": "La versión en texto quedaría vacía: agregue un texto además de la imagen.",
    "everybodys_text_missing": "Todos los textos son solo para algún segmento: quien no esté en él recibiría un correo vacío. Deje "
    "al menos un texto para todas las personas.",
    "block_for_nobody": "Nadie de esta audiencia está en «{name}»: el bloque que es solo para ese segmento no lo vería nadie.",
    "placeholder_left": "Un texto sigue como venía en la plantilla («escriba aquí…»). Escríbalo o quítelo.",
    "block_empty": "Un bloque no dice nada. Escríbalo o quítelo.",
    "link_missing": "Un botón no tiene enlace. Escríbalo completo, con https://.",
    "label_missing": "Un botón no dice nada. Escriba sus palabras.",
    "link_not_absolute": "Un enlace no empieza con https://. Escríbalo completo.",
    "value_missing": "Personas sin «{field}»: {count:,}. Escriba un texto para ese caso: {{{{ {field} | texto }}}}.",
    "html_clipped": "El texto del correo pesa {kilobytes} KB; Gmail lo cortaría. Acórtelo.",
    "mail_too_large": "El correo pesa {megabytes} MB; muchos servidores lo rechazarían. Use imágenes más ligeras.",
    "correction_too_early": "El envío que esta audiencia recibió todavía no termina. Personas que aún lo esperan y no recibirían "
    "este correo: {waiting:,}. Si es una corrección, cancele antes lo que falta de ese envío.",
    "audience_missing": "Elija al menos un segmento.",
    "nobody_to_send": "Con esta audiencia no hay nadie a quien se pueda escribir.",
    "template_material_missing": "Esta plantilla lleva un material ({kind}) y el correo no tiene ninguno. Súbalo en Materiales y "
    "agréguelo, o revise que el texto no lo anuncie.",
    "notice_needed": "No hay aviso de privacidad en vigor, y esta campaña pide un consentimiento. Publique uno en Ajustes, «Avisos "
    "de privacidad».",
    "consent_link_missing": "Esta campaña pide un consentimiento y no lleva el enlace para darlo: "
    "{{{{ enlace_consentimiento }}}}. Sin él habrá que anotar a mano cada respuesta.",
    "base_url_not_public": "Los enlaces no se abrirían fuera de este equipo. Ponga en CRM_BASE_URL la dirección pública (https).",
    "sender_not_set": "El remitente es de ejemplo. Pida a quien administra que lo escriba en Ajustes, «Correo saliente».",
    "file_missing": "Un material no tiene archivo que enviar.",
    "material_other_language": "El material no está en el idioma de este texto. Si hay uno en su idioma, elíjalo.",
}


def create(session: Session, data: CampaignIn) -> Campaign:
    """Write a draft; InvalidInput for fields, materials or segments that do not exist."""
    _check(session, data)
    template = templates.get(data.template)
    campaign = Campaign(
        name=data.name,
        template=template.name,
        purpose=data.purpose,
        content_class=data.content_class or template.content_class,
        include=data.audience.include,
        exclude=data.audience.exclude,
        variants=[_variant(variant) for variant in data.variants],
    )
    session.add(campaign)
    session.flush()
    revisions.keep(session, campaign, content_of(campaign))
    return campaign


def change(
    session: Session, campaign_id: int, data: CampaignIn, *, version: int | None = None, restores: int | None = None
) -> Campaign:
    """Write a draft anew. What was already confirmed keeps the content that it was confirmed with.

    ``restores`` is the version that an undo brings back. Conflict(campaign_changed) when ``version`` is not the present one.
    """
    campaign = get(session, campaign_id, lock=True)
    if version is not None and campaign.version != version:
        raise Conflict("campaign_changed")
    _check(session, data)
    campaign.name, campaign.purpose = data.name, data.purpose
    campaign.changed_at = clock.now()  # a change of its texts alone is a new version of the campaign too
    campaign.template = templates.get(data.template).name
    campaign.content_class = data.content_class or templates.get(data.template).content_class
    campaign.include, campaign.exclude = data.audience.include, data.audience.exclude
    kept = {variant.language: variant for variant in campaign.variants}
    for new in data.variants:
        old = kept.pop(new.language, None)
        if old is None:
            campaign.variants.append(_variant(new))
        else:
            old.subject, old.preheader, old.blocks = new.subject, new.preheader, _blocks(new)
    for gone in kept.values():
        campaign.variants.remove(gone)
    session.flush()
    revisions.keep(session, campaign, content_of(campaign), restores=restores)
    return campaign


def undo(session: Session, campaign_id: int) -> Campaign:
    """Go back one saving; Conflict(nothing_to_undo) at the first that is remembered."""
    campaign = get(session, campaign_id, lock=True)
    earlier = revisions.before(session, campaign)
    if earlier is None:
        raise Conflict("nothing_to_undo")
    return change(session, campaign_id, CampaignIn.model_validate(earlier.content), restores=earlier.version)


def duplicate(session: Session, campaign_id: int) -> Campaign:
    """A new draft with the content and the audience of a campaign."""
    content = content_of(get(session, campaign_id))
    return create(session, content.model_copy(update={"name": f"Copia de {content.name}"[:200]}))


def content_of(campaign: Campaign) -> CampaignIn:
    """A campaign as it would be written."""
    return CampaignIn(
        name=campaign.name,
        template=campaign.template,
        purpose=campaign.purpose,
        content_class=campaign.content_class,
        audience=Audience(include=campaign.include, exclude=campaign.exclude),
        variants=[variant_in(variant) for variant in campaign.variants],
    )


def get(session: Session, campaign_id: int, *, lock: bool = False) -> Campaign:
    """One campaign with its variants; NotFound(campaign_not_found)."""
    statement = sa.select(Campaign).where(Campaign.id == campaign_id).options(selectinload(Campaign.variants))
    found = session.scalars(statement.with_for_update() if lock else statement).first()
    if found is None:
        raise NotFound("campaign_not_found")
    return found


def find(
    session: Session, where: sa.ColumnElement[bool] | None = None, *, cursor: str | None = None, limit: int = 50
) -> tuple[list[Campaign], str | None]:
    """Campaigns, newest first; those of ``where`` when it is told."""
    statement = sa.select(Campaign).options(selectinload(Campaign.variants))
    if where is not None:
        statement = statement.where(where)
    rows, following = keyset_page(session, statement, [Campaign.id], cursor=cursor, limit=limit, descending=True)
    return [row[0] for row in rows], following


def to_out(campaign: Campaign) -> CampaignOut:
    return CampaignOut(
        id=campaign.id,
        name=campaign.name,
        template=campaign.template,
        purpose=campaign.purpose,
        content_class=campaign.content_class,
        audience=Audience(include=campaign.include, exclude=campaign.exclude),
        variants=[VariantOut.model_validate(variant_in(variant), from_attributes=True) for variant in campaign.variants],
        created_at=campaign.created_at,
        changed_at=campaign.changed_at,
        version=campaign.version,
    )


def variant_in(variant: CampaignVariant) -> VariantIn:
    """A stored variant as it was written."""
    return VariantIn.model_validate(
        {"language": variant.language, "subject": variant.subject, "preheader": variant.preheader, "blocks": variant.blocks}
    )


def only_for(campaign: Campaign) -> list[int]:
    """Ids of the segments that single blocks are for, in any language, in the order of their bits in `Delivery.shown`."""
    return _only_for(variant_in(variant) for variant in campaign.variants)


def _only_for(variants: Iterable[VariantIn]) -> list[int]:
    return sorted({block.only_for for variant in variants for block in variant.blocks if block.only_for is not None})


def rules_of(session: Session, campaign: Campaign) -> audience.Rules:
    """The rules of its audience and of its blocks, as they stand now."""
    return audience.rules_of(session, campaign.include, campaign.exclude, only_for(campaign))


def compile_variants(session: Session, campaign: Campaign, settings: Settings) -> dict[tuple[Language, int], Compiled]:
    """Every variant compiled as it would leave now, by its language and by what is `audience.shown` in it."""
    chosen, compiled = only_for(campaign), dict[tuple[Language, int], Compiled]()
    for variant in map(variant_in, campaign.variants):
        made: dict[str, Compiled] = {}
        for shown in range(1 << len(chosen)):
            seen = _seen(variant, chosen, shown)
            written = seen.model_dump_json()
            if written not in made:
                made[written] = compile_variant(session, campaign.template, seen, settings)
            compiled[variant.language, shown] = made[written]
    return compiled


def compile_for(session: Session, campaign: Campaign, contact_id: int, language: Language, settings: Settings) -> Compiled:
    """What a person gets in a language (in Spanish where it has no text): the blocks for everybody and those for them."""
    by_language = {variant.language: variant for variant in campaign.variants}
    variant = variant_in(by_language.get(language) or by_language[Language.SPANISH])
    shown = audience.shown_to(session, rules_of(session, campaign), contact_id)
    return compile_variant(session, campaign.template, _seen(variant, only_for(campaign), shown), settings)


def _seen(variant: VariantIn, chosen: Sequence[int], shown: int) -> VariantIn:
    """A variant with the blocks that are for everybody, and those for the segments whose bits are set."""
    told = {None, *(segment_id for place, segment_id in enumerate(chosen) if shown >> place & 1)}
    return variant.model_copy(update={"blocks": [block for block in variant.blocks if block.only_for in told]})


def compile_variant(session: Session, template: str, variant: VariantIn, settings: Settings) -> Compiled:
    attached = {number: _attached(session, number, variant.blocks) for number in _named_in(variant)}
    return composing.compose(template, variant, attached, notice_url=links.notice_url(session, settings))


def _named_in(variant: VariantIn) -> set[int]:
    return {block.material for block in variant.blocks if hasattr(block, "material")}


def materials_shown(campaign: Campaign) -> dict[tuple[Language, int], list[int]]:
    """Ids of the materials that each of `compile_variants` carries."""
    chosen = only_for(campaign)
    return {
        (variant.language, shown): sorted(_named_in(_seen(variant, chosen, shown)))
        for variant in map(variant_in, campaign.variants)
        for shown in range(1 << len(chosen))
    }


def materials_of(campaign: Campaign) -> list[int]:
    """Ids of the materials that its blocks name, in any language."""
    named = {block["material"] for variant in campaign.variants for block in variant.blocks if "material" in block}
    return sorted(number for number in named if isinstance(number, int))


def review(session: Session, campaign: Campaign, settings: Settings) -> Review:
    """What it would do if it were sent now: who gets it, who does not and why, and what to mend first."""
    chosen = chosen_people(session, campaign, settings)
    tally = audience.tally(session, chosen)
    problems = [*_way_problems(settings)] if campaign.include else [_problem("audience_missing")]
    if waiting := _wait_for_what_it_follows(session, campaign):
        problems.append(_problem("correction_too_early", blocking=False, waiting=waiting))
    if campaign.include and not tally.recipients:
        problems.append(_problem("nobody_to_send"))
    shown_to = _shown_to(session, campaign, chosen)
    problems += [_problem("block_for_nobody", blocking=False, name=one.name) for one in shown_to if not one.people]
    sizes = [0]
    for stored in campaign.variants:
        variant = variant_in(stored)
        found = _content_problems(session, variant)
        if not any(problem.blocking for problem in found):
            compiled = compile_variant(session, campaign.template, variant, settings)
            sizes.append(compiled.size)
            found += _size_problems(compiled) + _value_problems(session, chosen, compiled)
            found += _consent_problems(session, campaign, compiled)
        problems += [problem.model_copy(update={"language": variant.language}) for problem in found]
    problems += _material_problem(campaign)
    return Review(
        recipients=tally.recipients,
        skipped=tally.skipped,
        cities=tally.cities,
        countries=tally.countries,
        bytes=max(sizes),
        problems=problems,
        audience=_audience_in_words(session, campaign),
        only_for=shown_to,
        version=campaign.version,
    )


def _shown_to(session: Session, campaign: Campaign, chosen: sa.Select[Any]) -> list[ShownTo]:
    asked = only_for(campaign)
    counted = zip(asked, audience.seen_by(session, chosen, len(asked)), strict=True)
    return [ShownTo(segment_id=number, name=segments.get(session, number).name, people=people) for number, people in counted]


def _wait_for_what_it_follows(session: Session, campaign: Campaign) -> int:
    """Of a campaign to who received a send: how many people that send will still reach, and this one would not."""
    rules = [segments.parse(segments.get(session, number).rule) for number in campaign.include]
    asked = [one for rule in rules for one in conditions_of(rule) if one.field == "sent_in" and not one.is_negative]
    ids = {int(value) for one in asked for value in one.values}
    going = sa.select(Send.id).where(Send.id.in_(ids), Send.state.in_(UNDER_WAY))
    open_states = (DeliveryState.PENDING, DeliveryState.SENDING, DeliveryState.DEFERRED)
    waiting = sa.select(sa.func.count()).where(Delivery.send_id.in_(going), Delivery.state.in_(open_states))
    return (session.scalar(waiting) or 0) if ids else 0


def chosen_people(session: Session, campaign: Campaign, settings: Settings) -> sa.Select[Any]:
    """Whom a campaign would reach now, as `audience.people`."""
    languages = [variant.language for variant in campaign.variants]
    return audience.people(
        session, rules_of(session, campaign), campaign.purpose, languages, relay_is_local=relays.is_local(settings)
    )


def _audience_in_words(session: Session, campaign: Campaign) -> list[str]:
    told = []
    for words, chosen in (("Se escribe a", campaign.include), ("Excepto a", campaign.exclude)):
        for segment_id in chosen:
            segment = segments.get(session, segment_id)
            rule = segments.parse(segment.rule)
            told.append(f"{words} «{segment.name}»: {segments.sentence(session, rule)}")
            told += segments.warnings(session, rule)
    return told


def _way_problems(settings: Settings) -> list[Problem]:
    """What would leave with every mail for good: links that nobody can open, a sender that is an example."""
    if relays.is_local(settings):
        return []
    problems = []
    if not settings.is_https or is_loopback(urlsplit(settings.public_url).hostname or ""):
        problems.append(_problem("base_url_not_public"))
    domain = parseaddr(settings.mail_from)[1].rpartition("@")[2].lower()
    if domain.removeprefix("www.") in {"example.org", "example.com", "example.net", ""} or domain.endswith(".example"):
        problems.append(_problem("sender_not_set"))
    return problems


# --- checks ---------------------------------------------------------------------------------------------------------------


def _check(session: Session, data: CampaignIn) -> None:
    """Refuse what could never be sent: names that mean nothing. What is only unfinished waits for `review`."""
    templates.get(data.template)
    languages = [variant.language for variant in data.variants]
    if len(set(languages)) < len(languages):
        raise InvalidInput("language_repeated", field="variants")
    if Language.SPANISH not in languages:
        raise InvalidInput("spanish_required", field="variants")
    for segment_id in (*data.audience.include, *data.audience.exclude):
        _must_exist(lambda number=segment_id: segments.get(session, number), "segment_not_found", "audience")
    if len(_only_for(data.variants)) > CONDITIONS_MOST:
        raise InvalidInput("too_many_conditions", field="variants")
    for position, variant in enumerate(data.variants):
        _check_variant(session, variant, f"variants.{position}")


def _check_variant(session: Session, variant: VariantIn, path: str) -> None:
    for number, block in enumerate(variant.blocks):
        if block.only_for is not None:
            where = f"{path}.blocks.{number}.only_for"
            _must_exist(lambda wanted=block.only_for: segments.get(session, wanted), "segment_not_found", where)
        if hasattr(block, "material"):
            _must_exist(
                lambda wanted=block.material: materials.get(session, wanted),
                "material_not_found",
                f"{path}.blocks.{number}.material",
            )
    try:
        for text in _texts(variant):
            fields.replace(text, lambda _use: "x")
        composing.compose("notice", variant.model_copy(update={"blocks": _without_materials(variant)}), {})
    except InvalidInput as error:
        error.field = error.field or path
        raise


def _must_exist(look_up: object, code: str, field: str) -> None:
    """What a body names and is not there is bad input, not a missing page."""
    try:
        look_up()  # type: ignore[operator]  # a lambda with its number bound
    except NotFound as error:
        raise InvalidInput(code, field=field) from error


def _without_materials(variant: VariantIn) -> list[AnyBlock]:
    return [block for block in variant.blocks if not hasattr(block, "material")]


def _texts(variant: VariantIn) -> list[str]:
    """Every text of a variant in which a merge field may stand."""
    texts = [variant.subject, variant.preheader]
    for block in variant.blocks:
        if isinstance(block, TextBlock | FactBlock):
            texts.append(block.body)
        elif isinstance(block, CoverBlock):
            texts += [block.title, block.kicker]
        elif isinstance(block, ButtonBlock):
            texts += [block.label, block.link]
        elif isinstance(block, ImageBlock) and block.link:
            texts.append(block.link)
    return texts


def _content_problems(session: Session, variant: VariantIn) -> list[Problem]:
    problems = [] if variant.subject else [_problem("subject_missing")]
    if _PLACEHOLDER.search(variant.subject):
        problems.append(_problem("placeholder_left"))
    if not variant.blocks:
        problems.append(_problem("blocks_missing"))
    for number, block in enumerate(variant.blocks):
        codes = [*_word_codes(block), *_link_codes(block)]
        if hasattr(block, "material"):
            codes += _material_codes(materials.get(session, block.material), block)
            if materials.get(session, block.material).language is not variant.language:
                problems.append(_problem("material_other_language", blocking=False).model_copy(update={"block": number}))
        problems += [_problem(code).model_copy(update={"block": number}) for code in codes]
        problems += _wording_problems(block, variant.language, number)
    unblocked = not any(problem.blocking for problem in problems)
    if variant.blocks and not any(text.strip() for text in _texts(variant)[2:]) and unblocked:
        problems.append(_problem("text_version_missing"))
    elif unblocked and _says_nothing_to_some(variant):
        problems.append(_problem("everybodys_text_missing"))
    return problems


def _says_nothing_to_some(variant: VariantIn) -> bool:
    """Whether who is in none of the segments of its blocks would get an empty mail."""
    common = _seen(variant, [], 0)
    return len(common.blocks) < len(variant.blocks) and not any(text.strip() for text in _texts(common)[2:])


def _wording_problems(block: AnyBlock, language: Language, number: int) -> list[Problem]:
    """What could be said better in a block: advice, which never blocks."""
    text = block.body if isinstance(block, TextBlock | FactBlock) else block.title if isinstance(block, CoverBlock) else ""
    told = wording.advice(text, language) if text and not _PLACEHOLDER.search(text) else []
    return [Problem(code=one.kind.value, sentence=one.sentence, blocking=False, block=number, language=language) for one in told]


def _material_codes(material: Material, block: AnyBlock) -> list[str]:
    if block.type == "attachment":
        return [] if material.file_sha256 else ["file_missing"]
    missing = list(materials.missing_texts(material))
    if block.type == "image" and material.mail_sha256 is None:
        missing.append("file_missing")
    return missing


def _word_codes(block: AnyBlock) -> list[str]:
    """What the words of a block lack: all of them, or those that the template only stood in for."""
    words = block.body if isinstance(block, TextBlock | FactBlock) else block.title if isinstance(block, CoverBlock) else None
    if words is None:
        return []
    return ["placeholder_left"] if _PLACEHOLDER.search(words) else [] if words.strip() else ["block_empty"]


def _link_codes(block: AnyBlock) -> list[str]:
    if isinstance(block, ButtonBlock) and not (block.link and block.label):
        return ["label_missing" if block.link else "link_missing"]
    links: list[str] = []
    if isinstance(block, TextBlock | FactBlock):
        links = markdown.links(fields.replace(block.body, lambda use: f"campo_{use.name}"))
    elif isinstance(block, ButtonBlock | ImageBlock) and block.link:
        links = [fields.replace(block.link, lambda use: f"campo_{use.name}")]
    own = {f"campo_{name}" for name in fields.PERSONAL_LINKS}
    bad = [link for link in links if not link.lower().startswith(("https://", "http://", "mailto:")) and link not in own]
    if any(link.lower() in {"https://", "http://"} for link in links):
        return ["link_missing"]
    return ["link_not_absolute"] if bad else []


def _material_problem(campaign: Campaign) -> list[Problem]:
    """Whether a mail that its template begins around a material has none."""
    told = templates.get(campaign.template).material
    blocks = {block.get("type") for variant in campaign.variants for block in variant.blocks}
    if told is None or told[0] in blocks:
        return []
    words = {"leaflet": "un tríptico", "video": "un video"}.get(told[1])  # an infographic's template does not announce it
    return [_problem("template_material_missing", blocking=False, kind=words)] if words else []


def _consent_problems(session: Session, campaign: Campaign, compiled: Compiled) -> list[Problem]:
    """A page that asks for consent shows a notice; a request without that page may ask for an answer by mail."""
    if fields.CONSENT_LINK in compiled.sources:
        return [] if privacy_notices.newest(session) else [_problem("notice_needed")]
    return [_problem("consent_link_missing", blocking=False)] if campaign.purpose is Purpose.CONSENT_REQUEST else []


def _size_problems(compiled: Compiled) -> list[Problem]:
    page = sum(len(piece) for piece in compiled.body if isinstance(piece, str) and "<" in piece and "base64" not in piece)
    problems = []
    if page > CLIP_BYTES:
        problems.append(_problem("html_clipped", blocking=False, kilobytes=page // 1000))
    if compiled.size > SIZE_LIMIT:
        problems.append(_problem("mail_too_large", megabytes=compiled.size // 2**20))
    return problems


def _value_problems(session: Session, chosen: sa.Select[tuple[object, ...]], compiled: Compiled) -> list[Problem]:
    """Holes that some people have no value for and staff wrote nothing instead."""
    bare = {hole.name for hole in compiled.holes if not hole.fallback} - fields.PERSONAL_LINKS - {"saludo"}
    if not bare:
        return []
    rows = session.execute(chosen).all()
    people = [(row.contact_id, Language(row.language)) for row in rows if row.reason is None and row.language == compiled.language]
    missing = dict.fromkeys(sorted(bare), 0)
    for start in range(0, len(people), 500):
        for values in fields.values_of(session, people[start : start + 500]).values():
            for name in bare - values.keys():
                missing[name] += 1
    return [_problem("value_missing", blocking=False, count=count, field=name) for name, count in missing.items() if count]


def _problem(code: str, *, blocking: bool = True, **details: object) -> Problem:
    return Problem(code=code, sentence=PROBLEMS[code].format(**details), blocking=blocking)


def _variant(data: VariantIn) -> CampaignVariant:
    return CampaignVariant(language=data.language, subject=data.subject, preheader=data.preheader, blocks=_blocks(data))


def _blocks(data: VariantIn) -> list[dict[str, object]]:
    return [block.model_dump(mode="json") for block in data.blocks]


def _attached(session: Session, material_id: int, blocks: list[AnyBlock]) -> Attached:
    material = materials.get(session, material_id)
    whole = any(block.type == "attachment" and block.material == material_id for block in blocks)
    body: bytes | None = None
    media_type = "application/octet-stream"
    if whole and material.file_sha256:
        stored = files.read(session, material.file_sha256)
        body, media_type = stored.body, stored.media_type
    elif material.mail_sha256 or material.thumbnail_sha256:
        body, media_type = materials.image_for_mail(session, material)
    return Attached(
        title=material.title,
        alt_text=material.alt_text,
        full_text=material.full_text,
        body=body,
        media_type=media_type,
        file_name=material.file_name or material.title,
        width=material.width,
        link=material.link,
    )
