"""The kernel backend on a real kernel: run by `python -m lab.kernel test`, inside the test kernel."""

import pytest

from tests.wireguard.contract import CHECKS, NAME, check_adoption
from wireguard_mesh.model.devices import BackendKind, DeviceChange
from wireguard_mesh.model.errors import NotFound
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.wireguard.choose import choose
from wireguard_mesh.wireguard.kernel import KernelBackend


@pytest.mark.parametrize("check", [*CHECKS, check_adoption])
async def test_contract(check: object) -> None:
    assert callable(check)
    backend = KernelBackend()
    try:
        await check(backend)
    finally:
        await backend.remove(NAME)
        await backend.close()


async def test_the_kernel_is_chosen_where_it_has_wireguard() -> None:
    backend = await choose(InterfaceName("wg9"))
    assert backend.kind is BackendKind.KERNEL
    assert await backend.read(InterfaceName("wgmesh-trial")) is None
    await backend.close()


async def test_another_kind_of_interface_is_not_ours() -> None:
    backend = KernelBackend()
    assert await backend.read(InterfaceName("lo")) is None
    await backend.remove(InterfaceName("lo"))
    with pytest.raises(NotFound):
        await backend.apply(InterfaceName("lo"), DeviceChange(fwmark=1))
    await backend.close()
