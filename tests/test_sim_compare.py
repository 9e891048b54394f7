"""The first difference: its order, its words, and the neurons that are left out."""

from dataclasses import replace

import numpy as np
import pytest
from fake_accelerator import small_network

from gradrtl.rtl.mapping import map_network
from gradrtl.sim import reference
from gradrtl.sim.compare import first_cycle_difference, first_difference, used_neurons
from gradrtl.sim.outcome import Outcome, Trace
from gradrtl.sim.timing.predict import Cycles

NETWORK = small_network()
FRAMES = np.random.default_rng(0).integers(0, 256, (4, 11)).astype(np.uint8)


def outcome() -> Outcome:
    """A fresh outcome whose arrays may be changed."""
    return reference.run(NETWORK, FRAMES)


def altered(changes: list[tuple[str, tuple[int, int, int, int], int]]) -> Outcome:
    """The outcome with `changes` (quantity, (layer, frame, step, neuron), amount) added."""
    ours = outcome()
    assert ours.trace is not None
    for quantity, (layer, *place), amount in changes:
        getattr(ours.trace, quantity)[layer][tuple(place)] += amount
    return ours


def test_equal_outcomes_have_no_difference():
    assert first_difference(outcome(), outcome()) is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([("membranes", (1, 2, 1, 2), 5)], (2, "membrane", 1, 1, 2)),
        ([("membranes", (0, 3, 0, 0), 1), ("membranes", (1, 2, 2, 2), 1)], (2, "membrane", 2, 1, 2)),
        ([("membranes", (0, 1, 2, 0), 1), ("membranes", (1, 1, 1, 0), 1)], (1, "membrane", 1, 1, 0)),
        ([("membranes", (1, 1, 1, 0), 1), ("membranes", (0, 1, 1, 6), 1)], (1, "membrane", 1, 0, 6)),
        ([("membranes", (0, 1, 1, 3), 1), ("spikes", (0, 1, 1, 3), 7)], (1, "spike", 1, 0, 3)),
    ],
)
def test_first_by_frame_step_layer_neuron_then_spike(changes, expected):
    found = first_difference(outcome(), altered(changes))
    assert found is not None
    assert (found.frame, found.quantity, found.step, found.layer, found.neuron) == expected


def test_words_name_the_place_and_both_values():
    ours = outcome()
    assert ours.trace is not None
    value = int(ours.trace.membranes[0][1, 2, 6])
    found = first_difference(ours, altered([("membranes", (0, 1, 2, 6), 4)]))
    assert str(found) == f"frame 1, step 2, layer 0, neuron 6: membrane is {value + 4}, expected {value}"


def test_removed_neurons_are_left_out():
    mapping = map_network(NETWORK, (2, 2))
    slots = mapping.layers[0].slots.copy()
    slots[slots == 4] = -1
    without = replace(mapping, layers=(replace(mapping.layers[0], slots=slots), mapping.layers[1]))
    changed = altered([("membranes", (0, 0, 0, 4), 1)])
    assert first_difference(outcome(), changed, mapping) is not None
    assert first_difference(outcome(), changed, without) is None
    assert 4 not in used_neurons(without, 0)


def test_sums_before_the_class_and_both_without_traces():
    ours, theirs = replace(outcome(), trace=None), replace(outcome(), trace=None)
    theirs.classes[1] += 1
    assert str(first_difference(ours, theirs)).startswith("frame 1: class is")
    theirs.counts[1, 2] += 1
    found = first_difference(ours, theirs)
    assert found is not None
    assert (found.quantity, found.neuron) == ("sum", 2)


def test_a_trace_difference_explains_the_sums_of_its_frame():
    theirs = altered([("spikes", (1, 2, 0, 1), 1)])
    theirs.counts[2, 1] += 1
    found = first_difference(outcome(), theirs)
    assert found is not None
    assert found.quantity == "spike"
    theirs.counts[0, 0] += 1
    found = first_difference(outcome(), theirs)
    assert found is not None
    assert (found.frame, found.quantity) == (0, "sum")


def test_a_run_that_stopped_early_is_compared_as_far_as_it_went():
    ours = outcome()
    assert ours.trace is not None
    spikes, membranes = (tuple(a[:2] for a in arrays) for arrays in (ours.trace.spikes, ours.trace.membranes))
    short = Outcome(ours.decided[:2], ours.counts[:2], Trace(spikes, membranes))
    assert first_difference(ours, short) is None


def test_cycles():
    times = Cycles(np.array([0, 10]), np.array([5, 15]), np.array([20, 30]))
    late = Cycles(np.array([0, 10]), np.array([5, 15]), np.array([20, 31]))
    shifted = Cycles(np.array([0, 110]), np.array([5, 115]), np.array([20, 130]))
    assert first_cycle_difference(times, times) is None
    assert str(first_cycle_difference(times, late)) == "frame 1: packet is 31, expected 30"
    assert str(first_cycle_difference(times, shifted)) == "frame 1: first beat is 110, expected 10"
    assert first_cycle_difference(times, shifted, apart=True) is None
    assert str(first_cycle_difference(times, late, apart=True)) == "frame 1: latency is 22, expected 21"
