"""What a process has used until now, from /proc (proc(5))."""

import os
import time
from pathlib import Path

import msgspec

CLOCK_TICKS = 100  # USER_HZ of Linux, the unit of the times in /proc/PID/stat


class Usage(msgspec.Struct, frozen=True):
    """Resident memory in MB, now and at most, and processor time in seconds."""

    rss: float
    cpu: float
    peak: float = 0.0


def usage(pid: int) -> Usage:
    """Of one process that runs."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    # The second field is the program's name in brackets, and may hold blanks.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return Usage(
        rss=_megabytes(status["VmRSS"]),
        cpu=(int(fields[11]) + int(fields[12])) / CLOCK_TICKS,
        peak=_megabytes(status["VmHWM"]),
    )


def _megabytes(field: str) -> float:
    return int(field.split()[0]) / 1024


def machine_seconds() -> float:
    """Processor time that everything on the machine used since it was booted, of all cores together."""
    fields = [int(field) for field in Path("/proc/stat").read_text().partition("\n")[0].split()[1:]]
    user, nice, system, _idle, _iowait, irq, softirq = fields[:7]
    return (user + nice + system + irq + softirq) / CLOCK_TICKS


class Meter:
    """What a server and this process, which makes its load, use from now on. Shares in percent of one core."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._start = time.monotonic()
        self._server, self._load = usage(pid), usage(os.getpid())
        self._machine = machine_seconds()

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._start

    @property
    def server(self) -> float:
        return self._share(self._server, self._pid)

    @property
    def load(self) -> float:
        return self._share(self._load, os.getpid())

    @property
    def others(self) -> float:
        """What everything else on the machine used: the noise."""
        whole = 100 * (machine_seconds() - self._machine) / self.seconds
        return max(0.0, whole - self.server - self.load)

    def __str__(self) -> str:
        return f"server {self.server:.0f} %, load {self.load:.0f} %, all else {self.others:.0f} % of a core"

    def _share(self, before: Usage, pid: int) -> float:
        return 100 * (usage(pid).cpu - before.cpu) / self.seconds
