"""Sample values for tests: number n always gives the same key, peer and addresses."""

from functools import cache

from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.keys import PrivateKey, PublicKey
from wireguard_mesh.model.names import Hostname, PeerId
from wireguard_mesh.model.networks import DEFAULT_IPV4_NETWORK, MeshNetwork, ula_prefix
from wireguard_mesh.model.peers import Peer

NETWORK = MeshNetwork.within(DEFAULT_IPV4_NETWORK, ula_prefix(bytes.fromhex("0123456789")))


@cache
def private_key(number: int) -> PrivateKey:
    """A valid private key for each number."""
    return PrivateKey.generate(number.to_bytes(31, "big") + b"\0")  # the last byte is clamped


@cache
def public_key(number: int) -> PublicKey:
    """The public half of `private_key(number)`."""
    return private_key(number).public_key


def peer(number: int) -> Peer:
    """Peer `number` at host `number` of `NETWORK`, with one endpoint."""
    return Peer(
        id=PeerId(f"peer-{number:06d}"),
        public_key=public_key(number),
        hostname=Hostname(f"host-{number}"),
        os="linux",
        ipv4=NETWORK.ipv4_address(number),
        ipv6=NETWORK.ipv6_address(number),
        endpoints=(Endpoint.parse(f"192.0.2.{number % 250 + 1}:51820"),),
    )
