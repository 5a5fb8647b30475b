"""Peers of a relay that exist on the wire only: real handshakes by our own initiator and responder, then packets that
look like WireGuard's and carry noise."""

import hashlib
import os
import socket
import time
from collections.abc import Callable
from typing import Final, TypeVar

from bench.datagrams import Address
from bench.relay_load import Pair
from wireguard_mesh.model.keys import PrivateKey, PublicKey
from wireguard_mesh.protocol.cookies import mac1_key
from wireguard_mesh.protocol.handshake import Initiator, Responder, keepalive, respond, tai64n
from wireguard_mesh.protocol.noise import HandshakeRefused, SessionKeys, StaticKey
from wireguard_mesh.protocol.wireguard import TRANSPORT_HEADER_SIZE, Initiation, MessageType, Transport, message_type

TRIES: Final = 8
PATIENCE: Final = 2.0  # seconds of what is not awaited
RECEIVED_AT_MOST: Final = 2048  # bytes of a datagram
_CLAMPED: Final = 32

T = TypeVar("T")


def key_of(name: str) -> PrivateKey:
    """A private key that is the same in each run."""
    return PrivateKey.generate(hashlib.blake2s(name.encode(), digest_size=_CLAMPED).digest())


class WirePeer:
    """One peer: its key, and the UDP socket that its WireGuard would have, connected to the relay."""

    def __init__(self, name: str, connected: socket.socket) -> None:
        self.private_key = key_of(name)
        self.socket = connected
        self.key = StaticKey(self.private_key)
        self.sent: list[bytes] = []
        """The messages of its handshakes, and the keepalives after them."""
        self._cookies: dict[PublicKey, bytes] = {}
        self._responder = Responder(self.private_key)

    @property
    def public_key(self) -> PublicKey:
        """By which others know it."""
        return self.key.public_key

    def initiation(self, responder: PublicKey) -> Initiator:
        """The first message of a handshake, made now."""
        return Initiator(
            self.key,
            responder,
            sender=int.from_bytes(os.urandom(4)),
            ephemeral=PrivateKey.generate(os.urandom(32)),
            timestamp=tai64n(time.time_ns()),
            cookie=self._cookies.get(responder),
        )

    def meet(self, vantage: PublicKey) -> tuple[int, SessionKeys]:
        """A handshake with the relay itself, and a keepalive that confirms it; its index and the session's keys."""
        return _persist(lambda: self._meet(vantage))

    def _meet(self, vantage: PublicKey) -> tuple[int, SessionKeys]:
        initiator = self.initiation(vantage)
        self._send(initiator.datagram)
        index, keys = self._finish(initiator, vantage)
        self._send(keepalive(index, keys.sending, 0))
        return index, keys

    def call(self, other: "WirePeer") -> tuple[int, int]:
        """A handshake with another peer through the relay. The indexes by which this one and the other address each
        other: the other's, and this one's."""
        return _persist(lambda: self._call(other))

    def _call(self, other: "WirePeer") -> tuple[int, int]:
        initiator = self.initiation(other.public_key)
        self._send(initiator.datagram)
        other.answer(other.receive(MessageType.INITIATION), self.public_key)
        index, keys = self._finish(initiator, other.public_key)
        self._send(keepalive(index, keys.sending, 0))
        other.receive(MessageType.TRANSPORT)
        return index, initiator.sender

    def call_for(self, responder: PublicKey) -> Initiator:
        """Send a first message, and do not wait."""
        initiator = self.initiation(responder)
        self._send(initiator.datagram)
        return initiator

    def has_answer(self, initiator: Initiator, responder: PublicKey) -> bool:
        """Whether the answer to that message has come; a cookie that has come in its place is kept for the next."""
        timeout = self.socket.gettimeout()
        self.socket.setblocking(False)
        try:
            self._finish(initiator, responder)
        except (BlockingIOError, TimeoutError, HandshakeRefused):
            return False
        finally:
            self.socket.settimeout(timeout)
        return True

    def _finish(self, initiator: Initiator, responder: PublicKey) -> tuple[int, SessionKeys]:
        """Passes over what answers somebody else's message under this address. Raises `TimeoutError` for a response
        that does not come, be it that a cookie came in its place."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            answer = self.receive(MessageType.RESPONSE, MessageType.COOKIE_REPLY)
            try:
                if message_type(answer) is MessageType.RESPONSE:
                    return initiator.finish(answer)
                self._cookies[responder] = initiator.open_cookie(answer)
            except HandshakeRefused:
                continue
            raise TimeoutError
        raise TimeoutError

    def receive(self, *wanted: MessageType) -> bytes:
        """The next message of one of these types; others are forgotten. Raises `TimeoutError`."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            datagram = self.socket.recv(RECEIVED_AT_MOST)
            if message_type(datagram) in wanted:
                return datagram
        raise TimeoutError

    def answer(self, datagram: bytes, caller: PublicKey) -> None:
        """The second message, for a first one that has come."""
        initiation = Initiation.parse(datagram)
        received = self._responder.read(initiation)
        received.open_payload(self.key.exchange(caller.raw), initiation.encrypted_timestamp)
        response, _ = respond(
            received,
            sender=int.from_bytes(os.urandom(4)),
            receiver=initiation.sender,
            ephemeral=PrivateKey.generate(os.urandom(32)),
            initiator_mac1_key=mac1_key(caller),
        )
        self._send(response)

    def _send(self, datagram: bytes) -> None:
        self.sent.append(datagram)
        self.socket.send(datagram)


def packet(receiver: int, size: int) -> bytes:
    """A transport message of so many bytes whose content nobody can read."""
    return Transport(receiver, 1, os.urandom(size - TRANSPORT_HEADER_SIZE)).build()


def pair(near: WirePeer, far: WirePeer, size: int) -> Pair:
    """Two peers that have met the relay: with a tunnel between them through it."""
    to_far, to_near = near.call(far)
    return Pair(near.socket, far.socket, packet(to_far, size), packet(to_near, size), size)


def connect(endpoint: socket.socket, relay: Address) -> socket.socket:
    """So that it hears the relay only."""
    endpoint.connect(relay)
    return endpoint


def drain(endpoint: socket.socket) -> None:
    """Forget what has come and was not read."""
    timeout = endpoint.gettimeout()
    endpoint.setblocking(False)
    try:
        while True:
            endpoint.recv(RECEIVED_AT_MOST)
    except BlockingIOError:
        pass
    finally:
        endpoint.settimeout(timeout)


def _persist(attempt: Callable[[], T]) -> T:
    """A datagram may be lost, or answer an attempt before. Raises what the last one of several came to."""
    for _ in range(TRIES - 1):
        try:
            return attempt()
        except (TimeoutError, HandshakeRefused):
            continue
    return attempt()
