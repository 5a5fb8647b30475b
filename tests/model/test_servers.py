import pytest
from hypothesis import given
from hypothesis import strategies as st

from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.model.servers import ServerAddress


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://vpn.example.com:8080", "http://vpn.example.com:8080"),
        ("http://vpn.example.com:8080/", "http://vpn.example.com:8080"),
        ("HTTP://VPN.example.com", "http://vpn.example.com:8080"),
        ("vpn.example.com", "http://vpn.example.com:8080"),
        ("vpn.example.com:9000", "http://vpn.example.com:9000"),
        ("https://vpn.example.com", "https://vpn.example.com:443"),
        ("https://vpn.example.com/mesh/", "https://vpn.example.com:443/mesh"),
        ("192.0.2.1", "http://192.0.2.1:8080"),
        ("http://192.0.2.1:80", "http://192.0.2.1:80"),
        ("2001:db8::1", "http://[2001:db8::1]:8080"),
        ("[2001:db8::1]", "http://[2001:db8::1]:8080"),
        ("http://[2001:db8::1]:81/a/b", "http://[2001:db8::1]:81/a/b"),
        ("http://2001:db8::1/", "http://[2001:db8::1]:8080"),
    ],
)
def test_reads_what_people_write(text: str, expected: str) -> None:
    address = ServerAddress.parse(text)
    assert str(address) == expected
    assert ServerAddress.parse(expected) == address
    assert address.secure == expected.startswith("https")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x" * 513,
        "ftp://vpn.example.com",
        "http://",
        "http:///path",
        "http://user@host",
        "http://host?query",
        "http://host#part",
        "http://host:0",
        "http://host:65536",
        "http://host:",
        "http://host:1x",
        "http://[2001:db8::1",
        "http://[host]:80",
        "http://[2001:db8::1]80",
        "http://1:2:3",
        "http://host name",
        "http://-host",
        "http://host/a//b",
        "http://host/a\r\nx",
    ],
)
def test_refuses_what_is_no_address(text: str) -> None:
    with pytest.raises(InvalidValue):
        ServerAddress.parse(text)


@given(st.text(max_size=60))
def test_never_fails_otherwise(text: str) -> None:
    try:
        address = ServerAddress.parse(text)
    except InvalidValue:
        return
    assert ServerAddress.parse(str(address)) == address
