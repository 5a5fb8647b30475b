"""Keys: strict parsing, no low-order points, no secret shown."""

import base64
import pickle

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from wireguard_mesh.model.errors import InvalidKey
from wireguard_mesh.model.keys import NO_PRESHARED_KEY, PresharedKey, PrivateKey, PublicKey

# RFC 7748 section 6.1.
ALICE_PUBLIC = PublicKey(bytes.fromhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"))
BOB = PrivateKey(bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"))
BOB_PUBLIC = PublicKey(bytes.fromhex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"))
SHARED = bytes.fromhex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")

PRIME = 2**255 - 19
# The seven u-coordinates of low order, from the definition of the curve rather than from the code under test.
LOW_ORDER = [
    bytes(32),
    (1).to_bytes(32, "little"),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    (PRIME - 1).to_bytes(32, "little"),
    PRIME.to_bytes(32, "little"),
    (PRIME + 1).to_bytes(32, "little"),
]

random_bytes = st.binary(min_size=32, max_size=32)


def test_the_published_vectors_agree() -> None:
    assert BOB.public_key == BOB_PUBLIC
    assert BOB.exchange(ALICE_PUBLIC) == SHARED


@given(random_bytes)
def test_generated_keys_are_clamped_and_survive_their_text(random: bytes) -> None:
    key = PrivateKey.generate(random)
    assert key.raw[0] & 7 == 0
    assert key.raw[31] & 0xC0 == 0x40
    assert PrivateKey.from_base64(key.to_base64()) == key
    public = key.public_key
    assert PublicKey.from_base64(str(public)) == public
    assert hash(PublicKey.from_base64(str(public))) == hash(public)


@pytest.mark.parametrize("raw", LOW_ORDER, ids=lambda raw: raw.hex()[:8])
@pytest.mark.parametrize("high_bit", [0, 0x80])
def test_points_of_low_order_are_refused(raw: bytes, high_bit: int) -> None:
    point = raw[:31] + bytes([raw[31] | high_bit])
    with pytest.raises(ValueError, match="shared key"):
        X25519PrivateKey.generate().exchange(X25519PublicKey.from_public_bytes(point))
    with pytest.raises(InvalidKey, match="low order"):
        PublicKey(point)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "é" * 44,
        base64.b64encode(bytes(range(31))).decode(),
        base64.b64encode(bytes(range(33))).decode(),
        base64.b64encode(bytes(range(32))).decode().rstrip("="),
        base64.b64encode(bytes(range(32))).decode() + "\n",
        " " + base64.b64encode(bytes(range(32))).decode(),
        # The last character before the padding carries 4 bits: these two say the same 32 bytes.
        base64.b64encode(bytes([1] * 32)).decode()[:-2] + "F=",
        base64.urlsafe_b64encode(bytes([255] * 32)).decode(),
    ],
)
def test_only_one_spelling_of_a_key_is_taken(text: str) -> None:
    with pytest.raises(InvalidKey, match="44 characters"):
        PublicKey.from_base64(text)


@pytest.mark.parametrize("kind", [PublicKey, PrivateKey, PresharedKey])
def test_a_key_has_32_bytes(kind: type[PublicKey]) -> None:
    with pytest.raises(InvalidKey, match="not 31"):
        kind(bytes(31))


def test_generation_wants_32_random_bytes() -> None:
    with pytest.raises(InvalidKey, match="not 16"):
        PrivateKey.generate(bytes(16))


@pytest.mark.parametrize("key", [BOB, PresharedKey(BOB.raw)])
def test_secrets_are_not_shown(key: PrivateKey | PresharedKey) -> None:
    for shown in (repr(key), str(key), f"{key}", f"{[key]}"):
        assert key.to_base64() not in shown
        assert "redacted" in shown


def test_public_keys_are_shown_and_ordered() -> None:
    assert ALICE_PUBLIC.to_base64() in repr(ALICE_PUBLIC)
    assert sorted([BOB_PUBLIC, ALICE_PUBLIC]) == [ALICE_PUBLIC, BOB_PUBLIC]


def test_keys_of_different_kinds_are_never_equal() -> None:
    assert PresharedKey(BOB.raw) != BOB
    assert BOB.raw != BOB
    assert PresharedKey(bytes(32)) == NO_PRESHARED_KEY


def test_keys_are_immutable_and_travel_between_processes() -> None:
    with pytest.raises(AttributeError):
        ALICE_PUBLIC.raw = b""
    assert pickle.loads(pickle.dumps(ALICE_PUBLIC)) == ALICE_PUBLIC
