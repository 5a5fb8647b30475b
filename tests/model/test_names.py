"""Host names, peer ids and interface names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.model.names import hostname_from, parse_hostname, parse_interface_name, parse_peer_id


@pytest.mark.parametrize("name", ["a", "my-laptop", "web-1.example.org", "1", "a" * 63, ".".join(["a" * 49] * 5)])
def test_host_names_are_taken(name: str) -> None:
    assert parse_hostname(name) == name
    assert parse_hostname(name.upper()) == name


@pytest.mark.parametrize(
    "name",
    ["", "-a", "a-", "a..b", ".a", "a.", "a_b", "a b", "ä", "a\n", "a" * 64, ".".join(["a" * 63] * 4), "<script>"],
)
def test_what_is_no_host_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidValue, match="host name"):
        parse_hostname(name)


@given(st.text(max_size=300))
def test_any_machine_gets_a_host_name(text: str) -> None:
    name = hostname_from(text)
    assert parse_hostname(name) == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Ann's MacBook Pro.local", "anns-macbook-pro.local"),
        ("Bürorechner_2", "burorechner-2"),
        ("本", "machine"),
        ("web-1.example.org", "web-1.example.org"),
    ],
)
def test_machines_keep_what_they_can_of_their_name(text: str, name: str) -> None:
    assert hostname_from(text) == name


def test_peer_ids() -> None:
    for text in ("peer-123456", "peer-0123456789", "Old.name_7", "a" * 32):
        assert parse_peer_id(text) == text
    for text in ("", "a" * 33, "peer 1", "peer/1", "peer-123456\n", "pêer"):
        with pytest.raises(InvalidValue, match="peer id"):
            parse_peer_id(text)


def test_interface_names() -> None:
    for text in ("wg0", "mesh.1", "a" * 15):
        assert parse_interface_name(text) == text
    for text in ("", ".", "..", "a" * 16, "wg 0", "wg/0", "wg0\n", "ü"):
        with pytest.raises(InvalidValue, match="interface name"):
            parse_interface_name(text)
