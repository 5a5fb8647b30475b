"""Who asks: reads a request's body within its limits, and verifies its signature."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv4Address, ip_address
from typing import Any, Final

from litestar import Request
from litestar.exceptions import ClientException

from wireguard_mesh.core.nonces import CLOCK_TOLERANCE_SECONDS, Nonces
from wireguard_mesh.model.endpoints import Address
from wireguard_mesh.model.keys import PrivateKey, PublicKey
from wireguard_mesh.protocol.signatures import (
    SIGNATURE_HEADERS,
    SignatureRefused,
    Signed,
    Verifier,
    request_key,
)
from wireguard_mesh.server.clock import Clock
from wireguard_mesh.server.errors import MAX_BODY, TooLarge, TooSlow
from wireguard_mesh.server.mesh import Mesh

AnyRequest = Request[Any, Any, Any]

BODY_SECONDS: Final = 10.0
_INSTANCE_BYTES: Final = 8
REQUEST_KEYS: Final = 16_384  # kept, some 300 bytes each; a miss costs an X25519
_UNKNOWN_SOURCE: Final = IPv4Address("0.0.0.0")  # a Unix socket, or a test without a network


class Gate:
    """Reads and verifies the requests of one server."""

    def __init__(self, mesh: Mesh, private_key: PrivateKey, clock: Clock) -> None:
        self._mesh = mesh
        self._clock = clock
        self._instance = _new_instance()
        self._offset = clock.wall() - clock.monotonic()
        self._nonces = Nonces(clock.monotonic())
        server = private_key.public_key

        @lru_cache(maxsize=REQUEST_KEYS)
        def key_for(peer: PublicKey) -> bytes:
            return request_key(private_key, peer, peer=peer, server=server)

        self._verifier = Verifier(key_for)

    @property
    def instance(self) -> str:
        """What a request is to be signed for. A new one if the wall clock was set back: nonces are not remembered until
        the same time comes again."""
        offset = self._clock.wall() - self._clock.monotonic()
        if offset < self._offset - CLOCK_TOLERANCE_SECONDS:
            self._instance = _new_instance()
            self._offset = offset
        self._offset = max(self._offset, offset)
        return self._instance

    async def body(self, request: AnyRequest) -> bytes:
        """Raises `TooLarge`, `TooSlow`."""
        declared = request.headers.get("content-length", "0")
        if declared.isdigit() and int(declared) > MAX_BODY:
            raise TooLarge(f"the body is longer than {MAX_BODY} bytes")
        try:
            async with asyncio.timeout(BODY_SECONDS):
                return await request.body()
        except TimeoutError:
            raise TooSlow(f"the body did not arrive within {BODY_SECONDS:.0f} s") from None
        except ClientException:
            # Chunked, and longer than the framework was told to read.
            raise TooLarge(f"the body is longer than {MAX_BODY} bytes") from None

    def is_signed(self, request: AnyRequest) -> bool:
        """Whether the request claims a signature."""
        return "signature" in request.headers or "signature-input" in request.headers

    def newcomer(self, request: AnyRequest, body: bytes) -> PublicKey:
        """The key that signed a registration; it may be new here.

        Raises `SignatureRefused`, `ClockSkew`, `StaleNonce`, `Replayed`, `RateLimited`.
        """
        return self.stranger(request, body, self._mesh.admit)

    def stranger(self, request: AnyRequest, body: bytes, admit: Callable[[PublicKey, Address], None]) -> PublicKey:
        """The key that signed a request, whoever it is; remembered if `admit` does not raise.

        Raises `SignatureRefused`, `ClockSkew`, `StaleNonce`, `Replayed`, and what `admit` does.
        """
        signed = self._verify(request, body)
        admit(signed.public_key, source(request))
        return self._once(signed)

    async def member(self, request: AnyRequest, body: bytes) -> PublicKey:
        """The registered key that signed a request.

        Raises `SignatureRefused`, `ClockSkew`, `StaleNonce`, `Replayed`, `RateLimited`, and `NotFound`: register again.
        """
        signed = self._verify(request, body)
        if signed.public_key not in self._mesh.snapshot.records:
            await self._mesh.meet(signed.public_key)
        self._mesh.snapshot.record(signed.public_key)
        return self._once(signed)

    async def follower(self, request: AnyRequest, body: bytes) -> PublicKey:
        """The key of a registered peer or relay that signed a request. Raises as `member`."""
        signed = self._verify(request, body)
        if signed.public_key not in self._mesh.snapshot.records:
            await self._mesh.meet(signed.public_key)
        self._mesh.snapshot.check_follower(signed.public_key)
        return self._once(signed)

    def _verify(self, request: AnyRequest, body: bytes) -> Signed:
        headers = {name: request.headers[name] for name in SIGNATURE_HEADERS if name in request.headers}
        if "signature" not in headers:
            raise SignatureRefused("this request must be signed", "docs/protocol.md says how")
        return self._verifier.verify(
            request.method, target(request), headers, body, now=self._clock.wall(), instance=self.instance
        )

    def _once(self, signed: Signed) -> PublicKey:
        # Only now: what strangers send at will must not fill the memory of nonces.
        self._nonces.use(signed.public_key, signed.nonce, self._clock.monotonic())
        return signed.public_key


def _new_instance() -> str:
    return os.urandom(_INSTANCE_BYTES).hex()


def target(request: AnyRequest) -> str:
    """Path and query as they came."""
    path: str = request.scope["raw_path"].decode("ascii", "replace")
    query: str = request.scope["query_string"].decode("ascii", "replace")
    return f"{path}?{query}" if query else path


def source(request: AnyRequest) -> Address:
    """The address that the request came from."""
    if request.client is None:
        return _UNKNOWN_SOURCE
    try:
        return ip_address(request.client.host.partition("%")[0])
    except ValueError:
        return _UNKNOWN_SOURCE
