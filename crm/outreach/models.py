"""Tables of outreach: so far the materials that the unit spreads."""

from datetime import date, datetime
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from crm import clock
from crm.database import PLAIN, Base, UtcDateTime, choice
from crm.history import Tracked
from crm.people.models import Language


class MaterialKind(StrEnum):
    INFOGRAPHIC = "infographic"
    LEAFLET = "leaflet"
    VIDEO = "video"
    DOCUMENT = "document"


class Material(Tracked, Base):
    """Something to spread: an infographic, a leaflet, a video by link. Alt text and full text make it accessible."""

    __tablename__ = "material"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[MaterialKind] = mapped_column(choice(MaterialKind), info=PLAIN)
    title: Mapped[str] = mapped_column(sa.String(200), info=PLAIN)
    edition: Mapped[str | None] = mapped_column(sa.String(60), info=PLAIN)
    language: Mapped[Language] = mapped_column(choice(Language), default=Language.SPANISH, info=PLAIN)
    alt_text: Mapped[str] = mapped_column(sa.Text, default="", info=PLAIN)
    """What the picture says in a sentence, for who does not see it."""
    full_text: Mapped[str] = mapped_column(sa.Text, default="", info=PLAIN)
    """The whole text that the picture shows (WCAG 2.2, 1.1.1)."""
    file_sha256: Mapped[str | None] = mapped_column(sa.ForeignKey("stored_file.sha256"), info=PLAIN)
    """The file as it was uploaded, without metadata."""
    mail_sha256: Mapped[str | None] = mapped_column(sa.ForeignKey("stored_file.sha256"), info=PLAIN)
    """The picture resized for mail."""
    thumbnail_sha256: Mapped[str | None] = mapped_column(sa.ForeignKey("stored_file.sha256"), info=PLAIN)
    file_name: Mapped[str | None] = mapped_column(sa.String(200), info=PLAIN)
    width: Mapped[int | None]
    height: Mapped[int | None]
    """Pixels of the picture for mail."""
    link: Mapped[str | None] = mapped_column(sa.String(1000), info=PLAIN)
    """Where a video is watched."""
    public_name: Mapped[str] = mapped_column(sa.String(64), unique=True, info=PLAIN | {"derived": True})
    """Random and unguessable: the name of its file on the public path."""
    is_public: Mapped[bool] = mapped_column(default=False)
    valid_until: Mapped[date | None]
    """The last day on which what it says holds; None while no one told any."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock.now)
