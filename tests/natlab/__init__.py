"""NATs in memory: hosts, segments and routers, for tests of cores. No sockets, no clock, no randomness.

    network = Network()
    internet = network.segment()
    server = network.host(internet, "203.0.113.1")
    home = network.segment()
    router = network.router(home, internet, "203.0.113.2", EASY)
    laptop = network.host(home, "192.168.1.2")
    laptop.send(51820, server.at(8080), b"hello", now=0.0)
    network.run(until=1.0)
    assert server.received[0].source == Endpoint.parse("203.0.113.2:51820")

Every call that depends on the time is given it, in seconds. The same calls always give the same result. `lab.nat` has
the same kinds of router for real.
"""

from tests.natlab.behaviour import (
    ADDRESS_FILTERING,
    EASY,
    FULL_CONE,
    HAIRPIN,
    HARD,
    KINDS,
    PLAIN,
    PORT_CHANGING,
    SHORT,
    UDP_BLOCKED,
    Behaviour,
    Filtering,
    Mapping,
)
from tests.natlab.network import Host, Network, Packet, Segment
from tests.natlab.router import Router

__all__ = [
    "ADDRESS_FILTERING",
    "EASY",
    "FULL_CONE",
    "HAIRPIN",
    "HARD",
    "KINDS",
    "PLAIN",
    "PORT_CHANGING",
    "SHORT",
    "UDP_BLOCKED",
    "Behaviour",
    "Filtering",
    "Host",
    "Mapping",
    "Network",
    "Packet",
    "Router",
    "Segment",
]
