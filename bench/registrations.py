"""1,000 registrations on 32 connections, with a SIGKILL of the server in their midst: nothing acknowledged is lost.

Five rounds on one database. Counted are addresses given twice, and acknowledged registrations that are missing, or have
another address, after the restart.
"""

import asyncio
import os
import random

import msgspec

from bench.http_load import Answers, request, send_all
from bench.local_server import LocalServer, local_server
from bench.report import Figure
from wireguard_mesh.model.keys import PrivateKey
from wireguard_mesh.protocol.seed import PeersResponse, RegisterRequest, RegisterResponse

ROUNDS = 5
REGISTRATIONS = 1000
CONNECTIONS = 32
KILL_AFTER = (200, 800)  # acknowledged registrations
TIMEOUT = 60.0


def measure() -> list[Figure]:
    """All five rounds."""
    acknowledged: dict[str, str] = {}
    twice = lost = stored = 0
    with local_server() as server:
        for _ in range(ROUNDS):
            acknowledged |= asyncio.run(_round(server))
            server.start()
            peers = msgspec.json.decode(server.get("/peers"), type=PeersResponse).peers
            addresses = {peer.public_key: peer.virtual_ip for peer in peers}
            stored = len(peers)
            twice += stored - len({peer.virtual_ip for peer in peers})
            lost += sum(addresses.get(key) != address for key, address in acknowledged.items())
    note = f"{len(acknowledged)} acknowledged, {stored} stored, {ROUNDS} SIGKILLs"
    return [
        Figure(name="crash: addresses given twice", value=twice, unit="", aim="0", note=note),
        Figure(name="crash: acknowledged registrations lost", value=lost, unit="", aim="0", note=note),
    ]


async def _round(server: LocalServer) -> dict[str, str]:
    keys = [PrivateKey.generate(os.urandom(32)).public_key.to_base64() for _ in range(REGISTRATIONS)]
    requests = [
        request("POST", "/register", msgspec.json.encode(RegisterRequest(public_key=key, hostname="bench", os="linux")))
        for key in keys
    ]
    answers = Answers(milestone=random.randint(*KILL_AFTER))
    sending = asyncio.create_task(send_all(server.port, requests, CONNECTIONS, answers))
    await asyncio.wait_for(answers.reached.wait(), TIMEOUT)
    server.kill()
    await sending
    return {
        keys[index]: msgspec.json.decode(body, type=RegisterResponse).assigned_ip
        for index, body in answers.bodies.items()
    }
