"""Which relays of a map are followed. What the server says of a relay may be what its operator made up, and is wherever
packets are sent to: one that cannot be is passed over, and all others serve."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from wireguard_mesh.core.endpoints import leads_inside
from wireguard_mesh.model.endpoints import Address
from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.model.hosts import LocalAddress
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.networks import Prefix
from wireguard_mesh.model.relays import MAX_RELAYS, Relay


def usable_relays(
    relays: Sequence[Relay], mesh: Collection[Prefix], local: Sequence[LocalAddress]
) -> tuple[Relay, ...]:
    """Those that can be followed, at most `MAX_RELAYS`: with vantage points whose keys no other one has, and without
    addresses that lead into the tunnel (`mesh`). One that has no other address is left out."""
    found: dict[str, Relay] = {}
    taken: set[PublicKey] = set()
    for relay in relays:
        keys = {point.public_key for point in relay.vantage_points}
        is_new = relay.id not in found and len(keys) == len(relay.vantage_points) > 0 and not keys & taken
        reached = _outside(relay, mesh, local) if is_new else None
        if reached is not None and len(found) < MAX_RELAYS:
            found[relay.id] = reached
            taken |= keys
    return tuple(found.values())


def outside(
    addresses: Sequence[Address], mesh: Collection[Prefix], local: Sequence[LocalAddress]
) -> tuple[Address, ...]:
    """Those that do not lead into the tunnel."""
    return tuple(address for address in addresses if not leads_inside(address, mesh, local))


def _outside(relay: Relay, mesh: Collection[Prefix], local: Sequence[LocalAddress]) -> Relay | None:
    """The relay without addresses that lead inside; None: nothing is left of it, or it is no relay."""
    try:
        relay.check()
    except InvalidValue:
        return None
    ipv4 = relay.ipv4 if relay.ipv4 is not None and not leads_inside(relay.ipv4, mesh, local) else None
    ipv6 = relay.ipv6 if relay.ipv6 is not None and not leads_inside(relay.ipv6, mesh, local) else None
    if (ipv4, ipv6) == (relay.ipv4, relay.ipv6):
        return relay
    # Neither address means those of the server, which this one did not claim to be at.
    return msgspec.structs.replace(relay, ipv4=ipv4, ipv6=ipv6) if ipv4 or ipv6 else None
