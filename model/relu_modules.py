"""A ReLU network given as a torch module: `of_module` makes the checkpoint from which `gradrtl convert --from` starts.

`torch.fx` gives the operations, a pass over a black image their shapes. A ReLU, or several that are added, becomes a
population of spiking neurons. What leads to it becomes connections: convolutions and linear layers, with the batch
normalisation behind them folded into weights and bias; or the identity, where outputs are added to a sum. Average
pools of activations become the pools of what hears them.

Known are Conv2d, Linear, BatchNorm1d and 2d, ReLU, AvgPool2d, AdaptiveAvgPool2d, Flatten, Identity, Dropout, additions,
and their functions. What is computed in place also changes for whoever takes it later, as in torch. The module has to
be in evaluation mode.
"""

from __future__ import annotations

import io
import operator
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np
import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.nn import functional

from ..errors import UserError, require, within
from ..shapes import Pool, shape_of
from .checkpoint import Checkpoint
from .description import ConvSpec, DenseSpec
from .graph import ConnectionSpec, Graph, InputSpec, PopulationSpec, ReadoutSpec, weight_name
from .relu import network_from
from .relu_graph import INTEGRATES, READS

INPUT, OUTPUT = "image", "output"
COMPARED, APART = 16, 1e-3  # random images on which module and network are compared, and their difference at most
SAME = (nn.Identity, nn.Dropout, nn.Dropout2d, nn.Flatten)
ADDS_IN_PLACE = (operator.iadd, "add_")
ADDS = (operator.add, torch.add, "add", *ADDS_IN_PLACE)
RELUS_IN_PLACE = (functional.relu_, torch.relu_, "relu_")
RELUS = (functional.relu, torch.relu, "relu", *RELUS_IN_PLACE)
FLATTENS = (torch.flatten, "flatten", "view", "reshape")
SAME_TENSOR = (*FLATTENS, functional.dropout)
DROPOUT = {"p": 0.5, "training": True, "inplace": False}  # arguments of the function behind the first, in order


@dataclass(frozen=True)
class Synapses:
    """Weights `[out, in, ...]` from the sum of some outputs, each pooled; None: the identity."""

    sources: tuple[str, ...]
    pool: int
    weight: np.ndarray
    spec: DenseSpec | ConvSpec


@dataclass(frozen=True)
class Activations:
    """The sum of what some populations put out, or the image; each the mean over windows of `pool` x `pool`."""

    sources: tuple[str, ...]
    pool: int = 1


@dataclass(frozen=True)
class Sum:
    """What enters a ReLU: connections, some activations as they are, and a bias, `[channels]`.

    `shape` is that before any flattening.
    """

    shape: tuple[int, ...]
    synapses: tuple[Synapses, ...]
    plain: tuple[Activations, ...] = ()
    bias: np.ndarray = field(default_factory=lambda: np.zeros(1))


Value = Activations | Sum


def of_module(module: nn.Module, shape: Sequence[int], steps: int = 8, name: str = "imported") -> Checkpoint:
    """The network of activations of `module`, which takes images `[batch, *shape]` with pixels from 0 to 1.

    `shape` is `(channels, height, width)`. The module puts out one number a class. Thresholds are 1 until the
    conversion measures them.

    Raises
    ------
    UserError
        The module has other operations, or such that no network of rates has; the message names the node. Or it puts
        out other numbers than the network on random images.
    """
    given = shape_of("shape", tuple(shape), (3,))
    require(not module.training, "module", "in training mode", "in evaluation mode: call its eval()")
    try:
        traced = fx.symbolic_trace(module)
    except Exception as error:  # whatever its forward raises on a symbol in place of a tensor
        raise UserError(
            f"module cannot be traced by torch.fx ({_line(error)}): expected a forward without branches"
        ) from None
    try:
        with torch.no_grad(), redirect_stderr(io.StringIO()):  # it prints a traceback of its own
            ShapeProp(traced).propagate(torch.zeros(1, *given))
    except Exception as error:  # whatever torch raises on shapes that do not fit
        raise UserError(f"module does not take images of shape {given} ({_line(error)})") from None
    found = _Reader(traced, given).checkpoint(steps, name)
    _compare(module, found, given)
    return found


def _compared(shape: tuple[int, ...]) -> torch.Tensor:
    """Images `[COMPARED, *shape]` of noise, uint8: pixels of any grey in one half; black and white ones in the other.

    Each channel of each black and white image has its own share of white pixels. Grey noise alone leaves ReLUs at zero
    that other images pass.
    """
    rng = torch.Generator().manual_seed(0)
    half = COMPARED // 2
    grey = torch.randint(0, 256, (half, *shape), generator=rng)
    white = torch.rand((half, shape[0], 1, 1), generator=rng) > torch.rand((half, *shape), generator=rng)
    return torch.cat([grey, 255 * white]).to(torch.uint8)


@torch.no_grad()
def _compare(module: nn.Module, found: Checkpoint, shape: tuple[int, ...]) -> None:
    """`UserError` if a module puts out other numbers than the network that was read from what torch.fx tells of it."""
    images = _compared(shape)
    try:
        expected = module(images.float() / 255).flatten(1)
    except Exception as error:  # whatever its forward raises
        raise UserError(f"module does not take {COMPARED} images at once ({_line(error)})") from None
    apart = float((network_from(found, "plain", 1).eval()(images) - expected).abs().max())
    most = APART * float(expected.abs().max())
    told = f"at most {most:.3g}: torch.fx does not tell, say, that y += x changes what has another name already"
    require(apart <= most, "difference between module and network", f"{apart:.3g}", told)


class _Reader:
    """The values of the nodes read so far, and the populations made of them."""

    def __init__(self, traced: fx.GraphModule, shape: tuple[int, ...]) -> None:
        self.modules = dict(traced.named_modules())
        self.graph, self.shape = traced.graph, shape
        self.values: dict[fx.Node, Value] = {}
        self.tensors: dict[fx.Node, fx.Node] = {}  # of nodes that put out what they are given: which did first
        self.populations: list[PopulationSpec] = []
        self.arrays: dict[str, np.ndarray] = {}
        self.shapes: dict[str, tuple[int, ...]] = {INPUT: shape}

    def checkpoint(self, steps: int, name: str) -> Checkpoint:
        for node in self.graph.nodes:
            with within(f"node {node.name}"):
                if node.op == "placeholder":
                    require(not self.values, "input", "a second one", "one, of images")
                    self.values[node] = Activations((INPUT,))
                elif node.op == "output":
                    found = self._of(node.args[0])
                    require(isinstance(found, Sum), "output", "behind a ReLU or a pool", "that of a last linear layer")
                    assert isinstance(found, Sum)
                    self._population(OUTPUT, found, is_read=True)
                elif (value := self._value(node)) is not None:
                    self.values[node] = value
                    self._remember(node)
        inputs = (InputSpec(INPUT, self.shape),)
        graph = Graph(name, inputs, tuple(self.populations), ReadoutSpec(OUTPUT, "membrane"), steps)
        return Checkpoint(graph, {name: np.ascontiguousarray(a, np.float32) for name, a in self.arrays.items()})

    def _input(self, node: fx.Node, index: int = 0) -> Value:
        """What a node computes with."""
        require(len(node.args) > index, "arguments", ", ".join(node.kwargs) or "none", "inputs by position")
        return self._of(node.args[index])

    def _of(self, argument: Any) -> Value:
        found = self.values.get(argument) if isinstance(argument, fx.Node) else None
        if found is None:
            raise UserError.of("argument", str(argument), "the output of a layer")
        return found

    def _value(self, node: fx.Node) -> Value | None:
        """What a node computes; None for one that is not needed."""
        if node.op == "call_module":
            module = self.modules[str(node.target)]
            x = self._input(node)
            return self._module(node, module, x)
        if node.op in ("call_function", "call_method"):
            return self._call(node)
        require(node.op == "get_attr" and not node.users, "operation", f"{node.op} {node.target}", KNOWN)
        return None

    def _remember(self, node: fx.Node) -> None:
        """Note that `node` puts out the tensor that it is given, or writes into it: then that has other values."""
        module = self.modules[str(node.target)] if node.op == "call_module" else None
        target: Any = node.target if module is None else None
        given = node.args[0] if node.args else None
        asked = node.args[1] if len(node.args) > 1 else node.kwargs.get("inplace")
        writes = (
            target in (*RELUS_IN_PLACE, *ADDS_IN_PLACE)
            or (isinstance(module, nn.ReLU) and module.inplace)
            or (target is functional.relu and asked is True)
        )
        if not isinstance(given, fx.Node) or not (writes or isinstance(module, SAME) or target in SAME_TENSOR):
            return
        self.tensors[node] = self.tensors.get(given, given)
        for other in self.values if writes else ():
            if self.tensors.get(other, other) is self.tensors[node]:
                self.values[other] = self.values[node]

    def _module(self, node: fx.Node, module: nn.Module, x: Value) -> Value:
        if isinstance(module, SAME):
            keeps = not isinstance(module, nn.Flatten) or (module.start_dim, module.end_dim) in ((1, -1), (1, 3))
            require(keeps, "Flatten", f"{module}", "all axes but that of the batch")
            return x
        if isinstance(module, nn.ReLU):
            return self._relu(node, x)
        if isinstance(module, nn.Conv2d | nn.Linear):
            return self._weighted(node, module, x)
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            return _normalised(module, x)
        if isinstance(module, nn.AvgPool2d):
            stride = module.kernel_size if module.stride is None else module.stride
            kept = module.ceil_mode, module.divisor_override
            return self._pooled(node, x, module.kernel_size, stride, module.padding, kept == (False, None))
        if isinstance(module, nn.AdaptiveAvgPool2d):
            return self._adaptive(node, x)
        raise UserError.of("module", type(module).__name__, KNOWN)

    def _call(self, node: fx.Node) -> Value | None:
        target: Any = node.target
        if target in RELUS:
            return self._relu(node, self._input(node))
        if target in ADDS:
            require(not node.kwargs, "arguments", ", ".join(node.kwargs), "none beside what is added")
            a, b = self._input(node), self._input(node, 1)
            shapes = tuple(_shape(one) for one in node.args)
            require(shapes[0] == shapes[1], "shapes of what is added", shapes, "the same")
            return _added(a, b)
        if target in FLATTENS:
            x = self._input(node)
            flat = (1, prod(_shape(node.args[0])))
            require((1, *_shape(node)) == flat, "shape", _shape(node), f"{flat[1:]}: all axes but that of the batch")
            return x
        if target is functional.dropout:
            given = DROPOUT | dict(zip(DROPOUT, node.args[1:], strict=False)) | node.kwargs
            told = "False: training=self.training"
            require(given["training"] is False, "dropout training", given["training"], told)
            return self._input(node)
        if target is functional.adaptive_avg_pool2d:
            return self._adaptive(node, self._input(node))
        if target is functional.avg_pool2d:
            given = dict(zip(("kernel_size", "stride", "padding"), node.args[1:], strict=False)) | node.kwargs
            size: Any = given["kernel_size"]
            other = set(given) - {"kernel_size", "stride", "padding"}
            return self._pooled(
                node, self._input(node), size, given.get("stride") or size, given.get("padding", 0), not other
            )
        if target in ("size", getattr, operator.getitem):
            return None  # the sizes for a view; whoever takes it for a tensor is refused
        raise UserError.of("operation", getattr(target, "__name__", str(target)), KNOWN)

    def _relu(self, node: fx.Node, x: Value) -> Activations:
        if isinstance(x, Activations):
            return x  # activations and pixels are never below 0
        name = str(node.target) if node.op == "call_module" else node.name
        name = node.name if name in (INPUT, OUTPUT, *(spec.name for spec in self.populations)) else name
        self._population(name, x, is_read=False)
        return Activations((name,))

    def _weighted(self, node: fx.Node, module: nn.Conv2d | nn.Linear, x: Value) -> Sum:
        if not isinstance(x, Activations):
            raise UserError.of("input", "a sum without a ReLU", "the image or activations")
        shape = _shape(node.args[0])
        require(isinstance(module, nn.Conv2d) or len(shape) == 1, "input of a Linear", shape, "flattened")
        weight = module.weight.detach().double().numpy()
        spec: DenseSpec | ConvSpec = DenseSpec(len(weight))
        if isinstance(module, nn.Conv2d):
            usual = module.groups == 1 and module.dilation == (1, 1) and module.padding_mode == "zeros"
            require(usual, "convolution", str(module), "groups and dilation of 1, and zeros around the border")
            kernel, stride = (_pair(value) for value in (module.kernel_size, module.stride))
            padding = module.padding
            if isinstance(padding, str):
                odd = all(size % 2 for size in kernel)
                require(padding == "valid" or odd, "kernel", kernel, "odd with the padding same")
                padding = (0, 0) if padding == "valid" else tuple(size // 2 for size in kernel)
            spec = ConvSpec(len(weight), kernel, stride, _pair(padding))
        bias = np.zeros(len(weight)) if module.bias is None else module.bias.detach().double().numpy()
        return Sum(_shape(node), (Synapses(x.sources, x.pool, weight, spec),), (), bias)

    def _pooled(self, node: fx.Node, x: Value, size: Any, stride: Any, padding: Any, plain: bool) -> Activations:
        size, stride, padding = (_pair(value) for value in (size, stride, padding))
        if not isinstance(x, Activations):
            raise UserError.of("pool", "of a sum", "of activations, behind the ReLU")
        require(x.sources != (INPUT,), "pool", "of the image", "of activations")
        fits = plain and size[0] == size[1] and stride == size and padding == (0, 0)
        require(fits, "pool", f"{size}, stride {stride}, padding {padding}", "square, as large as its stride")
        shape = _shape(node.args[0])
        whole = all(side % size[0] == 0 for side in shape[1:])
        require(whole, "pool", size, f"a divisor of the sides of {shape}")
        return replace(x, pool=x.pool * size[0])

    def _adaptive(self, node: fx.Node, x: Value) -> Activations:
        before, after = _shape(node.args[0]), _shape(node)
        size = before[1] // after[1], before[2] // after[2]
        return self._pooled(
            node, x, size, size, 0, tuple(n * k for n, k in zip(after[1:], size, strict=True)) == before[1:]
        )

    def _population(self, name: str, x: Sum, is_read: bool) -> None:
        """Make a population whose neurons hear `x`."""
        number, connections = len(self.populations), []
        synapses = [*x.synapses, *(self._identity(plain, x.shape) for plain in x.plain)]
        for index, one in enumerate(synapses):
            pool = Pool("average", one.pool) if one.pool > 1 else None
            connections.append(ConnectionSpec(one.sources, one.spec, pool=pool))
            self.arrays[weight_name(number, index)] = one.weight
        self.arrays[f"population{number}.bias"] = np.broadcast_to(x.bias, (x.shape[0],))
        neuron = READS if is_read else INTEGRATES
        self.populations.append(PopulationSpec(name, tuple(connections), neuron, bias=True))

    @staticmethod
    def _identity(x: Activations, shape: tuple[int, ...]) -> Synapses:
        one = np.eye(shape[0])
        if len(shape) == 1:
            return Synapses(x.sources, x.pool, one, DenseSpec(shape[0]))
        return Synapses(x.sources, x.pool, one[:, :, None, None], ConvSpec(shape[0], (1, 1), (1, 1), (0, 0)))


KNOWN = (
    "Conv2d, Linear, BatchNorm, ReLU, AvgPool2d, AdaptiveAvgPool2d, Flatten, Identity, Dropout or an addition "
    "(an average pool in place of a max pool)"
)


def _added(a: Value, b: Value) -> Value:
    """The sum of two values: of activations their spikes are added, of sums their connections."""
    if isinstance(a, Activations) and isinstance(b, Activations):
        twice = set(a.sources) & set(b.sources)
        require(not twice, "addition", f"of {', '.join(sorted(twice))} twice", "different activations")
        require(INPUT not in (*a.sources, *b.sources), "addition", "of the image", "activations")
        require(a.pool == b.pool, "pools of what is added", (a.pool, b.pool), "the same")
        return Activations((*a.sources, *b.sources), a.pool)
    if isinstance(a, Activations):
        a, b = b, a
    assert isinstance(a, Sum)
    if isinstance(b, Activations):
        require(INPUT not in b.sources, "addition", "of the image", "activations, or a layer of the image")
        return replace(a, plain=(*a.plain, b))
    require(a.shape == b.shape, "shapes of what is added", (a.shape, b.shape), "the same before they are flattened")
    return Sum(a.shape, (*a.synapses, *b.synapses), (*a.plain, *b.plain), a.bias + b.bias)


def _normalised(module: nn.BatchNorm1d | nn.BatchNorm2d, x: Value) -> Sum:
    if not isinstance(x, Sum) or len(x.synapses) != 1 or x.plain:
        raise UserError.of("normalisation", "of other than one layer", "one behind a convolution or linear layer")
    channels = module.num_features
    require(channels == x.shape[0], "normalisation", f"of {channels} channels", f"{x.shape[0]}, those of its layer")
    mean, variance = module.running_mean, module.running_var
    if mean is None or variance is None:
        raise UserError.of("normalisation", "without statistics", "track_running_stats=True")
    factor = 1 / (variance.double() + module.eps).sqrt().numpy()
    if module.affine:
        factor = factor * module.weight.detach().double().numpy()
    bias = (x.bias - mean.double().numpy()) * factor
    if module.affine:
        bias = bias + module.bias.detach().double().numpy()
    (one,) = x.synapses
    weight = one.weight * factor.reshape(-1, *[1] * (one.weight.ndim - 1))
    return replace(x, synapses=(replace(one, weight=weight),), bias=bias)


def _shape(node: Any) -> tuple[int, ...]:
    """Of what a node puts out for one image, without the batch."""
    found = node.meta.get("tensor_meta") if isinstance(node, fx.Node) else None
    if found is None or not hasattr(found, "shape"):
        raise UserError.of("argument", str(node), "the output of a layer")
    return tuple(int(n) for n in found.shape[1:])


def _line(error: Exception) -> str:
    """What `error` tells, in one line of at most 200 characters."""
    return " ".join(str(error).split())[:200]


def _pair(value: Any) -> tuple[int, int]:
    first, second = value if isinstance(value, tuple | list) else (value, value)
    return int(first), int(second)
