"""An HTTP proxy as companies have them: CONNECT, and absolute targets for plain HTTP (RFC 9110, 9112). Runs in a host.

python http_proxy.py PORT

It says what it passes on, one line each, so that a test can see that something went through it.
"""

import asyncio
import sys
from contextlib import suppress
from urllib.parse import urlsplit

_READ = 64 * 1024
_HEAD_END = b"\r\n\r\n"
_HTTP_PORT = 80


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(_READ):
            writer.write(data)
            await writer.drain()
    writer.close()


def _without_proxy_headers(head: bytes) -> bytes:
    lines = head.removesuffix(_HEAD_END).split(b"\r\n")
    kept = [line for line in lines if not line.lower().startswith(b"proxy-")]
    return b"\r\n".join(kept) + _HEAD_END


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        head = await reader.readuntil(_HEAD_END)
        method, target, version = head.split(b"\r\n", 1)[0].split(b" ")
        is_tunnel = method == b"CONNECT"
        parts = urlsplit(f"//{target.decode()}" if is_tunnel else target.decode())
        there, back = await asyncio.open_connection(parts.hostname, parts.port or _HTTP_PORT)
    except (OSError, ValueError, asyncio.IncompleteReadError):
        writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()
        return
    print(method.decode(), target.decode(), flush=True)
    if is_tunnel:
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
    else:
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        rest = head.partition(b"\r\n")[2]
        back.write(_without_proxy_headers(b" ".join((method, path.encode(), version)) + b"\r\n" + rest))
    await asyncio.gather(_pass_on(reader, back), _pass_on(there, writer))


async def _main(port: int) -> None:
    server = await asyncio.start_server(_serve, "0.0.0.0", port)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1])))
