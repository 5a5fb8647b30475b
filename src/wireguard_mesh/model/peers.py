"""A peer, and the map that a peer gets of the others."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

import msgspec

from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.names import Hostname, PeerId
from wireguard_mesh.model.networks import MeshNetwork, Prefix
from wireguard_mesh.model.relays import NatClass, Relay, RelayDistance

# Entries of a cache of what each look at the device parses. It must exceed what one scan touches (two prefixes a peer,
# 10,000 peers): a cache that is smaller than a scan which goes round never hits. Few peers fill it as little as ever.
SCAN_CACHE: Final = 32_768
MAX_EPOCH: Final = 64  # characters
MAX_REVISION_DIGITS: Final = 18  # what fits into 64 bits
DEFAULT_ROUTES: tuple[Prefix, ...] = (IPv4Network("0.0.0.0/0"), IPv6Network("::/0"))


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """A registered machine as the others see it.

    `endpoints` are its own addresses, best first; `mapped` those that its router forwards to it (RFC 6886, 6887, UPnP);
    `reflexive` those from which relays hear it: all three are candidates. `nat` is what relays make of the last.
    `distances` are its round trips to relays, where there are several. `revision` is that of the peer's last visible
    change. `exit_node`: it offers to carry others' internet traffic. `online`: the server hears its heartbeats.
    """

    id: PeerId
    public_key: PublicKey
    hostname: Hostname
    os: str
    ipv4: IPv4Address
    ipv6: IPv6Address
    endpoints: tuple[Endpoint, ...] = ()
    mapped: tuple[Endpoint, ...] = ()
    reflexive: tuple[Endpoint, ...] = ()
    nat: NatClass = NatClass.UNKNOWN
    distances: tuple[RelayDistance, ...] = ()
    exit_node: bool = False
    online: bool = True
    revision: int = 0

    @property
    def addresses(self) -> frozenset[Prefix]:
        """What WireGuard may accept from it, and send to it: its own two addresses."""
        return _prefixes(self.ipv4, self.ipv6)


# Making a prefix takes longer than all else that is done for a peer at each look at the device.
@lru_cache(SCAN_CACHE)
def _prefixes(ipv4: IPv4Address, ipv6: IPv6Address) -> frozenset[Prefix]:
    return shared_prefixes(frozenset((IPv4Network(ipv4), IPv6Network(ipv6))))


@lru_cache(SCAN_CACHE)
def shared_prefixes(prefixes: frozenset[Prefix]) -> frozenset[Prefix]:
    """The same set for equal ones. Map and device name the same prefixes, and each takes more memory than the rest of
    what is known of a peer."""
    return prefixes


class MapVersion(msgspec.Struct, frozen=True):
    """Which map somebody has, written `EPOCH.REVISION`: the id of the database, and the revision it had then.

    Revisions of different epochs have nothing to do with each other.
    """

    epoch: str
    revision: int

    @classmethod
    def parse(cls, text: str) -> MapVersion:
        """Raises `InvalidValue`."""
        epoch, _, revision = text.rpartition(".")
        is_epoch = epoch.isascii() and epoch.isalnum() and len(epoch) <= MAX_EPOCH
        is_revision = revision.isascii() and revision.isdigit() and len(revision) <= MAX_REVISION_DIGITS
        if not (is_epoch and is_revision):
            raise InvalidValue("the version of a map is EPOCH.REVISION, as the last answer had them")
        return cls(epoch, int(revision))

    def __str__(self) -> str:
        return f"{self.epoch}.{self.revision}"


class NetworkMap(msgspec.Struct, frozen=True, kw_only=True):
    """All that one peer must know. `peers` are the others that it may see, never itself.

    `epoch` names the database that `revision` counts in: revisions of another epoch mean nothing. `holders` says whose
    an address is, this machine's own included; `core.netmap` keeps it, so that a change is checked at its own cost.
    """

    epoch: str
    revision: int
    network: MeshNetwork
    me: Peer
    peers: Mapping[PublicKey, Peer]
    relays: tuple[Relay, ...] = ()
    holders: Mapping[IPv4Address | IPv6Address, PublicKey] = {}

    @property
    def version(self) -> MapVersion:
        """Which map it is, and what to ask for changes since."""
        return MapVersion(self.epoch, self.revision)
