"""the encoding of an import's text, where a person corrected what its bytes tell"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0016"
down_revision: str | None = "0015"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("import", sa.Column("encoding", sa.String(20), nullable=True))


def downgrade() -> None:
    op.drop_column("import", "encoding")
