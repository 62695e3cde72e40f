"""all that there is to say of a row of an import, not only the first thing"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from crm.database import Json

revision: str = "0018"
down_revision: str | None = "0017"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("import_row", sa.Column("more", Json, server_default="[]", nullable=False))


def downgrade() -> None:
    op.drop_column("import_row", "more")
