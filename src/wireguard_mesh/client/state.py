"""What the agent keeps on disk: its identity in `client.json`, its last map in `map.json`, in a folder of its own.

Files are replaced whole and at once, readable for their owner only. What cannot be read is never overwritten.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Final

import msgspec

from wireguard_mesh.client import files
from wireguard_mesh.core import netmap
from wireguard_mesh.core.exit_nodes import ExitPolicy
from wireguard_mesh.core.wanted import DEFAULT_LISTEN_PORT
from wireguard_mesh.model.endpoints import MAX_PORT, Address
from wireguard_mesh.model.errors import InvalidValue, MeshError
from wireguard_mesh.model.keys import PrivateKey, PublicKey
from wireguard_mesh.model.names import InterfaceName, parse_hostname, parse_interface_name
from wireguard_mesh.model.peers import NetworkMap
from wireguard_mesh.model.servers import ServerAddress
from wireguard_mesh.protocol.api import MapUpdate
from wireguard_mesh.protocol.codec import Decoder, encode, encode_readable

FILE: Final = "client.json"
MAP_FILE: Final = "map.json"
DEFAULT_INTERFACE: Final = InterfaceName("wg0")


class ClientState(msgspec.Struct, frozen=True, kw_only=True):
    """This machine's identity and the user's lasting decisions."""

    private_key: PrivateKey
    server: ServerAddress | None = None
    interface: InterfaceName = DEFAULT_INTERFACE
    peer_id: str = ""
    assigned_ip: IPv4Address | None = None
    exit_node: bool = False
    listen_port: int = DEFAULT_LISTEN_PORT
    use_exit_node: str = "auto"
    hostname: str = ""
    server_public_key: PublicKey | None = None
    server_ips: tuple[Address, ...] = ()


class _File(msgspec.Struct, kw_only=True):
    """`client.json`. The fields up to `listen_port` are fixed: other programs know them."""

    server_addr: str
    interface_name: str
    private_key: str
    public_key: str
    peer_id: str
    assigned_ip: str
    exit_node: bool
    listen_port: int
    use_exit_node: str = "auto"
    hostname: str = ""
    server_public_key: str = ""
    server_ips: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return "_File(redacted)"


class _MapFile(msgspec.Struct, kw_only=True):
    """`map.json`: the last map, of the peer and the server whose keys it names."""

    public_key: PublicKey
    server_public_key: PublicKey
    map: MapUpdate


_file: Decoder[_File] = Decoder(_File)
_map_file: Decoder[_MapFile] = Decoder(_MapFile)


class StateFolder:
    """The folder, and the name of the identity's file in it."""

    def __init__(self, folder: Path, file: str = FILE) -> None:
        self.folder = folder
        self.path = folder / file
        stem = file.removesuffix(".json")
        self.map_path = folder / (MAP_FILE if file == FILE else f"{stem}.{MAP_FILE}")
        self.log_path = folder / f"{stem}.log"

    @property
    def lock_path(self) -> Path:
        """What the agent with this identity holds locked as long as it runs."""
        return self.path.with_suffix(".lock")

    @classmethod
    def at(cls, place: Path) -> StateFolder:
        """`place` is a folder, or a file whose name ends in `.json`."""
        return cls(*files.place_of(place, FILE))

    def make(self) -> None:
        """Make the folder, for its owner only. Raises `Unavailable`."""
        files.make_folder(self.folder)

    def load(self) -> ClientState | None:
        """The identity, or None if there is none yet. Raises `Conflict` for one that cannot be read."""
        return files.read_identity(
            self.path,
            lambda data: _from_file(_file.decode(data)),
            holds="this machine's key",
            advice="repair it, or keep it aside and make a new key with -new-identity",
        )

    def save(self, state: ClientState) -> None:
        """Replace the identity's file. Raises `Unavailable` if the disk does not let us."""
        files.replace(self.path, encode_readable(_to_file(state)).encode())

    def load_map(self, public_key: PublicKey, server_key: PublicKey | None) -> NetworkMap | None:
        """The last map, if there is one of this peer and this server that can be read."""
        try:
            data = files.read(self.map_path)
            kept = _map_file.decode(data) if data is not None else None
            if kept is None or kept.public_key != public_key or kept.server_public_key != server_key:
                return None
            return netmap.apply(None, kept.map, public_key)
        except MeshError:
            return None  # it is a copy; the server has the original

    def save_map(self, network_map: NetworkMap, public_key: PublicKey, server_key: PublicKey) -> None:
        """Replace the last map. Raises `Unavailable` if the disk does not let us."""
        kept = _MapFile(public_key=public_key, server_public_key=server_key, map=netmap.whole(network_map))
        files.replace(self.map_path, encode(kept))

    def keep_aside(self, why: str, wall: float) -> Path:
        """Keep a copy of the identity's file, whatever is in it, under another name. Returns that."""
        data = files.read(self.path) or b""
        aside = self.path.with_name(f"{self.path.name}.{why}-{int(wall)}")
        number = 0
        while aside.exists():
            number += 1
            aside = self.path.with_name(f"{self.path.name}.{why}-{int(wall)}-{number}")
        files.replace(aside, data)
        return aside

    def forget_place(self, state: ClientState) -> ClientState:
        """This machine has left the mesh: keep its key and the user's decisions, nothing of its place."""
        left = msgspec.structs.replace(state, peer_id="", assigned_ip=None)
        self.save(left)
        self.forget_map()
        return left

    def forget_map(self) -> None:
        """Take the last map away. Raises `Unavailable` if the disk does not let us."""
        files.remove(self.map_path)


def _to_file(state: ClientState) -> _File:
    return _File(
        server_addr=str(state.server or ""),
        interface_name=state.interface,
        private_key=state.private_key.to_base64(),
        public_key=state.private_key.public_key.to_base64(),
        peer_id=state.peer_id,
        assigned_ip=str(state.assigned_ip or ""),
        exit_node=state.exit_node,
        listen_port=state.listen_port,
        use_exit_node=state.use_exit_node,
        hostname=state.hostname,
        server_public_key=str(state.server_public_key or ""),
        server_ips=tuple(map(str, state.server_ips)),
    )


def _from_file(file: _File) -> ClientState:
    """Raises `InvalidValue`."""
    private_key = PrivateKey.from_base64(file.private_key)
    if private_key.public_key.to_base64() != file.public_key:
        raise InvalidValue("public_key does not belong to private_key")
    if not 0 <= file.listen_port <= MAX_PORT:
        raise InvalidValue(f"listen_port is 0 to {MAX_PORT}")
    assigned = _address("assigned_ip", file.assigned_ip) if file.assigned_ip else None
    if isinstance(assigned, IPv6Address):
        raise InvalidValue("assigned_ip is no IPv4 address")
    ExitPolicy.parse(file.use_exit_node)
    if file.hostname:
        parse_hostname(file.hostname)
    return ClientState(
        private_key=private_key,
        server=ServerAddress.parse(file.server_addr) if file.server_addr else None,
        interface=parse_interface_name(file.interface_name),
        peer_id=file.peer_id,
        assigned_ip=assigned,
        exit_node=file.exit_node,
        listen_port=file.listen_port,
        use_exit_node=file.use_exit_node,
        hostname=file.hostname,
        server_public_key=PublicKey.from_base64(file.server_public_key) if file.server_public_key else None,
        server_ips=tuple(_address("server_ips", text) for text in file.server_ips),
    )


def _address(field: str, text: str) -> Address:
    try:
        return ip_address(text)
    except ValueError:
        raise InvalidValue(f"{field} is no IP address") from None
