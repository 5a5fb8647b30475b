"""Messages of the kernel's WireGuard: what we write, and what the kernel says, byte for byte and back."""

import struct
from collections.abc import Iterable
from ipaddress import ip_network

import pytest
from hypothesis import given

from tests.protocol.test_uapi import observed_devices
from tests.samples import private_key, public_key
from wireguard_mesh.model.devices import BackendKind, DeviceChange, ObservedDevice, PeerChange
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.model.keys import PresharedKey
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.netlink.codec import MAX_ATTRIBUTE, attribute, attributes, nested, text, u32
from wireguard_mesh.wireguard import kernel_messages as messages

WG0 = InterfaceName("wg0")


def as_dump(device: ObservedDevice) -> list[bytes]:
    """What the kernel would dump of a device: our own `set` of the same content, and the fields that only it knows."""
    peers = []
    for peer in device.peers.values():
        parts = [attribute(1, peer.public_key.raw)]
        parts.append(attribute(2, peer.preshared_key.raw if peer.preshared_key else bytes(32)))
        if peer.endpoint is not None:
            parts.append(attribute(4, messages._encode_endpoint(peer.endpoint)))
        parts.append(attribute(5, struct.pack("=H", peer.keepalive)))
        parts.append(attribute(6, struct.pack("=qq", int(peer.latest_handshake), 0)))
        parts.append(attribute(7, struct.pack("=Q", peer.received_bytes)))
        parts.append(attribute(8, struct.pack("=Q", peer.sent_bytes)))
        peers.append((parts, peer))
    head = bytes(4) + text(2, device.name)
    if device.private_key:
        head += attribute(3, device.private_key.raw)
    head += attribute(6, struct.pack("=H", device.listen_port)) + u32(7, device.fwmark)
    dump = [head]
    for parts, peer in peers:  # the worst split: each prefix in a message of its own
        dump.append(bytes(4) + nested(8, [nested(0, parts)]))
        for prefix in peer.allowed_ips:
            again = [attribute(1, peer.public_key.raw), *messages._allowed_ips([prefix])]
            dump.append(bytes(4) + nested(8, [nested(0, again)]))
    return dump


@given(observed_devices)
def test_a_dump_is_read_and_its_split_peers_merged(device: ObservedDevice) -> None:
    read = messages.decode_device(WG0, as_dump(device))
    assert read.backend is BackendKind.KERNEL
    assert (read.private_key, read.listen_port, read.fwmark, read.peers) == (
        device.private_key,
        device.listen_port,
        device.fwmark,
        device.peers,
    )


def peers_of(message: bytes) -> list[dict[int, bytes]]:
    found = dict(attributes(message, 4))
    return [dict(attributes(peer)) for _, peer in attributes(found.get(8, b""))]


def encode(change: DeviceChange) -> list[bytes]:
    return list(messages.encode_set(WG0, change))


def prefixes(count: int) -> Iterable[str]:
    return (f"10.{number >> 8 & 255}.{number & 255}.0/24" for number in range(count))


def test_the_device_comes_first_and_alone() -> None:
    change = DeviceChange(
        private_key=private_key(1), listen_port=51820, fwmark=7, peers=(PeerChange(public_key=public_key(2)),)
    )
    first, second = encode(change)
    assert first[:4] == bytes((1, 1, 0, 0))
    assert dict(attributes(first, 4)) == {
        2: b"wg0\0",
        3: private_key(1).raw,
        6: (51820).to_bytes(2, "little"),
        7: (7).to_bytes(4, "little"),
    }
    assert [peer[1] for peer in peers_of(second)] == [public_key(2).raw]
    assert encode(DeviceChange()) == []


@pytest.mark.parametrize(
    ("change", "flags"),
    [
        (PeerChange(public_key=public_key(1), remove=True), messages.WGPEER_F_REMOVE_ME),
        (PeerChange(public_key=public_key(1)), messages.WGPEER_F_UPDATE_ONLY),
        (PeerChange(public_key=public_key(1), create=True), 0),
        (
            PeerChange(public_key=public_key(1), create=True, allowed_ips=frozenset()),
            messages.WGPEER_F_REPLACE_ALLOWEDIPS,
        ),
        (
            PeerChange(public_key=public_key(1), allowed_ips=frozenset()),
            messages.WGPEER_F_REPLACE_ALLOWEDIPS | messages.WGPEER_F_UPDATE_ONLY,
        ),
    ],
)
def test_flags(change: PeerChange, flags: int) -> None:
    (message,) = encode(DeviceChange(peers=(change,)))
    assert peers_of(message)[0][3] == flags.to_bytes(4, "little")


def test_a_whole_peer() -> None:
    change = PeerChange(
        public_key=public_key(1),
        create=True,
        endpoint=Endpoint.parse("[2001:db8::1]:513"),
        allowed_ips=frozenset({ip_network("10.0.0.0/8")}),
        keepalive=25,
        preshared_key=PresharedKey(b"\x07" * 32),
    )
    (message,) = encode(DeviceChange(peers=(change,)))
    (peer,) = peers_of(message)
    address = bytes.fromhex("20010db8000000000000000000000001")
    assert peer[4] == struct.pack("=H", 10) + b"\x02\x01" + bytes(4) + address + bytes(4)
    assert peer[5] == b"\x19\x00"
    assert peer[2] == b"\x07" * 32
    ((_, prefix),) = attributes(peer[9])
    assert dict(attributes(prefix)) == {1: b"\x02\x00", 2: b"\x0a\x00\x00\x00", 3: b"\x08"}


def test_many_peers_are_split_into_messages_below_the_limit() -> None:
    allowed = frozenset({ip_network("10.0.0.1/32"), ip_network("fd00::1/128")})
    change = DeviceChange(
        peers=tuple(
            PeerChange(public_key=public_key(number), create=True, allowed_ips=allowed, keepalive=25)
            for number in range(1, 1001)
        )
    )
    sent = encode(change)
    assert 1 < len(sent) < 20
    assert all(len(message) < MAX_ATTRIBUTE // 2 for message in sent)
    assert [peer[1] for message in sent for peer in peers_of(message)] == [
        public_key(number).raw for number in range(1, 1001)
    ]


def test_many_prefixes_of_one_peer_are_split_and_only_the_first_part_replaces() -> None:
    allowed = frozenset(map(ip_network, prefixes(2345)))
    sent = encode(DeviceChange(peers=(PeerChange(public_key=public_key(1), create=True, allowed_ips=allowed),)))
    parts = [peer for message in sent for peer in peers_of(message)]
    assert [int.from_bytes(part[3], "little") for part in parts] == [2, 4, 4, 4, 4]
    assert messages.decode_device(WG0, sent).peers[public_key(1)].allowed_ips == allowed


def test_the_familys_number() -> None:
    assert messages.decode_family(bytes(4) + attribute(2, b"wireguard\0") + attribute(1, b"\x1d\x00")) == 29
    with pytest.raises(InvalidValue):
        messages.decode_family(bytes(4))


@pytest.mark.parametrize(
    "dump",
    [
        bytes(4) + nested(8, [nested(0, [u32(3, 0)])]),
        bytes(4) + nested(8, [nested(0, [attribute(1, public_key(1).raw), attribute(7, b"\0")])]),
        bytes(4) + nested(8, [nested(0, [attribute(1, public_key(1).raw), nested(9, [nested(0, [u32(2, 1)])])])]),
        bytes(4) + b"\xff\xff\x08\x00",
    ],
)
def test_a_dump_that_cannot_be_is_an_invalid_value(dump: bytes) -> None:
    with pytest.raises(InvalidValue):
        messages.decode_device(WG0, [dump])


def test_an_endpoint_with_a_scope_or_of_unknown_form_counts_as_none() -> None:
    scoped = struct.pack("=H2s4x16sI", 10, b"\0\1", bytes(15) + b"\1", 2)
    for value in (scoped, b"", bytes(16)):
        peer = nested(0, [attribute(1, public_key(1).raw), attribute(4, value)])
        read = messages.decode_device(WG0, [bytes(4) + nested(8, [peer])])
        assert read.peers[public_key(1)].endpoint is None


def test_caches_hold_what_one_scan_of_ten_thousand_peers_touches() -> None:
    prefixes = [ip_network(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}/32") for n in range(20_000)]
    first = [messages._encode_prefix(prefix) for prefix in prefixes]
    assert all(messages._encode_prefix(prefix) is before for prefix, before in zip(prefixes, first, strict=True))
