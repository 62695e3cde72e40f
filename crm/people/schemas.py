"""What comes in and goes out about people. Errors surface as pydantic's `ValidationError`; the doors translate them.

A text of one line is stripped and refuses control characters (`string_pattern_mismatch`). An empty optional text is None.
"""

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from crm.errors import SENTENCES
from crm.people.models import Channel, ConsentState, Language, LeaderSector, Purpose, RowStatus, Treatment

ONE_LINE = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]*$"
"""No control characters, line breaks or marks that turn the direction of what is read."""
SEVERAL_LINES = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"


def _none_if_empty(text: str | None) -> str | None:
    return text or None


Name = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200, pattern=ONE_LINE)]
_Title = Annotated[str, StringConstraints(strip_whitespace=True, max_length=60, pattern=ONE_LINE)]
_Borough = Annotated[str, StringConstraints(strip_whitespace=True, max_length=80, pattern=ONE_LINE)]
_Phone = Annotated[str, StringConstraints(strip_whitespace=True, max_length=40, pattern=ONE_LINE)]
_Organization = Annotated[str, StringConstraints(strip_whitespace=True, max_length=300, pattern=ONE_LINE)]
_Version = Annotated[str, StringConstraints(strip_whitespace=True, max_length=40, pattern=ONE_LINE)]
OptionalName = Annotated[Name | None, AfterValidator(_none_if_empty)]
OptionalTitle = Annotated[_Title | None, AfterValidator(_none_if_empty)]
OptionalBorough = Annotated[_Borough | None, AfterValidator(_none_if_empty)]
OptionalPhone = Annotated[_Phone | None, AfterValidator(_none_if_empty)]
OptionalOrganization = Annotated[_Organization | None, AfterValidator(_none_if_empty)]
OptionalVersion = Annotated[_Version | None, AfterValidator(_none_if_empty)]
AddressText = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=254, pattern=ONE_LINE)]
TagName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80, pattern=ONE_LINE)]
Evidence = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4000, pattern=SEVERAL_LINES)]


class ConsentIn(BaseModel):
    """What a person said about one purpose and channel, with its proof in words."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    purpose: Purpose
    channel: Channel = Channel.EMAIL
    state: ConsentState = ConsentState.GRANTED
    evidence: Evidence
    notice_version: OptionalVersion = None
    given_on: date | None = None


class ContactIn(BaseModel):
    """A person as told by a form, a spreadsheet's row or another tool; at least a name or an address (`name_required`)."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "given_names": "Ana",
                "first_surname": "Núñez",
                "second_surname": None,
                "emails": ["ana@example.org"],
                "city": "Los Ángeles",
                "country": "US",
                "language": "es",
                "tags": ["taller"],
                "leader_sectors": ["academia"],
                "consents": [{"purpose": "electoral_information", "evidence": "Hoja de registro del taller, 15 de enero de 2027"}],
            }
        },
    )

    given_names: Name = ""
    first_surname: Name = ""
    second_surname: OptionalName = None
    preferred_name: OptionalName = None
    treatment: Treatment | None = None
    academic_title: OptionalTitle = None
    language: Language | None = None
    phone: OptionalPhone = None
    emails: Annotated[list[AddressText], Field(max_length=20)] = []
    city: OptionalName = None
    """As typed; the gazetteer resolves it, and what it does not know is kept."""
    country: OptionalName = None
    """ISO 3166-1 alpha-2, or a name in Spanish or English."""
    home_borough: OptionalBorough = None
    tags: Annotated[list[TagName], Field(max_length=50)] = []
    leader_sectors: Annotated[list[LeaderSector], Field(max_length=4)] = []
    organization: OptionalOrganization = None
    post: OptionalName = None
    consents: Annotated[list[ConsentIn], Field(max_length=40)] = []
    source: OptionalName = None

    @model_validator(mode="after")
    def _says_who(self) -> Self:
        if not (self.given_names or self.first_surname or self.emails):
            raise PydanticCustomError("name_required", SENTENCES["name_required"])
        return self


class ContactPatch(BaseModel):
    """Changes of one contact: only the fields that are present; null or an empty list erases, lists replace."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"city": "Chicago", "country": "US", "tags": ["taller"]}}
    )

    given_names: Name | None = None
    first_surname: Name | None = None
    second_surname: OptionalName = None
    preferred_name: OptionalName = None
    treatment: Treatment | None = None
    academic_title: OptionalTitle = None
    language: Language | None = None
    phone: OptionalPhone = None
    emails: Annotated[list[AddressText], Field(max_length=20)] | None = None
    """The first one is preferred; addresses that are left out are retired."""
    city: OptionalName = None
    country: OptionalName = None
    home_borough: OptionalBorough = None
    tags: Annotated[list[TagName], Field(max_length=50)] | None = None
    leader_sectors: Annotated[list[LeaderSector], Field(max_length=4)] | None = None
    organization: OptionalOrganization = None
    post: OptionalName = None
    consents: Annotated[list[ConsentIn], Field(max_length=40)] | None = None
    """Added to the record, which is append-only."""
    source: OptionalName = None


class CityOut(BaseModel):
    id: int
    name: str
    country: str
    region: str
    zone: str


class EmailOut(BaseModel):
    address: str
    preferred: bool
    state: str
    """`ok`, or the reason for which it is never written to: unsubscribed, complained, bounced, erased."""


class ConsentOut(BaseModel):
    """What stands: the last word on a purpose and channel."""

    purpose: Purpose
    channel: Channel
    state: ConsentState
    recorded_at: datetime


class ContactOut(BaseModel):
    """A contact as staff and other tools see it; masked when the reader may not see addresses."""

    id: int
    given_names: str
    first_surname: str
    second_surname: str | None
    preferred_name: str | None
    treatment: Treatment | None
    academic_title: str | None
    display_name: str
    list_name: str
    language: Language
    phone: str | None
    city: CityOut | None
    city_as_typed: str | None
    country: str | None
    home_borough: str | None
    emails: list[EmailOut]
    tags: list[str]
    leader_sectors: list[LeaderSector]
    organization: str | None
    post: str | None
    consents: list[ConsentOut]
    mail_state: str
    source: str | None
    created_at: datetime
    changed_at: datetime
    version: int


class TagOut(BaseModel):
    id: int
    name: str
    contacts: int


@dataclass(frozen=True)
class Taken:
    """What became of one row that came in; ``code`` says why it was refused, ``warnings`` what to review."""

    status: RowStatus
    contact_id: int | None = None
    code: str | None = None
    warnings: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return {"status": self.status.value, "id": self.contact_id, "error": self.code, "warnings": self.warnings}
