"""Values that the tests of the core, the store and the server share."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from ipaddress import IPv4Address, IPv4Network, IPv6Network

from wireguard_mesh.core.commands import Observe, Register
from wireguard_mesh.core.snapshot import Snapshot
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.keys import PrivateKey, PublicKey
from wireguard_mesh.model.names import Hostname
from wireguard_mesh.model.networks import MeshNetwork
from wireguard_mesh.model.relays import NatClass, Relay, VantagePoint, parse_relay_id

NETWORK = MeshNetwork(IPv4Network("10.100.0.0/24"), IPv6Network("fd00:1:2::/64"))
EPOCH = "abc123"


@cache
def private_key(seed: int) -> PrivateKey:
    """A key that is the same each time."""
    return PrivateKey.generate(sha256(f"key {seed}".encode()).digest())


@cache
def public_key(seed: int) -> PublicKey:
    """Its public half."""
    return private_key(seed).public_key


def random_bytes(seed: object) -> bytes:
    """32 bytes that are the same each time."""
    return sha256(f"random {seed}".encode()).digest()


def register(
    seed: int,
    *,
    signed: bool = True,
    hostname: str = "machine",
    endpoints: tuple[str, ...] | None = (),
    exit_node: bool = False,
    version: str | None = "1",
    allocate: bool = True,
    random: bytes | None = None,
) -> Register:
    """A registration of key number `seed`."""
    return Register(
        public_key=public_key(seed),
        signed=signed,
        hostname=Hostname(hostname),
        os="linux",
        exit_node=exit_node,
        random=random_bytes(seed) if random is None else random,
        endpoints=None if endpoints is None else tuple(Endpoint.parse(text) for text in endpoints),
        version=version,
        allocate=allocate,
    )


def relay(seed: int, name: str = "", port: int = 8080, ipv4: str | None = None) -> Relay:
    """A relay whose vantage points have keys 500 and 600 more than `seed`."""
    points = (VantagePoint(public_key(500 + seed), port), VantagePoint(public_key(600 + seed), port + 1))
    return Relay(
        id=parse_relay_id(name or f"relay-{seed}"),
        vantage_points=points,
        ipv4=None if ipv4 is None else IPv4Address(ipv4),
    )


def observe(seed: int, *endpoints: str, nat: NatClass = NatClass.EASY) -> Observe:
    """What relays see of key number `seed`."""
    return Observe(public_key=public_key(seed), reflexive=tuple(map(Endpoint.parse, endpoints)), nat=nat)


def empty(network: MeshNetwork = NETWORK) -> Snapshot:
    """A mesh without peers."""
    return Snapshot.of(epoch=EPOCH, network=network)
