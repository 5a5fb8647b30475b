"""Devices: what counts as no change, and no secret in what is printed."""

from tests.samples import private_key, public_key
from wireguard_mesh.model.devices import DeviceChange, PeerChange


def test_a_change_of_nothing_is_empty() -> None:
    assert DeviceChange().is_empty
    assert not DeviceChange(listen_port=0).is_empty
    assert not DeviceChange(fwmark=0).is_empty
    assert not DeviceChange(private_key=private_key(1)).is_empty
    assert not DeviceChange(peers=(PeerChange(public_key=public_key(1)),)).is_empty


def test_a_change_can_be_printed_without_its_secret() -> None:
    change = DeviceChange(private_key=private_key(1))
    assert private_key(1).to_base64() not in repr(change)
