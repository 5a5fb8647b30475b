"""One client's identity, and its signed requests."""

import os
import time
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import IPv4Address
from typing import Final

from bench.load.calls import Answer, Calls
from bench.load.signing import QuickSigner, new_nonce
from bench.load.wire import Head
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.keys import PrivateKey, PublicKey
from wireguard_mesh.model.names import PeerId
from wireguard_mesh.protocol import api
from wireguard_mesh.protocol.codec import encode
from wireguard_mesh.protocol.signatures import INSTANCE_HEADER

_TEST_NETWORK: Final = int(IPv4Address("198.18.0.0"))  # 198.18.0.0/15 is for benchmarks (RFC 2544)
_TEST_ADDRESSES: Final = 1 << 17
_PORT: Final = 51820
UNREGISTERED: Final = PeerId("")


class Refused(Exception):
    """The server refused what it should not."""


@dataclass(slots=True, eq=False)
class Member:
    """A client: its key, what the server calls it, and the server process that it last spoke to.

    `changed`: when it last was the subject of a change, in monotonic seconds.
    """

    public_key: PublicKey
    signer: QuickSigner
    hostname: str
    endpoint: Endpoint
    instance: str
    peer_id: PeerId = UNREGISTERED
    changed: float = 0.0
    has_left: bool = False
    is_beating: bool = False

    def request(self, method: str, target: str, body: bytes = b"", headers: str = "") -> bytes:
        """A signed request as it goes over the wire. `headers` are lines with their ends."""
        signature = self.signer.sign(method, target, body, now=time.time(), nonce=new_nonce(self.instance))
        if body:
            headers += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
        return f"{method} {target} HTTP/1.1\r\nhost: server\r\n{headers}{signature}\r\n".encode() + body

    def is_to_sign_again(self, head: Head, signed_for: str) -> bool:
        """Whether a refusal names another server process than the one signed for; it is taken up."""
        named = head.header(INSTANCE_HEADER)
        if head.status != HTTPStatus.UNAUTHORIZED or named in ("", signed_for):
            return False
        self.instance = named
        return True

    async def ask(self, calls: Calls, method: str, target: str, body: bytes = b"") -> Answer:
        """The answer; signs once more if the server process is another one. Raises `Refused`, `OSError`."""
        signed_for = ""

        def request() -> bytes:
            nonlocal signed_for
            signed_for = self.instance
            return self.request(method, target, body)

        answer = await calls.call(request)
        if self.is_to_sign_again(answer.head, signed_for):
            answer = await calls.call(request)
        if not answer.head.is_ok:
            raise Refused(f"{method} {target}: {answer.head.status} {answer.body.decode(errors='replace')}")
        return answer

    async def register(self, calls: Calls) -> api.RegisterResponse:
        """Join, or say anew what it is."""
        message = api.RegisterRequest(hostname=self.hostname, os="linux", endpoints=(self.endpoint,))
        answer = await self.ask(calls, "POST", "/v1/register", encode(message))
        response = api.register_response.decode(answer.body)
        self.peer_id = response.peer_id
        return response

    async def beat(self, calls: Calls) -> None:
        """It lives; as an agent does, it says all of what it is each time, its `endpoint` too."""
        message = api.HeartbeatRequest(endpoints=(self.endpoint,), exit_node=False)
        await self.ask(calls, "POST", "/v1/heartbeat", encode(message))

    async def leave(self, calls: Calls) -> None:
        """Go for good."""
        await self.ask(calls, "DELETE", "/v1/peer")


def make_member(number: int, server: api.ServerInfo) -> Member:
    """A client with a new key; `number` makes its name and its endpoint."""
    private_key = PrivateKey.generate(os.urandom(32))
    public_key = private_key.public_key
    return Member(
        public_key=public_key,
        signer=QuickSigner(private_key, public_key, server.server_public_key),
        hostname=f"host-{number}",
        endpoint=endpoint(number),
        instance=server.instance,
    )


def endpoint(number: int) -> Endpoint:
    """Another one for each number."""
    return Endpoint(IPv4Address(_TEST_NETWORK + number % _TEST_ADDRESSES), _PORT)
