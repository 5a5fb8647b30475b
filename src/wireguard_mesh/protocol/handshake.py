"""WireGuard's handshake as datagrams (WireGuard paper, section 5.4): Noise with indexes, macs and the time in it. Pure.

The responder's side is what a rendezvous is built of. The initiator's is for tests and load generators: the agent's own
handshakes are WireGuard's.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from wireguard_mesh.model.keys import NO_PRESHARED_KEY, PresharedKey, PrivateKey, PublicKey
from wireguard_mesh.protocol import cookies
from wireguard_mesh.protocol.noise import (
    HandshakeRefused,
    ReceivedInitiation,
    SentInitiation,
    SessionKeys,
    StaticKey,
    encrypt,
    start_hash,
)
from wireguard_mesh.protocol.wireguard import CookieReply, Datagram, Initiation, Response, Transport

TIMESTAMP_LENGTH: Final = 12
# https://cr.yp.to/libtai/tai64.html: 2^62 stands for 1970, and TAI was 10 s ahead. Leap seconds since are left out, as
# other implementations do: the number must only grow.
_TAI64_OFFSET: Final = 2**62 + 10
_TAI64N: Final = Struct(">QI")
_NANOSECONDS: Final = 1_000_000_000
_NO_MAC: Final = bytes(16)


def tai64n(unix_nanoseconds: int) -> bytes:
    """The time as 12 bytes, which sort as it does."""
    seconds, nanoseconds = divmod(unix_nanoseconds, _NANOSECONDS)
    return _TAI64N.pack(_TAI64_OFFSET + seconds, nanoseconds)


class Responder:
    """One key that answers handshakes: what it needs each time, made once."""

    __slots__ = ("_start_hash", "cookie_key", "key", "mac1_key")

    def __init__(self, private_key: PrivateKey) -> None:
        self.key = StaticKey(private_key)
        self.mac1_key = cookies.mac1_key(self.key.public_key)
        self.cookie_key = cookies.cookie_key(self.key.public_key)
        self._start_hash = start_hash(self.key.public_key)

    def is_called(self, initiation: Datagram) -> bool:
        """Whether mac1 says that it is for this key."""
        return cookies.has_mac1(self.mac1_key, initiation)

    def read(self, initiation: Initiation) -> ReceivedInitiation:
        """Who claims to send it. The payload is `initiation.encrypted_timestamp`. Raises `HandshakeRefused`."""
        return ReceivedInitiation(self.key, self._start_hash, initiation.ephemeral, initiation.encrypted_static)


def respond(
    received: ReceivedInitiation,
    *,
    sender: int,
    receiver: int,
    ephemeral: PrivateKey,
    initiator_mac1_key: bytes,
    preshared_key: PresharedKey = NO_PRESHARED_KEY,
) -> tuple[bytes, SessionKeys]:
    """The answer to an initiation whose payload was opened, and the session's keys. Raises `HandshakeRefused`.

    `sender`: our index. `receiver`: the initiator's. `ephemeral`: made for this alone.
    """
    public, encrypted_nothing, keys = received.respond(ephemeral, preshared_key=preshared_key)
    response = Response(sender, receiver, public, encrypted_nothing, _NO_MAC)
    return cookies.with_macs(initiator_mac1_key, response.build()), keys


def keepalive(receiver: int, key: bytes, counter: int) -> bytes:
    """A transport message without a packet, of 32 bytes."""
    return Transport(receiver, counter, encrypt(key, counter, b"")).build()


class Initiator:
    """One handshake from the side that starts it: `datagram` is what to send."""

    __slots__ = ("_handshake", "_initiation", "_mac1_key", "_preshared_key", "_responder", "datagram", "sender")

    def __init__(
        self,
        ours: StaticKey,
        responder: PublicKey,
        *,
        sender: int,
        ephemeral: PrivateKey,
        timestamp: bytes,
        cookie: bytes | None = None,
        preshared_key: PresharedKey = NO_PRESHARED_KEY,
    ) -> None:
        """`cookie`: one that this responder gave for the address from where this is sent."""
        self.sender = sender
        self._responder = responder
        self._mac1_key = cookies.mac1_key(ours.public_key)
        self._preshared_key = preshared_key
        self._handshake = SentInitiation(ours, responder, ephemeral, timestamp)
        unsigned = Initiation(
            sender,
            self._handshake.ephemeral,
            self._handshake.encrypted_static,
            self._handshake.encrypted_payload,
            _NO_MAC,
        )
        self.datagram = cookies.with_macs(cookies.mac1_key(responder), unsigned.build(), cookie)

    def open_cookie(self, datagram: Datagram) -> bytes:
        """The cookie of a cookie reply, for the next initiation. Raises `InvalidValue`, `HandshakeRefused`."""
        reply = CookieReply.parse(datagram)
        if reply.receiver != self.sender:
            raise HandshakeRefused("that cookie reply answers another handshake")
        return cookies.open_cookie(cookies.cookie_key(self._responder), reply, Initiation.parse(self.datagram).mac1)

    def finish(self, datagram: Datagram) -> tuple[int, SessionKeys]:
        """The responder's index, and the session's keys. Raises `InvalidValue`, `HandshakeRefused`."""
        response = Response.parse(datagram)
        if response.receiver != self.sender or not cookies.has_mac1(self._mac1_key, datagram):
            raise HandshakeRefused("that response answers another handshake")
        _, keys = self._handshake.finish(response.ephemeral, response.encrypted_nothing, self._preshared_key)
        return response.sender, keys
