"""Requests a second that one server process answers on one core; the load comes from the other core."""

import asyncio
import os
import secrets
import time
from collections.abc import Sequence

import msgspec

from bench.http_load import Answers, request, send_all
from bench.local_server import LocalServer, local_server
from bench.report import Figure, median
from bench.usage import usage
from wireguard_mesh.model.keys import PrivateKey, PublicKey
from wireguard_mesh.protocol import api, seed
from wireguard_mesh.protocol.codec import encode
from wireguard_mesh.protocol.signatures import Signer, make_nonce

SERVER_CPU, LOAD_CPU = 0, 1
ROUNDS = 3
PEERS = 1000
CONNECTIONS = 32
NO_LIMIT = ("-registration-burst", "0")


def measure() -> list[Figure]:
    """Each kind of request, three rounds of a thousand."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {LOAD_CPU} & allowed or allowed)
    try:
        with local_server(*NO_LIMIT, cpu=SERVER_CPU) as server:
            idle = usage(server.pid).rss
            figures = _measure(server)
            full = usage(server.pid).rss
    finally:
        os.sched_setaffinity(0, allowed)
    return [
        *figures,
        Figure(name="server: resident memory, idle, no peers", value=idle, unit="MB"),
        Figure(name=f"server: resident memory after all that, {2 * ROUNDS * PEERS} peers", value=full, unit="MB"),
    ]


def _measure(server: LocalServer) -> list[Figure]:
    info = api.server_info.decode(server.get("/v1/server"))
    rates: dict[str, list[float]] = {}

    def run(name: str, requests: Sequence[bytes]) -> Answers:
        answers, seconds = _timed(server, requests)
        rates.setdefault(name, []).append(len(requests) / seconds)
        return answers

    for _ in range(ROUNDS):
        plain, signing = _keys(), _keys()
        signers = [Signer(key, info.server_public_key) for key in signing]
        answers = run("POST /register, plain", [_register(key.public_key) for key in plain])
        ids = [
            msgspec.json.decode(body, type=seed.RegisterResponse).peer_id for _, body in sorted(answers.bodies.items())
        ]
        run("POST /heartbeat, plain", [_heartbeat(peer_id) for peer_id in ids])
        body = encode(api.RegisterRequest(hostname="bench"))
        run(
            "POST /v1/register, signed",
            [_signed(signer, info.instance, "POST", "/v1/register", body) for signer in signers],
        )
        run(
            "POST /v1/heartbeat, signed",
            [_signed(signer, info.instance, "POST", "/v1/heartbeat", b"{}") for signer in signers],
        )
    return [median(f"server: {name}", values, "requests/s") for name, values in rates.items()]


def _timed(server: LocalServer, requests: Sequence[bytes]) -> tuple[Answers, float]:
    answers = Answers()
    start = time.perf_counter()
    asyncio.run(send_all(server.port, requests, CONNECTIONS, answers))
    seconds = time.perf_counter() - start
    if answers.refused or len(answers.bodies) != len(requests):
        raise RuntimeError(f"{answers.refused} of {len(requests)} requests were refused")
    return answers, seconds


def _keys() -> list[PrivateKey]:
    return [PrivateKey.generate(os.urandom(32)) for _ in range(PEERS)]


def _register(key: PublicKey) -> bytes:
    return request("POST", "/register", encode(seed.RegisterRequest(public_key=str(key), hostname="bench")))


def _heartbeat(peer_id: str) -> bytes:
    return request("POST", "/heartbeat", encode(seed.HeartbeatRequest(peer_id=peer_id)))


def _signed(signer: Signer, instance: str, method: str, target: str, body: bytes) -> bytes:
    headers = signer.sign(method, target, body, now=time.time(), nonce=make_nonce(instance, secrets.token_urlsafe(16)))
    return request(method, target, body, headers.items())
