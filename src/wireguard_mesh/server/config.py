"""`server.json`: the server's identity and settings. A flag outweighs the environment, and that the file."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, Final, TypeVar

from wireguard_mesh.core.ipam import QUARANTINE_SECONDS
from wireguard_mesh.core.liveness import CLEANUP_SECONDS, HEARTBEAT_TIMEOUT_SECONDS
from wireguard_mesh.core.ratelimit import REGISTRATION_BURST, REGISTRATION_RATE
from wireguard_mesh.model.durations import parse_duration
from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.model.keys import KEY_LENGTH, PrivateKey, PublicKey
from wireguard_mesh.model.networks import parse_ipv4_network
from wireguard_mesh.server.listening import ListenAddress
from wireguard_mesh.server.server_file import DEFAULT_FILE, ServerFile, fields_of, read_file, write_file
from wireguard_mesh.store.location import Location, parse_location, parse_path, written

T = TypeVar("T")

CONNECTIONS_PER_SOURCE: Final = 3_000  # an agent has two

DATABASE_NAME: Final = "peers.db"
ENVIRONMENT_PREFIX: Final = "VPN_SERVER_"
_SHORTEST: Final = 1.0  # seconds between two looks for silent peers
_SWITCH: Final = {"on": True, "off": False}
_HOST: Final = re.compile(r"[A-Za-z0-9._:-]{0,253}")  # what a name or an address may have
_TOO_MUCH: Final = 1e9  # of anything: seconds, peers, connections


@dataclass(frozen=True, slots=True)
class Settings:
    """All that a server is told. `network_binding`: a database that stands must agree with it; else its own counts.
    `udp`: it is a relay too; `relay_address`: the name or address that its UDP ports have for clients, "" if that is
    where they reach it by HTTP."""

    file: Path
    private_key: PrivateKey
    listen: ListenAddress
    network: IPv4Network
    network_binding: bool
    database: Location
    heartbeat_timeout: float
    cleanup_interval: float
    quarantine: float
    registration_burst: float
    registration_rate: float
    connections_per_source: int
    udp: bool
    relay_address: str


def load_settings(
    flags: Mapping[str, str | None],
    environment: Mapping[str, str],
    *,
    create: bool = True,
    random: Callable[[int], bytes] = os.urandom,
) -> Settings:
    """Settings of flags, environment and file. Where there is no file, or none with keys, one is made (unless
    not `create`), with a new identity.

    `flags` by their names with underscores (`heartbeat_timeout`). Raises `InvalidValue` for a value that is wrong, and
    for a file that cannot be understood: that is never written over. `Unavailable` if it cannot be read or written.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    for name in flags:
        variable = ENVIRONMENT_PREFIX + name.upper()
        if name not in given and environment.get(variable):
            given[name] = environment[variable]
    path = parse_path(given.get("config") or str(DEFAULT_FILE))
    standing = read_file(path)
    contents = standing if standing is not None else ServerFile()
    settings = _settings(path, contents, given, random)
    if not contents.private_key and create:
        write_file(path, {**_first_file(settings), **fields_of(path), **_identity_fields(settings)})
    return settings


def settle(settings: Settings, database: Location) -> None:
    """Note in the file what the start has shown: where its database is now, and which network that has.

    A database that only a flag named is none of the file's. Raises `Unavailable`.
    """
    fields = fields_of(settings.file)
    own = _database(fields.get("db_path", ""), settings.file)
    settled = {**fields, "db_path": written(database), "network_cidr": str(settings.network)}
    if own == settings.database and settled != fields:
        write_file(settings.file, settled)


def _settings(path: Path, contents: ServerFile, given: Mapping[str, str], random: Callable[[int], bytes]) -> Settings:
    def number(name: str, default: float, parse: Callable[[str], float] = parse_duration) -> float:
        if name in given:
            return _named(name, parse, given[name])
        standing: float | None = getattr(contents, name)
        if standing is not None and not 0 <= standing < _TOO_MUCH:
            raise InvalidValue(f"{path}: {name} is out of range", f"it is a number from 0 to {_TOO_MUCH:.0f}")
        return default if standing is None else standing

    timeout = number("heartbeat_timeout", HEARTBEAT_TIMEOUT_SECONDS)

    own_database = _database(contents.db_path, path)
    database = parse_location(given["db"]) if given.get("db") else own_database
    settings = Settings(
        file=path,
        private_key=_identity(path, contents, random),
        listen=_named("listen", ListenAddress.parse, given.get("listen", contents.listen_addr)),
        network=_named("network", parse_ipv4_network, given.get("network", contents.network_cidr)),
        # The file's network is that of the file's database; another database may well have another one.
        network_binding="network" in given or database == own_database,
        database=database,
        heartbeat_timeout=timeout,
        # Unless it is said: as often as usual, but twice a timeout at least.
        cleanup_interval=number("cleanup_interval", max(_SHORTEST, min(CLEANUP_SECONDS, timeout / 2))),
        quarantine=number("quarantine", QUARANTINE_SECONDS),
        registration_burst=number("registration_burst", REGISTRATION_BURST, _amount),
        registration_rate=number("registration_rate", REGISTRATION_RATE, _amount),
        connections_per_source=int(number("connections_per_source", CONNECTIONS_PER_SOURCE, _amount)),
        udp=_named("udp", _switch, given["udp"]) if "udp" in given else contents.udp is not False,
        relay_address=_named("relay_address", _relay_address, given.get("relay_address", contents.relay_address)),
    )
    if settings.cleanup_interval < _SHORTEST or settings.heartbeat_timeout < settings.cleanup_interval:
        raise InvalidValue(
            "the cleanup interval is at least 1 s, and not longer than the heartbeat timeout",
            "see -cleanup-interval and -heartbeat-timeout",
        )
    if settings.registration_burst and settings.registration_rate <= 0:
        raise InvalidValue("the registration rate must be above 0", "-registration-burst 0 lifts the limit")
    return settings


def _database(written_as: str, file: Path) -> Location:
    return parse_location(written_as) if written_as else file.with_name(DATABASE_NAME)


def _identity(path: Path, contents: ServerFile, random: Callable[[int], bytes]) -> PrivateKey:
    if not contents.private_key:
        if contents.public_key:
            raise InvalidValue(f"{path} has no private_key", "restore it from a backup, or move it away to start anew")
        return PrivateKey.generate(random(KEY_LENGTH))
    try:
        private_key = PrivateKey.from_base64(contents.private_key)
        claimed = PublicKey.from_base64(contents.public_key) if contents.public_key else private_key.public_key
    except InvalidValue as error:
        raise InvalidValue(f"{path}: {error.message}", "restore it from a backup") from None
    if claimed != private_key.public_key:
        raise InvalidValue(f"{path}: public_key does not belong to private_key", "restore it from a backup")
    return private_key


def _first_file(settings: Settings) -> dict[str, Any]:
    return {
        "listen_addr": str(settings.listen),
        "network_cidr": str(settings.network),
        **_identity_fields(settings),
        "db_path": written(settings.database),
    }


def _identity_fields(settings: Settings) -> dict[str, Any]:
    return {
        "private_key": settings.private_key.to_base64(),
        "public_key": settings.private_key.public_key.to_base64(),
    }


def _amount(text: str) -> float:
    try:
        amount = float(text)
    except ValueError:
        amount = -1.0
    if not 0 <= amount < _TOO_MUCH:
        raise InvalidValue(f"{text!r} is no amount", "for example 50")
    return amount


def _switch(text: str) -> bool:
    if text not in _SWITCH:
        raise InvalidValue(f"{text!r} is neither on nor off")
    return _SWITCH[text]


def _relay_address(text: str) -> str:
    address = text.strip().removeprefix("[").removesuffix("]")
    if not _HOST.fullmatch(address):
        raise InvalidValue(
            f"{text!r} is no name or address", "write it without a port, as vpn.example.com or 192.0.2.1"
        )
    return address


def _named(name: str, parse: Callable[[str], T], text: str) -> T:
    try:
        return parse(text)
    except InvalidValue as error:
        raise InvalidValue(f"{name.replace('_', '-')}: {error.message}", error.hint) from None
