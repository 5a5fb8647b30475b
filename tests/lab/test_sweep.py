"""Folders of dead labs are removed, and only those."""

import os
import subprocess
from pathlib import Path

from lab.sweep import PREFIX, Owner, make_folder, sweep


def _dead_process() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def _folder(base: Path, owner: Owner) -> Path:
    folder = base / f"{PREFIX}-{owner.namespace}-{owner.pid}-{owner.started}-abc"
    (folder / "hosts").mkdir(parents=True)
    return folder


def test_a_folder_names_its_owner(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    owner = Owner.of(folder)
    assert owner == Owner.this_process()
    assert owner.pid == os.getpid()
    assert not owner.is_dead()


def test_only_folders_of_dead_owners_are_swept(tmp_path: Path) -> None:
    me = Owner.this_process()
    living = make_folder(tmp_path)
    dead = _folder(tmp_path, Owner(me.namespace, _dead_process(), me.started))
    same_pid_later = _folder(tmp_path, Owner(me.namespace, me.pid, me.started - 1))
    elsewhere = _folder(tmp_path, Owner(me.namespace + 1, _dead_process(), me.started))
    foreign = tmp_path / f"{PREFIX}-something"
    foreign.mkdir()

    assert sweep(tmp_path) == sorted([dead, same_pid_later])
    assert sorted(tmp_path.iterdir()) == sorted([living, elsewhere, foreign])
    assert sweep(tmp_path) == []


def test_a_process_not_yet_waited_for_is_dead() -> None:
    process = subprocess.Popen(["sleep", "1000"])
    started = int(Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19])
    owner = Owner(Owner.this_process().namespace, process.pid, started)
    assert not owner.is_dead()
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert owner.is_dead()
    process.wait()
