"""Commands to the mesh, and what those that a peer gives of itself make of its record."""

from __future__ import annotations

import msgspec

from wireguard_mesh.core.snapshot import Record
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.errors import NotPermitted
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.names import Hostname
from wireguard_mesh.model.relays import NatClass, Relay, RelayDistance, RelayId


class Register(msgspec.Struct, frozen=True, kw_only=True):
    """Join, or say anew what a machine is. What is None stays as it stands.

    `random` are `registry.PEER_ID_RANDOM_LENGTH` bytes, for the id of a new peer.
    """

    public_key: PublicKey
    signed: bool
    hostname: Hostname
    os: str
    exit_node: bool
    random: bytes
    endpoints: tuple[Endpoint, ...] | None = None
    mapped: tuple[Endpoint, ...] | None = None
    distances: tuple[RelayDistance, ...] | None = None
    version: str | None = None
    allocate: bool = True


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True):
    """A machine lives. None leaves what stands."""

    public_key: PublicKey
    signed: bool
    endpoints: tuple[Endpoint, ...] | None = None
    mapped: tuple[Endpoint, ...] | None = None
    distances: tuple[RelayDistance, ...] | None = None
    exit_node: bool | None = None


class Observe(msgspec.Struct, frozen=True, kw_only=True):
    """Relays hear a machine from these endpoints, and make that of its NAT. No sign of life: that is a heartbeat's."""

    public_key: PublicKey
    reflexive: tuple[Endpoint, ...]
    nat: NatClass


class Leave(msgspec.Struct, frozen=True, kw_only=True):
    """A machine goes for good, and gives its addresses back."""

    public_key: PublicKey
    signed: bool


class MarkOffline(msgspec.Struct, frozen=True, kw_only=True):
    """No heartbeat came in time. One that is offline already is passed over, one that is gone is `NotFound`."""

    public_key: PublicKey


class PutRelay(msgspec.Struct, frozen=True, kw_only=True):
    """There is such a relay. A relay has one name: another one that its key had is forgotten.

    `by_force`: in place of a relay of this name with another key, too; else that is a `Conflict`.
    """

    relay: Relay
    by_force: bool = False


class DropRelay(msgspec.Struct, frozen=True, kw_only=True):
    """A relay is no more. `NotFound` if there is none."""

    id: RelayId


PeerCommand = Register | Heartbeat | Observe | Leave | MarkOffline
RelayCommand = PutRelay | DropRelay
Command = PeerCommand | RelayCommand


def heartbeat_changes(record: Record, command: Heartbeat) -> bool:
    """Whether a heartbeat has anything to write: most have not, and need not wait for the writer.

    Raises `NotPermitted` for a plain one of a key that signs.
    """
    return after_heartbeat(record, command) != record


def says_anew(record: Record, command: Register | Heartbeat) -> bool:
    """Whether a peer says something else of itself than it did, which all others are told."""
    after = after_heartbeat(record, command) if isinstance(command, Heartbeat) else after_register(record, command)
    return msgspec.structs.replace(after.peer, online=record.peer.online) != record.peer


def after_heartbeat(record: Record, command: Heartbeat) -> Record:
    """The record once that is carried out. Raises `NotPermitted` as `heartbeat_changes`."""
    check_signed(record, command.signed)
    peer = record.peer
    after = msgspec.structs.replace(
        peer,
        online=True,
        endpoints=peer.endpoints if command.endpoints is None else command.endpoints,
        mapped=peer.mapped if command.mapped is None else command.mapped,
        distances=peer.distances if command.distances is None else command.distances,
        exit_node=peer.exit_node if command.exit_node is None else command.exit_node,
    )
    return msgspec.structs.replace(record, peer=after, signed=record.signed or command.signed)


def after_register(record: Record, command: Register) -> Record:
    """The record of a key that registers again. Raises `NotPermitted` for a plain registration of one that signs."""
    check_signed(record, command.signed)
    peer = record.peer
    after = msgspec.structs.replace(
        peer,
        hostname=command.hostname,
        os=command.os,
        exit_node=command.exit_node,
        endpoints=peer.endpoints if command.endpoints is None else command.endpoints,
        mapped=peer.mapped if command.mapped is None else command.mapped,
        distances=peer.distances if command.distances is None else command.distances,
        online=True,
    )
    return msgspec.structs.replace(
        record,
        peer=after,
        signed=record.signed or command.signed,
        version=record.version if command.version is None else command.version,
    )


def after_observe(record: Record, command: Observe) -> Record:
    """The record once that is carried out."""
    peer = msgspec.structs.replace(record.peer, reflexive=command.reflexive, nat=command.nat)
    return msgspec.structs.replace(record, peer=peer)


def check_signed(record: Record, signed: bool) -> None:
    """Raises `NotPermitted` for a plain request about a key that has signed one."""
    if record.signed and not signed:
        raise NotPermitted("this peer signs its requests, and a plain one cannot speak for it")
