"""Registers COUNT keys that belong to no machine, at the server on port 8080 of loopback. Runs in a lab host.

Their endpoints are in 198.51.100.0/24 (RFC 5737), which is to be routed to somewhere that drops it: packets for
machines of the own LAN that do not exist would wait for neighbour discovery, and fill the socket's buffer.
"""

import asyncio
import os
import sys

from bench.http_load import Answers, request, send_all
from wireguard_mesh.model.keys import PrivateKey
from wireguard_mesh.protocol.codec import encode
from wireguard_mesh.protocol.seed import RegisterRequest

PORT = 8080
CONNECTIONS = 8


def main() -> None:
    count = int(sys.argv[1])
    requests = [request("POST", "/register", encode(_registration(number))) for number in range(count)]
    answers = Answers()
    asyncio.run(send_all(PORT, requests, CONNECTIONS, answers))
    if len(answers.bodies) != count:
        sys.exit(f"only {len(answers.bodies)} of {count} fake peers were registered")


def _registration(number: int) -> RegisterRequest:
    key = PrivateKey.generate(os.urandom(32)).public_key
    return RegisterRequest(
        public_key=str(key), hostname=f"fake-{number}", os="linux", endpoint=f"198.51.100.{1 + number % 250}:51820"
    )


if __name__ == "__main__":
    main()
