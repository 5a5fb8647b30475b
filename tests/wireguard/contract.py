"""What every WireGuard backend must do, run against the fake, wireguard-go in the lab, and a kernel's.

`python -m tests.wireguard.contract userspace` runs it as a program, where a whole machine of the lab is needed.
"""

import asyncio
import sys
from collections.abc import Iterable
from ipaddress import ip_network

import pytest

from tests.samples import private_key, public_key
from wireguard_mesh.core.probes import Probe, ProbeKind, Round
from wireguard_mesh.model.devices import DeviceChange, ObservedDevice, ObservedPeer, PeerChange
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.errors import Conflict, NotFound
from wireguard_mesh.model.keys import PresharedKey
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.model.networks import Prefix
from wireguard_mesh.wireguard.choose import choose
from wireguard_mesh.wireguard.fake import FakeBackend
from wireguard_mesh.wireguard.interface import Backend
from wireguard_mesh.wireguard.kernel import KernelBackend
from wireguard_mesh.wireguard.userspace import UserspaceBackend

NAME = InterfaceName("wg7")
OTHER = InterfaceName("wg8")
MANY = 1000
PORT, MARK, MTU = 51877, 51820, 1380
PRESHARED_KEY = PresharedKey(b"\x07" * 32)


def addresses(number: int) -> frozenset[Prefix]:
    """Both addresses of a peer."""
    return frozenset(
        {ip_network(f"10.100.{number >> 8}.{number & 255}/32"), ip_network(f"fd01:2345:6789::{number:x}/128")}
    )


def joining(number: int) -> PeerChange:
    """A peer as it comes, every third one by IPv6."""
    endpoint = f"[2001:db8::{number:x}]:5{number}" if number % 3 == 0 else f"192.0.2.{number % 250 + 1}:5{number}"
    return PeerChange(
        public_key=public_key(number),
        create=True,
        endpoint=Endpoint.parse(endpoint),
        allowed_ips=addresses(number),
        keepalive=25 if number % 2 else 0,
        preshared_key=PRESHARED_KEY if number % 5 == 0 else None,
    )


def observed(change: PeerChange) -> ObservedPeer:
    """How that peer is then read."""
    return ObservedPeer(
        public_key=change.public_key,
        allowed_ips=change.allowed_ips or frozenset(),
        endpoint=change.endpoint,
        keepalive=change.keepalive or 0,
        preshared_key=change.preshared_key,
    )


async def stands(backend: Backend) -> ObservedDevice:
    """The device, which must be there."""
    device = await backend.read(NAME)
    assert device is not None
    return device


async def check_life(backend: Backend) -> None:
    """Create once, read, remove, and again; what is not there is said so."""
    assert await backend.read(NAME) is None
    with pytest.raises(NotFound):
        await backend.apply(NAME, DeviceChange(listen_port=PORT))
    await backend.create(NAME, MTU)
    fresh = await stands(backend)
    assert (fresh.name, fresh.backend, fresh.private_key, dict(fresh.peers)) == (NAME, backend.kind, None, {})
    with pytest.raises(Conflict, match=NAME):
        await backend.create(NAME, MTU)
    assert await backend.read(OTHER) is None
    await backend.remove(NAME)
    assert await backend.read(NAME) is None
    await backend.remove(NAME)


async def check_many_peers(backend: Backend) -> None:
    """A thousand peers in one change are read back as they were given; twice the same changes nothing."""
    await backend.create(NAME, MTU)
    peers = tuple(map(joining, range(1, MANY + 1)))
    change = DeviceChange(private_key=private_key(MANY + 1), listen_port=PORT, fwmark=MARK, peers=peers)
    await backend.apply(NAME, change)
    device = await stands(backend)
    assert (device.private_key, device.listen_port, device.fwmark) == (private_key(MANY + 1), PORT, MARK)
    assert dict(device.peers) == {peer.public_key: observed(peer) for peer in peers}
    await backend.apply(NAME, change)
    assert await stands(backend) == device
    await backend.apply(NAME, DeviceChange(fwmark=0))
    assert (await stands(backend)).fwmark == 0
    removed = (PeerChange(public_key=peer.public_key, remove=True) for peer in peers[1:])
    await backend.apply(NAME, DeviceChange(peers=tuple(removed)))
    assert list((await stands(backend)).peers) == [peers[0].public_key]
    await backend.remove(NAME)


async def check_changes(backend: Backend) -> None:
    """Each field changes alone; what is None stays; what is not there is not made by an update."""
    await backend.create(NAME, MTU)
    first = joining(5)
    await backend.apply(NAME, DeviceChange(private_key=private_key(99), peers=(first,)))
    peer = await apply(backend, PeerChange(public_key=public_key(5), keepalive=7))
    assert (peer.keepalive, peer.endpoint, peer.allowed_ips) == (7, first.endpoint, addresses(5))
    peer = await apply(backend, PeerChange(public_key=public_key(5), endpoint=Endpoint.parse("[2001:db8::9]:9")))
    assert (peer.keepalive, peer.endpoint) == (7, Endpoint.parse("[2001:db8::9]:9"))
    assert peer.preshared_key == PRESHARED_KEY
    peer = await apply(backend, PeerChange(public_key=public_key(5), preshared_key=PresharedKey(bytes(32))))
    assert peer.preshared_key is None
    peer = await apply(backend, PeerChange(public_key=public_key(5), allowed_ips=addresses(6)))
    assert peer.allowed_ips == addresses(6)
    await backend.apply(NAME, DeviceChange(peers=(PeerChange(public_key=public_key(6), keepalive=1),)))
    assert list((await stands(backend)).peers) == [public_key(5)]
    # A prefix belongs to the last who claims it, and nobody is his own peer.
    claims = (joining(6), PeerChange(public_key=public_key(99), create=True, allowed_ips=addresses(99)))
    await backend.apply(NAME, DeviceChange(peers=claims))
    peers = (await stands(backend)).peers
    assert {key: peer.allowed_ips for key, peer in peers.items()} == {
        public_key(5): frozenset(),
        public_key(6): addresses(6),
    }
    await backend.apply(NAME, DeviceChange(peers=(PeerChange(public_key=public_key(77), remove=True),)))
    assert set((await stands(backend)).peers) == {public_key(5), public_key(6)}
    await backend.remove(NAME)


async def apply(backend: Backend, change: PeerChange) -> ObservedPeer:
    """Change one peer, and read it."""
    await backend.apply(NAME, DeviceChange(peers=(change,)))
    return (await stands(backend)).peers[change.public_key]


async def check_many_prefixes(backend: Backend) -> None:
    """More prefixes of one peer than a netlink attribute holds."""
    await backend.create(NAME, MTU)
    prefixes: Iterable[str] = (f"10.{number >> 8}.{number & 255}.0/24" for number in range(3000))
    allowed = frozenset(map(ip_network, prefixes))
    peer = PeerChange(public_key=public_key(1), create=True, allowed_ips=allowed)
    await backend.apply(NAME, DeviceChange(peers=(peer,)))
    assert (await stands(backend)).peers[public_key(1)].allowed_ips == allowed
    await backend.remove(NAME)


async def check_adoption(backend: Backend) -> None:
    """What one backend object made, another one finds: an agent's successor; and `choose` picks the right kind."""
    await backend.create(NAME, MTU)
    await backend.apply(NAME, DeviceChange(private_key=private_key(1), listen_port=PORT))
    for asked in ("auto", "kernel", "userspace"):
        successor = await choose(NAME, asked)
        assert successor.kind is backend.kind
        assert await successor.read(NAME) == await backend.read(NAME)
        await successor.close()
    await backend.remove(NAME)


async def check_probes(backend: Backend) -> None:
    """A probe ends where it is to end and leaves nothing behind, also when one of its steps fails."""
    with pytest.raises(NotFound):
        await backend.probe(NAME, [DeviceChange(listen_port=PORT)])
    await backend.create(NAME, MTU)
    first = joining(5)
    home, candidate = Endpoint.parse("192.0.2.1:9"), Endpoint.parse("192.0.2.2:9")
    await backend.apply(NAME, DeviceChange(private_key=private_key(99), peers=(first, joining(6))))
    probes = [
        Probe(public_key=public_key(5), kind=ProbeKind.PULSE, targets=(candidate, candidate), home=home),
        Probe(public_key=public_key(6), kind=ProbeKind.PUNCH, targets=(candidate, home), home=home),
    ]
    await backend.probe(NAME, Round(tuple(probes)).steps(25))
    peers = (await stands(backend)).peers
    assert (peers[public_key(5)].endpoint, peers[public_key(5)].keepalive) == (home, 25)
    assert (peers[public_key(6)].endpoint, len(peers)) == (joining(6).endpoint, 2)
    await backend.remove(NAME)


CHECKS = (check_life, check_many_peers, check_changes, check_many_prefixes, check_probes)


async def check_all(backend: Backend) -> None:
    """The whole contract."""
    for check in CHECKS:
        await check(backend)
    if not isinstance(backend, FakeBackend):
        await check_adoption(backend)
    await backend.close()


def main() -> None:
    """Run it for the backend that is named on the command line."""
    asyncio.run(check_all({"kernel": KernelBackend, "userspace": UserspaceBackend}[sys.argv[1]]()))


if __name__ == "__main__":
    main()
