import asyncio
import contextlib
import json
import time
from email.utils import formatdate

import pytest

from tests.client.conftest import RealServer, Scripted, answering, read_request, response
from tests.samples import private_key, public_key
from wireguard_mesh.client.control import Control, NotRegistered, ServerKeyChanged, ServerRefused
from wireguard_mesh.client.dial import Dialer
from wireguard_mesh.client.http import HttpClient
from wireguard_mesh.client.map_stream import listen
from wireguard_mesh.model.errors import MeshError, Unavailable
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.peers import MapVersion
from wireguard_mesh.model.servers import ServerAddress
from wireguard_mesh.protocol import api

PINNED = public_key(9)
HEARTBEAT = response("200 OK", b'{"epoch":"e","revision":3,"time":1}')


def control(address: ServerAddress, server_key: PublicKey | None = None, wrong_by: float = 0.0) -> Control:
    return Control(HttpClient(Dialer(address)), private_key(1), server_key, lambda: time.time() + wrong_by)


def error(status: str, code: str, text: str = "no", hint: str = "") -> bytes:
    return response(status, json.dumps({"code": code, "error": text, "hint": hint}).encode())


def info(key: PublicKey) -> bytes:
    network = {"ipv4": "10.100.0.0/16", "ipv6": "fd00::/64"}
    values = {
        "server_public_key": str(key),
        "network": network,
        "epoch": "e",
        "admission": "open",
        "version": "1",
        "instance": "i" * 16,
    }
    return response("200 OK", json.dumps({**values, "time": 0}).encode())


async def beat(one: Control) -> api.HeartbeatResponse:
    try:
        return await one.heartbeat(api.HeartbeatRequest())
    finally:
        one.http.drop_connections()


async def test_a_whole_membership_with_a_real_server(server: RealServer) -> None:
    one = control(server.address)
    with pytest.raises(NotRegistered):
        await one.heartbeat(api.HeartbeatRequest())
    answer = await one.register(api.RegisterRequest(hostname="one"))
    assert answer.map is not None
    assert one.server_key == (await one.server_info()).server_public_key
    assert (await one.heartbeat(api.HeartbeatRequest())).revision == answer.map.revision
    update = await one.map(MapVersion(answer.map.epoch, answer.map.revision))
    assert update.kind is api.UpdateKind.CURRENT
    assert (await one.map(None)).kind is api.UpdateKind.SNAPSHOT
    await one.leave()
    with pytest.raises(NotRegistered):
        await one.leave()
    one.http.drop_connections()


@pytest.mark.parametrize("wrong_by", [-86400.0, 86400.0 * 365])
async def test_a_wrong_clock_signs_by_the_servers(server: RealServer, wrong_by: float) -> None:
    one = control(server.address, wrong_by=wrong_by)
    await one.register(api.RegisterRequest(hostname="one"))
    await beat(one)


async def test_a_server_that_never_likes_the_clock_is_asked_twice_at_most(scripted: Scripted) -> None:
    skewed = response("401 Unauthorized", b'{"code":"clock_skew","error":"late"}', f"date: {formatdate(usegmt=True)}")
    scripted.talk = answering(scripted, skewed)
    with pytest.raises(ServerRefused, match="late"):
        await beat(control(scripted.address, PINNED))
    assert len(scripted.requests) == 2


async def test_a_clock_answer_without_a_date_is_a_refusal(scripted: Scripted) -> None:
    scripted.talk = answering(scripted, error("401 Unauthorized", "clock_skew", "late"))
    with pytest.raises(ServerRefused, match="late"):
        await beat(control(scripted.address, PINNED))
    assert len(scripted.requests) == 1


STALE = b'{"code":"stale_nonce","error":"restarted"}'


def stale(*headers: str) -> bytes:
    return response("401 Unauthorized", STALE, *headers)


async def test_a_restarted_server_is_signed_for_anew_and_remembered(scripted: Scripted) -> None:
    scripted.talk = answering(scripted, stale("mesh-nonce: run2"), HEARTBEAT, HEARTBEAT)
    one = control(scripted.address, PINNED)
    await beat(one)
    await beat(one)
    assert [b'nonce="run2.' in request for request in scripted.requests] == [False, True, True]


async def test_a_server_that_is_never_content_with_a_nonce_is_asked_twice_at_most(scripted: Scripted) -> None:
    scripted.talk = answering(scripted, stale("mesh-nonce: run2"))
    with pytest.raises(Unavailable, match="restarted"):
        await beat(control(scripted.address, PINNED))
    assert len(scripted.requests) == 2


@pytest.mark.parametrize("headers", [[], ["mesh-nonce: a b"], ["mesh-nonce: " + "x" * 33]])
async def test_a_name_that_cannot_be_one_is_not_signed(scripted: Scripted, headers: list[str]) -> None:
    scripted.talk = answering(scripted, stale(*headers))
    with pytest.raises(Unavailable, match="restarted"):
        await beat(control(scripted.address, PINNED))
    assert len(scripted.requests) == 1


async def test_a_real_server_that_was_restarted_is_reached_with_one_more_request(server: RealServer) -> None:
    one = control(server.address)
    await one.register(api.RegisterRequest(hostname="one"))
    one.http.drop_connections()
    await server.stop()
    await server.start()
    await beat(one)


async def test_a_pinned_server_is_not_asked_for_its_key(scripted: Scripted) -> None:
    scripted.talk = answering(scripted, HEARTBEAT)
    assert (await beat(control(scripted.address, PINNED))).revision == 3
    assert len(scripted.requests) == 1
    assert b"signature-input" in scripted.requests[0].lower()


async def test_another_key_at_the_server_is_told_apart_from_a_bad_signature(scripted: Scripted) -> None:
    refusal = error("401 Unauthorized", "bad_signature", "the signature is wrong")
    scripted.talk = answering(scripted, refusal, info(public_key(10)))
    with pytest.raises(ServerKeyChanged, match="-trust-new-server-key"):
        await beat(control(scripted.address, PINNED))
    scripted.requests.clear()
    scripted.talk = answering(scripted, refusal, info(PINNED))
    with pytest.raises(ServerRefused, match="the signature is wrong"):
        await beat(control(scripted.address, PINNED))


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (error("404 Not Found", "not_found", "unknown"), NotRegistered, "unknown"),
        (error("403 Forbidden", "closed", "closed", "ask"), ServerRefused, "closed; ask"),
        (error("429 Too Many Requests", "busy", "slower"), Unavailable, "slower"),
        (error("503 Service Unavailable", "unavailable", "later"), Unavailable, "later"),
        (response("500 Internal Server Error", b"<html>oops"), Unavailable, "status 500"),
        (response("404 Not Found", b"<html>"), Unavailable, "not as a vpn-server"),
        (response("200 OK", b"<html>welcome"), Unavailable, "not as a vpn-server"),
        (response("200 OK", b'{"epoch":1}'), Unavailable, "epoch"),
        (response("302 Found", b"", "location: https://x/\x1b"), ServerRefused, "https://x/ ; give"),
        (response("302 Found"), ServerRefused, "elsewhere"),
    ],
)
async def test_every_refusal_is_one_error(scripted: Scripted, answer: bytes, kind: type[MeshError], words: str) -> None:
    scripted.talk = answering(scripted, answer)
    with pytest.raises(kind, match=words):
        await beat(control(scripted.address, PINNED))


async def test_the_servers_words_cannot_play_with_a_terminal(scripted: Scripted) -> None:
    scripted.talk = answering(scripted, error("400 Bad Request", "x", "\x1b[2J" + "long " * 200))
    with pytest.raises(ServerRefused) as raised:
        await beat(control(scripted.address, PINNED))
    assert raised.value.message.isprintable()
    assert len(raised.value.message) < 310


async def test_registering_where_no_vpn_server_is_says_so(scripted: Scripted) -> None:
    scripted.talk = answering(scripted, error("404 Not Found", "not_found", "no such page"))
    one = control(scripted.address, PINNED)
    with pytest.raises(Unavailable, match="not as a vpn-server"):
        await one.register(api.RegisterRequest(hostname="one"))
    one.http.drop_connections()


EVENTS = b"event:current\nid:e.1\ndata:{}\n\n"
STREAM = response("200 OK", EVENTS, "content-type: text/event-stream; charset=utf-8")


async def heard(one: Control, since: MapVersion | None = None) -> bytes:
    async with one.stream(since) as stream:
        return b"".join([piece async for piece in stream.pieces()])


async def test_a_stream_is_asked_for_from_where_one_is(scripted: Scripted) -> None:
    scripted.talk = answering(scripted, STREAM)
    assert await heard(control(scripted.address, PINNED), MapVersion("e", 1)) == EVENTS
    request = scripted.requests[0].lower()
    assert request.startswith(b"get /v1/map/stream?since=e.1 http/1.1\r\n")
    assert b"accept: text/event-stream" in request
    assert b"accept-encoding: gzip" in request
    assert b"signature-input" in request


async def test_a_stream_of_a_restarted_server_is_signed_for_anew(scripted: Scripted) -> None:
    scripted.talk = answering(scripted, stale("mesh-nonce: run2"), STREAM)
    assert await heard(control(scripted.address, PINNED)) == EVENTS
    assert [b'nonce="run2.' in request for request in scripted.requests] == [False, True]
    scripted.requests.clear()
    scripted.talk = answering(scripted, stale("mesh-nonce: run3"))
    with pytest.raises(Unavailable, match="restarted"):
        await heard(control(scripted.address, PINNED))
    assert len(scripted.requests) == 2


@pytest.mark.parametrize("is_kept", [True, False])
async def test_where_each_connection_leads_to_another_server_a_stream_is_signed_for_the_one_it_is_of(
    scripted: Scripted, is_kept: bool
) -> None:
    """As with a name of several addresses, or a balancer of connections. One that closes may be met again."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        process = b"run%d" % (scripted.connections if is_kept else 1)
        while request := await read_request(reader):
            scripted.requests.append(request)
            if b'nonce="%b.' % process in request:
                writer.write(STREAM)
                writer.close()
                return
            close = [] if is_kept else ["connection: close"]
            writer.write(stale(f"mesh-nonce: {process.decode()}", *close))

    scripted.talk = talk
    one = control(scripted.address, PINNED)
    for _ in range(3 if is_kept else 1):
        assert await heard(one) == EVENTS
    assert (scripted.connections, len(scripted.requests)) == ((3, 6) if is_kept else (2, 2))


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (error("404 Not Found", "not_found", "unknown"), NotRegistered, "unknown"),
        (error("503 Service Unavailable", "unavailable", "later"), Unavailable, "later"),
        (response("502 Bad Gateway", b"<html>"), Unavailable, "not as a vpn-server"),
        (response("200 OK", b"<html>", "content-type: text/html"), Unavailable, "a stream of type text/html"),
        (response("200 OK", b"<html>"), Unavailable, "a stream of type unknown"),
    ],
)
async def test_what_is_no_stream_is_one_error(
    scripted: Scripted, answer: bytes, kind: type[MeshError], words: str
) -> None:
    scripted.talk = answering(scripted, answer)
    with pytest.raises(kind, match=words):
        await heard(control(scripted.address, PINNED))


async def test_the_stream_of_a_real_server(server: RealServer) -> None:
    one = control(server.address)
    answer = await one.register(api.RegisterRequest(hostname="one"))
    assert answer.map is not None
    for since in (None, MapVersion(answer.map.epoch, answer.map.revision)):
        async with one.stream(since) as stream, contextlib.aclosing(listen(stream)) as portions:
            assert stream.headers["content-encoding"] == "gzip"
            async for heard_now in portions:
                if heard_now.updates:
                    break
        assert heard_now.updates[0].kind is (api.UpdateKind.CURRENT if since else api.UpdateKind.SNAPSHOT)
        assert heard_now.version == MapVersion(answer.map.epoch, answer.map.revision)
    one.http.drop_connections()
