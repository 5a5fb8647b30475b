"""Which agent of this machine a command means: the folder of its identity, its interface, its socket."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from wireguard_mesh.cli.flags import DEFAULT_FOLDER
from wireguard_mesh.client.local_client import Told, ask
from wireguard_mesh.client.state import DEFAULT_INTERFACE, ClientState, StateFolder
from wireguard_mesh.model.errors import Conflict, MeshError, NotFound
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.model.places import runtime_directory, socket_path
from wireguard_mesh.protocol import local
from wireguard_mesh.protocol.status import Status


@dataclass(frozen=True, slots=True)
class Place:
    """As the flags say; None: not given."""

    config: Path | None
    named: str | None

    def within(self, config: Path | None, interface: str | None) -> Place:
        """The same, with the flags of a command over those before it."""
        return Place(config or self.config, interface or self.named)

    @property
    def folder(self) -> StateFolder:
        """Where the identity is."""
        return StateFolder.at((self.config or Path(DEFAULT_FOLDER)).expanduser().absolute())

    @property
    def directory(self) -> str:
        """Where running agents are found."""
        return runtime_directory(os.getuid(), os.environ.get("XDG_RUNTIME_DIR"))

    def interface(self, state: ClientState | None) -> InterfaceName:
        """The interface: as given, else the identity's."""
        if self.named is not None:
            return InterfaceName(self.named)
        return state.interface if state else DEFAULT_INTERFACE

    def socket(self) -> Path:
        """The agent's socket. Users that may not read root's identity ask for root's agent, by the usual name."""
        return self._socket(self.identity())

    def ask(self, request: local.Request, expected: type[Told]) -> Told:
        """Have the agent of this place do it; `expected` is what it is to answer with.

        Raises what `local_client.ask` does, and `NotFound` or `Conflict` rather than ask the agent of another identity
        than the one that the user named.
        """
        state = self.identity()
        if self.config is None:
            return ask(self._socket(state), request, expected)
        if state is None and self.named is None and not self.folder.path.exists():
            raise NotFound(
                f"there is no {self.folder.path}, so this machine is in no mesh by it",
                "join one: vpn-client -server http://SERVER:8080",
            )
        status = ask(self._socket(state), local.StatusRequest(), Status)
        if state is not None and status.public_key != state.private_key.public_key:
            raise Conflict(
                f"the agent of {status.interface} has another identity than {self.folder.path}",
                "say whose agent is meant with -config, or nothing for the usual one",
            )
        return status if isinstance(status, expected) else ask(self._socket(state), request, expected)

    def identity(self) -> ClientState | None:
        """The identity, if there is one that can be read."""
        try:
            return self.folder.load()
        except MeshError:
            return None

    def _socket(self, state: ClientState | None) -> Path:
        interface = self.interface(state)
        own = Path(socket_path(self.directory, interface))
        system = Path(socket_path(runtime_directory(0), interface))
        return own if own.exists() else system
