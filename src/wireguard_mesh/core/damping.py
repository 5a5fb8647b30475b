"""A peer that changes without end is told of less often, and is known in the end as it is.

Whatever others can see of a peer costs each of them something. So one peer has `CHANGE_BURST` changes at once and
`CHANGE_RATE` a second in the long run, its coming and going included. What it says sooner is held back: of all that
waits the newest counts, so nothing is lost but what was overtaken (as route flap damping, RFC 2439, with a bucket in
place of a penalty).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from wireguard_mesh.core.commands import Heartbeat, Observe, Register, after_observe, heartbeat_changes, says_anew
from wireguard_mesh.core.ratelimit import RateLimiter
from wireguard_mesh.core.snapshot import Record
from wireguard_mesh.model.keys import PublicKey

CHANGE_BURST: Final = 20  # a roaming machine changes its endpoints often for a while
CHANGE_RATE: Final = 0.1


class Damping:
    """What may change now, of what peers say and what relays see of them. Times are monotonic seconds."""

    def __init__(self, burst: float = CHANGE_BURST, rate: float = CHANGE_RATE) -> None:
        self._changes = RateLimiter(burst, rate, what="this peer changes too often")
        self._sightings = RateLimiter(burst, rate, what="this peer is seen elsewhere too often")
        self._held: dict[PublicKey, Heartbeat] = {}
        self._seen: dict[PublicKey, Observe] = {}  # held back, too

    def register(self, record: Record | None, command: Register, now: float) -> None:
        """To be called before a registration is carried out; `record` None: the key is new, or comes back.

        Its answer tells the outcome, so it is refused and not held back. Raises `RateLimited`.
        """
        if record is None or not record.peer.online or says_anew(record, command):
            self._changes.take(command.public_key, now)
        self._held.pop(command.public_key, None)

    def heartbeat(self, record: Record, command: Heartbeat, now: float) -> Heartbeat | None:
        """What of a heartbeat is to be written now; None: nothing, or not yet.

        Raises `NotPermitted` for a plain one of a key that signs.
        """
        changes = heartbeat_changes(record, command)
        held = self._held.pop(command.public_key, None)
        if held is not None:
            command = _merged(held, command)
            changes = heartbeat_changes(record, command)
        if not changes:
            return None
        if self._changes.wait(command.public_key, now):
            self._held[command.public_key] = command
            return None
        return command

    def observe(self, record: Record, command: Observe, now: float) -> Observe | None:
        """Whether what relays see is to be written now; None: it is known, or not yet."""
        self._seen.pop(command.public_key, None)
        if after_observe(record, command) == record:
            return None
        if self._sightings.wait(command.public_key, now):
            self._seen[command.public_key] = command
            return None
        return command

    def due(self, records: Mapping[PublicKey, Record], now: float) -> list[Heartbeat | Observe]:
        """What was held back and is to be written now. To be asked now and then."""
        for key in {*self._held, *self._seen}.difference(records):
            self.forget(key)
        said = [self.heartbeat(records[key], held, now) for key, held in list(self._held.items())]
        seen = [self.observe(records[key], held, now) for key, held in list(self._seen.items())]
        return [command for command in (*said, *seen) if command is not None]

    def hold(self, command: Heartbeat | Observe) -> None:
        """What was due could not be written: it waits again, unless something newer does."""
        if isinstance(command, Observe):
            self._seen.setdefault(command.public_key, command)
        else:
            self._held.setdefault(command.public_key, command)

    def is_silent(self, key: PublicKey) -> None:
        """What this peer said is overtaken: it fell silent."""
        self._held.pop(key, None)

    def forget(self, key: PublicKey) -> None:
        """It left."""
        self._held.pop(key, None)
        self._seen.pop(key, None)


def _merged(held: Heartbeat, command: Heartbeat) -> Heartbeat:
    """What both say together: None leaves what the earlier one said."""
    return msgspec.structs.replace(
        command,
        endpoints=held.endpoints if command.endpoints is None else command.endpoints,
        mapped=held.mapped if command.mapped is None else command.mapped,
        distances=held.distances if command.distances is None else command.distances,
        exit_node=held.exit_node if command.exit_node is None else command.exit_node,
    )
