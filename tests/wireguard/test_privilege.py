from pathlib import Path

import pytest

from wireguard_mesh.wireguard.privilege import may_administer


@pytest.mark.parametrize(
    ("status", "may"),
    [
        ("Name:\tx\nCapEff:\t0000000000001000\n", True),
        ("Name:\tx\nCapEff:\t0000000000000fff\n", False),
        ("Name:\tx\n", False),
    ],
)
def test_reads_the_effective_capabilities(monkeypatch: pytest.MonkeyPatch, status: str, may: bool) -> None:
    monkeypatch.setattr(Path, "read_text", lambda _path: status)
    assert may_administer() is may


def test_without_proc_the_attempt_will_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_path: Path) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", fail)
    assert may_administer()
