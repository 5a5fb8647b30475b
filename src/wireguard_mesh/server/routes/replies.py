"""Answers that are encoded already."""

from __future__ import annotations

from litestar import MediaType
from litestar.response.base import ASGIResponse


def json_reply(body: bytes) -> ASGIResponse:
    """200, with a body of JSON."""
    return ASGIResponse(body=body, media_type=MediaType.JSON)
