"""An agent that only answers: what the commands ask it is kept."""

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.protocol.test_local import STATUS
from tests.samples import NETWORK, peer, private_key, public_key
from wireguard_mesh.client.state import ClientState, StateFolder
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.model.peers import NetworkMap
from wireguard_mesh.model.servers import ServerAddress
from wireguard_mesh.protocol import local
from wireguard_mesh.protocol.codec import encode
from wireguard_mesh.protocol.status import Status


@dataclass
class AnsweringAgent:
    """Gives `answer` to every request, and keeps those that are no question for the status.

    Its folder is the commands' `-config`: the identity that the status tells of is there.
    """

    folder: Path
    answer: local.Answer = field(default_factory=local.Done)
    requests: list[local.Request] = field(default_factory=list)


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A runtime directory of the test's own; nothing of the machine's is touched."""
    monkeypatch.setattr("wireguard_mesh.cli.place.runtime_directory", lambda *_: str(tmp_path))
    return tmp_path


def leave_mesh(folder: Path) -> None:
    """Have there what an agent of peer 1 that ended left: it knew peer 2."""
    files = StateFolder(folder)
    files.save(
        ClientState(
            private_key=private_key(1),
            server=ServerAddress.parse("http://127.0.0.1:9"),
            interface=InterfaceName("wgmt-none"),
            peer_id="peer-000001",
            server_public_key=public_key(9),
        )
    )
    network_map = NetworkMap(epoch="e", revision=1, network=NETWORK, me=peer(1), peers={public_key(2): peer(2)})
    files.save_map(network_map, public_key(1), public_key(9))


@pytest.fixture
def agent(runtime: Path) -> Iterator[AnsweringAgent]:
    made = AnsweringAgent(runtime)
    StateFolder(runtime).save(ClientState(private_key=private_key(1), server=ServerAddress.parse("http://x")))
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(runtime / "wg0.sock"))
    listener.listen()

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                line = connection.recv(local.MAX_REQUEST)
                if not line:
                    return
                request, answer = local.request.decode(line), made.answer
                if not isinstance(request, local.StatusRequest):
                    made.requests.append(request)
                elif not isinstance(answer, Status):
                    answer = STATUS
                connection.sendall(encode(answer) + b"\n")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield made
    with socket.socket(socket.AF_UNIX) as last:
        last.connect(str(runtime / "wg0.sock"))
    thread.join()
    listener.close()
