"""What the agent and the commands on the same machine tell each other, over the agent's Unix socket.

One line of JSON each way, then the agent closes. The user at the other end is known from the socket itself: everybody
may ask how the mesh is, only root and the agent's own user may change anything.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from wireguard_mesh.protocol.codec import Decoder
from wireguard_mesh.protocol.diagnosis import Explanation, Netcheck, Pong
from wireguard_mesh.protocol.status import Status

MAX_REQUEST: Final = 4096  # bytes
MAX_ANSWER: Final = 64 * 1024 * 1024  # bytes; some 400 for each peer

MAX_PING_TIMEOUT: Final = 30.0  # seconds
MAX_SEQUENCE: Final = 65_535  # 16 bits of an echo request, RFC 792

_Text = Annotated[str, msgspec.Meta(max_length=253)]
_PingTimeout = Annotated[float, msgspec.Meta(gt=0, le=MAX_PING_TIMEOUT)]


class StatusRequest(msgspec.Struct, frozen=True, tag="status"):
    """Answered with `Status`."""


class DownRequest(msgspec.Struct, frozen=True, tag="down"):
    """End, with interface and all. Answered with `Done` when it is gone."""


class LogoutRequest(msgspec.Struct, frozen=True, tag="logout"):
    """Leave the mesh, then as `DownRequest`."""


class SetRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="set"):
    """Change what is not None, now and for later. `use_exit_node`: `auto`, `off`, or a peer. Answered with `Done`."""

    use_exit_node: _Text | None = None
    exit_node: bool | None = None
    hostname: _Text | None = None


class NetcheckRequest(msgspec.Struct, frozen=True, tag="netcheck"):
    """Try what the network around this machine lets through. Answered with `Netcheck`, after some seconds."""


class PingRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="ping"):
    """Send one ICMP echo request through the tunnel. `peer`: a name, id or mesh address; `timeout` in seconds.
    Answered with `Pong`, when the answer came or the time is over."""

    peer: _Text
    timeout: _PingTimeout = 2.0
    is_ipv6: bool = False
    sequence: Annotated[int, msgspec.Meta(ge=0, le=MAX_SEQUENCE)] = 0


class ExplainRequest(msgspec.Struct, frozen=True, tag="explain"):
    """Why the path to `peer` is what it is. Answered with `Explanation`."""

    peer: _Text


Question = StatusRequest | NetcheckRequest | PingRequest | ExplainRequest
"""What everybody on the machine may ask."""
Request = Question | DownRequest | LogoutRequest | SetRequest


class Done(msgspec.Struct, frozen=True, tag="done"):
    """It is done; `note` says to a person what follows from it, if anything."""

    note: str = ""


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag="error"):
    """It was not done: a stable word, what is wrong, what to do about it."""

    code: str
    error: str
    hint: str = ""


Told = Status | Netcheck | Pong | Explanation | Done
Answer = Told | Refused

request: Decoder[Request] = Decoder(Request)  # type: ignore[arg-type]  # a union is a type form, not a type
answer: Decoder[Answer] = Decoder(Answer)  # type: ignore[arg-type]  # the same
