"""which materials each frozen content carries, instead of those of its send in any language"""

import html
import quopri
from base64 import encodebytes
from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

from crm.database import Json

revision: str = "0014"
down_revision: str | None = "0013"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

SEND = sa.table("send", sa.column("id", sa.Integer), sa.column("materials", Json))
CONTENT = sa.table("send_content", sa.column("id", sa.Integer), sa.column("send_id", sa.Integer), sa.column("compiled", Json))
MATERIAL = sa.table(
    "material",
    sa.column("id", sa.Integer),
    sa.column("title", sa.String),
    sa.column("link", sa.String),
    sa.column("file_sha256", sa.String),
    sa.column("mail_sha256", sa.String),
    sa.column("thumbnail_sha256", sa.String),
)
FILE = sa.table("stored_file", sa.column("sha256", sa.String), sa.column("body", sa.LargeBinary))
CARRIED = sa.table("content_material", sa.column("content_id", sa.Integer), sa.column("material_id", sa.Integer))


def upgrade() -> None:
    op.create_table(
        "content_material",
        sa.Column("content_id", sa.Integer(), nullable=False),
        sa.Column("material_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["content_id"], ["send_content.id"], name=op.f("fk_content_material_content_id_send_content"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["material_id"], ["material.id"], name=op.f("fk_content_material_material_id_material")),
        sa.PrimaryKeyConstraint("content_id", "material_id", name=op.f("pk_content_material")),
    )
    op.create_index(op.f("ix_content_material_material_id"), "content_material", ["material_id"])
    for content_id, material_id in list(_carried()):
        op.get_bind().execute(sa.insert(CARRIED).values(content_id=content_id, material_id=material_id))
    op.drop_column("send", "materials")


def downgrade() -> None:
    op.add_column("send", sa.Column("materials", Json, server_default="[]", nullable=False))
    joined = sa.join(CARRIED, CONTENT, CONTENT.c.id == CARRIED.c.content_id)
    of_send: dict[int, list[int]] = {}
    rows = op.get_bind().execute(sa.select(CONTENT.c.send_id, CARRIED.c.material_id).select_from(joined).distinct())
    for send_id, material_id in rows:
        of_send.setdefault(send_id, []).append(material_id)
    for send_id, ids in of_send.items():
        op.get_bind().execute(sa.update(SEND).where(SEND.c.id == send_id).values(materials=sorted(ids)))
    op.drop_table("content_material")


def _carried() -> Iterator[tuple[int, int]]:
    """Which contents of the sends so far carry which of their materials. One mail at a time: each may have megabytes."""
    known = set(op.get_bind().scalars(sa.select(MATERIAL.c.id)))
    for send_id, ids in op.get_bind().execute(sa.select(SEND.c.id, SEND.c.materials)).all():
        contents = op.get_bind().scalars(sa.select(CONTENT.c.id).where(CONTENT.c.send_id == send_id)).all() if ids else []
        for material_id in known & set(ids):
            found = [content_id for content_id in contents if _is_in(material_id, content_id)]
            # Where nothing proves which, they stay where they were told until now: in all.
            yield from ((content_id, material_id) for content_id in found or contents)


def _is_in(material_id: int, content_id: int) -> bool:
    """Whether a mail carries the very bytes of a material, or, of one without a file, names it by its link or title."""
    material = op.get_bind().execute(sa.select(MATERIAL).where(MATERIAL.c.id == material_id)).one()
    body = _body(content_id)
    digests = {material.file_sha256, material.mail_sha256, material.thumbnail_sha256} - {None}
    for digest in digests:
        stored = op.get_bind().scalar(sa.select(FILE.c.body).where(FILE.c.sha256 == digest))
        if stored and encodebytes(stored).replace(b"\n", b"\r\n").decode() in body:
            return True
    if digests:
        return False
    text = html.unescape(quopri.decodestring(body.encode()).decode(errors="replace"))
    return (material.link or material.title) in text


def _body(content_id: int) -> str:
    """The static runs of a mail as they are kept, encoded for SMTP; a line between them."""
    compiled: dict[str, Any] = op.get_bind().scalar(sa.select(CONTENT.c.compiled).where(CONTENT.c.id == content_id)) or {}
    return "\r\n".join(piece for piece in compiled.get("body", []) if isinstance(piece, str))
