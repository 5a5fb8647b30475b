"""Fuzz targets: each takes any bytes, and raises only if something of ours does what it must not.

Whatever reads bytes from outside has one. The errors that it may raise are its documented ones; every other exception
is a finding. `SAMPLES` are valid inputs to start from.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from ipaddress import IPv4Address
from typing import Any

from tests.core.wireguard_peer import MemoryPeer, at
from tests.fuzz import forwarding, rendezvous
from tests.samples import NETWORK, peer, private_key, public_key
from wireguard_mesh.core.forwarding_routes import SavedRoute
from wireguard_mesh.core.rendezvous import SavedSession
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.errors import InvalidValue, MeshError
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.model.peers import MapVersion
from wireguard_mesh.model.relays import Relay, RelayId, VantagePoint
from wireguard_mesh.protocol import api, carrying, events, icmp, local, pcp, relay_api, seed, uapi, wireguard
from wireguard_mesh.protocol.codec import Decoder, encode
from wireguard_mesh.protocol.events import EventParser
from wireguard_mesh.protocol.handshake import Initiator, Responder
from wireguard_mesh.protocol.noise import StaticKey
from wireguard_mesh.protocol.pings import Ping, PingKeys, Pong
from wireguard_mesh.protocol.relay_keys import RelayKey
from wireguard_mesh.protocol.signatures import SIGNATURE_HEADERS, Signer, Verifier, make_nonce, request_key
from wireguard_mesh.protocol.wireguard import CookieReply, Initiation, MessageType, Response, Transport
from wireguard_mesh.relay import control, journal

Target = Callable[[bytes], None]

Message = Initiation | Response | CookieReply | Transport

MESSAGES: tuple[tuple[MessageType, Callable[[bytes], Message]], ...] = (
    (MessageType.INITIATION, Initiation.parse),
    (MessageType.RESPONSE, Response.parse),
    (MessageType.COOKIE_REPLY, CookieReply.parse),
    (MessageType.TRANSPORT, Transport.parse),
)
WG0 = InterfaceName("wg0")
PING_KEYS = PingKeys(private_key(1).exchange(public_key(2)))
RESPONDER = Responder(private_key(2))
INITIATOR = Initiator(StaticKey(private_key(1)), public_key(2), sender=5, ephemeral=private_key(3), timestamp=bytes(12))
NOW = 1_700_000_000.0
INSTANCE = "instance"
SIGNER = Signer(private_key(1), public_key(2))
VERIFIER = Verifier(lambda key: request_key(private_key(2), key, peer=key, server=public_key(2)))


ROUTES = (SavedRoute(public_key(1), public_key(2), 5, NOW), SavedRoute(public_key(2), public_key(1), 6, NOW))
SESSION = SavedSession(public_key(1), 0, 5, bytes(32), 7, NOW, bytes(12), ("192.0.2.1", 51820))


def fuzz_wireguard(data: bytes) -> None:
    """Messages come back as the bytes that they were."""
    kind = wireguard.message_type(data)
    for expected, parse in MESSAGES:
        with suppress(InvalidValue):
            assert parse(data).build() == data
            assert kind is expected


def fuzz_handshake(data: bytes) -> None:
    """Neither side of a handshake takes anything but what the other made for it."""
    with suppress(MeshError):
        received = RESPONDER.read(Initiation.parse(data))
        assert received.static == public_key(1).raw
    for take in (INITIATOR.finish, INITIATOR.open_cookie):
        with suppress(MeshError):
            take(data)
            raise AssertionError("nobody has the keys to make that")


def fuzz_pings(data: bytes) -> None:
    """Only signed ones are believed."""
    with suppress(InvalidValue):
        ping = Ping.parse(data)
        assert Ping.is_signed(data, PING_KEYS) == (ping.build(PING_KEYS) == data)
    with suppress(InvalidValue):
        assert Pong.parse(data, PING_KEYS).build(PING_KEYS) == data


def fuzz_rendezvous(data: bytes) -> None:
    """Random, changed, replayed and spoofed datagrams while it is calm."""
    rendezvous.run(data, rendezvous.CALM)


def fuzz_rendezvous_under_load(data: bytes) -> None:
    """The same when cookies are asked for."""
    rendezvous.run(data, rendezvous.LOADED)


def fuzz_forwarder(data: bytes) -> None:
    """Handshakes and packets of peers and strangers, changed, alone and in pieces."""
    forwarding.run(data)


def fuzz_carried(data: bytes) -> None:
    """Datagrams in a message of a WebSocket."""
    with suppress(InvalidValue):
        assert carrying.pack(carrying.unpack(data)) == data


def fuzz_journal(data: bytes) -> None:
    """What a relay finds where its journal should be: of changed records none is believed."""
    known = {journal.encoded([], [route]) for route in ROUTES} | {journal.encoded([SESSION], [])}
    for record in journal.records(data):
        encoded = journal.encoded([], [record]) if isinstance(record, SavedRoute) else journal.encoded([record], [])
        assert encoded in known


def fuzz_uapi(data: bytes) -> None:
    """What a userspace WireGuard answers."""
    with suppress(InvalidValue):
        uapi.parse_get(WG0, data)
    with suppress(InvalidValue):
        uapi.parse_set(data)


def fuzz_events(data: bytes) -> None:
    """The map stream: the same events in whatever pieces it comes, and their data."""
    whole = _events([data])
    cut = len(data) // 2
    assert whole == _events([data[:cut], data[cut:]])
    decoders: tuple[Decoder[Any], ...] = (
        events.snapshot_data,
        events.upsert_data,
        events.relays_data,
        events.remove_data,
    )
    for event in whole:
        for decoder in decoders:
            with suppress(InvalidValue):
                decoder.decode(event.data)
        with suppress(InvalidValue):
            MapVersion.parse(event.id)


def _events(pieces: list[bytes]) -> list[events.Event]:
    parser = EventParser()
    return [event for piece in pieces for event in parser.feed(piece)]


def _decoding(*decoders: Decoder[Any]) -> Target:
    """What is decoded is the same after it was encoded again."""

    def target(data: bytes) -> None:
        for decoder in decoders:
            with suppress(InvalidValue):
                value = decoder.decode(data)
                assert decoder.decode(encode(value)) == value

    return target


def fuzz_signatures(data: bytes) -> None:
    """Headers and body of a signed request, a line each; only those that the peer signed are taken."""
    lines = data.split(b"\n", len(SIGNATURE_HEADERS))
    headers = {name: line.decode("latin-1") for name, line in zip(SIGNATURE_HEADERS, lines, strict=False) if line}
    body = lines[-1]
    with suppress(MeshError):
        signed = VERIFIER.verify("POST", "/v1/peers", headers, body, now=NOW, instance=INSTANCE)
        assert signed.public_key == public_key(1)
        assert body == SIGNED_BODY


def fuzz_relay_control(data: bytes) -> None:
    """What a relay process and its parent say to each other."""
    for reader in (control.for_child(), control.for_parent()):
        with suppress(InvalidValue):
            for _ in reader.feed(data):
                pass


def fuzz_relay_key(data: bytes) -> None:
    """A relay key as text, and a proof that somebody made."""
    text = data.decode("latin-1")
    with suppress(InvalidValue):
        RelayKey.parse(text)
    assert not RelayKey(bytes(32)).proves(text, RelayId("fra-1"), public_key(1), public_key(2), 0)


def fuzz_pcp(data: bytes) -> None:
    """What a router answers who is asked to forward a port."""
    pcp.is_without_pcp(data)
    with suppress(pcp.MappingRefused, InvalidValue):
        mapped = pcp.read_pcp(data, bytes(12), 51820)
        assert mapped is None or mapped.endpoint().port
    with suppress(pcp.MappingRefused):
        pcp.read_pmp_address(data)
    with suppress(pcp.MappingRefused):
        pcp.read_pmp_map(data, 51820)


def fuzz_icmp(data: bytes) -> None:
    """Echo replies."""
    for version in (4, 6):
        icmp.is_reply(version, icmp.without_ipv4_header(data), 1, b"payload")


def fuzz_names(data: bytes) -> None:
    """Texts that become values."""
    text = data.decode("latin-1")
    with suppress(InvalidValue):
        assert Endpoint.parse(str(Endpoint.parse(text))) == Endpoint.parse(text)
    with suppress(InvalidValue):
        MapVersion.parse(text)


TARGETS: dict[str, Target] = {
    "wireguard": fuzz_wireguard,
    "handshake": fuzz_handshake,
    "pings": fuzz_pings,
    "rendezvous": fuzz_rendezvous,
    "rendezvous-under-load": fuzz_rendezvous_under_load,
    "forwarder": fuzz_forwarder,
    "carried": fuzz_carried,
    "journal": fuzz_journal,
    "uapi": fuzz_uapi,
    "events": fuzz_events,
    "api": _decoding(
        api.server_info,
        api.health,
        api.register_request,
        api.register_response,
        api.heartbeat_request,
        api.heartbeat_response,
        api.map_update,
    ),
    "relay-api": _decoding(
        relay_api.relay_registration,
        relay_api.relay_registered,
        relay_api.relay_heartbeat,
        relay_api.relay_heartbeat_response,
    ),
    "seed": _decoding(seed.register_request, seed.heartbeat_request),
    "local": _decoding(local.request, local.answer),
    "signatures": fuzz_signatures,
    "relay-control": fuzz_relay_control,
    "relay-key": fuzz_relay_key,
    "pcp": fuzz_pcp,
    "icmp": fuzz_icmp,
    "names": fuzz_names,
}

SIGNED_BODY = b'{"a": 1}'
_RELAY = Relay(
    id=RelayId("fra-1"), vantage_points=(VantagePoint(public_key(5), 8080), VantagePoint(public_key(6), 8081))
)
_PEER = MemoryPeer(1)
_UAPI = (
    b"private_key=%b\nlisten_port=51820\npublic_key=%b\nendpoint=192.0.2.1:5\nlast_handshake_time_sec=5\nrx_bytes=1\n"
    b"allowed_ip=10.100.0.2/32\nerrno=0\n\n"
) % (private_key(1).raw.hex().encode(), public_key(2).raw.hex().encode())
_PROGRAMS = tuple(bytes((what, 0, 0, what, vantage, 4) * 3) for what in range(20) for vantage in range(2))


def _signed() -> bytes:
    nonce = make_nonce(INSTANCE, "0123456789abcdef")
    headers = SIGNER.sign("POST", "/v1/peers", SIGNED_BODY, now=NOW, nonce=nonce)
    return b"\n".join([*(headers.get(name, "").encode() for name in SIGNATURE_HEADERS), SIGNED_BODY])


SAMPLES: dict[str, tuple[bytes, ...]] = {
    "wireguard": (
        _PEER.initiation(at(0)),
        Response(1, 2, bytes(32), bytes(16), bytes(16)).build(),
        CookieReply(1, bytes(24), bytes(32)).build(),
        Transport(1, 2, bytes(64)).build(),
    ),
    "handshake": (
        INITIATOR.datagram,
        Response(1, 5, public_key(4).raw, bytes(16), bytes(16)).build(),
        CookieReply(5, bytes(24), bytes(32)).build(),
    ),
    "pings": (
        Ping(public_key(1).raw, 5).build(PING_KEYS),
        Pong(5, Endpoint.parse("192.0.2.1:5")).build(PING_KEYS),
        Pong(5, None).build(PING_KEYS),
    ),
    "rendezvous": _PROGRAMS,
    "rendezvous-under-load": _PROGRAMS,
    "forwarder": tuple(bytes((what, what, 0, 0, what, 7) * 4) for what in range(0, 60, 2)),
    "carried": (carrying.pack([b"abc", b"", bytes(1400)]), b""),
    "journal": (
        journal.encoded([SESSION], ROUTES),
        journal.encoded([], ROUTES),
    ),
    "uapi": (_UAPI, b"errno=0\n\n"),
    "events": (
        events.snapshot_event(NETWORK),
        events.upsert_event([encode(peer(1)), encode(peer(2))]),
        events.remove_event([peer(1).id]),
        events.relays_event([_RELAY]),
        events.current_event(MapVersion("abc", 5)),
        events.retry_field(3),
        b"\xef\xbb\xbf: comment\r\ndata: a\r\ndata: b\r\n\r\n",
    ),
    "api": (
        encode(api.RegisterRequest(hostname="a", os="linux", endpoints=(Endpoint.parse("192.0.2.1:5"),))),
        encode(api.HeartbeatRequest(endpoints=(Endpoint.parse("192.0.2.1:5"),))),
    ),
    "relay-api": (
        encode(
            relay_api.RelayRegistration(
                id="fra-1", vantage_points=_RELAY.vantage_points, time=5, proof="p", ipv4=IPv4Address("192.0.2.1")
            )
        ),
        encode(
            relay_api.RelayHeartbeat(
                observations=(
                    relay_api.Observation(public_key=public_key(1), vantage=1, endpoint=Endpoint.parse("192.0.2.1:5")),
                )
            )
        ),
    ),
    "seed": (
        b'{"public_key": "%b", "hostname": "a", "os": "linux", "endpoint": "192.0.2.1:5"}'
        % public_key(1).to_base64().encode(),
    ),
    "local": (b'{"type": "status"}', b'{"type": "ping", "peer": "a"}', b'{"type": "done"}'),
    "signatures": (_signed(),),
    "relay-control": (
        control.frame(control.Roster(add=(public_key(1),))),
        control.frame(control.Observed(public_key(1), 0, Endpoint.parse("192.0.2.1:5"))),
        control.frame(control.Stats(dropped={"a": 1})),
        control.frame(control.Stop()),
    ),
    "relay-key": (RelayKey(bytes(32)).to_text().encode(),),
    "pcp": (
        b"\2\x81\0\0" + bytes(32) + b"\x11\0\0\0\xca\x6c\x9c\x40" + bytes(10) + b"\xff\xff\xc6\x33\x64\7",
        b"\0\x81\0\0" + bytes(4) + b"\xca\x6c\x9c\x40\0\0\x0e\x10",
        b"\0\x80\0\0" + bytes(4) + b"\xc6\x33\x64\7",
    ),
    "icmp": (icmp.echo_request(4, 1, 1, b"payload"), b"\x45" + bytes(19) + bytes(8) + b"payload"),
    "names": (b"192.0.2.1:5", b"[2001:db8::1]:5", b"abc.17"),
}
