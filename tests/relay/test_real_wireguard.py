"""Two real WireGuards whose only common address is the relay's, and the relay process between them."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from bench.relay_host import vantage_keys
from lab.host import Host
from lab.lab import Lab
from tests.samples import private_key, public_key
from wireguard_mesh.model.keys import PublicKey

PORT = 8080
pytestmark = pytest.mark.lab


def start_relay(relay: Host, *keys: PublicKey) -> int:
    """The relay's process, which is a child of the one that is started."""
    process = relay.start(
        "python", "-m", "bench.relay_host", "", PORT, relay.home, *keys, env={"PYTHONPATH": str(Path.cwd())}
    )
    return int(process.wait_for(r"^relaying pid=(\d+)")[1])


def start_wireguard(host: Host, number: int, relay: Host, *, family: int = 4) -> None:
    """WireGuard as an agent sets it up: the relay's vantage point, and the other machine at the relay's address."""
    other = 3 - number
    host.start("wireguard-go", "-f", "wg0")
    host.run("sh", "-c", "until wg show wg0; do sleep 0.02; done")
    key = host.path("~/key")
    key.write_text(private_key(number).to_base64())
    place = f"[{relay.ipv6}]:{PORT}" if family == 6 else f"{relay.ipv4}:{PORT}"
    vantage = vantage_keys()[0].public_key
    host.run("ip", "address", "add", f"10.9.0.{number}/24", "dev", "wg0")
    host.run("ip", "link", "set", "wg0", "mtu", 1380, "up")
    # fmt: off
    host.run(
        "wg", "set", "wg0", "private-key", key,
        "peer", vantage, "endpoint", place, "persistent-keepalive", 25,
        "peer", public_key(other), "endpoint", place, "allowed-ips", f"10.9.0.{other}/32",
    )
    # fmt: on


def ping(host: Host, number: int, count: int = 5, *options: object) -> int:
    """How many answers came."""
    done = host.run("ping", "-n", "-c", count, "-i", 0.02, "-W", 5, *options, f"10.9.0.{number}", check=False)
    found = re.search(r"(\d+) received", done.stdout)
    assert found, done.stdout
    return int(found[1])


def make(lab: Lab) -> tuple[Host, Host, Host]:
    first = lab.switch("first", "192.0.2.0/24", "2001:db8:1::/64")
    second = lab.switch("second", "198.51.100.0/24", "2001:db8:2::/64")
    relay = lab.host("relay", first, second)
    return relay, lab.host("one", first), lab.host("two", second)


def met(host: Host) -> bool:
    """Whether the vantage point has answered."""
    shown = host.run("wg", "show", "wg0", "latest-handshakes").stdout
    return bool(re.search(rf"{re.escape(str(vantage_keys()[0].public_key))}\s+[1-9]", shown))


def await_meeting(*hosts: Host) -> None:
    key = str(vantage_keys()[0].public_key)
    for host in hosts:
        host.run("sh", "-c", f"until wg show wg0 latest-handshakes | grep -q '^{key}.[1-9]'; do sleep 0.02; done")


def test_two_wireguards_meet_by_the_relay_alone(lab: Lab) -> None:
    relay, one, two = make(lab)
    start_relay(relay, public_key(1), public_key(2))
    start_wireguard(one, 1, relay)
    two.route("192.0.2.0/24", relay.links[1].ipv4)  # it asks an address that is not the nearest one
    start_wireguard(two, 2, relay)
    await_meeting(one, two)
    assert ping(one, 2) == 5
    assert ping(two, 1) == 5
    assert ping(one, 2, 5, "-s", 1300) == 5
    assert "ESTABLISHED" not in one.run("wg", "show", "wg0").stdout
    endpoints = one.run("wg", "show", "wg0", "endpoints").stdout.split()[1::2]
    assert set(endpoints) == {f"{relay.ipv4}:{PORT}"}


def test_a_relay_that_is_killed_goes_on_where_it_was(lab: Lab) -> None:
    relay, one, two = make(lab)
    pid = start_relay(relay, public_key(1), public_key(2))
    start_wireguard(one, 1, relay)
    two.route("192.0.2.0/24", relay.links[1].ipv4)
    start_wireguard(two, 2, relay)
    await_meeting(one, two)
    assert ping(one, 2) == 5
    handshakes = one.run("wg", "show", "wg0", "latest-handshakes").stdout
    os.kill(pid, signal.SIGKILL)
    assert ping(one, 2, 5) == 5, "what came meanwhile waited in the socket"
    assert pid not in relay.processes()
    assert ping(two, 1, 50) == 50
    assert one.run("wg", "show", "wg0", "latest-handshakes").stdout == handshakes, "no handshake was needed"


def test_a_stranger_is_not_relayed(lab: Lab) -> None:
    relay, one, two = make(lab)
    start_relay(relay, public_key(1))
    start_wireguard(one, 1, relay)
    two.route("192.0.2.0/24", relay.links[1].ipv4)
    start_wireguard(two, 2, relay)
    await_meeting(one)
    assert ping(two, 1, 2, "-W", 1) == 0
    assert not met(two)
    assert two.run("wg", "show", "wg0", "transfer").stdout.split()[1::3] == ["0", "0"], "not one byte came back"


def test_families_mix(lab: Lab) -> None:
    relay, one, two = make(lab)
    start_relay(relay, public_key(1), public_key(2))
    start_wireguard(one, 1, relay, family=6)
    two.route("192.0.2.0/24", relay.links[1].ipv4)
    start_wireguard(two, 2, relay)
    await_meeting(one, two)
    assert ping(one, 2) == 5
