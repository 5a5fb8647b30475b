"""What pings to relays tell of the network around this machine: from single answers to what stands before it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from statistics import median

import msgspec

from wireguard_mesh.model.endpoints import Address, Endpoint
from wireguard_mesh.model.relays import NatClass, RelayId
from wireguard_mesh.protocol.diagnosis import FamilyCheck, VantageCheck
from wireguard_mesh.protocol.status import UdpState

_MILLI = 1000.0


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One ping to one vantage point of a relay. `seconds`: the round trip, None if nothing came back; `mapped`: from
    where the relay heard it."""

    relay: RelayId
    number: int
    endpoint: Endpoint
    seconds: float | None = None
    mapped: Endpoint | None = None


def vantage_checks(samples: Iterable[Sample]) -> tuple[VantageCheck, ...]:
    """One for each address that was asked, in the order of the first ping there."""
    groups: dict[tuple[RelayId, int, Endpoint], list[Sample]] = {}
    for sample in samples:
        groups.setdefault((sample.relay, sample.number, sample.endpoint), []).append(sample)
    return tuple(_check(key, group) for key, group in groups.items())


def _check(key: tuple[RelayId, int, Endpoint], group: Sequence[Sample]) -> VantageCheck:
    seconds = [sample.seconds for sample in group if sample.seconds is not None]
    mapped = [sample.mapped for sample in group if sample.mapped is not None]
    relay, number, endpoint = key
    return VantageCheck(
        relay=relay,
        number=number,
        endpoint=endpoint,
        sent=len(group),
        answered=len(seconds),
        milliseconds=round(median(seconds) * _MILLI, 3) if seconds else None,
        mapped=mapped[-1] if mapped else None,
    )


def udp_of(checks: Collection[VantageCheck], *, is_online: bool) -> UdpState:
    """Whether UDP gets through. `is_online`: something else does, so that silence is no sign of a network that is
    down."""
    if any(check.answered for check in checks):
        return UdpState.WORKS
    return UdpState.BLOCKED if checks and is_online else UdpState.UNKNOWN


def nat_of(checks: Iterable[VantageCheck], own: Collection[Endpoint], udp: UdpState) -> NatClass:
    """What stands before the socket that the pings left by. `own`: this machine's addresses with that socket's port.

    Only IPv4 is looked at where it was heard at all: that is where NATs are.
    """
    if udp is UdpState.BLOCKED:
        return NatClass.BLOCKED
    heard = [check for check in checks if check.mapped is not None]
    ipv4 = [check for check in heard if check.endpoint.address.version == 4]
    mapped = {check.mapped for check in ipv4 or heard}
    if not mapped:
        return NatClass.UNKNOWN
    if mapped <= set(own):
        return NatClass.PUBLIC
    if len(mapped) > 1:
        return NatClass.HARD
    return NatClass.EASY if len(ipv4 or heard) > 1 else NatClass.UNKNOWN


def family_check(
    version: int, local: Iterable[Address], checks: Iterable[VantageCheck], server: Address | None
) -> FamilyCheck:
    """IPv4 or IPv6. `server`: where the coordination server was just reached, if it was."""
    addresses = tuple(str(address) for address in local if address.version == version)
    asked = [check for check in checks if check.endpoint.address.version == version]
    if any(check.answered for check in asked) or (server is not None and server.version == version):
        return FamilyCheck(addresses=addresses, works=True)
    return FamilyCheck(addresses=addresses, works=False if asked else None)
