"""Linux namespaces by way of libc, for Python before 3.12 (`os.unshare` and `os.setns` came there).

Sources: unshare(2), setns(2), mount(2), pid_namespaces(7). Kept small, since the keeper (`lab/keeper.py`)
loads it at the start of every lab.
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

# <linux/sched.h>
CLONE_NEWNS = 0x0002_0000
CLONE_NEWUTS = 0x0400_0000
CLONE_NEWPID = 0x2000_0000
CLONE_NEWNET = 0x4000_0000

# <linux/mount.h>
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REC = 0x4000
MS_PRIVATE = 0x4_0000

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """Move the calling thread into new namespaces (`CLONE_NEWPID`: only what it forks from now on)."""
    _check(_libc.unshare(flags), "unshare")


def setns(descriptor: int, kind: int) -> None:
    """Move the calling thread into a namespace (`CLONE_NEWPID`: only what it forks from now on)."""
    _check(_libc.setns(descriptor, kind), "setns")


def mount(source: str, target: str, kind: str | None, flags: int = 0, options: str = "") -> None:
    """Mount `source` on `target`; with `kind` None change the flags of the mount at `target`."""
    result = _libc.mount(
        source.encode(),
        os.fsencode(target),
        kind.encode() if kind else None,
        ctypes.c_ulong(flags),
        options.encode() or None,
    )
    _check(result, f"mount {target}")


@contextmanager
def entered(descriptor: int, kind: int) -> Iterator[None]:
    """Have this thread in another network namespace, or let it fork into another PID namespace.

    Other threads stay where they are: the kernel keeps both per thread. Not for mount namespaces, which
    a process with threads cannot change.
    """
    with kept(kind):
        setns(descriptor, kind)
        yield


@contextmanager
def kept(kind: int) -> Iterator[None]:
    """Put this thread back into its own network or PID namespace at the end."""
    name = {CLONE_NEWNET: "net", CLONE_NEWPID: "pid"}[kind]
    own = os.open(f"/proc/thread-self/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield
    finally:
        setns(own, kind)
        os.close(own)
