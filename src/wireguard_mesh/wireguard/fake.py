"""A WireGuard that exists in memory only: devices as the real backends show them, with handles for tests.

Used by the tests of everything above, and by measurements with many peers that need no tunnel.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from wireguard_mesh.model.devices import BackendKind, DeviceChange, ObservedDevice, ObservedPeer, PeerChange
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.errors import Conflict, MeshError, NotFound
from wireguard_mesh.model.keys import KEY_LENGTH, PresharedKey, PublicKey
from wireguard_mesh.model.names import InterfaceName

Operation = Literal["create", "read", "apply", "probe", "remove"]
_NO_KEY: Final = bytes(KEY_LENGTH)


class FakeBackend:
    """Devices in memory.

    `devices` is what stands, `foreign` the names that something else has. `count` counts operations, `changes` keeps
    what was applied, `mtus` what was created. `fail` makes the next operations of one kind fail.
    """

    def __init__(self, kind: BackendKind = BackendKind.USERSPACE) -> None:
        self.kind: Final = kind
        self.devices: dict[InterfaceName, ObservedDevice] = {}
        self.mtus: dict[InterfaceName, int] = {}
        self.foreign: set[InterfaceName] = set()
        self.changes: list[DeviceChange] = []
        self.count: Counter[Operation] = Counter()
        self.closed = False
        self._faults: dict[Operation, list[MeshError]] = {}

    def fail(self, operation: Operation, error: MeshError, times: int = 1) -> None:
        """The next `times` calls of `operation` raise `error` and change nothing."""
        self._faults.setdefault(operation, []).extend([error] * times)

    def see_peer(
        self,
        name: InterfaceName,
        public_key: PublicKey,
        *,
        latest_handshake: float | None = None,
        endpoint: Endpoint | None = None,
        received_bytes: int | None = None,
        sent_bytes: int | None = None,
    ) -> None:
        """Let a peer be as after a handshake, after roaming, after traffic; what is None stays."""
        news = {
            "latest_handshake": latest_handshake,
            "endpoint": endpoint,
            "received_bytes": received_bytes,
            "sent_bytes": sent_bytes,
        }
        device = self.devices[name]
        seen = msgspec.structs.replace(
            device.peers[public_key], **{field: value for field, value in news.items() if value is not None}
        )
        self.devices[name] = msgspec.structs.replace(device, peers={**device.peers, public_key: seen})

    def kill(self, name: InterfaceName) -> None:
        """The device is gone, as after a SIGKILL of wireguard-go."""
        del self.devices[name]

    async def create(self, name: InterfaceName, mtu: int) -> None:
        """See `Backend.create`."""
        self._start("create")
        if name in self.devices or name in self.foreign:
            raise Conflict(f"an interface named {name} stands already", "choose another with -interface")
        self.devices[name] = ObservedDevice(name=name, backend=self.kind)
        self.mtus[name] = mtu

    async def read(self, name: InterfaceName) -> ObservedDevice | None:
        """See `Backend.read`."""
        self._start("read")
        return self.devices.get(name)

    async def apply(self, name: InterfaceName, change: DeviceChange) -> None:
        """See `Backend.apply`."""
        self._start("apply")
        self.change(name, change)

    def change(self, name: InterfaceName, change: DeviceChange) -> None:
        """Let the device be so. Raises `NotFound` without one."""
        device = self.devices.get(name)
        if device is None:
            raise NotFound(f"there is no WireGuard interface {name}")
        self.changes.append(change)
        peers = dict(device.peers)
        own = change.private_key or device.private_key
        for peer in change.peers:
            _apply_peer(peers, peer)
        if own is not None:
            peers.pop(own.public_key, None)  # a device never has itself as a peer
        self.devices[name] = ObservedDevice(
            name=name,
            backend=self.kind,
            private_key=own,
            listen_port=device.listen_port if change.listen_port is None else change.listen_port,
            fwmark=device.fwmark if change.fwmark is None else change.fwmark,
            peers=peers,
        )

    async def probe(self, name: InterfaceName, steps: Sequence[DeviceChange]) -> None:
        """See `Backend.probe`. A fault comes before the last step."""
        last = steps[-1]
        try:
            for step in steps[:-1]:
                self.change(name, step)
            self._start("probe")
        finally:
            self.change(name, last)

    async def remove(self, name: InterfaceName) -> None:
        """See `Backend.remove`."""
        self._start("remove")
        self.devices.pop(name, None)
        self.mtus.pop(name, None)

    async def close(self) -> None:
        """See `Backend.close`."""
        self.closed = True

    def _start(self, operation: Operation) -> None:
        self.count[operation] += 1
        faults = self._faults.get(operation)
        if faults:
            raise faults.pop(0)


def _apply_peer(peers: dict[PublicKey, ObservedPeer], change: PeerChange) -> None:
    key = change.public_key
    if change.remove:
        peers.pop(key, None)
        return
    if key not in peers and not change.create:
        return
    before = peers.get(key, ObservedPeer(public_key=key))
    if change.allowed_ips is not None:  # a prefix belongs to one peer: the last to claim it
        for other, peer in peers.items():
            if other != key and peer.allowed_ips & change.allowed_ips:
                peers[other] = msgspec.structs.replace(peer, allowed_ips=peer.allowed_ips - change.allowed_ips)
    peers[key] = msgspec.structs.replace(
        before,
        endpoint=change.endpoint or before.endpoint,
        allowed_ips=before.allowed_ips if change.allowed_ips is None else change.allowed_ips,
        keepalive=before.keepalive if change.keepalive is None else change.keepalive,
        preshared_key=_preshared(before.preshared_key, change.preshared_key),
    )


def _preshared(before: PresharedKey | None, change: PresharedKey | None) -> PresharedKey | None:
    if change is None:
        return before
    return None if change.raw == _NO_KEY else change
