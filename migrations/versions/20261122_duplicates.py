"""pairs that may be one person, and records that were joined"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from crm.database import Json, UtcDateTime

revision: str = "0012"
down_revision: str | None = "0011"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

GRADES = ("certain", "probable", "possible")
STATES = ("open", "set_aside", "joined")


def _choice(name: str, values: Sequence[str]) -> sa.Enum:
    return sa.Enum(*values, name=name, native_enum=False, create_constraint=True, length=40)


def _contact(table: str, column: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], ["contact.id"], name=f"fk_{table}_{column}", ondelete="CASCADE")


def upgrade() -> None:
    # Not by a new table in place of the old one: dropping that would take addresses and consents with it.
    constraint = "CONSTRAINT fk_contact_merged_into_id REFERENCES contact (id)"
    op.execute(f"ALTER TABLE contact ADD COLUMN merged_into_id INTEGER {constraint}")
    op.create_index("ix_contact_merged_into_id", "contact", ["merged_into_id"])
    op.create_table(
        "likeness_key",
        sa.Column("key", sa.BigInteger(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("contact_id", sa.Integer(), nullable=False),
        _contact("likeness_key", "contact_id"),
        sa.PrimaryKeyConstraint("key", "place", "contact_id", name="pk_likeness_key"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_likeness_key_contact_id", "likeness_key", ["contact_id"])
    op.create_table(
        "duplicate_pair",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("low_id", sa.Integer(), nullable=False),
        sa.Column("high_id", sa.Integer(), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("grade", _choice("grade", GRADES), nullable=False),
        sa.Column("reasons", Json, nullable=False),
        sa.Column("state", _choice("pair_state", STATES), nullable=False),
        sa.Column("found_at", UtcDateTime(), nullable=False),
        sa.Column("decided_at", UtcDateTime(), nullable=True),
        sa.Column("decided_by_id", sa.Integer(), nullable=True),
        _contact("duplicate_pair", "low_id"),
        _contact("duplicate_pair", "high_id"),
        sa.PrimaryKeyConstraint("id", name="pk_duplicate_pair"),
        sa.UniqueConstraint("low_id", "high_id", name="uq_duplicate_pair_low_id_high_id"),
    )
    op.create_index("ix_duplicate_pair_high_id", "duplicate_pair", ["high_id"])
    op.create_index("ix_duplicate_pair_state_score_id", "duplicate_pair", ["state", "score", "id"])
    op.create_table(
        "joining",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kept_id", sa.Integer(), nullable=False),
        sa.Column("joined_id", sa.Integer(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("by_id", sa.Integer(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("snapshot", Json, nullable=True),
        sa.Column("undone_at", UtcDateTime(), nullable=True),
        sa.Column("undone_by_id", sa.Integer(), nullable=True),
        _contact("joining", "kept_id"),
        _contact("joining", "joined_id"),
        sa.PrimaryKeyConstraint("id", name="pk_joining"),
    )
    op.create_index("ix_joining_kept_id", "joining", ["kept_id"])
    op.create_index("ix_joining_joined_id", "joining", ["joined_id"])
    op.create_table(
        "comparing",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("asked_at", UtcDateTime(), nullable=True),
        sa.Column("began_at", UtcDateTime(), nullable=True),
        sa.Column("finished_at", UtcDateTime(), nullable=True),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_comparing"),
    )


def downgrade() -> None:
    for name in ("comparing", "joining", "duplicate_pair", "likeness_key"):
        op.drop_table(name)
    op.drop_index("ix_contact_merged_into_id", "contact")
    op.execute("ALTER TABLE contact DROP COLUMN merged_into_id")
