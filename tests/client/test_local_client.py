import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from wireguard_mesh.client.local_client import AgentRefused, NoAgent, ask
from wireguard_mesh.model.errors import Unavailable
from wireguard_mesh.protocol import local
from wireguard_mesh.protocol.codec import encode
from wireguard_mesh.protocol.status import Status

Serve = Callable[[bytes], Path]


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    def start(answer: bytes) -> Path:
        path = tmp_path / "wg0.sock"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()

        def once() -> None:
            with listener, listener.accept()[0] as connection:
                connection.recv(4096)
                connection.sendall(answer)

        threading.Thread(target=once, daemon=True).start()
        return path

    return start


def test_asks_and_hears(serve: Serve) -> None:
    assert ask(serve(encode(local.Done("so")) + b"\n"), local.DownRequest(), local.Done) == local.Done("so")


def test_another_answer_than_asked_for_is_an_error(serve: Serve) -> None:
    with pytest.raises(Unavailable, match="answers with done"):
        ask(serve(encode(local.Done("so")) + b"\n"), local.StatusRequest(), Status)


def test_a_refusal_is_an_error(serve: Serve) -> None:
    refused = local.Refused(code="c", error="not now", hint="later")
    with pytest.raises(AgentRefused, match="not now; later"):
        ask(serve(encode(refused) + b"\n"), local.StatusRequest(), Status)


@pytest.mark.parametrize("answer", [b"", b'{"type":"done"', b"nonsense\n", b"x" * 200])
def test_what_is_no_answer_is_an_error(serve: Serve, answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "MAX_ANSWER", 100)
    with pytest.raises(Unavailable):
        ask(serve(answer), local.StatusRequest(), Status)


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(NoAgent, match="vpn-client up"):
        ask(tmp_path / "none.sock", local.StatusRequest(), Status)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "dead.sock"))
    with pytest.raises(NoAgent):
        ask(tmp_path / "dead.sock", local.StatusRequest(), Status)


def test_a_path_that_is_no_socket(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="does not answer"):
        ask(tmp_path / ("x" * 200), local.StatusRequest(), Status)
