"""privacy notices with their complete text and in English"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    for name in ("text_en", "full_text"):
        op.add_column("privacy_notice", sa.Column(name, sa.Text(), server_default="", nullable=False))


def downgrade() -> None:
    for name in ("full_text", "text_en"):
        op.drop_column("privacy_notice", name)
