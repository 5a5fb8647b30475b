"""`vpn-server db`: copies, backs up and restores whole databases."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from wireguard_mesh.cli.commands import Group
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.server.config import Settings, load_settings, settle
from wireguard_mesh.store.location import Location, PostgresUrl, parse_location, parse_path
from wireguard_mesh.store.lock import lock_of

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
Flags = dict[str, str | None]

_KEPT: Final = "before-restore"
_POSTGRES_NAME: Final = "postgresql"
_PASSWORDS: Final = (
    "A password is best not in a URL, as all on the machine can see it while the command runs: "
    "PGPASSWORD in the environment or the file ~/.pgpass holds it."
)


@click.group(cls=Group, name="db", invoke_without_command=True, epilog=_PASSWORDS)
@click.pass_context
def database(context: click.Context) -> None:
    """Copy, back up or restore the database. One is a file, or postgresql://USER@HOST/NAME."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def _configured(command: F) -> F:
    db = click.option("-db", "--db", metavar="FILE|URL", help="the database, if not the configured one")
    config = click.option("-config", "--config", metavar="FILE", help="the configuration, as of vpn-server")
    return db(config(command))


@database.command(name="copy", epilog=_PASSWORDS)
@click.argument("source", metavar="SRC")
@click.argument("destination", metavar="DST")
def copy_command(source: str, destination: str) -> None:
    """Copy the database SRC to DST, which is new or empty: from a file to PostgreSQL, or back.

    Stop the server before, and start it with DST then: clients do not notice. SRC stays as it is.
    """
    # Imported only now, here and below, so that help answers at once.
    from wireguard_mesh.store import transfer

    origin, target = parse_location(source), parse_location(destination)
    whole = _run(transfer.copy(origin, target))
    click.echo(f"copied {_peers(whole.snapshot.records)} from {origin} to {target}")
    click.echo(f"start the server with it, with the same server.json: vpn-server -db {shlex.quote(str(target))}")


@database.command(epilog=_PASSWORDS)
@_configured
@click.option("-force", "--force", is_flag=True, help="replace FILE if it exists")
@click.argument("file", metavar="FILE")
@click.pass_obj
def backup(flags: Flags, db: str | None, config: str | None, file: str, *, force: bool) -> None:
    """Write all of the database to FILE, while the server runs or not.

    FILE is a SQLite database, from PostgreSQL too; only its owner can read it. It is there when it is complete.
    """
    from wireguard_mesh.store import transfer

    given = _given(flags, db, config)
    settings = load_settings(given, os.environ, create=False)
    location = _place(settings.database)
    whole = _run(transfer.back_up(location, parse_path(file), replacing=force))
    click.echo(f"backed up {_peers(whole.snapshot.records)} from {location} to {parse_path(file)}")
    click.echo(f"keep {settings.file} as well: it holds the server's key")


@database.command(epilog=_PASSWORDS)
@_configured
@click.option("-force", "--force", is_flag=True, help="also over a database that has peers, which is backed up before")
@click.argument("file", metavar="FILE")
@click.pass_obj
def restore(flags: Flags, db: str | None, config: str | None, file: str, *, force: bool) -> None:
    """Put what FILE, a backup, has into the database. Stop the server before.

    Who registered since the backup registers anew by itself; nobody else notices.
    """
    from wireguard_mesh.store import files, transfer

    given = _given(flags, db, config)
    settings = load_settings(given, os.environ, create=False)
    location = _place(settings.database)
    restored = _run(
        transfer.restore(
            parse_path(file),
            location,
            ours=settings.private_key.public_key,
            force=force,
            kept=_kept_as(location, settings.file),
        )
    )
    settle(replace(settings, network=restored.whole.snapshot.network.ipv4), location)
    used = [] if isinstance(location, PostgresUrl) else [location, lock_of(location)]
    for made in (settings.file, *used):
        files.give_to_owner_of_folder(made)
    kept = f"; what was there is kept as {restored.kept}" if restored.kept else ""
    click.echo(f"restored {_peers(restored.whole.snapshot.records)} from {parse_path(file)} to {location}{kept}")
    if restored.foreign is not None:
        _warn_of_another_key(settings, restored.foreign)
    click.echo(f"start the server: {_start_with(given)}")


def _run(work: Coroutine[Any, Any, T]) -> T:
    import asyncio

    try:
        return asyncio.run(work)
    finally:
        work.close()  # Ctrl-C may come before it began, and Python would complain of that


def _given(flags: Flags, db: str | None, config: str | None) -> Flags:
    return {**flags, "db": db or flags.get("db"), "config": config or flags.get("config")}


def _place(location: Location) -> Location:
    """Where the server has its database: beside the list of peers that it was made of, if that is named."""
    from wireguard_mesh.server.legacy import find_legacy

    legacy = None if isinstance(location, PostgresUrl) else find_legacy(location)
    return legacy.database if legacy else location


def _kept_as(location: Location, config: Path) -> Path:
    beside = config.with_name(_POSTGRES_NAME) if isinstance(location, PostgresUrl) else location
    return beside.with_name(f"{beside.name}.{_KEPT}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")


def _warn_of_another_key(settings: Settings, key: PublicKey) -> None:
    click.echo(
        f"vpn-server: warning: the backup is of the server with the public key {key}, and {settings.file} does not "
        "hold that key: its clients will refuse this server. Put that server's server.json there before the start, "
        "or start the clients with -trust-new-server-key",
        err=True,
    )


def _start_with(given: Flags) -> str:
    config, db = given["config"], given["db"]
    words = ["vpn-server"]
    words += ["-config", str(parse_path(config))] if config else []
    words += ["-db", str(parse_location(db))] if db else []
    return shlex.join(words)


def _peers(peers: Any) -> str:
    return f"{len(peers)} peer{'' if len(peers) == 1 else 's'}"
