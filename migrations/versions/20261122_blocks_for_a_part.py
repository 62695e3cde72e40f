"""blocks for a part of the audience"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

ONE_EACH = "uq_send_content_send_id_language"
ONE_EACH_SHOWN = "uq_send_content_send_id_language_shown"


def upgrade() -> None:
    with op.batch_alter_table("delivery") as table:
        table.add_column(sa.Column("shown", sa.Integer(), server_default="0", nullable=False))
    with op.batch_alter_table("send_content") as table:
        table.add_column(sa.Column("shown", sa.Integer(), server_default="0", nullable=False))
        table.drop_constraint(ONE_EACH, type_="unique")
        table.create_unique_constraint(ONE_EACH_SHOWN, ["send_id", "language", "shown"])


def downgrade() -> None:
    op.execute("DELETE FROM send_content WHERE shown > 0")
    with op.batch_alter_table("send_content") as table:
        table.drop_constraint(ONE_EACH_SHOWN, type_="unique")
        table.create_unique_constraint(ONE_EACH, ["send_id", "language"])
        table.drop_column("shown")
    op.drop_column("delivery", "shown")
