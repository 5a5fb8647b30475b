"""The rendezvous: a WireGuard responder that learns from where it hears each peer, and carries no packet.

Each peer has every vantage point of a relay as one more WireGuard peer with a keepalive. A handshake proves who it is,
a keepalive under the session's keys that the source is its own: so the relay knows the peer's address behind its NAT,
and the peer needs nothing for it but WireGuard.

Pure: bytes in, with `now` and a source of randomness; at most one answer out, to where they came from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from wireguard_mesh.core.instant import Instant
from wireguard_mesh.core.sources import Source
from wireguard_mesh.model.keys import PrivateKey, PublicKey

Random = Callable[[int], bytes]
"""So many random bytes from a secure source (`os.urandom`)."""

TAKEN: Final = b""
"""A datagram was for the rendezvous and has no answer."""


class Observation(msgspec.Struct, frozen=True):
    """A vantage point hears a peer from another source than before. `source` None: no longer at all."""

    public_key: PublicKey
    vantage: int
    source: Source | None


class SavedSession(msgspec.Struct, frozen=True):
    """A confirmed session as the journal keeps it. Secret: `receiving_key` reads what the peer sends.

    `created` in Unix seconds. `timestamp`: the TAI64N of its initiation; older ones are replays.
    """

    public_key: PublicKey
    vantage: int
    index: int
    receiving_key: bytes
    counter: int
    created: float
    timestamp: bytes
    source: Source


class Rendezvous:
    """One for each relay, with all its vantage points. Only keys that were admitted are ever answered."""

    def __init__(self, vantages: Sequence[PrivateKey]) -> None:
        self._vantages = tuple(vantages)

    def admit(self, key: PublicKey) -> None:
        """`key` is registered. Once is enough, and again changes nothing."""
        raise NotImplementedError

    def dismiss(self, key: PublicKey) -> None:
        """`key` is registered no more: its sessions end now."""
        raise NotImplementedError

    def receive(self, vantage: int, source: Source, datagram: bytes, now: Instant, random: Random) -> bytes | None:
        """Take a datagram that came to vantage point number `vantage`.

        Returns the answer to `source`; `TAKEN` (empty) if it was for the rendezvous and has none; None if it was not
        for the rendezvous, so that the relay may forward it. Whatever a stranger sends is taken or None.
        """
        raise NotImplementedError

    def peer_at(self, source: Source) -> PublicKey | None:
        """Whose source that is at vantage point 0, which forwards."""
        raise NotImplementedError

    def source_of(self, key: PublicKey) -> Source | None:
        """Where `key` is reached from vantage point 0; None if it has not been heard there within 180 s."""
        raise NotImplementedError

    def expire(self, now: Instant) -> None:
        """End the sessions that are too old. To be called each second or so."""
        raise NotImplementedError

    def observations(self) -> list[Observation]:
        """What changed since this was asked last; of one peer at one vantage point the newest."""
        raise NotImplementedError

    def unsaved(self) -> list[SavedSession]:
        """Sessions that were confirmed or moved since this was asked last, for the journal."""
        raise NotImplementedError

    def sessions(self, now: Instant) -> list[SavedSession]:
        """All confirmed sessions, for a new journal."""
        raise NotImplementedError

    def restore(self, sessions: Sequence[SavedSession], now: Instant) -> None:
        """Go on where another process was. Of several of one peer at one vantage point the last counts.

        A key that is not admitted, or a session that is too old, is left out. A restored session stays at its source
        until the next handshake, since the journal's counter may be behind: what it says may be a replay.
        """
        raise NotImplementedError
