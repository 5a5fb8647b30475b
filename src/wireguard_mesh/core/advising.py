"""What would help where a path is not direct, or where there is none: sentences that say what to do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from wireguard_mesh.core.pairs import HERE, Pair
from wireguard_mesh.model.paths import PathKind
from wireguard_mesh.model.relays import NatClass
from wireguard_mesh.protocol.status import State

_FORWARD: Final = "forward UDP port {port} to it in its router, or switch on port mapping there (PCP, NAT-PMP or UPnP)"


def advice(pair: Pair) -> Iterator[str]:
    """The most helpful first; nothing if nothing is wrong."""
    path, status, peer = pair.peer.path, pair.status, pair.peer
    if status.state is State.STOPPED:
        yield "Start the agent here: vpn-client up"
        return
    if path.kind is PathKind.DIRECT:
        return
    if not peer.online:
        yield f"See whether vpn-client runs on {peer.hostname} and reaches the server: vpn-client status"
        return
    if path.kind is PathKind.NONE and not status.relays:
        yield "Give the mesh a relay: start vpn-server without -udp off, or vpn-relay where all machines reach it."
    elif pair.silent_relay is not None:
        yield f"See whether the relay {pair.silent_relay.id} runs; then, from here: vpn-client netcheck"
    elif path.kind is PathKind.NONE and pair.is_without_relay:
        yield f"Let UDP out to the relays ({pair.relay_addresses}), and see: vpn-client netcheck"
    yield from _for_direct(pair)


def _for_direct(pair: Pair) -> Iterator[str]:
    name = pair.peer.hostname
    if pair.own_nat is NatClass.BLOCKED:
        yield (
            f"Let UDP out of this machine's network, at least to the relays ({pair.relay_addresses}). Where no machine "
            "gets UDP through, let it in where the relays are. See: vpn-client netcheck"
        )
    elif pair.peer.nat is NatClass.BLOCKED:
        yield f"Let UDP out of the network of {name}, at least to the relays; see there: vpn-client netcheck"
    elif pair.without_ipv6 is not None:
        yield f"Give {pair.without_ipv6} IPv6."
    elif not pair.trials or pair.is_probing:
        return
    elif NatClass.PUBLIC in pair.nats:
        is_own = pair.own_nat is NatClass.PUBLIC
        where, port = (HERE, pair.own_port) if is_own else (name, pair.peer_port)
        yield f"Open UDP port {port} in the firewall of {where}."
    elif NatClass.HARD in pair.nats and pair.nats <= {NatClass.HARD, NatClass.EASY}:
        yield from _for_hard(pair)
    elif pair.shared_address is not None:
        yield "Let the two reach each other inside: no client isolation on the Wi-Fi, a route between their networks."
    else:
        yield f"Open UDP port {pair.peer_port} in the firewall of {name}, or {pair.own_port} here."


def _for_hard(pair: Pair) -> Iterator[str]:
    hard, port = pair.hard()
    if NatClass.EASY in pair.nats:
        yield f"On {hard}, {_FORWARD.format(port=port)}; on the other it helps as well."
    else:
        ports = f"{pair.own_port} (here) or {pair.peer_port} (there)"
        yield f"On one of the two, {_FORWARD.format(port=pair.own_port if pair.own_port == pair.peer_port else ports)}."
    yield "Or give both machines IPv6."
