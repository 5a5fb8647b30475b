"""Errors as HTTP: each of ours has its status, and every answer that is no success has the same body."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

from litestar import Request, Response
from litestar.exceptions import HTTPException

from wireguard_mesh.core.nonces import Replayed
from wireguard_mesh.core.ratelimit import RateLimited
from wireguard_mesh.model.errors import (
    Conflict,
    Exhausted,
    InvalidValue,
    MeshError,
    NotFound,
    NotPermitted,
    Unavailable,
)
from wireguard_mesh.protocol.codec import encode
from wireguard_mesh.protocol.seed import ErrorResponse
from wireguard_mesh.protocol.signatures import INSTANCE_HEADER, ClockSkew, SignatureRefused, StaleNonce
from wireguard_mesh.store.faults import StorageFull

log = logging.getLogger(__name__)

MAX_BODY: Final = 64 * 1024
RETRY_SECONDS: Final = 1.0


class TooLarge(MeshError):
    """The body is longer than `MAX_BODY`."""

    code = "too_large"


class TooSlow(MeshError):
    """The body did not arrive in time."""

    code = "too_slow"


# The first that fits counts.
_STATUS: Final[tuple[tuple[type[MeshError], HTTPStatus], ...]] = (
    (SignatureRefused, HTTPStatus.UNAUTHORIZED),
    (ClockSkew, HTTPStatus.UNAUTHORIZED),
    (StaleNonce, HTTPStatus.UNAUTHORIZED),
    (Replayed, HTTPStatus.UNAUTHORIZED),
    (RateLimited, HTTPStatus.TOO_MANY_REQUESTS),
    (StorageFull, HTTPStatus.INSUFFICIENT_STORAGE),
    (Exhausted, HTTPStatus.INSUFFICIENT_STORAGE),
    (Unavailable, HTTPStatus.SERVICE_UNAVAILABLE),
    (InvalidValue, HTTPStatus.BAD_REQUEST),
    (NotPermitted, HTTPStatus.FORBIDDEN),
    (NotFound, HTTPStatus.NOT_FOUND),
    (Conflict, HTTPStatus.CONFLICT),
    (TooLarge, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    (TooSlow, HTTPStatus.REQUEST_TIMEOUT),
)
_HTTP_HINTS: Final = {
    HTTPStatus.NOT_FOUND: "GET /v1/openapi.json describes what there is",
    HTTPStatus.METHOD_NOT_ALLOWED: "GET /v1/openapi.json describes what there is",
}


def status_of(error: MeshError) -> HTTPStatus:
    """The status that an error of ours is answered with."""
    for kind, status in _STATUS:
        if isinstance(error, kind):
            return status
    return HTTPStatus.INTERNAL_SERVER_ERROR


def mesh_error_handler(instance: Callable[[], str]) -> Callable[[Request[Any, Any, Any], MeshError], Response[bytes]]:
    """The handler for errors of ours. `instance` gives what requests are to be signed for now."""

    def handle(_request: Request[Any, Any, Any], error: MeshError) -> Response[bytes]:
        headers = {}
        if isinstance(error, ClockSkew | StaleNonce):
            headers[INSTANCE_HEADER] = instance()
        return _answer_mesh_error(error, headers)

    return handle


def _answer_mesh_error(error: MeshError, headers: dict[str, str]) -> Response[bytes]:
    if isinstance(error, Unavailable):
        wait = error.retry_after if isinstance(error, RateLimited) else RETRY_SECONDS
        headers["retry-after"] = str(math.ceil(wait))
    if isinstance(error, TooLarge | TooSlow):
        headers["connection"] = "close"  # the rest of the body is not awaited
    return _answer(status_of(error), error.code, error.message, error.hint, headers)


def answer_http_exception(_request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """One of the framework's: no such path, no such method."""
    status = HTTPStatus(error.status_code)
    headers = {name: value for name, value in (error.headers or {}).items() if name.lower() == "allow"}
    code = status.phrase.lower().replace(" ", "_")
    return _answer(status, code, status.description or status.phrase, _HTTP_HINTS.get(status, ""), headers)


def answer_fault(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """A fault of ours: logged here, and none of it told to the caller."""
    log.error("request failed method=%s path=%s", request.method, request.url.path, exc_info=error)
    return _answer(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "the server failed at this", "look at its log", {})


def error_body(code: str, message: str, hint: str = "") -> bytes:
    """The body of any answer that is no success."""
    return encode(ErrorResponse(code=code, error=message, hint=hint))


def _answer(status: HTTPStatus, code: str, message: str, hint: str, headers: dict[str, str]) -> Response[bytes]:
    return Response(error_body(code, message, hint), status_code=status, media_type="application/json", headers=headers)
