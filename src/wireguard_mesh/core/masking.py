"""Takes what is private out of a text that is shown to strangers, so that the same thing has the same mask throughout.

Secrets go always. Of the rest what says where and who somebody is: public addresses, names of machines and users, keys.
Addresses of private ranges stay, for they mean nothing elsewhere and tell much about a path.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import blake2s
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

MASK_DIGITS: Final = 4  # hexadecimal, more only if two things would have the same
SALT_LENGTH: Final = 16  # bytes
# RFC 1918, RFC 6598, RFC 3927, loopback and unspecified; RFC 4193.
_KEPT: Final = tuple(
    ip_network(text)
    for text in (
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "127.0.0.0/8", "0.0.0.0/8",
        "::/127", "fc00::/7",
    )
)  # fmt: skip
_KEY: Final = re.compile(r"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=")  # 32 bytes of base64
_PASSWORD: Final = re.compile(r"(//)[^/\s@]+@")
_HOST_OF_URL: Final = re.compile(r"(?<=://)([^/\s:@\[\]]+)")
_PLACEHOLDER: Final = "SERVER"  # in advice of ours, where a user is to write a name
_HOME: Final = re.compile(r"(?<=/home/)([^/\s]+)")
# Whatever might be an address, with a port after it perhaps; whether it is one is then seen.
_ADDRESS: Final = re.compile(r"(?<![\w.:])[0-9A-Fa-f:.]*[.:][0-9A-Fa-f:.]*(?![\w])")


class Masker:
    """Masks of one report. `salt`: random bytes, so that nobody can look a mask up; `names`: of machines and hosts."""

    def __init__(self, salt: bytes, names: Iterable[str]) -> None:
        self._salt = salt
        self._masks: dict[str, str] = {}
        hosts = [name.lower() for name in names if not _is_address(name)]
        wanted = {word for name in hosts for word in (name, name.partition(".")[0]) if word}
        ordered = sorted(map(re.escape, wanted), key=len, reverse=True)
        self._names = re.compile(rf"(?<![\w-])(?:{'|'.join(ordered)})(?![\w-])", re.IGNORECASE) if ordered else None

    def mask(self, text: str) -> str:
        """The whole text, masked."""
        text = without_secrets(text, ())
        text = _KEY.sub(lambda found: self._mask("key", found[0]), text)
        text = _HOST_OF_URL.sub(lambda found: self._host(found[1]), text)
        text = _HOME.sub(lambda found: self._mask("user", found[1]), text)
        if self._names is not None:
            text = self._names.sub(lambda found: self._name(found[0]), text)
        return _ADDRESS.sub(lambda found: self._address(found[0]), text)

    def _host(self, host: str) -> str:
        return host if host == _PLACEHOLDER or _is_address(host) else self._name(host)

    def _name(self, name: str) -> str:
        return name if name.lower() in self._masks.values() else self._mask("name", name.lower())

    def _address(self, text: str) -> str:
        """The longest beginning that is an address, masked, and the rest as it is: the end of a sentence, or a port."""
        stripped = len(text.rstrip(".:"))
        for end in (*range(len(text), stripped - 1, -1), max(0, text.rfind(":", 0, stripped))):
            address = _parsed(text[:end])
            if address is not None:
                mask = text[:end] if is_kept(address) else self._mask(f"ip{address.version}", str(address))
                return mask + text[end:]
        return text  # a time, or a version

    def _mask(self, kind: str, value: str) -> str:
        known = self._masks.get(f"{kind} {value}")
        if known is not None:
            return known
        digest = blake2s(f"{kind} {value}".encode(), key=self._salt).hexdigest()
        taken = set(self._masks.values())
        lengths = range(MASK_DIGITS, len(digest) + 1)
        made = next(mask for length in lengths if (mask := f"{kind}-{digest[:length]}") not in taken)
        self._masks[f"{kind} {value}"] = made
        return made


def without_secrets(text: str, public_keys: Iterable[str]) -> str:
    """The text without users and passwords of URLs; and without keys but for those, in base64, which are public."""
    text = _PASSWORD.sub(r"\1", text)
    public = set(public_keys)
    if not public:
        return text
    return _KEY.sub(lambda found: found[0] if found[0] in public else "(key)", text)


def is_kept(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address is of a range that is the same everywhere."""
    return any(address.version == network.version and address in network for network in _KEPT)


def _is_address(text: str) -> bool:
    return _parsed(text) is not None


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
