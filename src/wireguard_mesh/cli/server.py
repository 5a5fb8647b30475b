"""`vpn-server`: runs the coordination server, or asks a running one how it is."""

from __future__ import annotations

import http.client
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Final, TypeVar

import click

from wireguard_mesh import __version__
from wireguard_mesh.cli.commands import Group
from wireguard_mesh.cli.database import database
from wireguard_mesh.cli.errors import run
from wireguard_mesh.model.errors import InvalidValue, Unavailable
from wireguard_mesh.model.networks import DEFAULT_IPV4_NETWORK
from wireguard_mesh.protocol import api
from wireguard_mesh.protocol.codec import Decoder
from wireguard_mesh.server.config import ENVIRONMENT_PREFIX, Settings, load_settings
from wireguard_mesh.server.listening import ListenAddress, best_address, bracketed
from wireguard_mesh.server.server_file import DEFAULT_FILE, DEFAULT_LISTEN, make_relay_key, relay_key_of

if TYPE_CHECKING:
    from wireguard_mesh.server.daemon import Running
    from wireguard_mesh.server.own_relay import Place

T = TypeVar("T")
log = logging.getLogger(__name__)

PROGRAM: Final = "vpn-server"
_LEVELS: Final = ("debug", "info", "warning", "error")
_STATUS_SECONDS: Final = 5.0
_MAX_ANSWER: Final = 64 * 1024  # bytes
_STDOUT: Final = 1
_STDERR: Final = 2
_LOCAL: Final = "127.0.0.1"
_EPILOG: Final = (
    f"Each flag may be given in the environment, as {ENVIRONMENT_PREFIX}LISTEN, {ENVIRONMENT_PREFIX}NETWORK and so on, "
    "or in the configuration file. No privilege is needed."
)


@click.group(
    cls=Group,
    name=PROGRAM,
    invoke_without_command=True,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-help", "--help", "-h"], "max_content_width": 100},
)
@click.version_option(__version__, "-version", "--version", prog_name=PROGRAM)
@click.option("-listen", "--listen", metavar="[HOST]:PORT", help=f"TCP address to serve on. Default {DEFAULT_LISTEN}")
@click.option(
    "-network", "--network", metavar="CIDR", help=f"private IPv4 range of the mesh. Default {DEFAULT_IPV4_NETWORK}"
)
@click.option(
    "-db",
    "--db",
    metavar="FILE|URL",
    help="database: a file, or postgresql://USER@HOST/NAME, its password in PGPASSWORD or ~/.pgpass. "
    "Default peers.db beside the configuration",
)
@click.option("-config", "--config", metavar="FILE", help=f"configuration. Default {DEFAULT_FILE}")
@click.option(
    "-heartbeat-timeout",
    "--heartbeat-timeout",
    metavar="DURATION",
    help="silence after which a peer is offline. Default 120s",
)
@click.option(
    "-cleanup-interval",
    "--cleanup-interval",
    metavar="DURATION",
    help="how often to look for silent peers. Default 10s",
)
@click.option(
    "-quarantine",
    "--quarantine",
    metavar="DURATION",
    help="how long the address of a peer that left is kept from others. Default 1h",
)
@click.option(
    "-registration-burst",
    "--registration-burst",
    metavar="N",
    help="new peers at once from one address, 0 for no limit. Default 1000",
)
@click.option(
    "-registration-rate",
    "--registration-rate",
    metavar="N",
    help="new peers a second from one address after that. Default 50",
)
@click.option(
    "-connections-per-source",
    "--connections-per-source",
    metavar="N",
    help="open at once from one address, 0 for no limit; an agent has two. Default 3000",
)
@click.option("-udp", "--udp", metavar="on|off", help="relay packets, on UDP ports numbered as -listen. Default on")
@click.option(
    "-relay-address",
    "--relay-address",
    metavar="HOST",
    help="name or address at which clients reach those UDP ports. Default where they reach the server",
)
@click.option("-log-level", "--log-level", type=click.Choice(_LEVELS), help="Default info")
@click.pass_context
def cli(context: click.Context, /, log_level: str | None, **flags: str | None) -> None:
    """The coordination server of a WireGuard mesh: gives peers their addresses, and tells them of each other."""
    level = log_level or os.environ.get(ENVIRONMENT_PREFIX + "LOG_LEVEL", "info")
    if level not in _LEVELS:
        raise click.UsageError(f"log-level is one of {', '.join(_LEVELS)}")
    logging.basicConfig(level=level.upper(), format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    # It reports what strangers do, and what it cancels at the end; faults of ours are logged by the application.
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
    for chatty in ("alembic", "aiosqlite"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    context.obj = flags
    if context.invoked_subcommand is None:
        _serve(load_settings(flags, os.environ))


@cli.command()
@click.pass_obj
def status(flags: dict[str, str | None]) -> None:
    """Ask the running server how it is."""
    settings = load_settings(flags, os.environ, create=False)
    server = _ask(settings.listen, "/v1/server", api.server_info)
    health = _ask(settings.listen, "/v1/health", api.health)
    click.echo(f"serving on  {settings.listen}, for {health.uptime:.0f} s, version {health.version}")
    click.echo(f"health      {health.status}")
    click.echo(f"network     {server.network.ipv4}, {server.network.ipv6}")
    click.echo(f"peers       {health.peers}, {health.online} of them online, revision {health.revision}")
    click.echo(f"streams     {health.streams} follow the map here")
    click.echo("relay       " + "\n            ".join(relay_lines(health.relay, health.relays)))
    click.echo(f"admission   {server.admission}")
    click.echo(f"public key  {server.server_public_key}")


@cli.command("relay-key")
@click.option("-new", "--new", "is_new", is_flag=True, help="another one, in place of the one before")
@click.pass_obj
def relay_key(flags: dict[str, str | None], is_new: bool) -> None:
    """Print the key that makes a machine a relay of this mesh: vpn-relay -server URL -key KEY.

    It is made when it is first asked for, and kept in the configuration. The running server knows it at once.
    """
    settings = load_settings(flags, os.environ)
    key = None if is_new else relay_key_of(settings.file)
    click.echo((key or make_relay_key(settings.file)).to_text())


def relay_lines(own: api.RelayHealth | None, relays: Sequence[api.RelaySummary]) -> list[str]:
    """What `status` says of the server's own relay, and of the others."""
    others = [relay for relay in relays if own is None or relay.id != own.id]
    return [
        _relay_line(own),
        *(f"{relay.id}: {_does(relay.does) if relay.does else 'has told this server nothing yet'}" for relay in others),
    ]


def _relay_line(own: api.RelayHealth | None) -> str:
    if own is None:
        return "off: this server relays nothing"
    ports = " and ".join(map(str, own.ports))
    return f"{own.id} on UDP ports {ports}, {_does(own.does) if own.up else 'down: its process does not run'}"


def _does(does: api.RelayCounters) -> str:
    return (
        f"{does.sessions} sessions, {does.routes} routes, {does.carriers} over TCP, "
        f"{does.forwarded_packets} packets, {does.forwarded_bytes} bytes relayed"
    )


cli.add_command(database)


def main() -> None:
    """The entry point: whatever goes wrong is one line, exit code 1 (2 for a usage error)."""
    _open_missing_descriptors()
    run(cli, PROGRAM)


def _open_missing_descriptors() -> None:
    # Whoever starts us may have closed some of the first three: the next files opened would take their places.
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    sys.stdout = sys.stdout or os.fdopen(_STDOUT, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(_STDERR, "w", closefd=False)


def _serve(settings: Settings) -> None:
    # Imported only now, so that help, version and status answer at once.
    import asyncio

    import uvloop

    from wireguard_mesh.server.daemon import run_server

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run_server(settings, lambda running: _announce(settings, running)))


def _announce(settings: Settings, running: Running) -> None:
    url = f"http://{best_address(running.listen)}:{running.listen.port}"
    lines = [f"vpn-server {__version__} listening on {running.listen} (HTTP)"]
    if running.imported is not None:
        lines.append(f"Imported:      peers of {running.imported}, which is left as it was")
    lines += [
        f"Network:       {running.network.ipv4} and {running.network.ipv6}",
        f"Peers:         {running.peers}",
        f"Relay:         {_place_line(running.relay)}",
        f"Public key:    {settings.private_key.public_key}",
        f"Configuration: {settings.file}",
        f"Database:      {running.database}",
        "Admission:     open: anyone who reaches this port can join",
        "",
        "To join a machine, run on it:",
        f"  sudo vpn-client -server {url}",
    ]
    try:
        click.echo("\n".join(lines))
    except OSError as error:
        # Nobody reads it, or there is no room: that is no reason not to serve.
        log.warning("cannot print where the server is: %s listen=%s", error.strerror, running.listen)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _place_line(place: Place | None) -> str:
    if place is None:
        return "off"
    ports = " and ".join(map(str, place.ports))
    return f"UDP ports {ports}, which a firewall in front must let through"


def _ask(listen: ListenAddress, path: str, decoder: Decoder[T]) -> T:
    host = listen.host if listen.host and listen.host not in {"0.0.0.0", "::"} else _LOCAL
    where = f"{bracketed(host)}:{listen.port}"
    try:
        with closing(http.client.HTTPConnection(host, listen.port, timeout=_STATUS_SECONDS)) as connection:
            connection.request("GET", path)
            body = connection.getresponse().read(_MAX_ANSWER)
    except (OSError, http.client.HTTPException, UnicodeError):
        raise Unavailable(
            f"no vpn-server answers on {where}", "start it, or say which one: vpn-server -listen ADDRESS status"
        ) from None
    try:
        return decoder.decode(body)
    except InvalidValue:
        raise Unavailable(
            f"what answers on {where} is no vpn-server", "say which one: vpn-server -listen ADDRESS status"
        ) from None
