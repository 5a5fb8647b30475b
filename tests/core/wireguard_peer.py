"""A WireGuard peer in memory, which has a vantage point of a rendezvous as its peer."""

from __future__ import annotations

from hashlib import sha256
from itertools import count

from tests.core.samples import private_key, public_key
from wireguard_mesh.core.instant import Instant
from wireguard_mesh.core.rendezvous import Rendezvous
from wireguard_mesh.core.sources import Source
from wireguard_mesh.model.keys import PrivateKey, PublicKey
from wireguard_mesh.protocol import handshake
from wireguard_mesh.protocol.handshake import Initiator, tai64n
from wireguard_mesh.protocol.noise import SessionKeys, StaticKey
from wireguard_mesh.protocol.pings import Ping, PingKeys

WALL = 1_700_000_000.0
VANTAGES = (private_key(1001), private_key(1002))
VANTAGE_KEYS = tuple(key.public_key for key in VANTAGES)


def at(seconds: float) -> Instant:
    """A moment by both clocks."""
    return Instant(seconds, WALL + seconds)


class Randomness:
    """The same bytes in each run, never twice the same."""

    def __init__(self) -> None:
        self._count = count()

    def __call__(self, length: int) -> bytes:
        return sha256(f"randomness {next(self._count)}".encode()).digest()[:length]


RANDOM = Randomness()


def address(number: int, port: int = 51820) -> Source:
    """The UDP address of host `number`."""
    return (f"198.51.{number // 250}.{number % 250 + 1}", port)


class MemoryPeer:
    """Peer `number`, at one vantage point. Sends nothing by itself."""

    def __init__(self, number: int, vantage: int = 0) -> None:
        self.number = number
        self.vantage = vantage
        self.private_key = private_key(number)
        self.key: PublicKey = public_key(number)
        self.source = address(number)
        self._static = StaticKey(self.private_key)
        self.initiator: Initiator | None = None
        self.index = 0
        self.keys: SessionKeys | None = None
        self.counter = 0

    def initiation(self, now: Instant, cookie: bytes | None = None) -> bytes:
        """The start of a new handshake."""
        self.initiator = Initiator(
            self._static,
            VANTAGE_KEYS[self.vantage],
            sender=int.from_bytes(RANDOM(4), "little"),
            ephemeral=PrivateKey.generate(RANDOM(32)),
            timestamp=tai64n(int(now.wall * 1e9)),
            cookie=cookie,
        )
        return self.initiator.datagram

    def finish(self, response: bytes) -> None:
        """Take the answer."""
        assert self.initiator is not None
        self.index, self.keys = self.initiator.finish(response)
        self.counter = 0

    def keepalive(self) -> bytes:
        """The next one of the session."""
        assert self.keys is not None
        self.counter += 1
        return handshake.keepalive(self.index, self.keys.sending, self.counter - 1)

    def call(self, rendezvous: Rendezvous, now: Instant) -> None:
        """A handshake that is answered, not yet confirmed."""
        answer = rendezvous.receive(self.vantage, self.source, self.initiation(now), now, RANDOM)
        assert answer
        self.finish(answer)

    def say(self, rendezvous: Rendezvous, now: Instant) -> bytes | None:
        """One keepalive."""
        return rendezvous.receive(self.vantage, self.source, self.keepalive(), now, RANDOM)

    def join(self, rendezvous: Rendezvous, now: Instant) -> None:
        """A handshake and the keepalive that confirms it."""
        self.call(rendezvous, now)
        assert self.say(rendezvous, now) == b""

    def ping_keys(self) -> PingKeys:
        """What its pings are signed with."""
        return PingKeys(self.private_key.exchange(VANTAGE_KEYS[self.vantage]))

    def ping(self, microseconds: int) -> bytes:
        """A ping of that time."""
        return Ping(self.key.raw, microseconds).build(self.ping_keys())
