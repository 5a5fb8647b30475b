"""The client's engine: from the map, the device, the links and the time to what device and host shall be.

Events go in through methods, with the moment of their coming. `wanted` then says what shall be, and `next_look` when to
read the device and ask again if nothing happens before. The engine holds no socket and starts nothing; whoever runs it
compares what it wants with what stands (`core.plan`) and lets the backends apply the difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from wireguard_mesh.core import endpoints
from wireguard_mesh.core.exit_nodes import ExitDecision, choose
from wireguard_mesh.core.instant import Instant
from wireguard_mesh.core.sessions import CALL_AFTER, FOLLOW_AFTER, Session
from wireguard_mesh.core.wanted import ETHERNET_MTU, Settings, is_member, wanted_device, wanted_host
from wireguard_mesh.model.devices import ObservedDevice, WantedDevice
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.hosts import LocalAddress, WantedHost
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.peers import NetworkMap, Peer

IDLE_LOOK: Final = 15.0  # seconds between two looks at a device of which nothing is expected
CALL_GAP: Final = 0.5  # seconds between two rounds of packets that tell peers where this machine is now
LOOK_COST: Final = 0.01  # seconds for each peer between two looks that nothing hurries: at 1,000 peers 0.3 % of a core


class Wanted(msgspec.Struct, frozen=True):
    """What shall be now, and what to tell a person about it. `calls`: the peers that are to get a packet at once, from
    the address that this machine has now."""

    device: WantedDevice
    host: WantedHost
    exit_node: ExitDecision
    calls: tuple[PublicKey, ...] = ()


class Engine:
    """One mesh on one interface."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.map: NetworkMap | None = None
        self.exit_node = ExitDecision()
        self.device: ObservedDevice | None = None
        self.local: tuple[LocalAddress, ...] = ()
        self._sessions: dict[PublicKey, Session] = {}
        self.link_mtu = ETHERNET_MTU
        self._looked = float("-inf")
        self._next_call = float("-inf")
        self._has_calls = False

    # Events

    def map_arrived(self, network_map: NetworkMap, now: Instant) -> None:
        """The map is this from now on. Peers of the first one are called, later ones are left time to call."""
        before = self.map
        self.map = network_map
        for key in [key for key in self._sessions if key not in network_map.peers]:
            del self._sessions[key]
        for key, peer in network_map.peers.items():
            session = self._sessions.get(key)
            if session is None or _is_back(before, peer, session, now):
                start = now.monotonic + (FOLLOW_AFTER if before else CALL_AFTER)
                session = self._sessions[key] = Session(start_at=start, is_withheld=before is None)
                session.offer(self._ranked(peer), now)
                if self.device is not None:
                    session.observe(self.device.peers.get(key), now)
            else:
                session.offer(self._ranked(peer), now)

    def observed(self, device: ObservedDevice, now: Instant) -> None:
        """The device was read."""
        self.device = device
        self._looked = now.monotonic
        for key, session in self._sessions.items():
            session.observe(device.peers.get(key), now)
            session.tick(now)

    def device_is_new(self, now: Instant) -> None:
        """The device was made (again): no session lives, and every peer is to be called at once."""
        self.device = None
        self._sessions = {key: Session(start_at=now.monotonic) for key in self._sessions}
        self._rank_all(now)

    def links_changed(self, local: Sequence[LocalAddress], link_mtu: int, now: Instant) -> None:
        """These addresses the machine has now, and this MTU the link towards the server."""
        is_moved = tuple(local) != self.local
        self.local = tuple(local)
        self.link_mtu = link_mtu
        self._rank_all(now)
        if is_moved:
            for session in self._sessions.values():
                session.doubt_due = session.alive(now)
            self.rerouted()

    def rerouted(self) -> None:
        """Packets may leave by another way: peers must hear of it from WireGuard, which keeps to the old one."""
        for session in self._sessions.values():
            session.call()

    def applied(self, wanted: Wanted, now: Instant) -> None:
        """What was wanted was done. Meanwhile a peer may have left, or another call become due."""
        called = [self._sessions[key] for key in wanted.calls if key in self._sessions]
        for session in called:
            session.called()
        if wanted.calls:
            self._has_calls = any(session.call_due for session in called)
            self._next_call = now.monotonic + CALL_GAP

    def configure(self, settings: Settings) -> None:
        """The user decided otherwise."""
        self.settings = settings

    # Answers

    def wanted(self, now: Instant) -> Wanted | None:
        """What shall be; None before the first map."""
        if self.map is None:
            return None
        self.exit_node = choose(
            self.settings.exit_policy,
            self.map.peers.values(),
            self.exit_node,
            offers=self.settings.offers_exit_node,
            usable=lambda peer: self.settings.keepalive == 0 or self._sessions[peer.public_key].answers(now),
        )
        device = wanted_device(self.settings, self.map, self._sessions, self.exit_node, now)
        calls = tuple(key for key in device.peers if self._sessions[key].call_due and self._sessions[key].starts(now))
        self._has_calls = bool(calls)
        if now.monotonic < self._next_call:
            calls = ()
        for key in calls:
            self._sessions[key].is_calling = True
        return Wanted(
            device,
            wanted_host(self.settings, self.map, self.exit_node, self.link_mtu),
            self.exit_node,
            calls,
        )

    def next_look(self, now: Instant) -> float:
        """The monotonic moment at which to read the device and ask for `wanted` again."""
        soon = now.monotonic + IDLE_LOOK
        later = soon
        if self._has_calls:
            soon = min(soon, max(now.monotonic, self._next_call))
        if self.map is not None:
            for key, session in self._sessions.items():
                if is_member(self.map.peers[key], session, now):
                    soon = min(soon, session.look_at(now))
                    later = min(later, session.change_at(now))
        # Nothing that lasts for seconds is worth more than one look in a while at a device of many peers.
        return min(soon, max(later, self._looked + LOOK_COST * len(self._sessions)))

    def published(self, limit: int) -> tuple[Endpoint, ...]:
        """Where others may reach this machine, best first; none before the device has its port."""
        port = self._own_port()
        return endpoints.published(self.local, port, limit) if port else ()

    def is_alive(self, key: PublicKey, now: Instant) -> bool:
        """Whether the tunnel to that peer demonstrably carries packets."""
        session = self._sessions.get(key)
        return session is not None and session.alive(now)

    def _own_port(self) -> int:
        """WireGuard's UDP port here; 0: not known yet."""
        return self.settings.listen_port or (self.device.listen_port if self.device else 0)

    def _ranked(self, peer: Peer) -> tuple[Endpoint, ...]:
        return endpoints.ranked(peer.endpoints, self.local, self._own_port())

    def _rank_all(self, now: Instant) -> None:
        if self.map is not None:
            for key, session in self._sessions.items():
                session.offer(self._ranked(self.map.peers[key]), now)


def _is_back(before: NetworkMap | None, peer: Peer, session: Session, now: Instant) -> bool:
    """Whether a peer that was offline, its tunnel dead, is online again: a newcomer, which starts by itself."""
    was = before.peers.get(peer.public_key) if before else None
    return was is not None and not was.online and peer.online and not session.alive(now)
