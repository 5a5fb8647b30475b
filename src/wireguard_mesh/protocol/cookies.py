"""What guards a handshake before any curve is touched: mac1, mac2 and cookies (WireGuard paper, section 5.4.4, 5.4.7).

mac1 proves that the sender knows whom it calls. mac2 proves that it receives what is sent to its address: a responder
under load wants it, and says in a cookie reply how to make it.
"""

from __future__ import annotations

import hmac
from hashlib import blake2s
from struct import Struct
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.protocol.noise import HandshakeRefused
from wireguard_mesh.protocol.wireguard import MAC_LENGTH, MACS_LENGTH, CookieReply, Datagram

COOKIE_SECRET_SECONDS: Final = 120.0
"""How long a responder makes cookies with one secret, and so how long a cookie is good (section 5.4.7)."""

_MAC1_LABEL: Final = b"mac1----"
_COOKIE_LABEL: Final = b"cookie--"

# HChaCha20, draft-irtf-cfrg-xchacha-03 section 2.2: a ChaCha20 block without its last step, which adds the input.
_BLOCK: Final = 64
_WORDS: Final = Struct("<16I")
_FOUR_WORDS: Final = Struct("<4I")
_EIGHT_WORDS: Final = Struct("<8I")
_CONSTANTS: Final = _FOUR_WORDS.unpack(b"expand 32-byte k")
_WORD_MASK: Final = 0xFFFFFFFF
_HCHACHA_NONCE: Final = 16


def mac1_key(responder: PublicKey) -> bytes:
    """With what mac1 is made for this responder, 32 bytes; anybody who knows it can."""
    return blake2s(_MAC1_LABEL + responder.raw).digest()


def cookie_key(responder: PublicKey) -> bytes:
    """With what this responder's cookies are encrypted, 32 bytes; anybody who knows it can."""
    return blake2s(_COOKIE_LABEL + responder.raw).digest()


def mac(key: bytes, data: Datagram) -> bytes:
    """BLAKE2s keyed with 16 to 32 bytes, of 16 bytes."""
    return blake2s(data, digest_size=MAC_LENGTH, key=key).digest()


def has_mac1(key: bytes, handshake: Datagram) -> bool:
    """Whether an initiation or response was made for whose `mac1_key` it is."""
    start = len(handshake) - MACS_LENGTH
    return hmac.compare_digest(mac(key, handshake[:start]), handshake[start : start + MAC_LENGTH])


def has_mac2(cookie: bytes, handshake: Datagram) -> bool:
    """Whether the sender of an initiation or response had this cookie."""
    start = len(handshake) - MAC_LENGTH
    return hmac.compare_digest(mac(cookie, handshake[:start]), handshake[start:])


def with_macs(key: bytes, handshake: bytes, cookie: bytes | None = None) -> bytes:
    """An initiation or response with its mac1, and its mac2 if there is a cookie; what it has there is replaced."""
    body = handshake[:-MACS_LENGTH]
    body += mac(key, body)
    return body + (mac(cookie, body) if cookie is not None else bytes(MAC_LENGTH))


def make_cookie(secret: bytes, source: bytes) -> bytes:
    """The cookie for whoever receives at `source`, by a secret that changes every `COOKIE_SECRET_SECONDS`."""
    return mac(secret, source)


def cookie_reply(key: bytes, nonce: bytes, cookie: bytes, handshake: Datagram) -> CookieReply:
    """The answer to a handshake whose sender must show first that it receives. `nonce`: 24 random bytes."""
    mac1 = bytes(handshake[-MACS_LENGTH:-MAC_LENGTH])
    sender = int.from_bytes(handshake[4:8], "little")
    return CookieReply(sender, nonce, xchacha20poly1305_encrypt(key, nonce, cookie, mac1))


def open_cookie(key: bytes, reply: CookieReply, mac1: bytes) -> bytes:
    """The cookie in the answer to our handshake with that `mac1`. Raises `HandshakeRefused`."""
    return xchacha20poly1305_decrypt(key, reply.nonce, reply.encrypted_cookie, mac1)


def hchacha20(key: bytes, nonce: bytes) -> bytes:
    """A 32-byte key out of a 32-byte key and 16 bytes."""
    stream = Cipher(ChaCha20(key, nonce), mode=None).encryptor().update(bytes(_BLOCK))
    words = _WORDS.unpack(stream)
    added = _CONSTANTS + _FOUR_WORDS.unpack(nonce)
    outer = words[:4] + words[12:]
    return _EIGHT_WORDS.pack(*((word - plus) & _WORD_MASK for word, plus in zip(outer, added, strict=True)))


def xchacha20poly1305_encrypt(key: bytes, nonce: bytes, plaintext: bytes, associated: bytes) -> bytes:
    """With a nonce of 24 bytes, which may be random; 16 bytes longer than `plaintext`."""
    return _xchacha(key, nonce).encrypt(_inner_nonce(nonce), plaintext, associated)


def xchacha20poly1305_decrypt(key: bytes, nonce: bytes, ciphertext: bytes, associated: bytes) -> bytes:
    """Raises `HandshakeRefused` if that was not encrypted so."""
    try:
        return _xchacha(key, nonce).decrypt(_inner_nonce(nonce), ciphertext, associated)
    except InvalidTag:
        raise HandshakeRefused("that cookie was not made for us") from None


def _xchacha(key: bytes, nonce: bytes) -> ChaCha20Poly1305:
    return ChaCha20Poly1305(hchacha20(key, nonce[:_HCHACHA_NONCE]))


def _inner_nonce(nonce: bytes) -> bytes:
    return bytes(4) + nonce[_HCHACHA_NONCE:]
