"""The one seam between the mesh and the host's network: addresses, routes, rules, forwarding, and news of its links.

A system backend takes the whole wanted state, applies the difference, and is idempotent. All that it changes is written
into a journal before it is done, and undone from that journal: on `down`, or by a later run after a crash.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from enum import StrEnum
from typing import Protocol

from wireguard_mesh.model.endpoints import Address
from wireguard_mesh.model.errors import MeshError
from wireguard_mesh.model.hosts import LocalAddress, WantedHost
from wireguard_mesh.model.names import InterfaceName


class LinkEvent(StrEnum):
    """What changed in the host's network. Bursts come as one event each kind."""

    ADDRESSES = "addresses"
    ROUTES = "routes"
    INTERFACE = "interface"  # our own interface came, went, or changed its state


class System(Protocol):
    """One operating system. Implementations: Linux, and a fake for tests."""

    async def prepare(self, interface: InterfaceName) -> None:
        """Note in the journal that the interface of this name is ours, before it is created."""

    async def owns(self, interface: InterfaceName, *, has_key: bool) -> bool:
        """Whether the interface that stands is one that an agent of ours made.

        The journal knows it by what the system numbers it with, and a name alone proves nothing: somebody may have made
        another since. `has_key` False: it has no private key yet, so it may be one whose maker was stopped before it
        could note that number.
        """

    async def exists(self, interface: InterfaceName) -> bool:
        """Whether any interface of that name stands, of whatever kind."""

    async def apply(self, wanted: WantedHost) -> MeshError | None:
        """Make the host so: link up with its MTU, addresses, routes, exit routing, forwarding.

        Whatever was set by us before and is not wanted any more is undone. Raises `Conflict` for what would break
        something that is not ours (a local route that overlaps the mesh), `NotPermitted`, `Unsupported`, `NotFound` if
        the interface is gone. Returned is what kept exit routing or forwarding alone from being as wanted, if anything
        did: the mesh itself is as wanted then.
        """

    async def undo(self, interface: InterfaceName) -> bool:
        """Take back all that the journal holds for this interface, and what bears our name without being noted; forget
        it. Whether there was anything. The interface itself is the WireGuard backend's to remove, and one that is not
        ours is not touched. Idempotent; works after a crash of an earlier run."""

    async def local_addresses(self) -> list[LocalAddress]:
        """Addresses at which others may reach this machine: no loopback, no link-local, no tunnel of ours, links that
        are up only. The address that the default route uses comes first; those of container and VM bridges last."""

    async def path_mtu(self, destination: Address) -> int:
        """MTU in bytes of the link that packets to `destination` leave by; 1500 if unknown."""

    def watch(self, interface: InterfaceName) -> AsyncIterator[LinkEvent]:
        """Changes as they come, until closed. After an overrun of the kernel's queue every kind is reported."""

    async def close(self) -> None:
        """Let go of sockets. What was applied stays."""
