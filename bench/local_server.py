"""A server on loopback, with a folder of its own, for measurements that need no network."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

START_TIMEOUT = 20.0
POLL = 0.02
_END_WITH_OWNER = ("setpriv", "--pdeathsig=KILL", "--")  # should this process be killed, the kernel ends the server


class LocalServer:
    """`vpn-server` on a free port of loopback; killed and started anew it keeps port and database."""

    def __init__(self, home: Path, *arguments: str, cpu: int | None = None) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._home = home
        self._arguments = arguments
        self._cpu = cpu
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the process that runs now."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start, and wait until it answers."""
        program = str(Path(sys.executable).with_name("vpn-server"))
        pinned = [] if self._cpu is None else ["taskset", "-c", str(self._cpu)]
        with (self._home / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*_END_WITH_OWNER, *pinned, program, "-listen", f"127.0.0.1:{self.port}", *self._arguments],
                env={**os.environ, "HOME": str(self._home)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_TIMEOUT
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server does not answer:\n{(self._home / 'log').read_text()}")
            time.sleep(POLL)

    def kill(self) -> None:
        """SIGKILL."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM."""
        self._end(signal.SIGTERM)

    def get(self, target: str) -> bytes:
        """The body of a plain GET."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{target}", timeout=30) as answer:
            body: bytes = answer.read()
            return body

    def _answers(self) -> bool:
        try:
            self.get("/v1/health")
        except (urllib.error.URLError, ConnectionError):
            return False
        return True

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait()


@contextmanager
def local_server(*arguments: str, cpu: int | None = None) -> Iterator[LocalServer]:
    """A running server; `cpu` binds it to one core."""
    with TemporaryDirectory(prefix="wgm-bench-") as folder:
        server = LocalServer(Path(folder), *arguments, cpu=cpu)
        server.start()
        try:
            yield server
        finally:
            server.stop()
