"""A host that runs `vpn-relay` for a mesh."""

from lab.host import Host
from lab.mesh import PORT, Server
from lab.process import Process

_START_TIMEOUT = 20.0  # seconds; an overloaded machine starts a Python program in some of them
_KEY_FILE = "relay-key"


class Station:
    """`process` is the relay that was started last; its name in the map is the host's."""

    def __init__(self, host: Host, server: Server, *flags: object, prefix: tuple[str, ...] = ()) -> None:
        """`prefix`: a program that starts it, such as setpriv with its flags."""
        self.host = host
        self._server = server
        self._flags = flags
        self._prefix = prefix
        key = server.host.run("vpn-server", "relay-key").stdout
        path = host.home / _KEY_FILE
        path.write_text(key)
        path.chmod(0o644)  # for a relay that does not run as root
        self.process = self.start()

    @property
    def name(self) -> str:
        return self.host.name

    def start(self) -> Process:
        """Start it, anew or for the first time; returns when it is in the map."""
        flags = ("-server", self._server.url, "-key-file", self.host.home / _KEY_FILE, "-listen", f":{PORT}")
        self.process = self.host.start(*self._prefix, "vpn-relay", *flags, *self._flags)
        self.process.wait_for(r"relaying as ", _START_TIMEOUT)
        return self.process
