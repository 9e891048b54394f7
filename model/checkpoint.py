"""A trained float network as one file: description, weights, and how it was made. No torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .. import archive
from ..checks import fields, is_whole
from ..errors import require, within
from .connectivity import Census, census, census_of_graph
from .description import ConvSpec, Network
from .graph import Graph, PopulationSpec, weight_name
from .relu_graph import METHODS, MOST_LEVELS

KIND = "checkpoint"
GRAPHS = 2  # version of the header of graphs; that of a chain has none
NORM = ("gain", "shift", "mean", "variance")


@dataclass(frozen=True)
class TrainedPopulation:
    """What was trained of a population of a graph.

    weights
        Float32, one array a connection, in the order of `spec.inputs`.
    bias
        Float32 `[channels]`, added after the normalisation; zeros where there is none.
    norm
        `gain`, `shift`, `mean` and `variance` of the sum of all connections, float32 `[channels]`; None without.
    decays
        Float32 `[1]`, `[channels]` or `[neurons]`: `decay`, and where the neuron has them `current.decay` and
        `adaptation.decay`, learnt or fixed.
    """

    spec: PopulationSpec
    shape: tuple[int, ...]
    weights: tuple[np.ndarray, ...]
    bias: np.ndarray
    norm: dict[str, np.ndarray] | None
    decays: dict[str, np.ndarray]


@dataclass(frozen=True)
class Checkpoint:
    """`arrays` are float32: `layer<i>.weight`; if the layer has them, `layer<i>.bias`, `layer<i>.norm.gain`,
    `.shift`, `.mean`, `.variance` (batch normalisation: `(x - mean) / sqrt(variance + 1e-5) * gain + shift`).

    Of a graph: `population<p>.connection<c>.weight`, numbered in the order of the description; where the population
    has them `population<p>.bias`, `.norm.gain` and so on (of the sum of its connections, before the bias), and the
    learnt `population<p>.decay`, `.current.decay`, `.adaptation.decay`, `[1]`, `[channels]` or `[neurons]`.

    A dense weight is `[out, in]`, a convolution's `[out, in, kh, kw]`; zero is a connection that is not there.
    """

    network: Network | Graph
    arrays: dict[str, np.ndarray]
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)  # one row per epoch
    figures: dict[str, Any] = field(default_factory=dict)  # measured at the end
    command: str = ""
    made_from: dict[str, Any] = field(default_factory=dict)  # digests of data and sources, version of torch

    def __post_init__(self) -> None:
        for name, kind in (
            ("config", dict),
            ("history", list),
            ("figures", dict),
            ("command", str),
            ("made_from", dict),
        ):
            value = getattr(self, name)
            require(isinstance(value, kind), f"checkpoint {name}", value, f"a {kind.__name__}")
        require(all(isinstance(row, dict) for row in self.history), "checkpoint history", self.history, "dicts")
        for name, array in self.arrays.items():
            require(isinstance(array, np.ndarray), f"checkpoint {name}", type(array).__name__, "a NumPy array")
        _check(self.network, {name: (array.dtype, array.shape) for name, array in self.arrays.items()})
        for name, array in self.arrays.items():
            require(bool(np.isfinite(array).all()), f"checkpoint {name}", "not finite", "finite numbers")

    @property
    def weights(self) -> list[np.ndarray]:
        """The weights, one array a layer, or for a graph a connection."""
        if isinstance(self.network, Graph):
            return [self.arrays[name] for name in self.network.weight_shapes]
        return [self.arrays[f"layer{index}.weight"] for index in range(len(self.network.layers))]

    @property
    def weights_digest(self) -> str:
        """SHA-256, in hexadecimal, of all arrays."""
        return archive.digest({}, self.arrays)

    @property
    def conversion(self) -> tuple[str, int] | None:
        """Of a converted network: what stood for its neurons in training, and with how many levels; else None."""
        made = self.figures.get("conversion")
        method, levels = (made.get("method"), made.get("levels", 0)) if isinstance(made, dict) else ("", 0)
        known = method in METHODS and is_whole(levels) and 1 <= levels <= MOST_LEVELS
        return (str(method), int(levels)) if known else None

    @property
    def function_digest(self) -> str:
        """SHA-256, in hexadecimal, of all that its answers depend on: arrays, description, conversion."""
        about = {"network": self.network.to_json(), "conversion": self.conversion}
        return archive.digest(about, self.arrays)

    @property
    def populations(self) -> list[TrainedPopulation]:
        """The populations of a graph, in the order of its description, with their arrays."""
        assert isinstance(self.network, Graph), "a chain has layers"
        found = []
        for number, spec in enumerate(self.network.populations):
            of = partial("population{}.{}".format, number)
            nothing = np.zeros(self.network.channels(spec.name), np.float32)
            decays = {
                name: self.arrays.get(of(name), np.array([value], np.float32))
                for name, value in spec.neuron.decays.items()
            }
            found.append(
                TrainedPopulation(
                    spec,
                    self.network.shapes[spec.name],
                    tuple(self.arrays[weight_name(number, index)] for index in range(len(spec.inputs))),
                    self.arrays.get(of("bias"), nothing),
                    {name: self.arrays[of(f"norm.{name}")] for name in NORM} if spec.batch_norm else None,
                    decays,
                )
            )
        return found

    @property
    def origin(self) -> dict[str, Any]:
        """What a network made from it tells of it: recipe and seed, where training started, command, weights.

        `data`: digest of the training set; `unseen`: images at its end that the network was not trained on, None if a
        group was held out.
        """
        found: dict[str, Any] = {key: self.config[key] for key in ("recipe", "seed") if key in self.config}
        if "data" in self.made_from:
            found["data"] = self.made_from["data"]
            by_group = self.config.get("held_out_group") is not None
            found["unseen"] = self.made_from.get("unseen", None if by_group else self.config.get("held_out"))
        for name in ("start", "teacher", "teachers", "recordings"):  # how recordings were made: others are made alike
            if name in self.made_from:
                found[name] = self.made_from[name]
        return {**found, "command": self.command, "weights": self.weights_digest}

    @property
    def census(self) -> Census:
        """Its connections, counted."""
        if isinstance(self.network, Graph):
            return census_of_graph(self.network, self.weights)
        spontaneous = []
        for index, layer in enumerate(self.network.layers):
            has_bias = layer.synapses.bias or layer.batch_norm
            spontaneous.append(np.full(len(self.weights[index]), has_bias))
        return census(self.weights, spontaneous)

    def save(self, path: str | Path) -> str:
        """Write the checkpoint; returns its digest."""
        header = {
            "network": self.network.to_json(),
            "config": self.config,
            "history": self.history,
            "figures": self.figures,
            "command": self.command,
            **({"made_from": self.made_from} if self.made_from else {}),  # older files have none
            **({"version": GRAPHS} if isinstance(self.network, Graph) else {}),
        }
        return archive.save(path, KIND, header, self.arrays)

    @staticmethod
    def load(path: str | Path) -> Checkpoint:
        """Read a checkpoint; `UserError` if the file is not one, naming the fault."""
        given, arrays = archive.load(path, KIND, _read)
        with within(f"{KIND} file {path}"):
            return Checkpoint(arrays=arrays, **given)


def _read(header: dict[str, Any], claims: archive.Claims) -> dict[str, Any]:
    """The fields of a checkpoint but for its arrays, if these claim to be what its network needs."""
    fields("header", header, ("network", "config", "history", "figures", "command"), ("made_from", "version"))
    version = header.get("version", 1)
    require(version in (1, GRAPHS), "version", version, f"at most {GRAPHS}: a newer gradrtl wrote this file")
    network = (Network if version == 1 else Graph).from_json(header["network"])
    _check(network, {name: (claim.dtype, claim.shape) for name, claim in claims.items()})
    return {**{name: value for name, value in header.items() if name != "version"}, "network": network}


def _check(network: Network | Graph, arrays: dict[str, tuple[np.dtype, tuple[int, ...]]]) -> None:
    """Names, types and shapes of a checkpoint's arrays are those of `network`; else `UserError`."""
    expected = array_shapes(network)
    missing, unknown = sorted(expected.keys() - arrays.keys()), sorted(arrays.keys() - expected.keys())
    require(not missing, "checkpoint arrays", f"without {missing[:1]}", f"the {len(expected)} of its network")
    require(not unknown, "checkpoint arrays", f"with {unknown[:1]}", f"the {len(expected)} of its network")
    for name, wanted in expected.items():
        dtype, shape = arrays[name]
        require(dtype == np.float32, f"checkpoint {name} dtype", dtype, "float32")
        require(shape == wanted, f"checkpoint {name} shape", shape, f"{wanted}")


def array_shapes(network: Network | Graph) -> dict[str, tuple[int, ...]]:
    """Name and shape of each array of a checkpoint of `network`."""
    if isinstance(network, Graph):
        return _arrays_of_graph(network)
    shapes: dict[str, tuple[int, ...]] = {}
    for index, (layer, shape) in enumerate(zip(network.layers, network.weight_shapes, strict=True)):
        shapes[f"layer{index}.weight"] = shape
        channels = layer.synapses.channels if isinstance(layer.synapses, ConvSpec) else layer.synapses.outputs
        if layer.synapses.bias:
            shapes[f"layer{index}.bias"] = (channels,)
        if layer.batch_norm:
            shapes |= {f"layer{index}.norm.{name}": (channels,) for name in NORM}
    return shapes


def _arrays_of_graph(graph: Graph) -> dict[str, tuple[int, ...]]:
    shapes = dict(graph.weight_shapes)
    for number, population in enumerate(graph.populations):
        where, channels = f"population{number}", (graph.channels(population.name),)
        if population.bias:
            shapes[f"{where}.bias"] = channels
        if population.batch_norm:
            shapes |= {f"{where}.norm.{name}": channels for name in NORM}
        if population.neuron.learnt != "fixed":
            shapes |= {f"{where}.{name}": (graph.decay_size(population),) for name in population.neuron.decays}
    return shapes
