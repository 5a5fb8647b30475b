"""What an agent consists of, for those of its parts that speak to several others."""

from __future__ import annotations

from dataclasses import dataclass

from wireguard_mesh.client.clock import Clock
from wireguard_mesh.client.device import DeviceKeeper
from wireguard_mesh.client.keeping import Keeper
from wireguard_mesh.client.membership import Machine, Membership
from wireguard_mesh.client.port_mapping import PortMapper
from wireguard_mesh.client.relaying import Relaying
from wireguard_mesh.core.engine import Engine


@dataclass(slots=True)
class Parts:
    """`machine` is what this machine says of itself, without its endpoints; `started` is Unix time."""

    clock: Clock
    started: float
    engine: Engine
    device: DeviceKeeper
    membership: Membership
    disk: Keeper
    machine: Machine
    relaying: Relaying
    mapper: PortMapper
