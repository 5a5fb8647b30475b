"""JSON with our own types: strict about values, lenient about unknown fields."""

from ipaddress import IPv4Address, IPv4Network

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.samples import NETWORK, peer, private_key, public_key
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.networks import MeshNetwork
from wireguard_mesh.model.peers import Peer
from wireguard_mesh.protocol.codec import Decoder, encode, encode_readable


class Sample(msgspec.Struct, frozen=True):
    """One field of each of our types."""

    key: PublicKey
    endpoint: Endpoint | None = None
    addresses: tuple[IPv4Address, ...] = ()
    network: MeshNetwork | None = None
    count: int = 0


SAMPLES = Decoder(Sample)
FULL = Sample(public_key(1), Endpoint.parse("[2001:db8::1]:5"), (IPv4Address("192.0.2.1"),), NETWORK, 3)


def test_values_survive_their_json() -> None:
    assert SAMPLES.decode(encode(FULL)) == FULL
    assert SAMPLES.decode(encode_readable(FULL)) == FULL
    peers = Decoder(Peer)
    assert peers.decode(encode(peer(3))) == peer(3)


def test_own_types_travel_as_their_text() -> None:
    plain = msgspec.json.decode(encode(FULL))
    assert plain["key"] == public_key(1).to_base64()
    assert plain["endpoint"] == "[2001:db8::1]:5"
    assert plain["network"] == {"ipv4": "10.100.0.0/16", "ipv6": "fd01:2345:6789::/64"}
    assert encode(IPv4Network("10.0.0.0/8")) == b'"10.0.0.0/8"'


def test_readable_json_ends_with_a_newline() -> None:
    assert encode_readable({"a": 1}) == '{\n  "a": 1\n}\n'


def test_unknown_fields_are_ignored() -> None:
    assert SAMPLES.decode(b'{"key": "%s", "later": {}}' % public_key(1).to_base64().encode()) == Sample(public_key(1))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b'{"key": "\xff"}', "not valid JSON"),
        (b"[]", "Expected `object`"),
        (b"{}", "missing required field `key`"),
        (b'{"key": 5}', "key: a text was expected"),
        (b'{"key": "short"}', "key: a WireGuard key is 32 bytes"),
        (b'{"key": "KEY", "endpoint": "x"}', "endpoint: an endpoint is"),
        (b'{"key": "KEY", "addresses": ["1.2.3.4", "x"]}', r"addresses\[1\]: that is no IP address"),
        (b'{"key": "KEY", "network": {"ipv4": "10.0.0.1/8", "ipv6": "fd00::/64"}}', "network.ipv4: that is no IP"),
        (b'{"key": "KEY", "count": "1"}', "count: Expected `int`"),
    ],
)
def test_what_is_wrong_is_named(data: bytes, reason: str) -> None:
    with pytest.raises(InvalidValue, match=reason):
        SAMPLES.decode(data.replace(b"KEY", public_key(1).to_base64().encode()))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with pytest.raises(InvalidValue):
        SAMPLES.decode(data)


def test_deep_nesting_is_refused_without_harm() -> None:
    with pytest.raises(InvalidValue, match="not valid JSON"):
        SAMPLES.decode(b'{"x":' + b"[" * 100_000)


def test_a_refusal_does_not_repeat_what_was_sent() -> None:
    with pytest.raises(InvalidValue) as refusal:
        SAMPLES.decode(b'{"key": "my-secret-by-mistake"}')
    assert "my-secret" not in str(refusal.value)


def test_a_private_key_never_travels() -> None:
    with pytest.raises(TypeError, match="PrivateKey does not travel"):
        encode({"key": private_key(1)})
