"""A flow of numbered UDP datagrams from one host of the lab to another."""

import sys
import time
from pathlib import Path
from typing import Final

import msgspec

from bench.numbered import Received
from lab import Host

PROGRAM: Final = Path(__file__).with_name("numbered.py")
_LAST_SECONDS: Final = 0.5  # for what is on its way when the sender ends


class Flow:
    """From one host to an address of another, from now until `stop`."""

    def __init__(self, sender: Host, receiver: Host, address: object, megabits: float) -> None:
        self._host = receiver
        self._overflowed = _overflowed(receiver)
        self._receiver = receiver.start(sys.executable, PROGRAM, "receive")
        self._receiver.wait_for("ready")
        self._sender = sender.start(sys.executable, PROGRAM, "send", address, megabits)
        self._sender.wait_for("ready")

    def overflowed(self) -> int:
        """Packets that came to the receiver meanwhile and found a socket's buffer full: its WireGuard's, since the
        flow's own socket has one for seconds. wireguard-go takes what the system gives, 92 such packets on Linux."""
        return _overflowed(self._host) - self._overflowed

    def stop(self) -> Received:
        """End it, and count."""
        self._sender.terminate()
        time.sleep(_LAST_SECONDS)
        self._receiver.terminate()
        return msgspec.json.decode(self._receiver.output().splitlines()[-1], type=Received)


def _overflowed(host: Host) -> int:
    """UDP datagrams that a host dropped since no buffer had room for them (RFC 4113 counters, as Linux has them)."""
    names, values = (
        line.split()[1:] for line in host.run("cat", "/proc/net/snmp").stdout.splitlines() if line.startswith("Udp:")
    )
    return int(values[names.index("RcvbufErrors")])
