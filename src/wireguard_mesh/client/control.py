"""Calls to the coordination server: signed, timed, bounded, and with every refusal turned into an error of ours."""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from http import HTTPStatus
from typing import Any, Final, TypeVar

from wireguard_mesh.client.http import HttpClient, Response, Stream
from wireguard_mesh.core.feed import FIRST_STEP
from wireguard_mesh.core.following import MAX_STEP
from wireguard_mesh.model.errors import Conflict, InvalidValue, MeshError, NotFound, Unavailable
from wireguard_mesh.model.keys import PrivateKey, PublicKey
from wireguard_mesh.model.peers import MapVersion
from wireguard_mesh.protocol import api
from wireguard_mesh.protocol.codec import Decoder, encode
from wireguard_mesh.protocol.seed import ErrorResponse
from wireguard_mesh.protocol.signatures import (
    INSTANCE_HEADER,
    MAX_NONCE_LENGTH,
    ClockSkew,
    SignatureRefused,
    Signer,
    StaleNonce,
    make_nonce,
)

CALL_TIMEOUT: Final = 15.0  # seconds
STREAM_TIMEOUT: Final = FIRST_STEP  # seconds until a stream must have begun
MAX_SMALL: Final = 64 * 1024  # bytes of an answer without a map
MAX_SERVER_TEXT: Final = 300  # characters of the server's words that are shown
NONCE_BYTES: Final = 16
EVENT_STREAM: Final = "text/event-stream"  # WHATWG HTML, section 9.2
MAX_INSTANCE: Final = MAX_NONCE_LENGTH // 2  # characters

_INSTANCE: Final = re.compile(rf"[A-Za-z0-9_-]{{1,{MAX_INSTANCE}}}")

_STREAM_HEADERS: Final = {"accept": EVENT_STREAM, "accept-encoding": "gzip", "cache-control": "no-store"}
_error_response: Decoder[ErrorResponse] = Decoder(ErrorResponse)
T = TypeVar("T")


class NotRegistered(NotFound):
    """The server does not know this peer (any more): register."""

    code = "not_registered"


class ServerRefused(MeshError):
    """The server understood and said no; asking again will not help."""

    code = "refused"


class ServerKeyChanged(Conflict):
    """Another server answers at the address, or the server has lost its key."""

    code = "server_key_changed"


class Control:
    """One peer's calls to one server. `server_key` None: not known yet, so `pin` comes first. `wall`: Unix time."""

    def __init__(
        self, http: HttpClient, private_key: PrivateKey, server_key: PublicKey | None, wall: Callable[[], float]
    ) -> None:
        self.http = http
        self._private_key = private_key
        self._wall = wall
        self._offset = 0.0
        self._server_key = server_key
        self._signer: Signer | None = None
        self._instance = ""  # the process that answers at the server; it says so if that has changed

    @property
    def server_key(self) -> PublicKey | None:
        """The key that the server is known by."""
        return self._server_key

    @property
    def clock_offset(self) -> float:
        """Seconds that the server's clock is ahead of ours, as far as that mattered so far."""
        return self._offset

    async def server_info(self) -> api.ServerInfo:
        """What the server says of itself, unsigned."""
        return await self._call("GET", "/v1/server", None, api.server_info, is_signed=False)

    async def pin(self) -> PublicKey:
        """Learn the server's key if it is not known yet: trust on first use."""
        if self._server_key is None:
            info = await self.server_info()
            self._server_key = info.server_public_key
            self._learn_instance(info.instance)
        return self._server_key

    async def register(self, request: api.RegisterRequest) -> api.RegisterResponse:
        """Join, or say anew what this machine is."""
        try:
            return await self._call("POST", "/v1/register", request, api.register_response, limit=MAX_STEP)
        except NotRegistered:
            raise self._no_server_of_ours("status 404") from None

    async def heartbeat(self, request: api.HeartbeatRequest) -> api.HeartbeatResponse:
        """Say that this machine lives. Raises `NotRegistered`."""
        return await self._call("POST", "/v1/heartbeat", request, api.heartbeat_response)

    async def map(self, since: MapVersion | None) -> api.MapUpdate:
        """What changed since, or the whole map. Raises `NotRegistered`."""
        return await self._call("GET", _target("/v1/map", since), None, api.map_update, limit=MAX_STEP)

    @contextlib.asynccontextmanager
    async def stream(self, since: MapVersion | None) -> AsyncIterator[Stream]:
        """The stream of what changes from then on. Raises `NotRegistered`, and `Unreachable` if there is no connection
        to the server at all."""
        async with self._open(_target("/v1/map/stream", since), _STREAM_HEADERS, HTTPStatus.OK) as stream:
            kind = stream.headers.get("content-type", "")
            if kind.partition(";")[0].strip().lower() != EVENT_STREAM:
                raise self._no_server_of_ours(f"a stream of type {_clean(kind) or 'unknown'}")
            yield stream

    @contextlib.asynccontextmanager
    async def upgrade(self, target: str, headers: Mapping[str, str]) -> AsyncIterator[Stream]:
        """A connection on which another protocol is spoken from now on. Raises as `stream`."""
        async with self._open(target, headers, HTTPStatus.SWITCHING_PROTOCOLS) as stream:
            yield stream

    @contextlib.asynccontextmanager
    async def _open(self, target: str, headers: Mapping[str, str], status: HTTPStatus) -> AsyncIterator[Stream]:
        await self.pin()

        def signed() -> dict[str, str]:
            return {**headers, **self._sign("GET", target, b"")}

        async with self.http.stream(target, signed(), seconds=STREAM_TIMEOUT) as stream:
            refusal = await _refusal_of(stream, status)
            if refusal is not None and self._can_sign_better(refusal):
                await stream.ask_again(signed())
                refusal = await _refusal_of(stream, status)
            if refusal is not None:
                raise await self._refused(refusal, is_signed=True)
            yield stream

    async def leave(self) -> None:
        """Give up this machine's place in the mesh. Raises `NotRegistered`."""
        await self._call("DELETE", "/v1/peer", None, _leave_response)

    async def _call(
        self,
        method: str,
        target: str,
        message: Any,
        decoder: Decoder[T],
        *,
        limit: int = MAX_SMALL,
        is_signed: bool = True,
    ) -> T:
        body = encode(message) if message is not None else b""
        if is_signed:
            await self.pin()

        def headers() -> dict[str, str]:
            plain = {"content-type": "application/json"} if body else {}
            return plain | (self._sign(method, target, body) if is_signed else {})

        answer = await self.http.request(method, target, headers, body, seconds=CALL_TIMEOUT, limit=limit)
        if is_signed and self._can_sign_better(answer):
            answer = await self.http.request(method, target, headers, body, seconds=CALL_TIMEOUT, limit=limit)
        if answer.status in range(200, 300):
            try:
                return decoder.decode(answer.body)
            except InvalidValue as error:
                raise self._no_server_of_ours(f"{target.partition('?')[0]}: {error}") from None
        raise await self._refused(answer, is_signed=is_signed)

    def _sign(self, method: str, target: str, body: bytes) -> dict[str, str]:
        if self._signer is None:
            assert self._server_key is not None
            self._signer = Signer(self._private_key, self._server_key)
        now = self._wall() + self._offset
        nonce = make_nonce(self._instance, secrets.token_urlsafe(NONCE_BYTES))
        return self._signer.sign(method, target, body, now=now, nonce=nonce)

    def _can_sign_better(self, answer: Response) -> bool:
        """Whether the answer says by which clock, or for which process, to sign; from now on it is done so."""
        code = _error_code(answer)
        if code not in {ClockSkew.code, StaleNonce.code}:
            return False
        is_told = self._learn_instance(answer.headers.get(INSTANCE_HEADER, ""))
        return self._set_clock(answer) if code == ClockSkew.code else is_told

    def _learn_instance(self, instance: str) -> bool:
        is_one = _INSTANCE.fullmatch(instance) is not None
        if is_one:
            self._instance = instance
        return is_one

    def _set_clock(self, answer: Response) -> bool:
        """Sign by the server's clock from now on."""
        # Only here, for it takes a third of a megabyte, and most clocks are right.
        from email.utils import parsedate_to_datetime

        with contextlib.suppress(KeyError, TypeError, ValueError, OverflowError):
            self._offset = parsedate_to_datetime(answer.headers["date"]).timestamp() - self._wall()
            return True
        return False

    async def _refused(self, answer: Response, *, is_signed: bool) -> MeshError:
        """What an answer that is no success means. Raises `ServerKeyChanged`, and what asking for the key may raise."""
        if is_signed and _error_code(answer) == SignatureRefused.code:
            await self._compare_key()
        return self._refusal(answer)

    async def _compare_key(self) -> None:
        info = await self.server_info()
        if info.server_public_key != self._server_key:
            raise ServerKeyChanged(
                f"the server {self.http.dialer.server} has another key than when this machine joined",
                "if its administrator says that this is right, run again with -trust-new-server-key",
            )

    def _refusal(self, answer: Response) -> MeshError:
        if answer.status in range(300, 400):
            where = _clean(answer.headers.get("location", "elsewhere"))
            return ServerRefused(f"{self.http.dialer.server} sends us on to {where}", "give that address to -server")
        try:
            said = _error_response.decode(answer.body)
        except InvalidValue:
            return self._no_server_of_ours(f"status {answer.status}")
        message, hint = _clean(said.error), _clean(said.hint)
        if answer.status == HTTPStatus.NOT_FOUND:
            return NotRegistered(message, hint)
        if (
            answer.status in {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}
            or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR
            or said.code == StaleNonce.code  # again, so another process answers each time
        ):
            return Unavailable(message, hint)
        return ServerRefused(message, hint)

    def _no_server_of_ours(self, detail: str) -> Unavailable:
        server = self.http.dialer.server
        return Unavailable(f"{server} answers, but not as a vpn-server does ({detail})", "check -server")


async def _refusal_of(stream: Stream, status: HTTPStatus) -> Response | None:
    """What is answered in place of a stream; None if its status is the right one."""
    if stream.status == status:
        return None
    async with asyncio.timeout(CALL_TIMEOUT):
        return await stream.whole(MAX_SMALL)


def _target(path: str, since: MapVersion | None) -> str:
    # In the query, which is signed, and not as `Last-Event-ID`, which is not.
    return f"{path}?since={since}" if since else path


_leave_response: Decoder[api.LeaveResponse] = Decoder(api.LeaveResponse)


def _error_code(answer: Response) -> str:
    if answer.status < HTTPStatus.BAD_REQUEST:
        return ""
    try:
        return _error_response.decode(answer.body).code
    except InvalidValue:
        return ""


def _clean(text: str) -> str:
    """The server's words for a terminal or a log: no control characters, not too long."""
    plain = "".join(character if character.isprintable() else " " for character in text)
    return plain if len(plain) <= MAX_SERVER_TEXT else f"{plain[:MAX_SERVER_TEXT]}…"
