"""The place of the built kernel depends on what it is built from, and on nothing else."""

from pathlib import Path

import pytest

from lab.kernel.cache import CONFIG, cache_folder, kernel_key, kernel_paths, wanted_options


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"XDG_CACHE_HOME": "/var/tmp/c", "HOME": "/home/u"}, "/var/tmp/c/wireguard-mesh"),
        ({"HOME": "/home/u"}, "/home/u/.cache/wireguard-mesh"),
        ({"XDG_CACHE_HOME": "", "HOME": "/home/u"}, "/home/u/.cache/wireguard-mesh"),
        ({"XDG_CACHE_HOME": "relative", "HOME": "/home/u"}, "/home/u/.cache/wireguard-mesh"),
        ({}, "/root/.cache/wireguard-mesh"),
    ],
)
def test_the_folder_follows_the_xdg_rules(environment: dict[str, str], folder: str) -> None:
    assert cache_folder(environment) == Path(folder)


def test_comments_and_order_do_not_make_another_kernel() -> None:
    key = kernel_key("CONFIG_A=y\nCONFIG_B=n\n")
    assert kernel_key("# why\nCONFIG_B=n\n\n  CONFIG_A=y\n") == key
    assert kernel_key("CONFIG_A=y\nCONFIG_B=y\n") != key


def test_all_files_of_a_kernel_lie_in_the_cache_under_its_key(tmp_path: Path) -> None:
    paths = kernel_paths(tmp_path, "CONFIG_A=y")
    assert paths.kernel == paths.home / "linux"
    files = {paths.home, paths.building, paths.lock, paths.log}
    assert len(files) == 4
    assert all(path.parent == tmp_path and kernel_key("CONFIG_A=y") in path.name for path in files)


def test_our_configuration_names_each_option_once() -> None:
    names = [option.partition("=")[0] for option in wanted_options(CONFIG.read_text())]
    assert len(names) == len(set(names))
    assert {"CONFIG_WIREGUARD", "CONFIG_NET_SCH_NETEM", "CONFIG_UML_TIME_TRAVEL_SUPPORT"} <= set(names)
