"""A proxy that keeps each answer to itself until it is whole: streams never come out of it.

python buffering_proxy.py PORT SERVER_HOST SERVER_PORT
"""

import asyncio
import sys
from functools import partial

_READ = 64 * 1024
_HEAD_END = b"\r\n\r\n"
_STREAM = b"GET /v1/map/stream"


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_READ):
        writer.write(data)
        await writer.drain()
    writer.close()


async def _serve(host: str, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    there, back = await asyncio.open_connection(host, port)
    head = await reader.readuntil(_HEAD_END)
    back.write(head)
    if head.startswith(_STREAM):
        held = await there.read()  # whatever comes; a stream has no end
        writer.write(held)
        writer.close()
        return
    await asyncio.gather(_pass_on(reader, back), _pass_on(there, writer))


async def _main(port: int, host: str, server_port: int) -> None:
    server = await asyncio.start_server(partial(_serve, host, server_port), "0.0.0.0", port)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
