"""What a relay keeps on disk: its identity in `relay.json`, whom it served last in `roster.json`, the journal of its
sessions; in a folder of its own, for its owner only."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import msgspec

from wireguard_mesh.client import files
from wireguard_mesh.core.roster import Roster
from wireguard_mesh.model.endpoints import Address
from wireguard_mesh.model.errors import Conflict, InvalidValue, MeshError
from wireguard_mesh.model.keys import KEY_LENGTH, PrivateKey, PublicKey
from wireguard_mesh.model.names import PeerId
from wireguard_mesh.model.relays import OWN_RELAY, RelayId, parse_relay_id
from wireguard_mesh.model.servers import ServerAddress
from wireguard_mesh.protocol.codec import Decoder, encode, encode_readable
from wireguard_mesh.protocol.relay_keys import RelayKey

FILE: Final = "relay.json"
ROSTER_FILE: Final = "roster.json"


class RelayState(msgspec.Struct, frozen=True, kw_only=True):
    """This relay's identity and its administrator's lasting decisions. `is_member`: the server took it in once."""

    private_key: PrivateKey
    id: RelayId
    server: ServerAddress
    relay_key: RelayKey
    is_member: bool = False
    server_public_key: PublicKey | None = None
    server_ips: tuple[Address, ...] = ()


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says; None: as before. `is_new_server`: the server's key may be another than before."""

    id: RelayId | None = None
    server: ServerAddress | None = None
    relay_key: RelayKey | None = None
    is_new_server: bool = False


class _File(msgspec.Struct, kw_only=True):
    """`relay.json`."""

    id: str
    server_addr: str
    private_key: str
    public_key: str
    relay_key: str
    is_member: bool = False
    server_public_key: str = ""
    server_ips: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return "_File(redacted)"


class _RosterFile(msgspec.Struct, kw_only=True):
    """`roster.json`: of the relay and the server whose keys it names."""

    public_key: PublicKey
    server_public_key: PublicKey
    epoch: str
    revision: int
    peers: dict[str, PublicKey]


_file: Decoder[_File] = Decoder(_File)
_roster_file: Decoder[_RosterFile] = Decoder(_RosterFile)


class RelayFolder:
    """The folder, and the name of the identity's file in it."""

    def __init__(self, folder: Path, file: str = FILE) -> None:
        self.folder = folder
        self.path = folder / file
        self.roster_path = folder / (ROSTER_FILE if file == FILE else f"{file.removesuffix('.json')}.{ROSTER_FILE}")
        self.lock_path = self.path.with_suffix(".lock")
        self.journal = folder / self.path.stem  # a folder, of the relay process

    @classmethod
    def at(cls, place: Path) -> RelayFolder:
        """`place` is a folder, or a file whose name ends in `.json`."""
        return cls(*files.place_of(place, FILE))

    def make(self) -> None:
        """Make the folders, for their owner only. Raises `Unavailable`."""
        files.make_folder(self.folder)
        files.make_folder(self.journal)

    def load(self) -> RelayState | None:
        """The identity, or None if there is none yet. Raises `Conflict` for one that cannot be read."""
        return files.read_identity(
            self.path,
            lambda data: _from_file(_file.decode(data)),
            holds="this relay's key",
            advice="repair it, or move it away to make a new one",
        )

    def save(self, state: RelayState) -> None:
        """Replace the identity's file. Raises `Unavailable` if the disk does not let us."""
        files.replace(self.path, encode_readable(_to_file(state)).encode())

    def load_roster(self, state: RelayState) -> Roster | None:
        """Whom this relay served last for this server, if that can be read."""
        try:
            data = files.read(self.roster_path)
            kept = _roster_file.decode(data) if data is not None else None
        except MeshError:
            return None  # it is a copy; the server has the original
        is_ours = kept is not None and kept.public_key == state.private_key.public_key
        if kept is None or not is_ours or kept.server_public_key != state.server_public_key:
            return None
        peers = {PeerId(peer_id): key for peer_id, key in kept.peers.items()}
        return Roster(epoch=kept.epoch, revision=kept.revision, peers=peers)

    def save_roster(self, roster: Roster, state: RelayState) -> None:
        """Replace the last roster. Raises `Unavailable` if the disk does not let us."""
        assert state.server_public_key is not None
        kept = _RosterFile(
            public_key=state.private_key.public_key,
            server_public_key=state.server_public_key,
            epoch=roster.epoch,
            revision=roster.revision,
            peers={str(peer_id): key for peer_id, key in roster.peers.items()},
        )
        files.replace(self.roster_path, encode(kept))


def settle(
    folder: RelayFolder, given: Given, own_name: Callable[[], RelayId], random: Callable[[int], bytes]
) -> RelayState:
    """The identity to start with, as it then is on disk too. `own_name` names a relay that gets no name.

    Raises `InvalidValue` if server or relay key are not known or the name is taken, `Conflict` for an identity that
    cannot be read or a server that is no longer protected, `Unavailable` if the disk does not let us.
    """
    if given.id == OWN_RELAY:
        # The server would refuse it, when it is on disk already and later starts have it too.
        raise InvalidValue(f"{OWN_RELAY} is the name of the server's own relay", "choose another one, as fra-1")
    known = folder.load()
    server = given.server or (known.server if known else None)
    relay_key = given.relay_key or (known.relay_key if known else None)
    if server is None:
        raise InvalidValue("no server is known yet", "say which: vpn-relay -server http://SERVER:8080")
    if relay_key is None:
        raise InvalidValue("no relay key is known yet", "'vpn-server relay-key' prints it; give it with -key-file FILE")
    if known is None:
        private_key = PrivateKey.generate(random(KEY_LENGTH))
        state = RelayState(private_key=private_key, id=given.id or own_name(), server=server, relay_key=relay_key)
    else:
        state = _changed(known, given, server, relay_key)
    if state != known:
        folder.save(state)
    return state


def _changed(known: RelayState, given: Given, server: ServerAddress, relay_key: RelayKey) -> RelayState:
    if known.server.secure and not server.secure:
        raise Conflict(
            f"this relay joined by {known.server}, and {server} is not protected by TLS", "give the https:// address"
        )
    state = msgspec.structs.replace(known, id=given.id or known.id, server=server, relay_key=relay_key)
    if given.is_new_server:
        state = msgspec.structs.replace(state, server_public_key=None, is_member=False)
    if server.host != known.server.host:
        state = msgspec.structs.replace(state, server_ips=())
    return state


def _to_file(state: RelayState) -> _File:
    return _File(
        id=state.id,
        server_addr=str(state.server),
        private_key=state.private_key.to_base64(),
        public_key=state.private_key.public_key.to_base64(),
        relay_key=state.relay_key.to_text(),
        is_member=state.is_member,
        server_public_key=str(state.server_public_key or ""),
        server_ips=tuple(map(str, state.server_ips)),
    )


def _from_file(file: _File) -> RelayState:
    """Raises `InvalidValue`."""
    private_key = PrivateKey.from_base64(file.private_key)
    if private_key.public_key.to_base64() != file.public_key:
        raise InvalidValue("public_key does not belong to private_key")
    return RelayState(
        private_key=private_key,
        id=parse_relay_id(file.id),
        server=ServerAddress.parse(file.server_addr),
        relay_key=RelayKey.parse(file.relay_key),
        is_member=file.is_member,
        server_public_key=PublicKey.from_base64(file.server_public_key) if file.server_public_key else None,
        server_ips=tuple(_address(text) for text in file.server_ips),
    )


def _address(text: str) -> Address:
    try:
        return ip_address(text)
    except ValueError:
        raise InvalidValue("server_ips has what is no IP address") from None
