import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.client.conftest import until
from wireguard_mesh.client.local_server import MAX_CALLERS, MAX_CALLERS_OF_USER, ROOT, LocalServer
from wireguard_mesh.model.errors import NotFound, Unavailable
from wireguard_mesh.protocol import local

OTHER_USER = os.getuid() + 1


class Handler:
    """Says `done` with the request's name; `down` waits until it is let go; `set` fails, `logout` does by our fault."""

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.waiting = 0

    async def __call__(self, request: local.Request) -> local.Answer:
        if isinstance(request, local.DownRequest):
            self.waiting += 1
            await self.release.wait()
        if isinstance(request, local.SetRequest):
            raise NotFound("nothing there", "look elsewhere")
        if isinstance(request, local.LogoutRequest):
            raise ZeroDivisionError
        return local.Done(type(request).__name__)


@pytest.fixture
async def handler(tmp_path: Path) -> AsyncIterator[Handler]:
    made = Handler()
    server = LocalServer(tmp_path / "wg0.sock", made)
    await server.open()
    yield made
    made.release.set()
    await server.close()


async def talk(path: Path, sent: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(sent)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    return answer


async def test_answers_one_line_and_closes(handler: Handler, tmp_path: Path) -> None:
    answer = await talk(tmp_path / "wg0.sock", b'{"type":"status"}\n')
    assert local.answer.decode(answer) == local.Done("StatusRequest")


@pytest.mark.parametrize(
    ("sent", "code"),
    [(b"nonsense\n", "invalid_value"), (b"x" * 10_000 + b"\n", "invalid_value"), (b'{"type":"set"}\n', "not_found")],
)
async def test_what_it_cannot_do_it_refuses(handler: Handler, tmp_path: Path, sent: bytes, code: str) -> None:
    answer = local.answer.decode(await talk(tmp_path / "wg0.sock", sent))
    assert isinstance(answer, local.Refused)
    assert answer.code == code


async def test_a_fault_of_ours_is_answered_and_logged_once(
    handler: Handler, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        answer = local.answer.decode(await talk(tmp_path / "wg0.sock", b'{"type":"logout"}\n'))
        assert isinstance(answer, local.Refused)
        assert "the agent runs, but failed to answer" in answer.error
    assert [record.exc_info is not None for record in caplog.records if record.levelname == "ERROR"] == [True]


async def test_a_caller_that_says_nothing_gets_nothing(handler: Handler, tmp_path: Path) -> None:
    assert await talk(tmp_path / "wg0.sock", b"") == b""


async def test_everybody_may_ask_but_only_its_user_may_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handler = Handler()
    handler.release.set()
    monkeypatch.setattr("wireguard_mesh.client.local_server.ROOT", -1)
    server = LocalServer(tmp_path / "wg0.sock", handler, own_uid=OTHER_USER)
    await server.open()
    assert (tmp_path / "wg0.sock").stat().st_mode & 0o777 == 0o666
    status = local.answer.decode(await talk(tmp_path / "wg0.sock", b'{"type":"status"}\n'))
    assert status == local.Done("StatusRequest")
    refused = local.answer.decode(await talk(tmp_path / "wg0.sock", b'{"type":"down"}\n'))
    assert isinstance(refused, local.Refused)
    assert refused.code == "not_permitted"
    assert handler.waiting == 0
    await server.close()


async def test_others_may_ask_as_fast_as_is_good_for_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = 100.0
    monkeypatch.setattr("wireguard_mesh.client.local_server.ROOT", -1)
    monkeypatch.setattr("wireguard_mesh.client.local_server.time.monotonic", lambda: moment)
    server = LocalServer(tmp_path / "wg0.sock", Handler(), own_uid=OTHER_USER)
    await server.open()

    async def refusals(sent: bytes, times: int) -> list[str]:
        answers = [local.answer.decode(await talk(tmp_path / "wg0.sock", sent)) for _ in range(times)]
        return [answer.code for answer in answers if isinstance(answer, local.Refused)]

    assert await refusals(b'{"type":"netcheck"}\n', 4) == ["rate_limited"]
    assert await refusals(b'{"type":"ping","peer":"x"}\n', 21) == ["rate_limited"]
    assert await refusals(b'{"type":"status"}\n', 30) == []
    moment += 1.0
    assert await refusals(b'{"type":"explain","peer":"x"}\n', 6) == ["rate_limited"]
    await server.close()


async def refused(path: Path) -> bool:
    try:
        return isinstance(local.answer.decode(await talk(path, b'{"type":"status"}\n')), local.Refused)
    except ConnectionError:
        return True


async def test_too_many_at_once_are_turned_away(handler: Handler, tmp_path: Path) -> None:
    path = tmp_path / "wg0.sock"
    callers = [asyncio.create_task(talk(path, b'{"type":"down"}\n')) for _ in range(MAX_CALLERS)]
    await until(lambda: handler.waiting == MAX_CALLERS)
    assert await refused(path)
    handler.release.set()
    assert all(await asyncio.gather(*callers))


async def test_there_is_room_for_root_however_many_others_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    users = iter([*[OTHER_USER] * (MAX_CALLERS_OF_USER + 1), OTHER_USER + 1, ROOT])
    monkeypatch.setattr("wireguard_mesh.client.local_server._caller", lambda _writer: next(users))
    handler = Handler()
    server = LocalServer(tmp_path / "wg0.sock", handler, own_uid=ROOT)
    await server.open()
    path = tmp_path / "wg0.sock"
    silent = [await asyncio.open_unix_connection(path) for _ in range(MAX_CALLERS_OF_USER)]
    await until(lambda: len(server._callers) == MAX_CALLERS_OF_USER)
    assert await refused(path)  # the same user once more
    assert not await refused(path)  # another one
    handler.release.set()
    assert local.answer.decode(await talk(path, b'{"type":"down"}\n')) == local.Done("DownRequest")
    closing = asyncio.create_task(server.close())
    for reader, writer in silent:  # they are not waited for
        assert await reader.read() == b""
        writer.close()
    await closing


async def test_closing_lets_those_who_wait_have_their_answer(tmp_path: Path) -> None:
    handler = Handler()
    server = LocalServer(tmp_path / "wg0.sock", handler)
    await server.open()
    caller = asyncio.create_task(talk(tmp_path / "wg0.sock", b'{"type":"down"}\n'))
    await until(lambda: bool(handler.waiting))
    asyncio.get_running_loop().call_later(0.01, handler.release.set)
    await server.close()
    assert local.answer.decode(await caller) == local.Done("DownRequest")
    assert not (tmp_path / "wg0.sock").exists()


async def test_the_socket_of_a_dead_agent_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "wg0.sock").touch()
    server = LocalServer(tmp_path / "wg0.sock", Handler())
    await server.open()
    assert await talk(tmp_path / "wg0.sock", b'{"type":"status"}\n')
    await server.close()


async def test_a_socket_that_cannot_be_is_said(tmp_path: Path) -> None:
    server = LocalServer(tmp_path / "no" / "wg0.sock", Handler())
    with pytest.raises(Unavailable, match="cannot be opened"):
        await server.open()
    await server.close()
