"""indexes of the claim"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

OPEN = sa.text("state IN ('pending', 'deferred')")
HELD = sa.text("token IS NOT NULL")


def upgrade() -> None:
    op.drop_index("ix_delivery_send_id_state_due_at_id", table_name="delivery")
    op.drop_index("ix_delivery_token", table_name="delivery")
    op.create_index("ix_delivery_send_id_state", "delivery", ["send_id", "state"])
    op.create_index("ix_delivery_open", "delivery", ["send_id", "due_at", "id"], sqlite_where=OPEN, postgresql_where=OPEN)
    op.create_index("ix_delivery_held", "delivery", ["token"], sqlite_where=HELD, postgresql_where=HELD)


def downgrade() -> None:
    op.drop_index("ix_delivery_held", table_name="delivery")
    op.drop_index("ix_delivery_open", table_name="delivery")
    op.drop_index("ix_delivery_send_id_state", table_name="delivery")
    op.create_index("ix_delivery_token", "delivery", ["token"])
    op.create_index("ix_delivery_send_id_state_due_at_id", "delivery", ["send_id", "state", "due_at", "id"])
