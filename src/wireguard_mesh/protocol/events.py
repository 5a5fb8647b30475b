"""The stream of the map, `GET /v1/map/stream`: Server-Sent Events (WHATWG HTML, section 9.2).

A stream is a row of steps. Each is complete with its `current`, which alone has an id: whoever loses the stream names
that id as `Last-Event-ID`, forgets what came after it, and loses nothing.

| event      | data                      | meaning                                                                  |
| ---------- | ------------------------- | ------------------------------------------------------------------------ |
| `snapshot` | `{"network": {…}}`        | forget all that you have: what follows is the whole map                  |
| `remove`   | `["peer-000001", …]`      | ids of those to forget, before the upserts of the step                   |
| `upsert`   | `[{peer}, …]`             | records that are new or changed, your own among them                     |
| `relays`   | `[{relay}, …]`            | all relays that there are; as before if a step has none                  |
| `current`  | `{}`, id `EPOCH.REVISION` | the step is complete: this is the version of your map now                |

Comments are sent in silence, at least each `KEEPALIVE_SECONDS`. `retry` says over how many milliseconds to spread a
reconnect. Unknown events and unknown fields mean nothing to older clients.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import msgspec

from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.model.names import PeerId
from wireguard_mesh.model.networks import MeshNetwork
from wireguard_mesh.model.peers import MapVersion, Peer
from wireguard_mesh.model.relays import Relay
from wireguard_mesh.protocol.codec import Decoder, encode

KEEPALIVE_SECONDS: Final = 20.0  # the longest silence of a server that is well
CHUNK_PEERS: Final = 256  # records of one event
MAX_LINE: Final = 1024 * 1024  # bytes; twice what 256 records of the longest kind take
MAX_EVENT: Final = MAX_LINE
KEEPALIVE: Final = b":\n\n"

SNAPSHOT: Final = "snapshot"
REMOVE: Final = "remove"
UPSERT: Final = "upsert"
RELAYS: Final = "relays"
CURRENT: Final = "current"

_TERMINATOR: Final = re.compile(rb"\r\n|\n|\r")
_BYTE_ORDER_MARK: Final = "\ufeff".encode()
_LONGEST_RETRY: Final = 9  # digits


class SnapshotData(msgspec.Struct, frozen=True):
    """The data of `snapshot`."""

    network: MeshNetwork


snapshot_data: Decoder[SnapshotData] = Decoder(SnapshotData)
upsert_data: Decoder[tuple[Peer, ...]] = Decoder(tuple[Peer, ...])
relays_data: Decoder[tuple[Relay, ...]] = Decoder(tuple[Relay, ...])
remove_data: Decoder[tuple[PeerId, ...]] = Decoder(tuple[PeerId, ...])


def snapshot_event(network: MeshNetwork) -> bytes:
    """A whole map begins."""
    return b"event:snapshot\ndata:%b\n\n" % encode(SnapshotData(network))


def upsert_event(records: Iterable[bytes]) -> bytes:
    """Records that are encoded already, `CHUNK_PEERS` at most."""
    return b"event:upsert\ndata:[%b]\n\n" % b",".join(records)


def remove_event(ids: Iterable[PeerId]) -> bytes:
    """Peers that are gone."""
    return b"event:remove\ndata:%b\n\n" % encode(tuple(ids))


def relays_event(relays: Iterable[Relay]) -> bytes:
    """All relays."""
    return b"event:relays\ndata:%b\n\n" % encode(tuple(relays))


def current_event(version: MapVersion) -> bytes:
    """The step is complete."""
    return b"event:current\nid:%b\ndata:{}\n\n" % str(version).encode()


def retry_field(seconds: float) -> bytes:
    """Over how long to spread reconnects."""
    return b"retry:%d\n\n" % round(seconds * 1000)


class Event(msgspec.Struct, frozen=True):
    """One event; `id` is "" if it has none of its own."""

    name: str
    data: bytes
    id: str = ""


class EventParser:
    """Bytes, in whatever pieces they come, become events. `retry`: seconds, None as long as the server said nothing."""

    def __init__(self) -> None:
        self.retry: float | None = None
        self._line = b""
        self._is_start = True
        self._after_return = False
        self._name = ""
        self._id = ""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[Event]:
        """The events that `data` completes. Raises `InvalidValue` if it is longer than anything of ours."""
        if not data:
            return []
        is_cut = self._after_return and data.startswith(b"\n")  # the other half of a CRLF
        self._after_return = data.endswith(b"\r")
        data = data[1:] if is_cut else data
        *lines, rest = _TERMINATOR.split(self._line + data)
        if max(map(len, (*lines, rest))) > MAX_LINE:
            raise InvalidValue(f"a line of the stream is longer than {MAX_LINE} bytes")
        self._line = rest
        return [event for line in lines if (event := self._take(line)) is not None]

    def _take(self, line: bytes) -> Event | None:
        if self._is_start:
            self._is_start = False
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._size += len(value) + 1  # of empty lines there may be as many, too
            if self._size > MAX_EVENT:
                raise InvalidValue(f"an event of the stream is longer than {MAX_EVENT} bytes")
            self._data.append(value)
        elif name == b"event":
            self._name = value.decode("utf-8", "replace")
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode("utf-8", "replace")
        elif name == b"retry" and value.isdigit() and len(value) <= _LONGEST_RETRY:
            self.retry = int(value) / 1000
        return None

    def _dispatch(self) -> Event | None:
        event = Event(self._name or "message", b"\n".join(self._data), self._id) if self._data else None
        self._name, self._id, self._data, self._size = "", "", [], 0
        return event
