import pytest
from hypothesis import given
from hypothesis import strategies as st

from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.protocol.carrying import MAX_DATAGRAM, MAX_DATAGRAMS, pack, unpack


@given(st.lists(st.binary(max_size=200)))
def test_what_is_packed_comes_out(datagrams: list[bytes]) -> None:
    assert unpack(pack(datagrams)) == datagrams


def test_each_datagram_is_behind_its_length() -> None:
    assert pack([b"ab", b""]) == b"\0\2ab\0\0"
    assert unpack(pack([bytes(MAX_DATAGRAM)])) == [bytes(MAX_DATAGRAM)]


@pytest.mark.parametrize("message", [b"\0", b"\0\1", b"\0\2a", b"\0\1a\0"])
def test_what_is_cut_off_is_refused(message: bytes) -> None:
    with pytest.raises(InvalidValue, match="ends within"):
        unpack(message)


@given(st.binary(max_size=100))
def test_any_bytes_are_datagrams_or_refused(message: bytes) -> None:
    try:
        datagrams = unpack(message)
    except InvalidValue:
        return
    assert pack(datagrams) == message


def test_a_message_of_nothing_but_lengths_is_none() -> None:
    assert len(unpack(bytes(2 * MAX_DATAGRAMS))) == MAX_DATAGRAMS
    with pytest.raises(InvalidValue, match="too many"):
        unpack(bytes(2 * MAX_DATAGRAMS + 2))
