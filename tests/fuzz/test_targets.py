"""Each fuzz target takes a bounded number of inputs that are the same in each run."""

from itertools import islice

import pytest

from tests.fuzz.inputs import inputs
from tests.fuzz.targets import SAMPLES, TARGETS

INPUTS = 400


@pytest.mark.parametrize("name", TARGETS)
def test_target(name: str) -> None:
    target = TARGETS[name]
    for data in [*SAMPLES[name], *islice(inputs(SAMPLES[name], seed=1), INPUTS)]:
        try:
            target(data)
        except BaseException as error:
            error.add_note(f"the input was {data.hex()}")
            raise


def test_the_same_seed_gives_the_same_inputs() -> None:
    samples = SAMPLES["events"]
    first = list(islice(inputs(samples, seed=5), 200))
    assert first == list(islice(inputs(samples, seed=5), 200))
    assert first != list(islice(inputs(samples, seed=6), 200))
    assert any(data in samples for data in first)
    assert any(data not in samples for data in first)


def test_every_target_has_samples_to_start_from() -> None:
    assert set(SAMPLES) == set(TARGETS)
