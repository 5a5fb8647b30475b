"""The flags of vpn-client: each with one dash or two, and from the environment as `VPN_CLIENT_…`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar, get_args

import click
from click.core import ParameterSource

from wireguard_mesh.model import durations
from wireguard_mesh.model.errors import InvalidValue

ENVIRONMENT: Final = "VPN_CLIENT"
DEFAULT_FOLDER: Final = "~/.config/wireguard-mesh"
LEVELS: Final = ("debug", "info", "warning", "error")
_SHORTEST: Final = 1.0  # seconds between two calls to a server
_LONGEST: Final = 24 * 3600.0
_PLACE: Final = ("config", "interface")
_STATUS: Final = "is_status"

F = TypeVar("F", bound=Callable[..., Any])


class Parsed(click.ParamType[Any]):
    """A flag whose text one of the model's own parsers reads."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See `click.ParamType.convert`."""
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except InvalidValue as error:
            self.fail(str(error), param, ctx)


def parse_duration(text: str) -> float:
    """Seconds of `30`, `30s`, `500ms`, `2m`, `1h`; 1 s to a day. Raises `InvalidValue`."""
    try:
        seconds = durations.parse_duration(text)
    except InvalidValue:
        seconds = 0.0
    if not _SHORTEST <= seconds <= _LONGEST:
        raise InvalidValue(f"{text!r} is no duration from 1s to 24h", "write 30s, 2m or 1h")
    return seconds


def flag(name: str, *more: str, **settings: Any) -> Callable[[F], F]:
    """A flag `-name` and `--name`, in the environment `VPN_CLIENT_NAME`."""
    variable = f"{ENVIRONMENT}_{name.upper().replace('-', '_')}"
    spellings = [spelling for one in (name, *more) for spelling in (f"-{one}", f"--{one}")]
    return click.option(*spellings, envvar=variable, **settings)


def switch(name: str, **settings: Any) -> Callable[[F], F]:
    """A flag that is on, `-no-name` off, or not given: then it is None."""
    variable = f"{ENVIRONMENT}_{name.upper().replace('-', '_')}"
    return click.option(f"-{name}/-no-{name}", f"--{name}/--no-{name}", envvar=variable, default=None, **settings)


def place_flags(command: F) -> F:
    """Which agent of this machine is meant."""
    from wireguard_mesh.model.names import parse_interface_name

    for add in (
        flag(
            "config",
            metavar="DIR|FILE",
            type=click.Path(path_type=Path),
            help=f"folder of client.json, or that file. Default {DEFAULT_FOLDER}",
        ),
        flag(
            "interface",
            metavar="NAME",
            type=Parsed("interface", parse_interface_name),
            help="network interface. Default wg0",
        ),
    ):
        command = add(command)
    return command


def _flags_before(context: click.Context) -> dict[str, Any]:
    """The flags that were written before the command, without those that say which agent is meant."""
    return {
        name: value
        for name, value in context.params.items()
        if name not in _PLACE and context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }


def refuse_flags_before(context: click.Context) -> None:
    """`up` takes the flags before it as its own; before another command they would have no effect."""
    misplaced = _flags_before(context)
    is_taken = context.invoked_subcommand == "up" and _STATUS not in misplaced
    if misplaced and not is_taken:
        names = ", ".join("-status" if name == _STATUS else f"-{name.replace('_', '-')}" for name in misplaced)
        raise click.UsageError(
            f"{names} has no effect before {context.invoked_subcommand}; what that takes is written after it"
        )


def with_flags_before(context: click.Context, given: dict[str, Any]) -> dict[str, Any]:
    """The flags of a command, and those before it where it has none of its own."""
    assert context.parent is not None
    before = _flags_before(context.parent)
    return {
        name: before[name]
        if name in before and context.get_parameter_source(name) is not ParameterSource.COMMANDLINE
        else value
        for name, value in given.items()
    }


def agent_flags(command: F) -> F:
    """What an agent is started with."""
    from wireguard_mesh.core.exit_nodes import ExitPolicy
    from wireguard_mesh.core.wanted import DEFAULT_KEEPALIVE, DEFAULT_LISTEN_PORT, MAX_MTU, MIN_MTU
    from wireguard_mesh.model.devices import BackendChoice
    from wireguard_mesh.model.endpoints import MAX_PORT
    from wireguard_mesh.model.names import parse_hostname
    from wireguard_mesh.model.servers import ServerAddress

    flags = (
        flag("server", metavar="URL", type=Parsed("server", ServerAddress.parse), help="the coordination server"),
        switch("exit-node", help="carry the internet traffic of others"),
        flag(
            "use-exit-node",
            metavar="auto|off|PEER",
            type=Parsed("exit node", ExitPolicy.parse),
            help="send internet traffic through an exit node. Default auto: any that is there",
        ),
        flag(
            "listen-port",
            metavar="PORT",
            type=click.IntRange(0, MAX_PORT),
            help=f"UDP port of WireGuard, 0 for any. Default {DEFAULT_LISTEN_PORT}",
        ),
        flag(
            "hostname",
            metavar="NAME",
            type=Parsed("host name", parse_hostname),
            help="name in the mesh. Default this machine's own",
        ),
        flag(
            "keepalive",
            metavar="SECONDS",
            type=click.IntRange(0, 65535),
            default=DEFAULT_KEEPALIVE,
            help=f"WireGuard's persistent keepalive, 0 for none. Default {DEFAULT_KEEPALIVE}",
        ),
        flag(
            "mtu", metavar="BYTES", type=click.IntRange(MIN_MTU, MAX_MTU), help="Default 80 less than the way out has"
        ),
        flag(
            "backend",
            type=click.Choice(get_args(BackendChoice)),
            default="auto",
            help="which WireGuard. Default auto: the kernel's where it has it",
        ),
        flag(
            "heartbeat-interval",
            metavar="TIME",
            type=Parsed("duration", parse_duration),
            default="30s",
            help="between two signs of life. Default 30s",
        ),
        flag(
            "sync-interval",
            metavar="TIME",
            type=Parsed("duration", parse_duration),
            default="60s",
            help="between two questions for changes, where they cannot come by stream. Default 60s",
        ),
        flag(
            "port-mapping",
            type=click.Choice(("on", "off")),
            default="on",
            help="have the router forward WireGuard's port, where it does such a thing. Default on",
        ),
        flag("log-level", type=click.Choice(LEVELS), default="info", help="Default info"),
        click.option(
            "-force", "--force", "-yes", "--yes", is_flag=True, help="leave the mesh of another server without asking"
        ),
        click.option("-new-identity", "--new-identity", is_flag=True, help="make a new key; the old one is kept aside"),
        click.option(
            "-trust-new-server-key", "--trust-new-server-key", is_flag=True, help="accept that the server's key changed"
        ),
    )
    for add in reversed(flags):
        command = add(command)
    return command
