"""A WireGuard device: what is wanted of it, what is seen of it, and a change between the two.

Names and meanings are those of the kernel's netlink interface and of the cross-platform UAPI
(https://www.wireguard.com/xplatform/). Keys are values, times are seconds, counters are bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Literal

import msgspec

from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.keys import PresharedKey, PrivateKey, PublicKey
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.model.networks import Prefix


class BackendKind(StrEnum):
    """Which WireGuard carries the packets."""

    KERNEL = "kernel"
    USERSPACE = "userspace"


BackendChoice = Literal["auto", "kernel", "userspace"]
"""What a user says of it; "auto": the kernel's where the machine has it."""


class WantedPeer(msgspec.Struct, frozen=True, kw_only=True):
    """What one peer of the device shall be.

    `endpoint` None: leave the one that WireGuard has, which may have roamed. `keepalive` in seconds, 0 is off.
    """

    public_key: PublicKey
    allowed_ips: frozenset[Prefix]
    endpoint: Endpoint | None = None
    keepalive: int = 0
    preshared_key: PresharedKey | None = None


class WantedDevice(msgspec.Struct, frozen=True, kw_only=True):
    """What the whole device shall be. `fwmark` 0 is off."""

    private_key: PrivateKey
    listen_port: int
    fwmark: int
    peers: Mapping[PublicKey, WantedPeer]


class ObservedPeer(msgspec.Struct, frozen=True, kw_only=True):
    """What the device says of one peer. `latest_handshake` is Unix time, 0 for never."""

    public_key: PublicKey
    allowed_ips: frozenset[Prefix] = frozenset()
    endpoint: Endpoint | None = None
    keepalive: int = 0
    preshared_key: PresharedKey | None = None
    latest_handshake: float = 0.0
    received_bytes: int = 0
    sent_bytes: int = 0


class ObservedDevice(msgspec.Struct, frozen=True, kw_only=True):
    """What stands. `private_key` None: the device has none yet."""

    name: InterfaceName
    backend: BackendKind
    private_key: PrivateKey | None = None
    listen_port: int = 0
    fwmark: int = 0
    peers: Mapping[PublicKey, ObservedPeer] = {}


class PeerChange(msgspec.Struct, frozen=True, kw_only=True):
    """One peer's part of a change; what is None stays as it is.

    `create` False: only change the peer if it stands (`update_only`). `remove`: all else is ignored.
    `allowed_ips` replace those that stand.
    """

    public_key: PublicKey
    create: bool = False
    remove: bool = False
    endpoint: Endpoint | None = None
    allowed_ips: frozenset[Prefix] | None = None
    keepalive: int | None = None
    preshared_key: PresharedKey | None = None


class DeviceChange(msgspec.Struct, frozen=True, kw_only=True):
    """The least that turns what stands into what is wanted; what is None stays. Applied in the order given."""

    private_key: PrivateKey | None = None
    listen_port: int | None = None
    fwmark: int | None = None
    peers: tuple[PeerChange, ...] = ()

    @property
    def is_empty(self) -> bool:
        """True if applying it would do nothing."""
        return self.private_key is None and self.listen_port is None and self.fwmark is None and not self.peers
