"""Starts an agent on this machine: takes the locks, opens the real backends, listens to signals."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from wireguard_mesh.client import clock
from wireguard_mesh.client.agent import Agent
from wireguard_mesh.client.control import Control
from wireguard_mesh.client.dial import Dialer
from wireguard_mesh.client.http import HttpClient
from wireguard_mesh.client.identity import Surroundings
from wireguard_mesh.client.options import AgentOptions
from wireguard_mesh.client.proxy import from_environment
from wireguard_mesh.model.errors import NotPermitted
from wireguard_mesh.model.keys import KEY_LENGTH, PrivateKey, PublicKey
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.model.servers import ServerAddress
from wireguard_mesh.system.gateway import default_gateway
from wireguard_mesh.system.linux import LinuxSystem
from wireguard_mesh.wireguard.choose import choose
from wireguard_mesh.wireguard.interface import Backend
from wireguard_mesh.wireguard.privilege import may_administer

log = logging.getLogger(__name__)


def check_privilege() -> None:
    """Raises `NotPermitted` if this process cannot make a network interface."""
    if not may_administer():
        raise NotPermitted("making a network interface needs root or the capability CAP_NET_ADMIN", "use sudo")


def surroundings(ask: Callable[[str], bool] | None) -> Surroundings:
    """The real world, for `identity.settle`."""
    return Surroundings(secrets.token_bytes, time.time, ask, lambda server: asyncio.run(_key_of(server)))


async def _key_of(server: ServerAddress) -> PublicKey:
    nobody = PrivateKey.generate(secrets.token_bytes(KEY_LENGTH))  # the question is not signed
    http = HttpClient(Dialer(server, proxy=from_environment(server)))
    try:
        return await Control(http, nobody, None, time.time).pin()
    finally:
        http.drop_connections()


def run(options: AgentOptions) -> None:
    """Run an agent until it is told to end, within `locks.alone`. Raises what keeps it from coming up."""
    asyncio.run(_run(options))


def _no_gateway() -> None:
    """Nobody is asked to forward a port."""


def _has_terminal() -> bool:
    return sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty()


async def _run(options: AgentOptions) -> None:
    async def open_backend(name: InterfaceName) -> Backend:
        return await choose(name, options.flags.backend)

    gateway = default_gateway if options.flags.port_mapping else _no_gateway
    agent = Agent(options, open_backend, LinuxSystem(Path(options.directory)), clock.now, gateway)
    loop = asyncio.get_running_loop()

    def stop(name: str) -> None:
        log.info("%s: the agent ends, the tunnels stay; to remove them: vpn-client down", name)
        agent.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number.name)
    if _has_terminal():
        # A terminal that is closed ends an agent in the foreground as Ctrl-C does.
        loop.add_signal_handler(signal.SIGHUP, stop, signal.SIGHUP.name)
    else:
        # To a daemon it means to read its settings anew; ours come through the socket.
        loop.add_signal_handler(signal.SIGHUP, log.info, "SIGHUP: nothing to read anew; settings: vpn-client set")
    log.debug("stage=started pid=%d", os.getpid())
    await agent.run()
