"""Which identity an agent starts with: the one on disk, a new one, or none until the user has said what is meant."""

from __future__ import annotations

import logging
from collections.abc import Callable

import msgspec

from wireguard_mesh.client.options import Flags, lasting
from wireguard_mesh.client.state import ClientState, StateFolder
from wireguard_mesh.model.errors import Conflict, InvalidValue, MeshError
from wireguard_mesh.model.keys import PrivateKey, PublicKey
from wireguard_mesh.model.servers import ServerAddress

_NO_SERVER = ("no server is known yet", "say which: vpn-client -server http://SERVER:8080")

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
    """The identity to start with, as it then is on disk too.

    Raises `Conflict` for an identity that cannot be read, or for another server than before without the user's
    consent; `InvalidValue` if no server is known; `Unavailable` if the disk does not let us.
    """
    if consent.new_identity and folder.path.exists():
        log.info("the old identity is kept as %s", folder.set_aside("replaced", world.wall()))
    state = folder.load()
    if state is None:
        if flags.server is None:
            raise InvalidValue(*_NO_SERVER)
        state = ClientState(private_key=_new_key(world))
    elif flags.server is not None and state.server is not None and flags.server != state.server:
        state = _move(folder, state, flags.server, consent, world)
    if consent.new_server_key:
        state = msgspec.structs.replace(state, server_public_key=None)
    wanted = lasting(state, flags)
    if wanted.server is None:
        raise InvalidValue(*_NO_SERVER)
    if wanted != folder.load():
        folder.save(wanted)
    return wanted


def _move(
    folder: StateFolder, state: ClientState, server: ServerAddress, consent: Consent, world: Surroundings
) -> ClientState:
    """The identity for a server at another address than before: the same if it is the same server."""
    assert state.server is not None
    if not consent.another_server and state.server.secure and not server.secure:
        raise Conflict(
            f"this machine joined by {state.server}, and {server} is not protected by TLS",
            "give the https:// address, or -force to join it as another server",
        )
    if state.server_public_key is None or _is_same(state.server_public_key, server, consent, world):
        return state
    question = f"This machine belongs to the mesh of {state.server}. Leave it, and join that of {server}?"
    if not (consent.another_server or (world.ask is not None and world.ask(question))):
        raise Conflict(
            f"this machine belongs to the mesh of {state.server}, and {server} is another server",
            "to leave the one and join the other say -force",
        )
    log.info("the old identity is kept as %s", folder.set_aside("left", world.wall()))
    return ClientState(
        private_key=_new_key(world),
        interface=state.interface,
        listen_port=state.listen_port,
        exit_node=state.exit_node,
        use_exit_node=state.use_exit_node,
        hostname=state.hostname,
    )


def _is_same(key: PublicKey, server: ServerAddress, consent: Consent, world: Surroundings) -> bool:
    try:
        return world.key_of(server) == key
    except MeshError as error:
        if consent.another_server:
            return False
        raise Conflict(
            f"this machine belongs to the mesh of another address, and {error.message}, so it cannot be told"
            f" whether {server} is the same server",
            "to join it as another one say -force",
        ) from None


def _new_key(world: Surroundings) -> PrivateKey:
    return PrivateKey.generate(world.random(32))
