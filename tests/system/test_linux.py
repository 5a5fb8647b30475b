"""The Linux backend in a network namespace."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lab.host import Host
from lab.lab import Lab
from tests.system.hosts import (
    BOTH,
    EXIT_NODE,
    EXIT_USER,
    MEMBER,
    WG0,
    add_interface,
    delete_interface,
    in_child,
    inside,
    state,
    tool,
)
from wireguard_mesh.model.errors import Conflict, NotFound, Unsupported
from wireguard_mesh.model.hosts import WantedHost
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.netlink.connection import NetlinkConnection
from wireguard_mesh.system import firewall, sysctl
from wireguard_mesh.system.journal import Journal
from wireguard_mesh.system.linux import LinuxSystem
from wireguard_mesh.system.steps import Steps

pytestmark = pytest.mark.lab


@pytest.fixture
def host(lab: Lab) -> Iterator[Host]:
    with inside(lab) as host:
        yield host


async def test_member_has_addresses_routes_and_mtu(host: Host, tmp_path: Path) -> None:
    add_interface()
    system = LinuxSystem(tmp_path)
    await system.apply(MEMBER)
    assert "10.100.0.0/16 dev wg0" in tool("ip", "route")
    assert "fd01:2345:6789::/64 dev wg0" in tool("ip", "-6", "route")
    shown = tool("ip", "address", "show", "wg0")
    assert "inet 10.100.0.7/16" in shown
    assert "inet6 fd01:2345:6789::7/64" in shown
    assert "mtu 1400" in shown
    assert "UP" in shown
    await system.close()


@pytest.mark.parametrize("wanted", [MEMBER, EXIT_USER, EXIT_NODE, BOTH])
async def test_second_apply_writes_nothing(
    host: Host, tmp_path: Path, wanted: WantedHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_interface()
    system = LinuxSystem(tmp_path)
    await system.apply(wanted)
    await system.close()

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("written")

    kinds = []
    request = NetlinkConnection.request

    def note(self: NetlinkConnection, kind: int, payload: bytes, flags: int = 0) -> list[bytes]:
        kinds.append(kind)
        return request(self, kind, payload, flags)

    monkeypatch.setattr(firewall, "load", refuse)
    monkeypatch.setattr(sysctl, "write", refuse)
    monkeypatch.setattr(os, "replace", refuse)
    monkeypatch.setattr(NetlinkConnection, "request", note)
    again = LinuxSystem(tmp_path)
    await again.apply(wanted)
    await again.close()
    reads = {18, 10 << 8 | 1}  # RTM_GETLINK, NFT_MSG_GETTABLE
    assert set(kinds) <= reads


@pytest.mark.parametrize("wanted", [MEMBER, EXIT_USER, EXIT_NODE, BOTH])
async def test_undo_by_another_run_leaves_the_host_as_it_was(host: Host, tmp_path: Path, wanted: WantedHost) -> None:
    before = state()
    add_interface()
    system = LinuxSystem(tmp_path)
    await system.apply(wanted)
    await system.close()
    later = LinuxSystem(tmp_path)
    assert await later.owns(WG0, has_key=True)
    await later.undo(WG0)
    assert not await later.owns(WG0, has_key=False)
    addresses = tool("ip", "address", "show", "wg0")
    assert "10.100" not in addresses
    assert "fd01" not in addresses
    assert state() == before
    await later.undo(WG0)  # nothing is left to do
    await later.close()


async def test_what_is_wanted_no_more_is_undone(host: Host, tmp_path: Path) -> None:
    before = state()
    add_interface()
    system = LinuxSystem(tmp_path)
    await system.apply(MEMBER)
    member = tool("ip", "rule") + tool("nft", "list", "ruleset")
    await system.apply(BOTH)
    assert "suppress_prefixlength 0" in tool("ip", "rule")
    assert "masquerade" in tool("nft", "list", "ruleset")
    assert sysctl.read("net/ipv4/ip_forward") == "1"
    await system.apply(EXIT_USER)
    assert "masquerade" not in tool("nft", "list", "ruleset")
    assert sysctl.read("net/ipv4/ip_forward") == "0"
    await system.apply(MEMBER)
    assert tool("ip", "rule") + tool("nft", "list", "ruleset") == member
    assert sysctl.read("net/ipv4/conf/all/src_valid_mark") == "0"
    moved = msgspec.structs.replace(MEMBER, addresses=frozenset({ip_interface("10.100.0.9/16")}))
    await system.apply(moved)
    shown = tool("ip", "address", "show", "wg0")
    assert "10.100.0.9/16" in shown
    assert "10.100.0.7" not in shown
    assert "fd01" not in shown
    assert "10.100.0.0/16 dev wg0" in tool("ip", "route")
    await system.undo(WG0)
    assert state() == before
    await system.close()


async def test_exit_routing_is_what_wg_quick_makes(host: Host, tmp_path: Path) -> None:
    add_interface()
    system = LinuxSystem(tmp_path)
    await system.apply(EXIT_USER)
    for family in ("-4", "-6"):
        rules = tool("ip", family, "rule").splitlines()
        own = [" ".join(rule.split()[1:]) for rule in rules][-4 if family == "-4" else -3 :]
        assert own[:2] == ["from all lookup main suppress_prefixlength 0", "not from all fwmark 0xca6c lookup 51820"]
        assert "default dev wg0" in tool("ip", family, "route", "show", "table", "51820")
    assert "wg0" in tool("ip", "route", "get", "203.0.113.1")
    assert "eth0" in tool("ip", "route", "get", "192.0.2.77"), "the local network stays reachable"
    await system.close()


async def test_side_effects_of_forwarding_are_undone(host: Host, tmp_path: Path) -> None:
    sysctl.write("net/ipv4/conf/eth0/forwarding", "1")
    sysctl.write("net/ipv4/conf/all/accept_redirects", "0")
    sysctl.write("net/ipv6/conf/eth0/forwarding", "1")
    sysctl.write("net/ipv6/conf/lo/accept_ra", "1")
    before = state()
    add_interface()
    system = LinuxSystem(tmp_path)
    await system.apply(EXIT_NODE)
    assert sysctl.read("net/ipv6/conf/all/forwarding") == "1"
    assert sysctl.read("net/ipv6/conf/lo/accept_ra") == "2"
    await system.undo(WG0)
    assert state() == before
    await system.close()


async def test_a_setting_that_somebody_changed_since_stays(host: Host, tmp_path: Path) -> None:
    sysctl.write("net/ipv4/ip_forward", "1")
    add_interface()
    system = LinuxSystem(tmp_path)
    await system.apply(EXIT_NODE)
    await system.undo(WG0)
    assert sysctl.read("net/ipv4/ip_forward") == "1"
    await system.close()


async def test_flushed_rules_come_back(host: Host, tmp_path: Path) -> None:
    add_interface()
    system = LinuxSystem(tmp_path)
    await system.apply(BOTH)
    tool("nft", "flush", "ruleset")
    tool("ip", "address", "flush", "dev", "wg0")
    tool("ip", "rule", "delete", "not", "fwmark", "51820", "table", "51820")
    await system.apply(BOTH)
    assert "masquerade" in tool("nft", "list", "ruleset")
    assert "10.100.0.7/16" in tool("ip", "address", "show", "wg0")
    assert "fwmark 0xca6c lookup 51820" in tool("ip", "rule")
    await system.close()


class _Crash:
    """Kills this process with SIGKILL at the nth moment before or after a single operation."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.seen = 0

    def moment(self) -> None:
        if self.seen == self.at:
            os.kill(os.getpid(), signal.SIGKILL)
        self.seen += 1

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **named: Any) -> Any:
            self.moment()
            result = call(*arguments, **named)
            self.moment()
            return result

        return called

    def around_async(self, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def called(*arguments: Any, **named: Any) -> Any:
            self.moment()
            result = await call(*arguments, **named)
            self.moment()
            return result

        return called


def _agent(directory: Path, at: int, actions: list[WantedHost | None]) -> None:
    """An agent that applies these states one by one (None: undo) and dies at moment `at`."""
    crash = _Crash(at)
    setattr(Path, "replace", crash.around(Path.replace))  # noqa: B010 -- mypy refuses the plain assignment
    setattr(sysctl, "write", crash.around(sysctl.write))  # noqa: B010
    setattr(Steps, "make", crash.around_async(Steps.make))  # noqa: B010
    setattr(Steps, "undo", crash.around_async(Steps.undo))  # noqa: B010

    async def run() -> None:
        system = LinuxSystem(directory)
        await system.prepare(WG0)
        for wanted in actions:
            if wanted is None:
                await system.undo(WG0)
            else:
                await system.apply(wanted)

    asyncio.run(run())


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_after_sigkill_at_any_moment_another_run_undoes_everything(host: Host, tmp_path: Path) -> None:
    sysctl.write("net/ipv4/conf/eth0/forwarding", "1")
    sysctl.write("net/ipv6/conf/lo/accept_ra", "1")
    before = state()
    at, status = 0, signal.SIGKILL.value
    while status == signal.SIGKILL:
        add_interface()
        status = in_child(partial(_agent, tmp_path, at, [MEMBER, BOTH, EXIT_USER, None]))
        assert status in (0, signal.SIGKILL), f"moment {at}: the agent failed"
        asyncio.run(_undo(tmp_path))
        assert state() == before, f"moment {at}"
        at += 1
    assert at > 80


async def _undo(directory: Path) -> None:
    system = LinuxSystem(directory)
    await system.undo(WG0)
    assert not await system.owns(WG0, has_key=False)
    await system.close()


async def test_apply_goes_on_after_a_crash(host: Host, tmp_path: Path) -> None:
    before = state()
    add_interface()
    for at in (3, 9, 15, 21):
        assert in_child(partial(asyncio_free_agent, tmp_path, at)) == signal.SIGKILL
    system = LinuxSystem(tmp_path)
    await system.apply(BOTH)
    assert "masquerade" in tool("nft", "list", "ruleset")
    await system.undo(WG0)
    assert state() == before
    await system.close()


def asyncio_free_agent(directory: Path, at: int) -> None:
    """An agent in a forked process, whose parent runs a loop that the child must not know of."""
    asyncio.events._set_running_loop(None)
    _agent(directory, at, [BOTH])


async def test_overlap_with_a_local_network_is_refused(host: Host, tmp_path: Path) -> None:
    add_interface()
    before = tool("ip", "address") + tool("ip", "route")
    system = LinuxSystem(tmp_path)
    wanted = msgspec.structs.replace(MEMBER, routes=frozenset({ip_network("192.0.0.0/16")}))
    with pytest.raises(Conflict, match=r"192\.0\.0\.0/16 overlaps the local route 192\.0\.2\.0/24; .* -network"):
        await system.apply(wanted)
    assert tool("ip", "address") + tool("ip", "route") == before
    await system.close()


async def test_without_the_interface_it_says_so(host: Host, tmp_path: Path) -> None:
    system = LinuxSystem(tmp_path)
    assert not await system.exists(WG0)
    with pytest.raises(NotFound, match="wg0"):
        await system.apply(MEMBER)
    await system.prepare(WG0)
    assert await system.owns(WG0, has_key=False)
    assert await system.undo(WG0)
    assert not await system.undo(WG0)
    add_interface()
    assert await system.exists(WG0)
    await system.close()


async def test_without_nft_it_names_the_package(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = state()
    add_interface()
    monkeypatch.setattr(firewall, "PROGRAM", "no-such-nft")
    system = LinuxSystem(tmp_path)
    fault = await system.apply(EXIT_NODE)
    assert isinstance(fault, Unsupported)
    assert "apt-get install nftables" in str(fault)
    assert "10.100.0.7/16" in tool("ip", "address", "show", "wg0"), "the mesh itself needs no firewall"
    assert sysctl.read("net/ipv4/ip_forward") == "0", "nothing is forwarded without the firewall"
    await system.undo(WG0)
    assert state() == before
    await system.close()


async def test_ipv4_only_where_ipv6_is_off(host: Host, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    add_interface()
    sysctl.write("net/ipv6/conf/wg0/disable_ipv6", "1")
    system = LinuxSystem(tmp_path)
    await system.apply(BOTH)
    await system.apply(BOTH)
    assert "10.100.0.7/16" in tool("ip", "address", "show", "wg0")
    assert "fwmark" not in tool("ip", "-6", "rule")
    assert caplog.text.count("IPv6 is off") == 1
    await system.undo(WG0)
    await system.close()


async def test_the_uplink_comes_first_and_our_tunnel_not_at_all(host: Host, tmp_path: Path) -> None:
    tool("ip", "route", "add", "default", "via", "192.0.2.1")
    add_interface()
    add_interface("docker0")
    tool("ip", "link", "set", "docker0", "up")
    tool("ip", "address", "add", "172.17.0.1/16", "dev", "docker0")
    system = LinuxSystem(tmp_path)
    await system.apply(MEMBER)
    found = await system.local_addresses()
    assert [(local.interface, str(local.address)) for local in found] == [
        ("eth0", str(host.ipv4)),
        ("eth0", str(host.ipv6)),
        ("docker0", "172.17.0.1"),
    ]
    assert found[0].mtu == 1500
    assert found[0].prefix == ip_network("192.0.2.0/24")
    tool("ip", "link", "set", "eth0", "down")
    assert [local.interface for local in await system.local_addresses()] == ["docker0"]
    await system.close()


async def test_path_mtu_is_that_of_the_uplink_though_the_tunnel_has_the_default_route(
    host: Host, tmp_path: Path
) -> None:
    tool("ip", "link", "set", "eth0", "mtu", "1480")
    tool("ip", "route", "add", "default", "via", "192.0.2.1")
    add_interface()
    system = LinuxSystem(tmp_path)
    assert await system.path_mtu(ip_address("203.0.113.1")) == 1480
    await system.apply(EXIT_USER)
    assert await system.path_mtu(ip_address("203.0.113.1")) == 1480
    assert await system.path_mtu(ip_address("2001:db8:99::1")) == 1500, "unknown: there is no IPv6 route"
    tool("ip", "route", "add", "203.0.113.0/24", "via", "192.0.2.1", "mtu", "1300")
    assert await system.path_mtu(ip_address("203.0.113.1")) == 1300
    await system.close()


async def test_a_broken_journal_is_put_aside(host: Host, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "wg0.journal.json").write_text('{"format": 1, "interf')
    system = LinuxSystem(tmp_path)
    assert not await system.owns(WG0, has_key=False)
    assert not await system.owns(WG0, has_key=False)
    assert caplog.text.count("put aside") == 1
    assert (tmp_path / "wg0.journal.json.broken").exists()
    delete_interface()
    assert not Journal(tmp_path, WG0).exists
    await system.close()


async def test_an_interface_of_that_name_that_somebody_made_anew_is_not_ours(host: Host, tmp_path: Path) -> None:
    add_interface()
    system = LinuxSystem(tmp_path)
    await system.prepare(WG0)
    assert not await system.owns(WG0, has_key=True), "nobody knows yet who made it"
    await system.apply(EXIT_USER)
    assert await system.owns(WG0, has_key=True)
    delete_interface()
    add_interface()
    tool("ip", "address", "add", "10.100.0.7/16", "dev", WG0)
    later = LinuxSystem(tmp_path)
    assert not await later.owns(WG0, has_key=True)
    assert not await later.owns(WG0, has_key=False)
    # What was set beside it is undone; what looks like ours on it is theirs.
    assert await later.undo(WG0)
    assert "10.100.0.7/16" in tool("ip", "address", "show", WG0)
    assert "fwmark" not in tool("ip", "rule")
    await system.close()
    await later.close()


async def test_what_others_removed_is_made_again(host: Host, tmp_path: Path) -> None:
    add_interface()
    system = LinuxSystem(tmp_path)
    await system.apply(BOTH)
    before = [tool(*command.split()) for command in _SHOWN]
    for harm in ("ip rule del table 51820", "ip -6 rule del table 51820", "nft flush ruleset"):
        tool(*harm.split())
    sysctl.write("net/ipv4/ip_forward", "0")
    assert await system.apply(BOTH) is None
    assert [tool(*command.split()) for command in _SHOWN] == before
    assert sysctl.read("net/ipv4/ip_forward") == "1"
    await system.undo(WG0)
    await system.close()


_SHOWN = ("ip rule", "ip -6 rule", "nft list ruleset")


async def test_without_a_journal_the_firewalls_name_proves_it_ours(host: Host, tmp_path: Path) -> None:
    before = state()
    add_interface()
    system = LinuxSystem(tmp_path / "one")
    await system.apply(EXIT_USER)
    await system.undo(WG0)
    await firewall.load(firewall.ruleset(EXIT_NODE))
    later = LinuxSystem(tmp_path / "other")
    assert await later.undo(WG0)
    assert state() == before
    await system.close()
    await later.close()


async def test_two_meshes_have_a_table_each(host: Host, tmp_path: Path) -> None:
    before = state()
    other = msgspec.structs.replace(
        EXIT_USER,
        interface=InterfaceName("wg1"),
        addresses=frozenset({ip_interface("10.200.0.7/16")}),
        routes=frozenset({ip_network("10.200.0.0/16")}),
    )
    add_interface()
    add_interface("wg1")
    first, second = LinuxSystem(tmp_path), LinuxSystem(tmp_path)
    await first.apply(EXIT_USER)
    await second.apply(other)
    await second.apply(other)
    assert "default dev wg0" in tool("ip", "route", "show", "table", "51820")
    assert "default dev wg1" in tool("ip", "route", "show", "table", "51821")
    await first.undo(WG0)
    assert "lookup 51821" in tool("ip", "rule")
    assert "default dev wg1" in tool("ip", "route", "show", "table", "51821")
    await second.undo(other.interface)
    delete_interface("wg1")
    assert state() == before
    await first.close()
    await second.close()
