"""hourly and daily limits"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    with op.batch_alter_table("mail_settings") as table:
        table.add_column(sa.Column("per_hour", sa.Integer(), nullable=True))
        table.add_column(sa.Column("per_day", sa.Integer(), nullable=True))
    op.create_index("ix_attempt_at", "attempt", ["at"])


def downgrade() -> None:
    op.drop_index("ix_attempt_at", table_name="attempt")
    with op.batch_alter_table("mail_settings") as table:
        table.drop_column("per_day")
        table.drop_column("per_hour")
