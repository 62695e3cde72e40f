"""backups, where the database lives, sends that may have left before a restore"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from crm.database import UtcDateTime

revision: str = "0011"
down_revision: str | None = "0010"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

STATES = ("waiting", "done", "failed")


def upgrade() -> None:
    op.create_table(
        "backup",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("asked_at", UtcDateTime(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=True),
        sa.Column("state", sa.Enum(*STATES, name="backup_state", native_enum=False, create_constraint=True, length=40), nullable=False),
        sa.Column("finished_at", UtcDateTime(), nullable=True),
        sa.Column("machine", sa.String(60), nullable=True),
        sa.Column("path", sa.String(1000), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("sha256", sa.String(64), nullable=True),
        sa.Column("failure", sa.String(60), nullable=True),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_backup"),
    )
    op.create_table(
        "place",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("beats", sa.Integer(), nullable=True),
        sa.Column("location", sa.String(1500), nullable=False),
        sa.Column("seen_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_place"),
    )
    op.add_column("send", sa.Column("may_have_left", sa.Boolean(), server_default=sa.false(), nullable=False))
    if op.get_bind().dialect.name == "sqlite":  # the table in which SQLite keeps ids comes with the first that asks for it
        op.execute("CREATE TABLE _numbered (id INTEGER PRIMARY KEY AUTOINCREMENT)")
        op.execute("DROP TABLE _numbered")


def downgrade() -> None:
    op.drop_column("send", "may_have_left")
    op.drop_table("place")
    op.drop_table("backup")
