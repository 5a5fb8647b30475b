"""The database's faults in our words."""

from __future__ import annotations

import sqlite3

import pytest
from sqlalchemy.exc import OperationalError

from wireguard_mesh.model.errors import Unavailable
from wireguard_mesh.store.faults import StorageFull, translated


def fault(text: str) -> OperationalError:
    return OperationalError("INSERT INTO peers VALUES (?)", ("secret",), sqlite3.OperationalError(text))


def test_a_full_disk_is_told_from_the_rest() -> None:
    with pytest.raises(StorageFull, match="cannot write: database or disk is full"), translated("write"):
        raise fault("database or disk is full")
    with pytest.raises(StorageFull, match="No space left"), translated("write"):
        raise OSError(28, "No space left on device")
    with pytest.raises(Unavailable, match="cannot write: disk I/O error") as caught, translated("write"):
        raise fault("disk I/O error")
    assert not isinstance(caught.value, StorageFull)
    assert "secret" not in str(caught.value)


def test_other_errors_pass() -> None:
    with pytest.raises(ValueError, match="ours"), translated("write"):
        raise ValueError("ours")


def test_a_fault_of_the_machine_has_no_number() -> None:
    with pytest.raises(Unavailable, match="cannot write: Permission denied; look"), translated("write"):
        raise PermissionError(13, "Permission denied", "/somewhere")
