"""what keeps a delivery the only one of its send also finds what a person got: two indexes for four"""

from collections.abc import Sequence

from alembic import op

revision: str = "0015"
down_revision: str | None = "0014"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

PERSON, ADDRESS = "contact_id", "address_hash"


def upgrade() -> None:
    with op.batch_alter_table("delivery") as table:
        for column in (PERSON, ADDRESS):
            table.drop_constraint(f"uq_delivery_send_id_{column}", type_="unique")
            table.drop_index(f"ix_delivery_{column}")
            table.create_unique_constraint(f"uq_delivery_{column}_send_id", [column, "send_id"])


def downgrade() -> None:
    with op.batch_alter_table("delivery") as table:
        for column in (PERSON, ADDRESS):
            table.drop_constraint(f"uq_delivery_{column}_send_id", type_="unique")
            table.create_index(f"ix_delivery_{column}", [column])
            table.create_unique_constraint(f"uq_delivery_send_id_{column}", ["send_id", column])
