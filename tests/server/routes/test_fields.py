"""Fields that are shown on terminals."""

from __future__ import annotations

import pytest

from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.server.routes.fields import shown_text


@pytest.mark.parametrize("text", ["", "linux", "Ubuntu 24.04 — ä", "x" * 64])
def test_what_may_be_shown(text: str) -> None:
    assert shown_text("os", text) == text


@pytest.mark.parametrize("text", ["x" * 65, "\x1b[2J", "a\nb", "\x00", "\u202e"])
def test_what_may_not(text: str) -> None:
    with pytest.raises(InvalidValue, match="os: expected at most 64 printable characters"):
        shown_text("os", text)
