"""From a description to a torch module, and from its weights to plain arrays and back.

Tensors over time are `[steps, batch, ...]`. One that is the same at every step is `[1, batch, ...]`, so the first layer
is evaluated once per static image.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import require
from . import fused
from .checkpoint import Checkpoint
from .description import ConvSpec, LayerSpec, Network
from .graph import Graph
from .graph_network import NORM_ARRAYS, GraphNetwork
from .neurons import fire, max_pool
from .surrogates import ATAN, Surrogate


class SpikingLayer(nn.Module):
    """Dropout, synapses, batch normalisation, neurons, pool: `[1 or steps, batch, ...] -> [steps, batch, ...]`."""

    def __init__(self, layer: LayerSpec, input_shape: tuple[int, ...], steps: int) -> None:
        super().__init__()
        self.layer, self.steps = layer, steps
        synapses = layer.synapses
        self.synapses: nn.Linear | nn.Conv2d
        self.norm: nn.BatchNorm2d | nn.BatchNorm1d | None
        if isinstance(synapses, ConvSpec):
            geometry = (synapses.kernel, synapses.stride, synapses.padding)
            self.synapses = nn.Conv2d(input_shape[0], synapses.channels, *geometry, bias=synapses.bias)
            self.norm = nn.BatchNorm2d(synapses.channels) if layer.batch_norm else None
            self.synapses.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        else:
            self.synapses = nn.Linear(int(np.prod(input_shape)), synapses.outputs, bias=synapses.bias)
            self.norm = nn.BatchNorm1d(synapses.outputs) if layer.batch_norm else None

    def forward(self, x: Tensor, with_rates: bool = False) -> tuple[Tensor, Tensor | None]:
        """The input of the next layer; the firing rates before pooling, `[batch, *shape]`, or None unless requested.

        On a CPU, spikes have the type in which the convolution was evaluated. Membranes are float32.
        """
        steps, batch = x.shape[:2]
        convolves = isinstance(self.layer.synapses, ConvSpec)
        flat = x.flatten(0, 1) if convolves else x.flatten(2).flatten(0, 1)
        if self.layer.dropout and self.training:
            # one mask per frame, the same at all steps
            mask = functional.dropout(torch.ones_like(flat[:batch]), self.layer.dropout)
            flat = (flat.unflatten(0, (steps, batch)) * mask).flatten(0, 1)
        current = self.synapses(flat)
        fire = self.compiled if current.device.type == "cpu" else self.plain
        return fire(current if convolves else current.float(), steps, with_rates)

    def plain(self, current: Tensor, steps: int, with_rates: bool) -> tuple[Tensor, Tensor | None]:
        """Normalisation, neurons and pool in torch's operations: `current` `[steps * batch, channels, ...]`."""
        if self.norm is not None:
            current = self.norm(current)
        spikes, membranes = fire(current.float().unflatten(0, (steps, -1)), self.layer.neuron, self.steps)
        rates = spikes.mean(dim=0) if with_rates else None
        if (pool := self.layer.pool) is not None and pool.kind == "max":
            return max_pool(spikes, membranes, pool.size), rates
        return self.averaged(spikes), rates

    def compiled(self, current: Tensor, steps: int, with_rates: bool) -> tuple[Tensor, Tensor | None]:
        """The same in one operation, channels last, which is also faster for convolutions."""
        shape = current.shape[1:]
        maps = current if len(shape) == 3 else current.reshape(*current.shape, 1, 1)
        pool = self.layer.pool
        size = pool.size if pool is not None and pool.kind == "max" else 1
        x = maps.permute(0, 2, 3, 1).unflatten(0, (steps, -1))
        spikes, rates = fused.fire(x, self.norm, self.layer.neuron, self.steps, size, with_rates)
        spikes = spikes.permute(0, 1, 4, 2, 3)
        rates = rates.permute(0, 3, 1, 2).reshape(-1, *shape) if rates is not None else None
        if len(shape) == 1:
            return spikes.flatten(2), rates
        return self.averaged(spikes), rates

    def averaged(self, spikes: Tensor) -> Tensor:
        """After an average pool, if there is one: `[steps, batch, channels, height, width]`."""
        pool = self.layer.pool
        if pool is None or pool.kind == "max":
            return spikes
        return functional.avg_pool2d(spikes.flatten(0, 1), pool.size).unflatten(0, spikes.shape[:2])


class SpikingNetwork(nn.Module):
    """uint8 images `[batch, channels, height, width]` -> firing rates `[batch, classes]`, 0 to 1.

    With `layer_rates=True` also each layer's firing rates, `[batch, *shape]` before pooling. With `every_step=True` the
    outputs are `[steps, batch, classes]`: after each step, what a frame that ended there would have, as a part of
    all steps.
    """

    def __init__(self, description: Network) -> None:
        super().__init__()
        self.description = description
        pairs = zip(description.layers, description.shapes[:-1], strict=True)
        self.layers = nn.ModuleList(SpikingLayer(layer, shape, description.steps) for layer, shape in pairs)

    @property
    def weighted(self) -> list[tuple[str, Any, bool]]:
        """For each layer the name of its weights, the module that holds them, and whether it is the last."""
        last = len(self.layers) - 1
        return [(f"layer{index}.weight", layer.synapses, index == last) for index, layer in enumerate(self.layers)]

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint keeps: weights, biases and batch normalisation of each layer, named `layer<i>.<what>`."""
        found: dict[str, Tensor] = {}
        layers: list[Any] = list(self.layers)
        for index, layer in enumerate(layers):
            tensors = {"weight": layer.synapses.weight, "bias": layer.synapses.bias}
            if layer.norm is not None:
                tensors |= {f"norm.{name}": getattr(layer.norm, attribute) for name, attribute in NORM_ARRAYS.items()}
            found |= {f"layer{index}.{name}": tensor for name, tensor in tensors.items() if tensor is not None}
        return found

    def load(self, name: str, values: Tensor) -> None:
        """Put one of `tensors()` back."""
        with torch.no_grad():
            self.tensors()[name].copy_(values)

    def forward(
        self, images: Tensor, layer_rates: bool = False, every_step: bool = False
    ) -> Tensor | tuple[Tensor, list[Tensor]]:
        x = images.unsqueeze(0) / 255  # no offset: a black pixel is no event
        rates = []
        for layer in self.layers:
            x, of_layer = layer(x, layer_rates)
            rates.append(of_layer)
        outputs = x.float().cumsum(dim=0) / len(x) if every_step else x.float().mean(dim=0)
        votes = outputs.flatten(2 if every_step else 1).unflatten(-1, (-1, self.description.vote)).mean(dim=-1)
        return (votes, rates) if layer_rates else votes


def module_of(description: Network | Graph, surrogate: Surrogate = ATAN) -> SpikingNetwork | GraphNetwork:
    """The torch module of a description, with random weights; `UserError` for a chain with another surrogate."""
    if isinstance(description, Graph):
        return GraphNetwork(description, surrogate)
    require(surrogate.kind == "atan", "surrogate", surrogate.kind, "atan for a chain of layers; others are for graphs")
    return SpikingNetwork(description)


def arrays_of(network: SpikingNetwork | GraphNetwork) -> dict[str, np.ndarray]:
    """All that a checkpoint keeps of a network, float32, under the names of `checkpoint.array_shapes`."""
    tensors = network.tensors()
    return {name: tensor.detach().float().cpu().numpy() + 0.0 for name, tensor in tensors.items()}  # no negative zeros


def load_arrays(network: SpikingNetwork | GraphNetwork, arrays: dict[str, np.ndarray]) -> None:
    """Put `arrays`, as `arrays_of` names them, into a network without parametrisations."""
    known = network.tensors()
    require(known.keys() == arrays.keys(), "weights", sorted(arrays), f"{sorted(known)}")
    for name, values in arrays.items():
        network.load(name, torch.from_numpy(values))


def network_of(checkpoint: Checkpoint) -> SpikingNetwork | GraphNetwork:
    """The trained network of a checkpoint, in evaluation mode."""
    network = module_of(checkpoint.network)
    load_arrays(network, checkpoint.arrays)
    return network.eval()
