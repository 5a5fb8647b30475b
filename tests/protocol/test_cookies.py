"""mac1, mac2 and cookies; XChaCha20-Poly1305 against the vectors of draft-irtf-cfrg-xchacha-03."""

import pytest

from tests.samples import public_key
from wireguard_mesh.protocol import cookies
from wireguard_mesh.protocol.noise import HandshakeRefused
from wireguard_mesh.protocol.wireguard import CookieReply, Initiation, Response

KEY = cookies.mac1_key(public_key(1))
UNSIGNED = Initiation(0x01020304, b"e" * 32, b"s" * 48, b"t" * 28, b"?" * 16, b"?" * 16).build()


def test_hchacha20_does_as_the_draft() -> None:
    """Section 2.2.1."""
    nonce = bytes.fromhex("000000090000004a0000000031415927")
    assert cookies.hchacha20(bytes(range(32)), nonce).hex() == (
        "82413b4227b27bfed30e42508a877d73a0f9e4d58a74a853c12ec41326d3ecdc"
    )


def test_xchacha20poly1305_does_as_the_draft() -> None:
    """Appendix A.3.1."""
    key, nonce = bytes(range(0x80, 0xA0)), bytes(range(0x40, 0x58))
    associated = bytes.fromhex("50515253c0c1c2c3c4c5c6c7")
    plaintext = (
        b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, "
        b"sunscreen would be it."
    )
    ciphertext = bytes.fromhex(
        "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb731c7f1b0b4aa6440bf3a82f4eda7e39"
        "ae64c6708c54c216cb96b72e1213b4522f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9"
        "21f9664c97637da9768812f615c68b13b52ec0875924c1c7987947deafd8780acf49"
    )
    assert cookies.xchacha20poly1305_encrypt(key, nonce, plaintext, associated) == ciphertext
    assert cookies.xchacha20poly1305_decrypt(key, nonce, ciphertext, associated) == plaintext
    with pytest.raises(HandshakeRefused):
        cookies.xchacha20poly1305_decrypt(key, nonce, ciphertext, b"")


def test_mac1_is_for_one_responder_and_all_before_it() -> None:
    initiation = cookies.with_macs(KEY, UNSIGNED)
    assert initiation[:-32] == UNSIGNED[:-32]
    assert initiation[-16:] == bytes(16)
    assert cookies.has_mac1(KEY, initiation)
    assert cookies.has_mac1(KEY, memoryview(initiation))
    assert not cookies.has_mac1(cookies.mac1_key(public_key(2)), initiation)
    for position in (4, 100, len(initiation) - 17):
        changed = bytearray(initiation)
        changed[position] ^= 1
        assert not cookies.has_mac1(KEY, bytes(changed))


def test_mac1_of_a_response() -> None:
    response = cookies.with_macs(KEY, Response(1, 2, b"e" * 32, b"n" * 16, b"?" * 16).build())
    assert cookies.has_mac1(KEY, response)


def test_mac2_is_made_of_the_cookie_of_one_source() -> None:
    cookie = cookies.make_cookie(b"s" * 32, b"192.0.2.1 5")
    initiation = cookies.with_macs(KEY, UNSIGNED, cookie)
    assert cookies.has_mac1(KEY, initiation)
    assert cookies.has_mac2(cookie, initiation)
    assert not cookies.has_mac2(cookies.make_cookie(b"s" * 32, b"192.0.2.1 6"), initiation)
    assert not cookies.has_mac2(cookies.make_cookie(b"t" * 32, b"192.0.2.1 5"), initiation)
    assert not cookies.has_mac2(cookie, cookies.with_macs(KEY, UNSIGNED))


def test_a_cookie_reply_is_opened_by_whoever_sent_that_mac1() -> None:
    initiation = cookies.with_macs(KEY, UNSIGNED)
    mac1 = Initiation.parse(initiation).mac1
    key = cookies.cookie_key(public_key(1))
    reply = cookies.cookie_reply(key, b"n" * 24, b"c" * 16, initiation)
    assert reply.receiver == 0x01020304
    assert cookies.open_cookie(key, CookieReply.parse(reply.build()), mac1) == b"c" * 16
    with pytest.raises(HandshakeRefused, match="cookie"):
        cookies.open_cookie(key, reply, b"1" * 16)
    with pytest.raises(HandshakeRefused, match="cookie"):
        cookies.open_cookie(cookies.cookie_key(public_key(2)), reply, mac1)
