import asyncio
import gzip
import zlib
from ipaddress import ip_address

import pytest

from tests.client.conftest import Scripted, answering, read_request, response
from wireguard_mesh.client.dial import Dialer, Unreachable
from wireguard_mesh.client.http import HttpClient, Response, Stream
from wireguard_mesh.client.inflate import MAX_PIECE
from wireguard_mesh.model.errors import Unavailable
from wireguard_mesh.model.servers import ServerAddress

OK = response("200 OK", b"{}")


async def get(client: HttpClient, seconds: float = 5.0, limit: int = 1000) -> Response:
    return await client.request("GET", "/v1/x?y=1", lambda: {"x-test": "1"}, seconds=seconds, limit=limit)


async def test_asks_below_the_prefix_with_host_and_headers(scripted: Scripted) -> None:
    scripted.talk = answering(scripted, response("200 OK", b"hello", "Date: now"))
    address = ServerAddress("http", "127.0.0.1", scripted.address.port, "/mesh")
    client = HttpClient(Dialer(address))
    answer = await client.request("POST", "/v1/x", dict, b"body", seconds=5, limit=100)
    assert answer == Response(200, {"content-length": "5", "date": "now"}, b"hello")
    head, _, body = scripted.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /mesh/v1/x HTTP/1.1\r\n")
    assert f"host: 127.0.0.1:{address.port}".encode() in head.lower()
    assert body == b"body"
    client.drop_connections()


async def test_keeps_its_connection(scripted: Scripted) -> None:
    scripted.talk = answering(scripted, OK)
    client = HttpClient(Dialer(scripted.address))
    for _ in range(3):
        await get(client)
    assert scripted.connections == 1
    client.drop_connections()
    await get(client)
    assert scripted.connections == 2
    client.drop_connections()


async def test_several_at_once_have_a_connection_each(scripted: Scripted) -> None:
    scripted.talk = answering(scripted, OK)
    client = HttpClient(Dialer(scripted.address))
    await asyncio.gather(*(get(client) for _ in range(4)))
    assert scripted.connections == 4
    client.drop_connections()


async def test_a_kept_connection_that_ended_is_replaced_and_the_request_signed_anew(scripted: Scripted) -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(OK)
        await writer.drain()
        await read_request(reader)  # and no answer to this one

    scripted.talk = once
    client = HttpClient(Dialer(scripted.address))
    await get(client)
    signatures: list[int] = []

    def sign() -> dict[str, str]:
        signatures.append(1)
        return {}

    answer = await client.request("GET", "/", sign, seconds=5, limit=100)
    assert answer.status == 200
    assert len(signatures) == 2
    client.drop_connections()


async def test_passes_over_interim_answers(scripted: Scripted) -> None:
    scripted.talk = answering(scripted, b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK)
    client = HttpClient(Dialer(scripted.address))
    assert (await get(client)).status == 200
    client.drop_connections()


async def test_reads_chunks(scripted: Scripted) -> None:
    chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    scripted.talk = answering(scripted, chunked)
    client = HttpClient(Dialer(scripted.address))
    assert (await get(client)).body == b"abcde"
    client.drop_connections()


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (b"", "closed before it answered"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 20_000, "does not speak HTTP"),
        (response("200 OK", b"x" * 2000), "longer than 1000 bytes"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 100, "more than 8 interim answers"),
    ],
    ids=["closed", "no http", "cut off", "huge head", "huge body", "never the answer"],
)
async def test_what_is_no_answer_is_one_error(scripted: Scripted, sent: bytes, words: str) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(sent)
        await writer.drain()

    scripted.talk = talk
    with pytest.raises(Unavailable, match=words):
        await get(HttpClient(Dialer(scripted.address)))


async def test_silence_has_an_end(scripted: Scripted) -> None:
    async def talk(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    scripted.talk = talk
    with pytest.raises(Unavailable, match="did not answer within 0 s"):
        await get(HttpClient(Dialer(scripted.address)), seconds=0.05)


async def opened(scripted: Scripted, *parts: bytes) -> tuple[bytes, Stream]:
    """What came over a stream that the server sends in these parts, and then ends."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        scripted.requests.append(await read_request(reader))
        for part in parts:
            writer.write(part)
            await writer.drain()

    scripted.talk = talk
    client = HttpClient(Dialer(scripted.address))
    async with client.stream("/v1/x?y=1", {"accept": "text/event-stream"}, seconds=5) as stream:
        return b"".join([piece async for piece in stream.pieces()]), stream


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-type: text/event-stream\r\n"


async def test_a_stream_is_read_as_it_comes(scripted: Scripted) -> None:
    text, stream = await opened(scripted, HEAD + b"\r\n", chunk(b"one"), chunk(b"two"), b"0\r\n\r\n")
    assert (text, stream.status) == (b"onetwo", 200)
    assert stream.headers["content-type"] == "text/event-stream"
    assert scripted.requests[0].startswith(b"GET /v1/x?y=1 HTTP/1.1\r\n")


async def test_a_packed_stream_is_unpacked_as_it_comes(scripted: Scripted) -> None:
    packer = zlib.compressobj(wbits=31)
    parts = [chunk(packer.compress(text) + packer.flush(zlib.Z_SYNC_FLUSH)) for text in (b"one", b"two")]
    text, _ = await opened(scripted, HEAD + b"content-encoding: gzip\r\n\r\n", *parts, b"0\r\n\r\n")
    assert text == b"onetwo"


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (HEAD + b"\r\n" + chunk(b"one"), "does not speak HTTP"),
        (HEAD + b"\r\nnonsense\r\n", "does not speak HTTP"),
        (HEAD + b"content-encoding: gzip\r\n\r\n" + chunk(b"one"), "gzip"),
        (b"", "closed before it answered"),
    ],
    ids=["cut", "no chunks", "no gzip", "closed"],
)
async def test_a_stream_that_breaks_is_one_error(scripted: Scripted, sent: bytes, words: str) -> None:
    with pytest.raises(Unavailable, match=words):
        await opened(scripted, sent)


async def test_a_stream_that_does_not_begin_has_an_end(scripted: Scripted) -> None:
    async def talk(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    scripted.talk = talk
    with pytest.raises(Unavailable, match="did not answer within 0 s"):
        async with HttpClient(Dialer(scripted.address)).stream("/", {}, seconds=0.05):
            pass


async def test_nobody_there_is_told_apart() -> None:
    with pytest.raises(Unreachable):
        async with HttpClient(Dialer(ServerAddress("http", "127.0.0.1", 9))).stream("/", {}, seconds=5):
            pass


async def test_a_stream_that_is_given_up_closes_its_connection(scripted: Scripted) -> None:
    """Others keep theirs."""
    closed = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if b"/stream" in await read_request(reader):
            writer.write(HEAD + b"\r\n" + chunk(b"one"))
            await reader.read()
            closed.set()
        else:
            writer.write(OK)
            await reader.read()

    scripted.talk = talk
    client = HttpClient(Dialer(scripted.address))
    came = asyncio.Event()

    async def listen() -> None:
        async with client.stream("/stream", {}, seconds=5) as stream:
            async for _ in stream.pieces():
                came.set()

    listening = asyncio.create_task(listen())
    await came.wait()
    await get(client)
    assert scripted.connections == 2
    listening.cancel()
    async with asyncio.timeout(5):
        await closed.wait()
    client.drop_connections()


async def test_a_refusal_is_read_whole_but_not_without_end(scripted: Scripted) -> None:
    scripted.talk = answering(scripted, response("503 Service Unavailable", b"later"))
    client = HttpClient(Dialer(scripted.address))
    async with client.stream("/", {}, seconds=5) as stream:
        assert await stream.whole(10) == Response(503, {"content-length": "5"}, b"later")
        assert stream.source == ip_address("127.0.0.1")
    async with client.stream("/", {}, seconds=5) as stream:
        with pytest.raises(Unavailable, match="longer than 3 bytes"):
            await stream.whole(3)


async def test_a_refusal_that_a_proxy_packed_is_unpacked_but_not_without_end(scripted: Scripted) -> None:
    status, header = "404 Not Found", "content-encoding: gzip"
    scripted.talk = answering(scripted, response(status, gzip.compress(b"unknown"), header))
    client = HttpClient(Dialer(scripted.address))
    async with client.stream("/", {}, seconds=5) as stream:
        assert (await stream.whole(10)).body == b"unknown"
    scripted.talk = answering(scripted, response(status, gzip.compress(bytes(1024 * 1024)), header))
    async with client.stream("/", {}, seconds=5) as stream:
        with pytest.raises(Unavailable, match="longer than 1000 bytes"):
            await stream.whole(1000)


async def test_while_little_unfolds_to_much_others_have_their_turn(scripted: Scripted) -> None:
    turns = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(HEAD + b"content-encoding: gzip\r\n\r\n" + chunk(gzip.compress(bytes(64 * MAX_PIECE))))
        writer.write(b"0\r\n\r\n")

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    scripted.talk = talk
    async with HttpClient(Dialer(scripted.address)).stream("/", {}, seconds=5) as stream:
        pieces = stream.pieces()
        assert len(await anext(pieces)) == MAX_PIECE
        task = asyncio.create_task(other())
        assert sum([1 async for _ in pieces]) == 63
        task.cancel()
    assert turns >= 60
