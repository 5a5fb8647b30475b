"""Thousands of peers in one process that keep sessions with the vantage points of a relay, as WireGuard would.

Each peer has a UDP socket of its own, and so an address of its own in the relay's eyes.
"""

import os
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from bench.datagrams import Address
from bench.relay_process import Vantage
from bench.wireguard_peers import key_of
from wireguard_mesh.model.keys import PrivateKey
from wireguard_mesh.protocol.handshake import Initiator, keepalive, tai64n
from wireguard_mesh.protocol.noise import StaticKey
from wireguard_mesh.protocol.wireguard import MessageType, message_type

AT_ONCE: Final = 32  # handshakes under way
PATIENCE: Final = 1.0  # seconds until an unanswered handshake is begun anew
_RECEIVED_AT_MOST: Final = 256


class Member:
    """One peer at one vantage point."""

    __slots__ = ("_counter", "_index", "_initiator", "_key", "_sending", "cookie", "socket", "vantage")

    def __init__(self, key: StaticKey, opened: socket.socket, vantage: Vantage) -> None:
        self.socket = opened
        self.vantage = vantage
        self.cookie: bytes | None = None
        self._key = key
        self._initiator: Initiator | None = None
        self._index = 0
        self._sending = b""
        self._counter = 0

    def initiation(self) -> bytes:
        """A first message, made now."""
        self._initiator = Initiator(
            self._key,
            self.vantage.key,
            sender=int.from_bytes(os.urandom(4)),
            ephemeral=PrivateKey.generate(os.urandom(32)),
            timestamp=tai64n(time.time_ns()),
            cookie=self.cookie,
        )
        return self._initiator.datagram

    def take(self, datagram: bytes) -> bool:
        """What the vantage point answered; whether a session stands now. A cookie is kept for the next attempt."""
        assert self._initiator is not None
        if message_type(datagram) is MessageType.COOKIE_REPLY:
            self.cookie = self._initiator.open_cookie(datagram)
            return False
        self._index, keys = self._initiator.finish(datagram)
        self._sending, self._counter = keys.sending, 0
        return True

    def keepalive(self) -> bytes:
        """The next one of the session."""
        datagram = keepalive(self._index, self._sending, self._counter)
        self._counter += 1
        return datagram

    def send(self, datagram: bytes) -> None:
        """To the vantage point."""
        self.socket.sendto(datagram, self.vantage.address)


class Swarm:
    """Peers named `peer 0` and so on, each a `Member` at each vantage point."""

    def __init__(self, count: int, vantages: Sequence[Vantage], open_socket: Callable[[], socket.socket]) -> None:
        self.members: list[Member] = []
        self._poll = select.epoll()
        self._at: dict[int, dict[Address, Member]] = {}
        for name in names(count):
            opened, key = open_socket(), StaticKey(key_of(name))
            opened.setblocking(False)
            self._poll.register(opened, select.EPOLLIN)
            mine = [Member(key, opened, vantage) for vantage in vantages]
            self._at[opened.fileno()] = {member.vantage.address: member for member in mine}
            self.members += mine

    def shake_hands(self, members: Iterable[Member], at_once: int = AT_ONCE) -> None:
        """A session for each. Raises `TimeoutError` for one that is not answered again and again."""
        waiting = deque(members)
        begun: dict[Member, float] = {}
        tries: dict[Member, int] = {}
        while waiting or begun:
            while waiting and len(begun) < at_once:
                member = waiting.popleft()
                begun[member] = time.monotonic()
                tries[member] = tries.get(member, 0) + 1
                if tries[member] > 20:
                    raise TimeoutError("a vantage point does not answer a handshake")
                member.send(member.initiation())
            for member, datagram in self.received(0.05):
                if begun.pop(member, None) is None:
                    continue
                if member.take(datagram):
                    member.send(member.keepalive())
                else:
                    waiting.append(member)
            late = [member for member, start in begun.items() if time.monotonic() - start > PATIENCE]
            for member in late:
                del begun[member]
                waiting.append(member)

    def received(self, timeout: float) -> list[tuple[Member, bytes]]:
        """What has come, and for whom."""
        found = []
        for descriptor, _ in self._poll.poll(timeout):
            by_address = self._at[descriptor]
            opened = next(iter(by_address.values())).socket
            try:
                while True:
                    datagram, source = opened.recvfrom(_RECEIVED_AT_MOST)
                    found.append((by_address[source], datagram))
            except BlockingIOError:
                continue
        return found


def names(count: int) -> list[str]:
    """Of the peers of a swarm."""
    return [f"peer {number}" for number in range(count)]
