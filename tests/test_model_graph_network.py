"""Graphs as modules: fast and by definition, delays, skips, several inputs, checkpoints, recipes, training."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from gradrtl import archive
from gradrtl.errors import UserError
from gradrtl.model import checkpoint, dynamics, graph_network
from gradrtl.model.architecture import described, read_description
from gradrtl.model.checkpoint import Checkpoint
from gradrtl.model.config import TrainConfig
from gradrtl.model.data import Dataset
from gradrtl.model.description import ConvSpec, DenseSpec, Network
from gradrtl.model.graph import (
    FASTEST,
    LI,
    SLOWEST,
    AdaptationSpec,
    ConnectionSpec,
    CurrentSpec,
    Graph,
    InputSpec,
    NeuronSpec,
    PopulationSpec,
    ReadoutSpec,
)
from gradrtl.model.graph_network import DECAYS, GraphNetwork, Population
from gradrtl.model.networks import SpikingNetwork, arrays_of, load_arrays, module_of, network_of
from gradrtl.model.recipes import KINDS
from gradrtl.model.sequences import strips
from gradrtl.model.surrogates import ATAN, Surrogate
from gradrtl.model.train import evaluate, loss_of, rate_loss, train
from gradrtl.shapes import Pool

ROWS, IMAGE = InputSpec("rows", (2, 6, 4), held=False), InputSpec("image", (2, 6, 4))
NEURON = NeuronSpec(0.75, current=CurrentSpec(0.5), adaptation=AdaptationSpec(0.75, 0.25), learnt="channel")


def dense(*sources: str, outputs: int = 5, delay: int = 0, pool: Pool | None = None) -> ConnectionSpec:
    return ConnectionSpec(sources, DenseSpec(outputs), delay, pool)


def conv(*sources: str, delay: int = 0, pool: Pool | None = None) -> ConnectionSpec:
    return ConnectionSpec(sources, ConvSpec(2), delay, pool)


GRAPHS = {
    "chain": Graph(
        "chain",
        (ROWS,),
        (PopulationSpec("a", (dense("rows"),), NEURON), PopulationSpec("out", (dense("a", outputs=3),))),
        ReadoutSpec("out"),
        steps=6,
    ),
    "self": Graph(
        "self",
        (ROWS, IMAGE),
        (
            PopulationSpec(
                "a", (dense("rows"), dense("a", delay=1), dense("image"), dense("a", delay=3)), NEURON, bias=True
            ),
            PopulationSpec("out", (dense("a", outputs=3), dense("rows", outputs=3, delay=2)), LI),
        ),
        ReadoutSpec("out", "membrane"),
        steps=6,
    ),
    "two": Graph(
        "two",
        (ROWS,),
        (
            PopulationSpec("a", (dense("rows"), dense("b", delay=2)), NEURON),
            PopulationSpec("b", (dense("a"), dense("a", "b", delay=1)), NeuronSpec(learnt="neuron")),
            PopulationSpec("out", (dense("a", "b", outputs=4),)),
        ),
        ReadoutSpec("out", "count", group=2),
        steps=3,
    ),
    "residual": Graph(
        "residual",
        (IMAGE,),
        (
            PopulationSpec("a", (conv("image"),), batch_norm=True, bias=True),
            PopulationSpec("b", (conv("a"),), NeuronSpec(reset="soft"), batch_norm=True),
            PopulationSpec("c", (conv("a", "b"), conv("image")), batch_norm=True),
            PopulationSpec("out", (dense("b", "c", outputs=3, pool=Pool("max", 2)), dense("a", outputs=3)), LI),
        ),
        ReadoutSpec("out", "sum"),
        steps=4,
    ),
    "maps": Graph(
        "maps",
        (IMAGE,),
        (
            PopulationSpec("a", (conv("image"),), batch_norm=True),
            PopulationSpec("b", (conv("a"), conv("image")), NeuronSpec(0.75, reset="soft")),
            PopulationSpec("c", (conv("a", "b", delay=1),), NeuronSpec(1.0, reset_value=-0.5), batch_norm=True),
            PopulationSpec("d", (conv("c", pool=Pool("max", 2)),), batch_norm=True),
            PopulationSpec("out", (dense("d", outputs=3), dense("c", outputs=3, pool=Pool("max", 2), delay=2)), LI),
        ),
        ReadoutSpec("out", "sum"),
        steps=4,
    ),
    "loop of maps": Graph(
        "loop of maps",
        (InputSpec("rows", (2, 12, 4), held=False),),
        (
            PopulationSpec("a", (conv("rows"), conv("a", delay=1)), NeuronSpec(learnt="channel")),
            PopulationSpec("out", (dense("a", outputs=3, pool=Pool("average", 2)),), LI),
        ),
        ReadoutSpec("out", "largest"),
        steps=3,
    ),
}  # fmt: skip


def images(graph: Graph, count: int = 4) -> Tensor:
    return torch.randint(0, 256, (count, *graph.input_shape), dtype=torch.uint8)


def lively(graph: Graph) -> GraphNetwork:
    """A network with random weights under which all populations fire."""
    network = GraphNetwork(graph)
    with torch.no_grad():
        for _, synapses, _ in network.weighted:
            synapses.weight.mul_(8)
    return network


def by_definition(network: GraphNetwork, pixels: Tensor) -> dict[str, Tensor]:
    """The outputs of each population over time, one step after another, without any care for speed."""
    graph = network.description
    x = pixels.float() / 255
    outputs = {
        part.name: x[None].expand(graph.steps, *x.shape) if part.held else strips(x, graph.steps).transpose(0, 1)
        for part in graph.inputs
    }
    order = [name for group in graph.components for name in group]
    states: dict[str, dynamics.State] = {}
    made: dict[str, list[Tensor]] = {name: [] for name in order}
    for t in range(graph.steps):
        for name in order:
            module = network.populations[network.index[name]]
            assert isinstance(module, Population)
            spec, total = module.spec, torch.zeros((len(x), *module.shape))
            for index, connection in enumerate(spec.inputs):
                then = t - connection.delay
                if then < 0:
                    continue
                seen = torch.zeros(())
                for source in connection.sources:
                    of = made[source][then] if source in made else outputs[source][then]
                    if connection.pool is not None:
                        pool = (
                            torch.nn.functional.max_pool2d
                            if connection.pool.kind == "max"
                            else torch.nn.functional.avg_pool2d
                        )
                        of = pool(of, connection.pool.size)
                    seen = seen + of
                total = total + module.synapse(index, seen)
            total = module.finish(total).flatten(1)
            state = states.get(name, dynamics.start(spec.neuron, total))
            _, spikes, states[name] = dynamics.step(total, state, spec.neuron, dynamics.Parameters(*module.decays()))
            made[name].append((spikes if spec.neuron.spiking else states[name].membrane).unflatten(1, module.shape))
    return {name: torch.stack(values) for name, values in made.items()}


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_does_what_its_description_says(name: str) -> None:
    torch.manual_seed(0)
    graph = GRAPHS[name]
    network = lively(graph)
    pixels = images(graph)
    network(pixels)  # moves the running statistics
    network.eval()
    with torch.no_grad():
        found, rates = network(pixels, layer_rates=True)
        expected = by_definition(network, pixels)
    of_output = expected[graph.readout.source]
    read = {"membrane": of_output[-1], "largest": of_output.amax(dim=0)}.get(graph.readout.kind, of_output.mean(dim=0))
    assert torch.allclose(found, read.unflatten(1, (-1, graph.readout.group)).mean(dim=2), atol=1e-5)
    for spec, rate in zip(graph.populations, rates, strict=True):
        assert torch.allclose(rate, expected[spec.name].mean(dim=0)) if spec.neuron.spiking else rate.shape == (4, 0)
    assert all(values.any() for name, values in expected.items() if name != graph.readout.source)


def test_maps_of_plain_neurons_are_one_operation() -> None:
    network = lively(GRAPHS["maps"])
    assert network.pools == {"a": 1, "b": 1, "c": 2, "d": 1, "out": 0}
    pixels = images(network.description)
    fast = network(pixels)
    of_fast = torch.autograd.grad(fast.square().sum(), list(network.parameters()))
    network.pools = dict.fromkeys(network.pools, 0)
    slow = network(pixels)
    of_slow = torch.autograd.grad(slow.square().sum(), list(network.parameters()))
    assert torch.allclose(fast, slow, atol=1e-5)
    for found, expected in zip(of_fast, of_slow, strict=True):
        assert torch.allclose(found, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


@pytest.mark.parametrize("surrogate", [ATAN, Surrogate("fast-sigmoid", 2.0)])
@pytest.mark.parametrize("name", GRAPHS)
def test_the_operations_of_an_accelerator_are_the_same(
    name: str, surrogate: Surrogate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made to run here: plain neurons over all steps at once, the others step by step."""
    torch.manual_seed(3)
    network = lively(GRAPHS[name])
    network.surrogate = surrogate
    pixels = images(network.description)
    expected = network(pixels)
    of_expected = torch.autograd.grad(expected.square().sum(), list(network.parameters()))
    monkeypatch.setattr(graph_network, "_compiles", lambda x: False)
    found, rates = network(pixels, layer_rates=True)
    of_found = torch.autograd.grad(found.square().sum(), list(network.parameters()))
    assert torch.allclose(found, expected, atol=1e-5)
    for one, other in zip(of_found, of_expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-3 * float(other.abs().max()))
    assert len(rates) == len(network.description.populations)


@pytest.mark.parametrize("name", GRAPHS)
def test_every_parameter_learns(name: str) -> None:
    torch.manual_seed(1)
    graph = GRAPHS[name]
    network = lively(graph)
    outputs = network(images(graph))
    loss_of(None, graph)(outputs, torch.arange(4) % graph.classes).backward()
    for which, parameter in network.named_parameters():
        assert parameter.grad is not None, which
        assert parameter.grad.isfinite().all(), which
        assert parameter.grad.any(), which


@pytest.mark.parametrize("name", GRAPHS)
def test_checkpoint(name: str, tmp_path: Path) -> None:
    torch.manual_seed(2)
    graph = GRAPHS[name]
    network = lively(graph)
    pixels = images(graph)
    network(pixels)
    network.eval()
    saved = Checkpoint(graph, arrays_of(network))
    assert saved.save(tmp_path / "graph.npz") == saved.save(tmp_path / "again.npz")
    read = Checkpoint.load(tmp_path / "graph.npz")
    assert read.network == graph
    assert torch.allclose(network_of(read)(pixels), network(pixels), atol=1e-4)
    assert read.census.connectivity == 1.0
    for module, trained in zip(network.populations, read.populations, strict=True):
        assert isinstance(module, Population)
        assert trained.spec == module.spec
        assert [w.shape for w in trained.weights] == [tuple(s.weight.shape) for s in module.synapses]  # type: ignore
        assert len(trained.bias) == trained.shape[0]
        assert bool(trained.bias.any()) == (module.bias is not None and bool(module.bias.any()))
        assert (trained.norm is None) == (module.norm is None)
        decays = dict(zip(DECAYS, module.decays().detach().numpy(), strict=True))
        for which, values in trained.decays.items():
            assert np.allclose(np.repeat(values, len(decays[which]) // len(values)), decays[which])
        assert len(trained.decays) == len(trained.spec.neuron.decays)
    with pytest.raises(UserError, match=r"checkpoint population0.connection0.weight shape"):
        replace(read, arrays={**read.arrays, "population0.connection0.weight": np.zeros((1, 2), np.float32)})


def test_versions_of_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of chains have none and stay as they were; those of graphs have one, and newer ones are refused."""
    headers: list[dict[str, object]] = []
    save = archive.save

    def seen(path: Path, kind: str, header: dict[str, object], arrays: dict[str, np.ndarray]) -> str:
        headers.append(header)
        return save(path, kind, header, arrays)

    monkeypatch.setattr(archive, "save", seen)
    chain = described("24-5")((1, 6, 4))
    Checkpoint(chain, arrays_of(module_of(chain))).save(tmp_path / "chain.npz")
    saved = Checkpoint(GRAPHS["two"], arrays_of(module_of(GRAPHS["two"])))
    saved.save(tmp_path / "graph.npz")
    assert [header.get("version") for header in headers] == [None, 2]
    assert Checkpoint.load(tmp_path / "chain.npz").network == chain
    with monkeypatch.context() as later:
        later.setattr(checkpoint, "GRAPHS", 3)
        saved.save(tmp_path / "later.npz")
    with pytest.raises(UserError, match="version is 3, expected at most 2"):
        Checkpoint.load(tmp_path / "later.npz")


def test_learnt_decays_stay_in_what_integers_hold() -> None:
    network = GraphNetwork(GRAPHS["self"])
    decays = network.populations[0].decays
    assert isinstance(decays, torch.nn.Module)
    assert [float(values[0]) for values in decays().detach()] == pytest.approx([0.75, 0.5, 0.75])
    for parameter in decays.parameters():
        with torch.no_grad():
            parameter.fill_(1e6)
    assert decays().max() <= SLOWEST
    for parameter in decays.parameters():
        with torch.no_grad():
            parameter.fill_(-1e6)
    assert decays().min() >= FASTEST


def test_useful_connections_of_a_graph() -> None:
    """Two rows of 2 pixels, 3 recurrent neurons: the second is reached by the first alone, nobody hears the third."""
    graph = Graph(
        "g",
        (InputSpec("rows", (1, 2, 2), held=False),),
        (
            PopulationSpec("h", (dense("rows", outputs=3), dense("h", outputs=3, delay=1))),
            PopulationSpec("out", (dense("h", outputs=2),)),
        ),
        ReadoutSpec("out"),
        steps=2,
    )
    arrays = {
        "population0.connection0.weight": np.array([[1, 0], [0, 0], [0, 1]], np.float32),
        "population0.connection1.weight": np.array([[0, 0, 0], [1, 0, 0], [1, 0, 0]], np.float32),
        "population1.connection0.weight": np.array([[0, 1, 0], [0, 0, 0]], np.float32),
    }
    counted = Checkpoint(graph, arrays).census
    assert (counted.living, counted.useful, counted.dead) == ((2, 2, 1), (1, 1, 1), (1, 1))


@pytest.mark.parametrize("recipe", KINDS)
def test_recipes_reach_every_connection(recipe: str) -> None:
    torch.manual_seed(0)
    wanted = None if recipe in ("gradr", "dense") else 0.2
    config = replace(TrainConfig(), recipe=recipe, connectivity=wanted)
    network = module_of(described("6-R40c-R20-5")((1, 7, 6)))
    made = KINDS[recipe](network, config)
    made.attach(torch.optim.Adam(network.parameters(), lr=0.01))
    made.after_step(150, 150)
    weights = [synapses.weight.detach().clone() for _, synapses, _ in network.weighted]
    assert [tuple(weight.shape) for weight in weights] == [(40, 6), (40, 40), (20, 40), (20, 20), (5, 20)]
    if recipe in ("gradr-quota", "magnitude"):
        assert made.connectivity == pytest.approx(0.2, abs=1e-3)
        assert all(0 < (weight != 0).float().mean() < 1 for weight in weights[:4])
    made.freeze()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    network(torch.randint(0, 256, (20, 1, 7, 6), dtype=torch.uint8)).sum().backward()
    optimizer.step()
    for (_, synapses, _), weight in zip(network.weighted, weights, strict=True):
        assert not synapses.weight[weight == 0].any()


@pytest.mark.parametrize("recipe", ["gradr-quota", "magnitude"])
def test_no_quota_of_neurons_for_a_graph_that_is_no_chain(recipe: str) -> None:
    with pytest.raises(UserError, match=r"hidden is 0\.5, expected 1 for a graph that is no chain"):
        KINDS[recipe](module_of(described("6-R4-5")((1, 7, 6))), TrainConfig(recipe=recipe, hidden=0.5))


def some_images(count: int) -> Dataset:
    """Images with one lit row, which is their class."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, count).astype(np.uint8)
    pixels = rng.integers(0, 60, (count, 1, 6, 4)).astype(np.uint8)
    pixels[np.arange(count), 0, 2 * labels] += 180
    return Dataset(pixels, labels)


def test_training_resumes_and_learns(tmp_path: Path) -> None:
    config = TrainConfig(
        network="4-R20c-3", epochs=6, connectivity=0.5, batch=20, lr=0.03, rotation=0, shift=0, held_out=60, rewire=0.5
    )
    data = some_images(360)
    whole = train(config, data)
    assert whole.history[-1]["validation"] > 0.95

    class Stopped(Exception):
        pass

    def stop(row: dict[str, object]) -> None:
        if row["epoch"] == 4:
            raise Stopped

    with pytest.raises(Stopped):
        train(config, data, tmp_path, on_epoch=stop)
    again = train(config, data, tmp_path)
    assert all(np.array_equal(again.arrays[name], whole.arrays[name]) for name in whole.arrays)
    assert 0.4 < whole.figures["connectivity"] <= 0.51
    assert evaluate(network_of(whole), data, loss=loss_of(None, whole.network)).loss < 0.5
    assert TrainConfig.from_json(config.to_json()) == config


def test_bfloat16_is_for_matrix_products_alone() -> None:
    torch.manual_seed(0)
    network = lively(GRAPHS["self"])
    pixels = images(network.description)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = network(pixels)
    assert outputs.dtype == torch.float32
    outputs.sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in network.parameters())


def test_losses() -> None:
    membranes, counts = GRAPHS["self"], GRAPHS["two"]
    outputs, labels = torch.tensor([[0.5, 0.25], [0.0, 1.0]]), torch.tensor([0, 0])
    assert loss_of(None, counts) is rate_loss
    assert loss_of("rate", described("24-5")((1, 6, 4))) is rate_loss
    cross_entropy = torch.nn.functional.cross_entropy
    assert loss_of(None, membranes)(outputs, labels) == cross_entropy(outputs, labels)
    assert loss_of("cross-entropy", counts)(outputs, labels) == cross_entropy(3 * outputs, labels)
    with pytest.raises(UserError, match="loss is rate, expected cross-entropy"):
        loss_of("rate", membranes)


def test_strips() -> None:
    pixels = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    cut = strips(pixels, 2)
    assert cut.shape == (2, 2, 3, 2, 5)
    assert np.array_equal(cut[:, 1], pixels[:, :, 2:])
    assert np.array_equal(strips(torch.from_numpy(pixels), 2).numpy(), cut)
    with pytest.raises(UserError, match="steps is 3, expected a divisor of the 4 rows"):
        strips(pixels, 3)


def test_a_line_of_recurrent_layers() -> None:
    found = described("28-R128ca-64-R32s-10")((1, 28, 28))
    assert isinstance(found, Graph)
    assert (found.steps, found.inputs) == (28, (InputSpec("rows", (1, 28, 28), held=False),))
    assert [population.name for population in found.populations] == ["hidden1", "hidden2", "hidden3", "output"]
    first, second, third, last = found.populations
    assert [(c.sources, c.delay) for c in first.inputs] == [(("rows",), 0), (("hidden1",), 1)]
    assert first.neuron.current is not None
    assert first.neuron.adaptation is not None
    assert [c.sources for c in second.inputs] == [("hidden1",)]
    assert third.neuron.reset == "soft"
    assert last.neuron == LI
    held = described("784-R12-10")((1, 28, 28))
    assert isinstance(held, Graph)
    assert (held.steps, held.inputs[0].held, held.inputs[0].name) == (8, True, "image")
    halves = described("56-R12-10")((1, 28, 28))
    assert halves.steps == 14


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("R128-10", "layers R128-10, part 1 is R128, expected the number of values"),
        ("28-R128", "last part is R128, expected N"),
        ("30-R128-10", "values at a step is 30, expected 28, a row of an image, or 784"),
        ("28-R128x-10", "R128x"),
        ("28-R128-8C3-10", "part is 8C3, expected N, or RN"),
        ("28-R0-10", "outputs is 0"),
    ],
)
def test_lines_that_are_refused(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        described(text)((1, 28, 28))


def test_a_description_file(tmp_path: Path) -> None:
    graph = GRAPHS["two"]
    path = tmp_path / "own.json"
    body = graph.to_json()
    for part in body["inputs"]:
        del part["shape"]
    path.write_text(json.dumps(body))
    assert read_description(path, graph.input_shape) == graph
    with pytest.raises(UserError, match=r"steps is 3, expected a divisor of the 5 rows"):
        read_description(path, (2, 5, 4))
    config = TrainConfig(network=graph)
    assert TrainConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_a_graph_that_is_a_chain_equals_the_chain() -> None:
    """The paper's neuron, whose input decays by a half, is the graph's with half the weights."""
    chain = described("24-7-3")((1, 6, 4))
    assert isinstance(chain, Network)
    neuron = NeuronSpec(0.5)
    hidden = PopulationSpec("h", (dense("image", outputs=7),), neuron)
    out = PopulationSpec("o", (dense("h", outputs=3),), neuron)
    graph = Graph("chain", (InputSpec("image", (1, 6, 4)),), (hidden, out), ReadoutSpec("o"), steps=8)
    torch.manual_seed(0)
    old, new = SpikingNetwork(chain), GraphNetwork(graph)
    weights = [values * 4 for values in arrays_of(old).values()]
    load_arrays(old, {f"layer{i}.weight": w for i, w in enumerate(weights)})
    load_arrays(new, {f"population{i}.connection0.weight": w / 2 for i, w in enumerate(weights)})
    pixels = torch.randint(0, 256, (30, 1, 6, 4), dtype=torch.uint8)
    rates, layers = old(pixels, layer_rates=True)
    of_graph, populations = new(pixels, layer_rates=True)
    assert torch.equal(rates, of_graph)
    assert all(torch.equal(a, b) for a, b in zip(layers, populations, strict=True))
    assert rates.any()


@pytest.mark.parametrize("kind", ["count", "membrane", "largest", "sum"])
def test_answers_after_every_step(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = GRAPHS["self"]
    spiking = kind == "count"
    out = replace(given.populations[1], neuron=replace(given.populations[1].neuron, spiking=spiking))
    graph = replace(given, populations=(given.populations[0], out), readout=ReadoutSpec("out", kind))
    network = module_of(graph).eval()
    images = torch.randint(0, 256, (7, *graph.input_shape), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    found, rates = network(images, layer_rates=True, every_step=True)
    last, same_rates = network(images, layer_rates=True)
    assert torch.allclose(found[-1], last, atol=1e-6)
    assert all(torch.equal(a, b) for a, b in zip(rates, same_rates, strict=True))
    over_time: list[Tensor] = []
    monkeypatch.setattr(network, "_read", lambda x, every_step: over_time.append(x) or x[-1])
    network(images)
    for t in range(graph.steps):
        until = over_time[0][: t + 1].flatten(2)
        expected = {
            "count": until.sum(dim=0) / graph.steps,
            "sum": until.sum(dim=0) / graph.steps,
            "membrane": until[-1],
            "largest": until.amax(dim=0),
        }[kind]
        assert torch.allclose(found[t], expected, atol=1e-6)
