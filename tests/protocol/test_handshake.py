"""WireGuard's handshake as datagrams: between our two sides, and with real wireguard-go in both directions."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.lab import Lab
from lab.machine import ROOT
from tests.samples import private_key, public_key
from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.model.keys import PresharedKey
from wireguard_mesh.protocol import cookies, handshake
from wireguard_mesh.protocol.handshake import Initiator, Responder, tai64n
from wireguard_mesh.protocol.noise import HandshakeRefused, SessionKeys, StaticKey, decrypt
from wireguard_mesh.protocol.wireguard import Initiation, Response, Transport

PSK = PresharedKey(b"p" * 32)
TIME = 1_700_000_000_000_000_005
RESPONDER = Responder(private_key(1))


def initiator(cookie: bytes | None = None) -> Initiator:
    return Initiator(
        StaticKey(private_key(2)),
        public_key(1),
        sender=22,
        ephemeral=private_key(3),
        timestamp=tai64n(TIME),
        cookie=cookie,
        preshared_key=PSK,
    )


def answer(datagram: bytes) -> tuple[bytes, SessionKeys]:
    assert RESPONDER.is_called(datagram)
    initiation = Initiation.parse(datagram)
    received = RESPONDER.read(initiation)
    secret = RESPONDER.key.exchange(received.static)
    assert received.open_payload(secret, initiation.encrypted_timestamp) == tai64n(TIME)
    return handshake.respond(
        received,
        sender=11,
        receiver=initiation.sender,
        ephemeral=private_key(4),
        initiator_mac1_key=cookies.mac1_key(public_key(2)),
        preshared_key=PSK,
    )


def test_both_sides_agree() -> None:
    ours = initiator()
    response, responder_keys = answer(ours.datagram)
    index, keys = ours.finish(response)
    assert index == 11
    assert (keys.sending, keys.receiving) == (responder_keys.receiving, responder_keys.sending)
    message = Transport.parse(handshake.keepalive(index, keys.sending, 7))
    assert (message.receiver, message.counter) == (11, 7)
    assert decrypt(responder_keys.receiving, 7, message.encrypted_packet) == b""


def test_an_initiation_for_another_key_is_told_by_mac1() -> None:
    assert not Responder(private_key(5)).is_called(initiator().datagram)


def test_a_response_for_another_handshake_is_refused() -> None:
    response, _ = answer(initiator().datagram)
    parsed = Response.parse(response)
    other = Response(parsed.sender, 23, parsed.ephemeral, parsed.encrypted_nothing, parsed.mac1)
    for wrong in (other.build(), response[:-32] + bytes(32)):
        with pytest.raises(HandshakeRefused, match="another"):
            initiator().finish(wrong)
    with pytest.raises(InvalidValue):
        initiator().finish(response[:-1])


def test_a_cookie_makes_mac2() -> None:
    ours = initiator()
    cookie = cookies.make_cookie(b"secret", b"source")
    reply = cookies.cookie_reply(RESPONDER.cookie_key, b"n" * 24, cookie, ours.datagram)
    assert ours.open_cookie(reply.build()) == cookie
    assert cookies.has_mac2(cookie, initiator(cookie).datagram)
    elsewhere = cookies.cookie_reply(RESPONDER.cookie_key, b"n" * 24, cookie, b"\1\0\0\0\0" + ours.datagram[5:])
    with pytest.raises(HandshakeRefused, match="another"):
        ours.open_cookie(elsewhere.build())


def test_tai64n_of_a_known_time() -> None:
    assert tai64n(TIME).hex() == "400000006553f10a00000005"


@given(st.integers(0, 2**62), st.integers(0, 2**62))
def test_timestamps_sort_as_times_do(one: int, other: int) -> None:
    assert (tai64n(one) < tai64n(other)) == (one < other)


@pytest.mark.lab
@pytest.mark.parametrize("preshared_key", ["", PSK.to_base64()])
def test_with_wireguard_go_in_both_directions(lab: Lab, preshared_key: str) -> None:
    host = lab.host("one", lab.switch("lan", "192.0.2.0/24"))
    done = host.run(
        sys.executable, "-m", "tests.protocol.real_peer", preshared_key, env={"PYTHONPATH": str(ROOT)}, timeout=60
    )
    assert done.stdout.split() == ["cookie", "keepalive", "called"]
