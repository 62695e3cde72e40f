"""warm-up of a new relay"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    with op.batch_alter_table("mail_settings") as table:
        table.add_column(sa.Column("warm_up_since", sa.Date(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("mail_settings") as table:
        table.drop_column("warm_up_since")
