"""What a process has used until now, from /proc (proc(5))."""

from pathlib import Path

import msgspec

CLOCK_TICKS = 100  # USER_HZ of Linux, the unit of the times in /proc/PID/stat


class Usage(msgspec.Struct, frozen=True):
    """Resident memory in MB, processor time in seconds."""

    rss: float
    cpu: float


def usage(pid: int) -> Usage:
    """Of one process that runs."""
    status = Path(f"/proc/{pid}/status").read_text()
    kilobytes = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))
    # The second field is the program's name in brackets, and may hold blanks.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return Usage(kilobytes / 1024, (int(fields[11]) + int(fields[12])) / CLOCK_TICKS)
