"""`python -m lab.kernel`: build the test kernel, run a command in it, run the tests that need it."""

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn, TypeVar

import click

from lab import logs
from lab.kernel import KernelError
from lab.kernel.build import ensure_kernel
from lab.kernel.cache import cache_folder
from lab.kernel.run import run_inside

T = TypeVar("T")

RUN_SECONDS = 600.0
TEST_SECONDS = 1800.0
"""Of the host's clock. The tests take some four minutes; a slow or busy machine gets the rest."""

_FAILED = 125
"""The kernel failed and not the command, as `docker run` and `timeout` say it."""


@click.group()
def main() -> None:
    """A Linux kernel with WireGuard for the tests, as an ordinary program."""


@main.command()
def build() -> None:
    """Build the kernel unless the cache has it, and print its path."""
    click.echo(_reporting_failure(lambda: ensure_kernel(cache_folder(os.environ), _report)))


@main.command()
@click.option("--time-travel", is_flag=True, help="Let time pass at once when everybody waits.")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), default=RUN_SECONDS, show_default=True)
@click.option(
    "--writable",
    multiple=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="A folder where what is written inside is kept. May be given more than once.",
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(time_travel: bool, timeout: float, writable: tuple[Path, ...], command: tuple[str, ...]) -> None:
    """Run COMMAND inside, in this folder, as root; exit with its status, or 125 if the kernel failed."""
    sys.exit(_inside(list(command), time_travel=time_travel, timeout=timeout, writable=writable))


@main.command(context_settings={"ignore_unknown_options": True})
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), default=TEST_SECONDS, show_default=True)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def test(timeout: float, arguments: tuple[str, ...]) -> None:
    """Run the tests of tests/kernel inside, in virtual time; ARGUMENTS go to pytest."""
    # pytest's own timeout counts seconds inside, of which a test may well use some thousand.
    pytest = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-o", "timeout=0"]
    pytest += arguments or ("tests/kernel",)
    started = time.monotonic()
    status = _inside(pytest, time_travel=True, timeout=timeout, writable=[logs.folder()])
    _report(f"pytest counts the seconds inside; outside it took {time.monotonic() - started:.0f} s")
    sys.exit(status)


def _inside(command: list[str], *, time_travel: bool, timeout: float, writable: Sequence[Path]) -> int:
    signal.signal(signal.SIGTERM, _exit_on_signal)

    def work() -> int:
        kernel = ensure_kernel(cache_folder(os.environ), _report)
        return run_inside(kernel, command, time_travel=time_travel, timeout=timeout, show=_show, writable=writable)

    return _reporting_failure(work)


def _reporting_failure(work: Callable[[], T]) -> T:
    try:
        return work()
    except KernelError as error:
        _report(str(error))
        sys.exit(_FAILED)


def _show(chunk: bytes) -> None:
    sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()


def _report(line: str) -> None:
    click.echo(f"kernel: {line}", err=True)


def _exit_on_signal(number: int, _frame: FrameType | None) -> NoReturn:
    """End by an exception, so that everything that was made is removed."""
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
