"""Whose an interface is, in each way that it can stand."""

import msgspec
import pytest

from tests.client.conftest import WG0
from tests.samples import private_key
from wireguard_mesh.client.ownership import is_ours, not_ours, stands_foreign
from wireguard_mesh.model.devices import DeviceChange, ObservedDevice
from wireguard_mesh.model.errors import Unavailable
from wireguard_mesh.system.fake import FakeSystem
from wireguard_mesh.wireguard.fake import FakeBackend


async def standing(backend: FakeBackend, number: int) -> ObservedDevice:
    await backend.create(WG0, 1420)
    await backend.apply(WG0, DeviceChange(private_key=private_key(number)))
    return backend.devices[WG0]


async def test_by_its_key_it_is_ours() -> None:
    backend, system = FakeBackend(), FakeSystem()
    device = await standing(backend, 1)
    assert await is_ours(device, private_key(1), system)
    assert not await stands_foreign(WG0, private_key(1), backend, system)
    assert not await is_ours(device, private_key(2), system)
    assert await stands_foreign(WG0, private_key(2), backend, system)


async def test_without_a_key_it_is_ours_if_we_made_it() -> None:
    backend, system = FakeBackend(), FakeSystem()
    device = msgspec.structs.replace(await standing(backend, 1), private_key=None)
    assert not await is_ours(device, private_key(1), system)
    await system.prepare(WG0)
    assert await is_ours(device, private_key(1), system)


@pytest.mark.parametrize("exists", [False, True])
async def test_what_is_no_wireguard_is_somebody_elses(exists: bool) -> None:
    system = FakeSystem()
    if exists:
        system.interfaces.add(WG0)
    assert await stands_foreign(WG0, private_key(1), None, system) is exists
    assert await stands_foreign(WG0, private_key(1), FakeBackend(), system) is exists


async def test_a_program_that_hangs_leaves_it_to_the_system() -> None:
    backend, system = FakeBackend(), FakeSystem()
    await standing(backend, 2)
    backend.fail("read", Unavailable("it hangs"))
    assert not await stands_foreign(WG0, private_key(1), backend, system)


def test_what_to_say_of_it() -> None:
    assert "-interface" in str(not_ours(WG0))
