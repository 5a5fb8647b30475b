"""The commands' end of the agent's Unix socket. No event loop: a command asks one thing and ends."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Final, TypeVar

from wireguard_mesh.model.errors import InvalidValue, MeshError, NotPermitted, Unavailable
from wireguard_mesh.protocol import local
from wireguard_mesh.protocol.codec import encode

STATUS_TIMEOUT: Final = 10.0  # seconds
LONG_TIMEOUT: Final = 60.0  # seconds: to take an interface down and to try a network out takes less
Told = TypeVar("Told", bound=local.Told)
_READ: Final = 64 * 1024


class NoAgent(Unavailable):
    """No agent runs for the interface."""

    code = "no_agent"


class AgentRefused(MeshError):
    """The agent said no."""

    code = "refused"


def ask(path: Path, request: local.Request, expected: type[Told]) -> Told:
    """Ask the agent at `path`; `expected` is what it is to answer with.

    Raises `NoAgent` if none runs there, `AgentRefused`, `Unavailable`.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(STATUS_TIMEOUT if isinstance(request, local.StatusRequest) else LONG_TIMEOUT)
        try:
            connection.connect(str(path))
            connection.sendall(encode(request) + b"\n")
            line = _read_line(connection)
        except (FileNotFoundError, ConnectionRefusedError):
            raise NoAgent("no agent runs", "start one: vpn-client up") from None
        except PermissionError:
            raise NotPermitted(f"{path} may not be opened", "use sudo") from None
        except OSError as error:
            raise Unavailable(f"the agent does not answer ({error.strerror or error})") from None
    try:
        answer = local.answer.decode(line)
    except InvalidValue as error:
        raise Unavailable(f"the agent answers in another way than this program knows ({error})") from None
    if isinstance(answer, local.Refused):
        raise AgentRefused(answer.error, answer.hint)
    if not isinstance(answer, expected):
        raise Unavailable(f"the agent answers with {type(answer).__name__.lower()} where something else was asked")
    return answer


def _read_line(connection: socket.socket) -> bytes:
    line = bytearray()
    while not line.endswith(b"\n"):
        part = connection.recv(_READ)
        if not part:
            raise Unavailable("the agent ended before it answered")
        line += part
        if len(line) > local.MAX_ANSWER:
            raise Unavailable("the agent's answer has no end")
    return bytes(line)
