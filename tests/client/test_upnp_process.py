"""What is asked of a router by UPnP, with a router that says what it is told to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from wireguard_mesh.client import upnp_process
from wireguard_mesh.client.upnp_process import Answer, ask


class FakeRouter:
    """As `miniupnpc.UPnP`: bare exceptions with words."""

    lanaddr = "192.168.1.5"

    def __init__(self, *, taken: set[int] | None = None, has_leases: bool = True, is_there: bool = True) -> None:
        self.taken = taken or set()
        self.has_leases = has_leases
        self.is_there = is_there
        self.forwards: dict[int, tuple[object, ...]] = {}

    def discover(self) -> int:
        return int(self.is_there)

    def selectigd(self) -> None:
        if not self.is_there:
            raise Exception("No UPnP device discovered")  # noqa: TRY002  # it is what the library raises

    def externalipaddress(self) -> str:
        return "198.51.100.7"

    def addportmapping(
        self, external: int, protocol: str, host: str, port: int, _description: str, _remote: str, seconds: int
    ) -> None:
        if external in self.taken:
            raise Exception("ConflictInMappingEntry")  # noqa: TRY002  # as above
        if seconds and not self.has_leases:
            raise Exception("OnlyPermanentLeasesSupported")  # noqa: TRY002  # as above
        self.forwards[external] = (protocol, host, port, seconds)

    def deleteportmapping(self, external: int, _protocol: str) -> None:
        if self.forwards.pop(external, None) is None:
            raise Exception("NoSuchEntryInArray")  # noqa: TRY002  # as above


def test_the_port_that_is_liked_best() -> None:
    router = FakeRouter()
    assert ask(router, 5, 40000, 600) == Answer("198.51.100.7", 40000, 600)
    assert router.forwards == {40000: ("UDP", "192.168.1.5", 5, 600)}


def test_another_one_if_it_is_somebody_elses() -> None:
    router = FakeRouter(taken={40000})
    answer = ask(router, 5, 40000, 600)
    assert answer.port in router.forwards
    assert answer.port != 40000


def test_a_router_whose_mappings_have_no_end() -> None:
    router = FakeRouter(has_leases=False)
    assert ask(router, 5, 40000, 600) == Answer("198.51.100.7", 40000, 600)
    assert router.forwards[40000] == ("UDP", "192.168.1.5", 5, 0)


def test_a_router_that_refuses() -> None:
    router = FakeRouter(taken=set(range(65536)))
    assert ask(router, 5, 40000, 600) == Answer(refused="the router refused: ConflictInMappingEntry")


def test_nobody_there() -> None:
    assert ask(FakeRouter(is_there=False), 5, 40000, 600) == Answer()


def test_no_longer() -> None:
    router = FakeRouter()
    ask(router, 5, 40000, 600)
    assert ask(router, 5, 40000, 0) == Answer()
    assert router.forwards == {}
    assert "NoSuchEntry" in ask(router, 5, 40000, 0).refused


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "miniupnpc", None)
    assert "miniupnpc" in upnp_process.main(["127.0.0.1", "5", "5", "600"]).refused


def test_the_process_says_it_in_json(tmp_path: Path) -> None:
    """Without the library, so that nothing is sent to anybody."""
    (tmp_path / "miniupnpc.py").write_text("raise ImportError")
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-m", upnp_process.MODULE, "127.0.0.1", "5", "5", "600"],
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert "miniupnpc" in json.loads(done.stdout)["refused"]


def test_the_library_is_asked_from_our_own_address(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, object]] = []

    def make(**arguments: object) -> FakeRouter:
        asked.append(arguments)
        return FakeRouter()

    monkeypatch.setitem(sys.modules, "miniupnpc", SimpleNamespace(UPnP=make))
    answer = upnp_process.main(["192.168.1.5", "5", "40000", "600"])
    assert answer == Answer("198.51.100.7", 40000, 600)
    assert asked[0]["multicastif"] == "192.168.1.5"
