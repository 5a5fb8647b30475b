"""Answers that are encoded already."""

from __future__ import annotations

from http import HTTPStatus

from litestar import MediaType
from litestar.response.base import ASGIResponse


def json_reply(body: bytes, status: HTTPStatus = HTTPStatus.OK) -> ASGIResponse:
    """A body of JSON."""
    return ASGIResponse(body=body, media_type=MediaType.JSON, status_code=status)
