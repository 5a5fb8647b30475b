"""The build, with programs that only pretend to download and compile."""

import threading
from pathlib import Path

import pytest

from lab.kernel import KernelError
from lab.kernel.build import build_environment, ensure_kernel, refused_options
from lab.kernel.cache import CONFIG, SOURCE_PACKAGE, kernel_paths

_TOOLS = {
    "dpkg-query": "printf installed",
    "apt-get": f"""
        echo "apt-get $1" >>"$HOME/calls"
        [ "$1" = download ] && touch {SOURCE_PACKAGE}_6.12.1_all.deb; exit 0""",
    "dpkg-deb": f"""
        if [ "$1" = --field ]; then echo 6.12.1; exit; fi
        mkdir -p package/usr/src; touch package/usr/src/{SOURCE_PACKAGE}.tar.xz""",
    "tar": f"""
        mkdir -p {SOURCE_PACKAGE}/scripts/kconfig
        printf '#!/bin/sh\\ncp fragment output/.config\\n' >{SOURCE_PACKAGE}/scripts/kconfig/merge_config.sh
        chmod +x {SOURCE_PACKAGE}/scripts/kconfig/merge_config.sh""",
    "make": """
        for last; do :; done
        if [ "$last" = linux ]; then echo "make $*" >>"$HOME/calls"; echo kernel >output/linux; fi""",
    "strip": ":",
}


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of pretending programs, first on the search path. They note in `calls` what cost time."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name, text in _TOOLS.items():
        _replace(folder, name, text)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "calls").touch()
    return folder


def _replace(tools: Path, name: str, text: str) -> None:
    (tools / name).write_text(f"#!/bin/sh\n{text}\n")
    (tools / name).chmod(0o755)


def _calls(tools: Path) -> list[str]:
    return [line.split()[0] + " " + line.split()[-1] for line in (tools.parent / "calls").read_text().splitlines()]


def _quiet(_line: str) -> None:
    """Progress is of no interest here."""


def test_the_first_call_builds_and_the_next_do_not(tools: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache/deep"
    said: list[str] = []
    kernel = ensure_kernel(cache, said.append)
    assert kernel.read_text() == "kernel\n"
    assert (kernel.parent / "version").read_text() == f"{SOURCE_PACKAGE} 6.12.1\n"
    assert said[-1] == f"the test kernel is ready: {kernel}"
    assert not kernel_paths(cache, CONFIG.read_text()).building.exists()
    assert _calls(tools) == ["apt-get download", "make linux"]

    said.clear()
    assert ensure_kernel(cache, said.append) == kernel
    assert said == []
    assert len(_calls(tools)) == 2


def test_two_at_once_build_once(tools: Path, tmp_path: Path) -> None:
    threads = [threading.Thread(target=ensure_kernel, args=(tmp_path / "cache", _quiet)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert _calls(tools) == ["apt-get download", "make linux"]


def test_a_failed_compilation_is_one_line_and_leaves_only_its_log(tools: Path, tmp_path: Path) -> None:
    _replace(tools, "make", "echo 'net/core.c:1: error: no space left'; echo 'make: ***'; exit 2")
    cache = tmp_path / "cache"
    with pytest.raises(KernelError, match=r"ended with 2: net/core\.c:1: error: no space left \(log: ") as caught:
        ensure_kernel(cache, _quiet)
    assert "\n" not in str(caught.value)
    paths = kernel_paths(cache, CONFIG.read_text())
    assert sorted(cache.iterdir()) == sorted([paths.lock, paths.log])


def test_what_a_killed_build_left_is_removed(tools: Path, tmp_path: Path) -> None:
    paths = kernel_paths(tmp_path, CONFIG.read_text())
    paths.building.mkdir()
    (paths.building / f"{SOURCE_PACKAGE}_6.12.0_all.deb").touch()
    ensure_kernel(tmp_path, _quiet)
    assert not paths.building.exists()
    assert paths.kernel.exists()


def test_stale_package_lists_are_renewed_once(tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    fresh = tmp_path / "fresh"
    _replace(
        tools,
        "apt-get",
        f"""echo "apt-get $1" >>"$HOME/calls"
        case "$1" in
        update) touch {fresh} ;;
        download) [ -e {fresh} ] && touch {SOURCE_PACKAGE}_6.12.1_all.deb ;;
        esac""",
    )
    ensure_kernel(tmp_path / "cache", _quiet)
    assert _calls(tools)[:3] == ["apt-get download", "apt-get update", "apt-get download"]


def test_missing_packages_without_root_say_what_to_install(
    tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    _replace(tools, "dpkg-query", 'for last; do :; done; [ "$last" = flex ] && exit 1; printf installed')
    with pytest.raises(KernelError, match=r"apt-get install --no-install-recommends flex$"):
        ensure_kernel(tmp_path / "cache", _quiet)


def test_a_system_without_apt_is_told_so(tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tools / "apt-get").unlink()
    monkeypatch.setenv("PATH", str(tools))
    with pytest.raises(KernelError, match="apt-get not found"):
        ensure_kernel(tmp_path / "cache", _quiet)


def test_a_cache_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(KernelError, match="cannot build the test kernel in"):
        ensure_kernel(tmp_path / "file/cache", _quiet)


def test_an_option_that_the_source_does_not_take_is_named(
    tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "odd.config"
    config.write_text("CONFIG_WIREGUARD=y\nCONFIG_GONE=y\n")
    monkeypatch.setattr("lab.kernel.build.CONFIG", config)
    tar = _TOOLS["tar"].replace("cp fragment output/.config", "grep -v GONE fragment >output/.config")
    _replace(tools, "tar", tar)
    with pytest.raises(KernelError, match=r"does not take CONFIG_GONE=y of odd\.config"):
        ensure_kernel(tmp_path / "cache", _quiet)


def test_refused_options() -> None:
    resulting = "CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_D=y\n"
    assert refused_options("CONFIG_A=y\nCONFIG_B=n\nCONFIG_C=n\n", resulting) == []
    assert refused_options("CONFIG_B=y\nCONFIG_D=n\nCONFIG_E=y\n", resulting) == [
        "CONFIG_B=y",
        "CONFIG_D=n",
        "CONFIG_E=y",
    ]


def test_the_flags_of_a_calling_make_stay_outside() -> None:
    inside = build_environment({"PATH": "/p", "MAKEFLAGS": "-j8", "ARCH": "arm", "https_proxy": "http://proxy"})
    assert inside["PATH"] == "/p"
    assert inside["https_proxy"] == "http://proxy"
    assert not {"MAKEFLAGS", "ARCH"} & set(inside)
