"""Boot the kernel, run one command in it, and leave nothing behind."""

import ctypes
import os
import secrets
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lab import sweep
from lab.kernel import KernelError
from lab.kernel.guest import Boot, ConsoleReader, command_environment, command_script, kernel_command

MEMORY_MB = 768
"""Taken from the host only as far as it is touched."""

_PR_SET_PDEATHSIG = 1
"""prctl(2)."""
_READ_BYTES = 65536
_POWER_OFF_SECONDS = 10.0
"""How long a kernel may take to end after its command has; it takes milliseconds."""
_BOOT_LINES = 5


def run_inside(
    kernel: Path,
    command: Sequence[str],
    *,
    time_travel: bool,
    timeout: float,
    show: Callable[[bytes], None],
    writable: Sequence[Path] = (),
) -> int:
    """Run `command` inside, in the present folder, and return its exit status.

    `show` gets its output, both streams as one, while it runs. What it writes to the folders `writable` is there
    afterwards, all else is not. `timeout` is in seconds of the host's clock, whatever the clock inside does.
    Raises KernelError when the kernel does not boot, dies, or is not done in time.
    """
    with _run_folder() as folder:
        environment = command_environment(os.environ)
        for path in writable:
            path.mkdir(parents=True, exist_ok=True)
        script = command_script(command, Path.cwd(), environment, [path.resolve() for path in writable])
        (folder / "command").write_text(script)
        (folder / "uml").mkdir()
        boot = Boot(kernel, folder, secrets.token_hex(8), MEMORY_MB, time_travel)
        reader = ConsoleReader(boot.nonce)
        with _booted(boot) as process:
            _pump(process, reader, show, time.monotonic() + timeout, timeout)
        if reader.status is not None:
            return reader.status
        if reader.started:
            raise KernelError("the test kernel died while the command ran; its last words are above")
        said = " / ".join(reader.boot_messages.split("\n")[-_BOOT_LINES:]).strip(" /")
        raise KernelError(f"the test kernel did not boot: {said or 'it said nothing'}")


@contextmanager
def _run_folder() -> Iterator[Path]:
    sweep.sweep()
    folder = sweep.make_folder()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def _booted(boot: Boot) -> Iterator[subprocess.Popen[bytes]]:
    """The kernel's process. It does not outlive this block, nor, on a root's machine, a SIGKILL of this process.

    User Mode Linux runs each guest process as a process of the host. A process namespace ends them all at once,
    together with the kernel, by whatever way it ends. Only root may make one.
    """
    isolated = ["unshare", "--pid", "--fork", "--kill-child=SIGKILL"] if os.geteuid() == 0 else []
    libc = ctypes.CDLL(None, use_errno=True)

    def die_with_parent() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    process = subprocess.Popen(
        [*isolated, *kernel_command(boot)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={"PATH": os.environ.get("PATH", os.defpath), "HOME": str(boot.folder), "TMPDIR": memory_folder(boot)},
        # Away from the terminal: an interrupt there is the runner's to handle.
        start_new_session=True,
        preexec_fn=die_with_parent,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def memory_folder(boot: Boot) -> str:
    """Where the kernel keeps its memory, an unlinked file: in shared memory if that has room and may be executed.

    Containers often have 64 MB there, or mount it without execution; the kernel needs both.
    """
    shared = "/dev/shm"
    try:
        state = os.statvfs(shared)
    except OSError:
        return str(boot.folder)
    room = state.f_bavail * state.f_frsize
    executable = not state.f_flag & os.ST_NOEXEC
    return shared if executable and room > boot.memory << 20 else str(boot.folder)


def _pump(
    process: subprocess.Popen[bytes],
    reader: ConsoleReader,
    show: Callable[[bytes], None],
    deadline: float,
    timeout: float,
) -> None:
    """Show what comes until the kernel ends, or the command has ended and the kernel takes too long to follow."""
    console = process.stdout
    assert console is not None
    with selectors.DefaultSelector() as selector:
        selector.register(console, selectors.EVENT_READ)
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or not selector.select(left):
                if reader.status is not None:
                    return
                show(reader.close())
                raise KernelError(f"the command in the test kernel was not done after {timeout:g} s and was killed")
            chunk = os.read(console.fileno(), _READ_BYTES)
            if not chunk:
                show(reader.close())
                return
            running = reader.status is None
            shown = reader.feed(chunk)
            if shown:
                show(shown)
            if running and reader.status is not None:
                deadline = time.monotonic() + _POWER_OFF_SECONDS
