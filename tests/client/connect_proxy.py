"""An HTTP proxy that knows CONNECT and nothing else (RFC 9110 section 9.3.6), if need be with Basic authentication."""

import asyncio
import base64
import contextlib

_READ = 64 * 1024
_HEAD_END = b"\r\n\r\n"


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(_READ):
            writer.write(data)
            await writer.drain()
    writer.close()


async def serve(login: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One client. `login` is what it must know; empty: nothing."""
    head = (await reader.readuntil(_HEAD_END)).decode()
    first, *headers = head.split("\r\n")
    method, target, _ = first.split(" ")
    expected = "proxy-authorization: basic " + base64.b64encode(login.encode()).decode().lower()
    if login and expected not in [header.lower() for header in headers]:
        writer.write(b'HTTP/1.1 407 Who?\r\nproxy-authenticate: Basic realm="x"\r\ncontent-length: 0\r\n\r\n')
        writer.close()
        return
    if method != "CONNECT":
        writer.write(b"HTTP/1.1 405 No\r\ncontent-length: 0\r\n\r\n")
        writer.close()
        return
    host, _, port = target.rpartition(":")
    try:
        there, back = await asyncio.open_connection(host.strip("[]"), int(port))
    except OSError:
        writer.write(b"HTTP/1.1 502 Not there\r\ncontent-length: 0\r\n\r\n")
        writer.close()
        return
    writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
    await asyncio.gather(_pass_on(reader, back), _pass_on(there, writer))
