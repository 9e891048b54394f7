"""Modules of torch as records. Nothing here imports torch: modules are known by the names of their classes."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...errors import UserError, require
from .neurons import SPIKING
from .records import GRAPH, Record

PLAIN = ("Linear", "Conv1d", "Conv2d", "Flatten", "AvgPool2d", "SumPool2d")
MAX = "MaxPool2d"
NORMS = ("BatchNorm1d", "BatchNorm2d")
IGNORED = ("Dropout", "Dropout2d", "Identity")  # they do nothing when a trained network runs
WEIGHTED = ("Linear", "Affine", "Conv1d", "Conv2d")


def array(value: Any) -> np.ndarray:
    """A tensor, parameter or number as float64."""
    return np.asarray(value.detach().cpu().numpy() if hasattr(value, "detach") else value, dtype=np.float64)


def time_constant(decay: np.ndarray) -> np.ndarray:
    """In steps, so that a state keeps `decay` of itself in a step of the integrator euler; infinite for 1."""
    with np.errstate(divide="ignore"):
        return np.asarray(1.0 / (1.0 - decay))


def sequence(
    model: Any,
    shape: Sequence[int],
    neuron: Callable[[str, Any, bool], Record | None],
    framework: str,
    states_apart: bool = False,
) -> Record:
    """A chain of modules as a graph.

    Parameters
    ----------
    model
        A module whose children run one after the other, such as `torch.nn.Sequential`.
    shape
        That of one sample in one step, without an axis of the batch.
    neuron
        From the name of a module, the module, and whether it is the last, to the record of its neurons; None where it
        has none.
    framework
        Is named in errors.
    states_apart
        Whether neurons that are used twice have a state for each use.

    Raises
    ------
    UserError
        A module is none of those that can be imported; neurons are used twice, with one state.
    """
    given = {name: part for name, part in model._modules.items() if part is not None}  # children may be used twice
    children = [(name, part) for name, part in given.items() if type(part).__name__ not in IGNORED]
    require(bool(children), "modules", "none", "a module whose children run one after the other")
    nodes: dict[str, Record] = {_free("input", given): Record("Input", {"shape": np.array(shape)})}
    users: dict[int, str] = {}  # names of modules, by the neurons whose state they have
    for index, (name, part) in enumerate(children):
        kind = type(part).__name__
        if kind in NORMS:
            last = next(reversed(nodes))
            nodes[last] = _normalised(name, nodes[last], part)
            continue
        if kind == MAX:
            before = nodes[next(reversed(nodes))].type
            pooled = before in (*SPIKING, GRAPH, MAX)
            require(pooled, f"module {name} behind", before, "neurons: spikes are pooled, no sums")
            nodes |= _max_pool(f"module {name}", name, _free(f"{name} sum", given), part)
            continue
        made = _plain(kind, part) if kind in PLAIN else neuron(name, part, index == len(children) - 1)
        if made is None:
            known = ", ".join((*PLAIN, MAX, *NORMS))
            raise UserError.of(f"module {name}", kind, f"{known}, or neurons of {framework}")
        if kind not in PLAIN:
            user = users.setdefault(id(getattr(part, "sub_module", part)), name)
            apart = states_apart or user == name
            require(apart, f"module {name}", f"module {user} once more", "neurons of its own: the two share one state")
        nodes[name] = made
    nodes[_free("output", given)] = Record("Output")
    return Record(GRAPH, {}, nodes, tuple(zip(nodes, list(nodes)[1:], strict=False)))


def _free(name: str, taken: Container[str]) -> str:
    """`name`, or what no other node is called."""
    while name in taken:
        name += "_"
    return name


def _plain(kind: str, part: Any) -> Record:
    """A module without state."""
    if kind == "Flatten":
        require(part.start_dim == 1, "Flatten start_dim", part.start_dim, "1, behind the axis of the batch")
        return Record("Flatten", {"start_dim": 0, "end_dim": -1})
    if kind in ("AvgPool2d", "SumPool2d"):
        return Record(kind, _windows(kind, part))
    weight = array(part.weight)
    if kind == "Linear":
        return linear(weight, part.bias)
    bias = np.zeros(len(weight)) if part.bias is None else array(part.bias)
    require(part.padding_mode == "zeros", f"{kind} padding_mode", part.padding_mode, "zeros")
    fields = {name: getattr(part, name) for name in ("stride", "padding", "dilation", "groups")}
    return Record(kind, {**fields, "weight": weight, "bias": bias})


def _windows(where: str, part: Any) -> dict[str, np.ndarray]:
    """The fields of a pool."""
    require(not part.ceil_mode, f"{where} ceil_mode", part.ceil_mode, "False")
    stride = part.kernel_size if part.stride is None else part.stride
    given = {"kernel_size": part.kernel_size, "stride": stride, "padding": getattr(part, "padding", 0)}
    fields = {name: np.broadcast_to(np.asarray(value), 2) for name, value in given.items()}
    divisor = getattr(part, "divisor_override", None)
    require(divisor is None, f"{where} divisor_override", divisor, "None: the area of the window")
    whole = getattr(part, "count_include_pad", True) or not fields["padding"].any()
    require(whole, f"{where} count_include_pad", False, "True with padding: all windows are divided alike")
    return fields


def _max_pool(where: str, name: str, sums: str, part: Any) -> dict[str, Record]:
    """A max pool of spikes; where windows overlap or reach over the border, neurons that spike if one of them does.

    These hear a node `sums`.
    """
    fields = _windows(where, part)
    dilation = np.broadcast_to(np.asarray(part.dilation), 2)
    require(bool((dilation == 1).all()), f"{where} dilation", part.dilation, "1")
    require(not part.return_indices, f"{where} return_indices", part.return_indices, "False")
    size = fields["kernel_size"]
    if bool((size == size[0]).all() and (size == fields["stride"]).all() and not fields["padding"].any()):
        return {name: Record(MAX, fields)}
    return {sums: Record("SumPool2d", fields), name: Record("Threshold", {"threshold": 0.5})}


def linear(weight: np.ndarray, bias: Any = None) -> Record:
    """A linear node, with a bias if there is one."""
    return (
        Record("Linear", {"weight": weight})
        if bias is None
        else Record("Affine", {"weight": weight, "bias": array(bias)})
    )


def looped(neurons: Record, heard: Record, linear: Record | None = None) -> Record:
    """`neurons` that also hear themselves a step later, through `heard`; what enters passes `linear` if it is given."""
    nodes = {"input": Record("Input"), "lif": neurons, "w_rec": heard, "output": Record("Output")}
    edges = [("lif", "output"), ("lif", "w_rec"), ("w_rec", "lif")]
    if linear is None:
        return Record(GRAPH, {}, nodes, (("input", "lif"), *edges))
    return Record(GRAPH, {}, {**nodes, "w_in": linear}, (("input", "w_in"), ("w_in", "lif"), *edges))


def _normalised(name: str, before: Record, norm: Any) -> Record:
    """`before` with the batch normalisation that follows it, as it runs after training, in its weights."""
    require(before.type in WEIGHTED, f"module {name} behind", before.type, "a Linear or a convolution")
    require(norm.running_var is not None, f"module {name} track_running_stats", False, "True")
    factor = 1.0 / np.sqrt(array(norm.running_var) + norm.eps)
    shift = np.zeros_like(factor)
    if norm.affine:
        factor, shift = factor * array(norm.weight), array(norm.bias)
    weight = before.fields["weight"]
    bias = before.fields.get("bias", 0.0)
    scaled = weight * factor.reshape(-1, *(1,) * (weight.ndim - 1))
    fields = {**before.fields, "weight": scaled, "bias": (bias - array(norm.running_mean)) * factor + shift}
    return replace(before, type="Affine" if before.type == "Linear" else before.type, fields=fields)
