"""What goes into the kernel and what comes out, as values: the command line, the script, the console's bytes."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

INIT = Path(__file__).with_name("init.sh")

MARK_INSIDE = "WGM_KERNEL"
"""The environment variable that is `1` inside: tests that need this kernel look at it."""

# The search path, and where the lab keeps the logs of failed tests.
_KEPT = ("PATH", "LAB_LOGS")


@dataclass(frozen=True, slots=True)
class Boot:
    """How to boot: folders of the host, megabytes of memory, and whether time is virtual."""

    kernel: Path
    folder: Path
    """The runner's own: `command` and `uml/` are in it."""
    nonce: str
    memory: int
    time_travel: bool


def kernel_command(boot: Boot) -> list[str]:
    """The program and its arguments. Every argument that the kernel does not know becomes init's environment."""
    arguments = [
        str(boot.kernel),
        f"mem={boot.memory}M",
        "rootfstype=hostfs",
        "rootflags=/",
        "ro",
        "quiet",
        # The console is for the command; of the kernel only what is critical.
        "loglevel=3",
        "panic=1",
        f"init={INIT}",
        # One console: input from nowhere, output to the runner.
        "con=null",
        "con0=null,fd:1",
        "ssl=null",
        f"uml_dir={boot.folder / 'uml'}/",
        f"vm_command={boot.folder / 'command'}",
        f"vm_nonce={boot.nonce}",
    ]
    # Not `time-travel=inf-cpu`: there a program that spins until a deadline would spin for ever.
    return [*arguments, "time-travel"] if boot.time_travel else arguments


def command_script(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], writable: Sequence[Path]
) -> str:
    """A shell script that runs `command` in `folder` with exactly this environment.

    What is written to the folders `writable` reaches the host at once; they must exist there. Everything else
    is gone with the kernel.
    """
    quoted = [shlex.quote(str(path)) for path in writable]
    lines = [
        "set -e",
        *(f"export {name}={shlex.quote(value)}" for name, value in sorted(environment.items())),
        *(f"mount -t hostfs -o {path} none {path}" for path in quoted),
        f"cd {shlex.quote(str(folder))}",
        f"exec {shlex.join(command)}",
    ]
    return "\n".join([*lines, ""])


def command_environment(host: Mapping[str, str]) -> dict[str, str]:
    """The environment inside: a few things of the host's and no more, so that runs are alike."""
    return {
        **{name: host[name] for name in _KEPT if name in host},
        "HOME": "/root",
        "LC_ALL": "C.UTF-8",
        "TERM": "dumb",
        "PYTHONUNBUFFERED": "1",
        MARK_INSIDE: "1",
    }


class ConsoleReader:
    """Tells the command's output from the kernel's, and finds how the command ended. Bytes in, bytes out."""

    def __init__(self, nonce: str) -> None:
        self._started = f"[vm {nonce} started]\n".encode()
        self._ended = re.compile(rb"\[vm " + nonce.encode() + rb" ended (\d+)\]\n")
        self._longest_mark = len(self._started) + len("255")
        self._pending = b""
        self._boot_messages: bytes | None = None
        self.status: int | None = None
        """The exit status of the command, once it has ended."""

    @property
    def started(self) -> bool:
        """Whether the command has been started."""
        return self._boot_messages is not None

    @property
    def boot_messages(self) -> str:
        """What the kernel said before the command started."""
        said = self._pending if self._boot_messages is None else self._boot_messages
        return said.decode(errors="replace")

    def feed(self, chunk: bytes) -> bytes:
        """Take what the console wrote; return what of it the command wrote and can be shown now."""
        self._pending += chunk
        if self._boot_messages is None:
            before, mark, after = self._pending.partition(self._started)
            if not mark:
                return b""
            self._boot_messages, self._pending = before, after
        if self.status is not None:
            return b""
        ended = self._ended.search(self._pending)
        if ended:
            self.status = int(ended[1])
            return self._pending[: ended.start()]
        return self._take(self._certain_bytes())

    def close(self) -> bytes:
        """The console has ended: return what was held back because it might have become a mark."""
        if self._boot_messages is None or self.status is not None:
            return b""
        return self._take(len(self._pending))

    def _certain_bytes(self) -> int:
        """How many of the pending bytes cannot belong to a mark that is still incomplete."""
        bracket = self._pending.rfind(b"[", max(0, len(self._pending) - self._longest_mark))
        return len(self._pending) if bracket < 0 else bracket

    def _take(self, count: int) -> bytes:
        shown, self._pending = self._pending[:count], self._pending[count:]
        return shown
