"""Both ends of a pair of machines as one of them knows them: what explanations and advice are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from wireguard_mesh.core.path_words import age
from wireguard_mesh.model.endpoints import Address
from wireguard_mesh.model.paths import CandidateKind, Outcome, PathKind, Trial
from wireguard_mesh.model.relays import NatClass
from wireguard_mesh.protocol.status import PeerStatus, RelayStatus, Status, UdpState

DEFAULT_PORT: Final = 51820
FEW_TIMES: Final = 3  # that an address is tried within a second or so, before it means anything that it is silent
HERE: Final = "this machine"


@dataclass(frozen=True, slots=True)
class Pair:
    """`wall` is now, in Unix seconds."""

    status: Status
    peer: PeerStatus
    wall: float

    @property
    def own_nat(self) -> NatClass:
        """What stands before this machine."""
        if self.status.nat.kind is NatClass.UNKNOWN and self.status.udp is UdpState.BLOCKED:
            return NatClass.BLOCKED
        return self.status.nat.kind

    @property
    def nats(self) -> frozenset[NatClass]:
        """What stands before the two."""
        return frozenset((self.own_nat, self.peer.nat))

    @property
    def own_port(self) -> int:
        """WireGuard's UDP port here."""
        return self.status.listen_port or DEFAULT_PORT

    @property
    def peer_port(self) -> int:
        """WireGuard's UDP port there, as far as it is known."""
        own = [trial.endpoint.port for trial in self.trials if trial.kind is not CandidateKind.REFLEXIVE]
        return own[0] if own else DEFAULT_PORT

    @property
    def trials(self) -> tuple[Trial, ...]:
        """The addresses at which the peer may be reached directly."""
        return self.peer.path.trials

    @property
    def is_probing(self) -> bool:
        """Whether it is too early to say that nothing answers."""
        return all(
            trial.outcome in {Outcome.UNTRIED, Outcome.WAITING} and trial.times <= FEW_TIMES for trial in self.trials
        )

    @property
    def shared_address(self) -> Address | None:
        """The outer address of a NAT that both are behind, or None."""
        own = {endpoint.address for endpoint in self.status.nat.reflexive}
        trials = [trial for trial in self.trials if trial.kind is CandidateKind.REFLEXIVE]
        return next((trial.endpoint.address for trial in trials if trial.endpoint.address in own), None)

    @property
    def without_ipv6(self) -> str | None:
        """The end that has IPv4 only where the other has IPv6 only, so that neither can call the other; else None."""
        nat = self.status.nat
        own = {endpoint.address.version for endpoint in (*nat.host, *nat.reflexive, *nat.mapped)}
        other = {trial.endpoint.address.version for trial in self.trials}
        return {4: HERE, 6: self.peer.hostname}[min(own)] if own and other and not own & other else None

    @property
    def silent_relay(self) -> RelayStatus | None:
        """The relay by which packets go, if it does not answer this machine."""
        path = self.peer.path
        if path.kind is not PathKind.RELAY:
            return None
        return next((relay for relay in self.status.relays if relay.id == path.relay and not relay.reachable), None)

    @property
    def is_without_relay(self) -> bool:
        """Whether the mesh has relays, and this machine reaches none."""
        return bool(self.status.relays) and not any(relay.reachable for relay in self.status.relays)

    @property
    def relay_addresses(self) -> str:
        """Where UDP is to be let out to."""
        found = sorted({str(address) for relay in self.status.relays for address in relay.addresses})
        return ", ".join(found) or "at the server"

    def hard(self) -> tuple[str, int]:
        """The end whose NAT is hard, this machine first, and its port."""
        return (HERE, self.own_port) if self.own_nat is NatClass.HARD else (self.peer.hostname, self.peer_port)

    def ago(self, moment: float) -> str:
        """`7m ago`."""
        return f"{age(self.wall - moment)} ago"
