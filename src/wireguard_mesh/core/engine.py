"""The client's engine: from the map, the device, the links and the time to what device and host shall be.

Events go in through methods, with the moment of their coming. `wanted` then says what shall be, `round` what to send to
find better paths, and `next_look` when to read the device and ask again if nothing happens before. The engine holds no
socket and starts nothing; whoever runs it compares what it wants with what stands (`core.plan`) and lets the backends
apply the difference.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from wireguard_mesh.core import endpoints
from wireguard_mesh.core.exit_nodes import ExitDecision, choose
from wireguard_mesh.core.instant import Instant
from wireguard_mesh.core.looks import Looks
from wireguard_mesh.core.members import Members
from wireguard_mesh.core.plan import peers_change
from wireguard_mesh.core.probes import Round
from wireguard_mesh.core.relay_choice import RelayChoice
from wireguard_mesh.core.wanted import ETHERNET_MTU, Settings, wanted_device, wanted_host, wanted_peers
from wireguard_mesh.model.devices import DeviceChange, ObservedDevice, ObservedPeer, WantedDevice
from wireguard_mesh.model.endpoints import Address, Endpoint
from wireguard_mesh.model.hosts import LocalAddress, WantedHost
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.paths import PathKind, PathReport
from wireguard_mesh.model.peers import NetworkMap, Peer


class Wanted(msgspec.Struct, frozen=True):
    """What shall be now, and what to tell a person about it. `calls`: the peers that are to get a packet at once, from
    the address that this machine has now. `resets`: those to be removed and made again, to begin a handshake at once.
    """

    device: WantedDevice
    host: WantedHost
    exit_node: ExitDecision
    calls: tuple[PublicKey, ...] = ()
    resets: tuple[PublicKey, ...] = ()


class Engine:
    """One mesh on one interface."""

    def __init__(self, settings: Settings, relays: RelayChoice | None = None) -> None:
        self.settings = settings
        self.map: NetworkMap | None = None
        self.exit_node = ExitDecision()
        self.device: ObservedDevice | None = None
        self.local: tuple[LocalAddress, ...] = ()
        self.link_mtu = ETHERNET_MTU
        self.relays = relays or RelayChoice()
        self._server: tuple[Address, ...] = ()
        self._members = Members(self.relays, settings.private_key.public_key)
        self._news: set[PublicKey] = set()
        self._looks = Looks()

    # Events

    def map_arrived(self, network_map: NetworkMap, now: Instant) -> None:
        """The map is this from now on. Peers of the first one are called, later ones are left time to call."""
        before, self.map = self.map, network_map
        if before is None or (before.me, before.network) != (network_map.me, network_map.network):
            self._looks.must_look = True
        is_elsewhere = before is None or before.network != network_map.network
        if is_elsewhere:
            self._members.rank(None, self._surroundings(), now)
        if is_elsewhere or (before is not None and before.relays != network_map.relays):
            self._follow_relays()
        for key, was, peer in self._members.follow(before, network_map, self.device, now):
            self._note(key, was, peer)

    def _note(self, key: PublicKey, was: Peer | None, peer: Peer | None) -> None:
        """This peer is another than it was."""
        self._news.add(key)
        stands = self.device is None or key in self.device.peers
        is_exit_node = (was is not None and was.exit_node) or (peer is not None and peer.exit_node)
        # What stands may have come to life since it was looked at, and must not be touched without looking.
        if is_exit_node or key == self.exit_node.key or (stands and peer is not None and _differs(was, peer)):
            self._looks.must_look = True

    def observed(self, device: ObservedDevice, now: Instant, *, is_aside: bool = False) -> None:
        """The device was read. `is_aside`: for somebody who only asks, so the next look is due as before."""
        self.device = device
        if not is_aside:
            self._looks.looked(now)
        self.relays.observed(device, now)
        self._members.observe(device, self.map, now, is_kept=self.settings.keepalive > 0)

    def device_is_new(self, now: Instant) -> None:
        """The device was made (again): no session lives, and every peer is to be called at once."""
        self.device = None
        self._looks.must_look = True
        self._members.begin_anew(self.map, now)

    def links_changed(self, local: Sequence[LocalAddress], link_mtu: int, now: Instant) -> None:
        """These addresses the machine has now, and this MTU the link towards the server."""
        self._looks.changed()
        is_moved = tuple(local) != self.local
        self.local = tuple(local)
        self.link_mtu = link_mtu
        if is_moved:
            self._follow_relays()
        self._members.rank(self.map, self._surroundings(), now)
        if is_moved:
            self._members.moved(now)
            self.rerouted()

    def server_reached(self, addresses: Sequence[Address]) -> None:
        """The coordination server is reached at these, the last one first; relays without an address are there too."""
        if tuple(addresses) != self._server:
            self._server = tuple(addresses)
            self._follow_relays()

    def _follow_relays(self) -> None:
        if self.map is not None:
            self.relays.follow(self.map.relays, self._server, self.local, self.map.network.prefixes)
            self._looks.must_look = True

    def _surroundings(self) -> endpoints.Surroundings:
        mesh = self.map.network.prefixes if self.map is not None else ()
        return endpoints.Surroundings(self.local, self.own_port(), mesh)

    def rerouted(self) -> None:
        """Packets may leave by another way: peers must hear of it from WireGuard, which keeps to the old one."""
        self._looks.changed()
        for session in self._members.sessions.values():
            session.call()

    def applied(self, wanted: Wanted, now: Instant) -> None:
        """What was wanted was done. Meanwhile a peer may have left, or another call become due."""
        self._looks.changed()
        sessions = self._members.sessions
        called = [sessions[key] for key in wanted.calls if key in sessions]
        for session in called:
            session.called()
        if wanted.calls:
            self._looks.called(now, has_calls=any(session.call_due for session in called))

    def probed(self, done: Round) -> None:
        """That round was sent."""
        self._looks.changed()
        self._members.probed(done)

    def configure(self, settings: Settings) -> None:
        """The user decided otherwise."""
        self.settings = settings

    # Answers

    def wanted(self, now: Instant) -> Wanted | None:
        """What shall be; None before the first map."""
        if self.map is None:
            return None
        self._looks.must_look = False
        self._news.clear()
        self.exit_node = choose(
            self.settings.exit_policy,
            self.map.peers.values(),
            self.exit_node,
            offers=self.settings.offers_exit_node,
            usable=lambda peer: self.settings.keepalive == 0 or self._members[peer.public_key].tunnel.answers(now),
        )
        rendezvous = self.relays.rendezvous_peers(now)
        device = wanted_device(self.settings, self.map, self._members.sessions, self.exit_node, rendezvous, now)
        return Wanted(
            device,
            wanted_host(self.settings, self.map, self.exit_node, self.link_mtu),
            self.exit_node,
            self._calls(device, now),
            # A relay that claims a peer's key gets no tunnel torn.
            (*(key for key in self.relays.resets() if key not in self.map.peers), *self._members.resets()),
        )

    def _calls(self, device: WantedDevice, now: Instant) -> tuple[PublicKey, ...]:
        """Those who are to get a packet now, which is taken to be under way."""
        calls = self._members.due_calls(device.peers, now)
        if not self._looks.may_call(now, has_calls=bool(calls)):
            return ()
        for key in calls:
            self._members[key].is_calling = True
        return calls

    def round(self, now: Instant) -> Round:
        """What to send now, right after a look, to find better paths; `probed` is to be told when it was sent."""
        return self._members.round(now)

    def news(self, now: Instant) -> DeviceChange | None:
        """What the map's changes ask of the device, at their own cost: peers that came and peers that left. They are
        told once. None if it takes a look at the device, and `wanted`, to tell."""
        if self._looks.must_look or self.map is None or self.device is None:
            return None
        peers, standing = self.map.peers, self.device.peers
        came = [peers[key] for key in self._news if key in peers and key not in standing]
        left = {key: standing[key] for key in self._news if key not in peers and key in standing}
        for peer in came:
            if peer.online:
                self._looks.hasten(self._members[peer.public_key].look_at(now))
        self._news.clear()
        return peers_change(wanted_peers(self.settings, came, self._members.sessions, self.exit_node, now), left)

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
        relays_at = min(self.relays.next_at(now), self._members.ready_at(now))
        return self._looks.next(self.map, self._members.sessions, relays_at, now)

    def published(self, limit: int) -> tuple[Endpoint, ...]:
        """Where others may reach this machine, best first; none before the device has its port."""
        port = self.own_port()
        return endpoints.published(self.local, port, limit) if port else ()

    def is_alive(self, key: PublicKey, now: Instant) -> bool:
        """Whether the tunnel to that peer demonstrably carries packets."""
        return self._members.is_alive(key, now)

    def path_of(self, key: PublicKey, now: Instant) -> PathReport:
        """How packets reach that peer now, and what was tried; of a peer that is not in the map: no path."""
        if self.map is None or key not in self.map.peers:
            return PathReport(kind=PathKind.NONE)
        return self._members.path_of(self.map.peers[key], self.map.me, now)

    def own_port(self) -> int:
        """WireGuard's UDP port here; 0: not known yet."""
        return self.settings.listen_port or (self.device.listen_port if self.device else 0)


def _differs(was: Peer | None, peer: Peer) -> bool:
    """Whether WireGuard has to do with what changed."""
    return was is None or _reach(was) != _reach(peer)


def _reach(peer: Peer) -> tuple[object, ...]:
    return peer.endpoints, peer.mapped, peer.reflexive, peer.nat, peer.distances, peer.online, peer.addresses
