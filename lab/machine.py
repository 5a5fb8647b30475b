"""A machine is a set of namespaces with an init process; here its owner makes it and acts inside it."""

import os
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from lab import namespace
from lab.errors import LabError
from lab.keeper import READY

ROOT = Path(__file__).resolve().parent.parent
_KEEPER = "from lab.keeper import main; main()"
_ANSWER_SIZE = 4096
_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid; unix(7)
_ANSWER_TIMEOUT = 30.0  # seconds; far more than an overloaded machine needs


class Keeper:
    """The owner's end of `lab/keeper.py`: makes machines, and takes all of them down when closed."""

    def __init__(self) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._channel.settimeout(_ANSWER_TIMEOUT)
        owner = os.pidfd_open(os.getpid())
        command = [sys.executable, "-S", "-c", _KEEPER, str(theirs.fileno()), str(owner)]
        try:
            with namespace.kept(namespace.CLONE_NEWPID):
                namespace.unshare(namespace.CLONE_NEWPID)
                self._process = subprocess.Popen(
                    command,
                    cwd=ROOT,
                    stdin=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(), owner),
                    start_new_session=True,  # the terminal's Ctrl-C is for the owner, which then closes the lab
                )
        finally:
            theirs.close()
            os.close(owner)

    def make(self, name: str) -> "Machine":
        """A new machine; its name is its host name too."""
        try:
            self._channel.send(name.encode())
            answer, ancillary, _, _ = self._channel.recvmsg(_ANSWER_SIZE, socket.CMSG_SPACE(_CREDENTIALS.size))
        except OSError as error:
            raise LabError(f"the lab's keeper process gave no answer for {name}: {error}") from error
        if answer.decode() != READY:
            raise LabError(answer.decode() or "the lab's keeper process is gone")
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
                return Machine(name, _CREDENTIALS.unpack(data[: _CREDENTIALS.size])[0])
        raise LabError("the kernel attached no credentials to the answer of an init process")

    def close(self) -> None:
        """Kill every process of every machine.

        The caller must then wait for the processes that it spawned itself: the kernel keeps their PID
        namespace until they are reaped.
        """
        self._process.kill()

    def wait(self) -> None:
        """After `close`: return when nothing of the lab runs any more."""
        self._process.wait()
        self._channel.close()


class Machine:
    """Namespaces of one machine, held open by its init process with the PID `init`."""

    def __init__(self, name: str, init: int) -> None:
        self.name = name
        self.init = init
        self._network = os.open(f"/proc/{init}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._pids = os.open(f"/proc/{init}/ns/pid", os.O_RDONLY | os.O_CLOEXEC)

    @property
    def root(self) -> Path:
        """Its file system as seen from outside."""
        return Path(f"/proc/{self.init}/root")

    @contextmanager
    def network(self) -> Iterator[None]:
        """Have the calling thread in this machine's network: sockets that it opens here stay here."""
        with namespace.entered(self._network, namespace.CLONE_NEWNET):
            yield

    def spawn(
        self,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        folder: Path,
        stdin: int | IO[bytes] = subprocess.DEVNULL,
        stdout: IO[bytes],
        stderr: IO[bytes] | int,
    ) -> "subprocess.Popen[bytes]":
        """Start a program in all of the machine's namespaces. Its `pid` is the program's own.

        The child is forked into the PID namespace, and `nsenter` enters the others and becomes the program.
        """
        enter = ["-t", str(self.init), "-m", "-n", "-u", "-r", f"--wdns={folder}", "--"]
        with namespace.entered(self._pids, namespace.CLONE_NEWPID):
            return subprocess.Popen(
                [_tool("nsenter"), *enter, *arguments],
                env=environment,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )

    def processes(self) -> dict[int, list[str]]:
        """PID outside and command line of every process in the machine, except its init process."""
        inside = os.fstat(self._pids).st_ino
        found = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdecimal() or int(entry.name) == self.init:
                continue
            try:
                if (entry / "ns/pid").stat().st_ino == inside:
                    found[int(entry.name)] = (entry / "cmdline").read_text().split("\0")[:-1]
            except (FileNotFoundError, ProcessLookupError):
                continue  # ended since it was listed
            except PermissionError:
                continue  # a process that even root may not look at is none of ours
        return found

    def ip(self, *commands: str) -> None:
        """Run `ip` commands (without the word `ip`) in the machine's network, in one go."""
        self.tool(["ip", "-batch", "-"], "\n".join(commands) + "\n")

    def tool(self, command: Sequence[str], text: str = "") -> str:
        """Run a tool of the outside in the machine's network, give it `text`, and return its output."""
        with self.network():
            done = subprocess.run(
                [_tool(command[0]), *command[1:]], input=text, capture_output=True, text=True, check=False
            )
        if done.returncode != 0:
            raise LabError(f"{self.name}: {' '.join(command)} failed\n{text}{done.stdout}{done.stderr}".rstrip())
        return done.stdout

    def sysctl(self, settings: Mapping[str, object]) -> None:
        """Write settings of the machine's network: names below `net.`, as in `ipv4.ip_forward`."""
        with self.network():
            for name, value in settings.items():
                Path("/proc/sys/net", *name.split(".")).write_text(str(value))

    def close(self) -> None:
        """Let go of the namespaces; they end with the init process."""
        os.close(self._network)
        os.close(self._pids)


def _tool(name: str) -> str:
    # /usr/sbin is not on everybody's PATH, and these tools are there.
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if found is None:
        raise LabError(f"the lab needs the program {name}; install the system packages with `make setup`")
    return found
