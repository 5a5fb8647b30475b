"""Relays, and a device whose sessions with them come and go as a test says."""

from ipaddress import IPv4Address, ip_address, ip_network

from tests.samples import public_key
from wireguard_mesh.core.instant import Instant
from wireguard_mesh.core.relay_choice import RelayChoice
from wireguard_mesh.core.relay_pings import ANSWER_TIME, Ping
from wireguard_mesh.model.devices import BackendKind, ObservedDevice, ObservedPeer
from wireguard_mesh.model.endpoints import Address, Endpoint
from wireguard_mesh.model.hosts import LocalAddress
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.model.relays import OWN_RELAY, Relay, RelayId, VantagePoint

WALL = 1_700_000_000.0
SERVER = ip_address("203.0.113.1")
MAPPED = Endpoint.parse("198.51.100.7:40000")
LOCAL = Endpoint.parse("127.0.0.1:50000")


def at(seconds: float) -> Instant:
    return Instant(seconds, WALL + seconds)


def points(number: int) -> tuple[VantagePoint, VantagePoint]:
    return VantagePoint(public_key(500 + 2 * number), 8080), VantagePoint(public_key(501 + 2 * number), 8081)


OWN = Relay(id=OWN_RELAY, vantage_points=points(0), web=True)


def far(number: int) -> Relay:
    """A relay elsewhere."""
    return Relay(id=RelayId(f"r{number}"), vantage_points=points(number), ipv4=IPv4Address(f"203.0.113.{100 + number}"))


def lan(address: str = "192.0.2.5") -> LocalAddress:
    where: Address = ip_address(address)
    prefix = ip_network((address, 24 if where.version == 4 else 64), strict=False)
    return LocalAddress(interface=InterfaceName("eth0"), address=where, prefix=prefix, mtu=1500)


class World:
    """One machine with its device, and relays that answer as `udp`, `web` and `deaf` say. Time passes by `run`."""

    def __init__(self, *relays: Relay, carrier_starts: bool = True) -> None:
        self.choice = RelayChoice()
        self.relays = relays or (OWN,)
        self.now = 0.0
        self.udp = True
        self.deaf: set[PublicKey] = set()  # vantage points that do not answer by UDP
        self.blocks_wireguard = False  # though pings get through
        self.carrier_starts = carrier_starts
        self.has_carrier = False
        self.peers: dict[PublicKey, ObservedPeer] = {}
        self.resets: list[PublicKey] = []
        self.pings: list[tuple[float, Ping]] = []
        self._due: list[tuple[float, Ping]] = []
        self.follow()

    def follow(self, *local: str) -> None:
        self.choice.follow(self.relays, [SERVER], [lan(address) for address in local or ("192.0.2.5",)])

    @property
    def instant(self) -> Instant:
        return at(self.now)

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now = round(self.now + 0.1, 3)
            self.turn()

    def turn(self) -> None:
        """What agent and device do at this moment."""
        self._set_device()
        self._shake_hands()
        self.choice.observed(self.device, self.instant)
        for ping in self.choice.pings(self.instant):
            self.pings.append((self.now, ping))
            if self.udp and ping.public_key not in self.deaf:
                self.choice.ponged(ping.relay, ping.vantage, 0.02, MAPPED, self.instant)
            else:
                self._due.append((self.now + ANSWER_TIME, ping))
        for moment, ping in [entry for entry in self._due if entry[0] <= self.now]:
            self._due.remove((moment, ping))
            self.choice.missed(ping.relay, ping.vantage, self.instant)
        wants = self.choice.wants_carrier(self.instant)
        if wants != self.has_carrier and (self.carrier_starts or self.has_carrier):
            self.has_carrier = wants
            self.choice.carried(self.choice.carried_relay if wants else None, LOCAL if wants else None, self.instant)

    @property
    def device(self) -> ObservedDevice:
        return ObservedDevice(name=InterfaceName("wg0"), backend=BackendKind.KERNEL, peers=dict(self.peers))

    def _set_device(self) -> None:
        resets = self.choice.resets()
        self.resets += resets
        wanted = self.choice.rendezvous_peers(self.instant)
        for key, peer in wanted.items():
            standing = self.peers.get(key)
            handshake = 0.0 if standing is None or key in resets else standing.latest_handshake
            self.peers[key] = ObservedPeer(public_key=key, endpoint=peer.endpoint, latest_handshake=handshake)
        self.peers = {key: peer for key, peer in self.peers.items() if key in wanted}

    def _shake_hands(self) -> None:
        for key, peer in self.peers.items():
            age = self.instant.wall - peer.latest_handshake
            if self._answers(peer) and age >= 120.0:  # REKEY_AFTER_TIME
                self.peers[key] = ObservedPeer(
                    public_key=key, endpoint=peer.endpoint, latest_handshake=self.instant.wall
                )

    def _answers(self, peer: ObservedPeer) -> bool:
        if peer.endpoint == LOCAL:
            return self.has_carrier
        return self.udp and not self.blocks_wireguard and peer.public_key not in self.deaf
