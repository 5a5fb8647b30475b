"""Relay keys prove what they shall, and show nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.samples import private_key, public_key
from wireguard_mesh.model.errors import InvalidKey
from wireguard_mesh.model.relays import OWN_RELAY, RelayId
from wireguard_mesh.protocol.relay_keys import RelayKey, server_relay_key, vantage_keys

KEY = RelayKey(bytes(range(32)))
RELAY = RelayId("fra-1")
TIME = 1_700_000_000


@given(st.binary(min_size=32, max_size=32))
def test_a_key_survives_its_text(raw: bytes) -> None:
    text = RelayKey(raw).to_text()
    assert len(text) == len("relay-") + 43
    assert RelayKey.parse(f" {text}\n").to_text() == text


@pytest.mark.parametrize(
    "text", ["", "relay-", KEY.to_text()[:-1], KEY.to_text() + "A", KEY.to_text()[6:], "relay-" + "!" * 43, "relay-é"]
)
def test_what_is_no_key_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(InvalidKey, match="vpn-server relay-key") as caught:
        RelayKey.parse(text)
    assert len(text) < 7 or text not in str(caught.value)


def test_a_key_has_32_bytes() -> None:
    with pytest.raises(InvalidKey, match="32 bytes"):
        RelayKey(b"short")


def test_a_key_is_not_shown() -> None:
    assert f"{KEY!r} {KEY}" == "RelayKey(redacted) RelayKey(redacted)"


def test_a_proof_is_good_for_one_relay_server_and_time_only() -> None:
    proof = KEY.proof(RELAY, public_key(1), public_key(2), TIME)
    assert KEY.proves(proof, RELAY, public_key(1), public_key(2), TIME)
    assert not RelayKey(bytes(32)).proves(proof, RELAY, public_key(1), public_key(2), TIME)
    assert not KEY.proves(proof, RelayId("fra-2"), public_key(1), public_key(2), TIME)
    assert not KEY.proves(proof, RELAY, public_key(3), public_key(2), TIME)
    assert not KEY.proves(proof, RELAY, public_key(1), public_key(3), TIME)
    assert not KEY.proves(proof, RELAY, public_key(1), public_key(2), TIME + 1)
    for other in ("", "é", proof.upper()):
        assert not KEY.proves(other, RELAY, public_key(1), public_key(2), TIME)


def test_each_vantage_point_and_each_relay_has_a_key_of_its_own() -> None:
    own = private_key(1)
    keys = {*vantage_keys(own, OWN_RELAY), *vantage_keys(own, RELAY), server_relay_key(own, RELAY)}
    assert len(keys) == 4
    assert vantage_keys(own, RELAY)[0] == own
    assert vantage_keys(own, RELAY) == vantage_keys(own, RELAY)
    assert server_relay_key(own, RELAY) != server_relay_key(private_key(2), RELAY)
