"""UAPI text: what goes to a userspace WireGuard, and what comes back."""

import tracemalloc
from ipaddress import IPv4Network, IPv6Network, ip_network

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.samples import private_key, public_key
from wireguard_mesh.model.devices import BackendKind, DeviceChange, ObservedDevice, ObservedPeer, PeerChange
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.model.keys import PresharedKey
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.protocol import uapi

WG0 = InterfaceName("wg0")

prefixes = st.one_of(
    st.builds(
        lambda address, length: IPv4Network((address, length), strict=False),
        *(st.integers(0, 2**32 - 1), st.integers(0, 32)),
    ),
    st.builds(
        lambda address, length: IPv6Network((address, length), strict=False),
        *(st.integers(0, 2**128 - 1), st.integers(0, 128)),
    ),
)
endpoints = st.sampled_from([Endpoint.parse("192.0.2.1:51820"), Endpoint.parse("[2001:db8::1]:1"), None])
preshared_keys = st.one_of(st.none(), st.binary(min_size=32, max_size=32).filter(any).map(PresharedKey))
counters = st.integers(0, 2**64 - 1)
observed_peers = st.builds(
    ObservedPeer,
    public_key=st.integers(1, 20).map(public_key),
    allowed_ips=st.frozensets(prefixes, max_size=4),
    endpoint=endpoints,
    keepalive=st.integers(0, 65535),
    preshared_key=preshared_keys,
    latest_handshake=st.integers(0, 2**40).map(float),
    received_bytes=counters,
    sent_bytes=counters,
)
observed_devices = st.builds(
    lambda key, port, mark, peers: ObservedDevice(
        name=WG0,
        backend=BackendKind.USERSPACE,
        private_key=key,
        listen_port=port,
        fwmark=mark,
        peers={peer.public_key: peer for peer in peers},
    ),
    st.one_of(st.none(), st.integers(1, 5).map(private_key)),
    st.integers(0, 65535),
    st.integers(0, 2**32 - 1),
    st.lists(observed_peers, max_size=4),
)


def answer(device: ObservedDevice) -> bytes:
    """What a userspace WireGuard of that state says."""
    lines = [f"private_key={device.private_key.raw.hex()}"] if device.private_key else []
    lines += [f"listen_port={device.listen_port}", f"fwmark={device.fwmark}", "a_later_version_says=something"]
    for peer in device.peers.values():
        lines += [f"public_key={peer.public_key.raw.hex()}"]
        lines += [f"preshared_key={(peer.preshared_key.raw if peer.preshared_key else bytes(32)).hex()}"]
        lines += ["protocol_version=1"]
        lines += [f"endpoint={peer.endpoint}"] if peer.endpoint else []
        lines += [f"last_handshake_time_sec={int(peer.latest_handshake)}", "last_handshake_time_nsec=0"]
        lines += [f"tx_bytes={peer.sent_bytes}", f"rx_bytes={peer.received_bytes}"]
        lines += [f"persistent_keepalive_interval={peer.keepalive}"]
        lines += [f"allowed_ip={prefix}" for prefix in peer.allowed_ips]
    return "\n".join([*lines, "errno=0", "", ""]).encode()


@given(observed_devices)
def test_what_a_device_says_is_read_back(device: ObservedDevice) -> None:
    assert uapi.parse_get(WG0, answer(device)) == device


def test_a_change_has_every_line_in_the_protocols_order() -> None:
    change = DeviceChange(
        private_key=private_key(1),
        listen_port=51820,
        fwmark=0,
        peers=(
            PeerChange(public_key=public_key(2), remove=True, keepalive=25),
            PeerChange(
                public_key=public_key(3),
                create=True,
                endpoint=Endpoint.parse("[2001:db8::1]:51820"),
                allowed_ips=frozenset({ip_network("10.0.0.3/32"), ip_network("fd00::3/128")}),
                keepalive=0,
                preshared_key=PresharedKey(b"\x07" * 32),
            ),
            PeerChange(public_key=public_key(4), allowed_ips=frozenset()),
            PeerChange(public_key=public_key(5), endpoint=Endpoint.parse("192.0.2.5:9")),
        ),
    )
    assert uapi.encode_set(change).decode() == "\n".join(
        [
            "set=1",
            f"private_key={private_key(1).raw.hex()}",
            "listen_port=51820",
            "fwmark=0",
            f"public_key={public_key(2).raw.hex()}",
            "remove=true",
            f"public_key={public_key(3).raw.hex()}",
            f"preshared_key={'07' * 32}",
            "endpoint=[2001:db8::1]:51820",
            "persistent_keepalive_interval=0",
            "replace_allowed_ips=true",
            "allowed_ip=10.0.0.3/32",
            "allowed_ip=fd00::3/128",
            f"public_key={public_key(4).raw.hex()}",
            "update_only=true",
            "replace_allowed_ips=true",
            f"public_key={public_key(5).raw.hex()}",
            "update_only=true",
            "endpoint=192.0.2.5:9",
            "",
            "",
        ]
    )
    assert uapi.encode_set(DeviceChange()) == b"set=1\n\n"


@pytest.mark.parametrize(("said", "code"), [(b"errno=0\n\n", 0), (b"errno=98\n\n", 98), (b"errno=-22\n\n", -22)])
def test_errno_of_a_change(said: bytes, code: int) -> None:
    assert uapi.parse_set(said) == code


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\n\n",
        b"errno=\n\n",
        b"errno=x\n\n",
        b"errno=0\nerrno=0\n\n",
        b"ernno=0\n\n",
        b"nonsense\n\n",
        b"errno=\xff\n\n",
    ],
)
def test_no_answer_to_a_change(said: bytes) -> None:
    with pytest.raises(InvalidValue):
        uapi.parse_set(said)


KEY = f"public_key={public_key(1).raw.hex()}\n".encode()


@pytest.mark.parametrize(
    "said",
    [
        b"listen_port=1\n\n",
        b"errno=1\n\n",
        b"listen_port=one\nerrno=0\n\n",
        b"listen_port=" + b"9" * 5000 + b"\nerrno=0\n\n",
        b"private_key=0011\nerrno=0\n\n",
        b"private_key=" + b"zz" * 32 + b"\nerrno=0\n\n",
        b"public_key=" + b"00" * 32 + b"\nerrno=0\n\n",
        KEY + b"allowed_ip=nowhere\nerrno=0\n\n",
        KEY + b"allowed_ip=10.0.0.1/8\nerrno=0\n\n",
        KEY + b"rx_bytes=-\nerrno=0\n\n",
    ],
)
def test_no_answer_to_a_question(said: bytes) -> None:
    with pytest.raises(InvalidValue) as raised:
        uapi.parse_get(WG0, said)
    assert len(str(raised.value)) < 200


def test_an_allowed_ip_of_no_peer_is_left_out() -> None:
    assert uapi.parse_get(WG0, b"allowed_ip=10.0.0.0/8\nerrno=0\n\n").peers == {}


def test_an_endpoint_with_an_interface_in_it_counts_as_none() -> None:
    device = uapi.parse_get(WG0, KEY + b"endpoint=[fe80::1%eth0]:51820\nerrno=0\n\n")
    assert device.peers[public_key(1)].endpoint is None


def test_the_handshake_has_its_nanoseconds() -> None:
    said = KEY + b"last_handshake_time_sec=1700000000\nlast_handshake_time_nsec=500000000\nerrno=0\n\n"
    assert uapi.parse_get(WG0, said).peers[public_key(1)].latest_handshake == 1700000000.5


def test_an_endless_answer_is_refused_before_it_is_taken_apart() -> None:
    said = b"a=b\n" * (uapi.MAX_ANSWER // 4 + 1)
    tracemalloc.start()
    try:
        with pytest.raises(InvalidValue, match="longer"):
            uapi.parse_get(WG0, said)
        assert tracemalloc.get_traced_memory()[1] < len(said)
    finally:
        tracemalloc.stop()


@given(st.binary(max_size=200))
def test_anything_else_is_an_invalid_value(said: bytes) -> None:
    try:
        device = uapi.parse_get(WG0, said)
    except InvalidValue:
        return
    assert msgspec.structs.replace(device, name=InterfaceName("wg1")).name == "wg1"


def test_the_second_scan_of_ten_thousand_peers_makes_no_prefix_again() -> None:
    prefixes = [(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}/32", f"fd00::{n:x}/128") for n in range(10_000)]
    first = [uapi._prefixes(texts) for texts in prefixes]
    assert all(uapi._prefixes(texts) is before for texts, before in zip(prefixes, first, strict=True))
