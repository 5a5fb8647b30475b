"""From the events of the map's stream to updates: a step counts when it is complete, or not at all."""

from __future__ import annotations

from typing import Final

from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.model.names import PeerId
from wireguard_mesh.model.networks import MeshNetwork
from wireguard_mesh.model.peers import MapVersion, Peer
from wireguard_mesh.model.relays import Relay
from wireguard_mesh.protocol import events
from wireguard_mesh.protocol.api import MapUpdate, UpdateKind
from wireguard_mesh.protocol.events import Event

MAX_STEP: Final = (
    64 * 1024 * 1024
)  # bytes of one step's data, or of an answer with a map: the whole map of 240,000 peers


class MapReceiver:
    """The events of one stream, from its beginning. What a broken stream left incomplete ends with its receiver."""

    def __init__(self) -> None:
        self._network: MeshNetwork | None = None
        self._upsert: list[Peer] = []
        self._remove: list[PeerId] = []
        self._relays: tuple[Relay, ...] | None = None
        self._size = 0

    def take(self, event: Event) -> MapUpdate | None:
        """The update that this event completes. Raises `InvalidValue` for what a server does not send."""
        self._size += len(event.data)
        if self._size > MAX_STEP:
            raise InvalidValue(f"a step of the stream is longer than {MAX_STEP} bytes")
        match event.name:
            case events.SNAPSHOT:
                self._forget()
                self._network = events.snapshot_data.decode(event.data).network
            case events.UPSERT:
                self._upsert.extend(events.upsert_data.decode(event.data))
            case events.REMOVE:
                self._remove.extend(events.remove_data.decode(event.data))
            case events.RELAYS:
                self._relays = events.relays_data.decode(event.data)
            case events.CURRENT:
                return self._complete(MapVersion.parse(event.id))
        return None

    def _complete(self, version: MapVersion) -> MapUpdate:
        kind = UpdateKind.DELTA if self._upsert or self._remove or self._relays is not None else UpdateKind.CURRENT
        update = MapUpdate(
            kind=UpdateKind.SNAPSHOT if self._network is not None else kind,
            epoch=version.epoch,
            revision=version.revision,
            network=self._network,
            upsert=tuple(self._upsert),
            remove=tuple(self._remove),
            relays=self._relays,
        )
        self._forget()
        return update

    def _forget(self) -> None:
        self._network, self._upsert, self._remove, self._relays, self._size = None, [], [], None, 0
