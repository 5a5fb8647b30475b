import asyncio
import logging

import msgspec
import pytest

from tests.client.conftest import WG0, until
from tests.samples import NETWORK, peer, private_key, public_key
from wireguard_mesh.client import clock
from wireguard_mesh.client.device import DeviceKeeper
from wireguard_mesh.core.engine import Engine
from wireguard_mesh.core.exit_nodes import ExitPolicy
from wireguard_mesh.core.wanted import Settings
from wireguard_mesh.model.devices import BackendKind
from wireguard_mesh.model.errors import Conflict, MeshError, NotFound, Unavailable, Unsupported
from wireguard_mesh.model.hosts import WantedHost
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.model.peers import NetworkMap
from wireguard_mesh.system.fake import FakeSystem
from wireguard_mesh.wireguard.fake import FakeBackend
from wireguard_mesh.wireguard.interface import Backend

SETTINGS = Settings(interface=WG0, private_key=private_key(1))


def network_map(*numbers: int, exit_node: int = 0) -> NetworkMap:
    peers = (msgspec.structs.replace(peer(number), exit_node=number == exit_node) for number in numbers)
    return NetworkMap(epoch="e", revision=1, network=NETWORK, me=peer(1), peers={one.public_key: one for one in peers})


class Made:
    """A keeper on fakes."""

    def __init__(self, settings: Settings = SETTINGS) -> None:
        self.engine, self.backend, self.system = Engine(settings), FakeBackend(), FakeSystem()
        self.keeper = DeviceKeeper(self.engine, self.open, self.system, clock.now)

    @classmethod
    def over(cls, other: "Made", settings: Settings = SETTINGS) -> "Made":
        """Another agent on the same machine."""
        made = cls(settings)
        made.backend, made.system = other.backend, other.system
        made.keeper.system = other.system
        return made

    async def open(self, _name: InterfaceName) -> Backend:
        return self.backend


async def test_makes_the_interface_and_notes_that_first() -> None:
    made = Made()
    assert not made.keeper.kind
    made.backend.fail("create", Unavailable("no"))
    with pytest.raises(Unavailable):
        await made.keeper.open()
    assert WG0 in made.system.owned
    await made.keeper.open()
    assert made.keeper.kind is BackendKind.USERSPACE
    assert made.backend.mtus[WG0] == 1420


async def test_adopts_what_the_journal_says_is_ours_whatever_its_key() -> None:
    made = Made()
    await made.backend.create(WG0, 1420)
    await made.system.prepare(WG0)
    await made.keeper.open()
    made.engine.map_arrived(network_map(), clock.now())
    await made.keeper.reconcile()
    assert made.backend.devices[WG0].private_key == private_key(1)
    assert made.backend.count["create"] == 1


async def test_what_somebody_made_in_place_of_ours_is_left_alone_until_it_is_gone() -> None:
    made = Made()
    await made.keeper.open()
    made.engine.map_arrived(network_map(), clock.now())
    await made.keeper.reconcile()
    theirs = msgspec.structs.replace(made.backend.devices[WG0], private_key=private_key(7))
    made.backend.devices[WG0] = theirs
    made.system.replaced.add(WG0)
    with pytest.raises(Conflict, match="not ours"):
        await made.keeper.reconcile()
    with pytest.raises(Conflict, match="not ours"):
        await Made.over(made).keeper.open()
    assert made.backend.devices[WG0] is theirs
    made.backend.kill(WG0)
    made.system.replaced.clear()
    await made.keeper.reconcile()
    assert made.backend.devices[WG0].private_key == private_key(1)

    made.backend.devices[WG0] = theirs
    made.system.replaced.add(WG0)
    await made.keeper.remove()
    assert made.backend.devices[WG0] is theirs
    assert WG0 not in made.system.owned


async def test_a_program_that_hangs_at_the_start_is_waited_for() -> None:
    made = Made()
    made.engine.map_arrived(network_map(2), clock.now())
    made.backend.fail("read", Unavailable("it hangs"))
    running = asyncio.create_task(made.keeper.run())
    await until(lambda: made.keeper.problem == "it hangs")
    made.keeper.wake()
    await until(made.keeper.is_up.is_set)
    running.cancel()


async def test_exit_routing_that_cannot_be_set_keeps_nothing_else_from_being_set() -> None:
    heard: list[bool] = []
    made = Made(msgspec.structs.replace(SETTINGS, offers_exit_node=True))
    made.keeper = DeviceKeeper(
        made.engine, made.open, made.system, clock.now, lambda: heard.append(made.keeper.forwards)
    )
    made.system.exit_fault = Unsupported("nft is not installed")
    made.engine.map_arrived(network_map(2), clock.now())
    await made.keeper.open()
    await made.keeper.reconcile()
    assert made.keeper.is_up.is_set()
    assert made.keeper.problem == "nft is not installed"
    assert not made.keeper.forwards

    made.system.exit_fault = None
    made.keeper.wake(host_changed=True)
    await made.keeper.reconcile()
    assert heard == [True]
    assert not made.keeper.problem
    made.system.exit_fault = Unsupported("nft is not installed")
    made.keeper.wake(host_changed=True)
    await made.keeper.reconcile()
    assert heard == [True, False]


async def test_exit_routing_is_looked_after(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wireguard_mesh.client.device._HOST_CHECK", 0.0)
    made = Made()
    await made.keeper.open()
    made.engine.map_arrived(network_map(2), clock.now())
    await made.keeper.reconcile()
    await made.keeper.reconcile()
    assert made.system.count["apply"] == 1
    made.engine.configure(msgspec.structs.replace(SETTINGS, offers_exit_node=True))
    await made.keeper.reconcile()
    await made.keeper.reconcile()
    assert made.system.count["apply"] == 3


async def test_an_exit_node_whose_agent_starts_anew_is_offered_on() -> None:
    made = Made(msgspec.structs.replace(SETTINGS, offers_exit_node=True))
    await made.keeper.expect_forwarding()
    assert not made.keeper.forwards
    made.engine.map_arrived(network_map(2), clock.now())
    await made.keeper.open()
    await made.keeper.reconcile()
    again = Made.over(made, made.engine.settings)
    await again.keeper.expect_forwarding()
    assert again.keeper.forwards


async def test_a_second_turn_changes_nothing() -> None:
    made = Made()
    await made.keeper.open()
    made.engine.map_arrived(network_map(), clock.now())
    made.engine.map_arrived(network_map(2, 3), clock.now())
    await made.keeper.reconcile()
    before = made.backend.count["apply"], made.system.count["apply"]
    await made.keeper.reconcile()
    assert (made.backend.count["apply"], made.system.count["apply"]) == before


async def test_a_thousand_peers_are_one_change() -> None:
    made = Made()
    await made.keeper.open()
    made.engine.map_arrived(network_map(), clock.now())
    made.engine.map_arrived(network_map(*range(2, 1002)), clock.now())
    await made.keeper.reconcile()
    assert len(made.backend.devices[WG0].peers) == 1000
    assert len(made.backend.changes) == 1


async def test_nothing_is_done_before_it_is_open_or_after_it_was_removed() -> None:
    made = Made()
    made.engine.map_arrived(network_map(2), clock.now())
    await made.keeper.reconcile()
    await made.keeper.refresh()
    await made.keeper.remove()
    await made.keeper.close()
    assert not made.backend.count
    made = Made()
    await made.keeper.open()
    made.engine.map_arrived(network_map(2), clock.now())
    await made.keeper.remove()
    await made.keeper.reconcile()
    await made.keeper.refresh()
    assert not made.backend.devices
    await made.keeper.close()
    assert made.backend.closed


async def test_an_interface_that_vanishes_at_once_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Made()
    await made.keeper.open()

    async def nothing(_name: InterfaceName) -> None:
        return None

    monkeypatch.setattr(made.backend, "read", nothing)
    made.backend.kill(WG0)
    with pytest.raises(NotFound, match="vanished"):
        await made.keeper.reconcile()


async def test_a_fault_is_said_once_and_its_end_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    made = Made()
    await made.keeper.open()
    made.engine.map_arrived(network_map(2), clock.now())
    await made.keeper.reconcile()
    made.backend.fail("read", Unavailable("busy"), times=2)
    running = asyncio.create_task(made.keeper.run())
    await until(lambda: bool(made.keeper.problem))
    assert made.keeper.problem == "busy"
    for _ in range(100):
        made.keeper.wake()
        await asyncio.sleep(0)
    await until(lambda: made.keeper.problem == "")
    running.cancel()
    said = [record.getMessage() for record in caplog.records]
    assert sum("busy" in text for text in said) == 1
    assert sum("as it should be again" in text for text in said) == 1


async def test_a_fault_of_ours_is_said_once_and_survived_once_it_was_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made = Made()
    made.engine.map_arrived(network_map(2), clock.now())

    def broken(*_: object) -> None:
        raise ZeroDivisionError("ours")

    with monkeypatch.context() as patch:
        patch.setattr(made.engine, "wanted", broken)
        with pytest.raises(ZeroDivisionError):
            await made.keeper.run()
    await made.keeper.reconcile()
    running = asyncio.create_task(made.keeper.run())
    with monkeypatch.context() as patch:
        patch.setattr(made.engine, "wanted", broken)
        for _ in range(100):
            made.keeper.wake()
            await asyncio.sleep(0)
        await until(lambda: "ours" in made.keeper.problem)
    made.keeper.wake()
    await until(lambda: made.keeper.problem == "")
    assert not running.done()
    running.cancel()
    assert sum(record.exc_info is not None for record in caplog.records) == 1


async def test_what_changes_in_the_host_while_it_is_set_is_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Made()
    await made.keeper.open()
    made.engine.map_arrived(network_map(2), clock.now())
    apply = made.system.apply

    async def apply_while_it_changes(wanted: WantedHost) -> MeshError | None:
        made.keeper.wake(host_changed=True)
        return await apply(wanted)

    with monkeypatch.context() as patch:
        patch.setattr(made.system, "apply", apply_while_it_changes)
        await made.keeper.reconcile()
    await made.keeper.reconcile()
    await made.keeper.reconcile()
    assert made.system.count["apply"] == 2


async def test_what_could_not_be_set_in_the_host_is_tried_again() -> None:
    made = Made()
    await made.keeper.open()
    made.engine.map_arrived(network_map(2), clock.now())
    made.system.fail("apply", Unavailable("busy"))
    with pytest.raises(Unavailable):
        await made.keeper.reconcile()
    await made.keeper.reconcile()
    assert made.system.count["apply"] == 2


async def test_what_only_the_user_can_put_right_ends_it_before_it_was_up_only() -> None:
    made = Made()
    await made.keeper.open()
    made.engine.map_arrived(network_map(2), clock.now())
    made.system.fail("apply", Conflict("overlap"))
    with pytest.raises(Conflict):
        await made.keeper.run()
    await made.keeper.reconcile()
    made.system.fail("apply", Conflict("overlap"))
    made.keeper.wake(host_changed=True)
    running = asyncio.create_task(made.keeper.run())
    await until(lambda: made.keeper.problem == "overlap")
    assert not running.done()
    running.cancel()


async def test_a_status_of_a_device_that_cannot_be_read_is_the_old_one() -> None:
    made = Made()
    await made.keeper.open()
    made.engine.map_arrived(network_map(2), clock.now())
    await made.keeper.reconcile()
    await made.keeper.refresh()
    before = made.engine.device
    made.backend.fail("read", Unavailable("busy"))
    await made.keeper.refresh()
    assert made.engine.device is before
    made.backend.kill(WG0)
    await made.keeper.refresh()
    assert made.engine.device is before


async def test_a_change_of_the_host_applies_again() -> None:
    made = Made()
    await made.keeper.open()
    made.engine.map_arrived(network_map(2), clock.now())
    await made.keeper.reconcile()
    made.keeper.wake(host_changed=True)
    await made.keeper.reconcile()
    assert made.system.count["apply"] == 2


async def test_the_exit_nodes_trouble_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    made = Made(msgspec.structs.replace(SETTINGS, exit_policy=ExitPolicy.parse("host-2")))
    await made.keeper.open()
    made.engine.map_arrived(network_map(3), clock.now())
    await made.keeper.reconcile()
    await made.keeper.reconcile()
    made.engine.map_arrived(network_map(2, 3, exit_node=2), clock.now())
    await made.keeper.reconcile()
    said = [record.getMessage() for record in caplog.records if "exit node" in record.getMessage()]
    assert [text.partition(",")[0] for text in said] == [
        "exit node: no peer is called host-2",
        "exit node: in order again",
    ]
    assert made.backend.devices[WG0].peers[public_key(2)].allowed_ips > frozenset(peer(2).addresses)


async def test_a_change_of_the_map_is_one_operation_and_no_look() -> None:
    made = Made()
    running = asyncio.create_task(made.keeper.run())
    made.engine.map_arrived(network_map(2), clock.now())
    made.keeper.wake()
    await made.keeper.is_up.wait()
    await until(lambda: len(made.backend.devices[WG0].peers) == 1)
    for peers in (range(2, 4), range(2, 104), range(50, 104)):
        await until(lambda: made.engine.next_look(clock.now()) > clock.now().monotonic + 0.05)
        looks, changes = made.backend.count["read"], len(made.backend.changes)
        made.engine.map_arrived(network_map(*peers), clock.now())
        made.keeper.map_changed()
        await until(lambda: len(made.backend.devices[WG0].peers) == len(peers))  # noqa: B023  # it is awaited here
        assert (made.backend.count["read"], len(made.backend.changes)) == (looks, changes + 1)
    running.cancel()


async def test_changes_that_arrive_together_are_one_operation() -> None:
    made = Made()
    await made.keeper.open()
    made.engine.map_arrived(network_map(2), clock.now())
    await made.keeper.reconcile()
    changes = len(made.backend.changes)
    for last in range(3, 10):
        made.engine.map_arrived(network_map(*range(2, last)), clock.now())
        made.keeper.map_changed()
    made.keeper._must_look = False
    await made.keeper._do_what_is_due()
    assert len(made.backend.changes) == changes + 1


async def test_a_change_that_fails_is_done_by_looking(caplog: pytest.LogCaptureFixture) -> None:
    made = Made()
    running = asyncio.create_task(made.keeper.run())
    made.engine.map_arrived(network_map(2), clock.now())
    made.keeper.wake()
    await until(lambda: WG0 in made.backend.devices and len(made.backend.devices[WG0].peers) == 1)
    await until(lambda: made.engine.next_look(clock.now()) > clock.now().monotonic + 0.05)
    made.backend.fail("apply", Unavailable("busy"))
    made.engine.map_arrived(network_map(2, 3), clock.now())
    made.keeper.map_changed()
    await until(lambda: len(made.backend.devices[WG0].peers) == 2)
    assert not caplog.records
    running.cancel()
