from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tests.samples import private_key, public_key
from wireguard_mesh.client.identity import Consent, Surroundings, settle
from wireguard_mesh.client.options import Flags
from wireguard_mesh.client.state import ClientState, StateFolder
from wireguard_mesh.model.errors import Conflict, InvalidValue, MeshError, Unavailable
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.model.servers import ServerAddress

OLD, NEW = ServerAddress.parse("http://old"), ServerAddress.parse("http://new")
JOINED = ClientState(
    private_key=private_key(1), server=OLD, peer_id="peer-000001", server_public_key=public_key(9), hostname="one"
)
NO = Consent()


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    return StateFolder(tmp_path)


def world(
    answer: bool | None = None, key: PublicKey | MeshError | None = None, asked: list[str] | None = None
) -> Surroundings:
    def ask(question: str) -> bool:
        if asked is not None:
            asked.append(question)
        return bool(answer)

    def key_of(_server: ServerAddress) -> PublicKey:
        if isinstance(key, PublicKey):
            return key
        raise key or AssertionError("nobody is to be asked")

    ask_or_none: Callable[[str], bool] | None = None if answer is None else ask
    return Surroundings(lambda count: b"\x07" * count, lambda: 1000.0, ask_or_none, key_of)


def kept(folder: StateFolder) -> list[str]:
    return sorted(path.name for path in folder.folder.iterdir() if path != folder.path)


def test_the_first_start_makes_a_key_and_keeps_it(folder: StateFolder) -> None:
    state = settle(folder, Flags(server=NEW), NO, world())
    assert state.server == NEW
    assert folder.load() == state
    assert settle(folder, Flags(), NO, world()) == state


def test_without_any_server_there_is_nothing_to_start(folder: StateFolder) -> None:
    with pytest.raises(InvalidValue, match="-server"):
        settle(folder, Flags(), NO, world())
    assert folder.load() is None
    folder.save(ClientState(private_key=private_key(1)))
    with pytest.raises(InvalidValue, match="-server"):
        settle(folder, Flags(), NO, world())


def test_flags_that_last_are_kept(folder: StateFolder) -> None:
    folder.save(JOINED)
    assert settle(folder, Flags(exit_node=True, listen_port=0), NO, world()).exit_node
    state = folder.load()
    assert state is not None
    assert (state.exit_node, state.listen_port, state.hostname) == (True, 0, "one")


def test_nothing_is_written_when_nothing_changed(folder: StateFolder) -> None:
    folder.save(JOINED)
    before = folder.path.stat().st_mtime_ns
    settle(folder, Flags(server=OLD), NO, world())
    assert folder.path.stat().st_mtime_ns == before


def test_the_same_server_at_another_address_needs_no_question(folder: StateFolder) -> None:
    folder.save(JOINED)
    state = settle(folder, Flags(server=NEW), NO, world(key=public_key(9)))
    assert (state.server, state.peer_id, state.private_key) == (NEW, "peer-000001", private_key(1))


def test_an_identity_that_never_joined_goes_anywhere(folder: StateFolder) -> None:
    folder.save(ClientState(private_key=private_key(1), server=OLD))
    assert settle(folder, Flags(server=NEW), NO, world()).private_key == private_key(1)


def test_another_server_is_refused_where_nobody_can_be_asked(folder: StateFolder) -> None:
    folder.save(JOINED)
    with pytest.raises(Conflict, match=r"http://old.*http://new.*-force"):
        settle(folder, Flags(server=NEW), NO, world(key=public_key(8)))
    assert folder.load() == JOINED


def test_another_server_is_refused_when_the_user_says_no(folder: StateFolder) -> None:
    folder.save(JOINED)
    asked: list[str] = []
    with pytest.raises(Conflict):
        settle(folder, Flags(server=NEW), NO, world(answer=False, key=public_key(8), asked=asked))
    assert len(asked) == 1
    assert folder.load() == JOINED


@pytest.mark.parametrize("by_flag", [True, False])
def test_another_server_is_joined_with_a_new_key_and_the_old_identity_kept(folder: StateFolder, by_flag: bool) -> None:
    folder.save(JOINED)
    consent = Consent(another_server=by_flag)
    state = settle(folder, Flags(server=NEW), consent, world(answer=None if by_flag else True, key=public_key(8)))
    assert (state.server, state.peer_id, state.server_public_key, state.hostname) == (NEW, "", None, "one")
    assert state.private_key != private_key(1)
    assert kept(folder) == ["client.json.left-1000"]
    assert StateFolder(folder.folder, "client.json.left-1000").load() == JOINED


def test_a_server_that_does_not_answer_is_not_taken_for_the_same(folder: StateFolder) -> None:
    folder.save(JOINED)
    silent = Unavailable("the server http://new cannot be reached")
    with pytest.raises(Conflict, match=r"cannot be reached.*-force"):
        settle(folder, Flags(server=NEW), NO, world(key=silent))
    assert settle(folder, Flags(server=NEW), Consent(another_server=True), world(key=silent)).peer_id == ""


def test_never_back_from_https_without_force(folder: StateFolder) -> None:
    secure = ServerAddress.parse("https://old")
    folder.save(ClientState(private_key=private_key(1), server=secure, server_public_key=public_key(9)))
    with pytest.raises(Conflict, match="TLS"):
        settle(folder, Flags(server=OLD), NO, world(key=public_key(9)))


def test_a_corrupt_identity_is_refused_and_with_consent_kept_aside(folder: StateFolder) -> None:
    folder.folder.mkdir(exist_ok=True)
    folder.path.write_text("garbage")
    with pytest.raises(Conflict, match="-new-identity"):
        settle(folder, Flags(server=NEW), NO, world())
    assert folder.path.read_text() == "garbage"
    settle(folder, Flags(server=NEW), Consent(new_identity=True), world())
    assert kept(folder) == ["client.json.replaced-1000"]
    assert (folder.folder / "client.json.replaced-1000").read_text() == "garbage"


def test_a_new_server_key_is_trusted_on_demand(folder: StateFolder) -> None:
    folder.save(JOINED)
    state = settle(folder, Flags(), Consent(new_server_key=True), world())
    assert state.server_public_key is None
    assert state.peer_id == "peer-000001"


def test_a_new_identity_keeps_server_and_settings(folder: StateFolder) -> None:
    joined = msgspec.structs.replace(JOINED, exit_node=True, listen_port=7, interface=InterfaceName("wg5"))
    folder.save(joined)
    state = settle(folder, Flags(), Consent(new_identity=True), world())
    assert state == folder.load()
    assert state.private_key != joined.private_key
    assert state == msgspec.structs.replace(joined, private_key=state.private_key, peer_id="")
    assert StateFolder(folder.folder, "client.json.replaced-1000").load() == joined


def test_a_new_identity_at_another_server_knows_nothing_of_it(folder: StateFolder) -> None:
    folder.save(JOINED)
    state = settle(folder, Flags(server=NEW), Consent(new_identity=True), world())
    assert (state.server, state.server_public_key, state.hostname) == (NEW, None, "one")


@pytest.mark.parametrize("content", ["garbage", None])
def test_a_new_identity_without_a_server_changes_nothing(folder: StateFolder, content: str | None) -> None:
    if content is None:
        folder.save(ClientState(private_key=private_key(1)))
    else:
        folder.path.write_text(content)
    before = folder.path.read_bytes()
    with pytest.raises(InvalidValue, match="-server"):
        settle(folder, Flags(), Consent(new_identity=True), world())
    assert folder.path.read_bytes() == before
    assert kept(folder) == []


def test_an_identity_is_never_without_its_file(folder: StateFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that becomes full in the middle leaves the old one."""
    folder.save(JOINED)

    def full(_state: ClientState) -> None:
        raise Unavailable("no room")

    monkeypatch.setattr(folder, "save", full)
    with pytest.raises(Unavailable):
        settle(folder, Flags(), Consent(new_identity=True), world())
    assert folder.load() == JOINED
