"""Where a database is: a file, or a PostgreSQL server's URL. A password in a URL is never shown."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from wireguard_mesh.model.errors import InvalidValue

_POSTGRES: Final = ("postgresql", "postgres")  # libpq's two names for it (PostgreSQL 15, section 34.1.1.2)
_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_SECRET: Final = frozenset({"password", "sslpassword"})
_HOST: Final = re.compile(r"(?:\[[^\]]*\]|[^:\[\]]*)(?::\d*)?")
_EXAMPLE: Final = "for example postgresql://mesh@db.example.com/mesh"


@dataclass(frozen=True, slots=True)
class PostgresUrl:
    """A URL as libpq understands it. `str()` is without its password; `dsn` is with it, and for the driver alone."""

    dsn: str = field(repr=False)

    def __str__(self) -> str:
        parts = urlsplit(self.dsn)
        user, at, hosts = parts.netloc.rpartition("@")
        shown = "&".join(pair for pair in parts.query.split("&") if unquote(pair.partition("=")[0]) not in _SECRET)
        return f"{_POSTGRES[0]}://{user.partition(':')[0]}{at}{hosts}{parts.path}{'?' if shown else ''}{shown}"


Location = Path | PostgresUrl


def parse_location(text: str) -> Location:
    """What `-db` may be: the path of a file, or a URL. Raises `InvalidValue`, which never repeats a password."""
    url = _URL.match(text)
    if url is None:
        return parse_path(text)
    scheme = url[1].lower()
    if scheme not in _POSTGRES:
        raise InvalidValue(f"{scheme}:// is no database of ours", f"a file, or a URL: {_EXAMPLE}")
    try:
        parts = urlsplit(text)
    except ValueError:
        raise _malformed() from None
    if not _is_sound(parts):
        raise _malformed()
    return PostgresUrl(text)


def parse_path(text: str) -> Path:
    """The path of a file, with ~ as the shell has it. Raises `InvalidValue`."""
    # Resolved, so that a file has one name however it is reached: the lock on a database lies beside it.
    try:
        return Path(text).expanduser().resolve()
    except (RuntimeError, ValueError, OSError) as error:  # no such user, a NUL, links in a circle
        raise InvalidValue(f"{text!r} is no place for a file: {error}", "see -config and -db") from None


def written(location: Location) -> str:
    """What `parse_location` understands again: a secret if the URL has a password."""
    return location.dsn if isinstance(location, PostgresUrl) else str(location)


def _is_sound(parts: SplitResult) -> bool:
    # An @ beyond the host shows that a part of the password was taken for something else, and would be shown.
    _, _, hosts = parts.netloc.rpartition("@")
    rest = parts.path + parts.query + parts.fragment
    return "@" not in rest and not parts.fragment and all(_HOST.fullmatch(host) for host in hosts.split(","))


def _malformed() -> InvalidValue:
    return InvalidValue(
        "the URL of the database cannot be understood", f"{_EXAMPLE}; in a password, write @ / ? # : % as %40 and so on"
    )
