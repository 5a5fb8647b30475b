"""Errors say what is wrong and what to do."""

from wireguard_mesh.model.errors import InvalidKey, InvalidValue, MeshError, Unavailable


def test_an_error_reads_as_one_line() -> None:
    assert str(MeshError("it broke")) == "it broke"
    assert str(Unavailable("the disk is full", "make room")) == "the disk is full; make room"


def test_codes_are_words_for_programs() -> None:
    assert InvalidKey("x").code == "invalid_key"
    assert isinstance(InvalidKey("x"), InvalidValue)
    assert isinstance(InvalidValue("x"), ValueError)
