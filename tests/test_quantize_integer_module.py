"""The module that learns equals the integer machines, every spike of it, and its gradients are what they claim."""

from __future__ import annotations

from dataclasses import replace

import float_networks
import numpy as np
import pytest
import torch

from gradrtl.errors import UserError
from gradrtl.model.description import DenseSpec, FloatNeuron, LayerSpec, Network
from gradrtl.model.networks import SpikingNetwork, load_arrays
from gradrtl.quantize import ptq
from gradrtl.quantize.fold import FloatNetwork, fold
from gradrtl.quantize.integer_module import IntegerNetwork
from gradrtl.quantize.network import Readout
from gradrtl.quantize.rounding import Formats
from gradrtl.sim import engine, reference

FORMATS = (
    Formats(4),
    Formats(2, input_bits=1),
    Formats(8, per_channel=True),
    Formats(5, membrane_fraction=3, input_bits=5),
    Formats(3, membrane_bits=7),
    Formats(4, membrane_bits=6, membrane_fraction=1, per_channel=True, decay_bits=5),
)


def module_of(network: FloatNetwork, formats: Formats) -> IntegerNetwork:
    return IntegerNetwork(network, formats, ptq.weight_scales(network, formats))


def assert_equal(module: IntegerNetwork, frames: np.ndarray) -> None:
    """Spikes of all layers and steps, counts and classes: module == engine (== reference, on few frames)."""
    exported = module.export()
    flat = frames.reshape(len(frames), -1)
    expected = engine.run(exported, flat, trace=True, threads=1)
    slow = reference.run(exported, flat[:2])
    assert expected.trace is not None
    assert slow.trace is not None
    with torch.no_grad():
        spikes = module.spikes(torch.from_numpy(frames))
        rates = module(torch.from_numpy(frames))
    for layer, ours, fast, plain in zip(exported.layers, spikes, expected.trace.spikes, slow.trace.spikes, strict=True):
        found = ours.transpose(0, 1).flatten(2).numpy()
        np.testing.assert_array_equal(found, fast, f"spikes of {layer.name}")
        np.testing.assert_array_equal(found[:2], plain, f"spikes of {layer.name}, reference")
    counts = rates.numpy() * exported.steps * exported.readout.group
    np.testing.assert_array_equal(np.rint(counts), expected.counts)
    np.testing.assert_array_equal(rates.numpy().argmax(axis=1), expected.classes)


@pytest.mark.parametrize("seed", range(36))
def test_forward_is_the_integer_arithmetic(seed: int) -> None:
    network = fold(float_networks.checkpoint(float_networks.network(seed), seed))
    frames = np.random.default_rng(seed).integers(0, 256, (5, *network.input_shape), dtype=np.uint8)
    assert_equal(module_of(network, FORMATS[seed % len(FORMATS)]), frames)


@pytest.mark.parametrize("seed", range(6))
def test_it_stays_so_while_it_learns(seed: int) -> None:
    network = fold(float_networks.checkpoint(float_networks.network(seed), seed))
    module = module_of(network, FORMATS[seed])
    start = module.export()
    frames = np.random.default_rng(seed).integers(0, 256, (6, *network.input_shape), dtype=np.uint8)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.1)
    for _ in range(4):
        loss = (module(torch.from_numpy(frames)) - 0.5).square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert module.export().digest != start.digest
    assert_equal(module, frames)
    for layer, found in zip(network.layers, module.export().layers, strict=True):
        assert not found.synapses.weight[layer.weight == 0].any()


@pytest.mark.parametrize("v_reset", [-0.3, 0.25])
def test_reset_values_other_than_zero(v_reset: float) -> None:
    layers = (
        LayerSpec(DenseSpec(20), FloatNeuron(v_reset=v_reset)),
        LayerSpec(DenseSpec(6), FloatNeuron("if", v_reset=v_reset)),
    )
    network = fold(float_networks.checkpoint(Network("reset", (1, 5, 5), layers, 5), seed=1))
    module = module_of(network, Formats(4))
    assert module.export().layers[0].neuron.reset_value != 0
    assert_equal(module, np.random.default_rng(1).integers(0, 256, (20, 1, 5, 5), dtype=np.uint8))
    with pytest.raises(UserError, match="v_reset"):
        module_of(network, Formats(4, per_channel=True))


def test_spike_frames() -> None:
    network = fold(
        float_networks.checkpoint(
            Network("spikes", (1, 5, 5), (LayerSpec(DenseSpec(9)), LayerSpec(DenseSpec(4)))), seed=2
        )
    )
    network = replace(network, input_kind="spikes")
    module = module_of(network, Formats(4))
    frames = np.random.default_rng(2).integers(0, 2, (7, 8, 1, 5, 5), dtype=np.uint8)
    exported = module.export()
    expected = engine.run(exported, frames.reshape(7, 8, 25), trace=True, threads=1)
    assert expected.trace is not None
    with torch.no_grad():
        spikes = module.spikes(torch.from_numpy(frames))
    for ours, theirs in zip(spikes, expected.trace.spikes, strict=True):
        np.testing.assert_array_equal(ours.transpose(0, 1).numpy(), theirs)


def test_it_starts_as_the_post_training_network() -> None:
    network = fold(float_networks.checkpoint(float_networks.network(3), 3))
    assert module_of(network, Formats(5)).export().digest == ptq.quantize(network, Formats(5)).digest


@pytest.mark.parametrize("bits", [2, 8])
def test_sums_too_large_for_single_precision_are_computed_in_double(bits: int) -> None:
    """8192 weights of 7 bits and pixels of 8 reach 2**28."""
    network = fold(
        float_networks.checkpoint(Network("wide", (8, 32, 32), (LayerSpec(DenseSpec(3)),), 2), 1, connectivity=1.0)
    )
    module = module_of(network, Formats(bits))
    assert module.dtype == (torch.float64 if bits == 8 else torch.float32)
    assert_equal(module, np.random.default_rng(0).integers(0, 256, (3, 8, 32, 32), dtype=np.uint8))


def test_sums_that_outgrow_single_precision_are_noticed() -> None:
    network = fold(float_networks.checkpoint(float_networks.network(0), 0))
    module = module_of(network, Formats(4))
    module.check()
    with torch.no_grad():
        module.layers[0].log_scale -= 10  # thresholds 22,026 times larger
    with pytest.raises(UserError, match="largest sum"):
        module.check()


@pytest.mark.parametrize("neuron", float_networks.NEURONS[:9])
def test_at_fine_scales_gradients_are_those_of_the_float_network(neuron: FloatNeuron) -> None:
    """With 8-bit weights that need no rounding, and steps so fine that thresholds and floors round little."""
    layers = (LayerSpec(DenseSpec(12), neuron), LayerSpec(DenseSpec(4), neuron))
    description = Network("fine", (1, 4, 4), layers, steps=4)
    made = float_networks.checkpoint(description, seed=5)
    arrays = {name: (np.rint(a * 48).clip(-127, 127) / 48).astype(np.float32) for name, a in made.arrays.items()}
    made = type(made)(description, arrays)
    module = IntegerNetwork(fold(made), Formats(8, membrane_fraction=8, decay_bits=15), (np.array([1 / 48]),) * 2)
    floats = SpikingNetwork(description)
    load_arrays(floats, arrays)
    images = torch.from_numpy(np.random.default_rng(5).integers(0, 256, (8, 1, 4, 4), dtype=np.uint8))
    goal = torch.rand(8, 4, generator=torch.Generator().manual_seed(5))
    module.dtype = torch.float64
    for network in (module, floats):
        (network(images) - goal).square().sum().backward()
    for ours, theirs in zip(module.layers, floats.layers, strict=True):
        expected = theirs.synapses.weight.grad.flatten()[ours.place]
        assert expected.abs().max() > 0.01
        torch.testing.assert_close(ours.weight.grad, expected, rtol=0.02, atol=0.02)


def test_the_step_sizes_gradient_is_that_of_learned_step_size_quantization() -> None:
    """One IF neuron, one step: `d(u - theta)/ds` with `u`, `theta` fake-quantised, by hand."""
    layer = LayerSpec(DenseSpec(1), FloatNeuron("if"))
    network = fold(float_networks.checkpoint(Network("one", (1, 1, 1), (layer,), steps=1), seed=1))
    scale = 0.3
    module = IntegerNetwork(network, Formats(4, input_bits=1), (np.array([scale]),))
    with torch.no_grad():
        module.layers[0].weight.fill_(1.0)  # 3.33 steps round to 3, as does the threshold 1.0
    module(torch.full((1, 1, 1, 1), 255, dtype=torch.uint8)).sum().backward()
    residue = 3 - 1 / scale  # of the weight, and of the threshold: the distance's derivative is their difference
    assert module.layers[0].log_scale.grad.item() == pytest.approx(scale * (residue - residue), abs=1e-6)
    assert module.layers[0].weight.grad.item() == pytest.approx(1.0, rel=1e-6)  # surrogate at distance 0


def test_membrane_read_outs_are_refused() -> None:
    network = fold(float_networks.checkpoint(float_networks.network(0), 0))
    silent = replace(network, readout=Readout("membrane"))
    with pytest.raises(UserError, match="readout"):
        module_of(silent, Formats())


def test_a_silent_neuron_stays_silent_at_any_scale() -> None:
    """At a unit of 50 a threshold of 1 rounds to 0, where the membrane rests."""
    network = fold(float_networks.checkpoint(Network("one", (1, 2, 2), (LayerSpec(DenseSpec(3)),), 2), seed=1))
    module = IntegerNetwork(network, Formats(4, input_bits=1), (np.array([50.0]),))
    assert module.export().layers[0].neuron.threshold.tolist() == [1]
    blank = torch.zeros(1, 1, 2, 2, dtype=torch.uint8)
    assert not module.spikes(blank)[0].any()
