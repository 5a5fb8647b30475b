"""The process that holds a lab together, and the init process of each of its hosts.

The keeper is PID 1 of the lab's PID namespace, and ends with its owner (the process that made the lab,
which it watches by pidfd). For each host it forks an init process, which is PID 1 of a PID namespace inside
the lab's. When a namespace's PID 1 ends, the kernel kills everything inside, detached daemons too, and
network and mount namespaces vanish with their last process. So nothing outlives the owner, even when all are
killed by SIGKILL, and no name of a namespace is left anywhere.

Started by `lab/machine.py` with two arguments, the descriptors of a socket and of the owner's pidfd. Each
datagram from the owner is the name of a host. Its init process answers `ready`, or what went wrong; the
kernel attaches the sender's PID as the owner knows it (`SO_PASSCRED`), so that no PID has to be translated.
"""

import os
import select
import signal
import socket
import sys
from pathlib import Path
from typing import NoReturn

from lab import namespace

READY = "ready"
_LONGEST_NAME = 255
_ETC_HOSTS = "127.0.0.1 localhost\n::1 localhost ip6-localhost\n127.0.1.1 {name}\n"
_ETC_RESOLV_CONF = "# This host has no DNS server.\n"


def main() -> None:
    channel = socket.socket(fileno=int(sys.argv[1]))
    owner = int(sys.argv[2])
    # The kernel reaps by itself what ends; the init processes inherit this for the orphans that they adopt.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    poll.register(owner, select.POLLIN)
    while owner not in (ready := dict(poll.poll())):
        name = channel.recv(_LONGEST_NAME).decode() if channel.fileno() in ready else ""
        if not name:
            return
        _fork_init(name, channel)


def _fork_init(name: str, channel: socket.socket) -> None:
    with namespace.kept(namespace.CLONE_NEWPID):
        namespace.unshare(namespace.CLONE_NEWPID)
        if os.fork() == 0:
            _init(name, channel)


def _init(name: str, channel: socket.socket) -> NoReturn:
    try:
        _furnish(name)
    except OSError as error:
        channel.send(f"host {name}: {error}".encode())
        os._exit(1)
    channel.send(READY.encode())
    channel.close()
    while True:
        signal.pause()


def _furnish(name: str) -> None:
    """Give the host namespaces and what must be its own in the file system: /proc, /sys, /run and /etc."""
    namespace.unshare(namespace.CLONE_NEWNET | namespace.CLONE_NEWNS | namespace.CLONE_NEWUTS)
    socket.sethostname(name)
    safe = namespace.MS_NOSUID | namespace.MS_NODEV | namespace.MS_NOEXEC
    namespace.mount("none", "/", None, namespace.MS_REC | namespace.MS_PRIVATE)
    namespace.mount("proc", "/proc", "proc", safe)
    namespace.mount("sysfs", "/sys", "sysfs", safe)
    namespace.mount("tmpfs", "/run", "tmpfs", namespace.MS_NOSUID | namespace.MS_NODEV, "mode=0755")
    if not Path("/var/run").is_symlink():
        namespace.mount("tmpfs", "/var/run", "tmpfs", namespace.MS_NOSUID | namespace.MS_NODEV, "mode=0755")
    _overlay_etc(name)
    # Addresses are usable at once: nobody else in a lab can have them.
    for scope in ("all", "default"):
        Path(f"/proc/sys/net/ipv6/conf/{scope}/accept_dad").write_text("0")


def _overlay_etc(name: str) -> None:
    """An /etc of its own in memory, where files can be replaced by renaming too (as resolvconf does)."""
    upper, work = Path("/run/lab-etc/upper"), Path("/run/lab-etc/work")
    upper.mkdir(parents=True)
    work.mkdir()
    namespace.mount("overlay", "/etc", "overlay", 0, f"lowerdir=/etc,upperdir={upper},workdir={work}")
    for path, text in (
        (Path("/etc/hosts"), _ETC_HOSTS.format(name=name)),
        (Path("/etc/hostname"), f"{name}\n"),
        (Path("/etc/resolv.conf"), _ETC_RESOLV_CONF),
    ):
        path.unlink(missing_ok=True)  # may be a link to a file that this host does not have
        path.write_text(text)
