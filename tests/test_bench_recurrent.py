"""The recurrent network of the benchmark: engine and reference agree, and a library is held to them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bench import recurrent
from gradrtl.errors import UserError
from gradrtl.sim import engine, reference

FRAMES = (np.random.default_rng(2).random((3, 100, 64)) < 0.3).astype(np.uint8)


@pytest.mark.parametrize("leaky", [True, False])
def test_a_small_one_equals_the_reference(leaky):
    made = recurrent.network(neurons=20, steps=9, connectivity=0.2, leaky=leaky)
    ours, theirs = engine.run(made, FRAMES[:, :9], trace="spikes"), reference.run(made, FRAMES[:, :9])
    assert theirs.trace.spikes[0].any()
    np.testing.assert_array_equal(ours.counts, theirs.counts)
    np.testing.assert_array_equal(ours.trace.spikes[0], theirs.trace.spikes[0])


def cells(threshold):
    """A library of two neurons without leak, in the form that the benchmark asks for."""

    def cell():
        membrane = 0.0

        def step(sums):
            nonlocal membrane
            membrane = membrane + sums
            spikes = (membrane > threshold).float()
            membrane = membrane * (1 - spikes)
            return spikes

        return step

    return lambda leaky, again: (cell(), cell())


def test_spikes_of_a_library_are_compared(monkeypatch):
    made = recurrent.network(leaky=False)
    for threshold, is_equal in ((recurrent.BETWEEN, True), (recurrent.BETWEEN + 1, False)):
        monkeypatch.setitem(recurrent.LIBRARIES, "snntorch", cells(threshold))
        share = recurrent.equal(made, recurrent.library("snntorch", made, leaky=False), FRAMES)
        assert (share == 1) is is_equal


def test_other_spikes_stop_the_benchmark(monkeypatch):
    monkeypatch.setattr(recurrent, "LIBRARIES", {"torch": cells(recurrent.BETWEEN + 1)})
    with pytest.raises(UserError, match=r"torch equal spikes is 0\.9"):
        recurrent.compare(False, 64, 1, [64], torch.get_num_threads())
