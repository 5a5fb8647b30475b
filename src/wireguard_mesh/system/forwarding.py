"""Which settings of the kernel an exit node needs, and what must be remembered to take them back exactly.

Turning forwarding on or off for all interfaces makes the kernel set it on each of them, and IPv4's
`accept_redirects` with it (net/ipv4/devinet.c, inet_forward_change). With IPv6 it also stops the kernel
from listening to router advertisements and removes the default route that it got from them, unless `accept_ra` is 2
(net/ipv6/addrconf.c, addrconf_fixup_forwarding).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from wireguard_mesh.model.networks import Prefix
from wireguard_mesh.system import sysctl
from wireguard_mesh.system.journal import SysctlEntry

PURPOSE: Final = "forwarding"
ON, OFF = "1", "0"
ACCEPT_RA_ALTHOUGH_FORWARDING: Final = "2"  # Documentation/networking/ip-sysctl.rst
IPV4_FORWARD: Final = "net/ipv4/ip_forward"
IPV6_FORWARD: Final = "net/ipv6/conf/all/forwarding"


def forwarding_settings(sources: Iterable[Prefix]) -> Iterator[SysctlEntry]:
    """What is to be set now, in this order, for traffic of these prefixes; nothing where it is set already."""
    versions = {prefix.version for prefix in sources}
    if 4 in versions and sysctl.read(IPV4_FORWARD) == OFF:
        redirects = "net/ipv4/conf/all/accept_redirects"
        yield from _side_effect(redirects, after_undo=ON)
        for name in sysctl.names("net/ipv4/conf"):
            yield from _side_effect(f"net/ipv4/conf/{name}/forwarding", after_undo=OFF)
        yield _setting(IPV4_FORWARD, ON, OFF)
    if 6 in versions and sysctl.read(IPV6_FORWARD) == OFF:
        interfaces = [name for name in sysctl.names("net/ipv6/conf") if name not in ("all", "default")]
        for name in interfaces:
            yield from _side_effect(f"net/ipv6/conf/{name}/forwarding", after_undo=OFF)
            accept_ra = f"net/ipv6/conf/{name}/accept_ra"
            if sysctl.read(accept_ra) == ON:
                yield _setting(accept_ra, ACCEPT_RA_ALTHOUGH_FORWARDING, ON)
        yield from _side_effect("net/ipv6/conf/default/forwarding", after_undo=OFF)
        yield _setting(IPV6_FORWARD, ON, OFF)


def _setting(path: str, value: str, previous: str) -> SysctlEntry:
    return SysctlEntry(path=path, value=value, expected=value, previous=previous, purpose=PURPOSE)


def _side_effect(path: str, after_undo: str) -> Iterator[SysctlEntry]:
    previous = sysctl.read(path)
    if previous is not None and previous != after_undo:
        yield SysctlEntry(path=path, value=None, expected=after_undo, previous=previous, purpose=PURPOSE)
