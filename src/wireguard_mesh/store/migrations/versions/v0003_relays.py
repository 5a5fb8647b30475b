"""Relays, and what they and routers make of a peer: whence it is heard, and what is forwarded to it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_CANDIDATES = ("mapped", "reflexive", "distances")


def upgrade() -> None:
    """Nothing is known yet."""
    for name in _CANDIDATES:
        op.add_column("peers", sa.Column(name, sa.Text, nullable=False, server_default="[]"))
    op.add_column("peers", sa.Column("nat", sa.String(16), nullable=False, server_default="unknown"))
    op.add_column("mesh", sa.Column("relays_revision", sa.BigInteger, nullable=False, server_default="0"))
    op.create_table(
        "relays",
        sa.Column("id", sa.String(63), primary_key=True),
        sa.Column("record", sa.Text, nullable=False),
        sa.Column("last_seen", sa.Float, nullable=False),
    )


def downgrade() -> None:
    """To a mesh without relays."""
    op.drop_table("relays")
    with op.batch_alter_table("mesh") as mesh:
        mesh.drop_column("relays_revision")
    with op.batch_alter_table("peers") as peers:
        for name in (*_CANDIDATES, "nat"):
            peers.drop_column(name)
