"""Quick signatures are the product's, byte for byte."""

from hypothesis import given
from hypothesis import strategies as st

from bench.load.signing import QuickSigner, new_nonce
from tests.samples import private_key, public_key
from wireguard_mesh.protocol.signatures import MAX_NONCE_LENGTH, MIN_NONCE_LENGTH, Signer, Verifier, request_key

TARGETS = st.sampled_from(["/v1/map/stream", "/v1/map?since=abc.17&wait=5", "/v1/heartbeat", "/v1/peer?"])


@given(st.sampled_from(["GET", "POST", "DELETE"]), TARGETS, st.binary(max_size=50), st.floats(0, 2e9))
def test_the_same_bytes_as_the_agents_signer(method: str, target: str, body: bytes, now: float) -> None:
    nonce = new_nonce("0123456789abcdef")
    expected = Signer(private_key(1), public_key(2)).sign(method, target, body, now=now, nonce=nonce)
    lines = QuickSigner(private_key(1), public_key(1), public_key(2)).sign(method, target, body, now=now, nonce=nonce)
    assert dict(line.split(": ", 1) for line in lines.splitlines()) == expected


def test_the_server_takes_it() -> None:
    lines = QuickSigner(private_key(1), public_key(1), public_key(2)).sign(
        "POST", "/v1/heartbeat", b"{}", now=1000.0, nonce=new_nonce("run")
    )
    server = Verifier(lambda key: request_key(private_key(2), key, peer=key, server=public_key(2)))
    headers = dict(line.split(": ", 1) for line in lines.splitlines())
    signed = server.verify("POST", "/v1/heartbeat", headers, b"{}", now=1000.0, instance="run")
    assert signed.public_key == public_key(1)


def test_nonces_are_new_and_of_the_right_length() -> None:
    nonces = {new_nonce("0123456789abcdef") for _ in range(1000)}
    assert len(nonces) == 1000
    assert all(MIN_NONCE_LENGTH <= len(nonce) <= MAX_NONCE_LENGTH for nonce in nonces)
