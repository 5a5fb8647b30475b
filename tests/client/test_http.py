import asyncio

import pytest

from tests.client.conftest import Scripted, answering, read_request, response
from wireguard_mesh.client.dial import Dialer
from wireguard_mesh.client.http import HttpClient, Response
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
