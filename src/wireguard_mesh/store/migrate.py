"""Brings a database to this program's version before it is used."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, text

from wireguard_mesh.model.errors import Conflict

HEAD: Final = "0003"  # the newest file of migrations/versions
_SCRIPTS: Final = Path(__file__).parent / "migrations"


def migrate(connection: Connection) -> None:
    """Create the tables, or change those of an older version, in the connection's transaction.

    Raises `Conflict` for a database of a newer version: nothing is changed then.
    """
    version = _version(connection)
    if version == HEAD:
        return
    # Alembic takes a third of a second to import, and is needed once a version.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if version is not None and version not in known:
        raise Conflict(
            f"the database was made by a newer vpn-server (its version is {version}, this one knows {HEAD})",
            "update this vpn-server, or give it another database with -db",
        )
    command.upgrade(config, HEAD)


def is_current(connection: Connection) -> bool:
    """Whether a database can be read as it is; False if it has no tables yet. Raises `Conflict` for another version."""
    version = _version(connection)
    if version not in {None, HEAD}:
        raise Conflict(
            f"the database was made by another vpn-server (its version is {version}, this one knows {HEAD})",
            "use that vpn-server, or start this one once if it is the newer one: it changes the database",
        )
    return version is not None


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found
