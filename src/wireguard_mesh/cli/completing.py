"""What a shell offers in place of PEER: the names of the peers that the running agent knows."""

from __future__ import annotations

from typing import Any

import click

from wireguard_mesh.cli.place import Place
from wireguard_mesh.model.errors import MeshError
from wireguard_mesh.protocol.local import StatusRequest
from wireguard_mesh.protocol.status import Status


def peer_names(context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """Those that begin so; none where no agent answers. See `click.Parameter.shell_complete`."""
    place = _place(context)
    try:
        status = place.ask(StatusRequest(), Status)
    except MeshError:
        return []
    return sorted({peer.hostname for peer in status.peers if peer.hostname.startswith(begun.lower())})


def _place(context: click.Context) -> Place:
    """As the flags say that stand on the line already, those of the command over those before it."""
    given: dict[str, Any] = {}
    for level in (context.parent, context):
        if level is not None:
            given.update({key: value for key, value in level.params.items() if value is not None})
    return Place(given.get("config"), given.get("interface"))
