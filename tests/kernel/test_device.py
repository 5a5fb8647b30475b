"""Devices of the kernel backend as others see them: wg(8), ip(8), and a second plan. Its contract is in
test_kernel_backend.py."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest

from lab import Host, Lab
from wireguard_mesh.core.plan import plan
from wireguard_mesh.model.devices import (
    BackendKind,
    DeviceChange,
    ObservedDevice,
    WantedDevice,
    WantedPeer,
)
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.errors import Conflict, NotFound
from wireguard_mesh.model.keys import PresharedKey, PrivateKey, PublicKey
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.wireguard.kernel import KernelBackend

_WG0 = InterfaceName("wg0")
_MTU = 1420
_MANY = 1000
_PREFIXES = 3


@pytest.fixture
def host(lab: Lab) -> Host:
    return lab.host("a", lab.switch("lan", "192.0.2.0/24", "2001:db8:1::/64"))


@contextmanager
def _network(host: Host) -> Iterator[None]:
    """What opens sockets inside this block has them in the host's network. Coroutines stay in this thread."""
    with host.machine.network():
        yield


def _peer(number: int) -> WantedPeer:
    """A peer with all that a peer can have; `number` tells it from others."""
    allowed: list[IPv4Network | IPv6Network] = [
        IPv4Network((IPv4Address("10.100.0.0") + 4 * number, 30)),
        IPv4Network((IPv4Address("10.200.0.0") + number, 32)),
        IPv6Network((IPv6Address("fd00:1::") + number, 128)),
    ]
    return WantedPeer(
        public_key=PublicKey(os.urandom(32)),
        allowed_ips=frozenset(allowed),
        endpoint=Endpoint.parse(
            f"[2001:db8::{number:x}]:{1000 + number}" if number % 2 else f"192.0.2.77:{1 + number}"
        ),
        keepalive=number % 60,
        preshared_key=PresharedKey(os.urandom(32)) if number % 3 == 0 else None,
    )


def _wanted(count: int) -> WantedDevice:
    peers = [_peer(number) for number in range(count)]
    return WantedDevice(
        private_key=PrivateKey.generate(os.urandom(32)),
        listen_port=51820,
        fwmark=0x6D657368,
        peers={peer.public_key: peer for peer in peers},
    )


async def _read(backend: KernelBackend) -> ObservedDevice:
    observed = await backend.read(_WG0)
    assert observed is not None
    return observed


def _wg_dump(host: Host) -> list[list[str]]:
    """What wg(8), which is not ours, sees: one line a peer, after one of the device."""
    lines = host.run("wg", "show", "wg0", "dump").stdout.splitlines()
    return [line.split("\t") for line in lines[1:]]


async def test_a_thousand_peers_in_one_go(host: Host) -> None:
    wanted = _wanted(_MANY)
    with _network(host):
        backend = KernelBackend()
        await backend.create(_WG0, _MTU)
        await backend.apply(_WG0, plan(wanted, await _read(backend)))
        observed = await _read(backend)
        await backend.close()

    assert plan(wanted, observed).is_empty, "what stands is what was wanted, to the last allowed address"
    assert len(observed.peers) == _MANY
    assert observed.backend == BackendKind.KERNEL
    seen = {fields[0]: fields for fields in _wg_dump(host)}
    assert seen.keys() == {key.to_base64() for key in wanted.peers}
    for key, peer in wanted.peers.items():
        _, psk, endpoint, allowed, *_, keepalive = seen[key.to_base64()]
        assert psk == (peer.preshared_key.to_base64() if peer.preshared_key else "(none)")
        assert endpoint == str(peer.endpoint)
        assert set(allowed.split(",")) == {str(prefix) for prefix in peer.allowed_ips}
        assert len(peer.allowed_ips) == _PREFIXES
        assert keepalive == (str(peer.keepalive) if peer.keepalive else "off")


async def test_the_least_change_leaves_the_others_alone(host: Host) -> None:
    wanted = _wanted(30)
    first, second, third, *_ = wanted.peers.values()
    moved = WantedPeer(public_key=second.public_key, allowed_ips=first.allowed_ips, endpoint=second.endpoint)
    later = WantedDevice(
        private_key=wanted.private_key,
        listen_port=51821,
        fwmark=0,
        peers={**{key: peer for key, peer in wanted.peers.items() if peer is not first}, moved.public_key: moved},
    )
    with _network(host):
        backend = KernelBackend()
        await backend.create(_WG0, _MTU)
        await backend.apply(_WG0, plan(wanted, await _read(backend)))
        change = plan(later, await _read(backend))
        assert {peer.public_key for peer in change.peers} == {first.public_key, second.public_key}
        for _ in range(2):
            await backend.apply(_WG0, change)
            assert plan(later, await _read(backend)).is_empty, "and twice is once"
        observed = await _read(backend)
        await backend.close()
    assert observed.peers[third.public_key].allowed_ips == third.allowed_ips
    assert observed.listen_port == 51821


async def test_an_interface_that_stands_is_found_and_no_other_is_touched(host: Host) -> None:
    host.run("ip", "link", "add", "dummy7", "type", "dummy")
    with _network(host):
        backend = KernelBackend()
        await backend.create(_WG0, _MTU)
        with pytest.raises(Conflict, match="wg0"):
            await backend.create(_WG0, _MTU)
        with pytest.raises(Conflict, match="dummy7"):
            await backend.create(InterfaceName("dummy7"), _MTU)
        assert await backend.read(InterfaceName("dummy7")) is None
        await backend.remove(InterfaceName("dummy7"))
        with pytest.raises(NotFound):
            await backend.apply(InterfaceName("dummy7"), DeviceChange(fwmark=1))
        await backend.remove(_WG0)
        await backend.remove(_WG0)
        assert await backend.read(_WG0) is None
        with pytest.raises(NotFound):
            await backend.apply(_WG0, DeviceChange(fwmark=1))
        await backend.close()
    links = host.run("ip", "-brief", "link").stdout
    assert "dummy7" in links
    assert "wg0" not in links


async def test_a_port_in_use_is_said(host: Host) -> None:
    with _network(host):
        backend = KernelBackend()
        for name, change in (("wg0", None), ("wg1", Conflict)):
            await backend.create(InterfaceName(name), _MTU)
            host.run("ip", "link", "set", name, "up")
            wanted = DeviceChange(private_key=PrivateKey.generate(os.urandom(32)), listen_port=51820)
            if change is None:
                await backend.apply(InterfaceName(name), wanted)
                continue
            with pytest.raises(change, match="51820"):
                await backend.apply(InterfaceName(name), wanted)
        await backend.close()
