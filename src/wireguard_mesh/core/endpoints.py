"""Endpoint candidates: which of our addresses to publish, and in which order to try those of a peer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.hosts import LocalAddress
from wireguard_mesh.model.names import InterfaceName

_VIRTUAL_LINKS: Final = (
    "br-", "cali", "cilium", "cni", "docker", "flannel", "lxc", "lxd", "podman", "vboxnet", "veth", "virbr", "vmnet",
)  # fmt: skip


def is_virtual_link(name: InterfaceName) -> bool:
    """Whether a link of this name leads to containers or virtual machines of this host.

    Their address ranges are the same on many machines, so an address in one says little about who has it.
    """
    return name.startswith(_VIRTUAL_LINKS)


def published(local: Sequence[LocalAddress], port: int, limit: int) -> tuple[Endpoint, ...]:
    """The candidates of this machine, best first, at most `limit`; addresses of virtual links last."""
    ordered = sorted(local, key=lambda link: is_virtual_link(link.interface))
    return tuple(dict.fromkeys(Endpoint(link.address, port) for link in ordered))[:limit]


def ranked(candidates: Sequence[Endpoint], local: Sequence[LocalAddress], own_port: int) -> tuple[Endpoint, ...]:
    """A peer's candidates in the order to try them: on a link of ours, then as the peer published them, then the
    doubtful: an address that this machine has itself, or in a range of its containers, or of a family that it lacks.

    What would reach our own WireGuard socket is left out.
    """
    own = {link.address for link in local}
    families = {link.address.version for link in local}

    def doubt(candidate: Endpoint) -> int:
        if candidate.address in own or (families and candidate.address.version not in families):
            return 2
        near = [link for link in local if candidate.address in link.prefix]
        if any(not is_virtual_link(link.interface) for link in near):
            return 0
        return 2 if near else 1

    others = (item for item in candidates if not (item.address in own and item.port == own_port))
    return tuple(sorted(others, key=doubt))
