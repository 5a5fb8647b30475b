"""Errors that a person can act on.

Everything that may reach a user is a `MeshError`: one sentence that says what is wrong, one that says what to do.
Shells print them in one line (`str(error)`), the HTTP side sends them as `code`, `error` and `hint`.
"""

from __future__ import annotations


class MeshError(Exception):
    """Something that the user, or the caller of the API, can put right.

    `code` is a stable word for programs, `message` and `hint` are sentences for people.
    """

    code = "error"

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


class InvalidValue(MeshError, ValueError):
    """A value from outside that cannot be what it claims to be: refuse it, change nothing."""

    code = "invalid_value"


class InvalidKey(InvalidValue):
    """A key of the wrong form, or a point that WireGuard could not agree a secret with."""

    code = "invalid_key"


class NotPermitted(MeshError):
    """The caller is not who it would have to be, or may not do this."""

    code = "not_permitted"


class NotFound(MeshError):
    """The thing named does not exist."""

    code = "not_found"


class Conflict(MeshError):
    """The request contradicts what stands: another peer, another interface, another server."""

    code = "conflict"


class Exhausted(MeshError):
    """No address, place or room is left."""

    code = "exhausted"


class Unavailable(MeshError):
    """It cannot be done now, but may be later: a full queue, a full disk, a server that does not answer."""

    code = "unavailable"


class Unsupported(MeshError):
    """This machine lacks something: a kernel feature, a program, a privilege."""

    code = "unsupported"
