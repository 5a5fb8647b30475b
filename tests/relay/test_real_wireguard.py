"""Two real WireGuards whose only common address is the relay's, and the relay process between them."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest

from bench.relay_host import vantage_keys
from lab.host import Host
from lab.lab import Lab
from tests.samples import private_key, public_key
from wireguard_mesh.model.keys import PublicKey

PORT = 8080
PATIENCE = 30.0
"""Seconds until a handshake stands. WireGuard repeats one that was lost after 5 s (Rekey-Timeout)."""
WAIT = 12
"""Seconds in which an answer comes on a busy machine. After 15 s without one WireGuard makes a new handshake."""
pytestmark = pytest.mark.lab


def start_relay(relay: Host, *keys: PublicKey) -> None:
    """A process, and the relay process that it supervises."""
    process = relay.start(
        "python", "-m", "bench.relay_host", "", PORT, relay.home, *keys, env={"PYTHONPATH": str(Path.cwd())}
    )
    process.wait_for("^relaying")


def start_wireguard(host: Host, number: int, place: str) -> None:
    """WireGuard with the relay's vantage point as its only peer."""
    # It goes to the background once it can be asked. Whoever asks before may end it: wg(8) removes a socket that does
    # not listen yet, and a program whose socket is removed ends.
    host.run("wireguard-go", "wg0")
    key = host.path("~/key")
    key.write_text(private_key(number).to_base64())
    vantage = vantage_keys()[0].public_key
    host.run("ip", "address", "add", f"10.9.0.{number}/24", "dev", "wg0")
    host.run("ip", "link", "set", "wg0", "mtu", 1380, "up")
    host.run("wg", "set", "wg0", "private-key", key)
    host.run("wg", "set", "wg0", "peer", vantage, "endpoint", place, "persistent-keepalive", 25)


def add_peer(host: Host, number: int, place: str) -> None:
    """The other machine, at the relay's address."""
    key = public_key(number)
    host.run("wg", "set", "wg0", "peer", key, "endpoint", place, "allowed-ips", f"10.9.0.{number}/32")


def meet(one: Host, two: Host, place_of_one: str, place_of_two: str) -> None:
    """Both meet the relay, then know each other, and one of them calls until the tunnel stands."""
    start_wireguard(one, 1, place_of_one)
    start_wireguard(two, 2, place_of_two)
    for host in (one, two):
        await_vantage(host)
    add_peer(one, 2, place_of_one)
    add_peer(two, 1, place_of_two)
    deadline = time.monotonic() + PATIENCE
    while ping(one, 2, 1, seconds=1) == 0:
        assert time.monotonic() < deadline, "no handshake came by the relay"
    assert handshake(one, 2) > 0
    assert handshake(two, 1) > 0


def handshake(host: Host, number: int) -> int:
    """When the newest one with that machine was, in seconds since the epoch; 0: never."""
    lines = host.run("wg", "show", "wg0", "latest-handshakes").stdout.splitlines()
    times = dict(line.split("\t") for line in lines)
    return int(times[public_key(number).to_base64()])


def ping(host: Host, number: int, count: int = 5, *options: object, seconds: int = WAIT) -> int:
    """How many of the first `count` packets were answered.

    With a deadline, for with `-W` alone the last answer is awaited for two round trips only once another came. Until it
    has `count` answers ping sends more; whatever they bring does not make up for a packet that was lost.
    """
    done = host.run("ping", "-n", "-c", count, "-i", 0.02, "-w", seconds, *options, f"10.9.0.{number}", check=False)
    answered = {int(found) for found in re.findall(r"icmp_seq=(\d+) ttl", done.stdout)}
    return len(answered & set(range(1, count + 1)))


def make(lab: Lab) -> tuple[Host, Host, Host]:
    """A relay with two addresses, and a machine at each; the second asks the relay at the first's address."""
    first = lab.switch("first", "192.0.2.0/24", "2001:db8:1::/64")
    second = lab.switch("second", "198.51.100.0/24", "2001:db8:2::/64")
    relay, one, two = lab.host("relay", first, second), lab.host("one", first), lab.host("two", second)
    two.route("192.0.2.0/24", relay.links[1].ipv4)
    return relay, one, two


def by_ipv4(relay: Host) -> str:
    return f"{relay.ipv4}:{PORT}"


def await_vantage(host: Host) -> None:
    """Wait until the vantage point has answered."""
    key = re.escape(str(vantage_keys()[0].public_key))
    host.run("sh", "-c", f"until wg show wg0 latest-handshakes | grep -Eq '^{key}.[1-9]'; do sleep 0.02; done")


def test_two_wireguards_meet_by_the_relay_alone(lab: Lab) -> None:
    relay, one, two = make(lab)
    start_relay(relay, public_key(1), public_key(2))
    meet(one, two, by_ipv4(relay), by_ipv4(relay))
    assert ping(one, 2) == 5
    assert ping(two, 1) == 5
    assert ping(one, 2, 5, "-s", 1300) == 5
    endpoints = two.run("wg", "show", "wg0", "endpoints").stdout.split()[1::2]
    assert set(endpoints) == {by_ipv4(relay)}, "answers come from the address that was asked"


def test_a_relay_that_is_killed_goes_on_where_it_was(lab: Lab) -> None:
    relay, one, two = make(lab)
    start_relay(relay, public_key(1), public_key(2))
    meet(one, two, by_ipv4(relay), by_ipv4(relay))
    assert ping(one, 2) == 5
    before = handshake(one, 2), handshake(two, 1)
    relay_pid = next(outer for outer, command in relay.processes().items() if "wireguard_mesh.relay" in command)
    os.kill(relay_pid, signal.SIGKILL)
    assert ping(one, 2) == 5, "what came meanwhile waited in the socket"
    assert relay_pid not in relay.processes()
    assert ping(two, 1, 50) == 50
    assert (handshake(one, 2), handshake(two, 1)) == before, "no handshake was needed"


def test_a_stranger_is_not_relayed(lab: Lab) -> None:
    relay, one, two = make(lab)
    start_relay(relay, public_key(1))
    start_wireguard(one, 1, by_ipv4(relay))
    start_wireguard(two, 2, by_ipv4(relay))
    await_vantage(one)
    add_peer(one, 2, by_ipv4(relay))
    add_peer(two, 1, by_ipv4(relay))
    assert ping(two, 1, 2, seconds=1) == 0
    assert two.run("wg", "show", "wg0", "transfer").stdout.split()[1::3] == ["0", "0"], "not one byte came back"


def test_families_mix(lab: Lab) -> None:
    relay, one, two = make(lab)
    start_relay(relay, public_key(1), public_key(2))
    meet(one, two, f"[{relay.ipv6}]:{PORT}", by_ipv4(relay))
    assert ping(one, 2) == 5
