"""The first version: mesh, peers, tombstones and quarantine."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """From nothing."""
    op.create_table(
        "mesh",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("epoch", sa.String(64), nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("purged", sa.BigInteger, nullable=False),
        sa.Column("ipv4_network", sa.String(18), nullable=False),
        sa.Column("ipv6_prefix", sa.String(43), nullable=False),
    )
    op.create_table(
        "peers",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("public_key", sa.String(44), nullable=False, unique=True),
        sa.Column("number", sa.BigInteger, nullable=False, unique=True),
        sa.Column("hostname", sa.String(253), nullable=False),
        sa.Column("os", sa.String(64), nullable=False),
        sa.Column("endpoints", sa.Text, nullable=False),
        sa.Column("exit_node", sa.Boolean, nullable=False),
        sa.Column("online", sa.Boolean, nullable=False),
        sa.Column("signed", sa.Boolean, nullable=False),
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("last_seen", sa.Float, nullable=False),
    )
    op.create_table(
        "tombstones",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("revision", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_tombstones_revision", "tombstones", ["revision"])
    op.create_table(
        "quarantine",
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("public_key", sa.String(44), nullable=False),
        sa.Column("until", sa.Float, nullable=False),
    )


def downgrade() -> None:
    """To nothing."""
    for table in ("quarantine", "tombstones", "peers", "mesh"):
        op.drop_table(table)
