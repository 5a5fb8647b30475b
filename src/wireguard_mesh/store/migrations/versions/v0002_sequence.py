"""Many servers on one database: what each batch wrote can be found, and whose database it is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_FOLLOWED = ("peers", "tombstones", "quarantine")


def upgrade() -> None:
    """What stands was written by batch 0."""
    for table in ("mesh", *_FOLLOWED):
        op.add_column(table, sa.Column("sequence", sa.BigInteger, nullable=False, server_default="0"))
    for table in _FOLLOWED:
        op.create_index(f"ix_{table}_sequence", table, ["sequence"])
    op.add_column("mesh", sa.Column("server_public_key", sa.String(44), nullable=False, server_default=""))


def downgrade() -> None:
    """To one server, which reads everything at its start."""
    op.execute("DELETE FROM quarantine WHERE public_key = ''")
    with op.batch_alter_table("mesh") as mesh:
        mesh.drop_column("server_public_key")
        mesh.drop_column("sequence")
    for table in _FOLLOWED:
        op.drop_index(f"ix_{table}_sequence", table)
        with op.batch_alter_table(table) as changed:
            changed.drop_column("sequence")
