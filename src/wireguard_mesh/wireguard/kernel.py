"""WireGuard in the kernel: links by rtnetlink, keys and peers by generic netlink. No other program is needed."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Sequence
from typing import Final

from wireguard_mesh.model.devices import BackendKind, DeviceChange, ObservedDevice
from wireguard_mesh.model.errors import Conflict, InvalidValue, MeshError, NotFound, Unavailable, Unsupported
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.netlink.connection import NETLINK_GENERIC, NetlinkConnection, NetlinkError
from wireguard_mesh.netlink.rtnetlink import Rtnetlink
from wireguard_mesh.wireguard.kernel_messages import (
    GENL_ID_CTRL,
    decode_device,
    decode_family,
    encode_family_request,
    encode_get,
    encode_set,
)
from wireguard_mesh.wireguard.stepping import in_steps, to_the_end

LINK_KIND: Final = "wireguard"
# Seconds that the kernel is given to send what a step asked for, which it does in a work queue. Measured on one slow
# processor (User Mode Linux) that carried 20 Mbit/s: of 100 packets 79 left in time with 0, 98 with this.
PROBE_GAP: Final = 0.0002
_NO_SUPPORT: Final = frozenset({errno.EOPNOTSUPP, errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT, errno.ENOENT})
_GONE: Final = frozenset({errno.ENODEV, errno.EOPNOTSUPP})  # the latter: another kind of link has the name
_GET_MODULE: Final = "run 'modprobe wireguard', use a kernel of 5.6 or later, or choose -backend userspace"


class KernelBackend:
    """Kernel WireGuard devices of the network namespace where the backend is first used. Its sockets are kept open."""

    kind: Final = BackendKind.KERNEL

    def __init__(self) -> None:
        self._routing: Rtnetlink | None = None
        self._generic: NetlinkConnection | None = None
        self._family = 0

    async def create(self, name: InterfaceName, mtu: int) -> None:
        """See `Backend.create`. The kernel loads its module by itself."""
        try:
            self._links().create_link(name, LINK_KIND, mtu)
        except NetlinkError as error:
            if error.errno == errno.EEXIST:
                hint = "choose another with -interface"
                raise Conflict(f"an interface named {name} stands already", hint) from None
            if error.errno in _NO_SUPPORT:
                raise Unsupported("this kernel has no WireGuard", _GET_MODULE) from None
            raise error.as_mesh_error(f"the interface {name} cannot be made") from error

    async def read(self, name: InterfaceName) -> ObservedDevice | None:
        """See `Backend.read`."""
        try:
            link = self._links().link(name)
            if link is None or link.kind != LINK_KIND:
                return None
            payloads = self._wireguard().dump(self._family, encode_get(name))
            return decode_device(name, payloads)
        except NetlinkError as error:
            if error.errno in _GONE:
                return None
            raise error.as_mesh_error(f"the interface {name} cannot be read") from error
        except InvalidValue as error:
            raise Unavailable(error.message) from None

    async def apply(self, name: InterfaceName, change: DeviceChange) -> None:
        """See `Backend.apply`. Lets others run between its messages."""
        for message in encode_set(name, change):
            try:
                self._wireguard().request(self._family, message)
            except NetlinkError as error:
                raise self._apply_error(name, change, error) from error
            await asyncio.sleep(0)

    async def probe(self, name: InterfaceName, steps: Sequence[DeviceChange]) -> None:
        """See `Backend.probe`."""

        def apply(change: DeviceChange) -> None:
            try:
                for message in encode_set(name, change):
                    self._wireguard().request(self._family, message)
            except NetlinkError as error:
                raise self._apply_error(name, change, error) from error

        await to_the_end(lambda: in_steps(apply, steps, PROBE_GAP))

    def _apply_error(self, name: InterfaceName, change: DeviceChange, error: NetlinkError) -> MeshError:
        if error.errno in _GONE:
            return NotFound(f"there is no WireGuard interface {name}")
        if error.errno == errno.EADDRINUSE:
            return Conflict(f"UDP port {change.listen_port} is in use", "choose another with -listen-port")
        return error.as_mesh_error(f"the kernel refused a change of {name}")

    async def remove(self, name: InterfaceName) -> None:
        """See `Backend.remove`."""
        try:
            link = self._links().link(name)
            if link is not None and link.kind == LINK_KIND:
                self._links().delete_link(link.index)
        except NetlinkError as error:
            if error.errno != errno.ENODEV:
                raise error.as_mesh_error(f"the interface {name} cannot be removed") from error

    async def close(self) -> None:
        """See `Backend.close`."""
        if self._routing is not None:
            self._routing.close()
        if self._generic is not None:
            self._generic.close()
        self._routing = self._generic = None

    def _links(self) -> Rtnetlink:
        if self._routing is None:
            self._routing = Rtnetlink()
        return self._routing

    def _wireguard(self) -> NetlinkConnection:
        if self._generic is None:
            connection = NetlinkConnection(NETLINK_GENERIC)
            try:
                answer = connection.request(GENL_ID_CTRL, encode_family_request())
                self._family = decode_family(answer[0])
            except NetlinkError as error:
                connection.close()
                if error.errno in _NO_SUPPORT:
                    raise Unsupported("this kernel has no WireGuard", _GET_MODULE) from None
                raise
            self._generic = connection
        return self._generic
