from pathlib import Path

import msgspec
import pytest

from tests.cli.conftest import AnsweringAgent, leave_mesh
from tests.protocol.test_local import STATUS
from wireguard_mesh.cli import showing
from wireguard_mesh.cli.place import Place
from wireguard_mesh.model.errors import NotFound
from wireguard_mesh.model.names import Hostname
from wireguard_mesh.protocol.status import State


def test_finds_a_peer_by_what_people_call_it() -> None:
    assert showing.find(STATUS, "HOST-2").hostname == "host-2"
    with pytest.raises(NotFound, match="no peer is called ghost"):
        showing.find(STATUS, "ghost")


def test_two_of_one_name_are_told_apart_by_id() -> None:
    twins = [msgspec.structs.replace(one, hostname=Hostname("twin")) for one in STATUS.peers[:2]]
    with pytest.raises(NotFound, match=r"2 peers.*peer-000002, peer-000003"):
        showing.find(msgspec.structs.replace(STATUS, peers=tuple(twins)), "twin")


def test_no_address_yet(agent: AnsweringAgent) -> None:
    agent.answer = msgspec.structs.replace(STATUS, ipv4=None, ipv6=None)
    with pytest.raises(NotFound, match="no address"):
        showing.print_addresses(Place(agent.folder, None), None, ipv4=True, ipv6=True)


def test_exit_nodes_one_a_line(agent: AnsweringAgent, capsys: pytest.CaptureFixture[str]) -> None:
    nodes = [msgspec.structs.replace(one, exit_node=True, exit_node_in_use=True) for one in STATUS.peers[:1]]
    agent.answer = msgspec.structs.replace(STATUS, peers=tuple(nodes))
    showing.print_exit_nodes(Place(agent.folder, None), as_json=False)
    assert capsys.readouterr().out.split() == ["10.100.0.2", "host-2", "online", "in", "use"]


def test_without_an_agent_disk_and_device_are_asked(runtime: Path) -> None:
    with pytest.raises(NotFound, match="no mesh"):
        showing.current_status(Place(runtime, None))
    leave_mesh(runtime)
    status = showing.current_status(Place(runtime, None))
    assert (status.state, status.interface, len(status.peers)) == (State.STOPPED, "wgmt-none", 1)


def test_this_machine_has_a_name_too() -> None:
    assert showing.find(msgspec.structs.replace(STATUS, hostname="me"), "ME").ipv4 == STATUS.ipv4
    twin = msgspec.structs.replace(STATUS, hostname=STATUS.peers[0].hostname)
    with pytest.raises(NotFound, match=r"2 peers.*peer-000001, peer-000002"):
        showing.find(twin, STATUS.peers[0].hostname)
