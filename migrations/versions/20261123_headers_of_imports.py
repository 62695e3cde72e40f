"""the headers of an import's file, also where no page checked it, so that its refused rows can be mended"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from crm.database import Json

revision: str = "0013"
down_revision: str | None = "0012"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

IMPORT = sa.table("import", sa.column("id", sa.Integer), sa.column("headers", Json), sa.column("checked", Json))


def upgrade() -> None:
    op.add_column("import", sa.Column("headers", Json, server_default="[]", nullable=False))
    for number, checked in _checked():
        values = {"headers": checked.pop("headers", []), "checked": checked}
        op.get_bind().execute(sa.update(IMPORT).where(IMPORT.c.id == number).values(values))


def downgrade() -> None:
    headers = dict(op.get_bind().execute(sa.select(IMPORT.c.id, IMPORT.c.headers)).all())
    for number, checked in _checked():
        values = {"checked": checked | {"headers": headers[number]}}
        op.get_bind().execute(sa.update(IMPORT).where(IMPORT.c.id == number).values(values))
    op.drop_column("import", "headers")


def _checked() -> list[tuple[int, dict[str, object]]]:
    found = op.get_bind().execute(sa.select(IMPORT.c.id, IMPORT.c.checked))
    return [(row.id, dict(row.checked)) for row in found if row.checked]
