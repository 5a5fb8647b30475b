import socket

import msgspec
import pytest

from tests.samples import private_key
from wireguard_mesh.client.options import Flags, lasting, machine, settings
from wireguard_mesh.client.state import ClientState
from wireguard_mesh.core.exit_nodes import ExitMode, ExitPolicy
from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.model.names import InterfaceName, parse_hostname
from wireguard_mesh.model.servers import ServerAddress

STATE = ClientState(private_key=private_key(1), hostname="one", exit_node=True)


def test_flags_not_given_leave_what_is_on_disk() -> None:
    assert lasting(STATE, Flags()) == STATE


def test_flags_given_hold_from_then_on() -> None:
    flags = Flags(
        server=ServerAddress.parse("http://x"),
        interface=InterfaceName("mesh0"),
        listen_port=0,
        exit_node=False,
        use_exit_node=ExitPolicy.parse("gate"),
        hostname=parse_hostname("two"),
    )
    state = lasting(STATE, flags)
    assert (state.server, state.interface, state.listen_port) == (flags.server, "mesh0", 0)
    assert (state.exit_node, state.use_exit_node, state.hostname) == (False, "gate", "two")


def test_the_engine_gets_both() -> None:
    state = msgspec.structs.replace(STATE, use_exit_node="gate")
    made = settings(state, Flags(keepalive=0, mtu=1300))
    assert (made.interface, made.keepalive, made.mtu, made.offers_exit_node) == ("wg0", 0, 1300, True)
    assert made.exit_policy == ExitPolicy(ExitMode.PEER, "gate")


def test_nonsense_on_disk_is_refused() -> None:
    with pytest.raises(InvalidValue):
        settings(msgspec.structs.replace(STATE, use_exit_node=""), Flags())
    with pytest.raises(InvalidValue):
        machine(msgspec.structs.replace(STATE, hostname="not a name"))


def test_a_machine_has_the_name_given_or_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine(STATE).hostname == "one"
    monkeypatch.setattr(socket, "gethostname", lambda: "Ann's Box")
    found = machine(msgspec.structs.replace(STATE, hostname=""))
    assert (found.hostname, found.os, found.exit_node) == ("anns-box", "linux", True)
