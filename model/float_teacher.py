"""A network that only teaches: float activations that no spiking neuron stands for (`gradrtl teacher`).

As in Jordan 2024 ("94% on CIFAR-10 in 3.29 Seconds on a Single GPU", Keller Jordan, arXiv 2404.00498): components of
patches of 2 x 2 pixels, then three groups of two convolutions of 3 x 3, with max pools and GELUs. GELUs and max pools
learn faster than ReLUs and average pools, which a conversion needs (docs/conversion.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .. import archive
from ..checks import fields, whole, wholes
from ..errors import require, within
from ..shapes import LARGEST_SIZE
from .teacher_config import TeacherConfig, widths_of

KIND = "teacher"
SMALLEST = 9  # side of an image, in pixels: one is left behind all pools
PATCH = 2  # pixels: side of the first kernels
LARGEST = archive.LARGEST_TOTAL // 2  # bytes of all weights
LONGEST_COMMAND = 1 << 16  # characters
LOGITS = 9.0  # what outputs are divided by
NORM_MOMENTUM, NORM_EPSILON = 0.4, 1e-5


class TeacherNetwork(nn.Module):
    """Images uint8 `[batch, channels, height, width]` -> logits `[batch, classes]`.

    `mean` and `deviation` are those of the channels of the training images, as pixels of 0 to 1.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, shape: Sequence[int], classes: int, widths: Sequence[int]) -> None:
        super().__init__()
        channels = shape[0]
        first = 2 * channels * PATCH**2  # each component with both signs
        self.patches = nn.Conv2d(channels, first, PATCH)
        before = (first, *widths[:-1])
        self.groups = nn.Sequential(*(group(inputs, width) for inputs, width in zip(before, widths, strict=True)))
        self.output = nn.Linear(widths[-1], classes, bias=False)
        self.register_buffer("mean", torch.zeros(channels, 1, 1))
        self.register_buffer("deviation", torch.ones(channels, 1, 1))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def first_bias(self) -> nn.Parameter:
        """Biases of the first convolution."""
        bias = self.patches.bias
        assert isinstance(bias, nn.Parameter)
        return bias

    def forward(self, images: Tensor) -> Tensor:
        pixels = ((images.float() / 255 - self.mean) / self.deviation).contiguous(memory_format=torch.channels_last)
        maps = self.groups(nn.functional.gelu(self.patches(pixels)))
        return self.output(maps.amax(dim=(2, 3))) / LOGITS


def group(inputs: int, outputs: int) -> nn.Sequential:
    """Two convolutions, with a max pool behind the first.

    Each begins as the identity of all maps that it hears, unless it has fewer than that.
    """

    def convolution(inputs: int, outputs: int) -> nn.Conv2d:
        made = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        if outputs >= inputs:
            nn.init.dirac_(made.weight.data[:inputs])
        return made

    def norm() -> nn.BatchNorm2d:
        made = nn.BatchNorm2d(outputs, eps=NORM_EPSILON, momentum=NORM_MOMENTUM)
        made.weight.requires_grad_(False)
        return made

    first = convolution(inputs, outputs), nn.MaxPool2d(2), norm(), nn.GELU()
    return nn.Sequential(*first, convolution(outputs, outputs), norm(), nn.GELU())


@dataclass(frozen=True)
class FloatTeacher:
    """A trained network that only teaches, as its file has it.

    Attributes
    ----------
    input_shape, classes
        Of the images that it knows.
    config
        The `TeacherConfig` of its training, as JSON.
    history
        A row for each epoch.
    command, made_from
        As of a checkpoint.
    arrays
        float32, by their names in `TeacherNetwork.state_dict()`.
    """

    input_shape: tuple[int, ...]
    classes: int
    config: dict[str, Any]
    history: list[dict[str, Any]]
    command: str
    made_from: dict[str, Any]
    arrays: dict[str, np.ndarray]

    def __post_init__(self) -> None:
        for name, kind in (("config", dict), ("history", list), ("command", str), ("made_from", dict)):
            value = getattr(self, name)
            require(isinstance(value, kind), name, value, f"a {kind.__name__}")
        require(all(isinstance(row, dict) for row in self.history), "history", self.history, "dicts")
        require(len(self.command) <= LONGEST_COMMAND, "command", len(self.command), f"{LONGEST_COMMAND} characters")
        for name, array in self.arrays.items():
            require(bool(np.isfinite(array).all()), name, "not finite", "finite numbers")
            least = 0 if name.endswith("running_var") else -np.inf
            require(bool((array >= least).all()), name, float(array.min()), "0 or above")
        deviation = self.arrays["deviation"]
        require(bool((deviation > 0).all()), "deviation", float(deviation.min()), "above 0")

    @property
    def network(self) -> TeacherNetwork:
        """In evaluation mode."""
        made = TeacherNetwork(self.input_shape, self.classes, widths_of(self.config["widths"]))
        state = made.state_dict()
        made.load_state_dict(state | {name: torch.from_numpy(array) for name, array in self.arrays.items()})
        return made.eval()

    @property
    def function_digest(self) -> str:
        """SHA-256, in hexadecimal, of all that its answers depend on."""
        about = {"input_shape": self.input_shape, "classes": self.classes, "widths": self.config["widths"]}
        return archive.digest(about, self.arrays)

    @property
    def origin(self) -> dict[str, Any]:
        """What a network that was taught by it tells of it."""
        return {"seed": self.config["seed"], "command": self.command, "weights": self.function_digest}

    def save(self, path: str | Path) -> str:
        """Write the file; returns its digest."""
        names = ("input_shape", "classes", "config", "history", "command", "made_from")
        return archive.save(path, KIND, {name: getattr(self, name) for name in names}, self.arrays)

    @staticmethod
    def load(path: str | Path) -> FloatTeacher:
        """Read a file; `UserError` if it is not one, naming the fault."""
        given, arrays = archive.load(path, KIND, _read)
        with within(f"{KIND} file {path}"):
            return FloatTeacher(arrays=arrays, **given)


def floats(network: TeacherNetwork) -> dict[str, Tensor]:
    """Its own weights, biases and statistics, by name."""
    return {name: value for name, value in network.state_dict().items() if value.is_floating_point()}


def arrays_of(network: TeacherNetwork) -> dict[str, np.ndarray]:
    """Copies of its weights, biases and statistics, by name."""
    return {name: value.cpu().numpy().copy() for name, value in floats(network).items()}


def require_images(shape: Sequence[int]) -> None:
    """`UserError` for images that are too small for the pools."""
    require(min(shape[1:]) >= SMALLEST, "image shape", tuple(shape), f"{SMALLEST} pixels or more a side")


def require_room(shape: Sequence[int], classes: int, widths: str) -> None:
    """`UserError` for widths with which a file would be too large to be read."""
    size = sum(4 * prod(one) for one in _shapes(shape, classes, widths).values())
    require(size <= LARGEST, "widths", widths, f"such that weights take {LARGEST} bytes at most, not {size}")


def _shapes(shape: Sequence[int], classes: int, widths: str) -> dict[str, tuple[int, ...]]:
    """Of all arrays, by name."""
    with torch.device("meta"):
        made = TeacherNetwork(shape, classes, widths_of(widths))
    return {name: tuple(value.shape) for name, value in floats(made).items()}


def _read(header: dict[str, Any], claims: archive.Claims) -> dict[str, Any]:
    """The fields of a file but for its arrays, if these claim to be those of its network."""
    fields("header", header, ("input_shape", "classes", "config", "history", "command", "made_from"))
    shape = wholes("input_shape", header["input_shape"], 1, LARGEST_SIZE)
    require(len(shape) == 3, "input_shape", shape, "(channels, height, width)")
    require_images(shape)
    classes = whole("classes", header["classes"], 1, LARGEST_SIZE)
    with within("config"):
        config = TeacherConfig.from_json(header["config"])
    expected = _shapes(shape, classes, config.widths)
    require(claims.keys() == expected.keys(), "arrays", sorted(claims)[:3], f"the {len(expected)} of its network")
    for name, wanted in expected.items():
        require(claims[name].dtype == np.float32, f"{name} dtype", claims[name].dtype, "float32")
        require(claims[name].shape == wanted, f"{name} shape", claims[name].shape, f"{wanted}")
    return {**header, "input_shape": shape, "classes": classes, "config": config.to_json()}
