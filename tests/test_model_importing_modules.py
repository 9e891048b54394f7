"""Modules of frameworks as records. `make frameworks` compares them with the frameworks themselves, spike for spike."""

from __future__ import annotations

from collections import OrderedDict
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from gradrtl.errors import UserError
from gradrtl.model.importing import from_norse, from_sinabs, from_snntorch, from_spikingjelly, reference
from gradrtl.model.importing.convention import Convention
from gradrtl.model.importing.graph import ImportedGraph, import_graph
from gradrtl.quantize.graph_rounding import GraphFormats
from gradrtl.quantize.imported import Asked, quantize_imported
from gradrtl.sim import engine
from gradrtl.steps.importing import Samples, import_nir


def neurons(framework: str, name: str, **fields: Any) -> nn.Module:
    """A module without behaviour that looks like one of a framework."""
    made = type(name, (nn.Module,), {"__module__": f"{framework}.layers"})()
    for field, value in fields.items():
        setattr(made, field, value)
    return made


def leaky(name: str = "Leaky", **fields: Any) -> nn.Module:
    given = {"beta": 0.5, "threshold": 1.0, "reset_mechanism": "subtract", "reset_delay": True, "output": False}
    return neurons("snntorch", name, **{**given, "inhibition": False, **fields})


def linear(weight: list[list[float]], bias: list[float] | None = None) -> nn.Linear:
    made = nn.Linear(len(weight[0]), len(weight), bias=bias is not None)
    made.weight.data = torch.tensor(weight)
    if bias is not None:
        made.bias.data = torch.tensor(bias)
    return made


def train(record: Any, framework: str, name: str = "1", steps: int = 8) -> list[int]:
    """The spikes of one neuron for an input of 1 in each step."""
    graph = import_graph(record, Convention.of(framework))
    traces = reference.run(graph.structure, {"input": np.ones((1, steps, 1))})
    return traces.spikes[name][0, :, 0].tolist()


def test_snntorch_subtracts_a_step_late():
    """By hand: u = u / 2 + 3 / 4, and 1 less where u was above 1 in the step before."""
    record = from_snntorch(nn.Sequential(linear([[0.75]]), leaky()), (1,))
    assert train(record, "snntorch") == [0, 1, 0, 0, 1, 0, 0, 1]
    record = from_snntorch(nn.Sequential(linear([[0.75]]), leaky(reset_delay=False)), (1,))
    assert train(record, "snntorch") == [0, 1, 0, 1, 0, 1, 0, 1]


@pytest.mark.parametrize(
    ("fields", "reset"),
    [
        ({}, "subtract-delayed"),
        ({"reset_delay": False}, "subtract"),
        ({"reset_mechanism": "zero"}, "value"),
        ({"reset_mechanism": "none"}, "none"),
        ({"name": "Synaptic", "alpha": 0.5, "reset_mechanism": "zero"}, "value-held"),
    ],
)
def test_each_layer_has_its_own_reset(fields, reset):
    record = from_snntorch(nn.Sequential(linear([[1.0]]), leaky(**fields), linear([[1.0]]), leaky()), (1,))
    assert record.nodes["1"].fields["convention"]["reset"] == reset
    assert record.nodes["3"].fields["convention"]["reset"] == "subtract-delayed"


def test_twice_the_threshold_is_not_what_a_reset_at_once_may_see():
    """snnTorch subtracts the threshold once more there: by hand, its spikes are 1, 0, 0; with `subtract` 1, 1, 0."""
    record = from_snntorch(nn.Sequential(linear([[2.125]]), leaky(beta=0.9, reset_delay=False)), (1,))

    def imported(inputs: list[float]) -> list[str]:
        def samples(graph: ImportedGraph) -> Samples:
            return Samples({"input": np.array(inputs).reshape(1, -1, 1)}, None, {}, False)

        convention = Convention.of("snntorch")
        asked = Asked(len(inputs), "graded")
        return list(import_nir(record, convention, lambda steps: asked, GraphFormats(), samples).notes)

    with pytest.raises(UserError, match=r"node 1 spikes in a step is 2, expected 1: .*, snnTorch reset_delay=True"):
        imported([1, 0, 0])
    record = from_snntorch(nn.Sequential(linear([[1.75]]), leaky(beta=0.9, reset_delay=False)), (1,))
    assert any(note.startswith("1: the framework allows several spikes in a step") for note in imported([1, 0, 0]))


def test_a_last_layer_that_is_never_reset_is_a_read_out():
    layers = nn.Sequential(linear([[1.0]]), leaky(reset_mechanism="none", output=True))
    assert from_snntorch(layers, (1,)).nodes["1"].type == "LI"


def test_normalisation_enters_the_weights_and_dropout_does_nothing():
    norm = nn.BatchNorm1d(1)
    norm.running_mean, norm.running_var = torch.tensor([0.5]), torch.tensor([4.0 - norm.eps])
    norm.weight.data, norm.bias.data = torch.tensor([6.0]), torch.tensor([0.25])
    record = from_snntorch(nn.Sequential(linear([[1.0, 2.0]]), norm, nn.Dropout(), leaky()), (2,))
    assert list(record.nodes) == ["input", "0", "3", "output"]
    assert record.nodes["0"].type == "Affine"
    assert np.allclose(record.nodes["0"].fields["weight"], [[3.0, 6.0]])
    assert np.allclose(record.nodes["0"].fields["bias"], [-1.25])


def test_a_loop_is_heard_a_step_later():
    """By hand: u = u / 2 + 1 / 2, 1 / 2 more and 9 / 10 less after a spike."""
    made = leaky("RLeaky", all_to_all=True, recurrent=linear([[0.5]], [0.0]), threshold=0.9)
    assert train(from_snntorch(nn.Sequential(linear([[0.5]]), made), (1,)), "snntorch", "1.lif") == [
        0, 0, 0, 1, 0, 0, 0, 1,
    ]  # fmt: skip


def test_spikingjelly_divides_its_input_or_not():
    def of(**fields: Any) -> list[int]:
        given = {"tau": 4.0, "v_threshold": 0.4, "v_reset": 0.0, **fields}
        layers = nn.Sequential(linear([[1.0]]), neurons("spikingjelly", "LIFNode", **given))
        return train(from_spikingjelly(layers, (1,)), "spikingjelly", steps=4)

    assert of(decay_input=True) == [0, 1, 0, 1]
    assert of(decay_input=False) == [1, 1, 1, 1]
    assert of(decay_input=False, v_threshold=1.75) == [0, 1, 0, 1]


def test_spikingjelly_has_soft_resets():
    def of(reset: float | None) -> list[int]:
        made = neurons("spikingjelly", "IFNode", v_threshold=1.5, v_reset=reset)
        return train(from_spikingjelly(nn.Sequential(linear([[1.0]]), made), (1,)), "spikingjelly", steps=6)

    assert of(None) == [0, 1, 1, 0, 1, 1]
    assert of(0.0) == [0, 1, 0, 1, 0, 1]


def test_norse_has_rates_and_steps_of_time():
    parameters = SimpleNamespace(tau_mem_inv=250.0, v_leak=0.0, v_th=0.4, v_reset=0.0)
    parameters.reset_method = SimpleNamespace(__name__="reset_subtract")
    layers = nn.Sequential(linear([[1.0]]), neurons("norse", "LIFBoxCell", p=parameters, dt=1e-3))
    record = from_norse(layers, (1,))
    assert train(record, "norse", steps=4) == [0, 1, 0, 1]
    assert record.nodes["1"].fields["convention"]["reset"] == "subtract"


def sinabs(name: str = "LIFSqueeze", reset_value: float = 0.0, **fields: Any) -> nn.Module:
    given = {"tau_mem": 1 / np.log(2.0), "tau_syn": None, "min_v_mem": None, "norm_input": False}
    reset = type("MembraneReset", (), {"reset_value": reset_value})()
    spike = type("SingleSpike", (), {})
    return neurons("sinabs", name, **given, spike_threshold=1.45, spike_fn=spike, reset_fn=reset, **fields)


def test_sinabs_decays_exponentially():
    record = from_sinabs(nn.Sequential(linear([[1.0]]), sinabs()), (1,))
    assert train(record, "sinabs", steps=4) == [0, 1, 0, 1]


def test_a_recurrent_bias_of_sinabs_is_refused():
    """Its first step has none: what is recurrent starts as zeros."""
    for bias in (None, [0.0]):
        made = sinabs("LIFRecurrent", rec_connect=linear([[0.5]], bias))
        assert train(from_sinabs(nn.Sequential(linear([[1.0]]), made), (1,)), "sinabs", "1.lif", 4) == [0, 1, 1, 1]
    made = sinabs("LIFRecurrent", rec_connect=nn.Sequential(nn.Flatten(), linear([[0.5]], [0.25])))
    with pytest.raises(UserError, match="module 1 rec_connect bias is not 0, expected 0: Sinabs leaves it out"):
        from_sinabs(nn.Sequential(linear([[1.0]]), made), (1,))
    with pytest.raises(UserError, match=r"module 1 reset_value is -0\.5, expected 0"):
        from_sinabs(nn.Sequential(linear([[1.0]]), sinabs(reset_value=-0.5)), (1,))


def integrate(threshold: float = 1.5) -> nn.Module:
    return neurons("spikingjelly", "IFNode", v_threshold=threshold, v_reset=0.0)


def test_children_may_have_any_name():
    """By hand: 1, 2, 3, ... with resets at 1.5 and, of their spikes, at 1.5."""
    parts = {"input": linear([[1.0]]), "hidden": integrate(), "fc": linear([[1.0]]), "output": integrate()}
    record = from_spikingjelly(nn.Sequential(OrderedDict(parts)), (1,))
    assert list(record.nodes) == ["input_", *parts, "output_"]
    traces = reference.run(
        import_graph(record, Convention.of("spikingjelly")).structure, {"input_": np.ones((1, 8, 1))}
    )
    assert traces.spikes["hidden"][0, :, 0].tolist() == [0, 1, 0, 1, 0, 1, 0, 1]
    assert traces.spikes["output"][0, :, 0].tolist() == [0, 0, 0, 1, 0, 0, 0, 1]
    pool = nn.MaxPool2d(2, stride=1)
    parts = {"conv": nn.Conv2d(1, 1, 2), "pool sum": integrate(), "pool": pool}
    record = from_spikingjelly(nn.Sequential(OrderedDict(parts)), (1, 4, 4))
    assert list(record.nodes) == ["input", "conv", "pool sum", "pool sum_", "pool", "output"]


def test_modules_that_are_used_twice():
    same, one = linear([[1.0]]), integrate()
    record = from_spikingjelly(nn.Sequential(same, integrate(), same, integrate()), (1,))
    assert train(record, "spikingjelly", "3") == [0, 0, 0, 1, 0, 0, 0, 1]
    with pytest.raises(UserError, match="module 3 is module 1 once more, expected neurons of its own: the two share"):
        from_spikingjelly(nn.Sequential(same, one, same, one), (1,))
    outer = [neurons("spikingjelly", "LinearRecurrentContainer", sub_module=one, sub_module_out_features=1,
                     rc=linear([[1.0, 0.5]], [0.0])) for _ in range(2)]  # fmt: skip
    with pytest.raises(UserError, match="module 1 is module 0 once more"):
        from_spikingjelly(nn.Sequential(*outer), (1,))


def test_norse_has_a_state_for_each_position():
    parameters = SimpleNamespace(tau_mem_inv=250.0, v_leak=0.0, v_th=0.4, v_reset=0.0)
    one, same = neurons("norse", "LIFBoxCell", p=parameters, dt=1e-3), linear([[2.0]])
    with pytest.raises(UserError, match="module 3 is module 1 once more"):
        from_norse(nn.Sequential(same, one, same, one), (1,))
    container = type("SequentialState", (nn.Sequential,), {})
    record = from_norse(container(same, one, same, one), (1,))
    assert train(record, "norse", steps=4) == [1, 1, 1, 1] == train(record, "norse", "3", steps=4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"divisor_override": 3}, "AvgPool2d divisor_override is 3, expected None"),
        (
            {"count_include_pad": False, "padding": 1},
            "AvgPool2d count_include_pad is False, expected True with padding",
        ),
    ],
)
def test_pools_that_divide_otherwise_are_refused(options: dict[str, Any], message: str):
    with pytest.raises(UserError, match=message):
        from_spikingjelly(nn.Sequential(nn.AvgPool2d(2, **options), integrate()), (1, 4, 4))
    from_spikingjelly(nn.Sequential(nn.AvgPool2d(2, count_include_pad=False), integrate()), (1, 4, 4))


@pytest.mark.parametrize(
    ("pools", "populations"),
    [
        ([nn.MaxPool2d(2)], 2),
        ([nn.MaxPool2d(2), nn.Dropout(), nn.MaxPool2d(2)], 2),
        ([nn.MaxPool2d(3)], 2),  # the last row and column are dropped
        ([nn.MaxPool2d(3, stride=2, padding=1)], 3),
        ([nn.MaxPool2d((2, 1))], 3),
        ([nn.MaxPool2d(2), nn.MaxPool2d(2, stride=1)], 3),
    ],
)
def test_a_max_pool_is_one_where_a_neuron_of_its_window_spikes(pools, populations):
    torch.manual_seed(0)
    first, second = nn.Conv2d(1, 3, 3, bias=False), nn.Conv2d(3, 4, 2, bias=False)
    for layer in (first, second):
        layer.weight.data = torch.randint(-4, 6, layer.weight.shape) / 8
    layers = nn.Sequential(first, integrate(1.5), *pools, second, integrate(1.25))
    frames = (torch.rand(3, 6, 1, 10, 10) < 0.3).float()
    expected, states = [], [torch.zeros(1), torch.zeros(1)]
    for now in frames.transpose(0, 1):
        for index, (layer, threshold) in enumerate(((first, 1.5), (second, 1.25))):
            now = layer(nn.Sequential(*pools).eval()(now) if index else now).detach()
            membrane = states[index] + now
            now = (membrane >= threshold).float()
            states[index] = membrane * (1 - now)
        expected.append(now.flatten(1).numpy())
    graph = import_graph(from_spikingjelly(layers, (1, 10, 10)), Convention.of("spikingjelly"))
    assert len(graph.populations) == populations
    name = graph.populations[-1].name
    spikes = np.stack(expected, axis=1)
    assert 0.05 < spikes.mean() < 0.7
    given = frames.numpy().reshape(3, 6, -1)
    np.testing.assert_array_equal(reference.run(graph.structure, {"input": given}).spikes[name], spikes)
    network = quantize_imported(graph, Asked(6))
    trace = engine.run(network, given.astype(np.uint8), trace="spikes").trace
    np.testing.assert_array_equal(trace.spikes[-1], spikes)


def test_what_cannot_be_imported_is_one_line():
    for layers, message in (
        ((nn.MaxPool1d(2),), "module 1 is MaxPool1d, expected Linear, "),
        ((nn.MaxPool2d(2),), "module 1 behind is Linear, expected neurons: spikes are pooled, no sums"),
        ((leaky(), nn.MaxPool2d(2, ceil_mode=True)), "module 2 ceil_mode is True, expected False"),
        ((leaky(), nn.MaxPool2d(2, dilation=2)), "module 2 dilation is 2, expected 1"),
        ((leaky(), nn.MaxPool2d(2, return_indices=True)), "module 2 return_indices is True, expected False"),
        ((leaky(inhibition=True),), "module 1 inhibition is True, expected False"),
        ((leaky(state_quant=round),), "module 1 state_quant is given, expected False"),
        ((leaky(graded_spikes_factor=2.0),), "module 1 graded_spikes_factor is 2.0, expected 1"),
        ((leaky(beta=-0.5),), "module 1 beta is 0.0, expected above 0"),
        ((leaky(), nn.BatchNorm1d(1)), "module 2 behind is LIF, expected a Linear or a convolution"),
    ):
        with pytest.raises(UserError) as caught:
            from_snntorch(nn.Sequential(linear([[1.0]]), *layers), (1,))
        assert str(caught.value).startswith(message)
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="modules is none"):
        from_snntorch(nn.Sequential(), (1,))
