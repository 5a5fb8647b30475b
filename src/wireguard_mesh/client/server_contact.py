"""How it stands with the server, over all calls to it: each fault is said once, and its end once."""

from __future__ import annotations

import logging
from collections.abc import Callable

from wireguard_mesh.client.clock import Clock
from wireguard_mesh.core.contact import Calls, Contact
from wireguard_mesh.model.errors import MeshError
from wireguard_mesh.model.servers import ServerAddress

log = logging.getLogger(__name__)


class ServerContact:
    """`has_tunnels` says whether the mesh may stand, for the words of a fault. `on_trouble` is called when a failure is
    news, `on_answer` when one call succeeded while others wait to be tried again."""

    def __init__(
        self,
        server: ServerAddress,
        clock: Clock,
        has_tunnels: Callable[[], bool],
        on_trouble: Callable[[], None],
        on_answer: Callable[[], None],
    ) -> None:
        self._server = server
        self._clock = clock
        self._calls = Calls()
        self._has_tunnels = has_tunnels
        self._on_trouble = on_trouble
        self._on_answer = on_answer

    @property
    def state(self) -> Contact:
        """What the last calls came to."""
        return self._calls.contact

    def failed(self, call: str, error: MeshError) -> None:
        """The call failed, and is tried again."""
        if self._calls.failed(call, str(error), self._clock(), error.code):
            log.warning("%s; trying again%s", error, ", the tunnels stay" if self._has_tunnels() else "")
            self._on_trouble()

    def stumbled(self, call: str, error: Exception) -> None:
        """The call failed by a fault of ours, which must not end a mesh that stands."""
        if self._calls.failed(call, f"internal error: {error!r}", self._clock(), type(error).__name__):
            log.error("a fault of this program in its talk with the server; trying again", exc_info=error)

    def is_unknown(self, call: str, error: MeshError, times: int) -> None:
        """The server answered, `times` in a row now, that it does not know this machine. The first is no fault."""
        if times > 1:
            self.failed(call, error)
            return
        self._calls.answered(call)
        log.info("the server does not know this machine any more, registering again")

    def succeeded(self, call: str) -> None:
        """The call succeeded."""
        if self._calls.succeeded(call, self._clock()):
            log.info("the server answers again server=%s", self._server)
        elif self._calls.is_failing:
            self._on_answer()
