"""Sends an ICMP echo to ADDRESS each 5 ms from its start, and says when the first reply came. Runs in a lab host.

ping(8) cannot do this: it ends at once when there is no route yet.
"""

import contextlib
import os
import select
import socket
import struct
import sys
import time

INTERVAL = 0.005
ECHO_REQUEST, ECHO_REPLY = 8, 0  # RFC 792
IPV4_HEADER = 20  # RFC 791, without options


def checksum(data: bytes) -> int:
    """RFC 1071, for an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def request(identifier: int, sequence: int) -> bytes:
    """An echo request without payload."""
    unsummed = struct.pack("!BBHHH", ECHO_REQUEST, 0, 0, identifier, sequence)
    return struct.pack("!BBHHH", ECHO_REQUEST, 0, checksum(unsummed), identifier, sequence)


def main() -> None:
    address = sys.argv[1]
    identifier = os.getpid() & 0xFFFF
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    print("ready", flush=True)
    sequence = 0
    while True:
        sequence = sequence + 1 & 0xFFFF
        with contextlib.suppress(OSError):  # no route yet, or no key for the peer yet
            raw.sendto(request(identifier, sequence), (address, 0))
        if not select.select([raw], [], [], INTERVAL)[0]:
            continue
        packet, (source, _) = raw.recvfrom(1500)
        kind, _, _, echoed, _ = struct.unpack_from("!BBHHH", packet, IPV4_HEADER)
        if source == address and kind == ECHO_REPLY and echoed == identifier:
            print(f"answered at {time.time():.6f}", flush=True)
            return


if __name__ == "__main__":
    main()
