"""WireGuard, a relay and agents in memory, over the NATs of `tests.natlab`, in time that is an argument.

The WireGuard here does what matters for paths: it follows authentic packets, repeats handshakes after `REKEY_TIMEOUT`,
sends keepalives, and counts bytes. Nothing is encrypted: whoever names a key has it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_network
from itertools import count

import msgspec

from tests.natlab import Host, Network, Packet
from tests.samples import NETWORK, peer, private_key, public_key
from wireguard_mesh.core.engine import Engine
from wireguard_mesh.core.instant import Instant
from wireguard_mesh.core.plan import calls, plan
from wireguard_mesh.core.tunnels import KEEPALIVE_TIMEOUT, REJECT_AFTER_TIME, REKEY_TIMEOUT
from wireguard_mesh.core.wanted import Settings
from wireguard_mesh.model.devices import BackendKind, DeviceChange, ObservedDevice, ObservedPeer, PeerChange
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.hosts import LocalAddress
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.model.paths import PathKind, PathReport
from wireguard_mesh.model.peers import NetworkMap, Peer
from wireguard_mesh.model.relays import NatClass, Relay, RelayId, VantagePoint

PORT = 51820
RELAY_PORT = 8080
NAME = InterfaceName("wg0")
EPOCH = 1_000_000.0
REKEY_AFTER_TIME = 120.0  # WireGuard paper, section 6.1
GAP = 0.0005  # seconds that an endpoint stays at a candidate
INITIATION, RESPONSE, DATA = 1, 2, 4
_SIZE = {INITIATION: 148, RESPONSE: 92}
KEEPALIVE_SIZE = 32


class Message(msgspec.Struct, array_like=True):
    """`number`: of the packet of a flow, -1 for none. `session`: what both ends' indices stand for."""

    kind: int
    source: bytes
    target: bytes
    size: int
    number: int = -1
    session: int = 0


def at(seconds: float) -> Instant:
    return Instant(seconds, EPOCH + seconds)


@dataclass
class _Peer:
    """One peer of the simulated device."""

    endpoint: Endpoint | None = None
    keepalive: int = 0
    handshake: float = 0.0
    session: int = 0
    sessions: tuple[int, ...] = ()
    initiated: float = float("-inf")
    received: int = 0
    sent: int = 0
    allowed_ips: frozenset[object] = frozenset()
    serial: int = 0
    sent_at: float = float("-inf")
    answers_at: float = float("-inf")


class Device:
    """A WireGuard device on a host. `flows` has the number of each packet of a flow that arrived."""

    def __init__(self, network: Network, host: Host, key: PublicKey) -> None:
        self.peers: dict[PublicKey, _Peer] = {}
        self.flows: set[int] = set()
        self._network = network
        self._host = host
        self._key = key
        self._sessions = count(key.raw[0] << 32)
        host.on_packet = self._receive

    def observed(self) -> ObservedDevice:
        peers = {
            key: ObservedPeer(
                public_key=key,
                allowed_ips=one.allowed_ips,  # type: ignore[arg-type]  # it is kept, never read
                endpoint=one.endpoint,
                keepalive=one.keepalive,
                latest_handshake=one.handshake,
                received_bytes=one.received,
                sent_bytes=one.sent,
            )
            for key, one in self.peers.items()
        }
        return ObservedDevice(name=NAME, backend=BackendKind.USERSPACE, private_key=None, listen_port=PORT, peers=peers)

    def apply(self, change: DeviceChange, now: float) -> None:
        for part in change.peers:
            self._apply(part, now)

    def _apply(self, part: PeerChange, now: float) -> None:
        if part.remove:
            self.peers.pop(part.public_key, None)
            return
        if part.create:
            self.peers.setdefault(part.public_key, _Peer())
        one = self.peers.get(part.public_key)
        if one is None:
            return
        one.endpoint = part.endpoint or one.endpoint
        one.allowed_ips = one.allowed_ips if part.allowed_ips is None else part.allowed_ips
        if part.keepalive is not None:
            comes_on = part.keepalive > 0 and one.keepalive == 0
            one.keepalive = part.keepalive
            if comes_on:
                self.send(part.public_key, KEEPALIVE_SIZE, now)
                self._keep(part.public_key, one, now)

    def _keep(self, key: PublicKey, one: _Peer, now: float) -> None:
        one.serial += 1
        serial = one.serial

        def again(then: float) -> None:
            if self.peers.get(key) is one and one.serial == serial and one.keepalive:
                self.send(key, KEEPALIVE_SIZE, then)
                self._network.at(then + one.keepalive, again)

        self._network.at(now + one.keepalive, again)

    def send(self, key: PublicKey, size: int, now: float, number: int = -1) -> None:
        """Send a packet of a flow, or a keepalive, or what comes before."""
        one = self.peers.get(key)
        if one is None or one.endpoint is None:
            return
        age = EPOCH + now - one.handshake
        if age < REJECT_AFTER_TIME:
            self._emit(one, Message(DATA, self._key.raw, key.raw, size, number, one.session), now)
        if age >= REKEY_AFTER_TIME:
            self._initiate(key, now)

    def _initiate(self, key: PublicKey, now: float) -> None:
        one = self.peers.get(key)
        is_young = one is not None and EPOCH + now - one.handshake < REKEY_AFTER_TIME
        if one is None or is_young or now < one.initiated + REKEY_TIMEOUT - 0.001:
            return
        one.initiated = now
        session = next(self._sessions)
        self._emit(one, Message(INITIATION, self._key.raw, key.raw, _SIZE[INITIATION], session=session), now)
        self._network.at(now + REKEY_TIMEOUT, lambda then: self._initiate(key, then))

    def _emit(self, one: _Peer, message: Message, now: float) -> None:
        if one.endpoint is not None:
            one.sent += message.size
            one.sent_at = now
            self._host.send(PORT, one.endpoint, msgspec.json.encode(message), now)

    def _receive(self, packet: Packet, now: float) -> None:
        message = msgspec.json.decode(packet.payload, type=Message)
        key = PublicKey(message.source)
        one = self.peers.get(key)
        if one is None or message.target != self._key.raw or packet.destination.port != PORT:
            return
        if message.kind == DATA and message.session not in one.sessions:
            return
        one.endpoint = packet.source
        one.received += message.size
        if message.kind != DATA:
            one.handshake, one.session = EPOCH + now, message.session
            one.sessions = (*one.sessions[-2:], message.session)
        if message.kind == INITIATION:
            answer = Message(RESPONSE, self._key.raw, key.raw, _SIZE[RESPONSE], session=message.session)
            self._emit(one, answer, now)
        elif message.kind == RESPONSE:
            self.send(key, KEEPALIVE_SIZE, now)
        elif message.number >= 0:
            self.flows.add(message.number)
            self._answer_in_time(key, one, now)

    def _answer_in_time(self, key: PublicKey, one: _Peer, now: float) -> None:
        """WireGuard paper, section 6.5: data is answered by an empty packet, if by nothing else."""
        if one.answers_at > now:
            return
        one.answers_at = now + KEEPALIVE_TIMEOUT

        def answer(then: float) -> None:
            if one.sent_at < then - KEEPALIVE_TIMEOUT + 0.001:
                self.send(key, KEEPALIVE_SIZE, then)

        self._network.at(one.answers_at, answer)


class SimulatedRelay:
    """A rendezvous that forwards, on a host of its own: packets of sessions whose handshakes it saw, and no other.
    `forwarded` counts packets."""

    def __init__(self, host: Host, seed: int, name: str = "server") -> None:
        self.relay = Relay(
            id=RelayId(name),
            vantage_points=(VantagePoint(public_key(seed), RELAY_PORT),),
            ipv4=host.at(RELAY_PORT).address,  # type: ignore[arg-type]  # it has IPv4 in these tests
        )
        self.sources: dict[bytes, Endpoint] = {}
        self.sessions: set[int] = set()
        self.forwarded = 0
        self.is_dead = False
        self._key = public_key(seed)
        self._host = host
        host.on_packet = self._receive

    def _receive(self, packet: Packet, now: float) -> None:
        if self.is_dead:
            return
        message = msgspec.json.decode(packet.payload, type=Message)
        if message.target == self._key.raw:
            self.sources[message.source] = packet.source
            if message.kind == INITIATION:
                answer = Message(RESPONSE, self._key.raw, message.source, _SIZE[RESPONSE])
                self._host.send(RELAY_PORT, packet.source, msgspec.json.encode(answer), now)
        elif self.sources.get(message.source) == packet.source and message.target in self.sources:
            if message.kind == DATA and message.session not in self.sessions:
                return
            self.sessions.add(message.session)
            self.forwarded += 1
            self._host.send(RELAY_PORT, self.sources[message.target], packet.payload, now)


@dataclass
class Agent:
    """What `client.device` does, for a device in memory."""

    number: int
    network: Network
    host: Host
    world: World
    engine: Engine = field(init=False)
    device: Device = field(init=False)
    is_stopped: bool = True
    looks: int = 0
    probes: list[tuple[float, int]] = field(default_factory=list)
    on_look: Callable[[Agent, float], None] = lambda _agent, _now: None
    _turn: int = 0

    def __post_init__(self) -> None:
        self.device = Device(self.network, self.host, public_key(self.number))
        self.engine = Engine(Settings(interface=NAME, private_key=private_key(self.number)))

    def start(self, now: float) -> None:
        self.is_stopped = False
        self.engine.device_is_new(at(now))
        self.links_changed(now)
        self.world.tell(now)

    def links_changed(self, now: float) -> None:
        self.engine.links_changed(self.world.links(self.number), 1500, at(now))
        self.wake(now)

    def wake(self, now: float) -> None:
        """Look now, and not when it was meant to be."""
        self.turn(now)

    def turn(self, now: float) -> None:
        if self.is_stopped:
            return
        self._turn += 1
        self.looks += 1
        observed = self.device.observed()
        self.engine.observed(observed, at(now))
        self.on_look(self, now)
        wanted = self.engine.wanted(at(now))
        if wanted is not None:
            change = plan(wanted.device, observed, wanted.resets)
            self.device.apply(change, now)
            self.device.apply(calls(wanted.device, observed, wanted.calls), now)
            self.engine.applied(wanted, at(now))
        due = self.engine.round(at(now))
        steps = due.steps(self.engine.settings.keepalive)
        then = now
        if due.probes:
            self.probes.append((now, len(due.probes)))
            for step in steps:
                self.network.at(then, lambda when, step=step: self.device.apply(step, when))  # type: ignore[misc]
                then += GAP
            self.network.at(then, lambda _when: self.engine.probed(due))
        self._plan_turn(max(then + 0.0001, self.engine.next_look(at(now))))

    def _plan_turn(self, when: float) -> None:
        turn = self._turn

        def again(then: float) -> None:
            if turn != self._turn:
                return
            if self.engine.next_look(at(then)) > then + 1e-6:
                self._plan_turn(self.engine.next_look(at(then)))
            else:
                self.turn(then)

        self.network.at(when, again)

    def path(self, other: Agent, now: float) -> PathReport:
        return self.engine.path_of(public_key(other.number), at(now))


class World:
    """A map for all agents, and what is true of the network beneath."""

    def __init__(self, network: Network, *relays: SimulatedRelay) -> None:
        self.network = network
        self.relays = relays
        self.agents: dict[int, Agent] = {}
        self.nats: dict[int, NatClass] = {}
        self.is_told = True
        """Whether peers learn of each other's reflexive addresses."""
        self.is_ipv6_told = True
        """Whether they learn of each other's IPv6 addresses."""
        self.revision = 0

    def agent(self, number: int, host: Host, nat: NatClass = NatClass.EASY) -> Agent:
        """Made, not started."""
        self.agents[number] = Agent(number, self.network, host, self)
        self.nats[number] = nat
        return self.agents[number]

    def map_for(self, number: int) -> NetworkMap:
        others = [other for other, agent in self.agents.items() if not agent.is_stopped and other != number]
        return self.map_of([self._peer(one) for one in (number, *others)])

    def map_of(self, peers: list[Peer]) -> NetworkMap:
        """The first of them is the one that reads it."""
        return NetworkMap(
            epoch="e",
            revision=self.revision,
            network=NETWORK,
            me=peers[0],
            peers={one.public_key: one for one in peers[1:]},
            relays=tuple(relay.relay for relay in self.relays),
        )

    def links(self, number: int) -> list[LocalAddress]:
        """What a machine has, each on a segment of 256."""
        return [
            LocalAddress(
                interface=InterfaceName("eth0"),
                address=address,
                prefix=ip_network(f"{address}/{24 if address.version == 4 else 64}", strict=False),
                mtu=1500,
            )
            for address in self.agents[number].host.addresses
        ]

    def _peer(self, number: int) -> Peer:
        agent = self.agents[number]
        sources = [relay.sources.get(public_key(number).raw) for relay in self.relays] if self.is_told else []
        return msgspec.structs.replace(
            peer(number),
            endpoints=tuple(
                Endpoint(address, PORT) for address in agent.host.addresses if address.version == 4 or self.is_ipv6_told
            ),
            reflexive=tuple(dict.fromkeys(source for source in sources if source is not None)),
            nat=self.nats[number],
        )

    def tell(self, now: float) -> None:
        """Everybody gets the map as it is now."""
        self.revision += 1
        for number, agent in self.agents.items():
            if agent.is_stopped:
                continue
            agent.engine.map_arrived(self.map_for(number), at(now))
            agent.wake(now)

    def kinds(self, now: float) -> set[PathKind]:
        """Of all pairs."""
        agents = self.agents.values()
        return {one.path(other, now).kind for one in agents for other in agents if one is not other}
