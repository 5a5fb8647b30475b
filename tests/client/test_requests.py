"""What the agent answers is tried through its socket in `test_agent`; here are the corners."""

import pytest

from tests.client.conftest import WG0, Agents, RealServer, until
from tests.samples import public_key
from wireguard_mesh import __version__
from wireguard_mesh.model.errors import Unavailable
from wireguard_mesh.protocol import local
from wireguard_mesh.protocol.status import ExitStatus


async def test_the_status_of_an_agent_with_an_exit_node(server: RealServer, agents: Agents) -> None:
    gate = agents.start(1, server.address, exit_node=True)
    await gate.up()
    one = agents.start(2, server.address, use_exit_node="host-1")
    await one.up()
    await until(lambda: one.agent.parts.engine.exit_node.key == public_key(1))
    status = await one.status()
    assert status.exit == ExitStatus(policy="host-1", in_use=status.peers[0].id)
    assert status.peers[0].exit_node_in_use
    known = one.agent.parts.disk.known.map
    assert known is not None
    assert (status.agent_version, status.hostname, status.map.revision) == (__version__, "host-2", known.revision)
    assert (await gate.status()).exit.offered


async def test_an_exit_node_is_named_only_if_it_is_one(server: RealServer, agents: Agents) -> None:
    gate = agents.start(1, server.address, exit_node=True)
    await gate.up()
    one = agents.start(2, server.address, use_exit_node="off")
    await one.up()
    assert await one.ask(local.SetRequest(use_exit_node="host-1")) == local.Done()
    assert one.agent.parts.engine.settings.exit_policy.peer == "host-1"
    refused = await gate.ask(local.SetRequest(use_exit_node="host-2"))
    assert isinstance(refused, local.Refused)
    assert "offers no exit node" in refused.error


async def test_logout_with_a_disk_that_cannot_be_written_still_ends(
    server: RealServer, agents: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_state: object) -> None:
        raise Unavailable("no room")

    one = agents.start(1, server.address)
    await one.up()
    monkeypatch.setattr(one.folder, "save", full)
    assert await one.ask(local.LogoutRequest()) == local.Done(note="no room")
    await one.task
    assert WG0 not in one.backend.devices


async def test_an_exit_node_that_goes_down_says_so_first(server: RealServer, agents: Agents) -> None:
    gate = agents.start(1, server.address, exit_node=True)
    await gate.up()
    one = agents.start(2, server.address)
    await one.up()

    def is_offered() -> bool:
        network_map = one.agent.parts.engine.map
        return network_map is not None and network_map.peers[public_key(1)].exit_node

    await until(is_offered)
    assert await gate.ask(local.DownRequest()) == local.Done()
    await until(lambda: not is_offered())
    # It is an exit node again at its next start.
    state = gate.folder.load()
    assert state is not None
    assert state.exit_node


async def test_going_down_does_not_wait_for_a_server_that_is_gone(server: RealServer, agents: Agents) -> None:
    gate = agents.start(1, server.address, exit_node=True)
    await gate.up()
    await server.stop()
    assert await gate.ask(local.DownRequest()) == local.Done()
    assert not gate.backend.devices
