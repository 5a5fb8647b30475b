"""Addresses to listen on."""

from __future__ import annotations

import socket
from contextlib import closing

import pytest

from wireguard_mesh.model.errors import Conflict, InvalidValue, NotPermitted
from wireguard_mesh.server import listening
from wireguard_mesh.server.listening import ListenAddress, best_address, bind


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        (":8080", "", 8080),
        ("192.0.2.1:1", "192.0.2.1", 1),
        ("localhost:65535", "localhost", 65535),
        ("[::1]:0", "::1", 0),
    ],
)
def test_what_is_understood(text: str, host: str, port: int) -> None:
    address = ListenAddress.parse(text)
    assert address == ListenAddress(host, port)
    assert str(address) == text


@pytest.mark.parametrize(
    "text", ["", "8080", "host", ":", ":x", ":65536", ":999999", "::1:80", "[x]:80", "[1.2.3.4]:1"]
)
def test_what_is_not(text: str) -> None:
    with pytest.raises(InvalidValue, match="write it as"):
        ListenAddress.parse(text)


def connects(host: str, port: int) -> bool:
    with closing(socket.create_connection((host, port), timeout=5)):
        return True


@pytest.mark.parametrize("host", ["", "::"])
def test_without_a_host_both_families_are_served(host: str) -> None:
    (listener,) = bind(ListenAddress(host, 0))
    with closing(listener):
        port = listener.getsockname()[1]
        assert connects("127.0.0.1", port)
        assert connects("::1", port)


def test_a_machine_without_ipv6_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "socket", NoIPv6())
    (listener,) = bind(ListenAddress("", 0))
    with closing(listener):
        assert listener.family == socket.AF_INET


class NoIPv6:
    """The socket module of a kernel without IPv6."""

    def __getattr__(self, name: str) -> object:
        return getattr(socket, name)

    def socket(self, family: int, kind: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(97, "Address family not supported by protocol")
        return socket.socket(family, kind)


def test_a_port_in_use_is_said() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = other.getsockname()[1]
        with pytest.raises(Conflict, match=f"port {port} is in use; stop what uses it"):
            bind(ListenAddress("127.0.0.1", port))
        with pytest.raises(Conflict, match="in use"):
            bind(ListenAddress("", port))


def test_other_faults_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidValue, match=r"cannot listen on 192\.0\.2\.99:0: Cannot assign"):
        bind(ListenAddress("192.0.2.99", 0))
    with pytest.raises(InvalidValue, match="no address or name of this machine"):
        bind(ListenAddress("no-such-host.invalid", 0))
    for host in ("x" * 64, ".foo"):
        with pytest.raises(InvalidValue, match="no address or name of this machine"):
            bind(ListenAddress(host, 0))

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(listening, "_listener", refuse)
    with pytest.raises(NotPermitted, match="port 80 needs a privilege"):
        bind(ListenAddress("127.0.0.1", 80))


def test_the_address_to_join_by_is_the_one_given_or_a_guess() -> None:
    assert best_address(ListenAddress("mesh.example", 1)) == "mesh.example"
    assert best_address(ListenAddress("2001:db8::1", 1)) == "[2001:db8::1]"
    for host in ("", "0.0.0.0", "::"):
        assert best_address(ListenAddress(host, 1)) not in {"", "0.0.0.0", "[::]"}


def test_without_any_network_it_is_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(socket, "socket", refuse)
    assert best_address(ListenAddress("", 1)) == "127.0.0.1"
