"""The links, addresses, routes and rules of a network namespace: read and changed by rtnetlink(7)."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from socket import AF_INET, AF_INET6

from wireguard_mesh.netlink.codec import NLM_F_CREATE, NLM_F_EXCL
from wireguard_mesh.netlink.connection import NETLINK_ROUTE, NetlinkConnection, NetlinkError
from wireguard_mesh.netlink.records import (
    IFF_UP,
    RT_SCOPE_LINK,
    RT_SCOPE_NOWHERE,
    RT_SCOPE_UNIVERSE,
    RTM_DELADDR,
    RTM_DELLINK,
    RTM_DELROUTE,
    RTM_DELRULE,
    RTM_GETADDR,
    RTM_GETLINK,
    RTM_GETROUTE,
    RTM_GETRULE,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWROUTE,
    RTM_NEWRULE,
    RTPROT_BOOT,
    RTPROT_UNSPEC,
    Address,
    Link,
    LinkAddress,
    Route,
    Rule,
    decode_address,
    decode_link,
    decode_route,
    decode_rule,
    encode_address,
    encode_address_query,
    encode_link,
    encode_lookup,
    encode_route,
    encode_route_query,
    encode_rule,
    encode_rule_query,
)


class Rtnetlink:
    """Reads and changes the network namespace where it was made. All methods raise `NetlinkError`."""

    def __init__(self) -> None:
        self._connection = NetlinkConnection(NETLINK_ROUTE)

    @property
    def port(self) -> int:
        """The port id that the kernel's notifications carry for changes made here."""
        return self._connection.port

    def close(self) -> None:
        """Close the socket."""
        self._connection.close()

    def links(self) -> list[Link]:
        """All links."""
        return [decode_link(payload) for payload in self._connection.dump(RTM_GETLINK, encode_link())]

    def link(self, name: str) -> Link | None:
        """The link of this name, if there is one."""
        try:
            answer = self._connection.request(RTM_GETLINK, encode_link(name=name))
        except NetlinkError as error:
            if error.errno == errno.ENODEV:
                return None
            raise
        return decode_link(answer[0])

    def create_link(self, name: str, kind: str, mtu: int) -> None:
        """Make a link of a virtual kind, down."""
        request = encode_link(name=name, kind=kind, mtu=mtu)
        self._connection.request(RTM_NEWLINK, request, NLM_F_CREATE | NLM_F_EXCL)

    def delete_link(self, index: int) -> None:
        """Remove a virtual link."""
        self._connection.request(RTM_DELLINK, encode_link(index))

    def set_mtu(self, index: int, mtu: int) -> None:
        """Set a link's MTU in bytes."""
        self._connection.request(RTM_NEWLINK, encode_link(index, mtu=mtu))

    def set_up(self, index: int) -> None:
        """Set a link up."""
        self._connection.request(RTM_NEWLINK, encode_link(index, flags=IFF_UP))

    def addresses(self) -> list[LinkAddress]:
        """All IPv4 and IPv6 addresses."""
        payloads = self._connection.dump(RTM_GETADDR, encode_address_query())
        return [address for address in map(decode_address, payloads) if address]

    def add_address(self, address: LinkAddress) -> None:
        """Give a link an address; with IPv6 it is checked for duplicates only where the link can."""
        self._connection.request(RTM_NEWADDR, encode_address(address), NLM_F_CREATE | NLM_F_EXCL)

    def delete_address(self, address: LinkAddress) -> None:
        """Take an address from a link."""
        self._connection.request(RTM_DELADDR, encode_address(address))

    def routes(self, family: int, table: int) -> list[Route]:
        """One table of one family; empty if there is no such table."""
        try:
            payloads = self._connection.dump(RTM_GETROUTE, encode_route_query(family, table))
        except NetlinkError as error:
            if error.errno in (errno.ENOENT, errno.EAFNOSUPPORT, errno.EOPNOTSUPP):
                return []
            raise
        return [route for route in map(decode_route, payloads) if route]

    def route_to(self, destination: Address, fwmark: int = 0) -> Route | None:
        """The route that a packet to `destination` with this mark would take, if there is one."""
        try:
            answer = self._connection.request(RTM_GETROUTE, encode_lookup(destination, fwmark))
        except NetlinkError as error:
            if error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EINVAL, errno.EAFNOSUPPORT):
                return None
            raise
        return decode_route(answer[0])

    def add_route(self, route: Route) -> None:
        """Add a route by a link, without a gateway."""
        scope = RT_SCOPE_LINK if route.destination.version == 4 else RT_SCOPE_UNIVERSE
        self._connection.request(RTM_NEWROUTE, encode_route(route, RTPROT_BOOT, scope), NLM_F_CREATE | NLM_F_EXCL)

    def delete_route(self, route: Route) -> None:
        """Delete a route by a link, whoever made it."""
        self._connection.request(RTM_DELROUTE, encode_route(route, RTPROT_UNSPEC, RT_SCOPE_NOWHERE))

    def rules(self) -> list[Rule]:
        """The policy rules of both families that look up a table, in their order."""
        return [rule for family in (AF_INET, AF_INET6) for rule in self._rules(family)]

    def _rules(self, family: int) -> Iterator[Rule]:
        try:
            payloads = self._connection.dump(RTM_GETRULE, encode_rule_query(family))
        except NetlinkError as error:
            if error.errno in (errno.EAFNOSUPPORT, errno.EOPNOTSUPP):  # IPv6 is off, or there are no rules at all
                return
            raise
        yield from (rule for rule in map(decode_rule, payloads) if rule)

    def add_rule(self, rule: Rule) -> None:
        """Add a policy rule."""
        self._connection.request(RTM_NEWRULE, encode_rule(rule), NLM_F_CREATE | NLM_F_EXCL)

    def delete_rule(self, rule: Rule) -> None:
        """Delete a policy rule."""
        self._connection.request(RTM_DELRULE, encode_rule(rule))
