"""what a column of an import does to people who are known"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    op.add_column("import", sa.Column("rules", JSON, server_default="{}", nullable=False))


def downgrade() -> None:
    op.drop_column("import", "rules")
