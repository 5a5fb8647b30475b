"""What an agent's status says of peer 2, for tests of what is told of it."""

from __future__ import annotations

from typing import Any

import msgspec

from tests.samples import peer
from wireguard_mesh.model.names import Hostname
from wireguard_mesh.model.paths import PathReport
from wireguard_mesh.protocol.status import PeerStatus


def bob(path: PathReport, **changes: Any) -> PeerStatus:
    """Peer 2, which is online and called `bob`."""
    status = PeerStatus(
        id=peer(2).id,
        hostname=Hostname("bob"),
        os="linux",
        public_key=peer(2).public_key,
        ipv4=peer(2).ipv4,
        ipv6=peer(2).ipv6,
        online=True,
        path=path,
    )
    return msgspec.structs.replace(status, **changes)
