"""Asks a router by UPnP, in a process of its own:

    python -m wireguard_mesh.client.upnp_process OWN PORT EXTERNAL SECONDS

OWN is this machine's address on the link, PORT its UDP port, EXTERNAL the router's, SECONDS how long; 0: no longer. One
`Answer` comes out as JSON.

The library is in C, blocks, and reads descriptions of devices that anybody on the link may send.
"""

from __future__ import annotations

import random
import sys
from typing import Any, Final

import msgspec

MODULE: Final = "wireguard_mesh.client.upnp_process"
DISCOVERY_MILLISECONDS: Final = 2000
_DESCRIPTION: Final = "wireguard-mesh"
_UDP: Final = "UDP"
_OTHER_PORTS: Final = 3  # that are tried when the first is somebody else's
_DYNAMIC_PORTS: Final = (49152, 65535)  # RFC 6335 section 6
_FOREVER: Final = 0


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the router forwards; nothing at all if no router speaks UPnP."""

    address: str = ""
    port: int = 0
    lifetime: int = 0
    refused: str = ""


def ask(router: Any, port: int, external_port: int, lifetime: int) -> Answer:
    """`router`: a `miniupnpc.UPnP`. Its errors are bare exceptions, with UPnP's words for them."""
    try:
        router.discover()
        router.selectigd()
    except Exception:  # the library's own, and there is none but this: nobody answered
        return Answer()
    if not lifetime:
        return _remove(router, external_port)
    problem = ""
    for candidate in (external_port, *(random.randint(*_DYNAMIC_PORTS) for _ in range(_OTHER_PORTS))):
        # Some routers know no end of a mapping: those are asked for one without, which is removed when we go.
        for seconds in (lifetime, _FOREVER):
            try:
                router.addportmapping(candidate, _UDP, router.lanaddr, port, _DESCRIPTION, "", seconds)
                return Answer(router.externalipaddress(), candidate, lifetime)
            except Exception as error:  # as above
                problem = str(error)
    return Answer(refused=f"the router refused: {problem}")


def _remove(router: Any, external_port: int) -> Answer:
    try:
        router.deleteportmapping(external_port, _UDP)
    except Exception as error:  # as above
        return Answer(refused=f"the router refused: {error}")
    return Answer()


def main(arguments: list[str]) -> Answer:
    """Without the library, nobody can be asked."""
    own, port, external_port, lifetime = arguments
    try:
        import miniupnpc
    except ImportError:
        return Answer(refused="UPnP needs the miniupnpc library, which has no build for this system")
    router = miniupnpc.UPnP(multicastif=own, discoverdelay=DISCOVERY_MILLISECONDS)
    return ask(router, int(port), int(external_port), int(lifetime))


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(main(sys.argv[1:])))
