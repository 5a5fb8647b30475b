"""A relay as this machine knows it: its vantage points, where they are reached from here, and how far it is."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from wireguard_mesh.core.distances import Distance
from wireguard_mesh.core.vantages import Vantage
from wireguard_mesh.model.endpoints import Address, Endpoint
from wireguard_mesh.model.relays import Relay


class Station:
    """`server`: addresses at which the coordination server is reached, the last one first. `families`: the versions of
    IP that this machine has addresses of."""

    __slots__ = ("distance", "relay", "vantages")

    def __init__(self, relay: Relay, server: Sequence[Address], families: Collection[int]) -> None:
        self.relay = relay
        self.distance = Distance()
        self.vantages = tuple(
            Vantage(point.public_key, candidates(relay, number, server, families))
            for number, point in enumerate(relay.vantage_points)
        )

    @property
    def first(self) -> Vantage:
        """The vantage point that forwards."""
        return self.vantages[0]

    def follow(self, relay: Relay, server: Sequence[Address], families: Collection[int]) -> None:
        """The same relay may be reached elsewhere now."""
        self.relay = relay
        for number, vantage in enumerate(self.vantages):
            vantage.offer(candidates(relay, number, server, families))

    def moved(self) -> None:
        """This machine's network is another."""
        self.distance.forget()
        for vantage in self.vantages:
            vantage.moved()


def candidates(relay: Relay, number: int, server: Sequence[Address], families: Collection[int]) -> tuple[Endpoint, ...]:
    """Where vantage point `number` may be reached, IPv4 first, for NATs are there; addresses of a family that this
    machine lacks only if there are no others."""
    port = relay.vantage_points[number].port
    by_server = sorted(server, key=lambda address: address.version)
    endpoints = relay.endpoints(number) or tuple(dict.fromkeys(Endpoint(address, port) for address in by_server))
    usable = tuple(item for item in endpoints if item.address.version in families or item.address.is_loopback)
    return usable or endpoints
