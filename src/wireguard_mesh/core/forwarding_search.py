"""Whom an initiation is for: it names nobody, but its mac1 is keyed with the public key of its recipient.

So the recipient is found by trying keys, some 0.7 µs each. Those that the sender had handshakes with lately are tried
first, and most initiations end there. The rest wait, and are searched for in slices between packets, one peer after
another, so that nobody waits for somebody else's thousand.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import Final

from wireguard_mesh.core.forwarding_peers import ForwardedPeer
from wireguard_mesh.protocol.wireguard import INITIATION_SIZE, MAC_LENGTH, MACS_LENGTH

MAX_WAITING: Final = 8192  # of all peers together, besides one of each; 12 MB
MAX_WAITING_EACH: Final = 2048  # a machine that joins calls all others at once
WAIT_SECONDS: Final = 5.0  # Rekey-Timeout: by then the sender has sent another one
FIRST_TRIED: Final = 8  # partners that are tried at once
TURN_KEYS: Final = 128  # that are tried for one peer before it is another's turn
MAX_FIRST: Final = TURN_KEYS  # partners that are tried before everybody; each initiation that waits has a list of them
_AUTHENTICATED: Final = INITIATION_SIZE - MACS_LENGTH
_MAC1: Final = slice(_AUTHENTICATED, _AUTHENTICATED + MAC_LENGTH)


class Wanted:
    """An initiation whose recipient is searched for."""

    __slots__ = ("datagram", "first", "mac1", "message", "position", "since")

    def __init__(self, peer: ForwardedPeer, datagram: bytes, now: float) -> None:
        self.datagram = datagram
        self.message = datagram[:_AUTHENTICATED]
        self.mac1 = datagram[_MAC1]
        self.first = list(islice(reversed(peer.partners), MAX_FIRST))
        self.position = 0
        self.since = now

    def is_for(self, peer: ForwardedPeer) -> bool:
        """Whether mac1 verifies with this peer's key. Nothing here is secret: its key is made of the public one."""
        hasher = peer.hasher.copy()
        hasher.update(self.message)
        mac1: bytes = hasher.digest()
        return mac1 == self.mac1

    def among(self, peers: list[ForwardedPeer], keys: int) -> ForwardedPeer | None:
        """Try at most `keys` more, first partners, then `peers`; None: it is none of them."""
        start = self.position
        self.position = min(start + keys, len(self.first) + len(peers))
        for peer in islice(self.first, start, self.position):
            if self.is_for(peer):
                return peer
        left = len(self.first)
        for peer in peers[max(0, start - left) : max(0, self.position - left)]:
            if self.is_for(peer):
                return peer
        return None

    def is_through(self, peers: list[ForwardedPeer]) -> bool:
        """Whether all were tried."""
        return self.position >= len(self.first) + len(peers)


class Found:
    """The end of a search; `recipient` None: the initiation is for nobody here."""

    __slots__ = ("datagram", "recipient", "sender")

    def __init__(self, sender: ForwardedPeer, recipient: ForwardedPeer | None, datagram: bytes) -> None:
        self.sender = sender
        self.recipient = recipient
        self.datagram = datagram


class Search:
    """The initiations that wait, by their senders. `peers` is everybody, and may change between two slices."""

    def __init__(self, peers: list[ForwardedPeer]) -> None:
        self._peers = peers
        self._waiting: dict[ForwardedPeer, deque[Wanted]] = {}
        self._turns: deque[ForwardedPeer] = deque()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, sender: ForwardedPeer, wanted: Wanted) -> bool:
        """Search for its recipient. False: too many wait. One of each sender always may, whoever fills the room."""
        waiting = self._waiting.get(sender)
        if waiting is not None and (self._count >= MAX_WAITING or len(waiting) >= MAX_WAITING_EACH):
            return False
        if waiting is None:
            waiting = self._waiting[sender] = deque()
            self._turns.append(sender)
        waiting.append(wanted)
        self._count += 1
        return True

    def step(self, keys: int, now: float) -> list[Found]:
        """Try some `keys` keys; what was found, or not."""
        found = []
        while keys > 0 and self._turns:
            sender = self._turns[0]
            wanted = self._waiting[sender][0]
            if now - wanted.since > WAIT_SECONDS:
                self._next(sender)
                keys -= 1
                continue
            recipient = wanted.among(self._peers, TURN_KEYS)
            keys -= TURN_KEYS
            if recipient is not None or wanted.is_through(self._peers):
                found.append(Found(sender, recipient, wanted.datagram))
                self._next(sender)
            else:
                self._turns.rotate(-1)
        return found

    def forget(self, sender: ForwardedPeer) -> None:
        """Whatever it waits for, it waits no more."""
        waiting = self._waiting.pop(sender, None)
        if waiting is not None:
            self._turns.remove(sender)
            self._count -= len(waiting)

    def _next(self, sender: ForwardedPeer) -> None:
        waiting = self._waiting[sender]
        waiting.popleft()
        self._count -= 1
        self._turns.popleft()
        if waiting:
            self._turns.append(sender)
        else:
            del self._waiting[sender]
