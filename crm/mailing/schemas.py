"""What comes in and goes out of mailing: campaigns, their blocks, sends and deliveries."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from crm.mailing.models import ContentClass, DeliveryState, Outcome, SendMode, SendState
from crm.people.models import Language, Purpose

Line = Annotated[str, StringConstraints(strip_whitespace=True, max_length=300, pattern=r"^[^\x00-\x1f\x7f\u2028\u2029]*$")]
"""One line of text: a control character in it could forge a header of a mail."""
Text = Annotated[str, StringConstraints(max_length=20_000, pattern=r"^[^\x00]*$")]
Link = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True, max_length=1000, pattern=r"^[^\x00-\x20\x7f<>\"]*(\{\{[^{}\x00-\x1f\"]*\}\}[^\x00-\x20\x7f<>\"]*)*$"
    ),
]
"""An address that a button leads to; it may hold merge fields."""
RowId = Annotated[int, Field(ge=1, lt=2**31)]


CONDITIONS_MOST = 4
"""Segments that single blocks of a campaign may be for: twice as many variants with each."""


class Block(BaseModel):
    model_config = ConfigDict(extra="forbid")

    only_for: RowId | None = None
    """The segment whose people see it; without one everybody does."""


class CoverBlock(Block):
    """A heading on the colour of the house."""

    type: Literal["cover"]
    title: Line
    kicker: Line = ""


class TextBlock(Block):
    """Markdown: paragraphs, emphasis, lists, links."""

    type: Literal["text"]
    body: Text


class ImageBlock(Block):
    """A picture of the materials, with its alternative text."""

    type: Literal["image"]
    material: RowId
    link: Link | None = None


class AttachmentBlock(Block):
    """The file of a material as an attachment."""

    type: Literal["attachment"]
    material: RowId


class ButtonBlock(Block):
    type: Literal["button"]
    label: Line
    link: Link


class FactBlock(Block):
    """A framed fact: the date and place of a workshop."""

    type: Literal["fact"]
    body: Text


class VideoBlock(Block):
    """The thumbnail of a video, linked to where it is watched."""

    type: Literal["video"]
    material: RowId


class DividerBlock(Block):
    type: Literal["divider"]


AnyBlock = Annotated[
    CoverBlock | TextBlock | ImageBlock | AttachmentBlock | ButtonBlock | FactBlock | VideoBlock | DividerBlock,
    Field(discriminator="type"),
]


class Audience(BaseModel):
    """Whoever is in any segment of ``include`` and in none of ``exclude``."""

    model_config = ConfigDict(extra="forbid")

    include: list[RowId] = Field(default_factory=list, max_length=50)
    exclude: list[RowId] = Field(default_factory=list, max_length=50)


class VariantIn(BaseModel):
    """The text of a campaign in one language."""

    model_config = ConfigDict(extra="forbid")

    language: Language
    subject: Line
    preheader: Line = ""
    blocks: list[AnyBlock] = Field(default_factory=list, max_length=60)


class CampaignIn(BaseModel):
    """A campaign as it is written; ``content_class`` is that of the template when it is left out."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[Line, Field(min_length=1, max_length=200)]
    template: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,59}$")]
    purpose: Purpose
    content_class: ContentClass | None = None
    audience: Audience = Field(default_factory=Audience)
    variants: list[VariantIn] = Field(min_length=1, max_length=2)


class VariantOut(BaseModel):
    language: Language
    subject: str
    preheader: str
    blocks: list[AnyBlock]


class CampaignOut(BaseModel):
    id: int
    name: str
    template: str
    purpose: Purpose
    content_class: ContentClass
    audience: Audience
    variants: list[VariantOut]
    created_at: datetime
    changed_at: datetime
    version: int


class Problem(BaseModel):
    """Something to mend before sending, or to know (``blocking`` false)."""

    code: str
    sentence: str
    blocking: bool
    language: Language | None = None
    block: int | None = None
    """Position of the block, from 0."""


class ShownTo(BaseModel):
    """Of those who get a campaign, how many see its blocks for a segment."""

    segment_id: int
    name: str
    people: int


class Review(BaseModel):
    """What a campaign would do if it were sent now."""

    recipients: int
    skipped: dict[str, int]
    """Reason of `SkipReason` to people."""
    cities: int
    countries: int
    bytes: int
    """Size of the largest variant as a whole mail."""
    problems: list[Problem]
    audience: list[str]
    """Each segment in a sentence, those left out included, with what looks mistaken."""
    only_for: list[ShownTo]
    """The segments that single blocks are for."""
    version: int
    """Of the campaign as it was reviewed: `SendIn.version` makes sure that this is what leaves."""


class When(BaseModel):
    """Now, or at an instant that says its zone."""

    model_config = ConfigDict(extra="forbid")

    mode: SendMode
    at: AwareDatetime | None = None


class SendIn(BaseModel):
    """An order to send. ``confirmed_count`` is the number of people that whoever orders it saw and accepts."""

    model_config = ConfigDict(extra="forbid")

    when: When
    confirmed_count: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    undo_seconds: int = Field(default=0, ge=0, le=3600)
    version: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    """Of the campaign that was reviewed; another one refuses the order."""
    again: bool = False
    """Send the same campaign once more, though it was already ordered."""


class Counts(BaseModel):
    """People by state; they sum to the audience. ``pending`` includes the mails that are leaving at this moment."""

    pending: int = 0
    sent: int = 0
    deferred: int = 0
    failed: int = 0
    in_doubt: int = 0
    skipped: int = 0

    @property
    def total(self) -> int:
        return self.pending + self.sent + self.deferred + self.failed + self.in_doubt + self.skipped


class SendOut(BaseModel):
    id: int
    campaign_id: int
    state: SendState
    reason: str | None
    sentence: str | None
    """The reason in Spanish and what to do."""
    mode: SendMode
    starts_at: datetime
    confirmed_count: int
    would_reach: int | None
    """Held because the audience grew: how many it would reach now."""
    counts: Counts
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class DeliveryOut(BaseModel):
    contact_id: int
    address: str | None
    state: DeliveryState
    """`sending` is told as `pending`."""
    reason: str | None
    sentence: str | None
    """The reason in Spanish."""
    message_id: str | None
    smtp_reply: str | None
    at: datetime | None
    attempts: int
    outcome: Outcome | None


class FieldOut(BaseModel):
    """A merge field of the texts."""

    name: str
    label: str
    example: str
    kind: Literal["text", "link"]


class TemplateOut(BaseModel):
    name: str
    title: str
    description: str
    languages: list[Language]
    purpose: Purpose
    content_class: ContentClass
    fields: list[FieldOut]


class PreviewIn(BaseModel):
    """As whom to see a campaign; in their own language unless another is asked for."""

    model_config = ConfigDict(extra="forbid")

    contact_id: RowId
    language: Language | None = None


class PreviewOut(BaseModel):
    """A mail as that person would see it, with the links of no one."""

    model_config = ConfigDict(from_attributes=True)

    subject: str
    html: str
    text: str
    size: int


class TrialIn(BaseModel):
    """A test mail to the address of an account; written as ``contact_id`` or as the first person of the audience."""

    model_config = ConfigDict(extra="forbid")

    to: Annotated[str, StringConstraints(strip_whitespace=True, max_length=254, pattern=r"^[^\x00-\x20\x7f]+$")]
    contact_id: RowId | None = None
    language: Language | None = None


class TrialOut(BaseModel):
    """Whether the server accepted the test, and if not, why."""

    accepted: bool
    reason: str
    sentence: str
