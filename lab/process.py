"""Programs that run in a host: their PID, their output, their end."""

import re
import shlex
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from lab.errors import LabError

_POLL_INTERVAL = 0.01  # seconds between two looks at an output file
_STOP_TIMEOUT = 10.0  # seconds a program has to end after SIGTERM


class Process:
    """A program started by `Host.start`. Standard output and standard error go to one file."""

    def __init__(self, host: str, command: list[str], popen: "subprocess.Popen[bytes]", log: Path) -> None:
        self.command = command
        self._title = f"{host}: {shlex.join(command)}"
        self._popen = popen
        self._log = log

    def __repr__(self) -> str:
        return f"<Process {self._title!r} pid={self.pid} returncode={self.returncode}>"

    @property
    def pid(self) -> int:
        """The program's own PID, as seen from outside of the lab."""
        return self._popen.pid

    @property
    def returncode(self) -> int | None:
        """None while it runs; minus the signal's number when a signal ended it."""
        return self._popen.poll()

    @property
    def running(self) -> bool:
        return self.returncode is None

    def output(self) -> str:
        """All that it, and whatever it started, has written until now."""
        return self._log.read_text(errors="replace")

    def wait_for(self, pattern: str, timeout: float = 10.0, after: int = 0) -> re.Match[str]:
        """Wait until `pattern` (a regular expression, `^` and `$` match at lines) is in the output.

        `after` skips that many characters, as in `after=earlier_match.end()`. Raises `LabError` with the
        output after `timeout` seconds, or as soon as the program ended without it.
        """
        expression = re.compile(pattern, re.MULTILINE)
        deadline = time.monotonic() + timeout
        while True:
            ended = not self.running  # before reading, so that its last words are read
            if found := expression.search(self.output(), after):
                return found
            if ended:
                raise self._failure(f"ended with {self.returncode} before it wrote {pattern!r}")
            if time.monotonic() > deadline:
                raise self._failure(f"did not write {pattern!r} within {timeout:g} s")
            time.sleep(_POLL_INTERVAL)

    def wait(self, timeout: float = 10.0) -> int:
        """Wait for the end and return the return code; `LabError` with the output after `timeout` seconds."""
        try:
            return self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise self._failure(f"did not end within {timeout:g} s") from None

    def signal(self, number: signal.Signals) -> None:
        self._popen.send_signal(number)

    def terminate(self, timeout: float = _STOP_TIMEOUT) -> int:
        """Send SIGTERM, wait for the end, return the return code."""
        self._popen.terminate()
        return self.wait(timeout)

    def kill(self) -> None:
        """Send SIGKILL and wait for the end. What it had detached runs on."""
        self._popen.kill()
        self.wait()

    def reap(self) -> None:
        """Wait for a process that the kernel has killed already, with the rest of its host."""
        self._popen.wait()

    def _failure(self, what: str) -> LabError:
        return LabError(f"{self._title} (pid {self.pid}) {what}; its output:\n{self.output() or '(none)'}")


def failed_run(title: str, done: "subprocess.CompletedProcess[str]") -> LabError:
    return LabError(f"{title} ended with {done.returncode}\n{done.stdout}{done.stderr}".rstrip())


def words(arguments: Sequence[object]) -> list[str]:
    """Arguments as text, so that addresses and paths can be given as they are."""
    return [str(argument) for argument in arguments]
