"""Alembic runs this file; the connection comes from `store.migrate`."""

from __future__ import annotations

from alembic import context

from wireguard_mesh.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
