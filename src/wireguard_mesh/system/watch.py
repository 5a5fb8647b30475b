"""News of links, addresses and routes, from rtnetlink's multicast groups.

Left out is what would only wake the agent: changes that it made itself (told by the port that the kernel names), what
repeats what is known (router advertisements renew addresses for ever), and counters of links.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator
from typing import Final

from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.netlink.codec import Message, decode_messages
from wireguard_mesh.netlink.connection import BUFFER, NETLINK_ROUTE
from wireguard_mesh.netlink.records import (
    IFF_LOWER_UP,
    IFF_UP,
    RT_TABLE_MAIN,
    RTM_DELADDR,
    RTM_DELLINK,
    RTM_DELROUTE,
    RTM_DELRULE,
    RTM_F_CLONED,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWROUTE,
    RTM_NEWRULE,
    InterfaceAddress,
    Link,
    LinkAddress,
    decode_address,
    decode_link,
    decode_route,
)
from wireguard_mesh.system.interface import LinkEvent

COALESCE: Final = 0.15  # seconds: plugging a cable in gives some ten messages within this
# linux/rtnetlink.h: RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE, RTMGRP_IPV4_RULE, RTMGRP_IPV6_IFADDR,
# RTMGRP_IPV6_ROUTE, and RTNLGRP_IPV6_RULE, which is group 19
_GROUPS: Final = 0x1 | 0x10 | 0x40 | 0x80 | 0x100 | 0x400 | 1 << 18
_MAX_BATCH: Final = 64  # datagrams read before others may run


class LinkNews:
    """What a message means for the agent of `interface`; keeps what is known of links and addresses. Pure."""

    def __init__(self, interface: InterfaceName, own_port: int, index: int | None = None) -> None:
        self._interface = interface
        self._own_port = own_port
        self._index = index
        self._links: dict[int, tuple[str, int, int]] = {}
        self._addresses: dict[tuple[int, InterfaceAddress], int] = {}

    def event(self, message: Message) -> LinkEvent | None:
        """The event of a message, or None if it is no news. Raises `InvalidValue`."""
        own = message.port != 0 and message.port == self._own_port
        match message.kind:
            case kind if kind in (RTM_NEWLINK, RTM_DELLINK):
                event = self._link(decode_link(message.payload), gone=kind == RTM_DELLINK)
            case kind if kind in (RTM_NEWADDR, RTM_DELADDR):
                event = self._address(decode_address(message.payload), gone=kind == RTM_DELADDR)
            case kind if kind in (RTM_NEWROUTE, RTM_DELROUTE):
                event = self._route(message.payload, gone=kind == RTM_DELROUTE)
            case kind if kind in (RTM_NEWRULE, RTM_DELRULE):
                event = LinkEvent.ROUTES
            case _:
                event = None
        return None if own else event

    def _link(self, link: Link, gone: bool) -> LinkEvent | None:
        ours = link.name == self._interface
        known = self._links.get(link.index)
        state = (link.name, link.mtu, link.flags & (IFF_UP | IFF_LOWER_UP))
        if gone:
            self._links.pop(link.index, None)
            self._addresses = {key: flags for key, flags in self._addresses.items() if key[0] != link.index}
            self._index = None if ours else self._index
        else:
            self._links[link.index] = state
            self._index = link.index if ours else self._index
            if state == known:
                return None
        return LinkEvent.INTERFACE if ours else LinkEvent.ADDRESSES

    def _address(self, address: LinkAddress | None, gone: bool) -> LinkEvent | None:
        if address is None:
            return None
        key = (address.index, address.interface)
        if gone:
            self._addresses.pop(key, None)
        elif self._addresses.get(key) == address.flags:
            return None
        else:
            self._addresses[key] = address.flags
        if address.index != self._index:
            return LinkEvent.ADDRESSES
        return LinkEvent.INTERFACE if gone else None

    def _route(self, payload: bytes, gone: bool) -> LinkEvent | None:
        route = decode_route(payload)
        if route is None or route.table != RT_TABLE_MAIN or route.flags & RTM_F_CLONED:
            return None
        if route.destination.is_link_local:
            return None  # every link has that, those of containers too
        if route.link and route.link == self._index:
            return LinkEvent.INTERFACE if gone else None
        return LinkEvent.ROUTES


async def watch(interface: InterfaceName, own_port: int) -> AsyncIterator[LinkEvent]:
    """Events until closed; each kind once a burst, all kinds after the kernel's queue has overrun."""
    kinds = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    with socket.socket(socket.AF_NETLINK, kinds, NETLINK_ROUTE) as sock:
        sock.bind((0, _GROUPS))
        news = LinkNews(interface, own_port, _index_of(interface))
        while True:
            await _readable(sock)
            events = _read(sock, news)
            if events:  # a burst: what comes a little later belongs to it
                await asyncio.sleep(COALESCE)
                events |= _read(sock, news)
            for event in sorted(events):
                yield event


def _index_of(interface: InterfaceName) -> int | None:
    try:
        return socket.if_nametoindex(interface)
    except OSError:
        return None


async def _readable(sock: socket.socket) -> None:
    """Until there is something to read. The reader stands only as long, or it would be called all through a burst."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(sock, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(sock)


def _read(sock: socket.socket, news: LinkNews) -> set[LinkEvent]:
    events: set[LinkEvent] = set()
    for _ in range(_MAX_BATCH):
        try:
            datagram = sock.recv(BUFFER)
            found = {news.event(message) for message in decode_messages(datagram)}
            events |= {event for event in found if event is not None}
        except BlockingIOError:
            return events
        except InvalidValue:
            events |= set(LinkEvent)
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            events |= set(LinkEvent)
    return events
