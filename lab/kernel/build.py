"""Build the test kernel from Debian's source package, once.

The work happens in a folder of its own that is renamed when everything is done, under a lock: two runs at the same
time build once, a killed one leaves nothing that looks finished, and nothing but the kernel stays.
"""

import fcntl
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from lab.kernel import KernelError
from lab.kernel.cache import CONFIG, SOURCE_PACKAGE, KernelPaths, kernel_paths, wanted_options

BUILD_PACKAGES = ("gcc", "libc6-dev", "make", "flex", "bison", "bc", "xz-utils", "libelf-dev", "binutils")

_LOG_TAIL_BYTES = 4096
_KEPT = ("PATH", "HOME", "TMPDIR", "http_proxy", "https_proxy", "no_proxy")

Report = Callable[[str], None]


def ensure_kernel(cache: Path, report: Report) -> Path:
    """Return the path of the kernel, building it first if the cache has none.

    Costs milliseconds when it is there. `report` gets a line for each step that takes time.
    """
    config = CONFIG.read_text()
    paths = kernel_paths(cache, config)
    if paths.kernel.exists():
        return paths.kernel
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with _exclusive(paths.lock, report):
            # Another run may have built it while this one waited for the lock.
            if not paths.kernel.exists():
                _build(paths, config, report)
    except OSError as error:
        raise KernelError(f"cannot build the test kernel in {cache}: {error}") from error
    return paths.kernel


@contextmanager
def _exclusive(lock: Path, report: Report) -> Iterator[None]:
    with lock.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("another run is building the test kernel; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _build(paths: KernelPaths, config: str, report: Report) -> None:
    if paths.building.exists():
        shutil.rmtree(paths.building)
    paths.building.mkdir()
    try:
        with paths.log.open("wb") as log:
            steps = _Steps(paths.building, paths.log, log.fileno())
            steps.install_tools(report)
            version = steps.download(report)
            source = steps.unpack(report)
            kernel = steps.compile(source, config, report)
        finished = paths.building / "finished"
        finished.mkdir()
        (finished / "version").write_text(f"{SOURCE_PACKAGE} {version}\n")
        shutil.copy2(kernel, finished / "linux")
        finished.rename(paths.home)
    finally:
        shutil.rmtree(paths.building)
    report(f"the test kernel is ready: {paths.kernel}")


class _Steps:
    """The steps of one build: each runs its commands in the build's folder and writes their output to the log."""

    def __init__(self, folder: Path, log_path: Path, log: int) -> None:
        self._folder = folder
        self._log_path = log_path
        self._log = log

    def install_tools(self, report: Report) -> None:
        """Install the compiler and its company where they are missing."""
        for tool in ("apt-get", "dpkg-query", "dpkg-deb"):
            if shutil.which(tool) is None:
                raise KernelError(f"{tool} not found: the test kernel is built from Debian's source package")
        missing = [package for package in BUILD_PACKAGES if not _installed(package)]
        if not missing:
            return
        if os.geteuid() != 0:
            raise KernelError(f"packages are missing: apt-get install --no-install-recommends {' '.join(missing)}")
        report(f"installing {' '.join(missing)}")
        self._update_package_lists()
        self._run("apt-get", "install", "--yes", "--no-install-recommends", *missing)

    def download(self, report: Report) -> str:
        """Fetch the source package and return its version."""
        report(f"downloading {SOURCE_PACKAGE} (150 MB)")
        # The sandbox user of apt may not write into a folder of root's.
        fetch = ("apt-get", "download", "-o", "APT::Sandbox::User=root", SOURCE_PACKAGE)
        try:
            self._run(*fetch)
        except KernelError:
            # Package lists that are missing or older than the archive: fresh ones help, nothing else would.
            self._update_package_lists()
            self._run(*fetch)
        return self._output("dpkg-deb", "--field", self._only(f"{SOURCE_PACKAGE}_*.deb"), "Version")

    def unpack(self, report: Report) -> Path:
        """Unpack the source and return its folder; what it came out of is removed on the way, for the disk's sake."""
        report("unpacking the source")
        package = self._only(f"{SOURCE_PACKAGE}_*.deb")
        self._run("dpkg-deb", "-x", package, "package")
        Path(package).unlink()
        self._run("tar", "-xf", f"package/usr/src/{SOURCE_PACKAGE}.tar.xz")
        shutil.rmtree(self._folder / "package")
        return self._folder / SOURCE_PACKAGE

    def compile(self, source: Path, config: str, report: Report) -> Path:
        """Configure and compile; return the stripped kernel."""
        jobs = len(os.sched_getaffinity(0))
        report(f"compiling with {jobs} jobs, some 7 minutes of processor time; log in {self._log_path}")
        output = self._folder / "output"
        output.mkdir()
        (self._folder / "fragment").write_text(config)
        make = ("make", "-C", str(source), "ARCH=um", f"O={output}")
        merge = str(source / "scripts/kconfig/merge_config.sh")
        self._run(*make, "tinyconfig")
        self._run(merge, "-O", str(output), "-m", str(output / ".config"), str(self._folder / "fragment"))
        self._run(*make, "olddefconfig")
        refused = refused_options(config, (output / ".config").read_text())
        if refused:
            raise KernelError(f"{SOURCE_PACKAGE} does not take {', '.join(refused)} of {CONFIG.name}")
        self._run(*make, f"-j{jobs}", "linux")
        self._run("strip", str(output / "linux"))
        return output / "linux"

    def _only(self, pattern: str) -> str:
        found = sorted(self._folder.glob(pattern))
        if len(found) != 1:
            raise KernelError(f"expected one {pattern} after the download, found {len(found)}")
        return str(found[0])

    def _update_package_lists(self) -> None:
        if os.geteuid() == 0:
            self._run("apt-get", "update")

    def _run(self, *command: str) -> None:
        # A process group of its own: an interrupted build takes its compilers with it.
        with subprocess.Popen(
            command,
            cwd=self._folder,
            env=build_environment(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            process_group=0,
        ) as process:
            try:
                status = process.wait()
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)
                raise
        if status:
            raise KernelError(
                f"building the test kernel: `{' '.join(command[:3])} …` ended with {status}: "
                f"{_last_error(self._log_path)} (log: {self._log_path})"
            )

    def _output(self, *command: str) -> str:
        done = subprocess.run(
            command,
            cwd=self._folder,
            env=build_environment(os.environ),
            stdout=subprocess.PIPE,
            stderr=self._log,
            check=False,
        )
        if done.returncode:
            raise KernelError(f"`{command[0]}` ended with {done.returncode} (log: {self._log_path})")
        return done.stdout.decode().strip()


def refused_options(wanted: str, resulting: str) -> list[str]:
    """The options of the fragment that the resulting `.config` does not have: renamed, or a dependency is missing."""
    present = set(resulting.splitlines())
    refused = []
    for option in wanted_options(wanted):
        name, _, value = option.partition("=")
        absent_means_no = value == "n" and not any(line.startswith(f"{name}=") for line in present)
        if option not in present and not absent_means_no:
            refused.append(option)
    return refused


def build_environment(host: Mapping[str, str]) -> dict[str, str]:
    """The environment of the build's commands: little of the caller's, whose own `make` would leak its flags."""
    kept = {name: host[name] for name in _KEPT if name in host}
    return {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive", **kept}


def _installed(package: str) -> bool:
    query = ("dpkg-query", "--show", "--showformat=${db:Status-Status}", package)
    done = subprocess.run(query, capture_output=True, text=True, check=False)
    return done.returncode == 0 and done.stdout == "installed"


def _last_error(log: Path) -> str:
    """The last line of the log that speaks of an error, else the last line."""
    lines = [line.strip() for line in log.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace").splitlines()]
    said = [line for line in lines if line]
    errors = [line for line in said if "error" in line.lower() or line.startswith("E:")]
    return (errors or said or ["no output"])[-1]
