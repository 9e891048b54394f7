"""From a trained network of activations (`relu.py`) to integrate-and-fire neurons, and how close they come to it.

An activation of `threshold * rate` becomes `rate` spikes a step, so that the weights behind it are multiplied by the
threshold; the neuron's soft reset subtracts the same threshold. With the clip-floor-shift activation membranes start at
half a threshold, which makes the expected error of a rate zero (Bu et al. 2022); with the others at 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..errors import require
from . import dynamics
from .checkpoint import Checkpoint
from .data import Dataset
from .graph import NeuronSpec, weight_name
from .graph_network import NORM_ARRAYS, GraphNetwork
from .networks import network_of
from .relu import START, ReluNetwork, network_from, summed
from .relu_config import LONGEST, ReluConfig
from .relu_train import Trained

STARTS = {"plain": 0.0, "rate-norm": 0.0, "shift": START}  # of the membranes, in thresholds


def convert(trained: Trained, config: ReluConfig, command: str = "") -> Checkpoint:
    """The spiking network of a trained one: a checkpoint of a graph, its settings those that a training would have."""
    network, graph = trained.network, trained.network.description
    thresholds = {name: network.activation_of(name).threshold.item() for name in network.group}
    start = STARTS[network.method]
    populations, arrays = [], {}
    for number, population in enumerate(network.all):
        spec, where = population.spec, f"population{number}"
        neuron = spec.neuron
        if spec.name in thresholds:
            threshold = thresholds[spec.name]
            neuron = replace(neuron, threshold=threshold, start_value=start * threshold or None)
        for index, (connection, synapses) in enumerate(zip(spec.inputs, population.synapses, strict=True)):
            weight = synapses.weight
            assert isinstance(weight, Tensor)
            arrays[weight_name(number, index)] = weight * thresholds.get(connection.sources[0], 1.0)
        if population.bias is not None:
            arrays[f"{where}.bias"] = population.bias
        if population.norm is not None:
            for name, attribute in NORM_ARRAYS.items():
                arrays[f"{where}.norm.{name}"] = getattr(population.norm, attribute)
        populations.append(replace(spec, neuron=neuron))
    plain = {name: array.detach().float().cpu().numpy() + 0.0 for name, array in arrays.items()}
    return Checkpoint(
        replace(graph, populations=tuple(populations), steps=config.steps),
        plain,
        config.sparsity(graph.input_shape[1]).to_json(),
        trained.history,
        {"validation": trained.validation, "conversion": config.to_json()},
        command,
        trained.made_from,
    )


def powers(longest: int) -> tuple[int, ...]:
    """Numbers of steps at which errors and accuracies are told: the powers of two up to `longest`.

    `UserError` if it is not 1 to `LONGEST`.
    """
    require(1 <= longest <= LONGEST, "longest", longest, f"1 to {LONGEST}")
    return tuple(2**power for power in range(longest.bit_length()))


def over_steps(network: GraphNetwork, images: Tensor, steps: int) -> Iterator[dict[str, Tensor]]:
    """What each population puts out, `[batch, *shape]`, at each of `steps`: spikes; of the read-out, its membranes."""
    graph = network.description
    pixels = {part.name: images.float() / 255 for part in graph.inputs}
    states: dict[str, dynamics.State] = {}
    held: dict[str, Tensor] = {}
    for _ in range(steps):
        outputs = dict(pixels)
        for (name,) in graph.components:
            population = network.populations[network.index[name]]
            total = held.get(name)
            if total is None:
                total = population.finish(summed(population, outputs))  # type: ignore[arg-type, operator]
                if all(source in pixels for c in graph[name].inputs for source in c.sources):
                    held[name] = total
            neuron: NeuronSpec = graph[name].neuron
            state = states.get(name, dynamics.start(neuron, total))
            _, spikes, states[name] = dynamics.step(total, state, neuron, _decays(neuron, total))
            outputs[name] = spikes if neuron.spiking else states[name].membrane
        yield {name: x for name, x in outputs.items() if name not in pixels}


def _decays(neuron: NeuronSpec, like: Tensor) -> dynamics.Parameters:
    nothing = torch.zeros((), device=like.device)
    return dynamics.Parameters(nothing + neuron.decay, nothing, nothing)


@dataclass(frozen=True)
class Closeness:
    """How close firing rates come to activations on some images.

    steps
        The numbers of steps at which the others are told.
    accuracy
        Of the spiking network after so many steps, `[steps]`.
    activations_accuracy
        Of the network of activations.
    errors
        By population, the mean absolute difference of firing rate and activation over its threshold, `[steps]`.
    activations, rates
        By population, some pairs for a picture: activation over threshold, and firing rate after the last step.
    answers
        Of the spiking network after the last step: the class of each image, int64 `[n]`.
    """

    steps: tuple[int, ...]
    accuracy: tuple[float, ...]
    activations_accuracy: float
    errors: dict[str, tuple[float, ...]]
    activations: dict[str, np.ndarray]
    rates: dict[str, np.ndarray]
    answers: np.ndarray


@torch.no_grad()
def closeness(
    network: ReluNetwork,
    converted: Checkpoint,
    data: Dataset,
    steps: tuple[int, ...],
    batch: int = 100,
    pairs: int = 2000,
    device: torch.device | str = "cpu",
) -> Closeness:
    """Run both networks on `data`, the spiking one for the largest of `steps`, which are ascending."""
    network = network.to(device).eval()
    spiking = network_of(converted).to(device)
    assert isinstance(spiking, GraphNetwork)
    graph, read = spiking.description, spiking.description.readout
    right, right_before = np.zeros(len(steps), np.int64), 0
    errors = {name: np.zeros(len(steps)) for name in network.group}
    seen: dict[str, list[np.ndarray]] = {name: [] for name in network.group}
    fired: dict[str, list[np.ndarray]] = {name: [] for name in network.group}
    answers: list[np.ndarray] = []
    for start in range(0, len(data), batch):
        part = data[start : start + batch]
        images, labels = torch.from_numpy(part.images).to(device), part.labels
        outputs, activations = network(images, layer_rates=True)
        right_before += int((_classes(outputs, 1) == labels).sum())
        counts: dict[str, Tensor] = {}
        for t, now in enumerate(over_steps(spiking, images, steps[-1]), start=1):
            counts = {name: counts[name] + now[name] if counts else now[name] for name in network.group}
            if t in steps:
                at = steps.index(t)
                found = _classes(now[read.source], read.group)
                right[at] += int((found == labels).sum())
                for name, x in activations.items():
                    errors[name][at] += float((counts[name] / t - x).abs().flatten(1).mean(dim=1).sum())
        answers.append(found)
        if start * 4 < pairs:  # some of the first images, spread over their neurons
            for name, x in activations.items():
                chosen = slice(None, None, max(1, x.numel() // max(1, pairs // 4)))
                seen[name].append(x.flatten()[chosen].cpu().numpy())
                fired[name].append((counts[name] / steps[-1]).flatten()[chosen].cpu().numpy())
    total = len(data)
    order = [spec.name for spec in graph.populations if spec.name in network.group]
    return Closeness(
        steps,
        tuple(float(n) / total for n in right),
        right_before / total,
        {name: tuple(float(error) / total for error in errors[name]) for name in order},
        {name: np.concatenate(seen[name]) for name in order},
        {name: np.concatenate(fired[name]) for name in order},
        np.concatenate(answers),
    )


@torch.no_grad()
def mean_activations(converted: Checkpoint, images: np.ndarray, batch: int = 100) -> dict[str, np.ndarray]:
    """Of the network of activations that was converted: by population, the mean over `images`, uint8 `[n, ...]`, of
    each activation over its threshold, float64 `[neurons]`.

    `converted` is what `convert` has made.
    """
    assert converted.conversion is not None
    network = network_from(converted, *converted.conversion).eval()
    sums: dict[str, np.ndarray] = {}
    for start in range(0, len(images), batch):
        _, rates = network(torch.from_numpy(images[start : start + batch]), layer_rates=True)
        for name, rate in rates.items():
            sums[name] = sums.get(name, 0) + rate.double().sum(dim=0).flatten().numpy()
    return {name: total / len(images) for name, total in sums.items()}


def _classes(outputs: Tensor, group: int) -> np.ndarray:
    """The class of each image: the largest of outputs `[batch, ...]`, added in groups; the lowest among equals."""
    return outputs.flatten(1).unflatten(1, (-1, group)).sum(dim=2).cpu().numpy().argmax(axis=1)
