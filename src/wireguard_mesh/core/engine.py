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
from wireguard_mesh.core.plan import peers_change
from wireguard_mesh.core.sessions import CALL_AFTER, FOLLOW_AFTER, Session
from wireguard_mesh.core.wanted import ETHERNET_MTU, Settings, is_member, wanted_device, wanted_host, wanted_peers
from wireguard_mesh.model.devices import DeviceChange, ObservedDevice, ObservedPeer, WantedDevice
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.hosts import LocalAddress, WantedHost
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.paths import CandidateKind, PathKind, PathReport, Trial
from wireguard_mesh.model.peers import NetworkMap, Peer

IDLE_LOOK: Final = 15.0  # seconds between two looks at a device of which nothing is expected
CALL_GAP: Final = 0.5  # seconds between two rounds of packets that tell peers where this machine is now
LOOK_COST: Final = 0.01  # seconds for each peer between two looks that nothing hurries: at 1,000 peers 0.3 % of a core
HURRIED_COST: Final = 0.0005  # the same for looks that something hurries: so they take 6 % of a core at most


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
        self._look_at: float | None = None  # once it is reckoned
        self._news: set[PublicKey] = set()
        self._must_look = True
        self._next_call = float("-inf")
        self._has_calls = False

    # Events

    def map_arrived(self, network_map: NetworkMap, now: Instant) -> None:
        """The map is this from now on. Peers of the first one are called, later ones are left time to call."""
        before, self.map = self.map, network_map
        old = before.peers if before else {}
        if before is None or (before.me, before.network) != (network_map.me, network_map.network):
            self._must_look = True
        for key in [key for key in self._sessions if key not in network_map.peers]:
            del self._sessions[key]
            self._note(key, old.get(key), None)
        for key, peer in network_map.peers.items():
            was = old.get(key)
            if peer is was:
                continue
            session = self._sessions.get(key)
            if session is None or _is_back(was, peer, session, now):
                start = now.monotonic + (FOLLOW_AFTER if before else CALL_AFTER)
                session = self._sessions[key] = Session(start_at=start, is_withheld=before is None)
                session.offer(self._ranked(peer), now)
                if self.device is not None:
                    session.observe(self.device.peers.get(key), now)
            else:
                session.offer(self._ranked(peer), now)
            self._note(key, was, peer)

    def _note(self, key: PublicKey, was: Peer | None, peer: Peer | None) -> None:
        """This peer is another than it was."""
        self._news.add(key)
        stands = self.device is None or key in self.device.peers
        is_exit_node = (was is not None and was.exit_node) or (peer is not None and peer.exit_node)
        # What stands may have come to life since it was looked at, and must not be touched without looking.
        if is_exit_node or key == self.exit_node.key or (stands and peer is not None and _differs(was, peer)):
            self._must_look = True

    def observed(self, device: ObservedDevice, now: Instant) -> None:
        """The device was read."""
        self.device = device
        self._looked = now.monotonic
        self._look_at = None
        for key, session in self._sessions.items():
            session.observe(device.peers.get(key), now)
            session.tick(now)

    def device_is_new(self, now: Instant) -> None:
        """The device was made (again): no session lives, and every peer is to be called at once."""
        self.device = None
        self._must_look = True
        self._sessions = {key: Session(start_at=now.monotonic) for key in self._sessions}
        self._rank_all(now)

    def links_changed(self, local: Sequence[LocalAddress], link_mtu: int, now: Instant) -> None:
        """These addresses the machine has now, and this MTU the link towards the server."""
        self._look_at = None
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
        self._look_at = None
        for session in self._sessions.values():
            session.call()

    def applied(self, wanted: Wanted, now: Instant) -> None:
        """What was wanted was done. Meanwhile a peer may have left, or another call become due."""
        self._look_at = None
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
        self._must_look = False
        self._news.clear()
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

    def news(self, now: Instant) -> DeviceChange | None:
        """What the map's changes ask of the device, at their own cost: peers that came and peers that left. They are
        told once. None if it takes a look at the device, and `wanted`, to tell."""
        if self._must_look or self.map is None or self.device is None:
            return None
        peers, standing = self.map.peers, self.device.peers
        came = [peers[key] for key in self._news if key in peers and key not in standing]
        left = {key: standing[key] for key in self._news if key not in peers and key in standing}
        if self._look_at is not None:
            soon = [self._sessions[peer.public_key].look_at(now) for peer in came if peer.online]
            self._look_at = min(self._look_at, *soon, self._look_at)
        self._news.clear()
        return peers_change(wanted_peers(self.settings, came, self._sessions, self.exit_node, now), left)

    def news_applied(self, change: DeviceChange) -> None:
        """That is what the device is now, for all that is known."""
        if self.device is None:
            return
        peers = dict(self.device.peers)
        for peer in change.peers:
            if peer.remove:
                peers.pop(peer.public_key, None)
            else:
                peers[peer.public_key] = ObservedPeer(
                    public_key=peer.public_key,
                    allowed_ips=peer.allowed_ips or frozenset(),
                    endpoint=peer.endpoint,
                    keepalive=peer.keepalive or 0,
                )
        self.device = msgspec.structs.replace(self.device, peers=peers)

    def next_look(self, now: Instant) -> float:
        """The monotonic moment at which to read the device and ask for `wanted` again."""
        if self._look_at is None:
            self._look_at = self._reckon_look(now)
        look = min(self._look_at, now.monotonic) if self._must_look and self.map is not None else self._look_at
        return max(look, self._looked + HURRIED_COST * len(self._sessions))

    def _reckon_look(self, now: Instant) -> float:
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

    def path_of(self, key: PublicKey, now: Instant) -> PathReport:
        """How packets reach that peer now, and what was tried; of a peer that is not in the map: no path."""
        peer = self.map.peers.get(key) if self.map else None
        seen = self.device.peers.get(key) if self.device else None
        if peer is None:
            return PathReport(kind=PathKind.NONE)
        trials = tuple(Trial(endpoint=endpoint, kind=CandidateKind.HOST) for endpoint in self._ranked(peer))
        endpoint = seen.endpoint if seen else None
        if not self.is_alive(key, now) or endpoint is None:
            return PathReport(kind=PathKind.NONE, endpoint=endpoint, trials=trials)
        kinds = {trial.endpoint: trial.kind for trial in trials}
        candidate = kinds.get(endpoint, CandidateKind.SEEN)
        return PathReport(kind=PathKind.DIRECT, endpoint=endpoint, candidate=candidate, trials=trials)

    def _own_port(self) -> int:
        """WireGuard's UDP port here; 0: not known yet."""
        return self.settings.listen_port or (self.device.listen_port if self.device else 0)

    def _ranked(self, peer: Peer) -> tuple[Endpoint, ...]:
        return endpoints.ranked(peer.endpoints, self.local, self._own_port())

    def _rank_all(self, now: Instant) -> None:
        if self.map is not None:
            for key, session in self._sessions.items():
                session.offer(self._ranked(self.map.peers[key]), now)


def _is_back(was: Peer | None, peer: Peer, session: Session, now: Instant) -> bool:
    """Whether a peer that was offline, its tunnel dead, is online again: a newcomer, which starts by itself."""
    return was is not None and not was.online and peer.online and not session.alive(now)


def _differs(was: Peer | None, peer: Peer) -> bool:
    """Whether WireGuard has to do with what changed."""
    return was is None or (was.endpoints, was.online, was.addresses) != (peer.endpoints, peer.online, peer.addresses)
