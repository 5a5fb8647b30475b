"""What an agent is started with: the identity on disk, the flags over it."""

from __future__ import annotations

import platform
import socket

import msgspec

from wireguard_mesh import __version__
from wireguard_mesh.client.membership import Intervals, Machine
from wireguard_mesh.client.state import ClientState, StateFolder
from wireguard_mesh.core.exit_nodes import ExitPolicy
from wireguard_mesh.core.wanted import DEFAULT_KEEPALIVE, Settings
from wireguard_mesh.model.devices import BackendChoice
from wireguard_mesh.model.names import Hostname, InterfaceName, hostname_from, parse_hostname
from wireguard_mesh.model.servers import ServerAddress


class Flags(msgspec.Struct, frozen=True, kw_only=True):
    """The command line, parsed. None: not given, so what is on disk holds."""

    server: ServerAddress | None = None
    interface: InterfaceName | None = None
    listen_port: int | None = None
    exit_node: bool | None = None
    use_exit_node: ExitPolicy | None = None
    hostname: Hostname | None = None
    keepalive: int = DEFAULT_KEEPALIVE
    mtu: int | None = None
    port_mapping: bool = True
    backend: BackendChoice = "auto"
    intervals: Intervals = Intervals()


def lasting(state: ClientState, flags: Flags) -> ClientState:
    """The identity with those flags in it that hold for later starts too."""
    given = {
        "interface": flags.interface,
        "listen_port": flags.listen_port,
        "exit_node": flags.exit_node,
        "use_exit_node": None if flags.use_exit_node is None else str(flags.use_exit_node),
        "hostname": flags.hostname,
        "server": flags.server,
    }
    return msgspec.structs.replace(state, **{name: value for name, value in given.items() if value is not None})


def settings(state: ClientState, flags: Flags) -> Settings:
    """What the engine needs of both. Raises `InvalidValue` if the identity's file has nonsense in it."""
    return Settings(
        interface=state.interface,
        private_key=state.private_key,
        listen_port=state.listen_port,
        keepalive=flags.keepalive,
        mtu=flags.mtu,
        offers_exit_node=state.exit_node,
        exit_policy=ExitPolicy.parse(state.use_exit_node),
    )


def machine(state: ClientState) -> Machine:
    """What this machine says of itself, before its endpoints are known. Raises `InvalidValue`."""
    name = parse_hostname(state.hostname) if state.hostname else hostname_from(socket.gethostname())
    return Machine(hostname=name, os=platform.system().lower(), version=__version__, exit_node=state.exit_node)


class AgentOptions(msgspec.Struct, frozen=True, kw_only=True):
    """All that an agent starts from. `directory` holds its socket and its lock."""

    folder: StateFolder
    directory: str
    state: ClientState
    flags: Flags
