"""Peers on real sockets of this machine, that meet a relay and each other."""

from __future__ import annotations

import asyncio
import os
import socket
import time

from tests.samples import private_key
from wireguard_mesh.model.keys import PrivateKey, PublicKey
from wireguard_mesh.protocol.cookies import mac1_key
from wireguard_mesh.protocol.handshake import Initiator, Responder, keepalive, respond, tai64n
from wireguard_mesh.protocol.noise import SessionKeys, StaticKey
from wireguard_mesh.protocol.wireguard import Initiation, Transport

VANTAGES = (private_key(1001), private_key(1002))
_MOST = 65536


class WirePeer:
    """Peer `number`. Each of its methods waits for the answer that it needs."""

    def __init__(self, number: int, port: int, family: int = socket.AF_INET) -> None:
        self.private_key = private_key(number)
        self.key: PublicKey = self.private_key.public_key
        self._static = StaticKey(self.private_key)
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.connect(("127.0.0.1" if family == socket.AF_INET else "::1", port))
        self.socket.setblocking(False)
        self.index = 0
        self.keys: SessionKeys | None = None
        self._counter = 0

    async def receive(self) -> bytes:
        """The next datagram."""
        async with asyncio.timeout(5):
            return await asyncio.get_running_loop().sock_recv(self.socket, _MOST)

    def send(self, datagram: bytes) -> None:
        """Send a datagram."""
        self.socket.send(datagram)

    def initiation(self, responder: PublicKey) -> Initiator:
        """The start of a handshake."""
        return Initiator(
            self._static,
            responder,
            sender=int.from_bytes(os.urandom(4), "little"),
            ephemeral=PrivateKey.generate(os.urandom(32)),
            timestamp=tai64n(time.time_ns()),
        )

    async def meet(self, vantage: int = 0) -> None:
        """A handshake with a vantage point, and the keepalive that confirms it."""
        initiator = self.initiation(VANTAGES[vantage].public_key)
        self.send(initiator.datagram)
        self.index, self.keys = initiator.finish(await self.receive())
        self._counter = 0
        self.say()

    def say(self) -> None:
        """A keepalive to the vantage point."""
        assert self.keys is not None
        self.send(keepalive(self.index, self.keys.sending, self._counter))
        self._counter += 1

    async def call(self, other: WirePeer) -> tuple[int, int]:
        """A handshake with another peer through the relay; the indexes to which this one and the other send."""
        initiator = self.initiation(other.key)
        self.send(initiator.datagram)
        initiation = Initiation.parse(await other.receive())
        received = Responder(other.private_key).read(initiation)
        received.open_payload(other._static.exchange(self.key.raw), initiation.encrypted_timestamp)
        response, _ = respond(
            received,
            sender=int.from_bytes(os.urandom(4), "little"),
            receiver=initiation.sender,
            ephemeral=PrivateKey.generate(os.urandom(32)),
            initiator_mac1_key=mac1_key(self.key),
        )
        other.send(response)
        index, _ = initiator.finish(await self.receive())
        return index, initiator.sender

    def close(self) -> None:
        """Close its socket."""
        self.socket.close()


def packet(index: int, number: int, size: int = 200) -> bytes:
    """A transport message that is told from others."""
    return Transport(index, number, bytes(size - 16)).build()
