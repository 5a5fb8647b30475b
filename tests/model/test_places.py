from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.model.places import lock_path, runtime_directory, socket_path


def test_root_has_one_place_whatever_its_environment_says() -> None:
    assert runtime_directory(0) == "/run/wireguard-mesh"
    assert runtime_directory(0, "/run/user/0") == "/run/wireguard-mesh"


def test_others_have_a_place_of_their_own() -> None:
    assert runtime_directory(1000, "/tmp/run") == "/tmp/run/wireguard-mesh"
    assert runtime_directory(1000) == "/run/user/1000/wireguard-mesh"


def test_files_are_named_after_the_interface() -> None:
    assert socket_path("/run/x", InterfaceName("wg0")) == "/run/x/wg0.sock"
    assert lock_path("/run/x", InterfaceName("wg0")) == "/run/x/wg0.lock"
