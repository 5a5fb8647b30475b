"""Packets, hosts, and the segments between them."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import count
from typing import TYPE_CHECKING, Final, Protocol

from wireguard_mesh.model.endpoints import Address, Endpoint

if TYPE_CHECKING:
    from tests.natlab.behaviour import Behaviour
    from tests.natlab.router import Router

LATENCY: Final = 0.005  # seconds from one node of a segment to another


@dataclass(frozen=True, slots=True)
class Packet:
    """One UDP datagram on its way."""

    source: Endpoint
    destination: Endpoint
    payload: bytes


class Node(Protocol):
    """Whatever has a place on a segment."""

    def owns(self, address: Address) -> bool:
        """Whether packets for this address are for it, or go through it, when they come over this segment."""

    def receive(self, packet: Packet, now: float) -> None:
        """Take a packet that came over the segment."""


class Segment:
    """Nodes that reach each other directly. What is for nobody here goes to the gateway, if there is one."""

    def __init__(self, network: Network, latency: float) -> None:
        self.latency = latency
        self.gateway: Callable[[Packet, float], None] | None = None
        self.nodes: list[Node] = []
        self._network = network

    def carry(self, packet: Packet, now: float) -> None:
        """Take a packet from one of the nodes; it arrives after the latency."""
        self._network.at(now + self.latency, lambda later: self._deliver(packet, later))

    def reaches(self, address: Address) -> bool:
        """Whether a node here takes packets for this address."""
        return any(node.owns(address) for node in self.nodes)

    def _deliver(self, packet: Packet, now: float) -> None:
        for node in self.nodes:
            if node.owns(packet.destination.address):
                node.receive(packet, now)
                return
        if self.gateway is not None:
            self.gateway(packet, now)


class Host:
    """A machine. What comes for it is in `received`, in order, and is given to `on_packet`."""

    def __init__(self, segment: Segment, addresses: tuple[Address, ...]) -> None:
        self.received: list[Packet] = []
        self.on_packet: Callable[[Packet, float], None] = lambda _packet, _now: None
        self._segment = segment
        self.addresses = addresses
        segment.nodes.append(self)

    def at(self, port: int, version: int = 4) -> Endpoint:
        """Its first address of that version of IP, with a port."""
        return Endpoint(self._address(version), port)

    def send(self, port: int, destination: Endpoint, payload: bytes, now: float) -> None:
        """Send a datagram from a port of this machine, with its address of the destination's family.

        Raises `StopIteration` if it has none.
        """
        source = self.at(port, destination.address.version)
        self._segment.carry(Packet(source, destination, payload), now)

    def move(self, segment: Segment, *addresses: str) -> None:
        """Leave the segment for another one, with other addresses."""
        self._segment.nodes.remove(self)
        self._segment = segment
        self.addresses = tuple(map(ip_address, addresses))
        segment.nodes.append(self)

    def owns(self, address: Address) -> bool:
        return address in self.addresses

    def receive(self, packet: Packet, now: float) -> None:
        self.received.append(packet)
        self.on_packet(packet, now)

    def _address(self, version: int) -> Address:
        return next(address for address in self.addresses if address.version == version)


class Network:
    """Where everything is made, and what is on its way."""

    def __init__(self) -> None:
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._numbers = count()

    def segment(self, latency: float = LATENCY) -> Segment:
        """A segment; `latency` is in seconds, one way."""
        return Segment(self, latency)

    def host(self, segment: Segment, *addresses: str) -> Host:
        """A machine on a segment, with at most one address of each family in use (the first)."""
        return Host(segment, tuple(map(ip_address, addresses)))

    def router(self, inside: Segment, outside: Segment, address: str, behaviour: Behaviour) -> Router:
        """A router that is the gateway of `inside` and has an IPv4 address on `outside`."""
        from tests.natlab.router import Router  # which builds on what is in this file

        return Router(inside, outside, ip_address(address), behaviour)

    def at(self, when: float, action: Callable[[float], None]) -> None:
        """Do something at a time to come; things of the same time happen in the order of these calls."""
        heapq.heappush(self._events, (when, next(self._numbers), action))

    @property
    def next_at(self) -> float:
        """When something happens next; infinity when nothing is on its way."""
        return self._events[0][0] if self._events else float("inf")

    def run(self, until: float) -> None:
        """Let all happen that is due until then, that time included."""
        while self.next_at <= until:
            when, _number, action = heapq.heappop(self._events)
            action(when)
