"""A mesh over the internet: a server there, clients in places of every kind, and the paths between them."""

import sys
import time
from collections.abc import Mapping
from pathlib import Path

from lab import http_proxy
from lab.errors import LabError
from lab.host import Host
from lab.lab import Lab
from lab.mesh import INTERFACE, Client, Server
from lab.nat import PROXY_PORT
from lab.places import Place, Places
from lab.process import Process
from wireguard_mesh.client.local_client import ask
from wireguard_mesh.model.errors import MeshError
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.model.paths import PathKind, PathReport
from wireguard_mesh.model.places import runtime_directory, socket_path
from wireguard_mesh.protocol.local import StatusRequest
from wireguard_mesh.protocol.status import PeerStatus, Status

PATH_TIMEOUT = 20.0  # seconds; on an overloaded machine everything takes longer
_LOOK_INTERVAL = 0.02  # seconds
_ROOT = 0


class WideMesh:
    """`places` are the internet's; clients join by `join`, each in its place."""

    def __init__(self, lab: Lab, *flags: object) -> None:
        self.places = Places(lab)
        self.server = Server(self.places.public("server"), *flags)

    def join(
        self, name: str, where: Place | str, *flags: object, env: Mapping[str, str] | None = None, url: str = ""
    ) -> Client:
        """A new machine in a place, or in a new place of that kind, once its agent has its addresses."""
        place = where if isinstance(where, Place) else self.places.place(where)
        client = Client(place.host(name), self.server, *flags, env=env, url=url)
        client.addresses()
        return client


class Proxy:
    """A host that runs an HTTP proxy, on the one port that a `proxied` router lets through."""

    def __init__(self, host: Host) -> None:
        self.process: Process = host.start(sys.executable, Path(http_proxy.__file__), PROXY_PORT)
        self.process.wait_for("ready")
        self._url = f"http://{host.ipv4}:{PROXY_PORT}"

    @property
    def environment(self) -> dict[str, str]:
        """What tells programs to use it."""
        return dict.fromkeys(("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"), self._url)


def status(client: Client) -> Status:
    """What the agent says, asked without starting a program. Raises `LabError` if none answers."""
    path = client.host.path(socket_path(runtime_directory(_ROOT), InterfaceName(INTERFACE)))
    try:
        return ask(path, StatusRequest(), Status)
    except MeshError as error:
        raise LabError(f"the agent of {client.name} does not answer: {error}\n{client.process.output()}") from error


def peer_status(client: Client, other: Client) -> PeerStatus | None:
    """What the agent says of the other; None while it does not know it."""
    return next((peer for peer in status(client).peers if peer.hostname == other.name), None)


def path(client: Client, other: Client) -> PathReport:
    """How packets of `client` reach `other` now."""
    found = peer_status(client, other)
    return PathReport(kind=PathKind.NONE) if found is None else found.path


def wait_for_path(client: Client, other: Client, kind: PathKind, timeout: float = PATH_TIMEOUT) -> PathReport:
    """Wait until the path is of that kind. Raises `LabError` with the last report."""
    deadline = time.monotonic() + timeout
    while (report := path(client, other)).kind is not kind:
        if time.monotonic() > deadline:
            raise LabError(f"the path of {client.name} to {other.name} did not become {kind}: {report}")
        time.sleep(_LOOK_INTERVAL)
    return report
