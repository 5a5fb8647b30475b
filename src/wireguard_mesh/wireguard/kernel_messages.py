"""Messages of the kernel's WireGuard (linux/wireguard.h), over generic netlink. Pure.

A change becomes as many messages as it needs; an attribute holds at most 64 KiB, and short messages keep each system
call short: the kernel multiplies a point for each new peer. A dump may split a peer, which is merged by its key.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_address, ip_network
from socket import AF_INET, AF_INET6
from typing import Final

from wireguard_mesh.model.devices import BackendKind, DeviceChange, ObservedDevice, ObservedPeer, PeerChange
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.model.keys import KEY_LENGTH, PresharedKey, PrivateKey, PublicKey
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.model.networks import Prefix
from wireguard_mesh.model.peers import SCAN_CACHE, shared_prefixes
from wireguard_mesh.netlink.codec import (
    attribute,
    attributes,
    nested,
    read_u16,
    read_u32,
    text,
    u8,
    u16,
    u32,
)

FAMILY_NAME: Final = "wireguard"
WG_CMD_GET_DEVICE: Final = 0
WG_CMD_SET_DEVICE: Final = 1
WG_VERSION: Final = 1

GENL_ID_CTRL: Final = 16
CTRL_CMD_GETFAMILY: Final = 3
_CTRL_VERSION: Final = 1
_CTRL_ATTR_FAMILY_ID, _CTRL_ATTR_FAMILY_NAME = 1, 2

_DEVICE_IFNAME, _DEVICE_PRIVATE_KEY = 2, 3
_DEVICE_LISTEN_PORT, _DEVICE_FWMARK, _DEVICE_PEERS = 6, 7, 8
_PEER_PUBLIC_KEY, _PEER_PRESHARED_KEY, _PEER_FLAGS, _PEER_ENDPOINT, _PEER_KEEPALIVE = 1, 2, 3, 4, 5
_PEER_HANDSHAKE, _PEER_RX_BYTES, _PEER_TX_BYTES, _PEER_ALLOWED_IPS = 6, 7, 8, 9
_IP_FAMILY, _IP_ADDRESS, _IP_MASK = 1, 2, 3
WGPEER_F_REMOVE_ME: Final = 0x1
WGPEER_F_REPLACE_ALLOWEDIPS: Final = 0x2
WGPEER_F_UPDATE_ONLY: Final = 0x4

# A peer with two prefixes takes some 200 bytes: about 150 peers a message.
MAX_PEERS_LENGTH: Final = 30_000
# A prefix takes at most 44 bytes, so a peer's part stays below MAX_PEERS_LENGTH.
MAX_PREFIXES: Final = 500

_GENERIC: Final = struct.Struct("=BBH")  # command, version, reserved
_TIMESPEC: Final = struct.Struct("=qq")
_U64: Final = struct.Struct("=Q")
_SOCKADDR_IN: Final = struct.Struct("=H2s4s8x")  # sockaddr_in: the port is in network order
_SOCKADDR_IN6: Final = struct.Struct("=H2s4x16sI")  # sockaddr_in6
_NANOSECOND: Final = 1e-9
_NO_KEY: Final = bytes(KEY_LENGTH)


def encode_family_request() -> bytes:
    """Ask the controller for the number of WireGuard's family."""
    return _GENERIC.pack(CTRL_CMD_GETFAMILY, _CTRL_VERSION, 0) + text(_CTRL_ATTR_FAMILY_NAME, FAMILY_NAME)


def decode_family(payload: bytes) -> int:
    """The number of WireGuard's family. Raises `InvalidValue`."""
    for kind, value in attributes(payload, _GENERIC.size):
        if kind == _CTRL_ATTR_FAMILY_ID:
            return read_u16(value)
    raise InvalidValue("the kernel named no number for the WireGuard family")


def encode_get(name: InterfaceName) -> bytes:
    """Ask for all that a device knows."""
    return _GENERIC.pack(WG_CMD_GET_DEVICE, WG_VERSION, 0) + text(_DEVICE_IFNAME, name)


def encode_set(name: InterfaceName, change: DeviceChange) -> Iterator[bytes]:
    """The messages of a change, in their order."""
    header = _GENERIC.pack(WG_CMD_SET_DEVICE, WG_VERSION, 0) + text(_DEVICE_IFNAME, name)
    device = b""
    if change.private_key is not None:
        device += attribute(_DEVICE_PRIVATE_KEY, change.private_key.raw)
    if change.listen_port is not None:
        device += u16(_DEVICE_LISTEN_PORT, change.listen_port)
    if change.fwmark is not None:
        device += u32(_DEVICE_FWMARK, change.fwmark)
    if device:
        yield header + device
    for chunk in _chunks(part for peer in change.peers for part in _peer_parts(peer)):
        yield header + nested(_DEVICE_PEERS, chunk)


def _chunks(parts: Iterable[bytes]) -> Iterator[list[bytes]]:
    chunk: list[bytes] = []
    length = 0
    for part in parts:
        if chunk and length + len(part) > MAX_PEERS_LENGTH:
            yield chunk
            chunk, length = [], 0
        chunk.append(part)
        length += len(part)
    if chunk:
        yield chunk


def _peer_parts(peer: PeerChange) -> Iterator[bytes]:
    """A peer, in more than one part if it has very many prefixes: the first part replaces, the others add."""
    key = attribute(_PEER_PUBLIC_KEY, peer.public_key.raw)
    if peer.remove:
        yield nested(0, [key, u32(_PEER_FLAGS, WGPEER_F_REMOVE_ME)])
        return
    flags = 0 if peer.create else WGPEER_F_UPDATE_ONLY
    prefixes = sorted(peer.allowed_ips or (), key=str)
    head = [key, u32(_PEER_FLAGS, flags | (WGPEER_F_REPLACE_ALLOWEDIPS if peer.allowed_ips is not None else 0))]
    if peer.preshared_key is not None:
        head.append(attribute(_PEER_PRESHARED_KEY, peer.preshared_key.raw))
    if peer.endpoint is not None:
        head.append(attribute(_PEER_ENDPOINT, _encode_endpoint(peer.endpoint)))
    if peer.keepalive is not None:
        head.append(u16(_PEER_KEEPALIVE, peer.keepalive))
    yield nested(0, [*head, *_allowed_ips(prefixes[:MAX_PREFIXES])])
    for start in range(MAX_PREFIXES, len(prefixes), MAX_PREFIXES):
        more = _allowed_ips(prefixes[start : start + MAX_PREFIXES])
        yield nested(0, [key, u32(_PEER_FLAGS, WGPEER_F_UPDATE_ONLY), *more])


def _allowed_ips(prefixes: list[Prefix]) -> list[bytes]:
    if not prefixes:
        return []
    return [nested(_PEER_ALLOWED_IPS, map(_encode_prefix, prefixes))]


@lru_cache(SCAN_CACHE)
def _encode_prefix(prefix: Prefix) -> bytes:
    family = AF_INET if prefix.version == 4 else AF_INET6
    address = attribute(_IP_ADDRESS, prefix.network_address.packed)
    return nested(0, [u16(_IP_FAMILY, family), address, u8(_IP_MASK, prefix.prefixlen)])


def _encode_endpoint(endpoint: Endpoint) -> bytes:
    port = endpoint.port.to_bytes(2, "big")
    if endpoint.address.version == 4:
        return _SOCKADDR_IN.pack(AF_INET, port, endpoint.address.packed)
    return _SOCKADDR_IN6.pack(AF_INET6, port, endpoint.address.packed, 0)


@dataclass(slots=True)
class _Peer:
    """A peer while the parts of a dump are put together."""

    fields: dict[int, bytes] = field(default_factory=dict)
    prefixes: set[Prefix] = field(default_factory=set)


def decode_device(name: InterfaceName, payloads: Iterable[bytes]) -> ObservedDevice:
    """The device that the messages of a dump describe. Raises `InvalidValue`.

    An endpoint that only this machine understands (link-local with an interface) counts as none.
    """
    device: dict[int, bytes] = {}
    peers: dict[bytes, _Peer] = {}
    for payload in payloads:
        for kind, value in attributes(payload, _GENERIC.size):
            if kind == _DEVICE_PEERS:
                _collect_peers(peers, value)
            else:
                device.setdefault(kind, value)
    private_key = device.get(_DEVICE_PRIVATE_KEY, _NO_KEY)
    observed = [_decode_peer(peer) for peer in peers.values()]
    return ObservedDevice(
        name=name,
        backend=BackendKind.KERNEL,
        private_key=None if private_key == _NO_KEY else PrivateKey(private_key),
        listen_port=read_u16(device[_DEVICE_LISTEN_PORT]) if _DEVICE_LISTEN_PORT in device else 0,
        fwmark=read_u32(device[_DEVICE_FWMARK]) if _DEVICE_FWMARK in device else 0,
        peers={peer.public_key: peer for peer in observed},
    )


def _collect_peers(peers: dict[bytes, _Peer], value: bytes) -> None:
    for _, one in attributes(value):
        fields = dict(attributes(one))
        key = fields.get(_PEER_PUBLIC_KEY)
        if key is None:
            raise InvalidValue("the kernel named a peer without its key")
        peer = peers.setdefault(key, _Peer())
        for _, prefix in attributes(fields.pop(_PEER_ALLOWED_IPS, b"")):
            peer.prefixes.add(_decode_prefix(prefix))
        for kind, field_value in fields.items():
            peer.fields.setdefault(kind, field_value)


def _decode_peer(peer: _Peer) -> ObservedPeer:
    fields = peer.fields
    preshared_key = fields.get(_PEER_PRESHARED_KEY, _NO_KEY)
    seconds, nanoseconds = _unpack(_TIMESPEC, fields.get(_PEER_HANDSHAKE, bytes(_TIMESPEC.size)))
    return ObservedPeer(
        public_key=_public_key(fields[_PEER_PUBLIC_KEY]),
        allowed_ips=shared_prefixes(frozenset(peer.prefixes)),
        endpoint=_decode_endpoint(fields.get(_PEER_ENDPOINT, b"")),
        keepalive=read_u16(fields[_PEER_KEEPALIVE]) if _PEER_KEEPALIVE in fields else 0,
        preshared_key=None if preshared_key == _NO_KEY else PresharedKey(preshared_key),
        latest_handshake=seconds + nanoseconds * _NANOSECOND,
        received_bytes=_unpack(_U64, fields.get(_PEER_RX_BYTES, bytes(_U64.size)))[0],
        sent_bytes=_unpack(_U64, fields.get(_PEER_TX_BYTES, bytes(_U64.size)))[0],
    )


# The same peers are read again and again: these make their values once.
@lru_cache(SCAN_CACHE)
def _public_key(raw: bytes) -> PublicKey:
    return PublicKey(raw)


@lru_cache(SCAN_CACHE)
def _decode_prefix(value: bytes) -> Prefix:
    fields = dict(attributes(value))
    try:
        return ip_network((fields[_IP_ADDRESS], fields[_IP_MASK][0]))
    except (KeyError, IndexError, ValueError):
        raise InvalidValue("the kernel named an allowed IP that is no prefix") from None


@lru_cache(SCAN_CACHE)
def _decode_endpoint(value: bytes) -> Endpoint | None:
    if len(value) == _SOCKADDR_IN.size:
        _, port, address = _SOCKADDR_IN.unpack(value)
    elif len(value) == _SOCKADDR_IN6.size:
        _, port, address, scope = _SOCKADDR_IN6.unpack(value)
        if scope:
            return None
    else:
        return None
    try:
        return Endpoint(ip_address(address), int.from_bytes(port, "big"))
    except InvalidValue:
        return None


def _unpack(form: struct.Struct, value: bytes) -> tuple[int, ...]:
    if len(value) != form.size:
        raise InvalidValue(f"the kernel sent {len(value)} bytes where {form.size} are due")
    return form.unpack(value)
