"""The keys of relays: the one that makes a machine a relay of a mesh, and those of a relay's vantage points."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import struct
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from wireguard_mesh.model.errors import InvalidKey
from wireguard_mesh.model.keys import KEY_LENGTH, PrivateKey, PublicKey
from wireguard_mesh.model.relays import RelayId

PROOF_SECONDS: Final = 60  # a proof is good so long before and after its time
_PREFIX: Final = "relay-"  # so that it is not taken for a WireGuard key, nor one for it
_PROOF_CONTEXT: Final = b"wireguard-mesh relay registration 1"
_VANTAGE_CONTEXT: Final = b"wireguard-mesh vantage point 1 "
_SERVER_CONTEXT: Final = b"wireguard-mesh relay of a server 1 "
_TIME: Final = struct.Struct("!q")


class RelayKey:
    """The secret that makes a machine a relay of a mesh: 32 random bytes, written `relay-` and 43 characters. It
    is never sent, and never shown but by `to_text`."""

    __slots__ = ("_raw",)

    def __init__(self, raw: bytes) -> None:
        if len(raw) != KEY_LENGTH:
            raise InvalidKey(f"a relay key is {KEY_LENGTH} bytes, not {len(raw)}")
        self._raw = bytes(raw)

    @classmethod
    def parse(cls, text: str) -> RelayKey:
        """Raises `InvalidKey`, which does not repeat it."""
        written = text.strip()
        try:
            raw = base64.urlsafe_b64decode(written.removeprefix(_PREFIX) + "=")
        except (binascii.Error, ValueError):
            raw = b""
        if len(raw) != KEY_LENGTH or cls(raw).to_text() != written:
            raise InvalidKey("that is no relay key", "'vpn-server relay-key' prints it where the server runs")
        return cls(raw)

    def to_text(self) -> str:
        """For the file or the person that needs it."""
        return _PREFIX + base64.urlsafe_b64encode(self._raw).decode("ascii").rstrip("=")

    def proof(self, relay: RelayId, public_key: PublicKey, server: PublicKey, time: int) -> str:
        """That the holder of this key made the machine with `public_key` a relay of that server's mesh, at `time` (Unix
        seconds): HMAC-SHA256, in hexadecimal digits."""
        message = _PROOF_CONTEXT + server.raw + public_key.raw + _TIME.pack(time) + relay.encode("ascii")
        return hmac.new(self._raw, message, hashlib.sha256).hexdigest()

    def proves(self, proof: str, relay: RelayId, public_key: PublicKey, server: PublicKey, time: int) -> bool:
        """Whether `proof` was made with this key; takes the same time whatever it is."""
        expected = self.proof(relay, public_key, server, time)
        return hmac.compare_digest(expected.encode("ascii"), proof.encode("utf-8", "replace"))

    def __repr__(self) -> str:
        return "RelayKey(redacted)"


def vantage_keys(own: PrivateKey, relay: RelayId) -> tuple[PrivateKey, PrivateKey]:
    """The keys of a relay's vantage points: its own, and one derived from it."""
    return own, _derived(own, _VANTAGE_CONTEXT, relay)


def server_relay_key(server: PrivateKey, relay: RelayId) -> PrivateKey:
    """The own key of the relay of one of several servers: those have one key together, and relays must not."""
    return _derived(server, _SERVER_CONTEXT, relay)


def _derived(key: PrivateKey, context: bytes, relay: RelayId) -> PrivateKey:
    kdf = HKDF(algorithm=SHA256(), length=KEY_LENGTH, salt=None, info=context + relay.encode("ascii"))
    return PrivateKey.generate(kdf.derive(key.raw))
