"""The tables. What a query needs is a column; what is only kept and shown again is text.

Addresses are not stored but host numbers, of which the network makes addresses. Times are Unix seconds. Each batch that
is written has a number, its sequence, which is on all rows that it wrote: servers that share a database find by it what
others did.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Float, Integer, MetaData, String, Table, Text

metadata: Final = MetaData()

NOBODY: Final = ""  # a number in `quarantine` that is in quarantine no more

# One row.
mesh: Final = Table(
    "mesh",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("epoch", String(64), nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("purged", BigInteger, nullable=False),
    Column("ipv4_network", String(18), nullable=False),
    Column("ipv6_prefix", String(43), nullable=False),
    Column("server_public_key", String(44), nullable=False),  # "" if it is not known yet
    Column("relays_revision", BigInteger, nullable=False),
)

peers: Final = Table(
    "peers",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("public_key", String(44), nullable=False, unique=True),
    Column("number", BigInteger, nullable=False, unique=True),
    Column("hostname", String(253), nullable=False),
    Column("os", String(64), nullable=False),
    Column("endpoints", Text, nullable=False),  # a JSON list of texts, best first
    Column("mapped", Text, nullable=False),  # likewise
    Column("reflexive", Text, nullable=False),  # likewise
    Column("nat", String(16), nullable=False),
    Column("distances", Text, nullable=False),  # JSON
    Column("exit_node", Boolean, nullable=False),
    Column("online", Boolean, nullable=False),
    Column("signed", Boolean, nullable=False),
    Column("version", String(64), nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("created", Float, nullable=False),
    Column("last_seen", Float, nullable=False),
    Column("sequence", BigInteger, nullable=False, index=True),
)

tombstones: Final = Table(
    "tombstones",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("revision", BigInteger, nullable=False, index=True),
    Column("sequence", BigInteger, nullable=False, index=True),
)

quarantine: Final = Table(
    "quarantine",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("public_key", String(44), nullable=False),
    Column("until", Float, nullable=False),
    Column("sequence", BigInteger, nullable=False, index=True),
)

# Sixteen rows at most: who shares the database reads all of them when `mesh.relays_revision` is another.
relays: Final = Table(
    "relays",
    metadata,
    Column("id", String(63), primary_key=True),
    Column("record", Text, nullable=False),  # JSON, as the map has it
    Column("last_seen", Float, nullable=False),
)
