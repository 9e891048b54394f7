"""Networks of activations: the activations, their gradients, what they are made of, and spikes in their place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from gradrtl.errors import UserError
from gradrtl.model import relu
from gradrtl.model.architecture import described
from gradrtl.model.description import ConvSpec, DenseSpec, LayerSpec, Network
from gradrtl.model.graph import ConnectionSpec, Graph, InputSpec, PopulationSpec, ReadoutSpec
from gradrtl.model.neurons import step
from gradrtl.model.relu import Activation, ReluNetwork, fired, fired_stepwise
from gradrtl.model.relu_graph import INTEGRATES, READS, relu_graph
from gradrtl.shapes import Pool

SHAPE = (1, 4, 4)


def residual() -> Graph:
    """Two maps whose outputs are added before the third."""
    conv = ConvSpec(2)
    heard = (("image",), ("a",), ("a", "b"))
    populations = [
        PopulationSpec(name, (ConnectionSpec(sources, conv),), INTEGRATES, batch_norm=True)
        for name, sources in zip("abc", heard, strict=True)
    ]
    pool = Pool("average", 2)
    read = PopulationSpec("output", (ConnectionSpec(("c",), DenseSpec(3), pool=pool),), READS, bias=True)
    return Graph("residual", (InputSpec("image", SHAPE),), (*populations, read), ReadoutSpec("output", "membrane"), 4)


def images(count: int = 3) -> torch.Tensor:
    return torch.randint(0, 256, (count, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_a_chain_becomes_a_graph_whose_last_population_is_read() -> None:
    graph = relu_graph(described("2C3-AP2-5")(SHAPE))
    assert [p.name for p in graph.populations] == ["layer0", "output"]
    assert graph["layer0"].neuron == INTEGRATES
    assert graph["layer0"].batch_norm
    assert not graph["layer0"].bias
    assert graph["output"].neuron == READS
    assert graph["output"].bias
    assert graph["output"].inputs[0].pool == Pool("average", 2)
    assert graph.readout.kind == "membrane"
    assert relu_graph(residual()) == residual()


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (described("2C3-P2-5")(SHAPE), "population output pool is max, expected average"),
        (described("16-R4-5")(SHAPE), "population hidden1 is on a cycle, expected a network without cycles"),
        (Network("", SHAPE, (LayerSpec(DenseSpec(2), dropout=0.5),)), "layer 0 dropout is 0.5, expected 0"),
    ],
)
def test_what_has_no_activation_is_refused(network: Network | Graph, message: str) -> None:
    with pytest.raises(UserError, match=message):
        relu_graph(network)


def test_the_shift_activation_rounds_to_levels_and_clips() -> None:
    activation = Activation("shift", 4, 2.0)
    x = torch.tensor([-1.0, 0.2, 0.26, 0.6, 0.8, 1.9, 5.0])
    assert activation(x).tolist() == [0.0, 0.0, 0.5, 0.5, 1.0, 2.0, 2.0]


def test_gradients_of_the_shift_activation_are_those_of_the_definition() -> None:
    """Floor passes the gradient: that of `t * clip(floor(L x / t + 1/2) / L, 0, 1)` by autograd."""
    x = torch.linspace(-1, 3, 41).requires_grad_()
    activation = Activation("shift", 4, 2.0)
    grown = torch.arange(41.0)
    (activation(x) * grown).sum().backward()
    assert activation.learnt is not None
    assert activation.learnt.grad is not None
    found, threshold = x.grad, activation.learnt.detach().clone().requires_grad_()
    y = x.detach().clone().requires_grad_()
    scaled = 4 * y / threshold + 0.5
    floored = scaled + (scaled.floor() - scaled).detach()
    # a level of 0 or 4 is not clipped, as in the activation
    level = torch.where((scaled.floor() >= 0) & (scaled.floor() <= 4), floored, floored.detach().clamp(0, 4))
    (threshold * level / 4 * grown).sum().backward()
    assert found is not None
    assert y.grad is not None
    assert threshold.grad is not None
    assert torch.allclose(found, y.grad)
    assert torch.allclose(activation.learnt.grad, threshold.grad, rtol=1e-4)


def test_the_formula_for_compilers_is_the_activation() -> None:
    x = torch.randn(2000, generator=torch.Generator().manual_seed(0)).mul_(2).requires_grad_()
    grown = torch.randn(2000, generator=torch.Generator().manual_seed(1))
    threshold = torch.tensor(1.7, requires_grad=True)
    found = []
    for activation in (relu._shifted, relu._Shifted.apply):
        x.grad = threshold.grad = None
        y = activation(x, threshold, 4)
        (y * grown).sum().backward()
        assert x.grad is not None
        assert threshold.grad is not None
        found.append((y.detach(), x.grad.clone(), threshold.grad.clone()))
    (y, to_x, to_threshold), (expected, expected_x, expected_threshold) = found
    assert torch.equal(y, expected)
    assert torch.allclose(to_x, expected_x, rtol=1e-6, atol=0), "times a unit and over it"
    assert torch.allclose(to_threshold, expected_threshold, atol=1e-3), "a sum of 2,000, in another order"


def test_the_rate_norm_follows_the_largest_activation_in_training_alone() -> None:
    activation = Activation("rate-norm", 4, 2.0)
    activation(torch.tensor([-3.0, 8.0]))
    assert activation.largest == 8
    activation(torch.tensor([-3.0, 4.0]))
    assert activation.largest == pytest.approx(0.9 * 8 + 0.1 * 4)
    largest = activation.largest.clone()
    activation.eval()
    assert activation(torch.tensor([100.0])).item() == pytest.approx(float(largest), rel=1e-3)
    assert activation.largest == largest


@pytest.mark.filterwarnings("ignore")  # those of torch's tracer in its own code
@pytest.mark.parametrize("method", ["shift", "rate-norm", "plain"])
def test_what_an_accelerator_compiles_has_the_same_results(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The functions that are compiled there, traced whole here: outputs, gradients and running statistics."""

    def run(network: ReluNetwork) -> list[torch.Tensor]:
        outputs = network(images(6))
        outputs.square().sum().backward()
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        return [outputs, *gradients, *network.buffers()]

    torch.manual_seed(3)
    network = ReluNetwork(residual(), method)
    other = ReluNetwork(residual(), method)
    other.load_state_dict(network.state_dict())
    expected, traced = run(network), []

    def compiled(function: Any) -> Any:
        traced.append(function)
        return torch.compile(function, backend="aot_eager", fullgraph=True, dynamic=False)

    monkeypatch.setattr(relu, "_compiled", compiled)
    monkeypatch.setattr(relu, "_compiles", lambda x: True)
    found = run(other)
    assert {function.__name__ for function in traced} == {"_activated", "_pooled"}
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("shape", "size"), [((2, 3, 8, 8), 2), ((2, 3, 9, 10), 4)])
def test_pools_to_compile_are_those_of_torch_with_channels_last(shape: tuple[int, ...], size: int) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(memory_format=torch.channels_last)
    found, expected = relu._pooled(x, size), functional.avg_pool2d(x, size)
    assert torch.allclose(found, expected, atol=1e-6)
    assert found.stride() == expected.stride()


def test_populations_that_are_added_share_a_threshold() -> None:
    network = ReluNetwork(residual(), "shift")
    assert network.activation_of("a") is network.activation_of("b")
    assert network.activation_of("a") is not network.activation_of("c")


def test_a_plain_network_takes_the_largest_activation_as_threshold() -> None:
    network = ReluNetwork(residual(), "plain").eval()
    seen = images(20)
    network.measure([seen[:10], seen[10:]])
    _, rates = network(seen, layer_rates=True)
    for name in "ac":
        assert rates[name].max() <= 1.0 + 1e-6
    assert max(rates[name].max().item() for name in "ab") == pytest.approx(1.0)
    assert rates["c"].max().item() == pytest.approx(1.0)


def test_a_fitted_threshold_has_the_least_error_of_a_relu() -> None:
    network = ReluNetwork(relu_graph(residual()), "shift", levels=4, start=9.0).eval()
    for of in network.activations.values():
        of.learnt.data.fill_(9.0)
    network.fit_thresholds(images(20))
    totals = dict[str, torch.Tensor]()

    def seen(of: Activation, total: torch.Tensor) -> torch.Tensor:
        name = next(name for name in network.group if network.activation_of(name) is of and name not in totals)
        totals[name] = total
        return of(total)

    with torch.no_grad():
        network(images(20), through=seen)
        for name in ("a", "c"):  # b shares the threshold of a, which is the first
            of, x = network.activation_of(name), totals[name]
            best = float((of(x) - x.relu()).square().mean())
            learnt = float(of.threshold)
            assert learnt <= float(x.max())
            for other in (0.5, 0.9, 1.1, 2.0):
                of.learnt.fill_(other * learnt)
                assert float((of(x) - x.relu()).square().mean()) > 0.999 * best, (name, other)
            of.learnt.fill_(learnt)
    assert network.activation_of("a") is network.activation_of("b")


def test_spikes_come_close_to_a_fine_activation_over_many_steps() -> None:
    torch.manual_seed(1)
    network = ReluNetwork(relu_graph(described("2C3-AP2-5")(SHAPE)), "shift", levels=64).eval()
    wanted, found = network(images()), network.spiking(images(), 64)
    assert torch.allclose(wanted, found, atol=0.02)
    assert not torch.allclose(wanted, network.spiking(images(), 2), atol=0.02)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("static", [True, False])
@pytest.mark.parametrize("shape", [(3, 5, 4, 6), (3, 6)])
def test_spikes_on_a_cpu_are_those_of_single_steps(shape: tuple[int, ...], static: bool, kind: torch.dtype) -> None:
    torch.manual_seed(2)
    x = torch.randn(1 if static else 4, *shape).to(kind)
    scale, shift = torch.rand(6) + 0.2, torch.rand(6) - 0.3
    cotangent = torch.randn(4, *shape).to(kind)
    found = []
    for run in (fired, fired_stepwise):
        given = [one.clone().requires_grad_() for one in (x, scale, shift)]
        spikes = run(*given, 4)
        spikes.backward(cotangent.to(spikes.dtype))
        found.append([spikes.float(), *(one.grad.float() for one in given)])
    spikes, *gradients = found[0]
    assert 0.1 < float(spikes.detach().mean()) < 0.9
    assert torch.equal(spikes, found[1][0])
    near = {"rtol": 1e-5, "atol": 1e-5} if kind == torch.float32 else {"rtol": 2**-6, "atol": 2**-6}
    torch.testing.assert_close(gradients, found[1][1:], **near)


@pytest.mark.parametrize("graph", [residual(), relu_graph(described("2C3-AP2-6-5")(SHAPE))])
def test_spiking_is_its_definition_step_by_step(graph: Graph) -> None:
    """Normalisation, thresholds and weights get the same gradients as with `finish`, one division and `fire`."""
    torch.manual_seed(3)
    network = ReluNetwork(graph, "shift", start=0.4).eval()
    for population in network.all:
        if population.norm is not None:
            with torch.no_grad():
                population.norm.running_mean.uniform_(-0.1, 0.1)
                population.norm.running_var.uniform_(0.05, 0.2)
                population.norm.weight.uniform_(0.5, 1.5)
                population.norm.bias.uniform_(0.0, 0.5)
    found = []
    for run in (lambda: network.spiking(images(), 5), lambda: defined(network, images(), 5)):
        network.zero_grad()
        outputs = run()
        outputs.square().sum().backward()
        found.append((outputs.detach(), [one.grad.clone() for one in network.parameters()]))
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-5)
    assert all(float(gradient.abs().max()) > 0 for gradient in found[0][1])


def defined(network: ReluNetwork, pixels: torch.Tensor, steps: int) -> torch.Tensor:
    """`spiking`, with every population's sum at each of the steps."""
    outputs = {"image": (pixels / 255).repeat(steps, 1, 1, 1)}
    outputs |= {part.name: outputs["image"] for part in network.description.inputs}
    for (name,) in network.description.components:
        population = network.all[network.index[name]]
        total = population.finish(relu.summed(population, outputs)).unflatten(0, (steps, -1))
        if name == network.description.readout.source:
            return network._read(total.mean(dim=0))
        threshold = network.activation_of(name).threshold
        v, spikes = torch.full_like(total[0], 0.5), []
        for current in total / threshold:
            now, v = step(current, v, relu.UNIT)
            spikes.append(now)
        outputs[name] = torch.cat(spikes) * threshold
    raise AssertionError


def test_a_network_of_other_layers_is_no_start() -> None:
    from gradrtl.model.checkpoint import Checkpoint, array_shapes

    graph = relu_graph(described("3C3-AP2-5")(SHAPE))
    other = Checkpoint(graph, {n: np.ones(s, np.float32) for n, s in array_shapes(graph).items()})
    told = "network to start from is 3C3-AP2-5, expected one with the populations, normalisation and"
    with pytest.raises(UserError, match=told):
        ReluNetwork(relu_graph(described("2C3-AP2-5")(SHAPE)), "shift").load(other)


def test_an_input_that_changes_is_refused() -> None:
    heard = ConnectionSpec(("rows",), DenseSpec(3))
    read = PopulationSpec("output", (heard,), READS, bias=True)
    rows = Graph("rows", (InputSpec("rows", SHAPE, held=False),), (read,), ReadoutSpec("output", "membrane"), 4)
    with pytest.raises(UserError, match="input rows held is False, expected True"):
        relu_graph(rows)
