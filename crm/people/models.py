"""Tables of people: places, contacts and their addresses, organizations, leaders, consent, suppression, imports."""

from datetime import date, datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

from crm import clock
from crm.database import PLAIN, Base, Json, Personal, UtcDateTime, choice, personal
from crm.history import Tracked


class Language(StrEnum):
    SPANISH = "es"
    ENGLISH = "en"


class Treatment(StrEnum):
    """How a person asked to be greeted; never inferred from the name."""

    ESTIMADA = "estimada"
    ESTIMADO = "estimado"
    NEUTRAL = "neutral"


class LeaderSector(StrEnum):
    COMMUNITY_DEVELOPMENT = "community_development"
    BUSINESS = "business"
    ACADEMIA = "academia"
    CULTURE = "culture"


class Purpose(StrEnum):
    """The closed catalogue of purposes that a person may consent to and a campaign must declare."""

    ELECTORAL_INFORMATION = "electoral_information"
    CIVIC_EDUCATION = "civic_education"
    EVENT_INVITATION = "event_invitation"
    NEWSLETTER = "newsletter"
    INSTITUTIONAL_LIAISON = "institutional_liaison"
    CONSENT_REQUEST = "consent_request"


class Channel(StrEnum):
    EMAIL = "email"
    WHATSAPP = "whatsapp"
    PHONE = "phone"


class ConsentState(StrEnum):
    GRANTED = "granted"
    REVOKED = "revoked"


class SuppressionReason(StrEnum):
    UNSUBSCRIBED = "unsubscribed"
    COMPLAINED = "complained"
    BOUNCED = "bounced"
    ERASED = "erased"


class OrganizationKind(StrEnum):
    HOMETOWN_FEDERATION = "hometown_federation"
    HOMETOWN_ASSOCIATION = "hometown_association"
    CONSULATE = "consulate"
    UNIVERSITY = "university"
    BUSINESS_NETWORK = "business_network"
    CULTURAL_GROUP = "cultural_group"
    PUBLIC_BODY = "public_body"
    OTHER = "other"


class City(Base):
    """A city that somebody of the Red lives in: taken from the gazetteer on first use, or added by hand."""

    __tablename__ = "city"

    id: Mapped[int] = mapped_column(primary_key=True)
    geoname_id: Mapped[int | None] = mapped_column(unique=True)
    name: Mapped[str] = mapped_column(sa.String(200), info=PLAIN)
    search_key: Mapped[str] = mapped_column(sa.String(200), index=True, info=PLAIN)
    country: Mapped[str] = mapped_column(sa.String(2), index=True, info=PLAIN)
    """ISO 3166-1 alpha-2."""
    region: Mapped[str] = mapped_column(sa.String(120), default="", info=PLAIN)
    """Name of the first-level division (state, province)."""
    region_code: Mapped[str] = mapped_column(sa.String(20), default="", info=PLAIN)
    latitude: Mapped[float]
    longitude: Mapped[float]
    zone: Mapped[str] = mapped_column(sa.String(64), info=PLAIN)
    """IANA name, never an offset."""
    consular_district: Mapped[str | None] = mapped_column(sa.String(120), info=PLAIN)


contact_tag = sa.Table(
    "contact_tag",
    Base.metadata,
    sa.Column("contact_id", sa.ForeignKey("contact.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("tag_id", sa.ForeignKey("tag.id", ondelete="CASCADE"), primary_key=True, index=True),
)


class Tag(Tracked, Base):
    __tablename__ = "tag"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(80), info=PLAIN)
    key: Mapped[str] = mapped_column(sa.String(80), unique=True, info=PLAIN)
    """`search_key` of the name: `Taller` and `taller` are one tag."""


class Contact(Tracked, Base):
    """A person of the Red."""

    __tablename__ = "contact"

    id: Mapped[int] = mapped_column(primary_key=True)
    given_names: Mapped[str] = mapped_column(sa.String(200), default="", info=personal(Personal.IDENTITY))
    first_surname: Mapped[str] = mapped_column(sa.String(200), default="", info=personal(Personal.IDENTITY))
    second_surname: Mapped[str | None] = mapped_column(sa.String(200), info=personal(Personal.IDENTITY))
    preferred_name: Mapped[str | None] = mapped_column(sa.String(200), info=personal(Personal.IDENTITY))
    treatment: Mapped[Treatment | None] = mapped_column(choice(Treatment), info=personal(Personal.IDENTITY))
    academic_title: Mapped[str | None] = mapped_column(sa.String(60), info=personal(Personal.IDENTITY))
    language: Mapped[Language] = mapped_column(choice(Language), default=Language.SPANISH, info=personal(Personal.IDENTITY))
    phone: Mapped[str | None] = mapped_column(sa.String(40), info=personal(Personal.CONTACT))
    city_id: Mapped[int | None] = mapped_column(sa.ForeignKey("city.id"), index=True, info=personal(Personal.LOCATION))
    city_as_typed: Mapped[str | None] = mapped_column(sa.String(200), info=personal(Personal.LOCATION))
    """What was written when the city could not be told; the contact waits in the list to review."""
    country: Mapped[str | None] = mapped_column(sa.String(2), index=True, info=personal(Personal.LOCATION))
    """ISO 3166-1 alpha-2: that of the city, or as typed when the city is unknown."""
    home_borough: Mapped[str | None] = mapped_column(sa.String(80), info=personal(Personal.LOCATION))
    """Alcaldía de origen."""
    source: Mapped[str | None] = mapped_column(sa.String(200), info=PLAIN)
    import_id: Mapped[int | None] = mapped_column(sa.ForeignKey("import.id"), index=True)
    """The import that created this contact."""
    sort_key: Mapped[str] = mapped_column(sa.String(700), info=personal(Personal.IDENTITY) | {"derived": True})
    search_key: Mapped[str] = mapped_column(sa.Text, info=personal(Personal.IDENTITY) | {"derived": True})
    """Names, active addresses and posts folded by `database.search_key`, so that one condition searches them all."""
    blocked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """Bloqueo: out of every list and send until it is erased (the step before supresión)."""
    merged_into_id: Mapped[int | None] = mapped_column(sa.ForeignKey("contact.id"), index=True)
    """The record that this one was joined into, at the end of the chain: out of every list and send, its history told there."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock.now)
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock.now, onupdate=clock.now, info={"derived": True})
    version: Mapped[int] = mapped_column(default=1, info={"derived": True})

    city: Mapped[City | None] = relationship(lazy="raise_on_sql")
    addresses: Mapped[list["EmailAddress"]] = relationship(
        lazy="raise_on_sql", order_by="EmailAddress.id", back_populates="contact"
    )
    tags: Mapped[list[Tag]] = relationship(secondary=contact_tag, lazy="raise_on_sql", order_by=Tag.key)
    leader_roles: Mapped[list["LeaderRole"]] = relationship(lazy="raise_on_sql", order_by="LeaderRole.id")
    posts: Mapped[list["Post"]] = relationship(lazy="raise_on_sql", order_by="Post.id")
    consents: Mapped[list["Consent"]] = relationship(lazy="raise_on_sql", order_by="Consent.id")

    __table_args__ = (sa.Index("ix_contact_sort_key_id", "sort_key", "id"),)
    __mapper_args__ = {"version_id_col": version}


def visible() -> sa.ColumnElement[bool]:
    """Contacts that exist for everyone: neither blocked nor joined into another record."""
    return sa.and_(Contact.blocked_at.is_(None), Contact.merged_into_id.is_(None))


def kept_id(contact: Any = Contact) -> sa.ColumnElement[int]:
    """The id of a record, or of the one that it was joined into: whoever counts people counts these."""
    return sa.func.coalesce(contact.merged_into_id, contact.id)


def unblocked() -> sa.ColumnElement[bool]:
    """Records whose data may be told, those joined into another too: what they received is told by their name."""
    return Contact.blocked_at.is_(None)


class EmailAddress(Tracked, Base):
    """An address of a person. One address is of one person at a time; a retired one stays for the record."""

    __tablename__ = "email_address"
    history_root = ("contact", "contact_id")

    id: Mapped[int] = mapped_column(primary_key=True)
    contact_id: Mapped[int] = mapped_column(sa.ForeignKey("contact.id", ondelete="CASCADE"), index=True)
    address: Mapped[str] = mapped_column(sa.String(254), info=personal(Personal.CONTACT))
    key: Mapped[str] = mapped_column(sa.String(254), info=personal(Personal.CONTACT) | {"derived": True})
    """Casefolded, with the domain in ASCII: two spellings that reach one mailbox are one key."""
    suppression_hash: Mapped[str] = mapped_column(sa.String(64), index=True, info=PLAIN | {"derived": True})
    """Keyed hash of ``key``: what the list of suppressions is matched against."""
    is_preferred: Mapped[bool] = mapped_column(default=False)
    retired_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock.now)

    contact: Mapped[Contact] = relationship(lazy="raise_on_sql", back_populates="addresses")
    suppressions: Mapped[list["Suppression"]] = relationship(
        primaryjoin="foreign(EmailAddress.suppression_hash) == remote(Suppression.address_hash)",
        viewonly=True,
        uselist=True,
        lazy="raise_on_sql",
        order_by="Suppression.id",
    )
    """Why it is never written to, if it is not."""

    __table_args__ = (
        sa.Index(
            "uq_email_address_key_active",
            "key",
            unique=True,
            sqlite_where=sa.text("retired_at IS NULL"),
            postgresql_where=sa.text("retired_at IS NULL"),
        ),
    )


class Organization(Tracked, Base):
    __tablename__ = "organization"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(300), info=PLAIN)
    key: Mapped[str] = mapped_column(sa.String(300), unique=True, info=PLAIN | {"derived": True})
    kind: Mapped[OrganizationKind] = mapped_column(choice(OrganizationKind), default=OrganizationKind.OTHER, info=PLAIN)
    parent_id: Mapped[int | None] = mapped_column(sa.ForeignKey("organization.id"))
    city_id: Mapped[int | None] = mapped_column(sa.ForeignKey("city.id"))


class Post(Tracked, Base):
    """What a person is in an organization, with the title as it was held."""

    __tablename__ = "post"
    history_root = ("contact", "contact_id")

    id: Mapped[int] = mapped_column(primary_key=True)
    contact_id: Mapped[int] = mapped_column(sa.ForeignKey("contact.id", ondelete="CASCADE"), index=True)
    organization_id: Mapped[int] = mapped_column(sa.ForeignKey("organization.id"), index=True, info=personal(Personal.POST))
    title: Mapped[str | None] = mapped_column(sa.String(200), info=personal(Personal.POST))
    since: Mapped[date | None]
    until: Mapped[date | None]

    organization: Mapped[Organization] = relationship(lazy="raise_on_sql")


class LeaderRole(Tracked, Base):
    """Leadership in one of the four sectors of the Red."""

    __tablename__ = "leader_role"
    history_root = ("contact", "contact_id")

    id: Mapped[int] = mapped_column(primary_key=True)
    contact_id: Mapped[int] = mapped_column(sa.ForeignKey("contact.id", ondelete="CASCADE"), index=True)
    sector: Mapped[LeaderSector] = mapped_column(choice(LeaderSector), info=personal(Personal.POST))
    scope: Mapped[str | None] = mapped_column(sa.String(200), info=personal(Personal.POST))
    since: Mapped[date | None]
    until: Mapped[date | None]


class Note(Tracked, Base):
    """Something that the team wants to remember of a person."""

    __tablename__ = "note"
    history_root = ("contact", "contact_id")

    id: Mapped[int] = mapped_column(primary_key=True)
    contact_id: Mapped[int] = mapped_column(sa.ForeignKey("contact.id", ondelete="CASCADE"), index=True)
    text: Mapped[str] = mapped_column(sa.Text, info=personal(Personal.ACTIVITY))
    account_id: Mapped[int | None]
    """Who wrote it."""
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock.now)
    removed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """Taken away on a page; it can be put back."""


class Task(Tracked, Base):
    """Something to be done by a day, about a person or about none."""

    __tablename__ = "task"
    history_root = ("contact", "contact_id")

    id: Mapped[int] = mapped_column(primary_key=True)
    contact_id: Mapped[int | None] = mapped_column(sa.ForeignKey("contact.id", ondelete="CASCADE"), index=True)
    text: Mapped[str] = mapped_column(sa.Text, info=personal(Personal.ACTIVITY))
    due_on: Mapped[date | None]
    account_id: Mapped[int | None] = mapped_column(index=True)
    """Whose it is; None: anybody's."""
    made_by_id: Mapped[int | None]
    made_at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock.now)
    done_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    done_by_id: Mapped[int | None]
    removed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """As `Note.removed_at`."""


class BulkKind(StrEnum):
    ADD_TAG = "add_tag"
    REMOVE_TAG = "remove_tag"
    LANGUAGE = "language"
    TASK = "task"
    NOTE = "note"
    BLOCK = "block"


class BulkAction(Tracked, Base):
    """One thing done to many people at once, and the way back."""

    __tablename__ = "bulk_action"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[BulkKind] = mapped_column(choice(BulkKind), info=PLAIN)
    value: Mapped[str] = mapped_column(sa.Text, info=personal(Personal.ACTIVITY) | {"derived": True})
    """The tag, the language, or the text of the task or note: that one only until it is undone, and never in the log of the action,
    as the log of each person has it."""
    people: Mapped[int] = mapped_column(default=0, info={"derived": True})
    """How many it changed; who needed no change is not among them."""
    account_id: Mapped[int]
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock.now)
    undone_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    undone: Mapped[int | None] = mapped_column(info={"derived": True})
    """How many it took back; the others were changed since."""


class BulkActionPerson(Base):
    """A person whom a bulk action changed."""

    __tablename__ = "bulk_action_person"

    bulk_action_id: Mapped[int] = mapped_column(sa.ForeignKey("bulk_action.id", ondelete="CASCADE"), primary_key=True)
    contact_id: Mapped[int] = mapped_column(sa.ForeignKey("contact.id", ondelete="CASCADE"), primary_key=True, index=True)
    before: Mapped[str | None] = mapped_column(sa.String(40), info=PLAIN)
    """The language that it was before; the id of the task or note that was made."""


class PrivacyNotice(Tracked, Base):
    """A version of the privacy notice, as it was shown."""

    __tablename__ = "privacy_notice"

    id: Mapped[int] = mapped_column(primary_key=True)
    version: Mapped[str] = mapped_column(sa.String(40), unique=True, info=PLAIN)
    url: Mapped[str | None] = mapped_column(sa.String(500), info=PLAIN)
    text: Mapped[str] = mapped_column(sa.Text, default="", info=PLAIN)
    """The short one (aviso simplificado), shown where data or a consent are asked for."""
    text_en: Mapped[str] = mapped_column(sa.Text, default="", info=PLAIN)
    """The same in English, for who reads that; empty: they are shown the Spanish one."""
    full_text: Mapped[str] = mapped_column(sa.Text, default="", info=PLAIN)
    """The complete one (aviso integral)."""
    valid_from: Mapped[date | None]


class PurposeRule(Tracked, Base):
    """Whether people of whom no consent is recorded may receive mails of a purpose. No row: the rule as shipped."""

    __tablename__ = "purpose_rule"

    id: Mapped[int] = mapped_column(primary_key=True)
    purpose: Mapped[Purpose] = mapped_column(choice(Purpose), unique=True, info=PLAIN)
    legacy_may_receive: Mapped[bool]
    ground: Mapped[str] = mapped_column(sa.Text, info=PLAIN)
    """The written ground of the privacy role."""


class Consent(Base):
    """What a person said about one purpose and channel, with its proof. Append-only: the last row speaks."""

    __tablename__ = "consent"

    id: Mapped[int] = mapped_column(primary_key=True)
    contact_id: Mapped[int] = mapped_column(sa.ForeignKey("contact.id", ondelete="CASCADE"))
    purpose: Mapped[Purpose] = mapped_column(choice(Purpose), info=personal(Personal.CONSENT))
    channel: Mapped[Channel] = mapped_column(choice(Channel), info=personal(Personal.CONSENT))
    state: Mapped[ConsentState] = mapped_column(choice(ConsentState), info=personal(Personal.CONSENT))
    evidence: Mapped[str] = mapped_column(sa.Text, info=personal(Personal.CONSENT))
    """Proof in words: where, when and how it was given or revoked."""
    notice_version: Mapped[str | None] = mapped_column(sa.String(40), info=PLAIN)
    source: Mapped[str] = mapped_column(sa.String(60), info=PLAIN)
    """`import`, `api`, `page`, `unsubscribe`, `staff`."""
    import_id: Mapped[int | None] = mapped_column(sa.ForeignKey("import.id"), index=True)
    given_on: Mapped[date | None]
    """The day the person said it, when it is not the day it was recorded."""
    recorded_at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock.now)
    actor_kind: Mapped[str | None] = mapped_column(sa.String(20), info=PLAIN)
    actor_id: Mapped[int | None]

    __table_args__ = (sa.Index("ix_consent_contact_id_purpose_channel_id", "contact_id", "purpose", "channel", "id"),)


class Suppression(Base):
    """An address that must not be written to, by keyed hash, apart from the contact: no import revives anyone."""

    __tablename__ = "suppression"

    id: Mapped[int] = mapped_column(primary_key=True)
    address_hash: Mapped[str] = mapped_column(sa.String(64), index=True, info=PLAIN)
    key_fingerprint: Mapped[str] = mapped_column(sa.String(16), info=PLAIN)
    """Which key made the hash: without that key nothing is sent."""
    reason: Mapped[SuppressionReason] = mapped_column(choice(SuppressionReason), info=PLAIN)
    happened_on: Mapped[date]
    proof: Mapped[str] = mapped_column(sa.Text, info=personal(Personal.CONSENT))
    recorded_at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock.now)
    actor_kind: Mapped[str | None] = mapped_column(sa.String(20), info=PLAIN)
    actor_id: Mapped[int | None]

    __table_args__ = (sa.UniqueConstraint("address_hash", "reason"),)


class SuppressionLift(Base):
    """A bounce that a person lifted: no journal of another machine brings it back."""

    __tablename__ = "suppression_lift"

    id: Mapped[int] = mapped_column(primary_key=True)
    address_hash: Mapped[str] = mapped_column(sa.String(64), index=True, info=PLAIN)
    lifted_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Installation(Base):
    """Which keys this database was written with: one row, made by the first start. See `installation.unlock`."""

    __tablename__ = "installation"

    id: Mapped[int] = mapped_column(primary_key=True)
    """Always 1."""
    suppression_fingerprint: Mapped[str] = mapped_column(sa.String(16), info=PLAIN)
    links_fingerprint: Mapped[str] = mapped_column(sa.String(16), info=PLAIN)
    """Of the oldest key of the ring: newer ones may come, that one may not go."""


class ImportState(StrEnum):
    UPLOADED = "uploaded"
    """A file given on a page: nothing is known yet of what it would do."""
    CHECKED = "checked"
    """Tried as it is described now; nothing is taken in yet."""
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class RowStatus(StrEnum):
    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    REFUSED = "refused"


class Import(Tracked, Base):
    """One spreadsheet taken in: its file, its basis, how far it got."""

    __tablename__ = "import"

    id: Mapped[int] = mapped_column(primary_key=True)
    file_name: Mapped[str] = mapped_column(sa.String(255), info=PLAIN)
    sha256: Mapped[str] = mapped_column(sa.String(64), index=True, info=PLAIN)
    state: Mapped[ImportState] = mapped_column(choice(ImportState), default=ImportState.RUNNING, info=PLAIN)
    purposes: Mapped[list[str]] = mapped_column(Json, default=list, info=PLAIN)
    """Purposes that the file's people agreed to, stated once for the file; empty: they are `legacy`."""
    evidence: Mapped[str | None] = mapped_column(sa.Text, info=PLAIN)
    agreed_on: Mapped[date | None]
    notice_version: Mapped[str | None] = mapped_column(sa.String(40), info=PLAIN)
    columns: Mapped[dict[str, Any]] = mapped_column(Json, default=dict, info=PLAIN)
    """``{"field": "header of the column"}``."""
    headers: Mapped[list[str]] = mapped_column(Json, default=list, info=PLAIN | {"derived": True})
    """What each column of the file is called, in its order; empty until the file is checked or taken in."""
    rows_done: Mapped[int] = mapped_column(default=0, info={"derived": True})
    """Rows of the file already taken in: a run that was cut goes on after them."""
    counts: Mapped[dict[str, int]] = mapped_column(Json, default=dict, info=PLAIN | {"derived": True})
    """``{"created": n, "updated": n, "unchanged": n, "refused": n}``."""
    started_at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock.now)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime, info={"derived": True})
    keeps_file: Mapped[bool] = mapped_column(default=False, info={"derived": True})
    """Whether the file is stored, under `sha256`, for a worker to take in: until the import ends."""
    sheet: Mapped[str | None] = mapped_column(sa.String(255), info=PLAIN)
    """The sheet of the workbook; None: the first one that is seen."""
    chosen: Mapped[list[str | None] | None] = mapped_column(Json, info=PLAIN)
    """The field of each column as a person corrected it; None: as the headers tell."""
    rules: Mapped[dict[str, str]] = mapped_column(Json, default=dict, info=PLAIN)
    """What a column does to people who are known, by its field: `replace` or `keep`; of the others it fills what is empty."""
    source: Mapped[str | None] = mapped_column(sa.String(120), info=PLAIN)
    """Whose list it is, as a person calls it: «Consulado en Dallas, lista mensual». Its newest list says how the next is read."""
    encoding: Mapped[str | None] = mapped_column(sa.String(20), info=PLAIN)
    """How the letters of a text are read, as a person told (`delimited.ENCODINGS`); None: as its bytes tell."""
    header_row: Mapped[int | None]
    """The number of the row that names the columns, as a person told; None: as the words of the rows tell."""
    checked: Mapped[dict[str, Any] | None] = mapped_column(Json, info=personal(Personal.IDENTITY) | {"derived": True})
    """What the last check of the page told. Until the list is taken in or given up, also the beginning of its first rows to mend
    or review: see `uploads.try_out`."""
    ordered_by_id: Mapped[int | None]
    """The account that confirmed it on a page."""
    generation: Mapped[int] = mapped_column(default=0, info={"derived": True})
    """Raised whenever it is due again after its job ended: see `crm.jobs`."""
    failure: Mapped[str | None] = mapped_column(sa.String(60), info=PLAIN)
    """The code of `errors.py` that says why it could not go on."""
    undone_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    undone: Mapped[dict[str, int] | None] = mapped_column(Json, info=PLAIN)
    """How many people were taken back, and how many stayed: see `import_results.Undoing`."""


class ImportRow(Base):
    """What became of one row of a spreadsheet, and why."""

    __tablename__ = "import_row"

    id: Mapped[int] = mapped_column(primary_key=True)
    import_id: Mapped[int] = mapped_column(sa.ForeignKey("import.id", ondelete="CASCADE"))
    number: Mapped[int]
    """The row's number as the spreadsheet shows it (the header is row 1)."""
    status: Mapped[RowStatus] = mapped_column(choice(RowStatus), info=PLAIN)
    contact_id: Mapped[int | None] = mapped_column(sa.ForeignKey("contact.id", ondelete="SET NULL"), index=True)
    code: Mapped[str | None] = mapped_column(sa.String(60), info=PLAIN)
    """The code of `errors.py` that says why it was refused, or what to review."""
    field: Mapped[str | None] = mapped_column(sa.String(60), info=PLAIN)
    """The field of the column at fault."""
    more: Mapped[list[list[str | None]]] = mapped_column(Json, default=list, info=PLAIN)
    """What else there is to say of it, as ``[code, field]``."""
    values: Mapped[dict[str, Any] | None] = mapped_column(Json, info=personal(Personal.IDENTITY))
    """The row as it came, kept only when it was refused or needs review, so that nothing is lost."""

    __table_args__ = (sa.UniqueConstraint("import_id", "number"),)
