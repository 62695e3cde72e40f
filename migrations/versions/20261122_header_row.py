"""the row that names the columns of an import"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("import", sa.Column("header_row", sa.Integer(), nullable=True))


def downgrade() -> None:
    op.drop_column("import", "header_row")
