"""The kernel's console carries the command's bytes unchanged, however they are cut into pieces."""

import subprocess
from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from lab.kernel.guest import MARK_INSIDE, Boot, ConsoleReader, command_environment, command_script, kernel_command

_STARTED = b"[vm abc started]\n"
_ENDED = b"[vm abc ended 3]\n"

# Output that looks much like marks, and isn't.
_output = st.lists(
    st.one_of(st.binary(max_size=20), st.sampled_from([b"[", b"[vm abc ", b"[vm abc ended ", b"[vm abd ended 3]\n"])),
    max_size=8,
).map(b"".join)


def _feed(console: bytes, cuts: list[int]) -> tuple[ConsoleReader, bytes]:
    reader = ConsoleReader("abc")
    edges = [0, *sorted(cut % (len(console) + 1) for cut in cuts), len(console)]
    shown = b"".join(reader.feed(console[start:end]) for start, end in pairwise(edges))
    return reader, shown + reader.close()


@given(_output, st.lists(st.integers(0, 1000), max_size=10))
def test_exactly_the_output_is_shown_and_the_status_found(output: bytes, cuts: list[int]) -> None:
    reader, shown = _feed(b"booting\n" + _STARTED + output + _ENDED + b"Power down\n", cuts)
    assert shown == output
    assert reader.status == 3
    assert reader.started
    assert reader.boot_messages == "booting\n"


@given(_output, st.lists(st.integers(0, 1000), max_size=10))
def test_nothing_is_lost_when_the_kernel_dies(output: bytes, cuts: list[int]) -> None:
    reader, shown = _feed(_STARTED + output, cuts)
    assert shown == output
    assert reader.status is None
    assert reader.started


def test_output_without_a_newline_is_shown_at_once() -> None:
    reader = ConsoleReader("abc")
    assert reader.feed(_STARTED + b"....") == b"...."
    assert reader.feed(b"..[") == b".."
    assert reader.feed(b"100%") == b"[100%" or reader.close() == b"[100%"


def test_a_kernel_that_never_starts_the_command_is_quoted() -> None:
    reader = ConsoleReader("abc")
    assert reader.feed(b"Kernel panic") == b""
    assert reader.close() == b""
    assert not reader.started
    assert reader.boot_messages == "Kernel panic"


def test_a_mark_of_another_run_is_output() -> None:
    reader = ConsoleReader("abc")
    shown = reader.feed(_STARTED + b"[vm xyz ended 0]\n" + _ENDED)
    assert shown == b"[vm xyz ended 0]\n"
    assert reader.status == 3


def test_virtual_time_is_one_more_argument() -> None:
    real = Boot(Path("/k/linux"), Path("/run/x"), "abc", 512, time_travel=False)
    virtual = Boot(Path("/k/linux"), Path("/run/x"), "abc", 512, time_travel=True)
    assert kernel_command(virtual) == [*kernel_command(real), "time-travel"]
    assert {"mem=512M", "vm_command=/run/x/command", "vm_nonce=abc"} <= set(kernel_command(real))


def test_the_script_runs_the_command_as_given(tmp_path: Path) -> None:
    folder = tmp_path / "with space"
    folder.mkdir()
    environment = {"PATH": "/usr/bin:/bin", "ODD": 'it\'s $HOME; "x"\n'}
    script = command_script(
        ["sh", "-c", 'pwd; printf "%s|" "$ODD" "$@"; exit 9', "sh", "a b", "*"], folder, environment, []
    )
    done = subprocess.run(["env", "-i", "/bin/sh", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 9
    assert done.stdout == f"{folder}\n{environment['ODD']}|a b|*|"


def test_the_script_opens_the_writable_folders_first() -> None:
    lines = command_script(["true"], Path("/w"), {}, [Path("/w/a b")]).splitlines()
    assert lines == ["set -e", "mount -t hostfs -o '/w/a b' none '/w/a b'", "cd /w", "exec true"]


def test_little_of_the_hosts_environment_goes_inside() -> None:
    inside = command_environment({"PATH": "/p", "LAB_LOGS": "/l", "SECRET": "s", "HOME": "/home/u"})
    assert inside["PATH"] == "/p"
    assert inside["LAB_LOGS"] == "/l"
    assert inside[MARK_INSIDE] == "1"
    assert "SECRET" not in inside
    assert inside["HOME"] == "/root"
