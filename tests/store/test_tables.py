"""The tables hold the longest values that the model allows."""

from __future__ import annotations

from wireguard_mesh.model.keys import BASE64_LENGTH
from wireguard_mesh.model.names import MAX_HOSTNAME
from wireguard_mesh.protocol.api import MAX_TEXT
from wireguard_mesh.store.tables import peers


def test_columns_are_as_long_as_their_values() -> None:
    lengths = {column.name: getattr(column.type, "length", None) for column in peers.columns}
    assert lengths["public_key"] == BASE64_LENGTH
    assert lengths["hostname"] == MAX_HOSTNAME
    assert lengths["os"] == lengths["version"] == MAX_TEXT
