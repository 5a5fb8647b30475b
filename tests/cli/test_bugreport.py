from pathlib import Path

import msgspec
import pytest

from tests.cli.conftest import AnsweringAgent
from tests.protocol.test_local import STATUS
from wireguard_mesh.cli.bugreport import print_report, report_lines
from wireguard_mesh.cli.place import Place
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.protocol.status import ExitStatus, ServerStatus


def test_tells_what_is_needed_and_nothing_private() -> None:
    public = msgspec.structs.replace(STATUS.peers[0], endpoint=Endpoint.parse("8.8.8.8:51820"))
    told = msgspec.structs.replace(
        STATUS,
        hostname="secret-name",
        peers=(public, *STATUS.peers[1:]),
        exit=ExitStatus(policy="secret-gate"),
        server=ServerStatus(address="https://secret.example.com:443", reachable=True, since=900.0),
    )
    text = "\n".join(report_lines(told, 1000.0))
    assert "state up" in text
    assert "server by https, reachable since 1m" in text
    assert "policy peer" in text
    assert "endpoint=public-ipv4:51820" in text
    assert "endpoint=none" in text
    for private in ("secret", "host-2", "8.8.8.8", "10.100.", STATUS.public_key.to_base64()):
        assert private not in text


def test_prints_what_there_is(agent: AnsweringAgent, capsys: pytest.CaptureFixture[str]) -> None:
    agent.answer = STATUS
    print_report(Place(agent.folder, None))
    out = capsys.readouterr().out
    assert out.startswith("vpn-client ")
    assert "policy auto" in out


def test_prints_also_without_any_mesh(runtime: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_report(Place(runtime, None))
    assert "status: not_found" in capsys.readouterr().out
