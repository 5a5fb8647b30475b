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

from wireguard_mesh.core.ratelimit import RateLimiter
from wireguard_mesh.core.registry import Heartbeat, Register, heartbeat_changes, says_anew
from wireguard_mesh.core.snapshot import Record
from wireguard_mesh.model.keys import PublicKey

CHANGE_BURST: Final = 20  # a roaming machine changes its endpoints often for a while
CHANGE_RATE: Final = 0.1


class Damping:
    """What peers may change now. Times are monotonic seconds."""

    def __init__(self, burst: float = CHANGE_BURST, rate: float = CHANGE_RATE) -> None:
        self._changes = RateLimiter(burst, rate, what="this peer changes too often")
        self._held: dict[PublicKey, Heartbeat] = {}

    def register(self, record: Record | None, command: Register, now: float) -> None:
        """To be called before a registration is carried out; `record` None: the key is new, or comes back.

        Its answer tells the outcome, so it is refused and not held back. Raises `RateLimited`.
        """
        if record is None or not record.peer.online or says_anew(record, command):
            self._changes.take(command.public_key, now)
        self.forget(command.public_key)

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

    def due(self, records: Mapping[PublicKey, Record], now: float) -> list[Heartbeat]:
        """What was held back and is to be written now. To be asked now and then."""
        for key in [key for key in self._held if key not in records]:
            del self._held[key]
        asked = [self.heartbeat(records[key], held, now) for key, held in list(self._held.items())]
        return [command for command in asked if command is not None]

    def hold(self, command: Heartbeat) -> None:
        """What was due could not be written: it waits again, unless something newer does."""
        self._held.setdefault(command.public_key, command)

    def forget(self, key: PublicKey) -> None:
        """What this peer said is overtaken: it left, went silent, or registered anew."""
        self._held.pop(key, None)


def _merged(held: Heartbeat, command: Heartbeat) -> Heartbeat:
    """What both say together: None leaves what the earlier one said."""
    return msgspec.structs.replace(
        command,
        endpoints=held.endpoints if command.endpoints is None else command.endpoints,
        exit_node=held.exit_node if command.exit_node is None else command.exit_node,
    )
