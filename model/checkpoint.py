"""A trained float network as one file: description, weights, and how it was made. No torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .. import archive
from ..checks import fields
from ..errors import require, within
from .connectivity import Census, census
from .description import ConvSpec, Network

KIND = "checkpoint"
NORM = ("gain", "shift", "mean", "variance")


@dataclass(frozen=True)
class Checkpoint:
    """`arrays` are float32: `layer<i>.weight`; if the layer has them, `layer<i>.bias`, `layer<i>.norm.gain`,
    `.shift`, `.mean`, `.variance` (batch normalisation: `(x - mean) / sqrt(variance + 1e-5) * gain + shift`).

    A dense weight is `[out, in]`, a convolution's `[out, in, kh, kw]`; zero means no connection.
    """

    network: Network
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
        """The weights, one array per layer."""
        return [self.arrays[f"layer{index}.weight"] for index in range(len(self.network.layers))]

    @property
    def census(self) -> Census:
        """Counts of its connections."""
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
        }
        return archive.save(path, KIND, header, self.arrays)

    @staticmethod
    def load(path: str | Path) -> Checkpoint:
        """Read a checkpoint; `UserError` if the file is not one, naming the fault."""
        given, arrays = archive.load(path, KIND, _read)
        with within(f"{KIND} file {path}"):
            return Checkpoint(arrays=arrays, **given)


def _read(header: dict[str, Any], claims: archive.Claims) -> dict[str, Any]:
    """The fields of a checkpoint except its arrays, if these have the shapes that its network needs."""
    fields("header", header, ("network", "config", "history", "figures", "command"), ("made_from",))
    network = Network.from_json(header["network"])
    _check(network, {name: (claim.dtype, claim.shape) for name, claim in claims.items()})
    return {**header, "network": network}


def _check(network: Network, arrays: dict[str, tuple[np.dtype, tuple[int, ...]]]) -> None:
    """Names, types and shapes of a checkpoint's arrays are those of `network`; else `UserError`."""
    expected = _array_shapes(network)
    missing, unknown = sorted(expected.keys() - arrays.keys()), sorted(arrays.keys() - expected.keys())
    require(not missing, "checkpoint arrays", f"without {missing[:1]}", f"those of its {len(network.layers)} layers")
    require(not unknown, "checkpoint arrays", f"with {unknown[:1]}", f"those of its {len(network.layers)} layers")
    for name, wanted in expected.items():
        dtype, shape = arrays[name]
        require(dtype == np.float32, f"checkpoint {name} dtype", dtype, "float32")
        require(shape == wanted, f"checkpoint {name} shape", shape, f"{wanted}")


def _array_shapes(network: Network) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for index, (layer, shape) in enumerate(zip(network.layers, network.weight_shapes, strict=True)):
        shapes[f"layer{index}.weight"] = shape
        channels = layer.synapses.channels if isinstance(layer.synapses, ConvSpec) else layer.synapses.outputs
        if layer.synapses.bias:
            shapes[f"layer{index}.bias"] = (channels,)
        if layer.batch_norm:
            shapes |= {f"layer{index}.norm.{name}": (channels,) for name in NORM}
    return shapes
