"""Probes: packets to candidates, from WireGuard's own socket, while tunnels go on. From probes to device changes.

A *pulse* points the peer at a candidate, makes WireGuard send a packet, and points it back home. WireGuard sends
asynchronously, so the endpoint must stay at the candidate for a moment (`wireguard.interface.Backend.probe`); what a
flow sends in that moment goes to the candidate too. A *punch* leaves the peer alone: another peer, a decoy that nobody
is, is made at the candidate and removed in the same breath. In between WireGuard sends it a handshake initiation, which
its addressee throws away by its `mac1` (paper, section 5.4.4), but which opens the NATs on the way for an answer.

A round is one batch for many peers that send little, or for one that sends a flow, so that a flow waits for nobody.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from enum import StrEnum
from typing import Final

import msgspec

from wireguard_mesh.model.devices import DeviceChange, PeerChange
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.keys import KEY_LENGTH, PublicKey

MAX_CANDIDATES: Final = 6  # of a peer in a round
MAX_PEERS: Final = 64  # in a round: what it takes to tell WireGuard of all of them stays at some milliseconds
_ONE_SECOND: Final = 1  # a keepalive that is switched off again in the same breath
# Nobody has the private key of what a hash function says.
DECOY: Final = PublicKey(hashlib.blake2s(b"wireguard-mesh decoy", digest_size=KEY_LENGTH).digest())


class ProbeKind(StrEnum):
    """How candidates are probed."""

    PULSE = "pulse"
    PUNCH = "punch"


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """One peer's part of a round: its targets, one after the other, and where it is pointed at in the end.

    `calls_home`: the peer gets a packet there as well.
    """

    public_key: PublicKey
    kind: ProbeKind
    targets: tuple[Endpoint, ...]
    home: Endpoint
    calls_home: bool = False


class Round(msgspec.Struct, frozen=True):
    """Probes that are sent together."""

    probes: tuple[Probe, ...]

    def steps(self, keepalive: int) -> tuple[DeviceChange, ...]:
        """The changes, to be applied in order with a gap between; the last one leaves every peer at home.

        `keepalive`: what the peers have, in seconds; 0 is off.
        """
        pulses = [probe for probe in self.probes if probe.kind is ProbeKind.PULSE]
        count = 1 + max((len(probe.targets) for probe in pulses), default=0)
        first: list[PeerChange] = []
        for probe in self.probes:
            if probe.kind is ProbeKind.PUNCH:
                first += [change for target in probe.targets for change in _punch(target)]
        steps = [[change for probe in pulses for change in _step(probe, number, keepalive)] for number in range(count)]
        steps[0] = first + steps[0]
        return tuple(DeviceChange(peers=tuple(step)) for step in steps)


def _step(probe: Probe, number: int, keepalive: int) -> Iterator[PeerChange]:
    if number < len(probe.targets):
        yield from send(probe.public_key, probe.targets[number], keepalive)
    elif number == len(probe.targets):
        if probe.calls_home:
            yield from send(probe.public_key, probe.home, keepalive)
        else:
            yield PeerChange(public_key=probe.public_key, endpoint=probe.home)


def send(key: PublicKey, endpoint: Endpoint | None, keepalive: int) -> tuple[PeerChange, PeerChange]:
    """What makes WireGuard send one packet to `endpoint`, by the route that the system has for it now.

    Setting the endpoint, though to what it is, makes it forget the address that it sent from; a keepalive that comes on
    makes it send. In the end the keepalive is as before.
    """
    first = 0 if keepalive else _ONE_SECOND
    return (
        PeerChange(public_key=key, endpoint=endpoint, keepalive=first),
        PeerChange(public_key=key, keepalive=keepalive),
    )


def _punch(target: Endpoint) -> tuple[PeerChange, PeerChange]:
    return (
        PeerChange(public_key=DECOY, create=True, endpoint=target, keepalive=_ONE_SECOND, allowed_ips=frozenset()),
        PeerChange(public_key=DECOY, remove=True),
    )
