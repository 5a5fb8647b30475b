"""Inputs for fuzz targets: random bytes, and valid samples that were changed. The same for the same seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random

MAX_RANDOM = 400  # bytes
MOST_CHANGES = 6
INTERESTING = (b"\0", b"\xff", b"\xff" * 8, b"\0" * 8, b"-1", b"99999999999999999999", b'"', b"{", b"[" * 64, b"\n\n")


def inputs(samples: Sequence[bytes], seed: int) -> Iterator[bytes]:
    """Without end. One of five is random bytes, one a sample as it is, the others are changed samples."""
    random = Random(seed)
    while True:
        choice = random.randrange(5)
        if choice == 0 or not samples:
            yield random.randbytes(random.randrange(MAX_RANDOM))
        elif choice == 1:
            yield random.choice(samples)
        else:
            yield _changed(random, random.choice(samples), samples)


def _changed(random: Random, sample: bytes, samples: Sequence[bytes]) -> bytes:
    data = bytearray(sample)
    for _ in range(random.randint(1, MOST_CHANGES)):
        random.choice(_CHANGES)(random, data, samples)
    return bytes(data)


def _flip(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    if data:
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)


def _overwrite(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    if data:
        data[random.randrange(len(data))] = random.randrange(256)


def _insert(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    position = random.randint(0, len(data))
    data[position:position] = random.choice(INTERESTING)


def _delete(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    start = random.randint(0, len(data))
    del data[start : start + random.randint(1, 16)]


def _repeat(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    start = random.randint(0, len(data))
    piece = data[start : start + random.randint(1, 32)]
    data[start:start] = piece * random.randint(1, 4)


def _splice(random: Random, data: bytearray, samples: Sequence[bytes]) -> None:
    other = random.choice(samples)
    data[random.randint(0, len(data)) :] = other[random.randint(0, len(other)) :]


_Change = Callable[[Random, bytearray, Sequence[bytes]], None]
_CHANGES: tuple[_Change, ...] = (_flip, _flip, _overwrite, _overwrite, _insert, _delete, _repeat, _splice)
