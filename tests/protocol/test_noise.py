"""Noise_IKpsk2 against the published vector of the cacophony implementation (a public collection of Noise vectors)."""

import pytest

from tests.samples import private_key
from wireguard_mesh.model.keys import NO_PRESHARED_KEY, PresharedKey, PrivateKey
from wireguard_mesh.protocol import noise
from wireguard_mesh.protocol.noise import HandshakeRefused, ReceivedInitiation, SentInitiation, SessionKeys, StaticKey

# Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s
PROLOGUE = b"John Galt"
PSK = PresharedKey(b"This is my Austrian perspective!")
INITIATOR = PrivateKey(bytes.fromhex("e61ef9919cde45dd5f82166404bd08e38bceb5dfdfded0a34c8df7ed542214d1"))
INITIATOR_EPHEMERAL = PrivateKey(bytes.fromhex("893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a"))
RESPONDER = PrivateKey(bytes.fromhex("4a3acbfdb163dec651dfa3194dece676d437029c62a408b4c5ea9114246e4893"))
RESPONDER_EPHEMERAL = PrivateKey(bytes.fromhex("bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b"))
FIRST = bytes.fromhex(
    "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c7944001e21de9f98ddd8e2ad57527207feb56253c9c94a9e4967"
    "82ecfcb2a75fbcaf1b52948cc48daefe660c62119ab5000980c84831215f2441eba616548e832985464cf17e51ee93109008399a21f7e13f"
)
SECOND = bytes.fromhex(
    "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f144808843"
    "cb765f2caef0751b8f007572dab0322217755c0632f365717edbf34d33e87a"
)
FIRST_PAYLOAD, SECOND_PAYLOAD = b"Ludwig von Mises", b"Murray Rothbard"
TRANSPORT = [  # from the initiator, from the responder, and so on
    (b"F. A. Hayek", "8153ca9833bc3c1b91a7e66e5f4d4f5b59bf9e64c2f20d15f0bba7"),
    (b"Carl Menger", "07af0c9c86e1b4e80f36b04ff7688d51141af3debd0332f0a705ef"),
    (b"Jean-Baptiste Say", "6ab1467c0448cc78394494abaaf23afce0e234315d6e2624dcbfa8a21c1c4d073d"),
    (
        "Eugen B\u00f6hm von Bawerk".encode("latin-1"),
        "dfc346c0d2296ae6cf1acf6f12b8456a1dba228cf8d8b774aacf1c47fc53aa80ebc7a4c292",
    ),
]


def responder_reads(first: bytes = FIRST) -> ReceivedInitiation:
    ours = StaticKey(RESPONDER)
    return ReceivedInitiation(ours, noise.start_hash(ours.public_key, PROLOGUE), first[:32], first[32:80])


def responder_keys() -> SessionKeys:
    received = responder_reads()
    assert received.static == INITIATOR.public_key.raw
    secret = StaticKey(RESPONDER).exchange(received.static)
    assert received.open_payload(secret, FIRST[80:]) == FIRST_PAYLOAD
    public, encrypted, keys = received.respond(RESPONDER_EPHEMERAL, SECOND_PAYLOAD, PSK)
    assert public + encrypted == SECOND
    return keys


def initiator() -> SentInitiation:
    return SentInitiation(
        StaticKey(INITIATOR), RESPONDER.public_key, INITIATOR_EPHEMERAL, FIRST_PAYLOAD, prologue=PROLOGUE
    )


def test_the_responder_does_as_the_vector() -> None:
    responder_keys()


def test_the_initiator_does_as_the_vector() -> None:
    sent = initiator()
    assert sent.ephemeral + sent.encrypted_static + sent.encrypted_payload == FIRST
    payload, keys = sent.finish(SECOND[:32], SECOND[32:], PSK)
    assert payload == SECOND_PAYLOAD
    other = responder_keys()
    assert (keys.sending, keys.receiving) == (other.receiving, other.sending)


def test_transport_messages_are_the_vectors() -> None:
    keys = responder_keys()
    directions = [keys.receiving, keys.sending]
    for number, (plaintext, ciphertext) in enumerate(TRANSPORT):
        key, counter = directions[number % 2], number // 2
        assert noise.encrypt(key, counter, plaintext).hex() == ciphertext
        assert noise.decrypt(key, counter, bytes.fromhex(ciphertext)) == plaintext
        with pytest.raises(HandshakeRefused):
            noise.decrypt(key, counter + 1, bytes.fromhex(ciphertext))


@pytest.mark.parametrize("position", [0, 31, 32, 79])
def test_a_changed_start_of_the_first_message_is_refused(position: int) -> None:
    changed = bytearray(FIRST)
    changed[position] ^= 1
    with pytest.raises(HandshakeRefused):
        responder_reads(bytes(changed))


def test_a_first_message_by_somebody_else_is_refused() -> None:
    received = responder_reads()
    with pytest.raises(HandshakeRefused):
        received.open_payload(StaticKey(RESPONDER).exchange(private_key(1).public_key.raw), FIRST[80:])


@pytest.mark.parametrize("changed", [0, 32, 62])
def test_a_changed_second_message_is_refused(changed: int) -> None:
    second = bytearray(SECOND)
    second[changed] ^= 1
    with pytest.raises(HandshakeRefused):
        initiator().finish(bytes(second[:32]), bytes(second[32:]), PSK)


def test_another_preshared_key_is_refused() -> None:
    with pytest.raises(HandshakeRefused):
        initiator().finish(SECOND[:32], SECOND[32:], NO_PRESHARED_KEY)


@pytest.mark.parametrize(
    "point",
    [
        bytes(32),
        b"\1" + bytes(31),
        bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
        bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
        bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    ],
)
def test_points_of_low_order_are_refused(point: bytes) -> None:
    with pytest.raises(HandshakeRefused, match="low order"):
        StaticKey(RESPONDER).exchange(point)
    with pytest.raises(HandshakeRefused):
        responder_reads(point + FIRST[32:])


def test_keys_of_a_session_are_not_shown() -> None:
    assert repr(SessionKeys(b"1" * 32, b"1" * 32)) == "SessionKeys(redacted)"
