"""Which agent of this machine a command means: the folder of its identity, its interface, its socket."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from wireguard_mesh.cli.flags import DEFAULT_FOLDER
from wireguard_mesh.client.state import ClientState, StateFolder
from wireguard_mesh.model.errors import MeshError
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.model.places import runtime_directory, socket_path

DEFAULT_INTERFACE = InterfaceName("wg0")


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
        try:
            state = self.folder.load()
        except MeshError:
            state = None
        interface = self.interface(state)
        own = Path(socket_path(self.directory, interface))
        system = Path(socket_path(runtime_directory(0), interface))
        return own if own.exists() else system
