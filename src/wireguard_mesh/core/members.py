"""The sessions with all peers of the map: made and dropped with it, told what each may be reached at, and probed.

The engine's part that has to do with peers one by one. What relays can do is asked for once for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from wireguard_mesh.core.endpoints import Surroundings
from wireguard_mesh.core.instant import Instant
from wireguard_mesh.core.probes import MAX_PEERS, Round
from wireguard_mesh.core.relay_choice import RelayChoice
from wireguard_mesh.core.relaying import PairRelays
from wireguard_mesh.core.sessions import CALL_AFTER, FOLLOW_AFTER, FOLLOW_BY_RELAY, RELAY_PATIENCE, Session
from wireguard_mesh.model.devices import ObservedDevice
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.paths import PathKind, PathReport
from wireguard_mesh.model.peers import NetworkMap, Peer
from wireguard_mesh.model.relays import RelayId

RELAY_LOOK: Final = 0.02  # seconds between two looks whether a relay is ready that peers wait for

Change = tuple[PublicKey, Peer | None, Peer | None]
"""A peer, what it was, and what it is."""


class Members:
    """The peers of one mesh, as this machine has to do with them."""

    def __init__(self, relays: RelayChoice, own_key: PublicKey) -> None:
        self.sessions: dict[PublicKey, Session] = {}
        self._relays = relays
        self._own_key = own_key
        self._surroundings = Surroundings((), 0)
        self._ways: dict[RelayId, Endpoint] = {}
        self._call_at: float | None = None  # while peers of the first map wait for a relay: when to call without

    def __getitem__(self, key: PublicKey) -> Session:
        return self.sessions[key]

    def is_alive(self, key: PublicKey, now: Instant) -> bool:
        """Whether the tunnel to that peer demonstrably carries packets."""
        session = self.sessions.get(key)
        return session is not None and session.tunnel.alive(now)

    # Events

    def follow(
        self, before: NetworkMap | None, network_map: NetworkMap, device: ObservedDevice | None, now: Instant
    ) -> list[Change]:
        """The map is another. Peers of the first one are called, later ones are left time to call."""
        old = before.peers if before else {}
        changes: list[Change] = [(key, old.get(key), None) for key in self.sessions if key not in network_map.peers]
        for key, _was, _gone in changes:
            del self.sessions[key]
        if before is None and network_map.relays and not self._relays.is_ready(now):
            self._call_at = now.monotonic + CALL_AFTER
        self._ways = self._relays.ways(now)
        is_other_here = before is not None and _own_view(before) != _own_view(network_map)
        for key, peer in network_map.peers.items():
            was = old.get(key)
            if peer is was and not is_other_here:
                continue
            session = self.sessions.get(key)
            if session is None or _is_back(was, peer, session, now):
                session = self.sessions[key] = self._new_session(
                    key, is_first=before is None, has_relays=bool(network_map.relays), now=now
                )
                self._offer(session, network_map.me, peer, now)
                if device is not None:
                    session.observe(device.peers.get(key), now)
            else:
                self._offer(session, network_map.me, peer, now)
                if was is not None and was.endpoints != peer.endpoints:
                    session.doubt(now)
            if peer is not was:
                changes.append((key, was, peer))
        return changes

    def _new_session(self, key: PublicKey, *, is_first: bool, has_relays: bool, now: Instant) -> Session:
        if is_first:
            patience = CALL_AFTER if self._call_at is None else RELAY_PATIENCE
        else:
            patience = FOLLOW_BY_RELAY if has_relays else FOLLOW_AFTER
        start_at = now.monotonic + patience
        return Session(start_at=start_at, is_withheld=is_first, is_elected=self._is_elected(key))

    def _is_elected(self, key: PublicKey) -> bool:
        """Whether this end decides where both ends of the pair would decide alike."""
        return self._own_key.raw < key.raw

    def begin_anew(self, network_map: NetworkMap | None, now: Instant) -> None:
        """No session lives, and every peer is to be called at once."""
        self._call_at = None
        self.sessions = {
            key: Session(start_at=now.monotonic, is_elected=self._is_elected(key)) for key in self.sessions
        }
        self.rank(network_map, self._surroundings, now)

    def observe(self, device: ObservedDevice, network_map: NetworkMap | None, now: Instant, *, is_kept: bool) -> None:
        """The device was read. `is_kept`: keepalives are expected from peers."""
        self._note_ways(network_map, now)
        for key, session in self.sessions.items():
            seen = device.peers.get(key)
            session.observe(seen, now)
            session.tick(now)
            if network_map is None or seen is None or seen.endpoint is None or not session.tunnel.alive(now):
                session.path.died()
                continue
            if self._surroundings.leads_inside(seen.endpoint):
                session.return_home()  # the peer sent its packets through the tunnel itself
                continue
            relaying = PairRelays(self._relays, self._ways, network_map.me, network_map.peers[key], now)
            if not session.is_trying() or relaying.at(seen.endpoint) is not None:
                session.path.observe(seen.endpoint, session.tunnel, relaying, now, is_kept=is_kept)
                if session.path.renewals.is_due:
                    session.renew(now)
        self._relays.need({one.path.relay for one in self.sessions.values() if one.path.relay is not None})

    def _note_ways(self, network_map: NetworkMap | None, now: Instant) -> None:
        ways = self._relays.ways(now)
        if self._call_at is not None and ways:
            for session in self.sessions.values():
                session.hasten(max(now.monotonic, self._call_at))
            self._call_at = None
        if ways != self._ways:
            self._ways = ways
            self.rank(network_map, self._surroundings, now)

    def rank(self, network_map: NetworkMap | None, surroundings: Surroundings, now: Instant) -> None:
        """Where peers may be reached is to be reckoned anew."""
        self._surroundings = surroundings
        if network_map is not None:
            for key, session in self.sessions.items():
                self._offer(session, network_map.me, network_map.peers[key], now)

    def _offer(self, session: Session, me: Peer, peer: Peer, now: Instant) -> None:
        candidates = self._surroundings.candidates(peer)
        way = self._relays.to(me, peer, now) if self._ways else None
        session.offer(
            way[1] if way else None,
            tuple(candidate.endpoint for candidate in candidates),
            now,
            relay_seconds=self._relays.seconds_to(way[0]) if way else 0.0,
        )
        session.path.offer(candidates, (me.nat, peer.nat), now)

    def moved(self, now: Instant) -> None:
        """This machine has other addresses than before."""
        for session in self.sessions.values():
            session.doubt(now)
            session.path.moved(now)

    # Answers

    def due_calls(self, keys: Mapping[PublicKey, object], now: Instant) -> tuple[PublicKey, ...]:
        """Those of these peers that are to get a packet from the address that this machine has now."""
        mine = ((key, self.sessions[key]) for key in keys if key in self.sessions)
        return tuple(key for key, session in mine if session.call_due and session.starts(now))

    def resets(self) -> tuple[PublicKey, ...]:
        """The peers to remove and make again now. Each is named once."""
        due = [key for key, session in self.sessions.items() if session.reset_due]
        for key in due:
            self.sessions[key].reset_due = False
        return tuple(due)

    def round(self, now: Instant) -> Round:
        """What to send now to find better paths: to those who wait longest, as many as go together."""
        waiting = [(session.path.due_at(), key.raw, key) for key, session in self.sessions.items()]
        due = [key for due_at, _raw, key in sorted(waiting) if due_at <= now.monotonic]
        sessions = {key: self.sessions[key] for key in due}
        if due and sessions[due[0]].tunnel.is_busy:
            together = due[:1]
        else:
            together = [key for key in due if not sessions[key].tunnel.is_busy][:MAX_PEERS]
        probes = (sessions[key].path.probe(key, sessions[key].tunnel, now) for key in together)
        return Round(tuple(probe for probe in probes if probe is not None))

    def probed(self, done: Round) -> None:
        """That was sent."""
        for probe in done.probes:
            session = self.sessions.get(probe.public_key)
            if session is not None:
                session.path.probed()

    def path_of(self, peer: Peer, me: Peer, now: Instant) -> PathReport:
        """How packets reach that peer now, and what was tried."""
        way = self._relays.to(me, peer, now) if self._ways else None
        session = self.sessions[peer.public_key]
        report = session.path.report(way[0] if way else None, now)
        if session.tunnel.alive(now):
            return report
        return PathReport(kind=PathKind.NONE, relay=report.relay, trials=report.trials)

    def ready_at(self, now: Instant) -> float:
        """When to look whether a relay is ready that peers wait for."""
        if self._call_at is None or now.monotonic >= self._call_at - CALL_AFTER + RELAY_PATIENCE:
            return float("inf")
        return now.monotonic + RELAY_LOOK


def _own_view(network_map: NetworkMap) -> tuple[object, ...]:
    """What the own record says of the way to any peer."""
    return network_map.me.nat, network_map.me.distances, network_map.relays


def _is_back(was: Peer | None, peer: Peer, session: Session, now: Instant) -> bool:
    """Whether a peer that was offline, its tunnel dead, is online again: a newcomer, which starts by itself."""
    return was is not None and not was.online and peer.online and not session.tunnel.alive(now)
