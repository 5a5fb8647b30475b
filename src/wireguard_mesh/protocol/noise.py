"""Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s (Noise revision 34; WireGuard paper, section 5.4), both sides of it. Pure.

The initiator knows the responder's static key, and sends its own in the first message:

    <- s
    ...
    -> e, es, s, ss     with a payload, in WireGuard the time
    <- e, ee, se, psk   with a payload, in WireGuard nothing

Names as in the Noise specification: `chaining_key` and `hash` are its `ck` and `h`. What the other side sent wrongly
raises `HandshakeRefused`; a mistake tells nothing more.
"""

from __future__ import annotations

import hmac
from hashlib import blake2s
from struct import Struct
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from wireguard_mesh.model.errors import NotPermitted
from wireguard_mesh.model.keys import NO_PRESHARED_KEY, PresharedKey, PrivateKey, PublicKey

PROTOCOL_NAME: Final = b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s"
WIREGUARD_PROLOGUE: Final = b"WireGuard v1 zx2c4 Jason@zx2c4.com"
_NONCE: Final = Struct("<4xQ")  # of ChaChaPoly: 32 zero bits and the counter, Noise section 12.3
_FIRST_NONCE: Final = bytes(12)  # each key of a handshake encrypts one thing


class HandshakeRefused(NotPermitted):
    """A message that does not come from who it claims, or was not meant for this key."""

    code = "handshake_refused"


class SessionKeys(msgspec.Struct, frozen=True):
    """What a handshake yields: 32 bytes for what we send, 32 for what we receive. Secret."""

    sending: bytes
    receiving: bytes

    def __repr__(self) -> str:
        return "SessionKeys(redacted)"


class StaticKey:
    """A key pair that is used again and again: loaded once, which costs as much as an exchange."""

    __slots__ = ("_private", "public_key")

    def __init__(self, private_key: PrivateKey) -> None:
        self._private = X25519PrivateKey.from_private_bytes(private_key.raw)
        self.public_key = PublicKey(self._private.public_key().public_bytes_raw())

    def exchange(self, public: bytes) -> bytes:
        """The 32-byte secret shared with the holder of `public`. Raises `HandshakeRefused` for a point of low order."""
        try:
            return self._private.exchange(X25519PublicKey.from_public_bytes(public))
        except ValueError:  # the result would be zero, whatever our key is (RFC 7748 section 6.1)
            raise HandshakeRefused("the key is a point of low order") from None


def encrypt(key: bytes, counter: int, plaintext: bytes, associated: bytes = b"") -> bytes:
    """ChaCha20-Poly1305 with the nonce that Noise makes of a counter; 16 bytes longer than `plaintext`."""
    return ChaCha20Poly1305(key).encrypt(_NONCE.pack(counter), plaintext, associated)


def decrypt(key: bytes, counter: int, ciphertext: bytes | bytearray | memoryview, associated: bytes = b"") -> bytes:
    """What `encrypt` was given. Raises `HandshakeRefused` if that is not what it made."""
    try:
        return ChaCha20Poly1305(key).decrypt(_NONCE.pack(counter), ciphertext, associated)
    except InvalidTag:
        raise HandshakeRefused("that was not encrypted with this key") from None


class _Symmetric:
    """Noise's SymmetricState, section 5.2; `key` is that of the last `mix_key`."""

    __slots__ = ("chaining_key", "hash", "key")

    def __init__(self, chaining_key: bytes, handshake_hash: bytes) -> None:
        self.chaining_key = chaining_key
        self.hash = handshake_hash
        self.key = b""

    def mix_hash(self, data: bytes) -> None:
        self.hash = blake2s(self.hash + data).digest()

    def mix_key(self, material: bytes) -> None:
        self.chaining_key, self.key = _hkdf2(self.chaining_key, material)

    def mix_ephemeral(self, public: bytes) -> None:
        """Token `e` in a handshake with a preshared key, section 9.2."""
        self.mix_hash(public)
        self.chaining_key = _hkdf1(self.chaining_key, public)

    def mix_secret(self, secret: bytes) -> None:
        """An exchange whose key encrypts nothing, since another follows."""
        self.chaining_key = _hkdf1(self.chaining_key, secret)

    def mix_key_and_hash(self, preshared_key: PresharedKey) -> None:
        """Token `psk`."""
        pseudorandom = _hmac(self.chaining_key, preshared_key.raw)
        self.chaining_key = _hmac(pseudorandom, b"\1")
        hashed = _hmac(pseudorandom, self.chaining_key + b"\2")
        self.key = _hmac(pseudorandom, hashed + b"\3")
        self.mix_hash(hashed)

    def encrypt_and_hash(self, plaintext: bytes) -> bytes:
        ciphertext = ChaCha20Poly1305(self.key).encrypt(_FIRST_NONCE, plaintext, self.hash)
        self.mix_hash(ciphertext)
        return ciphertext

    def decrypt_and_hash(self, ciphertext: bytes) -> bytes:
        plaintext = decrypt(self.key, 0, ciphertext, self.hash)
        self.mix_hash(ciphertext)
        return plaintext

    def split(self) -> tuple[bytes, bytes]:
        """The keys from initiator to responder and back."""
        return _hkdf2(self.chaining_key, b"")


def _hmac(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, blake2s)


def _hkdf1(chaining_key: bytes, material: bytes) -> bytes:
    return _hmac(_hmac(chaining_key, material), b"\1")


def _hkdf2(chaining_key: bytes, material: bytes) -> tuple[bytes, bytes]:
    pseudorandom = _hmac(chaining_key, material)
    first = _hmac(pseudorandom, b"\1")
    return first, _hmac(pseudorandom, first + b"\2")


def start_hash(responder: PublicKey, prologue: bytes = WIREGUARD_PROLOGUE) -> bytes:
    """The hash with which every handshake with `responder` starts, so that a responder makes it once."""
    prologue_hash = blake2s(_INITIAL_CHAINING_KEY + prologue).digest()
    return blake2s(prologue_hash + responder.raw).digest()


_INITIAL_CHAINING_KEY: Final = blake2s(PROTOCOL_NAME).digest()  # the name is longer than a hash, Noise section 5.2


class ReceivedInitiation:
    """A first message as the responder reads it, in two steps: who claims to send it, then whether that is true.

    Between the two the responder looks whether it knows that key, and finds the secret that both static keys share,
    which stays the same and is costly.
    """

    __slots__ = ("_ephemeral", "_state", "static")

    def __init__(self, ours: StaticKey, hash_at_start: bytes, ephemeral: bytes, encrypted_static: bytes) -> None:
        """Raises `HandshakeRefused`. `static`: 32 bytes, the key that the initiator claims."""
        self._state = state = _Symmetric(_INITIAL_CHAINING_KEY, hash_at_start)
        self._ephemeral = ephemeral
        state.mix_ephemeral(ephemeral)
        state.mix_key(ours.exchange(ephemeral))
        self.static = state.decrypt_and_hash(encrypted_static)

    def open_payload(self, static_secret: bytes, encrypted_payload: bytes) -> bytes:
        """The payload. Raises `HandshakeRefused` if the initiator does not hold the key it claims."""
        self._state.mix_key(static_secret)
        return self._state.decrypt_and_hash(encrypted_payload)

    def respond(
        self, ephemeral: PrivateKey, payload: bytes = b"", preshared_key: PresharedKey = NO_PRESHARED_KEY
    ) -> tuple[bytes, bytes, SessionKeys]:
        """Our ephemeral public key, the encrypted payload, and the session's keys. To be called once, last.

        `ephemeral` is made for this response alone. Raises `HandshakeRefused`.
        """
        state, ours = self._state, StaticKey(ephemeral)
        public = ours.public_key.raw
        state.mix_ephemeral(public)
        state.mix_secret(ours.exchange(self._ephemeral))
        state.mix_secret(ours.exchange(self.static))
        state.mix_key_and_hash(preshared_key)
        encrypted = state.encrypt_and_hash(payload)
        receiving, sending = state.split()
        return public, encrypted, SessionKeys(sending, receiving)


class SentInitiation:
    """A handshake as its initiator keeps it: makes the first message, and reads the answer."""

    __slots__ = ("_ephemeral", "_ours", "_state", "encrypted_payload", "encrypted_static", "ephemeral")

    def __init__(
        self,
        ours: StaticKey,
        responder: PublicKey,
        ephemeral: PrivateKey,
        payload: bytes,
        prologue: bytes = WIREGUARD_PROLOGUE,
    ) -> None:
        """`ephemeral` is made for this handshake alone. The three parts of the message are attributes."""
        self._state = state = _Symmetric(_INITIAL_CHAINING_KEY, start_hash(responder, prologue))
        self._ours = ours
        self._ephemeral = StaticKey(ephemeral)
        self.ephemeral = self._ephemeral.public_key.raw
        state.mix_ephemeral(self.ephemeral)
        state.mix_key(self._ephemeral.exchange(responder.raw))
        self.encrypted_static = state.encrypt_and_hash(ours.public_key.raw)
        state.mix_key(ours.exchange(responder.raw))
        self.encrypted_payload = state.encrypt_and_hash(payload)

    def finish(
        self, ephemeral: bytes, encrypted_payload: bytes, preshared_key: PresharedKey = NO_PRESHARED_KEY
    ) -> tuple[bytes, SessionKeys]:
        """The responder's payload, and the session's keys. To be called once. Raises `HandshakeRefused`."""
        state = self._state
        state.mix_ephemeral(ephemeral)
        state.mix_secret(self._ephemeral.exchange(ephemeral))
        state.mix_secret(self._ours.exchange(ephemeral))
        state.mix_key_and_hash(preshared_key)
        payload = state.decrypt_and_hash(encrypted_payload)
        sending, receiving = state.split()
        return payload, SessionKeys(sending, receiving)
