"""Which backend a machine gets."""

from pathlib import Path

import pytest

from wireguard_mesh.model.devices import BackendChoice, BackendKind, ObservedDevice
from wireguard_mesh.model.errors import NotPermitted, Unavailable, Unsupported
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.wireguard import choose as module
from wireguard_mesh.wireguard.choose import choose
from wireguard_mesh.wireguard.fake import FakeBackend

WG0 = InterfaceName("wg0")


class Machine:
    """What a machine has: both backends as fakes, the program or not."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.kernel = FakeBackend(BackendKind.KERNEL)
        self.userspace = FakeBackend(BackendKind.USERSPACE)
        monkeypatch.setattr(module, "KernelBackend", lambda: self.kernel)
        monkeypatch.setattr(module, "UserspaceBackend", lambda: self.userspace)
        monkeypatch.setattr(module, "check_machine", self.check)
        self.has_program = True

    def check(self, tun: Path | None = None) -> str:
        if not self.has_program:
            raise Unsupported("wireguard-go is not installed")
        return str(tun)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


async def test_the_kernels_comes_first_and_its_trial_leaves_nothing(machine: Machine) -> None:
    assert await choose(WG0) is machine.kernel
    assert not machine.kernel.devices
    assert not machine.kernel.closed
    assert machine.userspace.closed


async def test_wireguard_go_where_the_kernel_has_none(machine: Machine) -> None:
    machine.kernel.fail("create", Unsupported("no module"))
    assert await choose(WG0) is machine.userspace
    assert machine.kernel.closed


async def test_what_is_forced_is_taken_or_refused(machine: Machine) -> None:
    assert await choose(WG0, "userspace") is machine.userspace
    machine.kernel.fail("create", Unsupported("no module"))
    with pytest.raises(Unsupported, match="no module"):
        await choose(WG0, "kernel")
    assert machine.kernel.closed
    assert machine.userspace.closed


async def test_nothing_at_all_names_the_package(machine: Machine) -> None:
    machine.kernel.fail("create", Unsupported("no module"))
    machine.has_program = False
    with pytest.raises(Unsupported, match="wireguard-go"):
        await choose(WG0)


@pytest.mark.parametrize("choice", ["auto", "kernel", "userspace"])
@pytest.mark.parametrize("kind", BackendKind)
async def test_who_has_the_interface_keeps_it(machine: Machine, choice: BackendChoice, kind: BackendKind) -> None:
    backend = machine.kernel if kind is BackendKind.KERNEL else machine.userspace
    backend.devices[WG0] = ObservedDevice(name=WG0, backend=kind)
    machine.has_program = False
    assert await choose(WG0, choice) is backend


async def test_a_backend_that_cannot_say_has_no_interface_but_without_privilege_all_ends(machine: Machine) -> None:
    machine.kernel.fail("read", Unavailable("busy"))
    assert await choose(WG0) is machine.kernel
    machine.userspace.fail("read", NotPermitted("not root"))
    with pytest.raises(NotPermitted):
        await choose(WG0)
