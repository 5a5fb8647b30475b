"""Where the programs begin. What they import takes some tenths of a second, and Ctrl-C must end that in order too."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Final, NoReturn

INTERRUPTED: Final = 130  # 128 + SIGINT, as shells have it


def vpn_server() -> NoReturn:
    """`vpn-server`."""
    _begin("wireguard_mesh.cli.server")


def vpn_client() -> NoReturn:
    """`vpn-client`."""
    _begin("wireguard_mesh.cli.client")


def vpn_relay() -> NoReturn:
    """`vpn-relay`."""
    _begin("wireguard_mesh.cli.relay")


def _begin(module: str) -> NoReturn:
    try:
        main = import_module(module).main
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
