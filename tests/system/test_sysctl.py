"""Settings below /proc/sys, in a folder that stands for it."""

import errno
from pathlib import Path

import pytest

from wireguard_mesh.model.errors import MeshError, NotPermitted, Unavailable, Unsupported
from wireguard_mesh.system import sysctl

FORWARD = "net/ipv4/conf/eth0.5/forwarding"


@pytest.fixture(autouse=True)
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sysctl, "PROC_SYS", tmp_path)
    return tmp_path


def test_read_and_write(proc: Path) -> None:
    assert sysctl.read(FORWARD) is None
    assert sysctl.names("net/ipv4/conf") == []
    (proc / FORWARD).parent.mkdir(parents=True)
    sysctl.write(FORWARD, "1\n")
    assert sysctl.read(FORWARD) == "1"
    assert sysctl.names("net/ipv4/conf") == ["eth0.5"]


@pytest.mark.parametrize(
    ("code", "kind", "says"),
    [
        (errno.EROFS, Unsupported, "--sysctl net.ipv4.conf.eth0/5.forwarding=1"),
        (errno.EACCES, NotPermitted, "run as root"),
        (errno.EINVAL, Unavailable, "net.ipv4.conf.eth0/5.forwarding"),
    ],
)
def test_errors_say_which_setting_and_what_to_do(
    code: int, kind: type[MeshError], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(code, "no")

    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(kind) as raised:
        sysctl.write(FORWARD, "1")
    assert says in str(raised.value)
