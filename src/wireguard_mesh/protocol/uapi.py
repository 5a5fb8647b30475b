"""WireGuard's cross-platform configuration text (https://www.wireguard.com/xplatform/). Pure.

`set=1` carries a change to a userspace WireGuard, `get=1` asks for what stands. Lines are `key=value`, a blank line
ends each side's turn, and the answer's last line is `errno=N`. Keys are 64 hexadecimal digits.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from io import BytesIO
from ipaddress import ip_network
from typing import Final

from wireguard_mesh.model.devices import BackendKind, DeviceChange, ObservedDevice, ObservedPeer, PeerChange
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.model.keys import KEY_LENGTH, PresharedKey, PrivateKey, PublicKey
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.model.networks import Prefix
from wireguard_mesh.model.peers import SCAN_CACHE, shared_prefixes

GET: Final = b"get=1\n\n"
END: Final = b"\n\n"
MAX_ANSWER: Final = 32 * 1024 * 1024  # bytes: 10,000 peers with 50 prefixes each stay below
_NANOSECOND: Final = 1e-9
_NO_KEY: Final = bytes(KEY_LENGTH)  # the protocol's way to say that there is none


def encode_set(change: DeviceChange) -> bytes:
    """The whole `set` for a change, all its peers in one."""
    return ("\n".join(_set_lines(change)) + "\n\n").encode("ascii")


def _set_lines(change: DeviceChange) -> Iterator[str]:
    yield "set=1"
    if change.private_key is not None:
        yield f"private_key={change.private_key.raw.hex()}"
    if change.listen_port is not None:
        yield f"listen_port={change.listen_port}"
    if change.fwmark is not None:
        yield f"fwmark={change.fwmark}"
    for peer in change.peers:
        yield from _peer_lines(peer)


def _peer_lines(peer: PeerChange) -> Iterator[str]:
    yield f"public_key={peer.public_key.raw.hex()}"
    if peer.remove:
        yield "remove=true"
        return
    if not peer.create:
        yield "update_only=true"
    if peer.preshared_key is not None:
        yield f"preshared_key={peer.preshared_key.raw.hex()}"
    if peer.endpoint is not None:
        yield f"endpoint={peer.endpoint}"
    if peer.keepalive is not None:
        yield f"persistent_keepalive_interval={peer.keepalive}"
    if peer.allowed_ips is not None:
        yield "replace_allowed_ips=true"
        for prefix in sorted(peer.allowed_ips, key=str):
            yield f"allowed_ip={prefix}"


def parse_set(answer: bytes) -> int:
    """The errno of the answer to a `set`, 0 for success. Raises `InvalidValue` if that is no answer."""
    fields = list(_fields(answer))
    if len(fields) != 1 or fields[0][0] != "errno":
        raise InvalidValue("WireGuard's answer to a change has no errno")
    return _number(fields[0][1])


def parse_get(name: InterfaceName, answer: bytes) -> ObservedDevice:
    """What a device says of itself. Unknown lines are left out: they come with newer versions.

    An endpoint that only this machine understands (link-local with an interface) counts as none. Raises `InvalidValue`
    if that is no answer, or one of failure.
    """
    device: dict[str, str] = {}
    peers: dict[PublicKey, ObservedPeer] = {}
    fields, prefixes = device, list[str]()
    # A peer at a time becomes a value: the text of thousands takes more memory than all else.
    for key, value in _fields(answer):
        if key == "public_key":
            _add(peers, fields, prefixes)
            fields, prefixes = {key: value}, []
        elif key == "allowed_ip" and fields is not device:
            prefixes.append(value)
        else:
            (device if key == "errno" else fields)[key] = value
    _add(peers, fields, prefixes)
    code = _number(device.get("errno", ""))
    if code:
        raise InvalidValue(f"WireGuard could not say what it does (errno {code})")
    private_key = _key(device.get("private_key"))
    return ObservedDevice(
        name=name,
        backend=BackendKind.USERSPACE,
        private_key=PrivateKey(private_key) if private_key else None,
        listen_port=_number(device.get("listen_port", "0")),
        fwmark=_number(device.get("fwmark", "0")),
        peers=peers,
    )


def _add(peers: dict[PublicKey, ObservedPeer], fields: dict[str, str], prefixes: list[str]) -> None:
    if "public_key" in fields:
        peer = _peer(fields, prefixes)
        peers[peer.public_key] = peer


def _peer(fields: dict[str, str], prefixes: list[str]) -> ObservedPeer:
    preshared_key = _key(fields.get("preshared_key"))
    seconds = _number(fields.get("last_handshake_time_sec", "0"))
    nanoseconds = _number(fields.get("last_handshake_time_nsec", "0"))
    return ObservedPeer(
        public_key=_public_key(fields["public_key"]),
        allowed_ips=_prefixes(tuple(prefixes)),
        endpoint=_endpoint(fields.get("endpoint")),
        keepalive=_number(fields.get("persistent_keepalive_interval", "0")),
        preshared_key=PresharedKey(preshared_key) if preshared_key else None,
        latest_handshake=seconds + nanoseconds * _NANOSECOND,
        received_bytes=_number(fields.get("rx_bytes", "0")),
        sent_bytes=_number(fields.get("tx_bytes", "0")),
    )


def _fields(answer: bytes) -> Iterator[tuple[str, str]]:
    if len(answer) > MAX_ANSWER:
        raise InvalidValue(f"WireGuard's answer is longer than {MAX_ANSWER} bytes")
    if not answer.isascii():
        raise InvalidValue("WireGuard's answer is no text")
    for line in BytesIO(answer):
        key, separator, value = line.decode("ascii").rstrip("\n").partition("=")
        if separator:
            yield key, value
        elif key:
            raise InvalidValue("WireGuard's answer has a line that is no key and value")


def _number(value: str) -> int:
    digits = value.removeprefix("-")  # errno may be negative
    if not (digits.isdigit() and len(digits) <= len(str(2**64))):
        raise InvalidValue("WireGuard's answer has a number that is none")
    return int(value)


def _key(value: str | None) -> bytes | None:
    """A key's bytes, or None for the all-zero key, which stands for no key."""
    if value is None:
        return None
    try:
        raw = bytes.fromhex(value)
    except ValueError:
        raw = b""
    if len(raw) != KEY_LENGTH:
        raise InvalidValue("WireGuard's answer has a key of the wrong form")
    return raw if raw != _NO_KEY else None


# The same peers are read again and again: these make their values once.
@lru_cache(SCAN_CACHE)
def _public_key(value: str) -> PublicKey:
    return PublicKey(_key(value) or _NO_KEY)


@lru_cache(SCAN_CACHE)
def _prefixes(values: tuple[str, ...]) -> frozenset[Prefix]:
    try:
        return shared_prefixes(frozenset(ip_network(value) for value in values))
    except ValueError:
        raise InvalidValue("WireGuard named an allowed IP that is no prefix") from None


@lru_cache(SCAN_CACHE)
def _endpoint(value: str | None) -> Endpoint | None:
    if value is None:
        return None
    try:
        return Endpoint.parse(value)
    except InvalidValue:
        return None
