"""notes, tasks and bulk actions"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from crm.database import UtcDateTime

revision: str = "0010"
down_revision: str | None = "0009"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

KINDS = ("add_tag", "remove_tag", "language", "task", "note", "block")


def upgrade() -> None:
    op.create_table(
        "note",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("contact_id", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=True),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("removed_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["contact_id"], ["contact.id"], name=op.f("fk_note_contact_id_contact"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_note")),
    )
    op.create_index(op.f("ix_note_contact_id"), "note", ["contact_id"])
    op.create_table(
        "task",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("contact_id", sa.Integer(), nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("due_on", sa.Date(), nullable=True),
        sa.Column("account_id", sa.Integer(), nullable=True),
        sa.Column("made_by_id", sa.Integer(), nullable=True),
        sa.Column("made_at", UtcDateTime(), nullable=False),
        sa.Column("done_at", UtcDateTime(), nullable=True),
        sa.Column("done_by_id", sa.Integer(), nullable=True),
        sa.Column("removed_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["contact_id"], ["contact.id"], name=op.f("fk_task_contact_id_contact"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_task")),
    )
    op.create_index(op.f("ix_task_contact_id"), "task", ["contact_id"])
    op.create_index(op.f("ix_task_account_id"), "task", ["account_id"])
    op.create_table(
        "bulk_action",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Enum(*KINDS, name="bulk_kind", native_enum=False, create_constraint=True, length=40), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("people", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("undone_at", UtcDateTime(), nullable=True),
        sa.Column("undone", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bulk_action")),
    )
    op.create_table(
        "bulk_action_person",
        sa.Column("bulk_action_id", sa.Integer(), nullable=False),
        sa.Column("contact_id", sa.Integer(), nullable=False),
        sa.Column("before", sa.String(40), nullable=True),
        sa.ForeignKeyConstraint(
            ["bulk_action_id"], ["bulk_action.id"], name=op.f("fk_bulk_action_person_bulk_action_id_bulk_action"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["contact_id"], ["contact.id"], name=op.f("fk_bulk_action_person_contact_id_contact"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("bulk_action_id", "contact_id", name=op.f("pk_bulk_action_person")),
    )
    op.create_index(op.f("ix_bulk_action_person_contact_id"), "bulk_action_person", ["contact_id"])


def downgrade() -> None:
    for table in ("bulk_action_person", "bulk_action", "task", "note"):
        op.drop_table(table)
