"""notices of sends, and the trouble of a relay"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from crm.database import UtcDateTime

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

SEND_STATES = ("scheduled", "held", "sending", "paused", "done", "cancelled")
MAIL_STATES = ("waiting", "leaving", "accepted", "dropped")


def _choice(name: str, values: Sequence[str]) -> sa.Enum:
    return sa.Enum(*values, name=name, native_enum=False, create_constraint=True, length=40)


def upgrade() -> None:
    op.create_table(
        "notice",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("send_id", sa.Integer(), nullable=False),
        sa.Column("state", _choice("send_state", SEND_STATES), nullable=False),
        sa.Column("reason", sa.String(60), nullable=True),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("mail", _choice("notice_mail", MAIL_STATES), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("left_at", UtcDateTime(), nullable=True),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("seen_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["send_id"], ["send.id"], name="fk_notice_send_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_notice"),
    )
    op.create_index("ix_notice_send_id", "notice", ["send_id"])
    op.create_index("ix_notice_mail_due_at", "notice", ["mail", "due_at"])
    op.create_index("ix_notice_left_at", "notice", ["left_at"])
    with op.batch_alter_table("relay") as table:
        table.add_column(sa.Column("trouble", sa.String(60), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("relay") as table:
        table.drop_column("trouble")
    op.drop_table("notice")
