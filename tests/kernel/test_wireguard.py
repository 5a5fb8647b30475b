"""WireGuard of this kernel by hand, between two hosts of the lab: the ground that the other tests stand on."""

import time
from ipaddress import IPv4Address

import pytest

from lab import Host, Lab
from lab.network import Switch

_PORT = 51820
_REKEY_AFTER_TIME = 120
_REJECT_AFTER_TIME = 180
"""Seconds; WireGuard paper, section 6.1."""
_KERNEL = ("ip", "link", "add", "wg0", "type", "wireguard")
_USERSPACE = ("wireguard-go", "wg0")


def _keys(host: Host) -> tuple[str, str]:
    private = host.run("wg", "genkey").stdout
    return private, host.run("wg", "pubkey", text=private).stdout.strip()


def _join(a: Host, b: Host, make_b: tuple[str, ...] = _KERNEL, extra: str = "") -> None:
    """Make wg0 with 10.9.0.1 and .2, each the other's only peer; that of `a` is the kernel's."""
    private_a, public_a = _keys(a)
    private_b, public_b = _keys(b)
    for host, make, private, public, other, own, theirs in (
        (a, _KERNEL, private_a, public_b, b, "10.9.0.1", "10.9.0.2"),
        (b, make_b, private_b, public_a, a, "10.9.0.2", "10.9.0.1"),
    ):
        host.run(*make)
        config = (
            f"[Interface]\nPrivateKey = {private}\nListenPort = {_PORT}\n"
            f"[Peer]\nPublicKey = {public}\nAllowedIPs = {theirs}/32\nEndpoint = {other.ipv4}:{_PORT}\n{extra}"
        )
        host.run("wg", "setconf", "wg0", "/dev/stdin", text=config)
        host.run("ip", "address", "add", f"{own}/24", "dev", "wg0")
        host.run("ip", "link", "set", "wg0", "up")


def _lan(lab: Lab) -> Switch:
    return lab.switch("lan", "192.0.2.0/24")


def _round_trips(host: Host, address: IPv4Address | str, count: int) -> list[float]:
    """Milliseconds of each answer."""
    said = host.run("ping", "-n", "-c", count, "-i", "0.2", "-W", "10", address, timeout=600).stdout
    return [float(line.partition("time=")[2].split()[0]) for line in said.splitlines() if "time=" in line]


def test_a_tunnel_over_a_slow_line(lab: Lab) -> None:
    lan = _lan(lab)
    a, b = lab.host("a", lan), lab.host("b", lan)
    _join(a, b)
    a.link.netem(delay="40ms")
    first, *others = _round_trips(a, "10.9.0.2", 5)
    assert first >= 160, "the first packet waits for the handshake, one round trip more"
    assert len(others) == 4
    assert all(80 <= trip < 120 for trip in others)


@pytest.mark.parametrize("make_b", [_KERNEL, _USERSPACE], ids=["kernel", "userspace"])
def test_a_session_is_rekeyed_while_packets_are_lost(lab: Lab, make_b: tuple[str, ...]) -> None:
    lan = _lan(lab)
    a, b = lab.host("a", lan), lab.host("b", lan)
    _join(a, b, make_b, "PersistentKeepalive = 25\n")
    a.link.netem(delay="40ms", loss="10%")
    handshakes = set()
    for _ in range(20):
        time.sleep(_REKEY_AFTER_TIME / 4)
        a.run("ping", "-n", "-c", "20", "-i", "0.5", "10.9.0.2", timeout=60)
        handshakes.add(int(a.run("wg", "show", "wg0", "latest-handshakes").stdout.split()[1]))
    assert len(handshakes) >= 4, "ten minutes hold at least four sessions"
    assert time.time() - max(handshakes) <= _REJECT_AFTER_TIME, "the last session is alive"
