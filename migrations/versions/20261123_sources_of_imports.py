"""the name of the source whose list an import is, so that its next list is read as this one"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0017"
down_revision: str | None = "0016"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("import", sa.Column("source", sa.String(120), nullable=True))


def downgrade() -> None:
    op.drop_column("import", "source")
