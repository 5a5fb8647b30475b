import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wireguard_mesh.core.proxies import Proxy, proxy_for
from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.model.servers import ServerAddress

SERVER = ServerAddress.parse("https://vpn.example.com")
PLAIN = ServerAddress.parse("http://vpn.example.com:8080")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://proxy.example.com:3128", Proxy("proxy.example.com", 3128)),
        ("HTTP://proxy.example.com:3128/", Proxy("proxy.example.com", 3128)),
        ("proxy.example.com", Proxy("proxy.example.com", 1080)),
        ("http://[2001:db8::1]", Proxy("2001:db8::1", 1080)),
        ("[2001:db8::1]:3128", Proxy("2001:db8::1", 3128)),
        ("http://me:p%40ss@10.0.0.1:3128", Proxy("10.0.0.1", 3128, b"me:p@ss")),
        ("http://me@10.0.0.1:3128", Proxy("10.0.0.1", 3128, b"me:")),
        ("http://me:a@b@10.0.0.1:3128", Proxy("10.0.0.1", 3128, b"me:a@b")),
    ],
)
def test_reads_a_proxy(text: str, expected: Proxy) -> None:
    assert Proxy.parse(text, "https_proxy") == expected


@pytest.mark.parametrize(
    "text", ["socks5://me:secret@10.0.0.1", "https://p:1", "http://", "http://a b:1", "p:0", "p/path", "me:secret@"]
)
def test_refuses_what_is_none_and_shows_no_password(text: str) -> None:
    with pytest.raises(InvalidValue, match="ALL_PROXY names") as caught:
        Proxy.parse(text, "ALL_PROXY")
    assert "secret" not in str(caught.value)


def test_refuses_a_password_without_end() -> None:
    with pytest.raises(InvalidValue, match="names no proxy"):
        Proxy.parse(f"http://me:{'x' * 600}@10.0.0.1", "https_proxy")


@given(st.text(max_size=80))
def test_any_text_is_a_proxy_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidValue):
        assert Proxy.parse(text, "https_proxy").host


def test_shows_no_credentials() -> None:
    proxy = Proxy("2001:db8::1", 3128, b"me:secret")
    assert str(proxy) == "[2001:db8::1]:3128"
    assert "secret" not in repr(proxy)
    assert proxy.authorization == "Basic bWU6c2VjcmV0"
    assert Proxy("p", 1).authorization == ""


@pytest.mark.parametrize(
    ("environment", "secure", "plain"),
    [
        ({}, None, None),
        ({"HTTPS_PROXY": "p:1"}, "p:1", None),
        ({"http_proxy": "p:1"}, None, "p:1"),
        ({"https_proxy": "p:1", "HTTPS_PROXY": "p:2"}, "p:1", None),
        ({"https_proxy": "", "HTTPS_PROXY": "p:2"}, None, None),
        ({"ALL_PROXY": "p:3", "http_proxy": "p:1"}, "p:3", "p:1"),
    ],
)
def test_takes_the_variable_for_the_scheme(environment: dict[str, str], secure: str | None, plain: str | None) -> None:
    for server, expected in ((SERVER, secure), (PLAIN, plain)):
        found = proxy_for(server, environment)
        assert (str(found) if found else None) == expected


@pytest.mark.parametrize(
    ("no_proxy", "server", "is_excepted"),
    [
        ("*", "https://vpn.example.com", True),
        ("example.com", "https://vpn.example.com", True),
        (".example.com", "https://vpn.example.com", True),
        ("example.com", "https://example.com", True),
        ("example.com", "https://notexample.com", False),
        ("a.test, VPN.example.com ,b.test", "https://vpn.example.com.", True),
        ("vpn.example.com:443", "https://vpn.example.com", True),
        ("vpn.example.com:444", "https://vpn.example.com", False),
        ("10.0.0.0/8", "https://10.1.2.3", True),
        ("10.0.0.0/8", "https://11.1.2.3", False),
        ("10.0.0.0/8", "https://vpn.example.com", False),
        ("10.0.0.0/99", "https://10.1.2.3", False),
        ("10.1.2.3", "https://10.1.2.3", True),
        ("2001:db8::/32", "https://[2001:db8::1]", True),
        ("2001:db8::1", "https://[2001:db8::1]", True),
        ("[2001:db8::1]:443", "https://[2001:db8::1]", True),
        ("", "https://vpn.example.com", False),
        (".", "https://vpn.example.com", False),
        ("", "https://127.0.0.1", True),
        ("", "https://[::1]", True),
        ("", "https://localhost", True),
    ],
)
def test_what_is_reached_without(no_proxy: str, server: str, is_excepted: bool) -> None:
    found = proxy_for(ServerAddress.parse(server), {"https_proxy": "p:1", "NO_PROXY": no_proxy})
    assert (found is None) == is_excepted
