"""Ask the router for a mapping, on a machine of the lab. Arguments: the way, the port, the external port, the seconds.

Writes what the router forwards, or why it does not.
"""

import asyncio
import sys

from wireguard_mesh.client.mapping_ways import NatPmp, Pcp, Upnp, Way
from wireguard_mesh.model.errors import MeshError
from wireguard_mesh.system.gateway import default_gateway

NONCE = b"twelve bytes"


async def main(name: str, port: int, external_port: int, lifetime: int) -> str:
    ways: dict[str, Way] = {way.name: way for way in (Pcp(NONCE), NatPmp(), Upnp())}
    gateway = default_gateway()
    assert gateway is not None
    try:
        mapped = await ways[name].ask(gateway, port, external_port, lifetime)
    except MeshError as error:
        return str(error)
    return "nobody" if mapped is None else f"{mapped.address}:{mapped.port} {mapped.lifetime}"


if __name__ == "__main__":
    sys.stdout.write(asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:]))))
