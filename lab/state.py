"""What of a host's network settings a program may have changed, to compare before and after, or to keep."""

from lab.errors import LabError
from lab.host import Host

_TIMEOUT = 5.0  # seconds for each command
_COMMANDS: tuple[tuple[str, ...], ...] = (
    ("ip", "-brief", "address"),
    ("ip", "rule"),
    ("ip", "-6", "rule"),
    ("ip", "route", "show", "table", "all"),
    ("ip", "-6", "route", "show", "table", "all"),
    ("nft", "list", "ruleset"),
    (
        "sysctl",
        "net.ipv4.ip_forward",
        "net.ipv6.conf.all.forwarding",
        "net.ipv4.conf.all.rp_filter",
        "net.ipv4.conf.all.src_valid_mark",
    ),
)


def network_state(host: Host) -> dict[str, str]:
    """Output by command: addresses, rules, routes of all tables, firewall, and the settings that routers have."""
    return {" ".join(command): said(host, *command) for command in _COMMANDS}


def said(host: Host, *command: str) -> str:
    """What a command says, be it an error: the host may be in trouble, and that is worth knowing too."""
    try:
        done = host.run(*command, check=False, timeout=_TIMEOUT)
    except LabError as error:
        return str(error)
    return done.stdout + done.stderr
