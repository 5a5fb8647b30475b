"""Whom a user means who names a peer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from wireguard_mesh.model.errors import NotFound

T = TypeVar("T")


def the_one(name: str, found: Sequence[tuple[str, T]]) -> T:
    """The only one of those that `name` fits, given with their ids. Raises `NotFound`."""
    if not found:
        raise NotFound(f"no peer is called {name}", "see: vpn-client status")
    if len(found) > 1:
        raise NotFound(f"{len(found)} peers are called {name}", f"say which: {', '.join(key for key, _ in found)}")
    return found[0][1]
