"""Random networks: reference == engine == RTL compiled by Verilator, cycles as predicted; and the shrinker."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soak
from random_cases import Case, Finding, case, check
from random_networks import Options
from shrinking import shrink, simpler

from gradrtl.quantize.network import Conv, QuantizedNetwork

CACHE = Path(__file__).parent.parent / "build" / "cache"
SMALL = Options(dense_only=True, largest=80, most_layers=3)


@pytest.mark.rtl
@pytest.mark.parametrize("seed", range(4))
def test_all_machines_agree(seed):
    finding = check(case(seed, SMALL), CACHE, seed)
    assert finding.wrong is None, f"{finding.wrong}; repeat with: python -m pytest tests/test_rtl_random.py -k {seed}"
    assert finding.membranes > 0


@pytest.mark.parametrize("jobs", [1, 3])
def test_every_seed_is_run_once(jobs, monkeypatch):
    monkeypatch.setattr(soak, "run", identity)
    found = [seed for seed, _ in soak.results(range(5, 12), jobs, float("inf"))]
    assert sorted(found) == list(range(5, 12))


def identity(seed: int) -> tuple[int, Finding]:
    return seed, Finding()


@pytest.mark.parametrize("options", soak.OPTIONS)
@pytest.mark.parametrize("seed", range(12))
def test_every_simpler_case_is_valid_and_smaller(seed, options):
    one = case(seed, options)
    for smaller in simpler(one):
        assert smaller.mapping.layers
        assert smaller.frames.shape[-1] == smaller.network.layers[0].sources
        assert size(smaller) < size(one)


def test_shrinks_to_the_one_neuron_that_matters():
    one = next(c for c in map(case, range(20)) if len(c.network.layers) > 1 and has_largest_weight(c))
    small = shrink(one, has_largest_weight, budget=1000)
    assert len(small.frames) == 1
    assert small.pes == (1,) * len(small.network.layers)
    assert sum(layer.synapses.weight.size for layer in small.network.layers) <= 2 * len(small.network.layers)


def test_shrinks_convolutions_too():
    cases = (case(seed, soak.OPTIONS[1]) for seed in range(40))
    one = next(c for c in cases if isinstance(c.network.layers[0].synapses, Conv) and has_largest_weight(c))
    small = shrink(one, has_largest_weight, budget=1000)
    assert len(small.frames) == 1
    assert small.network.layers[0].synapses.weight.shape[:2] == (1, 1)


def has_largest_weight(one: Case) -> bool:
    """A stand-in for a failure: it depends on one synapse of the first layer."""
    layer = one.network.layers[0]
    return bool((layer.synapses.weight == (1 << layer.weight_bits - 1) - 1).any())


def size(one: Case) -> int:
    network: QuantizedNetwork = one.network
    synapses = sum(layer.synapses.weight.size + np.count_nonzero(layer.synapses.bias) for layer in network.layers)
    depths = abs(one.queue_depth - 16) + abs(one.row_queue_depth - 8) + abs(one.pixels_a_beat - 4)
    return one.frames.size + synapses + network.steps + sum(one.pes) + depths
