"""Description of a float network: layers, neurons, shapes, and their JSON form. No torch, no weights.

Its classes mirror those of `quantize/network.py`, to which a trained network is converted.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import prod
from typing import Any

from ..checks import choice, fields, flag, items, name, real, whole
from ..errors import UserError, require, within
from ..shapes import LARGEST_LAYERS, LARGEST_SIZE, LARGEST_STEPS, Conv2dGeometry, Pool, shape_of


@dataclass(frozen=True)
class FloatNeuron:
    """A membrane: `u = decay * v + gain * I`, a spike where `u >= threshold`, then the reset.

    lif: `decay = 1 - 1 / tau`, and `gain = 1 / tau` if the input decays too (the paper's neuron), else 1.
    if: both are 1. Hard reset to `v_reset`, where a frame also starts; soft reset subtracts the threshold.
    """

    kind: str = "lif"
    tau: float = 2.0
    decay_input: bool = True
    threshold: float = 1.0
    reset: str = "hard"
    v_reset: float = 0.0

    def __post_init__(self) -> None:
        choice("neuron.kind", self.kind, ("lif", "if"))
        choice("neuron.reset", self.reset, ("hard", "soft"))
        object.__setattr__(self, "decay_input", flag("neuron.decay_input", self.decay_input))
        for field in ("tau", "threshold", "v_reset"):
            value = real(f"neuron.{field}", getattr(self, field), "one finite number for all neurons of the layer")
            object.__setattr__(self, field, value)
        require(self.tau > 1, "neuron.tau", self.tau, "above 1")
        require(self.threshold > self.v_reset, "neuron.threshold", self.threshold, f"above v_reset = {self.v_reset}")
        require(self.reset == "hard" or self.v_reset == 0, "neuron.v_reset", self.v_reset, "0 if the reset is soft")

    @property
    def decay(self) -> float:
        return 1 - 1 / self.tau if self.kind == "lif" else 1.0

    @property
    def gain(self) -> float:
        return 1 / self.tau if self.kind == "lif" and self.decay_input else 1.0


@dataclass(frozen=True)
class DenseSpec:
    """All-to-all synapses onto `outputs` neurons."""

    outputs: int
    bias: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "outputs", whole("dense.outputs", self.outputs, 1, LARGEST_SIZE))
        object.__setattr__(self, "bias", flag("dense.bias", self.bias))

    def weight_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (self.outputs, prod(shape))

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (self.outputs,)


@dataclass(frozen=True)
class ConvSpec:
    """Cross-correlation onto `channels` maps, zeros around the border."""

    channels: int
    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (1, 1)
    bias: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", whole("conv.channels", self.channels, 1, LARGEST_SIZE))
        object.__setattr__(self, "bias", flag("conv.bias", self.bias))
        for field in ("kernel", "stride", "padding"):
            object.__setattr__(self, field, getattr(self.geometry, field))

    @property
    def geometry(self) -> Conv2dGeometry:
        return Conv2dGeometry(self.kernel, self.stride, self.padding)

    def weight_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (self.channels, shape[0], *self.kernel)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return self.geometry.output_shape(self.channels, shape)


@dataclass(frozen=True)
class LayerSpec:
    """Dropout of the input, synapses, batch normalisation of the currents, neurons, pool of the spikes."""

    synapses: DenseSpec | ConvSpec
    neuron: FloatNeuron = FloatNeuron()
    batch_norm: bool = False
    dropout: float = 0.0
    pool: Pool | None = None

    def __post_init__(self) -> None:
        for field, value, kinds in (
            ("synapses", self.synapses, (DenseSpec, ConvSpec)),
            ("neuron", self.neuron, (FloatNeuron,)),
            ("pool", self.pool, (Pool, type(None))),
        ):
            if not isinstance(value, kinds):
                accepted = " or ".join(kind.__name__ for kind in kinds)
                raise UserError.of(f"layer.{field}", type(value).__name__, f"a {accepted}")
        object.__setattr__(self, "batch_norm", flag("layer.batch_norm", self.batch_norm))
        object.__setattr__(self, "dropout", real("layer.dropout", self.dropout))
        require(0 <= self.dropout < 1, "layer.dropout", self.dropout, "at least 0, below 1")

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        shape = self.synapses.output_shape(shape)
        return self.pool.output_shape(shape) if self.pool else shape


@dataclass(frozen=True)
class Network:
    """A chain of layers under one static image, run for `steps`; spikes of the outputs are summed over groups of `vote`
    neurons.
    """

    name: str
    input_shape: tuple[int, ...]
    layers: tuple[LayerSpec, ...]
    steps: int = 8
    vote: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", name("network.name", self.name, least=0))
        object.__setattr__(self, "input_shape", shape_of("network.input_shape", self.input_shape, (3,)))
        object.__setattr__(self, "steps", whole("network.steps", self.steps, 1, LARGEST_STEPS))
        object.__setattr__(self, "vote", whole("network.vote", self.vote, 1, LARGEST_SIZE))
        layers = tuple(items("network.layers", self.layers, LARGEST_LAYERS))
        require(len(layers) >= 1, "network.layers", 0, f"1 to {LARGEST_LAYERS}")
        for layer in layers:
            if not isinstance(layer, LayerSpec):
                raise UserError.of("network.layers", type(layer).__name__, "a LayerSpec each")
        object.__setattr__(self, "layers", layers)
        outputs = prod(self.shapes[-1])
        require(outputs % self.vote == 0, "network.vote", self.vote, f"a divisor of {outputs}")
        require(self.layers[-1].pool is None, "network.layers[-1].pool", self.layers[-1].pool, "none")

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """The input's shape, then each layer's output shape, pooled."""
        shapes = [self.input_shape]
        for layer in self.layers:
            shapes.append(layer.output_shape(shapes[-1]))
        return tuple(shapes)

    @property
    def weight_shapes(self) -> tuple[tuple[int, ...], ...]:
        return tuple(layer.synapses.weight_shape(s) for layer, s in zip(self.layers, self.shapes[:-1], strict=True))

    @property
    def classes(self) -> int:
        return prod(self.shapes[-1]) // self.vote

    def to_json(self) -> dict[str, Any]:
        body = asdict(self)
        for entry, layer in zip(body["layers"], self.layers, strict=True):
            entry["synapses"]["kind"] = "conv" if isinstance(layer.synapses, ConvSpec) else "dense"
        return body

    @staticmethod
    def from_json(body: Any) -> Network:
        """Inverse of `to_json`; `UserError` names the field that is wrong."""
        body = fields("network", body, ("name", "input_shape", "layers", "steps", "vote"))
        layers = []
        for index, entry in enumerate(items("network.layers", body["layers"], LARGEST_LAYERS)):
            with within(f"layers[{index}]"):
                layers.append(_layer(entry))
        return Network(body["name"], body["input_shape"], tuple(layers), body["steps"], body["vote"])


def _layer(entry: Any) -> LayerSpec:
    fields("layer", entry, ("synapses", "neuron", "batch_norm", "dropout", "pool"))
    synapses = entry["synapses"]
    kind = synapses.get("kind") if isinstance(synapses, dict) else synapses
    choice("synapses.kind", kind, ("dense", "conv"))
    made: DenseSpec | ConvSpec
    if kind == "conv":
        given = fields("synapses", synapses, ("kind", "channels", "kernel", "stride", "padding", "bias"))
        made = ConvSpec(given["channels"], given["kernel"], given["stride"], given["padding"], given["bias"])
    else:
        given = fields("synapses", synapses, ("kind", "outputs", "bias"))
        made = DenseSpec(given["outputs"], given["bias"])
    neuron = fields("neuron", entry["neuron"], ("kind", "tau", "decay_input", "threshold", "reset", "v_reset"))
    pool = entry["pool"]
    if pool is not None:
        pool = Pool(**fields("pool", pool, ("kind", "size")))
    return LayerSpec(made, FloatNeuron(**neuron), entry["batch_norm"], entry["dropout"], pool)


def _conv(channels: int, pool: bool = False) -> LayerSpec:
    return LayerSpec(ConvSpec(channels), batch_norm=True, pool=Pool() if pool else None)


def _mnist_conv(name: str, width: int, steps: int, vote: int = 1) -> Network:
    layers = _conv(width, pool=True), _conv(2 * width, pool=True), LayerSpec(DenseSpec(10 * vote))
    return Network(name, (1, 28, 28), layers, steps, vote)


PRESETS = {
    network.name: network
    for network in (
        Network("mnist-mlp", (1, 28, 28), (LayerSpec(DenseSpec(800)), LayerSpec(DenseSpec(10)))),
        _mnist_conv("mnist-conv", 16, steps=8),
        _mnist_conv("mnist-conv-wide", 64, steps=4, vote=4),
        Network(
            "cifar10-small",
            (3, 32, 32),
            (*(_conv(channels, pool=True) for channels in (32, 64, 64)), LayerSpec(DenseSpec(100))),
            steps=4,
            vote=10,
        ),
        Network(  # Chen et al. 2021
            "cifar10-paper",
            (3, 32, 32),
            (
                *(_conv(256, pool=place in (2, 5)) for place in range(6)),
                LayerSpec(DenseSpec(2048), dropout=0.5),
                LayerSpec(DenseSpec(100), dropout=0.5),
            ),
            steps=8,
            vote=10,
        ),
    )
}


def preset(name: str) -> Network:
    """The preset called `name`."""
    require(name in PRESETS, "network", name, ", ".join(PRESETS))
    return PRESETS[name]
