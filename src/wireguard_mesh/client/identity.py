"""Which identity an agent starts with: the one on disk, a new one, or none until the user has said what is meant."""

from __future__ import annotations

import logging
from collections.abc import Callable

import msgspec

from wireguard_mesh.client.options import Flags, lasting
from wireguard_mesh.client.state import ClientState, StateFolder
from wireguard_mesh.model.errors import Conflict, InvalidValue, MeshError
from wireguard_mesh.model.keys import KEY_LENGTH, PrivateKey, PublicKey
from wireguard_mesh.model.servers import ServerAddress

_NO_SERVER = ("no server is known yet", "say which: vpn-client -server http://SERVER:8080")
_REPLACED, _LEFT = "replaced", "left"  # in the names of identities that are kept aside

log = logging.getLogger(__name__)


class Consent(msgspec.Struct, frozen=True):
    """What the user agreed to on the command line. `another_server`: leave the mesh of the server before."""

    another_server: bool = False
    new_identity: bool = False
    new_server_key: bool = False


class Surroundings(msgspec.Struct, frozen=True):
    """What a decision needs of the world.

    `random` gives so many secure bytes, `wall` Unix time. `ask` puts a question to be answered with yes or no; None
    where nobody is there to answer. `key_of` asks a server for its key, and raises `MeshError` if it cannot.
    """

    random: Callable[[int], bytes]
    wall: Callable[[], float]
    ask: Callable[[str], bool] | None
    key_of: Callable[[ServerAddress], PublicKey]


def settle(folder: StateFolder, flags: Flags, consent: Consent, world: Surroundings) -> ClientState:
    """The identity to start with, as it then is on disk too: all is judged before anything is written.

    Raises `Conflict` for an identity that cannot be read, or for another server than before without the user's
    consent; `InvalidValue` if no server is known; `Unavailable` if the disk does not let us.
    """
    known, is_readable = _load(folder, consent)
    kept_as = "" if is_readable else _REPLACED
    state = known or ClientState(private_key=_new_key(world))
    if known is not None and consent.new_identity:
        state, kept_as = _renewed(known, flags.server or known.server, world), _REPLACED
    elif known is not None and not _stays(known, flags.server, consent, world):
        state, kept_as = _renewed(known, flags.server, world), _LEFT
    if consent.new_server_key:
        state = msgspec.structs.replace(state, server_public_key=None)
    state = lasting(state, flags)
    if state.server is None:
        raise InvalidValue(*_NO_SERVER)
    if kept_as:
        log.info("the old identity is kept as %s", folder.keep_aside(kept_as, world.wall()))
    if state != known:
        folder.save(state)
    return state


def _load(folder: StateFolder, consent: Consent) -> tuple[ClientState | None, bool]:
    """The identity on disk, if there is one, and False for one that cannot be read but may be replaced."""
    try:
        return folder.load(), True
    except Conflict:
        if not consent.new_identity:
            raise
        return None, False


def _renewed(known: ClientState, server: ServerAddress | None, world: Surroundings) -> ClientState:
    """The user's settings with a new key. What is known of the server stays if it is the same."""
    fresh = msgspec.structs.replace(known, private_key=_new_key(world), peer_id="", assigned_ip=None)
    if server == known.server:
        return fresh
    return msgspec.structs.replace(fresh, server=server, server_public_key=None, server_ips=())


def _stays(state: ClientState, server: ServerAddress | None, consent: Consent, world: Surroundings) -> bool:
    """Whether the identity is for that server too: it is the same one, or it never joined another.

    Raises `Conflict` if it is not, and the user does not agree to leave the old one.
    """
    if server is None or state.server is None or server == state.server:
        return True
    if not consent.another_server and state.server.secure and not server.secure:
        raise Conflict(
            f"this machine joined by {state.server}, and {server} is not protected by TLS",
            "give the https:// address, or -force to join it as another server",
        )
    if state.server_public_key is None or _is_same(state.server_public_key, server, consent, world):
        return True
    question = f"This machine belongs to the mesh of {state.server}. Leave it, and join that of {server}?"
    if not (consent.another_server or (world.ask is not None and world.ask(question))):
        raise Conflict(
            f"this machine belongs to the mesh of {state.server}, and {server} is another server",
            "to leave the one and join the other say -force",
        )
    return False


def _is_same(key: PublicKey, server: ServerAddress, consent: Consent, world: Surroundings) -> bool:
    try:
        return world.key_of(server) == key
    except MeshError as error:
        if consent.another_server:
            return False
        raise Conflict(
            f"{error.message}, so it cannot be told whether {server} is the server of this machine's mesh",
            "check -server; to leave that mesh and join another say -force",
        ) from None


def _new_key(world: Surroundings) -> PrivateKey:
    return PrivateKey.generate(world.random(KEY_LENGTH))
