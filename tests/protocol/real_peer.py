"""A handshake with a real wireguard-go, in both directions. Run on a machine of the lab.

Writes "cookie" once it came back with the cookie that we asked for, "keepalive" once it took our answer and its
keepalive was read under the session's keys, and "called" once it answered a handshake of ours.
"""

import asyncio
import os
import socket
import sys
import time

from tests.samples import private_key, public_key
from wireguard_mesh.model.devices import DeviceChange, PeerChange
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.keys import NO_PRESHARED_KEY, PresharedKey, PrivateKey
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.protocol import cookies, handshake
from wireguard_mesh.protocol.handshake import Initiator, Responder, tai64n
from wireguard_mesh.protocol.noise import SessionKeys, StaticKey, decrypt
from wireguard_mesh.protocol.wireguard import Initiation, MessageType, Transport, message_type
from wireguard_mesh.wireguard.userspace import UserspaceBackend

WG0 = InterfaceName("wg0")
ITS_PORT, OUR_PORT = 51820, 8080
ITS_ENDPOINT = ("127.0.0.1", ITS_PORT)
DEADLINE = 20.0  # its second initiation comes 5 s after the first (REKEY_TIMEOUT)
OUR_INDEX = 11
RESPONDER = Responder(private_key(1))


async def main() -> None:
    preshared_key = PresharedKey.from_base64(sys.argv[1]) if sys.argv[1] else NO_PRESHARED_KEY
    ours = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    ours.bind(("127.0.0.1", OUR_PORT))
    ours.settimeout(DEADLINE)
    backend = UserspaceBackend()
    await backend.create(WG0, 1380)
    us = PeerChange(
        public_key=public_key(1),
        create=True,
        endpoint=Endpoint.parse(f"127.0.0.1:{OUR_PORT}"),
        keepalive=25,
        allowed_ips=frozenset(),
        preshared_key=preshared_key,
    )
    await backend.apply(WG0, DeviceChange(private_key=private_key(2), listen_port=ITS_PORT, peers=(us,)))
    await asyncio.to_thread(talk, ours, preshared_key)
    await backend.remove(WG0)
    await backend.close()


def talk(ours: socket.socket, preshared_key: PresharedKey) -> None:
    """All that is said."""
    cookie = cookies.make_cookie(os.urandom(32), b"its address")
    first = receive(ours, MessageType.INITIATION)
    ours.sendto(cookies.cookie_reply(RESPONDER.cookie_key, os.urandom(24), cookie, first).build(), ITS_ENDPOINT)
    second = receive(ours, MessageType.INITIATION)
    assert cookies.has_mac2(cookie, second)
    sys.stdout.write("cookie\n")
    response, keys = answer(second, preshared_key)
    ours.sendto(response, ITS_ENDPOINT)
    message = Transport.parse(receive(ours, MessageType.TRANSPORT))
    assert message.receiver == OUR_INDEX
    assert decrypt(keys.receiving, message.counter, message.encrypted_packet) == b""
    sys.stdout.write("keepalive\n")
    call(ours, preshared_key)
    sys.stdout.write("called\n")


def answer(datagram: bytes, preshared_key: PresharedKey) -> tuple[bytes, SessionKeys]:
    """Answer its initiation as a responder does."""
    assert RESPONDER.is_called(datagram)
    initiation = Initiation.parse(datagram)
    received = RESPONDER.read(initiation)
    assert received.static == public_key(2).raw
    timestamp = received.open_payload(RESPONDER.key.exchange(received.static), initiation.encrypted_timestamp)
    assert tai64n(time.time_ns() - 60_000_000_000) < timestamp < tai64n(time.time_ns() + 60_000_000_000)
    return handshake.respond(
        received,
        sender=OUR_INDEX,
        receiver=initiation.sender,
        ephemeral=PrivateKey.generate(os.urandom(32)),
        initiator_mac1_key=cookies.mac1_key(public_key(2)),
        preshared_key=preshared_key,
    )


def call(ours: socket.socket, preshared_key: PresharedKey) -> None:
    """Start a handshake, and use its session."""
    initiator = Initiator(
        StaticKey(private_key(1)),
        public_key(2),
        sender=33,
        ephemeral=PrivateKey.generate(os.urandom(32)),
        timestamp=tai64n(time.time_ns()),
        preshared_key=preshared_key,
    )
    ours.sendto(initiator.datagram, ITS_ENDPOINT)
    index, keys = initiator.finish(receive(ours, MessageType.RESPONSE))
    ours.sendto(handshake.keepalive(index, keys.sending, 0), ITS_ENDPOINT)


def receive(ours: socket.socket, wanted: MessageType) -> bytes:
    """The next message of that type."""
    while True:
        datagram = ours.recv(2048)
        if message_type(datagram) is wanted:
            return datagram


if __name__ == "__main__":
    asyncio.run(main())
