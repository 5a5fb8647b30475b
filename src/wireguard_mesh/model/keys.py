"""WireGuard keys (Curve25519, RFC 7748): 32 bytes, written as 44 characters of base64.

A `PublicKey` is a peer's identity and is used as a dictionary key. A `PrivateKey` or `PresharedKey` never shows its
bytes in `repr` or `str`; only `to_base64()` does, for the file or the device that needs it.
"""

from __future__ import annotations

import binascii
import hmac
from typing import Final, Self

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from wireguard_mesh.model.errors import InvalidKey

KEY_LENGTH: Final = 32
BASE64_LENGTH: Final = 44

# The u-coordinates of the points of order 1, 2, 4 and 8 on the curve and its twist, and their non-canonical forms
# (RFC 7748 section 7, "contributory behaviour"). Bit 255 is ignored, as X25519 ignores it.
_PRIME: Final = 2**255 - 19
_LOW_ORDER: Final = frozenset(
    {
        0,
        1,
        325606250916557431795983626356110631294008115727848805560023387167927233504,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
        _PRIME - 1,
        _PRIME,
        _PRIME + 1,
    }
)
_BIT_255: Final = 1 << 255


def _decode(text: str) -> bytes:
    try:
        raw = binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except (UnicodeEncodeError, binascii.Error):
        raw = b""
    # The comparison refuses second spellings of one key: the last character carries only 4 significant bits.
    if len(raw) != KEY_LENGTH or binascii.b2a_base64(raw, newline=False).decode() != text:
        raise InvalidKey(
            f"a WireGuard key is {KEY_LENGTH} bytes in base64 ({BASE64_LENGTH} characters)",
            "make one with 'wg genkey' and 'wg pubkey'",
        )
    return raw


class _Key:
    """32 bytes with value equality; comparison takes constant time."""

    __slots__ = ("raw",)
    raw: bytes

    def __init__(self, raw: bytes) -> None:
        if len(raw) != KEY_LENGTH:
            raise InvalidKey(f"a WireGuard key is {KEY_LENGTH} bytes, not {len(raw)}")
        object.__setattr__(self, "raw", bytes(raw))

    @classmethod
    def from_base64(cls, text: str) -> Self:
        """Parse 44 characters of base64. Raises `InvalidKey`."""
        return cls(_decode(text))

    def to_base64(self) -> str:
        """The key as `wg` writes it."""
        return binascii.b2a_base64(self.raw, newline=False).decode("ascii")

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("keys are immutable")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return hmac.compare_digest(self.raw, other.raw)

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(redacted)"

    def __reduce__(self) -> tuple[type[Self], tuple[bytes]]:
        return (type(self), (self.raw,))


class PublicKey(_Key):
    """A peer's public key, which is its identity.

    Refuses the points of low order, the all-zero key among them: with those every exchange yields the same secret.
    """

    __slots__ = ()

    def __init__(self, raw: bytes) -> None:
        super().__init__(raw)
        if int.from_bytes(self.raw, "little") & ~_BIT_255 in _LOW_ORDER:
            raise InvalidKey("the public key is a point of low order, which no private key yields")

    def __str__(self) -> str:
        return self.to_base64()

    def __repr__(self) -> str:
        return f"PublicKey({self.to_base64()})"

    def __lt__(self, other: PublicKey) -> bool:
        return self.raw < other.raw


class PrivateKey(_Key):
    """A Curve25519 private key, clamped as RFC 7748 section 5 says. Never shown."""

    __slots__ = ()

    @classmethod
    def generate(cls, random: bytes) -> PrivateKey:
        """Make a key of 32 bytes from a secure source (`os.urandom`), which the caller reads."""
        if len(random) != KEY_LENGTH:
            raise InvalidKey(f"a private key is made of {KEY_LENGTH} random bytes, not {len(random)}")
        clamped = bytearray(random)
        clamped[0] &= 248
        clamped[31] = (clamped[31] & 127) | 64
        return cls(bytes(clamped))

    @property
    def public_key(self) -> PublicKey:
        """The public half; costs one scalar multiplication (some 40 µs), so keep the result."""
        return PublicKey(X25519PrivateKey.from_private_bytes(self.raw).public_key().public_bytes_raw())

    def exchange(self, other: PublicKey) -> bytes:
        """The 32-byte X25519 shared secret with `other`."""
        ours = X25519PrivateKey.from_private_bytes(self.raw)
        return ours.exchange(X25519PublicKey.from_public_bytes(other.raw))


class PresharedKey(_Key):
    """The optional symmetric key of a pair of peers (WireGuard paper, section 5.2). Never shown."""

    __slots__ = ()


NO_PRESHARED_KEY: Final = PresharedKey(bytes(KEY_LENGTH))
"""What a device is told to forget the preshared key of a peer: WireGuard takes 32 zero bytes for none."""
