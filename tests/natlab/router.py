"""A router between two segments: a NAT for IPv4, a firewall for IPv6, or neither."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from tests.natlab.behaviour import Behaviour, Filtering, Mapping
from tests.natlab.network import Packet, Segment
from tests.natlab.translation import Translation
from wireguard_mesh.model.endpoints import Address

_IPV4: Final = 4


class Router:
    """The gateway of `inside`. It may be behind another: then `outside` is that one's inside.

    `udp_blocked` may be changed at any time.
    """

    def __init__(self, inside: Segment, outside: Segment, address: Address, behaviour: Behaviour) -> None:
        self.address = address
        self.behaviour = behaviour
        self.udp_blocked = behaviour.udp_blocked
        self._inside = inside
        self._outside = outside
        self._nat = Translation(behaviour, address)
        # Which packets of IPv6 pass does not hang on what is done to IPv4: RFC 6092 REC-11 to REC-20.
        strict = replace(
            behaviour, mapping=Mapping.ENDPOINT_INDEPENDENT, filtering=Filtering.ADDRESS_AND_PORT, translates=False
        )
        self._firewall = Translation(strict, None)
        inside.gateway = self._leave
        outside.nodes.append(self)

    def forget(self) -> None:
        """Reboot: all mappings and all that the firewall knew are lost."""
        self._nat.forget()
        self._firewall.forget()

    def owns(self, address: Address) -> bool:
        if address.version == _IPV4 and self.behaviour.translates:
            return address == self.address
        return self._inside.reaches(address)

    def receive(self, packet: Packet, now: float) -> None:
        """A packet from outside."""
        if self.udp_blocked:
            return
        if not self._translates(packet):
            if self._passes(packet, now):
                self._inside.carry(packet, now)
            return
        inner = self._nat.inbound(packet.destination, packet.source, now)
        if inner is not None:
            self._inside.carry(replace(packet, destination=inner), now)

    def _leave(self, packet: Packet, now: float) -> None:
        """A packet from inside for somebody who is not there."""
        if self.udp_blocked:
            return
        if not self._translates(packet):
            self._firewall.outbound(packet.source, packet.destination, now)
            self._outside.carry(packet, now)
            return
        is_hairpin = packet.destination.address == self.address
        if is_hairpin and not self.behaviour.hairpin:
            return
        sent = replace(packet, source=self._nat.outbound(packet.source, packet.destination, now))
        if is_hairpin:
            self.receive(sent, now)
        else:
            self._outside.carry(sent, now)

    def _translates(self, packet: Packet) -> bool:
        return self.behaviour.translates and packet.destination.address.version == _IPV4

    def _passes(self, packet: Packet, now: float) -> bool:
        if packet.destination.address.version == _IPV4 or not self.behaviour.firewalls_ipv6:
            return True
        return self._firewall.inbound(packet.destination, packet.source, now) is not None
