"""A PostgreSQL of one's own: in a temporary folder, reached by a Unix socket in it, gone when it is closed.

    with postgres() as server:
        url = server.create_database()

It is Debian's, started directly and ended by its PID, and it listens on no network. PostgreSQL refuses to run as root,
so root starts it as an unprivileged user. Whoever may enter the folder is trusted: that user, and root.
"""

import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from lab.errors import LabError
from lab.process import failed_run

PACKAGE = "postgresql"
_PROGRAMS = Path("/usr/lib/postgresql")  # where Debian keeps each version's, beside what is on everybody's PATH
_UNPRIVILEGED = ("postgres", "nobody")  # users to run it as, the first that there is
_ROLE = "postgres"
_READY = "database system is ready to accept connections"
_SOCKET = ".s.PGSQL.5432"
_START_TIMEOUT = 30.0  # seconds
_STOP_TIMEOUT = 10.0  # seconds for a fast shutdown, which ends all sessions
_POLL_INTERVAL = 0.02  # seconds
_SETTINGS = {
    "listen_addresses": "",
    "max_connections": "200",  # several servers with a pool each, and the sessions of a test besides
}
_NEW_CLUSTER = ("--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync")
_NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class Postgres:
    """A running PostgreSQL; it can be killed and started anew, and keeps its databases."""

    def __init__(self, folder: Path, *, durable: bool, settings: Mapping[str, str]) -> None:
        """`folder` is empty, and short, since the socket is in it. Not `durable`: faster, and a crash may lose all."""
        self._folder = folder
        self._data = folder / "data"
        self._log = folder / "log"
        self._settings = {**_SETTINGS, **({} if durable else _NOT_DURABLE), **settings}
        self._count = 0
        self._process: subprocess.Popen[bytes] | None = None
        _give_away(folder)
        self._run(
            "initdb", "-D", self._data, "-U", _ROLE, "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync"
        )

    @property
    def pid(self) -> int:
        """Of the process that runs now."""
        assert self._process is not None
        return self._process.pid

    def url(self, database: str) -> str:
        """Of one of its databases."""
        return f"postgresql://{_ROLE}@/{database}?host={self._folder}"

    def create_database(self, name: str = "") -> str:
        """A new, empty database; its URL. Without a name it gets one that no other has."""
        self._count += 1
        name = name or f"mesh{self._count}"
        self._run("createdb", "-h", self._folder, "-U", _ROLE, name)
        return self.url(name)

    def query(self, database: str, statement: str) -> list[list[str]]:
        """The rows of one statement, as text."""
        said = self._run("psql", "-h", self._folder, "-U", _ROLE, "-d", database, "-XqAt", "-F", "\t", "-c", statement)
        return [line.split("\t") for line in said.splitlines()]

    def start(self) -> None:
        """Start, and wait until it takes connections."""
        command = [_program("postgres"), "-D", str(self._data), "-k", str(self._folder)]
        command += [word for name, value in self._settings.items() for word in ("-c", f"{name}={value}")]
        earlier = len(self._said())
        with self._log.open("ab") as log:
            # Should the owner be killed, the kernel tells it to end.
            process = subprocess.Popen(
                [*_unprivileged("--pdeathsig=INT"), *command],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # the terminal's Ctrl-C is for the owner
            )
        self._process = process
        deadline = time.monotonic() + _START_TIMEOUT
        while _READY not in self._said()[earlier:]:
            if process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise LabError(f"PostgreSQL does not start:\n{self._said()}")
            time.sleep(_POLL_INTERVAL)

    def stop(self) -> None:
        """Ask it to end at once, and wait; all sessions are cut. Nothing if it does not run."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """End it without a word to anybody, as a crash would; the next start recovers."""
        self._end(signal.SIGQUIT)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            # Its own processes are in its session, and end when they miss it.
            process.kill()
            process.wait()

    def _said(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def _run(self, program: str, *arguments: object) -> str:
        command = [*_unprivileged(), _program(program), *map(str, arguments)]
        done = subprocess.run(command, cwd=self._folder, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise failed_run(program, done)
        return done.stdout


@contextmanager
def postgres(*, durable: bool = False, **settings: str) -> Iterator[Postgres]:
    """A running PostgreSQL, with settings of its own. Raises `LabError` if it is not installed, or does not start."""
    with TemporaryDirectory(prefix="wgm-pg-") as folder:
        server = Postgres(Path(folder), durable=durable, settings=settings)
        server.start()
        try:
            yield server
        finally:
            server.stop()


def _program(name: str) -> str:
    versions = sorted(
        (folder for folder in _PROGRAMS.glob("*/bin") if (folder / "postgres").exists()),
        key=lambda folder: _version(folder.parent.name),
    )
    found = shutil.which(name, path=str(versions[-1])) if versions else shutil.which(name)
    if found is None:
        raise LabError(f"PostgreSQL's program {name} is not here; install the package {PACKAGE} with `make setup`")
    return found


def _version(name: str) -> float:
    with suppress(ValueError):
        return float(name)
    return 0.0


def _unprivileged(*options: str) -> list[str]:
    user = _user()
    if user is not None:
        options = (f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", *options)
    return ["setpriv", *options, "--"] if options else []


def _give_away(folder: Path) -> None:
    user = _user()
    if user is not None:
        os.chown(folder, user.pw_uid, user.pw_gid)


def _user() -> pwd.struct_passwd | None:
    """As whom it is to run; None: as who we are."""
    if os.geteuid() != 0:
        return None
    for name in _UNPRIVILEGED:
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise LabError(f"PostgreSQL does not run as root, and there is no user {' or '.join(_UNPRIVILEGED)}")
