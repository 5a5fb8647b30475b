"""The kernel backend's errors; its contract on a real kernel is tests/kernel/test_kernel_backend.py."""

import errno
from typing import cast

import pytest

from wireguard_mesh.model.devices import DeviceChange
from wireguard_mesh.model.errors import Conflict, MeshError, NotFound, NotPermitted, Unavailable, Unsupported
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.netlink.connection import NetlinkConnection, NetlinkError
from wireguard_mesh.netlink.records import Link
from wireguard_mesh.netlink.rtnetlink import Rtnetlink
from wireguard_mesh.wireguard.kernel import KernelBackend

WG0 = InterfaceName("wg0")


class Refusing:
    """Both sockets of a kernel that says one errno to every change; `links` are what it has."""

    def __init__(self, code: int, *links: Link) -> None:
        self.code = code
        self.links = {link.name: link for link in links}
        self.deleted: list[int] = []

    def link(self, name: str) -> Link | None:
        return self.links.get(name)

    def create_link(self, _name: str, _kind: str, _mtu: int) -> None:
        self.refuse()

    def delete_link(self, index: int) -> None:
        self.deleted.append(index)
        self.refuse()

    def request(self, _kind: int, _payload: bytes) -> list[bytes]:
        self.refuse()
        return []

    def dump(self, _kind: int, _payload: bytes) -> list[bytes]:
        self.refuse()
        return [b"\0\0\0\0\xff\xff\0\0"]

    def refuse(self) -> None:
        if self.code:
            raise NetlinkError(self.code, "no")

    def close(self) -> None:
        """Nothing to close."""


OURS = Link(7, WG0, 1420, 0, "wireguard")


def backend_on(kernel: Refusing) -> KernelBackend:
    backend = KernelBackend()
    backend._routing = cast(Rtnetlink, kernel)
    backend._generic = cast(NetlinkConnection, kernel)
    return backend


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (errno.EEXIST, Conflict),
        (errno.EOPNOTSUPP, Unsupported),
        (errno.EPERM, NotPermitted),
        (errno.ENOMEM, Unavailable),
    ],
)
async def test_create(code: int, error: type[MeshError]) -> None:
    with pytest.raises(error):
        await backend_on(Refusing(code)).create(WG0, 1420)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (errno.ENODEV, NotFound),
        (errno.EOPNOTSUPP, NotFound),
        (errno.EADDRINUSE, Conflict),
        (errno.EPERM, NotPermitted),
        (errno.ENOMEM, Unavailable),
    ],
)
async def test_apply(code: int, error: type[MeshError]) -> None:
    with pytest.raises(error):
        await backend_on(Refusing(code)).apply(WG0, DeviceChange(listen_port=51820))


async def test_read() -> None:
    assert await backend_on(Refusing(0)).read(WG0) is None
    assert await backend_on(Refusing(errno.ENODEV, OURS)).read(WG0) is None
    with pytest.raises(NotPermitted, match="CAP_NET_ADMIN"):
        await backend_on(Refusing(errno.EPERM, OURS)).read(WG0)
    with pytest.raises(Unavailable):
        await backend_on(Refusing(0, OURS)).read(WG0)


async def test_remove_touches_only_wireguard_links() -> None:
    kernel = Refusing(errno.ENODEV, Link(3, WG0, 1500, 0, "bridge"))
    await backend_on(kernel).remove(WG0)
    assert not kernel.deleted
    kernel = Refusing(errno.ENODEV, OURS)
    await backend_on(kernel).remove(WG0)
    assert kernel.deleted == [7]
    with pytest.raises(NotPermitted):
        await backend_on(Refusing(errno.EPERM, OURS)).remove(WG0)
    await backend_on(kernel).close()
