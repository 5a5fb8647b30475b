"""The table of a NAT or of a stateful firewall: mappings, who may answer to them, and when they are forgotten."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from tests.natlab.behaviour import Behaviour, Filtering, Mapping
from wireguard_mesh.model.endpoints import Address, Endpoint

_FIRST_PORT: Final = 20_000  # of a NAT that does not keep ports
_STEP: Final = 7  # between its ports, so that nobody guesses the next by adding one
_PORTS: Final = 40_000

# What of a remote endpoint counts: nothing, its address, or all of it.
_Remote = Address | Endpoint | None


@dataclass(slots=True)
class _Mapping:
    """`inner` as it is seen outside: `outer`. `allowed`: until when each remote may answer."""

    inner: Endpoint
    outer: Endpoint
    until: float = 0.0
    allowed: dict[_Remote, float] = field(default_factory=dict)


class Translation:
    """Mappings of one router. With `address` None nothing is translated: it filters only."""

    def __init__(self, behaviour: Behaviour, address: Address | None) -> None:
        self._behaviour = behaviour
        self._address = address
        self._by_inner: dict[tuple[Endpoint, _Remote], _Mapping] = {}
        self._by_outer: dict[Endpoint, _Mapping] = {}
        self._made = 0

    def outbound(self, inner: Endpoint, remote: Endpoint, now: float) -> Endpoint:
        """What the source of a packet from `inner` to `remote` becomes; the way back is open from now on."""
        self._forget_old(now)
        key = (inner, _of_mapping(self._behaviour.mapping, remote))
        found = self._by_inner.get(key)
        if found is None:
            found = _Mapping(inner, self._outer_for(inner))
            self._by_inner[key] = self._by_outer[found.outer] = found
        found.until = now + self._behaviour.timeout
        found.allowed[_of_filtering(self._behaviour.filtering, remote)] = found.until
        return found.outer

    def inbound(self, outer: Endpoint, remote: Endpoint, now: float) -> Endpoint | None:
        """Whom a packet from `remote` to `outer` is for; None: it does not pass."""
        self._forget_old(now)
        found = self._by_outer.get(outer)
        allowed = _of_filtering(self._behaviour.filtering, remote)
        if found is None or allowed not in found.allowed:
            return None
        if self._behaviour.incoming_refreshes:
            found.until = found.allowed[allowed] = now + self._behaviour.timeout
        return found.inner

    def forget(self) -> None:
        """Lose everything, as in a reboot."""
        self._by_inner.clear()
        self._by_outer.clear()

    def _forget_old(self, now: float) -> None:
        for key, mapping in list(self._by_inner.items()):
            mapping.allowed = {remote: until for remote, until in mapping.allowed.items() if until > now}
            if mapping.until <= now:
                del self._by_inner[key], self._by_outer[mapping.outer]

    def _outer_for(self, inner: Endpoint) -> Endpoint:
        if self._address is None:
            return inner
        wanted = Endpoint(self._address, inner.port)
        if self._behaviour.keeps_port and wanted not in self._by_outer:
            return wanted
        while True:
            self._made += 1
            made = Endpoint(self._address, _FIRST_PORT + self._made * _STEP % _PORTS)
            if made not in self._by_outer and made != wanted:
                return made


def _of_mapping(mapping: Mapping, remote: Endpoint) -> _Remote:
    if mapping is Mapping.ENDPOINT_INDEPENDENT:
        return None
    return remote.address if mapping is Mapping.ADDRESS_DEPENDENT else remote


def _of_filtering(filtering: Filtering, remote: Endpoint) -> _Remote:
    if filtering is Filtering.NONE:
        return None
    return remote.address if filtering is Filtering.ADDRESS else remote
