"""The engine against a device in memory: what it wants is applied, time passes, and nothing is ever torn."""

from collections.abc import Coroutine
from ipaddress import IPv4Address, ip_address, ip_network
from typing import Any, TypeVar

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.samples import NETWORK, peer, private_key, public_key
from wireguard_mesh.core.engine import Engine
from wireguard_mesh.core.exit_nodes import ExitPolicy
from wireguard_mesh.core.instant import Instant
from wireguard_mesh.core.looks import CALL_GAP, HURRIED_COST, IDLE_LOOK, LOOK_COST
from wireguard_mesh.core.plan import calls, plan
from wireguard_mesh.core.sessions import CALL_AFTER, FOLLOW_AFTER
from wireguard_mesh.core.tunnels import REJECT_AFTER_TIME
from wireguard_mesh.core.wanted import Settings
from wireguard_mesh.model.devices import BackendKind, DeviceChange, ObservedDevice, ObservedPeer
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.hosts import LocalAddress
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.model.paths import CandidateKind, PathKind, PathReport
from wireguard_mesh.model.peers import DEFAULT_ROUTES, NetworkMap, Peer
from wireguard_mesh.model.relays import Relay, RelayId, VantagePoint
from wireguard_mesh.wireguard.fake import FakeBackend

NAME = InterfaceName("wg0")
SETTINGS = Settings(interface=NAME, private_key=private_key(1))
LAN = LocalAddress(
    interface=InterfaceName("eth0"), address=ip_address("192.0.2.200"), prefix=ip_network("192.0.2.0/24"), mtu=1500
)
T = TypeVar("T")


def at(seconds: float) -> Instant:
    return Instant(seconds, 1_000_000.0 + seconds)


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """The fakes never wait, so no event loop is needed."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        value: T = end.value
        return value
    raise AssertionError("a fake waited")


def network_map(*peers: Peer, revision: int = 1) -> NetworkMap:
    return NetworkMap(
        epoch="e", revision=revision, network=NETWORK, me=peer(1), peers={one.public_key: one for one in peers}
    )


def offline(one: Peer) -> Peer:
    return msgspec.structs.replace(one, online=False)


class Bench:
    """An engine, and a device that becomes what it wants."""

    def __init__(self, chosen: Settings = SETTINGS) -> None:
        self.engine = Engine(chosen)
        self.backend = FakeBackend()
        self.called = DeviceChange()
        run(self.backend.create(NAME, 1420))

    def device(self) -> ObservedDevice:
        found = run(self.backend.read(NAME))
        assert found is not None
        return found

    def settle(self, seconds: float) -> DeviceChange:
        """One turn of the loop: read, decide, apply."""
        self.engine.observed(self.device(), at(seconds))
        wanted = self.engine.wanted(at(seconds))
        assert wanted is not None
        change = plan(wanted.device, self.device())
        run(self.backend.apply(NAME, change))
        self.called = calls(wanted.device, self.device(), wanted.calls)
        before = self.device()
        run(self.backend.apply(NAME, self.called))
        assert self.device() == before
        self.engine.applied(wanted, at(seconds))
        return change

    def heard(self, number: int, received: int) -> None:
        self.backend.see_peer(NAME, public_key(number), received_bytes=received)

    def handshake(self, number: int, seconds: float) -> None:
        self.backend.see_peer(NAME, public_key(number), latest_handshake=at(seconds).wall)

    def peer(self, number: int) -> ObservedPeer:
        return self.device().peers[public_key(number)]


def alive_bench(*numbers: int) -> Bench:
    """Tunnels to these peers live at second 2, and all is quiet."""
    bench = Bench()
    bench.engine.links_changed([LAN], 1500, at(0))
    bench.engine.map_arrived(network_map(*map(peer, numbers)), at(0))
    bench.settle(0)
    bench.settle(1)
    for number in numbers:
        bench.handshake(number, 1)
        bench.heard(number, 100)
    bench.settle(2)
    assert bench.called.is_empty
    return bench


ELSEWHERE = msgspec.structs.replace(LAN, address=ip_address("198.51.100.7"), prefix=ip_network("198.51.100.0/24"))


def test_every_peer_of_a_machine_that_moved_gets_a_packet_at_once() -> None:
    bench = alive_bench(2, 3)
    bench.engine.links_changed([ELSEWHERE], 1500, at(3))
    bench.settle(3)
    assert {one.public_key for one in bench.called.peers} == {public_key(2), public_key(3)}
    bench.settle(3.1)
    assert bench.called.is_empty
    # Soon it is seen who answers; what the peer heard of us it hears once more.
    assert bench.engine.next_look(at(3.1)) < 3.5
    bench.heard(2, 132)
    bench.settle(3.2)
    assert bench.called.is_empty
    assert bench.engine.next_look(at(3.2)) <= 3 + CALL_GAP
    bench.settle(3 + CALL_GAP)
    assert {one.public_key for one in bench.called.peers} == {public_key(2)}


def test_a_peer_that_leaves_while_it_is_called_is_nobodys_fault() -> None:
    bench = alive_bench(2, 3)
    bench.engine.rerouted()
    wanted = bench.engine.wanted(at(3))
    assert wanted is not None
    assert set(wanted.calls) == {public_key(2), public_key(3)}
    bench.engine.map_arrived(network_map(peer(3), revision=2), at(3))
    bench.engine.applied(wanted, at(3))
    bench.settle(4)
    assert bench.called.is_empty


def test_a_call_that_becomes_due_while_others_are_sent_is_sent_too() -> None:
    bench = alive_bench(2, 3)
    bench.engine.rerouted()
    wanted = bench.engine.wanted(at(3))
    assert wanted is not None
    bench.engine.rerouted()
    bench.engine.applied(wanted, at(3))
    assert bench.engine.next_look(at(3)) == 3 + CALL_GAP
    bench.settle(3.1)
    assert bench.called.is_empty
    bench.settle(3 + CALL_GAP)
    assert {one.public_key for one in bench.called.peers} == {public_key(2), public_key(3)}
    bench.settle(5)
    assert bench.called.is_empty


def test_where_nobody_answers_a_machine_that_moved_tries_the_peers_addresses() -> None:
    bench = alive_bench(2, 3)
    for number in (2, 3):
        bench.backend.see_peer(NAME, public_key(number), endpoint=Endpoint.parse("10.9.9.9:1"))
    bench.engine.links_changed([ELSEWHERE], 1500, at(3))
    bench.settle(3)
    bench.heard(2, 132)
    bench.settle(4)
    bench.settle(8.5)
    assert bench.peer(2).endpoint == Endpoint.parse("10.9.9.9:1")
    assert bench.peer(3).endpoint == peer(3).endpoints[0]
    assert {one.public_key for one in bench.called.peers} == {public_key(3)}


def test_a_peer_that_moved_gets_a_packet() -> None:
    bench = alive_bench(2, 3)
    moved = msgspec.structs.replace(peer(2), endpoints=(Endpoint.parse("198.51.100.2:51820"),))
    bench.engine.map_arrived(network_map(moved, peer(3), revision=2), at(5))
    bench.settle(5)
    assert {one.public_key for one in bench.called.peers} == {public_key(2)}
    assert bench.peer(2).endpoint != moved.endpoints[0]


def test_says_how_packets_reach_a_peer() -> None:
    bench = alive_bench(2)
    assert bench.engine.path_of(public_key(2), at(3)).candidate is CandidateKind.LAN
    bench.backend.see_peer(NAME, public_key(2), endpoint=Endpoint.parse("10.9.9.9:1"))
    bench.settle(3)
    assert bench.engine.path_of(public_key(2), at(3)).candidate is CandidateKind.SEEN
    assert bench.engine.path_of(public_key(2), at(3)).kind is PathKind.DIRECT
    assert bench.engine.path_of(public_key(2), at(1000)).kind is PathKind.NONE
    assert bench.engine.path_of(public_key(9), at(3)) == PathReport(kind=PathKind.NONE)


def test_another_way_out_is_told_to_peers_without_doubting_them() -> None:
    bench = alive_bench(2)
    bench.engine.rerouted()
    bench.settle(3)
    assert len(bench.called.peers) == 2
    assert bench.engine.next_look(at(3)) == 3 + IDLE_LOOK


def test_a_link_that_flaps_calls_nobody_more_often_than_it_helps() -> None:
    bench = alive_bench(2)
    rounds = 0
    for step in range(100):
        now = 3 + step / 50
        bench.engine.links_changed([ELSEWHERE if step % 2 else LAN], 1500, at(now))
        bench.settle(now)
        rounds += not bench.called.is_empty
    assert rounds <= 2 / CALL_GAP + 1


def test_an_agent_that_adopts_tunnels_says_once_where_it_is() -> None:
    bench = alive_bench(2)
    bench.engine = Engine(SETTINGS)
    bench.engine.links_changed([ELSEWHERE], 1500, at(10))
    bench.engine.observed(bench.device(), at(10))
    bench.engine.map_arrived(network_map(peer(2)), at(10))
    bench.settle(10)
    assert len(bench.called.peers) == 2
    bench.settle(30)
    assert bench.called.is_empty
    assert bench.peer(2).endpoint == peer(2).endpoints[0]


def test_wants_nothing_before_the_first_map() -> None:
    engine = Engine(SETTINGS)
    assert engine.wanted(at(0)) is None
    assert engine.next_look(at(0)) == IDLE_LOOK
    assert not engine.is_alive(public_key(2), at(0))


def test_the_peers_of_the_first_map_are_called_once_they_can_have_heard_of_us() -> None:
    bench = Bench()
    bench.engine.map_arrived(network_map(peer(2), peer(3)), at(0))
    bench.settle(0)
    assert not bench.device().peers
    assert bench.engine.next_look(at(0)) == CALL_AFTER
    bench.settle(CALL_AFTER)
    assert bench.peer(2).keepalive == bench.peer(3).keepalive == 25
    assert bench.peer(2).endpoint == peer(2).endpoints[0]


def test_a_peer_that_stands_in_an_adopted_device_is_never_withheld() -> None:
    bench = Bench()
    bench.engine.map_arrived(network_map(peer(2)), at(0))
    bench.settle(CALL_AFTER)
    second = Engine(SETTINGS)
    second.observed(bench.device(), at(5))
    second.map_arrived(network_map(peer(2)), at(5))
    wanted = second.wanted(at(5))
    assert wanted is not None
    assert wanted.device.peers.keys() == {public_key(2)}


def test_a_peer_that_comes_later_is_followed_after_a_while() -> None:
    bench = Bench()
    bench.engine.map_arrived(network_map(), at(0))
    bench.settle(0)
    bench.engine.map_arrived(network_map(peer(2), revision=2), at(10))
    bench.settle(10)
    assert bench.peer(2).keepalive == 0
    assert bench.engine.next_look(at(10)) == 10 + FOLLOW_AFTER
    bench.settle(10 + FOLLOW_AFTER)
    assert bench.peer(2).keepalive == 25


def test_a_newcomer_that_called_is_kept_at_once() -> None:
    bench = Bench()
    bench.engine.map_arrived(network_map(), at(0))
    bench.engine.map_arrived(network_map(peer(2), revision=2), at(10))
    bench.settle(10)
    bench.handshake(2, 10.05)
    bench.settle(10.1)
    assert bench.peer(2).keepalive == 25


def test_a_peer_that_comes_back_from_offline_is_a_newcomer() -> None:
    bench = Bench()
    bench.engine.map_arrived(network_map(offline(peer(2))), at(0))
    bench.settle(0)
    assert not bench.device().peers
    bench.engine.map_arrived(network_map(peer(2), revision=2), at(10))
    bench.settle(10)
    assert bench.peer(2).keepalive == 0
    bench.settle(11)
    assert bench.peer(2).keepalive == 25


def test_an_offline_peer_stays_as_long_as_its_tunnel_lives() -> None:
    bench = Bench()
    bench.engine.map_arrived(network_map(peer(2)), at(0))
    bench.settle(CALL_AFTER)
    bench.handshake(2, 1)
    bench.settle(1)
    bench.engine.map_arrived(network_map(offline(peer(2)), revision=2), at(2))
    assert bench.settle(2).is_empty
    bench.settle(1 + REJECT_AFTER_TIME - 1)
    assert public_key(2) in bench.device().peers
    bench.settle(1 + REJECT_AFTER_TIME)
    assert not bench.device().peers


def test_a_peer_that_left_the_map_leaves_the_device() -> None:
    bench = Bench()
    bench.engine.map_arrived(network_map(peer(2), peer(3)), at(0))
    bench.settle(0)
    bench.engine.map_arrived(network_map(peer(3), revision=2), at(1))
    bench.settle(1)
    assert set(bench.device().peers) == {public_key(3)}


def test_a_living_tunnel_of_an_adopted_device_keeps_where_it_roamed_to() -> None:
    bench = Bench()
    bench.engine.map_arrived(network_map(peer(2)), at(0))
    bench.settle(CALL_AFTER)
    roamed = Endpoint.parse("198.51.100.9:4242")
    bench.backend.see_peer(NAME, public_key(2), latest_handshake=at(1).wall, endpoint=roamed)

    second = Engine(SETTINGS)
    second.observed(bench.device(), at(5))
    second.map_arrived(network_map(peer(2)), at(5))
    wanted = second.wanted(at(5))
    assert wanted is not None
    assert plan(wanted.device, bench.device()).is_empty


def test_a_device_made_anew_calls_every_peer_at_once() -> None:
    bench = Bench()
    bench.engine.map_arrived(network_map(), at(0))
    bench.engine.map_arrived(network_map(peer(2), revision=2), at(1))
    bench.settle(2)
    bench.handshake(2, 2)
    bench.settle(3)
    bench.backend.kill(NAME)
    run(bench.backend.create(NAME, 1420))
    bench.engine.device_is_new(at(4))
    assert not bench.engine.is_alive(public_key(2), at(4))
    bench.settle(4)
    assert bench.peer(2).keepalive == 25
    assert bench.peer(2).endpoint == peer(2).endpoints[0]


def test_a_device_made_before_any_map_is_no_matter() -> None:
    engine = Engine(SETTINGS)
    engine.device_is_new(at(0))
    assert engine.wanted(at(0)) is None


def test_links_reorder_the_candidates() -> None:
    far, near = Endpoint.parse("203.0.113.1:51820"), Endpoint.parse("192.0.2.77:51820")
    bench = Bench()
    one = msgspec.structs.replace(peer(2), endpoints=(far, near))
    bench.engine.map_arrived(network_map(one), at(0))
    bench.settle(CALL_AFTER)
    assert bench.peer(2).endpoint == far
    bench.engine.links_changed([LAN], 1500, at(1))
    bench.settle(1)
    assert bench.peer(2).endpoint == near


def test_links_set_the_mtu_and_what_is_published() -> None:
    engine = Engine(SETTINGS)
    assert engine.published(16) == ()
    engine.links_changed([LAN], 1400, at(0))
    assert engine.published(16) == (Endpoint.parse("192.0.2.200:51820"),)
    engine.map_arrived(network_map(), at(0))
    wanted = engine.wanted(at(0))
    assert wanted is not None
    assert wanted.host.mtu == 1320


def test_with_any_port_the_devices_own_is_published() -> None:
    engine = Engine(msgspec.structs.replace(SETTINGS, listen_port=0))
    engine.links_changed([LAN], 1500, at(0))
    assert engine.published(16) == ()
    engine.observed(ObservedDevice(name=NAME, backend=BackendKind.KERNEL, listen_port=4242), at(0))
    assert engine.published(16) == (Endpoint.parse("192.0.2.200:4242"),)


def test_an_exit_node_is_used_once_its_tunnel_lives_and_let_go_when_it_dies() -> None:
    gate = msgspec.structs.replace(peer(2), exit_node=True)
    bench = Bench()
    bench.engine.map_arrived(network_map(gate), at(0))
    bench.settle(CALL_AFTER)
    assert bench.peer(2).allowed_ips == frozenset(gate.addresses)
    bench.handshake(2, 1)
    bench.settle(1)
    assert bench.peer(2).allowed_ips == frozenset({*gate.addresses, *DEFAULT_ROUTES})
    bench.settle(2 + REJECT_AFTER_TIME)
    assert bench.peer(2).allowed_ips == frozenset(gate.addresses)
    assert bench.engine.exit_node.key is None


def test_without_keepalive_an_exit_node_is_used_by_the_servers_word() -> None:
    gate = msgspec.structs.replace(peer(2), exit_node=True)
    bench = Bench(msgspec.structs.replace(SETTINGS, keepalive=0))
    bench.engine.map_arrived(network_map(gate), at(0))
    bench.settle(0)
    assert bench.engine.exit_node.key == public_key(2)


def test_the_user_decides_otherwise() -> None:
    gate = msgspec.structs.replace(peer(2), exit_node=True)
    bench = Bench(msgspec.structs.replace(SETTINGS, keepalive=0))
    bench.engine.map_arrived(network_map(gate), at(0))
    bench.settle(0)
    bench.engine.configure(msgspec.structs.replace(bench.engine.settings, exit_policy=ExitPolicy.parse("off")))
    bench.settle(1)
    assert bench.engine.exit_node.key is None
    assert bench.peer(2).allowed_ips == frozenset(gate.addresses)


def test_a_big_mesh_is_looked_at_no_more_often_than_it_is_worth() -> None:
    bench = Bench()
    count = 400
    bench.engine.map_arrived(network_map(*(peer(number) for number in range(2, count + 2))), at(0))
    looks, now = 0, 0.0
    while now < 600:
        bench.settle(now)
        looks += 1
        following = bench.engine.next_look(at(now))
        assert now < following <= now + IDLE_LOOK
        now = following
    assert looks <= 600 / (LOOK_COST * count) + 20


@settings(max_examples=60, stateful_step_count=30, deadline=None)
class Life(RuleBasedStateMachine):
    """Whatever happens in whatever order: see the invariants."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench()
        self.now = 0.0
        self.revision = 0
        self.started = 0.0
        self.members: dict[int, Peer] = {}
        self.moved: set[PublicKey] = set()

    @initialize(numbers=st.sets(st.integers(2, 6)))
    def first_map(self, numbers: set[int]) -> None:
        self.members = {number: peer(number) for number in numbers}
        self.tell()

    def tell(self) -> None:
        self.revision += 1
        self.bench.engine.map_arrived(network_map(*self.members.values(), revision=self.revision), at(self.now))

    @rule(number=st.integers(2, 6), online=st.booleans(), exits=st.booleans(), last=st.integers(1, 3))
    def change(self, number: int, online: bool, exits: bool, last: int) -> None:
        endpoint = Endpoint.parse(f"203.0.113.{last}:51820")
        self.members[number] = msgspec.structs.replace(
            peer(number), online=online, exit_node=exits, endpoints=(endpoint, *peer(number).endpoints)
        )
        self.moved.add(public_key(number))
        self.tell()

    @rule(number=st.integers(2, 6))
    def leave(self, number: int) -> None:
        self.members.pop(number, None)
        self.tell()

    @rule(seconds=st.sampled_from([0.05, 0.3, 1.0, 5.0, 30.0, 200.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(number=st.integers(2, 6))
    def shake(self, number: int) -> None:
        if public_key(number) in self.bench.device().peers:
            self.bench.handshake(number, self.now)

    @rule()
    def settle(self) -> None:
        before = self.bench.device()
        change = self.bench.settle(self.now)
        removed = [one.public_key for one in change.peers if one.remove]
        created = [one.public_key for one in change.peers if one.create]
        assert not set(removed) & set(created)
        assert not set(created) & set(before.peers)
        for key in removed:
            assert not self.bench.engine.is_alive(key, at(self.now)) or key not in {
                one.public_key for one in self.members.values()
            }
        for one in change.peers:
            if self.bench.engine.is_alive(one.public_key, at(self.now)) and one.public_key not in self.moved:
                assert one.endpoint is None

    @rule()
    def restart(self) -> None:
        """A new agent adopts the device: what lives goes on."""
        self.started = self.now
        self.bench.engine = Engine(SETTINGS)
        self.bench.engine.observed(self.bench.device(), at(self.now))
        self.tell()

    @invariant()
    def settling_twice_changes_nothing_and_every_online_peer_is_there(self) -> None:
        if self.revision:
            self.settle()
            assert self.bench.settle(self.now).is_empty
            online = {one.public_key for one in self.members.values() if one.online}
            if self.now >= self.started + CALL_AFTER:
                assert online <= set(self.bench.device().peers)
            assert at(self.now).monotonic < self.bench.engine.next_look(at(self.now)) <= self.now + IDLE_LOOK


TestLife = Life.TestCase


def told(bench: Bench, seconds: float) -> DeviceChange | None:
    """What the map's changes ask for without a look, done."""
    change = bench.engine.news(at(seconds))
    if change is not None:
        run(bench.backend.apply(NAME, change))
        bench.engine.news_applied(change)
    return change


def changed(bench: Bench, seconds: float, *peers: Peer) -> DeviceChange | None:
    bench.engine.map_arrived(network_map(*peers, revision=2), at(seconds))
    return told(bench, seconds)


def test_who_comes_and_who_leaves_is_one_change_without_a_look() -> None:
    bench = alive_bench(2, 3)
    looks = bench.backend.count["read"]
    change = changed(bench, 3, peer(2), *map(peer, range(4, 104)))
    assert change is not None
    assert bench.backend.count["read"] == looks
    assert [one.remove for one in change.peers] == [True] + [False] * 100
    assert bench.device().peers.keys() == {public_key(number) for number in (2, *range(4, 104))}
    assert bench.engine.device is not None
    assert bench.engine.device.peers.keys() == bench.device().peers.keys()
    assert told(bench, 3) == DeviceChange()
    assert bench.engine.next_look(at(3)) <= 3 + FOLLOW_AFTER


def test_who_asks_how_it_stands_puts_off_no_look() -> None:
    bench = alive_bench(2)
    due = bench.engine.next_look(at(3))
    bench.engine.observed(bench.device(), at(4), is_aside=True)
    assert bench.engine.next_look(at(4)) == due
    bench.engine.observed(bench.device(), at(4))
    assert bench.engine.next_look(at(4)) > due


def test_a_newcomer_that_is_offline_hurries_nobody() -> None:
    bench = alive_bench(2)
    due = bench.engine.next_look(at(3))
    assert changed(bench, 3, peer(2), offline(peer(3))) == DeviceChange()
    assert bench.engine.next_look(at(3)) == due


def test_a_newcomer_before_the_next_look_is_reckoned() -> None:
    bench = alive_bench(2)
    assert changed(bench, 3, peer(2), peer(3)) is not None
    assert bench.engine.next_look(at(3)) <= 3 + FOLLOW_AFTER


def test_a_name_is_no_matter_of_wireguards() -> None:
    bench = alive_bench(2)
    assert changed(bench, 3, msgspec.structs.replace(peer(2), hostname="other", revision=9)) == DeviceChange()


def test_what_stands_is_not_touched_without_a_look() -> None:
    elsewhere = (Endpoint.parse("192.0.2.99:1"),)
    gate = msgspec.structs.replace(peer(3), exit_node=True)
    for peers in (
        (offline(peer(2)),),
        (msgspec.structs.replace(peer(2), endpoints=elsewhere),),
        (msgspec.structs.replace(peer(2), ipv4=peer(7).ipv4),),
        (peer(2), gate),
    ):
        bench = alive_bench(2)
        assert changed(bench, 3, *peers) is None
        assert bench.engine.next_look(at(3)) <= 3
        bench.settle(3)
        assert told(bench, 3) == DeviceChange()


def test_the_exit_node_in_use_is_a_matter_of_looking() -> None:
    gate = msgspec.structs.replace(peer(3), exit_node=True)
    bench = alive_bench(2)
    changed(bench, 3, peer(2), gate)
    bench.settle(4)
    assert changed(bench, 5, peer(2)) is None
    bench.settle(6)
    assert not bench.engine.exit_node.routed


def test_another_network_or_an_own_record_needs_a_look() -> None:
    bench = alive_bench(2)
    mine = msgspec.structs.replace(network_map(peer(2)), me=msgspec.structs.replace(peer(1), ipv4=peer(9).ipv4))
    bench.engine.map_arrived(mine, at(3))
    assert told(bench, 3) is None


def test_before_there_is_a_device_or_a_map_there_are_no_news() -> None:
    engine = Engine(SETTINGS)
    assert engine.news(at(0)) is None
    engine.map_arrived(network_map(peer(2)), at(0))
    assert engine.news(at(0)) is None
    assert engine.next_look(at(5)) <= 5
    engine.news_applied(DeviceChange())
    assert engine.device is None
    bench = alive_bench(2)
    bench.engine.device_is_new(at(3))
    assert bench.engine.news(at(3)) is None


def test_looks_are_bounded_by_what_they_cost_however_much_changes() -> None:
    bench = alive_bench(*range(2, 1002))
    for seconds in (2.1, 2.2, 2.3):
        bench.engine.map_arrived(network_map(offline(peer(2)), *map(peer, range(3, 1002)), revision=2), at(seconds))
        assert bench.engine.next_look(at(seconds)) == 2 + HURRIED_COST * 1000
    bench.settle(2.4)
    assert bench.engine.next_look(at(2.4)) >= 2.4 + HURRIED_COST * 1000


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.frozensets(st.integers(2, 9), max_size=8), st.frozensets(st.integers(2, 9), max_size=3), st.booleans()
        ),
        max_size=12,
    )
)
def test_with_or_without_looks_the_device_becomes_the_same(
    steps: list[tuple[frozenset[int], frozenset[int], bool]],
) -> None:
    """`news`, where it says something, does what a look would have done."""
    quick, looking = alive_bench(2, 3), alive_bench(2, 3)
    for second, (members, absent, is_looked) in enumerate(steps, start=3):
        peers = [offline(peer(number)) if number in absent else peer(number) for number in sorted(members)]
        if changed(quick, second, *peers) is None or is_looked:
            quick.settle(second)
        looking.engine.map_arrived(network_map(*peers, revision=second), at(second))
        looking.settle(second)
        for bench in (quick, looking):  # as the next look would: what was removed has no session any more
            bench.engine.observed(bench.device(), at(second))
        assert quick.device().peers.keys() == looking.device().peers.keys()
    quick.settle(100)
    looking.settle(100)
    assert quick.device().peers.keys() == looking.device().peers.keys()
    for key, one in quick.device().peers.items():
        assert one.allowed_ips == looking.device().peers[key].allowed_ips


def test_where_the_server_is_there_are_relays_without_an_address() -> None:
    relay = Relay(id=RelayId("server"), vantage_points=(VantagePoint(public_key(90), 8080),))
    bench = Bench()
    bench.engine.server_reached([ip_address("203.0.113.1")])
    bench.engine.map_arrived(msgspec.structs.replace(network_map(peer(2)), relays=(relay,)), at(0))
    bench.settle(0)
    standing = bench.peer(90)
    assert (standing.endpoint, standing.allowed_ips) == (Endpoint.parse("203.0.113.1:8080"), frozenset())
    assert bench.engine.next_look(at(0)) <= 0.1
    bench.engine.server_reached([ip_address("203.0.113.2")])
    bench.settle(1)
    assert bench.peer(90).endpoint == Endpoint.parse("203.0.113.2:8080")
    bench.engine.server_reached([ip_address("203.0.113.2")])
    assert bench.settle(2).is_empty


INSIDE = Endpoint(NETWORK.ipv4_address(2), 51820)


def test_a_peer_that_sends_through_the_tunnel_itself_is_not_followed_into_it() -> None:
    bench = Bench()
    bench.engine.map_arrived(network_map(peer(2)), at(0))
    bench.settle(CALL_AFTER)
    outside = bench.peer(2).endpoint
    bench.backend.see_peer(NAME, public_key(2), latest_handshake=at(1).wall, endpoint=outside)
    bench.settle(2)
    bench.backend.see_peer(NAME, public_key(2), endpoint=INSIDE)
    bench.settle(20)
    assert bench.peer(2).endpoint == outside
    assert bench.settle(21).is_empty


def test_a_peer_that_has_no_address_but_inside_is_left_alone() -> None:
    bench = Bench()
    lost = msgspec.structs.replace(peer(2), endpoints=(INSIDE,))
    bench.engine.map_arrived(network_map(lost), at(0))
    bench.settle(CALL_AFTER)
    assert bench.peer(2).endpoint is None
    bench.backend.see_peer(NAME, public_key(2), latest_handshake=at(1).wall, endpoint=INSIDE)
    assert bench.settle(2).is_empty


def test_no_relay_is_asked_through_the_tunnel() -> None:
    inside = Relay(id=RelayId("r1"), vantage_points=(VantagePoint(public_key(90), 8080),), ipv4=NETWORK.ipv4_address(2))
    own = Relay(id=RelayId("server"), vantage_points=(VantagePoint(public_key(91), 8080),))
    bench = Bench()
    bench.engine.server_reached([NETWORK.ipv4_address(3), ip_address("203.0.113.1")])
    bench.engine.map_arrived(msgspec.structs.replace(network_map(), relays=(inside, own)), at(0))
    bench.settle(0)
    assert set(bench.device().peers) == {public_key(91)}
    assert bench.peer(91).endpoint == Endpoint.parse("203.0.113.1:8080")


def test_a_relay_that_claims_a_peers_key_tears_no_tunnel() -> None:
    claiming = Relay(
        id=RelayId("r1"), vantage_points=(VantagePoint(public_key(2), 8080),), ipv4=IPv4Address("203.0.113.9")
    )
    bench = Bench()
    bench.engine.links_changed([LAN], 1500, at(0))
    bench.engine.map_arrived(msgspec.structs.replace(network_map(peer(2)), relays=(claiming,)), at(0))
    bench.settle(CALL_AFTER)
    bench.backend.see_peer(NAME, public_key(2), latest_handshake=at(1).wall)
    bench.settle(1)
    moved = msgspec.structs.replace(LAN, address=ip_address("192.0.2.201"))
    bench.engine.links_changed([moved], 1500, at(2))
    bench.engine.observed(bench.device(), at(2))
    wanted = bench.engine.wanted(at(2))
    assert wanted is not None
    assert wanted.resets == ()
