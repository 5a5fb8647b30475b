import msgspec
import pytest

from tests.protocol.test_local import EXPLANATION, NETCHECK, PONG
from wireguard_mesh.protocol import local
from wireguard_mesh.protocol.codec import encode
from wireguard_mesh.protocol.diagnosis import Explanation, Netcheck, Pong


@pytest.mark.parametrize("answer", [NETCHECK, PONG, EXPLANATION], ids=lambda one: type(one).__name__)
def test_what_is_found_travels(answer: Netcheck | Pong | Explanation) -> None:
    assert local.answer.decode(encode(answer)) == answer


def test_programs_find_words_and_addresses_as_text() -> None:
    found = msgspec.json.decode(encode(NETCHECK))
    assert (found["version"], found["udp"], found["nat"]) == (1, "works", "easy")
    assert found["vantage_points"][0]["mapped"] == "203.0.113.9:8"
    assert msgspec.json.decode(encode(PONG))["path"]["kind"] == "direct"
