import re
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.samples import private_key, public_key
from wireguard_mesh.core import masking
from wireguard_mesh.core.masking import Masker, without_secrets

SALT = bytes(16)
KEY = public_key(1).to_base64()


def masked(text: str, *names: str) -> str:
    return Masker(SALT, names).mask(text)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("8.8.8.8", "ip4"),
        ("203.0.113.4", "ip4"),
        ("2001:db8::1", "ip6"),
        ("fe80::0242:acff:fe11:2", "ip6"),
        ("2001:0DB8:0:0:0:0:0:1", "ip6"),
        ("::ffff:8.8.8.8", "ip4"),
        (KEY, "key"),
        ("laptop", "name"),
        ("LAPTOP", "name"),
        ("laptop.example.org", "name"),
    ],
)
def test_what_is_private_has_a_mask(text: str, kind: str) -> None:
    found = masked(f"to {text}, now", "laptop.example.org")
    assert re.fullmatch(rf"to {kind}-[0-9a-f]{{4}}, now", found), found


@pytest.mark.parametrize(
    "text",
    [
        "10.100.0.1", "192.168.1.7:51820", "172.16.9.1", "100.64.0.1", "127.0.0.1", "fd01:2345:6789::2", "::1", "::",
        "1.2.3.4.5", "a.b.c.d", "::::", "bed:", "at 12:34:56", "0.1.0", "laptops", "my-laptop",
        "999.999.999.999", "peer-000001",
    ],
)  # fmt: skip
def test_what_tells_nothing_of_anybody_stays(text: str) -> None:
    assert masked(text, "laptop") == text


def test_the_same_is_masked_the_same_way() -> None:
    first, second = masked("8.8.8.8:51820 and [2001:db8::1]:7 by 8.8.8.8").split(" and ")
    assert first.removesuffix(":51820") == second.split(" by ")[1]
    assert second.startswith("[ip6-")
    assert masked("2001:db8:0::1") == masked("2001:DB8::1")
    assert Masker(b"other" * 3, ()).mask("8.8.8.8") != masked("8.8.8.8")


def test_names_in_urls_and_folders() -> None:
    text = masked("https://user:secret@vpn.example.com:8080/x at http://10.0.0.1:1, /home/alice/.config", "laptop")
    assert re.fullmatch(
        r"https://name-[0-9a-f]{4}:8080/x at http://10\.0\.0\.1:1, /home/user-[0-9a-f]{4}/\.config", text
    )
    for private in ("user:", "secret", "example", "alice"):
        assert private not in text


def test_a_host_of_an_url_and_a_name_in_a_sentence_are_one() -> None:
    text = masked("http://vpn.example.com:8080 is vpn.example.com", "vpn.example.com", "192.0.2.1")
    url, name = text.split(" is ")
    assert url == f"http://{name}:8080"


def test_an_address_is_no_name() -> None:
    assert re.fullmatch(r"http://ip4-[0-9a-f]{4}:8080, 203", masked("http://203.0.113.1:8080, 203", "203.0.113.1"))


def test_two_things_never_have_one_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masking, "MASK_DIGITS", 1)
    text = masked(" ".join(f"8.8.{number}.8" for number in range(100)))
    assert len(set(text.split())) == 100


def test_secrets_go_from_a_report_that_is_not_masked_too() -> None:
    secret = private_key(1).to_base64()
    text = without_secrets(f"{KEY} {secret} http://user:secret@proxy:3128", [KEY])
    assert text == f"{KEY} (key) http://proxy:3128"
    assert without_secrets("nothing", ()) == "nothing"


@given(st.text(max_size=200), st.lists(st.text(max_size=20), max_size=5))
def test_no_text_breaks_it(text: str, names: list[str]) -> None:
    Masker(SALT, names).mask(text)


@given(st.ip_addresses(), st.sampled_from(["<{}>", "({})", "{}.", "{}:", "at={}", "[{}]:51820", "{}/32", "{} "]))
def test_no_public_address_comes_through(address: IPv4Address | IPv6Address, sentence: str) -> None:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    found = masked(sentence.format(address))
    assert (str(address) in found) == masking.is_kept(mapped or address)


@given(st.ip_addresses(v=4), st.integers(1, 65535))
def test_a_port_stays(address: IPv4Address, port: int) -> None:
    assert masked(f"{address}:{port}") == f"{masked(str(address))}:{port}"


def test_a_name_that_is_to_be_filled_in_is_none() -> None:
    advice = "join one: vpn-client -server http://SERVER:8080"
    assert masked(advice) == advice
