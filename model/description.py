"""What a float network is, in words that JSON can carry: layers, neurons, shapes. No torch, no weights.

Its classes mirror those of `quantize/network.py`, to which a trained network is turned.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import prod
from typing import Any

from ..errors import UserError, require


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
        require(self.kind in ("lif", "if"), "neuron.kind", self.kind, "lif or if")
        require(self.tau > 1, "neuron.tau", self.tau, "above 1")
        require(self.reset in ("hard", "soft"), "neuron.reset", self.reset, "hard or soft")
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
        require(type(self.outputs) is int, "dense.outputs", self.outputs, "a whole number")
        require(1 <= self.outputs <= 1 << 16, "dense.outputs", self.outputs, "1 to 65536")

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
        require(type(self.channels) is int, "conv.channels", self.channels, "a whole number")
        require(1 <= self.channels <= 1 << 16, "conv.channels", self.channels, "1 to 65536")
        for name in ("kernel", "stride", "padding"):
            pair = getattr(self, name)
            require(len(pair) == 2 and all(type(n) is int for n in pair), f"conv.{name}", pair, "two whole numbers")
        require(min(self.kernel) >= 1, "conv.kernel", self.kernel, "at least 1")
        require(min(self.stride) >= 1, "conv.stride", self.stride, "at least 1")
        fits = all(0 <= p < k for p, k in zip(self.padding, self.kernel, strict=True))
        require(fits, "conv.padding", self.padding, f"0 to one less than the kernel {self.kernel}")

    def weight_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (self.channels, shape[0], *self.kernel)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        require(len(shape) == 3, "conv input shape", shape, "(channels, height, width)")
        sizes = zip(shape[1:], self.padding, self.kernel, self.stride, strict=True)
        size = tuple((n + 2 * p - k) // s + 1 for n, p, k, s in sizes)
        require(min(size) >= 1, "conv output size", size, "at least 1: the kernel must fit its padded input")
        return (self.channels, *size)


@dataclass(frozen=True)
class Pool:
    """`max` (OR) or `average` of spikes over `size` x `size` windows, stride `size`, incomplete windows dropped."""

    kind: str = "max"
    size: int = 2

    def __post_init__(self) -> None:
        require(self.kind in ("max", "average"), "pool.kind", self.kind, "max or average")
        require(1 <= self.size <= 16, "pool.size", self.size, "1 to 16")

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        require(len(shape) == 3, "pool input shape", shape, "(channels, height, width)")
        require(min(shape[1:]) >= self.size, "pool.size", self.size, f"at most the map size {shape[1:]}")
        return (shape[0], shape[1] // self.size, shape[2] // self.size)


@dataclass(frozen=True)
class LayerSpec:
    """Dropout of the input, synapses, batch normalisation of the currents, neurons, pool of the spikes."""

    synapses: DenseSpec | ConvSpec
    neuron: FloatNeuron = FloatNeuron()
    batch_norm: bool = False
    dropout: float = 0.0
    pool: Pool | None = None

    def __post_init__(self) -> None:
        require(0 <= self.dropout < 1, "layer.dropout", self.dropout, "at least 0, below 1")

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        shape = self.synapses.output_shape(shape)
        return self.pool.output_shape(shape) if self.pool else shape


@dataclass(frozen=True)
class Network:
    """A chain of layers under one static image, run for `steps`; outputs are counted in groups of `vote` neurons."""

    name: str
    input_shape: tuple[int, ...]
    layers: tuple[LayerSpec, ...]
    steps: int = 8
    vote: int = 1

    def __post_init__(self) -> None:
        require(len(self.layers) >= 1, "network.layers", len(self.layers), "at least 1")
        require(1 <= self.steps <= 255, "network.steps", self.steps, "1 to 255")
        whole = all(type(n) is int for n in (*self.input_shape, self.steps, self.vote))
        require(whole, "network.input_shape, steps, vote", (self.input_shape, self.steps, self.vote), "whole numbers")
        require(len(self.input_shape) == 3, "network.input_shape", self.input_shape, "(channels, height, width)")
        outputs = prod(self.shapes[-1])
        require(self.vote >= 1 and outputs % self.vote == 0, "network.vote", self.vote, f"a divisor of {outputs}")
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
    def from_json(body: dict[str, Any]) -> Network:
        try:
            layers = tuple(_layer(entry) for entry in body["layers"])
            return Network(body["name"], tuple(body["input_shape"]), layers, body["steps"], body["vote"])
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(f"network description: incomplete or unknown field ({error!r})") from None


def _layer(entry: dict[str, Any]) -> LayerSpec:
    synapses: dict[str, Any] = dict(entry["synapses"])
    if synapses.pop("kind") == "conv":
        synapses |= {name: tuple(synapses[name]) for name in ("kernel", "stride", "padding")}
        kind: DenseSpec | ConvSpec = ConvSpec(**synapses)
    else:
        kind = DenseSpec(**synapses)
    pool = Pool(**entry["pool"]) if entry["pool"] else None
    return LayerSpec(kind, FloatNeuron(**entry["neuron"]), entry["batch_norm"], entry["dropout"], pool)


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
