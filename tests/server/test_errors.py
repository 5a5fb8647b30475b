"""Each of our errors has its status."""

from __future__ import annotations

from http import HTTPStatus

import pytest

from wireguard_mesh.core.nonces import Replayed
from wireguard_mesh.core.ratelimit import RateLimited
from wireguard_mesh.model import errors
from wireguard_mesh.protocol.signatures import ClockSkew, SignatureRefused, StaleNonce
from wireguard_mesh.server.errors import TooLarge, TooSlow, status_of
from wireguard_mesh.store.faults import StorageFull


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (errors.InvalidValue, 400),
        (errors.InvalidKey, 400),
        (SignatureRefused, 401),
        (ClockSkew, 401),
        (StaleNonce, 401),
        (Replayed, 401),
        (errors.NotPermitted, 403),
        (errors.NotFound, 404),
        (TooSlow, 408),
        (errors.Conflict, 409),
        (TooLarge, 413),
        (RateLimited, 429),
        (errors.MeshError, 500),
        (errors.Unavailable, 503),
        (errors.Exhausted, 507),
        (StorageFull, 507),
    ],
)
def test_status(kind: type[errors.MeshError], status: int) -> None:
    assert status_of(kind("x")) == HTTPStatus(status)
