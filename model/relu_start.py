"""What a network of activations starts from that was trained elsewhere: a description and numbers, as a `Checkpoint`.

A state dict has the weights of a description, in its order. A network of integrate-and-fire neurons with a soft reset,
of a NIR file or a checkpoint, has an activation where each of its neurons is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError, require, within
from ..files import require_intact
from .checkpoint import NORM, Checkpoint, array_shapes
from .description import FloatNeuron, Network
from .graph import Graph, PopulationSpec, weight_name
from .relu_graph import relu_graph

LARGEST_FILE = 1 << 30  # bytes
LARGEST_VALUES = 1 << 27  # of all tensors of a file together
WRAPPED = ("state_dict", "model_state_dict", "model")  # names under which files keep a state dict beside other things
NORM_NAMES = {"gain": "weight", "shift": "bias", "mean": "running_mean", "variance": "running_var"}
COUNTER = "num_batches_tracked"

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Module:
    """The tensors of one module in a state dict: `name`, its prefix, and `values` by their last name."""

    name: str
    values: Arrays

    @property
    def is_norm(self) -> bool:
        return "running_mean" in self.values


def started(network: Network | Graph, arrays: Arrays) -> Checkpoint:
    """The network of activations where `network`, with `arrays` as its checkpoint has them, has spiking neurons.

    Raises
    ------
    UserError
        Its neurons leak, reset to a value, or have further states; or `relu_graph` refuses it.
    """
    if isinstance(network, Network):
        neurons: dict[str, Any] = {f"layer {index}": layer.neuron for index, layer in enumerate(network.layers[:-1])}
        arrays = _of_chain(arrays)
    else:
        neurons = {f"population {spec.name}": spec.neuron for spec in network.populations}
        neurons.pop(f"population {network.readout.source}")
    for where, neuron in neurons.items():
        require(neuron.decay == 1, f"{where} decay", neuron.decay, "1: what integrates and fires stands for a ReLU")
        require(neuron.reset == "soft", f"{where} reset", neuron.reset, "soft: the rate then follows the sum")
        if not isinstance(neuron, FloatNeuron):
            own = neuron.current is None and neuron.adaptation is None and neuron.refractory == 0
            require(own, f"{where} neuron", "with further states", "a membrane alone")
            amount = neuron.threshold if neuron.reset_amount is None else neuron.reset_amount
            require(amount == neuron.threshold, f"{where} reset_amount", amount, f"{neuron.threshold}, the threshold")
        require(neuron.threshold > 0, f"{where} threshold", neuron.threshold, "above 0")
    graph = relu_graph(network)
    if isinstance(network, Graph):
        worth = {spec.name: spec.neuron.threshold for spec in network.populations}
    else:
        worth = {f"layer{index}": layer.neuron.threshold for index, layer in enumerate(network.layers)}

    for spec in graph.populations:
        for connection in spec.inputs:
            found = [worth[source] for source in connection.sources if source in worth]
            same = all(value == found[0] for value in found)
            require(same, f"population {spec.name} thresholds of what is added", found, "the same")

    def with_threshold(spec: PopulationSpec) -> PopulationSpec:
        is_read = spec.name == graph.readout.source
        return spec if is_read else replace(spec, neuron=replace(spec.neuron, threshold=worth[spec.name]))

    return _checkpoint(replace(graph, populations=tuple(map(with_threshold, graph.populations))), arrays)


def of_state_dict(path: Path, description: Network | Graph) -> Checkpoint:
    """The weights of a state dict, in a file of `torch.save`, as those of `description`, in the same order.

    Batch normalisation is where the file has it. Nothing but tensors is unpickled.

    Raises
    ------
    UserError
        The file is damaged, holds other things than tensors, or has other layers.
    """
    require(path.is_file(), "weights", path, "a file")
    size = path.stat().st_size
    require(size <= LARGEST_FILE, f"weights {path}", f"{size} bytes", f"at most {LARGEST_FILE}")
    with within(f"weights {path}"):
        try:
            require_intact(path)
            found = torch.load(path, map_location="cpu", weights_only=True)
        except UserError:
            raise
        except Exception:  # torch reports a damaged file in many ways
            raise UserError("not a state dict of torch.save, damaged, or with objects that are no tensors") from None
        return matched(found, description)


def matched(state: Any, description: Network | Graph) -> Checkpoint:
    """`of_state_dict` of what such a file holds."""
    modules = _modules(state)
    weighted = [one for one in modules if not one.is_norm]
    graph = relu_graph(description)
    wanted = graph.weight_shapes
    told = f"{len(wanted)}, the weights of {graph.name or 'the network'}"
    require(len(weighted) == len(wanted), "convolutions and linear layers", len(weighted), told)
    arrays: Arrays = {}
    populations = []
    rest = list(modules)
    for number, spec in enumerate(graph.populations):
        bias: np.ndarray | None = None
        for index in range(len(spec.inputs)):
            module, name = rest.pop(0), weight_name(number, index)
            require(not module.is_norm, f"module {module.name}", "a normalisation", f"the weights of {spec.name}")
            weight = module.values["weight"]
            require(weight.shape == wanted[name], f"module {module.name} weight", weight.shape, str(wanted[name]))
            arrays[name] = weight
            if "bias" in module.values:
                bias = module.values["bias"] if bias is None else bias + module.values["bias"]
        norm = rest.pop(0) if rest and rest[0].is_norm else None
        where = f"population{number}"
        bias = np.zeros(graph.channels(spec.name), np.float32) if bias is None else bias
        if norm is not None:
            require(len(spec.inputs) == 1, f"module {norm.name}", "normalises a sum", "the layer of one connection")
            values = {own: norm.values[name] for own, name in NORM_NAMES.items() if name in norm.values}
            size = len(norm.values["running_mean"])
            values = {"gain": np.ones(size, np.float32), "shift": np.zeros(size, np.float32)} | values
            fits = size == graph.channels(spec.name)
            require(fits, f"module {norm.name} channels", size, f"{graph.channels(spec.name)}, as {spec.name} has")
            values["mean"] = values["mean"] - bias
            arrays |= {f"{where}.norm.{name}": values[name] for name in NORM}
        spec = replace(spec, batch_norm=norm is not None, bias=norm is None)
        if norm is None:
            arrays[f"{where}.bias"] = bias
        populations.append(spec)
    require(not rest, f"module {rest[0].name if rest else ''}", "a second normalisation", "one behind each layer")
    return _checkpoint(relu_graph(replace(graph, populations=tuple(populations))), arrays)


def _modules(state: Any) -> list[Module]:
    """The modules of a state dict that have weights, in its order."""
    for name in WRAPPED:
        if isinstance(state, dict) and isinstance(state.get(name), dict):
            state = state[name]
    usual = isinstance(state, dict) and len(state) > 0
    usual = usual and all(isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items())
    require(usual, "contents", type(state).__name__, "a state dict: tensors by name")
    values = sum(tensor.numel() for tensor in state.values())
    require(values <= LARGEST_VALUES, "values", values, f"at most {LARGEST_VALUES}")
    found: dict[str, Arrays] = {}
    for name, tensor in state.items():
        prefix, _, last = name.rpartition(".")
        if last == COUNTER:
            continue
        plain = tensor.layout == torch.strided and tensor.is_floating_point() and not tensor.is_meta
        require(plain, f"tensor {name}", f"{tensor.dtype}, {tensor.layout}", "a float type, strided")
        array = tensor.detach().float().contiguous().numpy()
        require(bool(np.isfinite(array).all()), f"tensor {name}", "not finite", "finite numbers")
        found.setdefault(prefix, {})[last] = array
    modules = [Module(prefix, values) for prefix, values in found.items()]
    for module in modules:
        known = {*NORM_NAMES.values()} if module.is_norm else {"weight", "bias"}
        other = next((last for last in module.values if last not in known), None)
        require(other is None, f"module {module.name}", other, "weight and bias, and the statistics of a normalisation")
        ranks = (1,) if module.is_norm else (2, 4)
        has = module.is_norm or ("weight" in module.values and module.values["weight"].ndim in ranks)
        require(has, f"module {module.name}", "neither linear nor a convolution", "a weight of 2 or 4 dimensions")
        whole = not module.is_norm or NORM_NAMES["variance"] in module.values
        require(whole, f"module {module.name}", "without running_var", "both statistics of a normalisation")
        positive = not module.is_norm or bool((module.values[NORM_NAMES["variance"]] >= 0).all())
        require(positive, f"module {module.name} running_var", "below 0", "0 or above")
        counted = "running_mean" if module.is_norm else "weight"
        shape = module.values[counted].shape
        require(len(shape) > 0, f"module {module.name} {counted}", shape, "a number for each channel")
        rows = shape[0]
        for last, array in module.values.items():
            fits = (last == "weight" and not module.is_norm) or array.shape == (rows,)
            require(fits, f"module {module.name} {last}", array.shape, f"({rows},)")
    return modules


def _of_chain(arrays: Arrays) -> Arrays:
    """The arrays of a chain, `layer<i>.*`, as those of the graph that `relu_graph` makes of it.

    A chain adds biases before it normalises, a graph afterwards.
    """
    found = {}
    for name, array in arrays.items():
        before = name.replace(".norm.mean", ".bias")
        if name.endswith(".norm.mean") and before in arrays:
            array = array - arrays[before]
        if name.endswith(".bias") and name.replace(".bias", ".norm.mean") in arrays:
            array = np.zeros_like(array)
        layer, _, what = name.partition(".")
        where = layer.replace("layer", "population")
        found[f"{where}.connection0.weight" if what == "weight" else f"{where}.{what}"] = array
    return found


def _checkpoint(graph: Graph, arrays: Arrays) -> Checkpoint:
    """Biases that are not given are zeros."""
    zeros = {name: np.zeros(shape) for name, shape in array_shapes(graph).items() if name.endswith(".bias")}
    made = zeros | arrays
    return Checkpoint(graph, {name: np.ascontiguousarray(array, np.float32) for name, array in made.items()})
