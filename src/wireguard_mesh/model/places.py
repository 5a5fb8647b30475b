"""Where the programs of one machine find each other while they run: one rule, that agent and system backend share."""

from __future__ import annotations

from typing import Final

from wireguard_mesh.model.names import InterfaceName

PRODUCT: Final = "wireguard-mesh"
SYSTEM_RUNTIME: Final = "/run"


def runtime_directory(uid: int, xdg_runtime_dir: str | None = None) -> str:
    """The folder for sockets, locks and the journal of changes: gone after a reboot, as what they speak of is.

    For root always `/run/wireguard-mesh`; for others below `XDG_RUNTIME_DIR`, else below `/run/user/UID`.
    """
    if uid == 0:
        return f"{SYSTEM_RUNTIME}/{PRODUCT}"
    return f"{xdg_runtime_dir or f'{SYSTEM_RUNTIME}/user/{uid}'}/{PRODUCT}"


def socket_path(directory: str, interface: InterfaceName) -> str:
    """Where the agent of `interface` answers."""
    return f"{directory}/{interface}.sock"


def lock_path(directory: str, interface: InterfaceName) -> str:
    """What the agent of `interface` holds locked as long as it runs."""
    return f"{directory}/{interface}.lock"
