"""`vpn-client`: joins a machine to a mesh, and tells how it is.

What a command needs is imported when it runs, so that `status` is not kept waiting by what only the agent needs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from wireguard_mesh import __version__
from wireguard_mesh.cli import errors
from wireguard_mesh.cli.commands import Group
from wireguard_mesh.cli.completing import peer_names
from wireguard_mesh.cli.flags import agent_flags, place_flags, refuse_flags_before, with_flags_before
from wireguard_mesh.cli.place import Place
from wireguard_mesh.protocol.local import MAX_PING_TIMEOUT

PROGRAM: Final = "vpn-client"
SETTINGS: Final = {"help_option_names": ["-help", "--help", "-h"], "max_content_width": 100}
_EPILOG: Final = (
    "Each flag may be given in the environment too: VPN_CLIENT_SERVER for -server, VPN_CLIENT_EXIT_NODE for -exit-node."
)


@click.group(cls=Group, name=PROGRAM, invoke_without_command=True, epilog=_EPILOG, context_settings=SETTINGS)
@click.version_option(__version__, "-version", "--version", prog_name=PROGRAM)
@click.option("-status", "--status", "is_status", is_flag=True, help="print the status as JSON and end")
@agent_flags
@place_flags
@click.pass_context
def cli(context: click.Context, /, is_status: bool, config: Path | None, interface: str | None, **given: Any) -> None:
    """Join this machine to a WireGuard mesh. Without a command: run the agent in the foreground."""
    place = context.obj = Place(config, interface)
    if context.invoked_subcommand is not None:
        refuse_flags_before(context)
        return
    if is_status:
        from wireguard_mesh.cli.showing import print_plain_status

        print_plain_status(place)
        return
    from wireguard_mesh.cli.starting import run_in_foreground

    run_in_foreground(place, given)


@cli.command()
@agent_flags
@place_flags
@click.option(
    "-timeout",
    "--timeout",
    "seconds",
    type=click.FloatRange(0.1),
    default=30.0,
    metavar="SECONDS",
    help="how long to wait for the mesh; the agent goes on trying after it. Default 30",
)
@click.pass_context
def up(context: click.Context, /, config: Path | None, interface: str | None, seconds: float, **given: Any) -> None:
    """Start the agent in the background; return when the mesh is up, or say why it is not."""
    from wireguard_mesh.cli.starting import start_in_background

    place: Place = context.obj
    start_in_background(place.within(config, interface), with_flags_before(context, given), seconds)


@cli.command()
@place_flags
@click.pass_obj
def down(outer: Place, config: Path | None, interface: str | None) -> None:
    """End the agent, remove the interface, undo all that was set for it."""
    from wireguard_mesh.cli.stopping import take_down

    take_down(outer.within(config, interface))


@cli.command()
@place_flags
@click.pass_obj
def logout(outer: Place, config: Path | None, interface: str | None) -> None:
    """Leave the mesh: give up this machine's address, then as `down`."""
    from wireguard_mesh.cli.stopping import log_out

    log_out(outer.within(config, interface))


@cli.command()
@place_flags
@click.option("-json", "--json", "as_json", is_flag=True, help="for programs")
@click.pass_obj
def status(outer: Place, config: Path | None, interface: str | None, as_json: bool) -> None:
    """One line for each peer, and a summary."""
    from wireguard_mesh.cli.showing import print_status

    print_status(outer.within(config, interface), as_json=as_json)


@cli.command()
@place_flags
@click.option("-4", "only_ipv4", is_flag=True, help="only the IPv4 address")
@click.option("-6", "only_ipv6", is_flag=True, help="only the IPv6 address")
@click.argument("peer", required=False, shell_complete=peer_names)
@click.pass_obj
def ip(
    outer: Place, config: Path | None, interface: str | None, only_ipv4: bool, only_ipv6: bool, peer: str | None
) -> None:
    """The addresses of this machine in the mesh, or those of PEER."""
    from wireguard_mesh.cli.showing import print_addresses

    print_addresses(
        outer.within(config, interface), peer, ipv4=only_ipv4 or not only_ipv6, ipv6=only_ipv6 or not only_ipv4
    )


@cli.command()
@place_flags
@click.option("-c", "-count", "--count", type=click.IntRange(1), metavar="N", help="how many. Default 4")
@click.option("-4/-6", "is_ipv4", default=True, help="by IPv4, or by IPv6. Default IPv4")
@click.option(
    "-timeout",
    "--timeout",
    type=click.FloatRange(0.01, MAX_PING_TIMEOUT),
    default=2.0,
    metavar="SECONDS",
    help="how long each answer may take. Default 2",
)
@click.option(
    "-until-direct",
    "--until-direct",
    is_flag=True,
    help="stop at the first answer by a direct path; without -c after 10 others, with an error",
)
@click.argument("peer", shell_complete=peer_names)
@click.pass_obj
def ping(
    outer: Place,
    config: Path | None,
    interface: str | None,
    count: int | None,
    is_ipv4: bool,
    timeout: float,
    until_direct: bool,
    peer: str,
) -> None:
    """Ping PEER; tell by which path each answer came.

    PEER is a name, an id or an address in the mesh.
    """
    from wireguard_mesh.cli.diagnosing import PingOptions, ping_peer

    options = PingOptions(count, timeout, is_ipv6=not is_ipv4, until_direct=until_direct)
    ping_peer(outer.within(config, interface), peer, options)


@cli.command()
@place_flags
@click.option("-json", "--json", "as_json", is_flag=True, help="for programs")
@click.pass_obj
def netcheck(outer: Place, config: Path | None, interface: str | None, as_json: bool) -> None:
    """Try what the network around this machine lets through."""
    from wireguard_mesh.cli.diagnosing import print_netcheck

    print_netcheck(outer.within(config, interface), as_json=as_json)


@cli.command()
@place_flags
@click.option("-json", "--json", "as_json", is_flag=True, help="for programs")
@click.argument("peer", shell_complete=peer_names)
@click.pass_obj
def explain(outer: Place, config: Path | None, interface: str | None, as_json: bool, peer: str) -> None:
    """Why PEER is reached as it is, and what would help."""
    from wireguard_mesh.cli.diagnosing import print_explanation

    print_explanation(outer.within(config, interface), peer, as_json=as_json)


@cli.command(name="set")
@place_flags
@click.option("-use-exit-node", "--use-exit-node", metavar="auto|off|PEER", help="send internet traffic through it")
@click.option(
    "-exit-node/-no-exit-node",
    "--exit-node/--no-exit-node",
    "exit_node",
    default=None,
    help="carry the internet traffic of others",
)
@click.option("-hostname", "--hostname", metavar="NAME", help="name in the mesh")
@click.pass_obj
def set_(outer: Place, /, config: Path | None, interface: str | None, **given: Any) -> None:
    """Change the running agent's settings, now and for later."""
    from wireguard_mesh.cli.stopping import change

    change(outer.within(config, interface), **given)


@cli.group(name="exit-node")
def exit_node() -> None:
    """Exit nodes: peers that carry others' internet traffic."""


@exit_node.command(name="list")
@place_flags
@click.option("-json", "--json", "as_json", is_flag=True, help="for programs")
@click.pass_obj
def list_(outer: Place, config: Path | None, interface: str | None, as_json: bool) -> None:
    """The peers that offer it."""
    from wireguard_mesh.cli.showing import print_exit_nodes

    print_exit_nodes(outer.within(config, interface), as_json=as_json)


@cli.command()
@place_flags
@click.option("-unmasked", "--unmasked", is_flag=True, help="leave names, public keys and public addresses in it")
@click.pass_obj
def bugreport(outer: Place, config: Path | None, interface: str | None, unmasked: bool) -> None:
    """Tell all that a helper must know, masked.

    Status, netcheck, each path that is not direct and why, and the end of the log. Names, keys and public addresses
    are masked; passwords and private keys are never in it.
    """
    from wireguard_mesh.cli.bugreport import print_report

    print_report(outer.within(config, interface), unmasked=unmasked)


@cli.command()
def version() -> None:
    """The version of this program."""
    click.echo(__version__)


def main() -> None:
    """The entry point."""
    errors.run(cli, PROGRAM)
