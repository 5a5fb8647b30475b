"""Signed requests: what is covered cannot be changed, nobody else can sign, and time is judged by the argument."""

import base64
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.samples import private_key, public_key
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.protocol.signatures import (
    COMPONENTS,
    MAX_SKEW_SECONDS,
    ClockSkew,
    SignatureRefused,
    Signed,
    Signer,
    StaleNonce,
    Verifier,
    make_nonce,
    request_key,
)

SERVER, CLIENT = 1, 2
NOW = 1_700_000_000.5
INSTANCE = "i" * 16
NONCE = make_nonce(INSTANCE, "0123456789abcdef")
TARGET = "/v1/map?since=e.1&wait=60"
BODY = b'{"a": 1}'


def mac_key(peer: PublicKey) -> bytes:
    return request_key(private_key(SERVER), peer, peer=peer, server=public_key(SERVER))


SIGNER = Signer(private_key(CLIENT), public_key(SERVER))
VERIFIER = Verifier(mac_key)


def sign(**changes: object) -> dict[str, str]:
    wish: dict[str, object] = {"method": "POST", "target": TARGET, "body": BODY, "now": NOW, "nonce": NONCE, **changes}
    return SIGNER.sign(**wish)  # type: ignore[arg-type]  # keyword arguments by name


def verify(headers: dict[str, str], **changes: object) -> Signed:
    wish: dict[str, object] = {
        "method": "POST",
        "target": TARGET,
        "body": BODY,
        "now": NOW,
        "instance": INSTANCE,
        **changes,
    }
    return VERIFIER.verify(headers=headers, **wish)  # type: ignore[arg-type]  # keyword arguments by name


def test_a_signed_request_says_who_signed_it() -> None:
    assert verify(sign()) == Signed(public_key(CLIENT), int(NOW), NONCE)


def test_an_empty_body_and_no_query_can_be_signed() -> None:
    headers = sign(method="GET", target="/v1/map", body=b"")
    assert verify(headers, method="GET", target="/v1/map", body=b"").public_key == public_key(CLIENT)


def signed_by_hand(*covered: str) -> dict[str, str]:
    """Headers as RFC 9421 defines them, with a signature over these components."""
    digest = base64.b64encode(hashlib.sha256(BODY).digest()).decode()
    values = {
        "@method": "POST",
        "@path": "/v1/map",
        "@query": "?since=e.1&wait=60",
        "content-digest": f"sha-256=:{digest}:",
    }
    parameters = (
        "(" + " ".join(f'"{name}"' for name in covered) + ");created=1700000000;"
        f'keyid="{public_key(CLIENT)}";alg="hmac-sha256";nonce="{NONCE}";tag="wireguard-mesh"'
    )
    lines = [f'"{name}": {values[name]}' for name in covered]
    base = "\n".join([*lines, f'"@signature-params": {parameters}'])
    mac = base64.b64encode(hmac.digest(mac_key(public_key(CLIENT)), base.encode(), "sha256")).decode()
    return {
        "content-digest": f"sha-256=:{digest}:",
        "signature-input": f"mesh={parameters}",
        "signature": f"mesh=:{mac}:",
    }


def test_the_signature_is_the_one_that_the_rfc_defines() -> None:
    assert sign() == signed_by_hand(*COMPONENTS)


@pytest.mark.parametrize("left_out", COMPONENTS)
def test_all_that_matters_must_be_covered(left_out: str) -> None:
    assert verify(signed_by_hand(*COMPONENTS)) == verify(signed_by_hand(*reversed(COMPONENTS)))
    with pytest.raises(SignatureRefused, match="missing or wrong"):
        verify(signed_by_hand(*(name for name in COMPONENTS if name != left_out)))


def test_both_sides_derive_one_key_and_each_pair_its_own() -> None:
    ours = request_key(private_key(CLIENT), public_key(SERVER), peer=public_key(CLIENT), server=public_key(SERVER))
    assert ours == mac_key(public_key(CLIENT))
    assert ours != mac_key(public_key(3))
    assert len(ours) == 32


@pytest.mark.parametrize(
    "change",
    [
        {"method": "GET"},
        {"target": "/v1/map?since=e.2&wait=60"},
        {"target": "/v1/map"},
        {"target": "/v1/peer?since=e.1&wait=60"},
        {"target": "/v1/map%zz"},
        {"body": b'{"a": 2}'},
        {"body": b""},
    ],
)
def test_what_is_covered_cannot_be_changed(change: dict[str, object]) -> None:
    with pytest.raises(SignatureRefused):
        verify(sign(), **change)


@given(st.sampled_from(["signature", "signature-input", "content-digest"]), st.data())
def test_a_header_that_was_touched_is_refused(name: str, data: st.DataObject) -> None:
    headers = sign()
    value = headers[name]
    place = data.draw(st.integers(0, len(value) - 1))
    changed = value[:place] + data.draw(st.characters(min_codepoint=32, max_codepoint=126)) + value[place + 1 :]
    headers[name] = changed
    try:
        signed = verify(headers)
    except (SignatureRefused, StaleNonce):
        return
    # Only another spelling of the same signature may pass.
    assert changed == value or signed == Signed(public_key(CLIENT), int(NOW), NONCE)


def test_a_request_for_another_process_is_refused_before_any_work() -> None:
    headers = sign()
    headers["signature-input"] = headers["signature-input"].replace(NONCE, make_nonce("gone", "0123456789abcdef"))
    with pytest.raises(StaleNonce):
        verify(headers)  # though the signature is wrong


@pytest.mark.parametrize("name", ["signature", "signature-input", "content-digest"])
def test_a_missing_header_is_refused(name: str) -> None:
    headers = sign()
    del headers[name]
    with pytest.raises(SignatureRefused, match="missing or wrong"):
        verify(headers)


def test_nobody_signs_for_another() -> None:
    theirs = Signer(private_key(3), public_key(SERVER)).sign("POST", TARGET, BODY, now=NOW, nonce=NONCE)
    theirs["signature-input"] = theirs["signature-input"].replace(str(public_key(3)), str(public_key(CLIENT)))
    with pytest.raises(SignatureRefused):
        verify(theirs)


def test_a_signature_for_another_server_is_refused() -> None:
    headers = Signer(private_key(CLIENT), public_key(9)).sign("POST", TARGET, BODY, now=NOW, nonce=NONCE)
    with pytest.raises(SignatureRefused):
        verify(headers)


@pytest.mark.parametrize("key_id", ["", "x", "A" * 43 + "="])
def test_a_key_that_is_none_is_refused(key_id: str) -> None:
    headers = sign()
    headers["signature-input"] = headers["signature-input"].replace(str(public_key(CLIENT)), key_id)
    with pytest.raises(SignatureRefused):
        verify(headers)


def test_fewer_components_are_refused() -> None:
    headers = sign()
    headers["signature-input"] = headers["signature-input"].replace('"@query" ', "")
    with pytest.raises(SignatureRefused):
        verify(headers)


@pytest.mark.parametrize("offset", [-MAX_SKEW_SECONDS, 0, MAX_SKEW_SECONDS])
def test_a_clock_may_be_a_minute_off(offset: int) -> None:
    assert verify(sign(), now=int(NOW) + offset).created == int(NOW)


@pytest.mark.parametrize("offset", [-MAX_SKEW_SECONDS - 1, MAX_SKEW_SECONDS + 1, 10**8, -(10**8)])
def test_another_time_is_told_apart_from_a_wrong_signature(offset: int) -> None:
    with pytest.raises(ClockSkew):
        verify(sign(), now=NOW + offset)


@pytest.mark.parametrize("nonce", [make_nonce("j" * 16, "0123456789abcdef"), "." * 16, "0123456789abcdef", INSTANCE])
def test_what_was_signed_for_another_process_is_told_apart(nonce: str) -> None:
    with pytest.raises(StaleNonce, match="mesh-nonce"):
        verify(sign(nonce=nonce))


def test_a_wrong_clock_is_said_first_so_that_both_can_be_put_right_at_once() -> None:
    with pytest.raises(ClockSkew):
        verify(sign(nonce="0123456789abcdef"), now=NOW + 1000)


@pytest.mark.parametrize("nonce", ["", "short", "x" * 15, "x" * 65])
def test_a_nonce_has_its_length(nonce: str) -> None:
    with pytest.raises(SignatureRefused, match="16 to 64"):
        verify(sign(nonce=nonce))


@pytest.mark.parametrize("nonce", [INSTANCE + ".", INSTANCE + "." + "x" * 47])
def test_the_bounds_of_a_nonce_are_taken(nonce: str) -> None:
    assert verify(sign(nonce=nonce)).nonce == nonce
