"""What the front end computes: by hand, and the compiled loops against the definition."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from gradrtl.errors import UserError
from gradrtl.quantize.frontend import FrontEnd
from gradrtl.sim.frontend import counts, logarithm, reference, steps_of

# y[t] = (u[t] - u[t-2]) / 2 + y[t-1] / 2 - y[t-2] / 4, rounded to nearest
PLAIN = FrontEnd(8000, 4, ((8, 8, -4),) * 4, fraction=4, stages=1, guard=0, mantissa=2, least=0, change=1, bits=5)


def random_settings(generator: np.random.Generator) -> FrontEnd:
    def pick(low: int, high: int) -> int:
        return int(generator.integers(low, high + 1))

    return FrontEnd.mel(
        8000,
        pick(1, 40),
        pick(4, 12),
        width=float(generator.uniform(0.6, 3)),
        fraction=pick(12, 15),
        stages=pick(1, 3),
        guard=pick(0, 4),
        mantissa=pick(0, 5),
        least=pick(0, 20),
        change=pick(0, 4),
        bits=pick(1, 6),
    )


def random_samples(generator: np.random.Generator, count: int) -> np.ndarray:
    """Noise, loud or soft, silence, and the extremes of the range."""
    largest = float(generator.choice([3, 200, 32767]))
    noise = generator.uniform(-largest, largest, count)
    noise[generator.random(count) < 0.1] = -32768
    noise[: int(generator.integers(0, count))] = 0
    return noise.astype(np.int16)


def test_a_step_by_hand():
    # y: 16/2 = 8; 8/2 = 4; (0 - 16)/2 + 4/2 - 8/4 = -8; -8/2 - 4/4 = -5: loudness 25 = 1.1001b * 2**4: 4 and 2/4,
    # 18 units above `least`, 9 changes
    found = reference(PLAIN, [16, 0, 0, 0])
    assert found == [[[9] * 4, [0] * 4]]
    # y: -5/2 + 8/4 = -0.5 -> 0 (ties go up); 5/4 = 1.25 -> 1; 0.5 -> 1; 0.5 - 0.25 = 0.25 -> 0: loudness 2 is 4/4;
    # 14 less, 7 changes
    assert reference(PLAIN, [16, *[0] * 7]) == [*found, [[0] * 4, [7] * 4]]
    # counts of 2 bits: 3 of 9 changes fit, so 6 units are heard; in the next step it is louder than those by -2
    assert reference(replace(PLAIN, bits=2), [16, *[0] * 7]) == [[[3] * 4, [0] * 4], [[0] * 4, [1] * 4]]


def test_logarithms_are_never_far_from_true_ones():
    for mantissa in range(7):
        settings = FrontEnd(8000, 4, PLAIN.filters, fraction=4, mantissa=mantissa, least=0)
        found = [logarithm(settings, value) for value in range(3000)]
        assert found[0] == 0
        assert found == sorted(found)
        for value in range(1, 3000):
            exact = math.log2(value) * 2**mantissa
            assert exact - 1 - 0.0861 * 2**mantissa < found[value] <= exact  # Mitchell's bound, and the bits cut off


@pytest.mark.parametrize("seed", range(12))
def test_compiled_loops_equal_the_definition(seed):
    generator = np.random.default_rng(seed)
    settings = random_settings(generator)
    samples = random_samples(generator, int(generator.integers(1, 6 * settings.step + 50)))
    expected = np.array(reference(settings, samples))
    found = counts(settings, samples)
    assert found.shape == (steps_of(settings, len(samples)), *settings.shape)
    assert np.array_equal(found[:, :, 0], expected)
    longer = counts(settings, samples, len(found) + 3)
    assert np.array_equal(longer[: len(found)], found)
    assert np.array_equal(
        longer, counts(settings, np.concatenate([samples, np.zeros(3 * settings.step, np.int16)]))[: len(longer)]
    )
    assert np.array_equal(counts(settings, samples, len(found) // 2), found[: len(found) // 2])


def test_loud_and_soft_recordings_have_the_same_changes():
    """Eight times as loud is three octaves: the first counts apart, all counts are the same."""
    settings = FrontEnd.mel(least=0, guard=6, change=2, bits=8)
    samples = np.random.default_rng(0).integers(-2000, 2000, 4000).astype(np.int16)
    soft, loud = counts(settings, samples), counts(settings, 8 * samples)
    assert np.array_equal(loud[0] - soft[0], np.broadcast_to([[[6]], [[0]]], soft[0].shape))
    assert (loud[1:] == soft[1:]).mean() > 0.99


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros(8), "samples dtype is float64, expected int16"),
        (np.zeros((8, 2), np.int16), r"samples shape is \(8, 2\), expected \[n\]"),
    ],
)
def test_other_samples_are_refused(samples, message):
    with pytest.raises(UserError, match=message):
        counts(PLAIN, samples)
